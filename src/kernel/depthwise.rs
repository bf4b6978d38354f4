//! The direct tile for layers of which each output channel reads one input channel: a vector holds a position of `LANES` channels, so
//! that every kernel, stride and dilation is a load and a multiply-add for each tap, and padding is left out.

use std::ops::Range;

use super::{Destination, Finish, finish, unroll};
use crate::geometry::Axis;
use crate::simd::Vector;

/// Rows of output planes, a vector of channels of them.
pub(crate) struct Depthwise<'a, T> {
    /// Vectors of the image: a rectangle of each plane along the depth that is read, whose first row and column these are in the image.
    pub(crate) x: *const T,
    pub(crate) first: [usize; 2],
    /// From a plane of these to the next, and from a row.
    pub(crate) x_depth: usize,
    pub(crate) x_row: usize,
    pub(crate) depths: usize,
    /// `[depths][rows][columns]` of taps, vectors.
    pub(crate) w: *const T,
    /// Height and width.
    pub(crate) axes: [Axis; 2],
    /// For each column of taps the first of the output columns that read inside the image with it, and the end of them.
    pub(crate) windows: &'a [[usize; 2]],
    /// The first output row and column; rows and columns. Several rows are whole ones.
    pub(crate) at: [usize; 2],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Room for [`room`] vectors.
    pub(crate) sums: *mut T,
    /// The channels' `rows` · `cols` positions.
    pub(crate) destination: Destination<'a, T>,
}

/// The instantiated tile.
pub(crate) struct DepthwiseKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// Positions of the tile at most.
    pub(crate) positions: usize,
    /// # Safety
    /// See [`run`].
    pub(crate) run: unsafe fn(&Depthwise<'_, T>),
}

/// Positions whose sums wait until they are stored together, in whole vectors.
const WAITING: usize = 64;

/// Positions of a tile at most.
pub(crate) const MOST: usize = 16;

/// Vectors of sums that rows of `cols` columns take.
pub(crate) const fn room(cols: usize, lanes: usize) -> usize {
    WAITING + cols + MOST + lanes
}

/// Positions of a tile at most, where there are so many registers for sums.
pub(crate) const fn most<V: Vector>() -> usize {
    if V::REGISTERS >= 32 { MOST } else { 8 }
}

/// # Safety
/// The vector's instruction set is available. `x` has what the windows read inside the image, `w` all taps of each plane, `sums` has
/// room, and the destination is valid for writing.
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(tiles: &Depthwise<'_, V::Elem>) {
    let height = &tiles.axes[0];
    let step = tiles.cols.div_ceil(tiles.cols.div_ceil(const { most::<V>() }));
    let end = tiles.at[0] + tiles.rows;
    let (mut stored, mut waiting) = (0, 0);
    for row in tiles.at[0]..end {
        let taps = height.taps(row);
        let y = height.read(row, taps.start).map_or(0, |y| y - tiles.first[0]);
        let mut col = 0;
        while col < tiles.cols {
            let cols = col..tiles.cols.min(col + step);
            let to = tiles.sums.wrapping_add((waiting + col) * V::LANES);
            // SAFETY: the caller's obligations are passed on; there is room for a tile.
            unsafe { tile::<V>(tiles, (y * tiles.x_row, &taps), cols, to) }
            col += step;
        }
        waiting += tiles.cols;
        if waiting >= WAITING || row + 1 == end {
            let done = if row + 1 == end { waiting } else { waiting - waiting % V::LANES };
            // SAFETY: so many sums wait; the rest is moved to the front, where there is room.
            unsafe {
                store::<V>(tiles, stored, done);
                let rest = tiles.sums.wrapping_add(done * V::LANES);
                for i in 0..waiting - done {
                    V::load(rest.wrapping_add(i * V::LANES)).store(tiles.sums.wrapping_add(i * V::LANES));
                }
            }
            (stored, waiting) = (stored + done, waiting - done);
        }
    }
}

