//! Views as slices, and slices as arrays.

use std::borrow::Cow;

use ndarray::{Array, ArrayView, Dimension};

use crate::element::Element;
use crate::error::{Argument, Error, Result};
use crate::geometry::{Geometry, Params};

/// The batch and the spatial extents of `view`, `[batch, channels, extent…]`.
///
/// # Errors
/// [`Error::WrongRank`].
pub(super) fn batch_and_extent<T, I: Dimension, const D: usize>(
    argument: Argument,
    view: &ArrayView<'_, T, I>,
) -> Result<(usize, [usize; D])> {
    check_rank(argument, view.ndim(), D + 2)?;
    let shape = view.shape();
    Ok((shape[0], std::array::from_fn(|axis| shape[2 + axis])))
}

/// The extents of an image or of weights: `[outer…, inner…]`.
pub(super) type Extents<const D: usize> = ([usize; 2], [usize; D]);

/// `[C_out, C_in / groups, kernel…]` of a convolution that is valid.
pub(super) fn weight_extents<const D: usize>(params: &Params<D>) -> Extents<D> {
    ([params.out_channels, params.in_channels / params.groups], params.kernel)
}

/// `[batch, C_in, extent…]`.
pub(super) fn input_extents<const D: usize>(geometry: &Geometry<D>) -> Extents<D> {
    ([geometry.batch(), geometry.params().in_channels], geometry.input_extent())
}

/// `[batch, C_out, extent…]`.
pub(super) fn output_extents<const D: usize>(geometry: &Geometry<D>) -> Extents<D> {
    ([geometry.batch(), geometry.params().out_channels], geometry.output_extent())
}

/// The elements of `view`, last axis fastest: where they lie, if they lie so, else copied.
///
/// # Errors
/// A view of another shape, no memory for the copy.
pub(super) fn elements<'a, T: Element, I: Dimension, const D: usize>(
    argument: Argument,
    view: ArrayView<'a, T, I>,
    (outer, inner): Extents<D>,
) -> Result<Cow<'a, [T]>> {
    check_rank(argument, view.ndim(), D + 2)?;
    for (axis, (&actual, required)) in view.shape().iter().zip(outer.into_iter().chain(inner)).enumerate() {
        if actual != required {
            return Err(Error::WrongShape { argument, axis, actual, required });
        }
    }
    if let Some(elements) = view.to_slice() {
        return Ok(Cow::Borrowed(elements));
    }
    let mut copy = Vec::new();
    let bytes = view.len().saturating_mul(size_of::<T>());
    copy.try_reserve_exact(view.len()).map_err(|_| Error::OutOfMemory { bytes })?;
    for row in view.rows() {
        match row.to_slice() {
            Some(row) => copy.extend_from_slice(row),
            None => copy.extend(row.iter().copied()),
        }
    }
    Ok(Cow::Owned(copy))
}

/// `elements` as an array, in the kind of dimension `I` that a view of as many axes has.
///
/// # Errors
/// [`Error::TensorTooLarge`] where there are no elements, but axes whose product is over `isize::MAX`.
pub(super) fn array<T: Element, I: Dimension, const D: usize>(
    argument: Argument,
    (outer, inner): Extents<D>,
    elements: Vec<T>,
) -> Result<Array<T, I>> {
    let mut shape = I::zeros(D + 2);
    shape.slice_mut()[..2].copy_from_slice(&outer);
    shape.slice_mut()[2..].copy_from_slice(&inner);
    Array::from_shape_vec(shape, elements).map_err(|_| Error::TensorTooLarge { argument })
}

fn check_rank(argument: Argument, actual: usize, required: usize) -> Result<()> {
    if actual == required { Ok(()) } else { Err(Error::WrongRank { argument, actual, required }) }
}
