//! The direct tile: `R` rows of one output plane × a vector of positions, with a square kernel of `K` × `K` taps at a stride
//! of `S`. Each vector of the image is loaded once for all output rows that read it, from where it lies; lanes beyond the
//! image are masked, rows beyond it left out.

use super::{Destination, Finish, Planes, finish, unroll};
use crate::simd::Vector;

/// # Safety
/// See [`super::PlaneKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const K: usize, const S: usize, const R: usize>(
    planes: &Planes<'_, V::Elem>,
) {
    let cols = planes.destination.cols;
    let reads = if S == 1 { V::LANES + K - 1 } else { blocks::<V, K>() * V::LANES };
    let whole = |col: usize| {
        let left = (col * S) as isize - planes.pad[1];
        // Larger kernels have code for masked lanes alone, of which there is enough.
        K == 3
            && cols > V::LANES
            && left >= 0
            && left + reads as isize <= planes.input[1] as isize
            && col + V::LANES <= cols
    };
    // Masks of columns at the edge serve all narrow planes, or some tiles of a wide one, whose lines are still near then.
    let narrow = cols <= V::LANES;
    let (count, rows) =
        if narrow { (planes.count.max(1), planes.rows.len().max(1)) } else { (1, EDGE_TILES * R) };
    for first in (0..planes.count).step_by(count) {
        for top in (0..planes.rows.len()).step_by(rows) {
            let rows = top..planes.rows.len().min(top + rows);
            for row in rows.clone().step_by(R) {
                for col in (0..cols).step_by(V::LANES).filter(|&col| whole(col)) {
                    let column = Column::whole::<V::Elem, S>(planes, col);
                    // SAFETY: the caller's obligations are passed on.
                    unsafe { tile::<V, K, S, R, false>(planes, first, row, &column) };
                }
            }
            for col in (0..cols).step_by(V::LANES).filter(|&col| !whole(col)) {
                let column = Column::new::<V, K, S>(planes, col);
                for plane in first..first + count {
                    for row in rows.clone().step_by(R) {
                        // SAFETY: the caller's obligations are passed on.
                        unsafe { tile::<V, K, S, R, true>(planes, plane, row, &column) };
                    }
                }
            }
        }
    }
}

/// Tiles below each other for which a wide plane's masks are made.
const EDGE_TILES: usize = 4;

/// What a row of a tile loads at a stride of 2: the vectors that its positions' windows lie in.
const fn blocks<V: Vector, const K: usize>() -> usize {
    (2 * (V::LANES - 1) + K).div_ceil(V::LANES)
}

/// The most of those, with two lanes, and the most loads for a row of a tile at a stride of 1: one for each column of taps.
const BLOCKS: usize = 5;
const MOST: usize = 7;

/// A vector of columns.
struct Column {
    col: usize,
    /// Where in a row of the image its first window begins.
    left: isize,
    /// Of each load, the lanes that read inside the image.
    inside: [[usize; 2]; MOST],
}

impl Column {
    /// One of which no lane is masked.
    #[inline(always)]
    fn whole<T, const S: usize>(planes: &Planes<'_, T>, col: usize) -> Self {
        Self { col, left: (col * S) as isize - planes.pad[1], inside: [[0; 2]; MOST] }
    }

    #[inline(always)]
    fn new<V: Vector, const K: usize, const S: usize>(planes: &Planes<'_, V::Elem>, col: usize) -> Self {
        const { assert!(K <= MOST && S <= 2 && blocks::<V, K>() <= BLOCKS) };
        let left = (col * S) as isize - planes.pad[1];
        let ahead = |coordinate: isize| usize::try_from(coordinate).map_or(0, |n| n.min(V::LANES));
        let mut inside = [[0; 2]; MOST];
        for (i, inside) in inside.iter_mut().enumerate() {
            let left = left + (if S == 1 { i } else { i * V::LANES }) as isize;
            *inside = [ahead(left.wrapping_neg()), ahead(planes.input[1] as isize - left)];
        }
        Self { col, left, inside }
    }
}

/// A tile of plane `plane` whose first row is `row`; with `EDGE` it may be partly beside the output, and what it reads beside the
/// image.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<V: Vector, const K: usize, const S: usize, const R: usize, const EDGE: bool>(
    planes: &Planes<'_, V::Elem>,
    plane: usize,
    row: usize,
    column: &Column,
) {
    let [height, width] = planes.input;
    let at = ((planes.rows.start + row) * S) as isize - planes.pad[0];
    let origin = at.wrapping_mul(width as isize).wrapping_add(column.left);
    let x = planes.x.wrapping_add(plane * planes.x_step).wrapping_offset(origin);
    let w = planes.w.wrapping_add(plane * planes.channels * K * K);
    // SAFETY: the caller's obligations are passed on; `column` has the lanes that read inside the image.
    unsafe {
        let within = within(at, (R - 1) * S + K, height);
        let sums = accumulate::<V, K, S, R, EDGE>(planes, x, w, within, &column.inside);
        store::<V, R, EDGE>(&sums, plane, row, column.col, planes);
    }
}

