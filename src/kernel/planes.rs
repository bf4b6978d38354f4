//! The direct tile: `R` rows of one output plane × a vector of positions, with a square kernel of `K` × `K` taps at a stride
//! of `S`. Each vector of the image is loaded once for all output rows that read it, from where it lies; lanes beyond the
//! image are masked, rows beyond it left out.

use std::hint::black_box;

use super::{Images, Planes, finish, unroll};
use crate::simd::{MAX_LANES, Vector};

/// # Safety
/// See [`super::PlaneKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const K: usize, const S: usize, const R: usize>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let columns = planes.destination.cols.div_ceil(V::LANES);
        let mut known = [Column::<V>::new::<K, S>(planes, images, 0); KNOWN];
        for (i, column) in known.iter_mut().enumerate().take(columns).skip(1) {
            *column = Column::new::<K, S>(planes, images, i * V::LANES);
        }
        // What is the same for a row of narrow planes is computed once for several of them.
        let together = if columns == 1 { TOGETHER } else { 1 };
        for first in (0..planes.count).step_by(together) {
            for row in (0..planes.rows).step_by(R) {
                for i in 0..columns {
                    let another;
                    let column = if i < KNOWN {
                        &known[i]
                    } else {
                        another = Column::new::<K, S>(planes, images, i * V::LANES);
                        &another
                    };
                    for plane in first..planes.count.min(first + together) {
                        tile::<V, K, S, R>(planes, images, plane, row, column);
                    }
                }
            }
        }
    }
}

/// Narrow planes that are computed together.
const TOGETHER: usize = 16;

/// Vectors of columns whose masks are made once.
const KNOWN: usize = 8;

/// What a row of a tile loads at a stride of 2: the vectors that its positions' windows lie in.
const fn blocks<V: Vector, const K: usize>() -> usize {
    (2 * (V::LANES - 1) + K).div_ceil(V::LANES)
}

/// Loads for a row of a tile: one for each column of taps at a stride of 1, else the blocks.
pub(crate) const fn loads<V: Vector, const K: usize, const S: usize>() -> usize {
    if S == 1 { K } else { blocks::<V, K>() }
}

/// Whether registers hold all weights of a channel; else each is broadcast where it is used.
pub(crate) const fn resident<V: Vector, const K: usize, const S: usize, const R: usize>() -> bool {
    // A row's values need not be there together.
    K * K + R + 2 + if S == 1 { 0 } else { blocks::<V, K>() } <= V::REGISTERS
}

/// The most of those, and the most blocks, with two lanes.
const MOST: usize = 7;
const BLOCKS: usize = 5;

/// As much of a row of zeros, of either type, as a tile reads of a row.
static ZEROS: [f64; BLOCKS * MAX_LANES] = [0.0; BLOCKS * MAX_LANES];

/// A vector of columns.
#[derive(Clone, Copy)]
struct Column<V: Vector> {
    col: usize,
    /// Where in a row of the image its first window begins.
    left: isize,
    /// Whether all lanes of all loads lie inside the image, and all of the vector in the output.
    whole: bool,
    /// Of each load, the lanes that read inside the image.
    inside: [V::Mask; MOST],
    lanes: usize,
}

impl<V: Vector> Column<V> {
    /// # Safety
    /// As [`run`].
    #[inline(always)]
    unsafe fn new<const K: usize, const S: usize>(
        planes: &Planes<'_, V::Elem>,
        images: &Images,
        col: usize,
    ) -> Self {
        const { assert!(K <= MOST && S <= 2 && blocks::<V, K>() <= BLOCKS) };
        let (left, width) = ((col * S) as isize - images.pad[1], images.input[1] as isize);
        let lanes = V::LANES.min(planes.destination.cols - col);
        let reads = if S == 1 { V::LANES + K - 1 } else { blocks::<V, K>() * V::LANES };
        let whole = left >= 0 && left + reads as isize <= width && lanes == V::LANES;
        let ahead = |coordinate: isize| usize::try_from(coordinate).map_or(0, |n| n.min(V::LANES));
        // SAFETY: the caller vouches for the instruction set.
        let mut inside = [unsafe { V::mask(0, V::LANES) }; MOST];
        if !whole {
            for (i, inside) in inside.iter_mut().enumerate().take(loads::<V, K, S>()) {
                let left = left + (if S == 1 { i } else { i * V::LANES }) as isize;
                // SAFETY: as above; what lies before a coordinate lies before a later one.
                *inside = unsafe { V::mask(ahead(-left).min(ahead(width - left)), ahead(width - left)) };
            }
        }
        Self { col, left, whole, inside, lanes }
    }
}

