//! The gradient of the input: a convolution of the output's gradient with the weights in reverse, or one for each phase of the
//! strides.

use std::any::Any;

use crate::backward::BackwardOptions;
use crate::element::Element;
use crate::engine::{Engine, pack};
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Argument, Result, check_len};
use crate::gemm::phase_blocks::PhasedJob;
use crate::gemm::step::{Addend, Job, PlaneLayout};
use crate::gemm::tiles::Output;
use crate::geometry::{Geometry, Params, Shape};
use crate::isa::Available;
use crate::kernel::{self, KernelSet};
use crate::pack::buffer::Scratch;
use crate::pack::transformed::TransformedWeights;
use crate::pack::weights::{PackedWeights, Read};
use crate::parallel::Parallelism;
use crate::phases::phase_taps;
use crate::plan::{InputPlan, Manner};
use crate::workspace::Workspace;

/// The gradient with respect to the input: `∂L/∂x` from `∂L/∂y`.
///
/// Shapes, for a convolution of the given `geometry`: `output_gradient` `[batch, C_out, output extent…]`, `weight`
/// `[C_out, C_in / groups, kernel…]`, `input_gradient` `[batch, C_in, input extent…]`. Elements that no window reads get 0.
///
/// Each element is one chain of fused multiply-adds from +0.0 over (output channel, position in the output's gradient) ascending, then + 0.0,
/// as in [`crate::reference::GradientOracle`]; the result has the same bytes for any number of threads and instruction set with
/// fused multiply-add. With [`BackwardOptions::accumulate`] the finished sum is added to what is given. Where a weight is ∞ or NaN,
/// elements for which one of its windows lies outside the output may be NaN.
///
/// Allocates nothing once `workspace` has seen this geometry.
///
/// ```
/// use convgemm::{BackwardOptions, Params, Workspace, backward_input};
/// let geometry = Params::new(1, 1, [2, 2]).geometry(1, [3, 3])?;
/// let mut gradient = [0.0_f32; 9];
/// let (dy, weight) = ([1.0; 4], [0.0, 1.0, 2.0, 3.0]);
/// let options = BackwardOptions::new();
/// backward_input(&geometry, &dy, &weight, &options, &mut gradient, &mut Workspace::new())?;
/// assert_eq!(gradient, [0.0, 1.0, 1.0, 2.0, 6.0, 4.0, 2.0, 5.0, 3.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length, an unknown or unavailable instruction set, no memory. Nothing has been written then.
pub fn backward_input<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    output_gradient: &[T],
    weight: &[T],
    options: &BackwardOptions,
    input_gradient: &mut [T],
    workspace: &mut Workspace,
) -> Result<()> {
    check_len(Argument::OutputGradient, output_gradient.len(), geometry.output_len())?;
    check_len(Argument::Weight, weight.len(), geometry.weight_len())?;
    check_len(Argument::InputGradient, input_gradient.len(), geometry.input_len())?;
    let set = kernel::set::<T>(Available::choose(options.isa)?);
    if input_gradient.is_empty() {
        return Ok(());
    }
    let Workspace { scratch, states, packed, .. } = workspace;
    let state = State::of(states, (geometry.shape, Of::Gradient, manner(options)), set)?;
    let weights = packed_in(packed);
    pack_phases(geometry.params(), weight, set, Some(&state.plan), &mut weights.phases)?;
    state.run(output_gradient, weights, options, scratch, Output::new(input_gradient))
}

/// The convolution of `input` with weights of this call, which is the input gradient of a transposed convolution; lengths are checked.
///
/// # Errors
/// An unknown or unavailable instruction set, no memory. Nothing has been written then.
pub(crate) fn convolve<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    input: &[T],
    weight: &[T],
    options: &BackwardOptions,
    output: &mut [T],
    workspace: &mut Workspace,
) -> Result<()> {
    let set = kernel::set::<T>(Available::choose(options.isa)?);
    let Workspace { scratch, states, packed, .. } = workspace;
    let state = State::of(states, (geometry.shape, Of::Convolution, manner(options)), set)?;
    let weights = packed_in(packed);
    if weights.phases.is_empty() {
        weights.phases.push(PackedWeights::reusing(Vec::new()));
    }
    pack(geometry.params(), weight, set.lanes, &mut weights.phases[0])?;
    state.run(input, weights, options, scratch, Output::new(output))
}

fn manner(options: &BackwardOptions) -> Manner {
    Manner { add: options.accumulate, accuracy: options.accuracy }
}

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Convolution,
    /// A convolution's input gradient.
    Gradient,
}

/// Shapes that a workspace knows, at most; then the one that it has known for longest is forgotten.
const STATES: usize = 64;

/// What a workspace keeps of a shape.
struct State<T: 'static> {
    shape: Shape,
    of: Of,
    manner: Manner,
    set: &'static KernelSet<T>,
    plan: InputPlan,
    /// Of nothing.
    epilogue: Epilogue<T>,
}

