//! The lowering, materialised: images as matrices of windows ([`im2col`]) and back ([`col2im`]).
//!
//! Row (c, taps…) of an image's matrix holds, for each output position, the value that this tap of channel c
//! reads there, or 0 on padding. With it a convolution is one matrix product a group: `y = w · columns`.

use crate::element::Element;
use crate::error::{Argument, Result, check_len};
use crate::geometry::{Geometry, Shape, tensor_len};

impl<const D: usize> Geometry<D> {
    /// Elements of the im2col matrices of all images, `N · (C_in · taps) · positions`.
    ///
    /// # Errors
    /// [`crate::Error::TensorTooLarge`].
    pub fn columns_len(&self) -> Result<usize> {
        let s = &self.shape;
        tensor_len(Argument::Columns, [s.batch, self.params().in_channels, s.taps(), s.out_plane()])
    }
}

/// Writes the im2col matrix of each image: `columns` is `[N, C_in · taps, positions]`, `x` is `[N, C_in, spatial…]`.
/// PyTorch's `unfold`. Padding reads as 0.
///
/// ```
/// use convgemm::{Params, im2col};
/// let geometry = Params::new(1, 1, [2]).geometry(1, [4])?;
/// let mut columns = [0.0_f32; 6];
/// im2col(&geometry, &[1., 2., 3., 4.], &mut columns)?;
/// assert_eq!(columns, [1., 2., 3., 2., 3., 4.]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length, a matrix over `isize::MAX` bytes.
pub fn im2col<T: Element, const D: usize>(geometry: &Geometry<D>, x: &[T], columns: &mut [T]) -> Result<()> {
    check_len(Argument::Input, x.len(), geometry.input_len())?;
    check_len(Argument::Columns, columns.len(), geometry.columns_len()?)?;
    unfold_planes(&geometry.shape, x, columns);
    Ok(())
}

/// The adjoint of [`im2col`]: each element of `x` becomes the sum of the columns' elements that im2col copies it
/// to, in ascending order of (taps, position). PyTorch's `fold`. Elements that no window reads become 0.
///
/// # Errors
/// A slice of the wrong length, a matrix over `isize::MAX` bytes.
pub fn col2im<T: Element, const D: usize>(geometry: &Geometry<D>, columns: &[T], x: &mut [T]) -> Result<()> {
    check_len(Argument::Columns, columns.len(), geometry.columns_len()?)?;
    check_len(Argument::Input, x.len(), geometry.input_len())?;
    x.fill(T::ZERO);
    if x.is_empty() || columns.is_empty() {
        return Ok(());
    }
    let shape = &geometry.shape;
    let (x_plane, y_plane, taps) = (shape.in_plane(), shape.out_plane(), shape.taps());
    for (x, columns) in x.chunks_exact_mut(x_plane).zip(columns.chunks_exact(y_plane * taps)) {
        for (tap, row) in columns.chunks_exact(y_plane).enumerate() {
            for_each_run(shape, tap, |run| {
                let sources = &row[run.position..][..run.len];
                for (source, x) in sources.iter().zip(x[run.input..].iter_mut().step_by(run.stride)) {
                    *x = x.plus(*source);
                }
            });
        }
    }
    Ok(())
}

/// im2col of as many channel planes as `x` holds.
pub(crate) fn unfold_planes<T: Element>(shape: &Shape, x: &[T], columns: &mut [T]) {
    columns.fill(T::ZERO);
    // Without elements, what the planes would have need not be a number.
    if x.is_empty() || columns.is_empty() {
        return;
    }
    let (x_plane, y_plane, taps) = (shape.in_plane(), shape.out_plane(), shape.taps());
    for (x, columns) in x.chunks_exact(x_plane).zip(columns.chunks_exact_mut(y_plane * taps)) {
        for (tap, row) in columns.chunks_exact_mut(y_plane).enumerate() {
            for_each_run(shape, tap, |run| {
                let row = &mut row[run.position..][..run.len];
                if run.stride == 1 {
                    row.copy_from_slice(&x[run.input..][..run.len]);
                } else {
                    row.iter_mut()
                        .zip(x[run.input..].iter().step_by(run.stride))
                        .for_each(|(to, x)| *to = *x);
                }
            });
        }
    }
}

/// Consecutive positions of one output row that read inside the image.
struct Run {
    position: usize,
    len: usize,
    /// Where in the channel plane the first of them reads.
    input: usize,
    /// How much further each next one reads.
    stride: usize,
}

/// The runs of one tap, in ascending order.
fn for_each_run(shape: &Shape, tap: usize, mut visit: impl FnMut(Run)) {
    let [ad, ah, aw] = shape.axes;
    let [kd, kh, kw] = shape.tap(tap);
    let columns = aw.windows(kw);
    if columns.is_empty() {
        return;
    }
    let Some(first) = aw.read(columns.start, kw) else { return };
    for pd in ad.windows(kd) {
        for ph in ah.windows(kh) {
            let (Some(d), Some(h)) = (ad.read(pd, kd), ah.read(ph, kh)) else { continue };
            visit(Run {
                position: (pd * ah.output + ph) * aw.output + columns.start,
                len: columns.len(),
                input: (d * ah.input + h) * aw.input + first,
                stride: aw.stride,
            });
        }
    }
}
