//! The gradient of an activation.

use crate::element::Element;
use crate::epilogue::Activation;
use crate::error::{Argument, Error, Result, check_len};
use crate::geometry::Geometry;

/// Where the derivative of an activation is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum ActivationAt<'a, T> {
    /// At the values before the activation.
    PreActivation(&'a [T]),
    /// At the layer's output, from which it can be told for all but SiLU, HardSwish, GELU, and rectifiers that are no bijection (slopes
    /// that are not positive).
    Output(&'a [T]),
}

/// The gradient with respect to the values before the activation, which the other gradients start from: `output_gradient` times the
/// activation's derivative.
///
/// Shapes, all of them: `[batch, C_out, output extent…]` of `geometry`. At a kink the derivative is PyTorch's: that of the flat side
/// (0 for ReLU at 0), or `slope`.
///
/// ```
/// use convgemm::{Activation, ActivationAt, Params, backward_activation};
/// let geometry = Params::new(1, 1, [1]).geometry(1, [3])?;
/// let mut gradient = [0.0_f32; 3];
/// let at = ActivationAt::Output(&[0.0, 2.0, 6.0]);
/// backward_activation(&geometry, &Activation::Relu6, at, &[10.0, 20.0, 30.0], &mut gradient)?;
/// assert_eq!(gradient, [0.0, 20.0, 0.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length; slopes that are not one for each output channel; [`Error::NotApplicable`] where the output does not
/// tell the derivative. Nothing has been written then.
pub fn backward_activation<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    activation: &Activation<T>,
    at: ActivationAt<'_, T>,
    output_gradient: &[T],
    gradient: &mut [T],
) -> Result<()> {
    let (len, channels) = (geometry.output_len(), geometry.params().out_channels);
    let (values, argument) = match at {
        ActivationAt::PreActivation(values) => (values, Argument::PreActivation),
        ActivationAt::Output(values) => (values, Argument::Output),
    };
    check_len(argument, values.len(), len)?;
    check_len(Argument::OutputGradient, output_gradient.len(), len)?;
    check_len(Argument::PreActivationGradient, gradient.len(), len)?;
    activation.validate(channels)?;
    if matches!(at, ActivationAt::Output(_)) && (0..channels).any(|c| !activation.output_tells(c)) {
        return Err(Error::NotApplicable {
            what: format!("the derivative of {activation:?} at its output"),
            needs: "the values before the activation",
        });
    }
    let plane = geometry.shape.out_plane();
    let planes = values.chunks(plane).zip(output_gradient.chunks(plane)).zip(gradient.chunks_mut(plane));
    for (i, ((values, output_gradient), gradient)) in planes.enumerate() {
        let channel = i % channels;
        for ((to, &dy), &value) in gradient.iter_mut().zip(output_gradient).zip(values) {
            let derivative = match at {
                ActivationAt::PreActivation(_) => activation.derivative(value, channel),
                ActivationAt::Output(_) => activation.derivative_at_output(value, channel),
            };
            *to = dy.times(derivative);
        }
    }
    Ok(())
}