impl<T: Element> State<T> {
    fn of<'w>(
        states: &'w mut Vec<Box<dyn Any + Send + Sync>>,
        (shape, of, manner): (Shape, Of, Manner),
        set: &'static KernelSet<T>,
    ) -> Result<&'w Self> {
        let is_it = |state: &Self| {
            (state.shape, state.of, state.manner) == (shape, of, manner) && std::ptr::eq(state.set, set)
        };
        let found = states.iter().position(|state| state.downcast_ref().is_some_and(is_it));
        let index = if let Some(index) = found {
            index
        } else {
            let engine = Engine::get();
            let (plan, channels) = match of {
                Of::Gradient => ((engine.input_plan)(shape, set, manner)?, shape.in_channels),
                Of::Convolution => ((engine.whole_plan)(shape, set, manner)?, shape.out_channels),
            };
            let epilogue = Epilogue::new(None, Activation::Identity, shape.groups * channels)?;
            if states.len() == STATES {
                states.remove(0);
            }
            states.push(Box::new(Self { shape, of, manner, set, plan, epilogue }));
            states.len() - 1
        };
        Ok(states[index].downcast_ref().expect("what was found or put there"))
    }

    fn run(
        &self,
        x: &[T],
        weights: &mut Packed<T>,
        options: &BackwardOptions,
        scratch: &mut Scratch,
        y: Output<'_, T>,
    ) -> Result<()> {
        let &Self { set, manner: Manner { add, .. }, ref plan, ref epilogue, .. } = self;
        let parallelism = options.parallelism;
        weights.transform(plan, set)?;
        let (weights, transformed) = (&weights.phases[..], Some(&weights.transformed));
        InputCall { plan, set, weights, transformed, x, add, epilogue, parallelism }.run(scratch, y)
    }
}

/// Weights of one call.
struct Packed<T> {
    phases: Vec<PackedWeights<T>>,
    /// For Winograd's products, of what is computed as one.
    transformed: TransformedWeights<T>,
}

impl<T: Element> Packed<T> {
    /// Transforms the weights, if `plan` reads them so.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn transform(&mut self, plan: &InputPlan, set: &'static KernelSet<T>) -> Result<()> {
        let InputPlan::Whole(plan) = plan else { return Ok(()) };
        let Some(winograd) = &plan.winograd else { return Ok(()) };
        let to = &mut self.transformed;
        (Engine::get().transform)(to, &plan.shape, winograd.filters, &self.phases[0], set)
    }
}

/// Weights of this call, in the memory of those of an earlier one.
fn packed_in<T: Element>(packed: &mut Option<Box<dyn Any + Send + Sync>>) -> &mut Packed<T> {
    if packed.as_ref().is_none_or(|packed| !packed.is::<Packed<T>>()) {
        *packed = Some(Box::new(Packed::<T> { phases: Vec::new(), transformed: TransformedWeights::new() }));
    }
    packed.as_mut().and_then(|packed| packed.downcast_mut()).expect("what was just put there")
}

/// Packs the weights of each phase, those that `plan` reads if there is one, reusing the memory of `packed`.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(crate) fn pack_phases<T: Element, const D: usize>(
    params: &Params<D>,
    weight: &[T],
    set: &'static KernelSet<T>,
    plan: Option<&InputPlan>,
    packed: &mut Vec<PackedWeights<T>>,
) -> Result<()> {
    let groups = params.groups;
    let channels = [groups, params.out_channels / groups, params.in_channels / groups];
    let mut kernel = [1; 3];
    kernel[3 - D..].copy_from_slice(&params.kernel);
    for (i, taps) in phase_taps(params).enumerate() {
        if packed.len() == i {
            packed.push(PackedWeights::reusing(Vec::new()));
        }
        if let Some(read) = plan.map_or(Some(Read::Any), |plan| plan.reads(i)) {
            (Engine::get().pack_phase)(&mut packed[i], weight, channels, kernel, &taps, set, read)?;
        }
    }
    Ok(())
}

/// What a call works on: lengths are checked.
pub(crate) struct InputCall<'a, T: 'static> {
    pub(crate) plan: &'a InputPlan,
    pub(crate) set: &'static KernelSet<T>,
    /// Of each phase.
    pub(crate) weights: &'a [PackedWeights<T>],
    /// Where a plan may read them.
    pub(crate) transformed: Option<&'a TransformedWeights<T>>,
    /// The output's gradient.
    pub(crate) x: &'a [T],
    /// Whether the result is added to what is there.
    pub(crate) add: bool,
    pub(crate) epilogue: &'a Epilogue<T>,
    pub(crate) parallelism: Parallelism,
}

impl<T: Element> InputCall<'_, T> {
    /// Writes every element of `y`, which is initialised where it is added to.
    ///
    /// # Errors
    /// No memory for scratch; nothing has been written then.
    pub(crate) fn run(&self, scratch: &mut Scratch, y: Output<'_, T>) -> Result<()> {
        let &Self { set, weights, transformed, x, add, epilogue, parallelism, .. } = self;
        let engine = Engine::get();
        match self.plan {
            InputPlan::Whole(plan) => {
                let addend = if add { Addend::Output } else { Addend::Nothing };
                let (weights, layout) = (&weights[0], PlaneLayout::whole(&plan.shape));
                let job = Job { plan, set, weights, transformed, x, addend, epilogue, y: &y, layout };
                (engine.convolve)(&job, parallelism, scratch)
            }
            InputPlan::Phased(plan) => {
                let job = PhasedJob { plan, set, weights, x, add, epilogue, y: &y };
                (engine.phases)(&job, parallelism, scratch)
            }
        }
    }
}
