//! The engine, compiled for both element types in this crate: generic functions are compiled anew in every crate that calls them,
//! what is called through these pointers is not.

use std::any::Any;

use crate::element::Element;
use crate::error::Result;
use crate::gemm::phase_blocks::PhasedJob;
use crate::gemm::position_sums::WeightJob;
use crate::gemm::step::Job;
use crate::geometry::{Params, Shape};
use crate::kernel::KernelSet;
use crate::pack::buffer::Scratch;
use crate::pack::transformed::TransformedWeights;
use crate::pack::weights::{PackedWeights, Read};
use crate::parallel::Parallelism;
use crate::phases::PhaseTaps;
use crate::plan::{Accuracy, Algorithm, Given, InputPlan, Manner, Plan, Tuning, WeightPlan};
use crate::winograd::Filter;

type Set<T> = &'static KernelSet<T>;

/// What the public functions call; each field is the function that it names.
#[expect(clippy::type_complexity, reason = "the signatures of the functions")]
pub(crate) struct Engine<T: 'static> {
    /// [`Plan::choose`].
    pub(crate) plan: fn(Shape, Set<T>, (Algorithm, Accuracy), Tuning, Given) -> Result<Plan>,
    /// [`InputPlan::new`].
    pub(crate) input_plan: fn(Shape, Set<T>, Manner) -> Result<InputPlan>,
    /// [`InputPlan::whole`].
    pub(crate) whole_plan: fn(Shape, Set<T>, Manner) -> Result<InputPlan>,
    /// [`WeightPlan::new`].
    pub(crate) weight_plan: fn(Shape, Set<T>, Parallelism) -> WeightPlan,
    /// [`PackedWeights::pack`].
    pub(crate) pack: fn(&mut PackedWeights<T>, &[T], usize, usize, usize) -> Result<()>,
    /// [`PackedWeights::pack_phase`].
    pub(crate) pack_phase:
        fn(&mut PackedWeights<T>, &[T], [usize; 3], [usize; 3], &[PhaseTaps; 3], Set<T>, Read) -> Result<()>,
    /// [`TransformedWeights::fill`].
    pub(crate) transform:
        fn(&mut TransformedWeights<T>, &Shape, [Filter; 2], &PackedWeights<T>, Set<T>) -> Result<()>,
    /// [`TransformedWeights::refill`].
    pub(crate) transform_again: fn(&mut TransformedWeights<T>, &PackedWeights<T>, Set<T>) -> Result<()>,
    /// [`Job::run`].
    pub(crate) convolve: fn(&Job<'_, T>, Parallelism, &mut Scratch) -> Result<()>,
    /// [`PhasedJob::run`].
    pub(crate) phases: fn(&PhasedJob<'_, T>, Parallelism, &mut Scratch) -> Result<()>,
    /// [`WeightJob::run`].
    pub(crate) sums: fn(&WeightJob<'_, T>, Parallelism, &mut Scratch) -> Result<()>,
}

impl<T: Element> Engine<T> {
    const COMPILED: Self = Self {
        plan: Plan::choose,
        input_plan: InputPlan::new,
        whole_plan: InputPlan::whole,
        weight_plan: WeightPlan::new,
        pack: PackedWeights::pack,
        pack_phase: PackedWeights::pack_phase,
        transform: TransformedWeights::fill,
        transform_again: TransformedWeights::refill,
        convolve: |job, parallelism, scratch| job.run(parallelism, scratch),
        phases: |job, parallelism, scratch| job.run(parallelism, scratch),
        sums: |job, parallelism, scratch| job.run(parallelism, scratch),
    };

    pub(crate) fn get() -> &'static Self {
        static F32: Engine<f32> = Engine::COMPILED;
        static F64: Engine<f64> = Engine::COMPILED;
        let engines: [&'static dyn Any; 2] = [&F32, &F64];
        engines.into_iter().find_map(<dyn Any>::downcast_ref).expect("Element is sealed: f32 and f64")
    }
}

/// Packs the weights of a convolution.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(crate) fn pack<T: Element, const D: usize>(
    params: &Params<D>,
    weight: &[T],
    lanes: usize,
    packed: &mut PackedWeights<T>,
) -> Result<()> {
    let k = weight.len() / params.out_channels;
    (Engine::get().pack)(packed, weight, params.out_channels / params.groups, k, lanes)
}