/// The tile of the output columns `cols`, counted from the first, of which the taps `taps` of each column read from row `row` on.
///
/// # Safety
/// As [`run`]; `to` has room for a tile.
#[inline(always)]
unsafe fn tile<V: Vector>(
    tiles: &Depthwise<'_, V::Elem>,
    rows: (usize, &Range<usize>),
    cols: Range<usize>,
    to: *mut V::Elem,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match cols.len() {
            15.. if most::<V>() > 8 => tile_of::<V, 16>(tiles, rows, cols, to),
            9.. if most::<V>() > 8 => tile_of::<V, 14>(tiles, rows, cols, to),
            8 => tile_of::<V, 8>(tiles, rows, cols, to),
            _ => tile_of::<V, 7>(tiles, rows, cols, to),
        }
    }
}

/// # Safety
/// As [`tile`]; `cols` has at most `P`.
#[inline(always)]
unsafe fn tile_of<V: Vector, const P: usize>(
    tiles: &Depthwise<'_, V::Elem>,
    rows: (usize, &Range<usize>),
    cols: Range<usize>,
    to: *mut V::Elem,
) {
    let Axis { stride, dilation, .. } = tiles.axes[1];
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match (stride, dilation) {
            (1, 1) => accumulate::<V, P, 1, true>(tiles, rows, cols, to),
            (2, 1) => accumulate::<V, P, 2, true>(tiles, rows, cols, to),
            (1, _) => accumulate::<V, P, 1, false>(tiles, rows, cols, to),
            _ => accumulate::<V, P, 0, false>(tiles, rows, cols, to),
        }
    }
}

/// With `S` columns from a window to the next, or any number if 0. `BESIDE`: one from a tap to the next.
///
/// # Safety
/// As [`tile_of`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const P: usize, const S: usize, const BESIDE: bool>(
    tiles: &Depthwise<'_, V::Elem>,
    (row, taps): (usize, &Range<usize>),
    cols: Range<usize>,
    to: *mut V::Elem,
) {
    let [height, width] = &tiles.axes;
    let col = tiles.at[1] + cols.start;
    let origin = width.origin(col);
    let left = origin.wrapping_sub_unsigned(tiles.first[1]).wrapping_mul(V::LANES as isize);
    let x = tiles.x.wrapping_add(row).wrapping_offset(left);
    // SAFETY: the caller vouches for the instruction set, for the weights, for what windows read inside the image and for room.
    unsafe {
        let mut sums = [V::splat(V::Elem::default()); P];
        for depth in 0..tiles.depths {
            let mut x = x.wrapping_add(depth * tiles.x_depth);
            let mut w = tiles.w.wrapping_add((depth * height.kernel + taps.start) * width.kernel * V::LANES);
            for _ in taps.clone() {
                if BESIDE {
                    let mut k = 0;
                    while k < width.kernel {
                        let at = (x.wrapping_add(k * V::LANES), w, origin.wrapping_add_unsigned(k));
                        let image = (width.input, cols.len());
                        let taken = match width.kernel - k {
                            7.. => walk::<V, P, 7, S>(&mut sums, at, image),
                            5.. => walk::<V, P, 5, S>(&mut sums, at, image),
                            3.. => walk::<V, P, 3, S>(&mut sums, at, image),
                            _ => walk::<V, P, 1, S>(&mut sums, at, image),
                        };
                        w = w.wrapping_add(taken * V::LANES);
                        k += taken;
                    }
                } else {
                    each_tap::<V, P, S>(&mut sums, x, w, tiles, col..col + cols.len());
                    w = w.wrapping_add(width.kernel * V::LANES);
                }
                x = x.wrapping_add(height.dilation.wrapping_mul(tiles.x_row));
            }
        }
        for (p, sum) in sums.iter().enumerate() {
            sum.store(to.wrapping_add(p * V::LANES));
        }
    }
}

/// Bit `j`: the image has the column `j` behind `origin`, and the first `cols` windows read it.
#[inline(always)]
fn columns_inside<const K: usize, const S: usize>(input: usize, origin: isize, cols: usize) -> u64 {
    let below = |count: isize| (1_u64 << count.clamp(0, ((cols - 1) * S + K) as isize)) - 1;
    below((input as isize).wrapping_sub(origin)) & !below(origin.wrapping_neg())
}

