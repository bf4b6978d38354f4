//! All gradients of a convolution in one call.

use crate::backward::{BackwardOptions, backward_bias, backward_input, backward_weight};
use crate::element::Element;
use crate::error::{Argument, Result, check_len};
use crate::geometry::Geometry;
use crate::isa::Available;
use crate::workspace::Workspace;

/// The gradients to be computed; those that are none are not.
#[derive(Debug, Default)]
pub struct Gradients<'a, T> {
    /// Of the input, `[batch, C_in, input extent…]`.
    pub input: Option<&'a mut [T]>,
    /// Of the weights, `[C_out, C_in / groups, kernel…]`.
    pub weight: Option<&'a mut [T]>,
    /// Of the bias, `[C_out]`.
    pub bias: Option<&'a mut [T]>,
}

/// [`backward_input`], [`backward_weight`] and [`backward_bias`] of one convolution, whichever are asked for.
///
/// ```
/// use convgemm::{BackwardOptions, Gradients, Params, Workspace, backward};
/// let geometry = Params::new(1, 1, [2]).geometry(1, [3])?;
/// let (x, weight, dy) = ([1.0_f32, 2.0, 4.0], [1.0, -1.0], [10.0, 1.0]);
/// let (mut dx, mut dw, mut db) = ([0.0; 3], [0.0; 2], [0.0; 1]);
/// let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db) };
/// backward(&geometry, &x, &weight, &dy, &BackwardOptions::new(), gradients, &mut Workspace::new())?;
/// assert_eq!((dx, dw, db), ([10.0, -9.0, -1.0], [12.0, 24.0], [11.0]));
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length, an unknown or unavailable instruction set: nothing has been written then. No memory: some gradients
/// may have been written.
pub fn backward<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    input: &[T],
    weight: &[T],
    output_gradient: &[T],
    options: &BackwardOptions,
    gradients: Gradients<'_, T>,
    workspace: &mut Workspace,
) -> Result<()> {
    let Gradients { input: input_gradient, weight: weight_gradient, bias: bias_gradient } = gradients;
    let lens = [geometry.input_len(), geometry.weight_len(), geometry.params().out_channels];
    check_len(Argument::Input, input.len(), lens[0])?;
    check_len(Argument::Weight, weight.len(), lens[1])?;
    check_len(Argument::OutputGradient, output_gradient.len(), geometry.output_len())?;
    let len = |gradient: &Option<&mut [T]>, len: usize| gradient.as_ref().map_or(len, |g| g.len());
    check_len(Argument::InputGradient, len(&input_gradient, lens[0]), lens[0])?;
    check_len(Argument::WeightGradient, len(&weight_gradient, lens[1]), lens[1])?;
    check_len(Argument::BiasGradient, len(&bias_gradient, lens[2]), lens[2])?;
    Available::choose(options.isa)?;
    if let Some(gradient) = input_gradient {
        backward_input(geometry, output_gradient, weight, options, gradient, workspace)?;
    }
    if let Some(gradient) = weight_gradient {
        backward_weight(geometry, input, output_gradient, options, gradient, workspace)?;
    }
    if let Some(gradient) = bias_gradient {
        backward_bias(geometry, output_gradient, options, gradient)?;
    }
    Ok(())
}
