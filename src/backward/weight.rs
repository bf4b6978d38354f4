//! The gradient of the weights.

use crate::backward::BackwardOptions;
use crate::element::Element;
use crate::engine::Engine;
use crate::error::{Argument, Result, check_len};
use crate::gemm::position_sums::WeightJob;
use crate::gemm::tiles::Output;
use crate::geometry::Geometry;
use crate::isa::Available;
use crate::kernel;
use crate::workspace::Workspace;

/// The gradient with respect to the weights: `∂L/∂w` from `∂L/∂y` and the input.
///
/// Shapes, for a convolution of the given `geometry`: `input` `[batch, C_in, input extent…]`, `output_gradient`
/// `[batch, C_out, output extent…]`, `weight_gradient` `[C_out, C_in / groups, kernel…]`.
///
/// The sums over images and positions have the order of [`crate::reference::GradientOracle::weight_at`], which depends on the shape
/// alone; the result has the same bytes for any number of threads and instruction set with fused multiply-add. With
/// [`BackwardOptions::accumulate`] the finished sums are added to what is given. Where the output's gradient is ∞ or NaN, the gradients of
/// taps that read padding there may be NaN.
///
/// Allocates nothing once `workspace` has seen this geometry.
///
/// ```
/// use convgemm::{BackwardOptions, Params, Workspace, backward_weight};
/// let geometry = Params::new(1, 1, [2]).geometry(1, [3])?;
/// let (x, dy, mut gradient) = ([1.0_f32, 2.0, 4.0], [10.0, 1.0], [0.0; 2]);
/// backward_weight(&geometry, &x, &dy, &BackwardOptions::new(), &mut gradient, &mut Workspace::new())?;
/// assert_eq!(gradient, [12.0, 24.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length, an unknown or unavailable instruction set, no memory. Nothing has been written then.
pub fn backward_weight<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    input: &[T],
    output_gradient: &[T],
    options: &BackwardOptions,
    weight_gradient: &mut [T],
    workspace: &mut Workspace,
) -> Result<()> {
    check_len(Argument::Input, input.len(), geometry.input_len())?;
    check_len(Argument::OutputGradient, output_gradient.len(), geometry.output_len())?;
    check_len(Argument::WeightGradient, weight_gradient.len(), geometry.weight_len())?;
    let set = kernel::set::<T>(Available::choose(options.isa)?);
    let engine = Engine::get();
    let plan = (engine.weight_plan)(geometry.shape, set, options.parallelism);
    let dw = Output::new(weight_gradient);
    let job = WeightJob { plan: &plan, set, x: input, dy: output_gradient, add: options.accumulate, dw: &dw };
    (engine.sums)(&job, options.parallelism, &mut workspace.scratch)
}
