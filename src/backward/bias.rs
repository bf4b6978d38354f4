//! The gradient of the bias.

use crate::backward::BackwardOptions;
use crate::element::Element;
use crate::error::{Argument, Result, check_len};
use crate::geometry::{Geometry, Shape};
use crate::slices::{LANES, Slices, join};

/// The gradient with respect to the bias: for each output channel the sum of `output_gradient` over images and positions.
///
/// Shapes: `output_gradient` `[batch, C_out, output extent…]`, `bias_gradient` `[C_out]`. The order of the sum is that of
/// [`crate::reference::GradientOracle::bias_at`].
///
/// ```
/// use convgemm::{BackwardOptions, Params, backward_bias};
/// let geometry = Params::new(1, 2, [1, 1]).geometry(1, [1, 2])?;
/// let mut gradient = [0.0_f32; 2];
/// backward_bias(&geometry, &[1.0, 2.0, 3.0, 4.0], &BackwardOptions::new(), &mut gradient)?;
/// assert_eq!(gradient, [3.0, 7.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length. Nothing has been written then.
pub fn backward_bias<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    output_gradient: &[T],
    options: &BackwardOptions,
    bias_gradient: &mut [T],
) -> Result<()> {
    check_len(Argument::OutputGradient, output_gradient.len(), geometry.output_len())?;
    check_len(Argument::BiasGradient, bias_gradient.len(), geometry.params().out_channels)?;
    sum_channels(&geometry.shape, output_gradient, options.accumulate, bias_gradient);
    Ok(())
}

/// The sum of each channel of the output of a convolution of `shape`.
pub(crate) fn sum_channels<T: Element>(
    shape: &Shape,
    output_gradient: &[T],
    add: bool,
    bias_gradient: &mut [T],
) {
    let (plane, channels) = (shape.out_plane(), bias_gradient.len());
    let slices = Slices::new(shape);
    for (channel, gradient) in bias_gradient.iter_mut().enumerate() {
        let sum = slices.sum(|chunk| {
            let mut lanes = [T::ZERO; LANES];
            for piece in chunk.map(|index| slices.piece(index)) {
                let values =
                    &output_gradient[(piece.image * channels + channel) * plane..][piece.positions()];
                for values in values.chunks(LANES) {
                    for (lane, &value) in lanes.iter_mut().zip(values) {
                        *lane = lane.plus(value);
                    }
                }
            }
            join(lanes)
        });
        *gradient = if add { gradient.plus(sum) } else { sum };
    }
}
