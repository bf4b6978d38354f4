//! Layers applied one after the other: what an output sees of the input, and the extents in between.

use crate::error::{Error, Result};
use crate::geometry::Params;

/// What one output of a chain of layers sees of the chain's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReceptiveField<const D: usize> {
    /// Input elements along each axis.
    pub size: [usize; D],
    /// Distance, in input elements, between the fields of neighbouring outputs.
    pub stride: [usize; D],
}

/// The receptive field of layers applied one after the other: two 3×3 layers see 5×5.
///
/// Source: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill 2019.
///
/// ```
/// use convgemm::{Params, receptive_field};
/// let layer = Params::new(8, 8, [3, 3]);
/// assert_eq!(receptive_field(&[layer, layer])?.size, [5, 5]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// Those of [`Params::validate`] for any layer, and a field over `isize::MAX`.
pub fn receptive_field<const D: usize>(layers: &[Params<D>]) -> Result<ReceptiveField<D>> {
    let mut field = ReceptiveField { size: [1; D], stride: [1; D] };
    for layer in layers {
        layer.validate()?;
        for axis in 0..D {
            let grown = (layer.window(axis)? - 1)
                .checked_mul(field.stride[axis])
                .and_then(|more| more.checked_add(field.size[axis]));
            let stride = field.stride[axis].checked_mul(layer.stride[axis]);
            let fits = |size: &usize| isize::try_from(*size).is_ok();
            let too_large = || Error::AxisTooLarge { axis, what: "the receptive field" };
            field.size[axis] = grown.filter(fits).ok_or_else(too_large)?;
            field.stride[axis] = stride.filter(fits).ok_or_else(too_large)?;
        }
    }
    Ok(field)
}

/// The extents behind each of `layers`, applied one after the other to an input of the extents `input`.
///
/// # Errors
/// Those of [`Params::output_extent`] for the first layer that can't take its input.
pub fn output_extents<const D: usize>(layers: &[Params<D>], input: [usize; D]) -> Result<Vec<[usize; D]>> {
    layers
        .iter()
        .scan(Ok(input), |extent, layer| {
            *extent = extent.clone().and_then(|extent| layer.output_extent(extent));
            Some(extent.clone())
        })
        .collect()
}