/// Bit `i`: row `at + i` lies in an image of `height` rows, for `i` below `count`.
#[inline(always)]
fn within(at: isize, count: usize, height: usize) -> u32 {
    let below = |coordinate: isize| (1_u32 << coordinate.clamp(0, count as isize)) - 1;
    below((height as isize).wrapping_sub(at)) & !below(at.wrapping_neg())
}

/// Stores a tile's rows from `first_row` on, as far as there are such.
///
/// # Safety
/// The rows of the destination are valid for writing.
#[inline(always)]
unsafe fn store<V: Vector, const R: usize, const EDGE: bool>(
    sums: &[V; R],
    plane: usize,
    first_row: usize,
    col: usize,
    planes: &Planes<'_, V::Elem>,
) {
    let destination = &planes.destination;
    let rows = planes.rows.len() - first_row;
    let lanes = if EDGE { V::LANES.min(destination.cols - col) } else { V::LANES };
    let ahead = plane * planes.y_step + first_row * destination.row_stride;
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if let Finish::Clamp { bias, lo, hi } = destination.finish {
            let (bias, lo, hi) = (V::splat(*bias.add(plane)), V::splat(lo), V::splat(hi));
            let y = destination.y.wrapping_add(ahead + col);
            unroll!(r in 0..R => if r < rows {
                let sum = sums[r].add(bias).at_least(lo).at_most(hi);
                let y = y.wrapping_add(r * destination.row_stride);
                if EDGE { sum.store_first(y, lanes) } else { sum.store(y) }
            });
        } else {
            unroll!(r in 0..R => if r < rows {
                store_full(sums[r], plane, ahead + r * destination.row_stride, col, destination);
            });
        }
    }
}

/// Stores a vector of a row of plane `plane` that begins `ahead` of the destination, whatever its epilogue asks for.
///
/// # Safety
/// As [`store`].
#[inline(always)]
unsafe fn store_full<V: Vector>(
    sum: V,
    plane: usize,
    ahead: usize,
    col: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let mut place = Destination { y: destination.y.wrapping_add(ahead), ..*destination };
    if let Finish::Full { channel, residual, .. } = &mut place.finish {
        *channel += plane;
        *residual = residual.map(|residual| residual.wrapping_add(ahead));
    }
    // SAFETY: the caller's obligations are passed on.
    unsafe { finish::store_rows(&[sum], 0, col, None, &place) };
}

/// The chain of fused multiply-adds over (channel, tap) ascending, for the rows of a tile whose first window begins at `x`.
///
/// # Safety
/// As [`run`]; rows `within` and, of each load, lanes `inside` lie in the image.
#[inline(always)]
unsafe fn accumulate<V: Vector, const K: usize, const S: usize, const R: usize, const EDGE: bool>(
    planes: &Planes<'_, V::Elem>,
    mut x: *const V::Elem,
    mut w: *const V::Elem,
    within: u32,
    inside: &[[usize; 2]; MOST],
) -> [V; R] {
    // SAFETY: the caller vouches for the instruction set, the weights and what lies in the image.
    unsafe {
        let mut sums = [V::splat(V::Elem::default()); R];
        for _ in 0..planes.channels {
            unroll!(i in 0..(R - 1) * S + K => if within & (1 << i) != 0 {
                let row = x.wrapping_add(planes.input[1].wrapping_mul(i));
                let values = values::<V, K, S, EDGE>(row, inside);
                // The output rows that read this one.
                let (first, last) = (if i < K { 0 } else { (i - K) / S + 1 }, (i / S).min(R - 1));
                for (k, &value) in values.iter().enumerate() {
                    for (r, sum) in sums.iter_mut().enumerate().take(last + 1).skip(first) {
                        let weight = V::splat(*w.wrapping_add((i - r * S) * K + k));
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
unsafe fn values<V: Vector, const K: usize, const S: usize, const EDGE: bool>(
    row: *const V::Elem,
    inside: &[[usize; 2]; MOST],
) -> [V; K] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut values = [zero; K];
        if S == 1 {
            for (k, (value, &[first, end])) in values.iter_mut().zip(inside).enumerate() {
                let from = row.wrapping_add(k);
                *value = if EDGE { zero.merge_range(from, first, end) } else { V::load(from) };
            }
            return values;
        }
        let mut blocks = [zero; BLOCKS];
        for (i, (block, &[first, end])) in
            blocks.iter_mut().zip(inside).enumerate().take(self::blocks::<V, K>())
        {
            let from = row.wrapping_add(i * V::LANES);
            *block = if EDGE { zero.merge_range(from, first, end) } else { V::load(from) };
        }
        for (k, value) in values.iter_mut().enumerate() {
            *value = V::every_second(&blocks, k);
        }
        values
    }
}
