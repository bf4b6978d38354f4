//! The direct tile for any kernel at a stride of 1: `R` rows of one output plane × `C` vectors of positions, for kernels of at
//! least `R` rows. Each vector of the image is loaded once for all output rows that read it, from where it lies; lanes beyond the
//! image are masked, rows beyond it left out. As in [`super::planes`], the rows of a tile are as far apart as the taps of a column.

use super::opaque::opaque;
use super::{Images, MOST_COLUMNS as MOST, Planes, finish, unroll};
use crate::simd::Vector;

/// Planes for which a column of tiles is computed before the next.
const TOGETHER: usize = 16;

/// # Safety
/// See [`super::PlaneKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const R: usize, const C: usize>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
) {
    debug_assert!(images.kernel[0] >= R && images.kernel[1] <= MOST);
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut masks = [[V::mask(0, 0); C]; MOST];
        for first in (0..planes.count).step_by(TOGETHER) {
            for col in (0..planes.destination.cols).step_by(C * V::LANES) {
                let columns = Columns::new::<V, C>(planes, images, col, &mut masks);
                for plane in first..planes.count.min(first + TOGETHER) {
                    for phase in 0..images.dilation[0].min(planes.rows) {
                        for row in (phase..planes.rows).step_by(R * images.dilation[0]) {
                            tile::<V, R, C>(planes, images, plane, row, columns, &masks);
                        }
                    }
                }
            }
        }
    }
}

/// The columns of a tile.
#[derive(Clone, Copy)]
struct Columns {
    col: usize,
    /// Where in a row of the image the first window begins.
    left: isize,
    /// Whether all lanes read inside the image with every tap.
    whole: bool,
}

impl Columns {
    /// Fills `masks` with the lanes that read inside the image: for each column of taps those of each vector.
    ///
    /// # Safety
    /// As [`run`].
    #[inline(always)]
    unsafe fn new<V: Vector, const C: usize>(
        planes: &Planes<'_, V::Elem>,
        images: &Images,
        col: usize,
        masks: &mut [[V::Mask; C]; MOST],
    ) -> Self {
        let (left, width) = (col as isize - images.pad[1], images.input[1] as isize);
        let span = (images.kernel[1] - 1) * images.dilation[1] + C * V::LANES;
        let whole = left >= 0 && left + span as isize <= width;
        if !whole {
            let lanes = |coordinate: isize| coordinate.clamp(0, V::LANES as isize) as usize;
            for (k, masks) in masks.iter_mut().enumerate().take(images.kernel[1]) {
                for (c, mask) in masks.iter_mut().enumerate() {
                    let left = left + (k * images.dilation[1] + c * V::LANES) as isize;
                    // Nor those behind the output, which is what the sums are for.
                    let end = lanes(width - left)
                        .min(lanes((planes.destination.cols - col) as isize - (c * V::LANES) as isize));
                    // SAFETY: the caller vouches for the instruction set.
                    *mask = unsafe { V::mask(lanes(-left).min(end), end) };
                }
            }
        }
        Self { col, left, whole }
    }
}

/// A tile of plane `plane` whose first row is `row`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
    plane: usize,
    row: usize,
    columns: Columns,
    masks: &[[V::Mask; C]; MOST],
) {
    let ([_, width], [apart, _]) = (images.input, images.dilation);
    let at = (images.first_row + row) as isize - images.pad[0];
    let origin = at.wrapping_mul(width as isize).wrapping_add(columns.left);
    let x = opaque(planes.x.wrapping_add(plane * planes.x_step).wrapping_offset(origin));
    let w = planes.w.wrapping_add(plane * planes.channels * planes.w_channel);
    let rows = (planes.rows - row).div_ceil(apart);
    let destination = &planes.destination;
    let ahead = plane * planes.y_step + row * destination.row_stride + columns.col;
    let y = opaque(destination.y.wrapping_add(ahead).cast_const()).cast_mut();
    // SAFETY: the caller's obligations are passed on; `masks` has the lanes that read inside the image.
    unsafe {
        let sums = if columns.whole {
            accumulate::<V, R, C, false>(planes, images, (x, w), at, masks)
        } else {
            accumulate::<V, R, C, true>(planes, images, (x, w), at, masks)
        };
        unroll!(c in 0..C => {
            let mut places = [y; R];
            for (r, place) in places.iter_mut().enumerate() {
                *place = y.wrapping_add(r * apart * destination.row_stride + c * V::LANES);
            }
            let lanes = [(destination.cols - columns.col).saturating_sub(c * V::LANES).min(V::LANES); R];
            finish::store_vectors::<V, R>(&sums[c], rows, plane, &places, &lanes, destination);
        });
    }
}

/// The chain of fused multiply-adds over (channel, tap) ascending, for the rows of a tile whose first window begins at `x`, in row
/// `at` of the image.
///
/// # Safety
/// As [`run`]; of each load, unless `MASKED` all lanes, else those in `masks` lie in the image.
#[inline(always)]
unsafe fn accumulate<V: Vector, const R: usize, const C: usize, const MASKED: bool>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
    (mut x, mut w): (*const V::Elem, *const V::Elem),
    at: isize,
    masks: &[[V::Mask; C]; MOST],
) -> [[V; R]; C] {
    let ([height, width], [apart, col]) = (images.input, images.dilation);
    let [kernel, taps] = images.kernel;
    // The output rows `first..last` of the tile that read row `i` of what it reads.
    macro_rules! step {
        ($sums:ident, $x:ident, $w:ident, $i:expr, $first:expr, $last:expr) => {
            if at.wrapping_add(($i * apart) as isize).cast_unsigned() < height {
                let row = $x.wrapping_add($i * apart * width);
                let weights = $w.wrapping_add($i * taps);
                for k in 0..taps {
                    for c in 0..C {
                        let from = row.wrapping_add(k * col + c * V::LANES);
                        let value = if MASKED {
                            V::load_masked(from, masks.get_unchecked(k)[c])
                        } else {
                            V::load(from)
                        };
                        for r in $first..$last {
                            let weight = V::splat(*weights.wrapping_add(k).wrapping_sub(r * taps));
                            $sums[c][r] = value.mul_add(weight, $sums[c][r]);
                        }
                    }
                }
            }
        };
    }
    // SAFETY: the caller vouches for the instruction set, the weights and what lies in the image.
    unsafe {
        let mut sums = [[V::splat(V::Elem::default()); R]; C];
        for _ in 0..planes.channels {
            let (mut plane, mut weights) = (x, w);
            for _ in 0..planes.depths {
                unroll!(i in 0..R - 1 => step!(sums, plane, weights, i, 0, i + 1));
                for i in R - 1..kernel {
                    step!(sums, plane, weights, i, 0, R);
                }
                unroll!(i in 0..R - 1 => step!(sums, plane, weights, kernel + i, i + 1, R));
                plane = plane.wrapping_add(planes.x_depth);
                weights = weights.wrapping_add(kernel * taps);
            }
            x = x.wrapping_add(planes.x_channel);
            w = w.wrapping_add(planes.w_channel);
        }
        sums
    }
}