/// A tile of plane `plane` whose first row is `row`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<V: Vector, const K: usize, const S: usize, const R: usize>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
    plane: usize,
    row: usize,
    column: &Column<V>,
) {
    let [height, width] = images.input;
    let at = ((images.first_row + row) * S) as isize - images.pad[0];
    let origin = at.wrapping_mul(width as isize).wrapping_add(column.left);
    // Else the compiler keeps a pointer for each row and column of the tile, and moves them all from tile to tile.
    let x = black_box(planes.x.wrapping_add(plane * planes.x_step).wrapping_offset(origin));
    let w = planes.w.wrapping_add(plane * planes.channels * K * K);
    let destination = &planes.destination;
    let ahead = plane * planes.y_step + row * destination.row_stride + column.col;
    let y = black_box(destination.y.wrapping_add(ahead));
    let mut places = [y; R];
    for (r, place) in places.iter_mut().enumerate() {
        *place = y.wrapping_add(r * destination.row_stride);
    }
    let within = within(at, (R - 1) * S + K, height);
    // SAFETY: the caller's obligations are passed on; `column` has the lanes that read inside the image.
    unsafe {
        let all = within == (1 << ((R - 1) * S + K)) - 1 && planes.rows - row >= R;
        if all && (V::FREE_MASKS || column.whole) {
            let sums = accumulate::<V, K, S, R, true>(planes, width, (x, w), within, &column.inside);
            finish::store_vectors::<V, R>(&sums, R, plane, &places, &[column.lanes; R], planes);
        } else {
            // Else the compiler takes it apart for the other tiles as well.
            let within = black_box(within);
            let sums = accumulate::<V, K, S, R, false>(planes, width, (x, w), within, &column.inside);
            finish::store_vectors::<V, R>(
                &sums,
                planes.rows - row,
                plane,
                &places,
                &[column.lanes; R],
                planes,
            );
        }
    }
}

/// Bit `i`: row `at + i` lies in an image of `height` rows, for `i` below `count`.
#[inline(always)]
fn within(at: isize, count: usize, height: usize) -> u32 {
    let below = |coordinate: isize| (1_u32 << coordinate.clamp(0, count as isize)) - 1;
    below((height as isize).wrapping_sub(at)) & !below(at.wrapping_neg())
}

/// The chain of fused multiply-adds over (channel, tap) ascending, for the rows of a tile whose first window begins at `x`.
///
/// # Safety
/// As [`run`]; rows `within` lie in the image, and of each load all lanes or, if `INSIDE`, those `inside`.
#[inline(always)]
unsafe fn accumulate<V: Vector, const K: usize, const S: usize, const R: usize, const INSIDE: bool>(
    planes: &Planes<'_, V::Elem>,
    width: usize,
    (mut x, mut w): (*const V::Elem, *const V::Elem),
    within: u32,
    inside: &[V::Mask; MOST],
) -> [V; R] {
    let resident = const { resident::<V, K, S, R>() };
    // SAFETY: the caller vouches for the instruction set, the weights and what lies in the image.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [zero; R];
        let zeros = ZEROS.as_ptr().cast::<V::Elem>();
        for _ in 0..planes.channels {
            let mut weights = [[zero; K]; K];
            if resident {
                for (i, row) in weights.iter_mut().enumerate() {
                    for (k, weight) in row.iter_mut().enumerate() {
                        *weight = V::splat(*w.wrapping_add(i * K + k));
                    }
                }
            }
            unroll!(i in 0..(R - 1) * S + K => {
                let row = x.wrapping_add(width.wrapping_mul(i));
                let row = if INSIDE || within & (1 << i) != 0 { row } else { zeros };
                let values = values::<V, K, S, INSIDE>(row, inside);
                // The output rows that read this one.
                let (first, last) = (if i < K { 0 } else { (i - K) / S + 1 }, (i / S).min(R - 1));
                for (k, &value) in values.iter().enumerate() {
                    for (r, sum) in sums.iter_mut().enumerate().take(last + 1).skip(first) {
                        let from = w.wrapping_add((i - r * S) * K + k);
                        let weight = if resident { weights[i - r * S][k] } else { V::splat(*from) };
                        *sum = value.mul_add(weight, *sum);
                    }
                }
            });
            x = x.wrapping_add(planes.x_channel);
            w = w.wrapping_add(K * K);
        }
        sums
    }
}

/// What the positions read of a row, one vector for each column of taps.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn values<V: Vector, const K: usize, const S: usize, const INSIDE: bool>(
    row: *const V::Elem,
    inside: &[V::Mask; MOST],
) -> [V; K] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut values = [zero; K];
        let mut blocks = [zero; BLOCKS];
        let (loaded, step) = if S == 1 { (&mut values[..], 1) } else { (&mut blocks[..], V::LANES) };
        for (i, (value, &inside)) in loaded.iter_mut().zip(inside).enumerate().take(loads::<V, K, S>()) {
            let from = row.wrapping_add(i * step);
            *value = if INSIDE && !V::FREE_MASKS { V::load(from) } else { V::load_masked(from, inside) };
        }
        if S > 1 {
            for (k, value) in values.iter_mut().enumerate() {
                *value = V::every_second(&blocks, k);
            }
        }
        values
    }
}
