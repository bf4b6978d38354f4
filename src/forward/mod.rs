//! Doing what a plan says.

mod materialised;

use crate::element::Element;
use crate::engine::Engine;
use crate::epilogue::Epilogue;
use crate::error::Result;
use crate::gemm::step::{Addend, Job, PlaneLayout};
use crate::gemm::tiles::Output;
use crate::kernel::KernelSet;
use crate::pack::buffer::Scratch;
use crate::pack::transformed::TransformedWeights;
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::Plan;

/// A layer's weights, in whatever form its algorithm reads them.
pub(crate) enum Weights<'a, T> {
    /// `[C_out][k]`.
    Raw(&'a [T]),
    /// Those of panels, and of Winograd's products where the plan has these.
    Packed(&'a PackedWeights<T>, Option<&'a TransformedWeights<T>>),
}

/// What a call works on: lengths are checked.
pub(crate) struct Call<'a, T: 'static> {
    pub(crate) plan: &'a Plan,
    pub(crate) set: &'static KernelSet<T>,
    pub(crate) weights: Weights<'a, T>,
    pub(crate) x: &'a [T],
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) epilogue: &'a Epilogue<T>,
    pub(crate) parallelism: Parallelism,
}

/// Writes every element of `y`.
///
/// # Errors
/// No memory for scratch; nothing has been written then.
pub(crate) fn run<T: Element>(call: &Call<'_, T>, scratch: &mut Scratch, y: Output<'_, T>) -> Result<()> {
    let &Call { plan, set, x, residual, epilogue, parallelism, .. } = call;
    let (weights, transformed) = match call.weights {
        Weights::Raw(weight) => return materialised::run(call, weight, scratch, y),
        Weights::Packed(weights, transformed) => (weights, transformed),
    };
    let addend = residual.map_or(Addend::Nothing, Addend::Residual);
    let layout = PlaneLayout::whole(&plan.shape);
    let job = Job { plan, set, weights, transformed, x, addend, epilogue, y: &y, layout };
    (Engine::get().convolve)(&job, parallelism, scratch)
}