/// `K` taps of a row, of which the first window reads the column `origin` with the first. Each column of the image is loaded once, for
/// all windows that read it. Gives `K`.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn walk<V: Vector, const P: usize, const K: usize, const S: usize>(
    sums: &mut [V; P],
    (x, w, origin): (*const V::Elem, *const V::Elem, isize),
    (input, cols): (usize, usize),
) -> usize {
    let inside = columns_inside::<K, S>(input, origin, cols);
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut weights = [V::splat(V::Elem::default()); K];
        for (k, weight) in weights.iter_mut().enumerate() {
            *weight = V::load(w.wrapping_add(k * V::LANES));
        }
        unroll!(p in 0..P => {
            unroll!(s in 0..S => column::<V, P, K, S>(sums, &weights, x, p * S + s, inside));
        });
        unroll!(s in 0..K => column::<V, P, K, S>(sums, &weights, x, P * S + s, inside));
    }
    K
}

/// # Safety
/// As [`walk`].
#[inline(always)]
unsafe fn column<V: Vector, const P: usize, const K: usize, const S: usize>(
    sums: &mut [V; P],
    weights: &[V; K],
    x: *const V::Elem,
    j: usize,
    inside: u64,
) {
    if j < (P - 1) * S + K && inside & (1 << j) != 0 {
        // SAFETY: the column is inside.
        let value = unsafe { V::load(x.wrapping_add(j * V::LANES)) };
        for k in 0..K {
            if j >= k && (j - k).is_multiple_of(S) && (j - k) / S < P {
                sums[(j - k) / S] = value.mul_add(weights[k], sums[(j - k) / S]);
            }
        }
    }
}

/// A row of taps, whatever they are: one after the other.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn each_tap<V: Vector, const P: usize, const S: usize>(
    sums: &mut [V; P],
    x: *const V::Elem,
    w: *const V::Elem,
    tiles: &Depthwise<'_, V::Elem>,
    cols: Range<usize>,
) {
    let width = &tiles.axes[1];
    // Of one window the stride may be anything.
    let step = if S == 0 { width.stride } else { S }.wrapping_mul(V::LANES);
    for (k, &windows) in tiles.windows.iter().enumerate() {
        let [first, end] = windows.map(|at| at.clamp(cols.start, cols.end) - cols.start);
        let x = x.wrapping_add(k.wrapping_mul(width.dilation).wrapping_mul(V::LANES));
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            let weight = V::load(w.wrapping_add(k * V::LANES));
            if end - first == P {
                for (p, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(x.wrapping_add(p.wrapping_mul(step))).mul_add(weight, *sum);
                }
            } else {
                let mask = (1_u32 << end) - (1 << first);
                for (p, sum) in sums.iter_mut().enumerate() {
                    if mask & (1 << p) != 0 {
                        *sum = V::load(x.wrapping_add(p.wrapping_mul(step))).mul_add(weight, *sum);
                    }
                }
            }
        }
    }
}

/// Transposes and stores the first `count` sums that wait, the first of which is position `first`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn store<V: Vector>(tiles: &Depthwise<'_, V::Elem>, first: usize, count: usize) {
    let destination = &tiles.destination;
    let rows = destination.rows == V::LANES;
    // What is stored twice is the same, unless it is added to what is there.
    let again = !matches!(destination.finish, Finish::Full { .. }) && count >= V::LANES;
    for at in (0..count).step_by(V::LANES) {
        let at = if again { at.min(count - V::LANES) } else { at };
        let whole = (at + V::LANES <= count && rows).then_some(V::LANES);
        // SAFETY: the caller's obligations are passed on; behind the last sum there is room for a vector of them.
        unsafe {
            // Left over from other sums, they might be denormal.
            for rest in count..at + V::LANES {
                V::splat(V::Elem::default()).store(tiles.sums.wrapping_add(rest * V::LANES));
            }
            let sums = tiles.sums.wrapping_add(at * V::LANES).cast_const();
            let square = V::load_columns(|i| sums.wrapping_add(i * V::LANES));
            finish::store_rows(square.as_ref(), 0, first + at, whole, destination);
        }
    }
}
