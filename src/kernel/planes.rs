//! The direct tile: `R` rows of one output plane × `C` vectors of positions, with a square kernel of `K` × `K` taps at a stride
//! of `S`. Each vector of the image is loaded once for all output rows that read it, from where it lies; lanes beyond the
//! image are masked, rows beyond it read zeros. The rows of a tile are as far apart as the taps of a column: these output rows
//! read the same rows of the image.

use super::opaque::opaque;
use super::{Images, Planes, finish, unroll};
use crate::caches::LINE;
use crate::simd::{BLOCKS, MAX_LANES, Vector};

/// # Safety
/// See [`super::PlaneKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<
    V: Vector,
    const K: usize,
    const S: usize,
    const R: usize,
    const C: usize,
    const ONE: bool,
>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if S > 1 || images.dilation == [1, 1] {
            let images = Images { dilation: [1, 1], ..*images };
            // At a stride of 2 most windows of padded rows begin beside the lines that their centers begin with.
            if const { S == 2 && K == 3 && !ONE && V::LANES * size_of::<V::Elem>() >= LINE } {
                let aligned =
                    |lead: isize| planes.x.wrapping_offset(lead - images.pad[1]).addr().is_multiple_of(LINE);
                if !aligned(0) && aligned((K / 2) as isize) {
                    return tiles::<V, K, S, R, C, ONE, true>(planes, &images);
                }
            }
            tiles::<V, K, S, R, C, ONE, false>(planes, &images);
        } else {
            tiles::<V, K, S, R, C, ONE, false>(planes, images);
        }
    }
}

/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tiles<
    V: Vector,
    const K: usize,
    const S: usize,
    const R: usize,
    const C: usize,
    const ONE: bool,
    const LEAD: bool,
>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
) {
    let apart = images.dilation[0];
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let step = const { columns::<V, K, S, C, ONE>() };
        let columns = planes.destination.cols.div_ceil(step);
        let mut known = [Columns::<V>::new::<K, S, C, ONE, LEAD>(planes, images, 0); KNOWN];
        for (i, known) in known.iter_mut().enumerate().take(columns).skip(1) {
            *known = Columns::new::<K, S, C, ONE, LEAD>(planes, images, i * step);
        }
        // What is the same for a row of narrow planes is computed once for several of them.
        let together = match (columns, planes.ahead) {
            (1, true) if asks::<V, K, S>() => (ASKED / (R * S * S * C)).max(1),
            (1, _) => TOGETHER,
            _ => 1,
        };
        for first in (0..planes.count).step_by(together) {
            for phase in 0..apart.min(planes.rows) {
                for row in (phase..planes.rows).step_by(R * apart) {
                    let rows = Rows::new::<K, S, R>(planes, images, row);
                    for i in 0..columns {
                        let another;
                        let columns = if let Some(known) = known.get(i) {
                            known
                        } else {
                            another = Columns::new::<K, S, C, ONE, LEAD>(planes, images, i * step);
                            &another
                        };
                        for plane in first..planes.count.min(first + together) {
                            tile::<V, K, S, R, C, ONE, LEAD>(planes, images, plane, &rows, columns);
                        }
                    }
                }
            }
        }
    }
}

/// Narrow planes that are computed together; and lines that their tiles ask for at most, so that these still are in L1 when they are read.
const TOGETHER: usize = 16;
const ASKED: usize = 16;

/// Columns of tiles whose masks are made once.
const KNOWN: usize = 8;

/// Columns of positions of a tile; with `ONE` as many as all windows of a row lie in one vector for, or in `S` at a stride of `S`.
pub(crate) const fn columns<V: Vector, const K: usize, const S: usize, const C: usize, const ONE: bool>()
-> usize {
    if ONE { (S * V::LANES - K) / S + 1 } else { C * V::LANES }
}

/// Loads for a row of a tile: at a stride of 1 for each vector one for each column of taps; else, and with `ONE`, all vectors that
/// the windows lie in.
pub(crate) const fn loads<V: Vector, const K: usize, const S: usize, const C: usize, const ONE: bool>()
-> usize {
    loads_from::<V, K, S, C, ONE>(0)
}

/// The same if the first window begins `ahead` behind the first vector's begin.
const fn loads_from<V: Vector, const K: usize, const S: usize, const C: usize, const ONE: bool>(
    ahead: usize,
) -> usize {
    if ONE {
        S
    } else if S == 1 {
        C * K
    } else {
        (ahead + S * (C * V::LANES - 1) + K).div_ceil(V::LANES)
    }
}

/// How far behind the first vector's begin the first window begins: with `LEAD` the second vector begins with the first window's center.
const fn begin<V: Vector, const K: usize, const LEAD: bool>() -> usize {
    if LEAD { V::LANES.saturating_sub(K / 2) } else { 0 }
}

/// The most of those.
const MOST: usize = 7;

/// Whether registers hold all weights of a channel; else each is broadcast where it is used.
pub(crate) const fn resident<
    V: Vector,
    const K: usize,
    const S: usize,
    const R: usize,
    const C: usize,
    const ONE: bool,
>() -> bool {
    // A row's values need not be there together.
    K * K + C * (R + 2) + if S == 1 { 0 } else { loads::<V, K, S, C, ONE>() } <= V::REGISTERS
}

/// As much of a row of zeros, of either type, as a tile reads of a row.
static ZEROS: [f64; (BLOCKS + MOST) * MAX_LANES] = [0.0; (BLOCKS + MOST) * MAX_LANES];

/// The columns of a tile.
#[derive(Clone, Copy)]
struct Columns<V: Vector> {
    col: usize,
    /// Where in a row of the image the first vector begins.
    left: isize,
    /// Whether all lanes of all loads lie inside the image, and all positions in the output.
    whole: bool,
    /// Of each load, the lanes that read inside the image.
    inside: [V::Mask; MOST],
    /// Positions in the output.
    len: usize,
}

impl<V: Vector> Columns<V> {
    /// # Safety
    /// As [`run`].
    #[inline(always)]
    unsafe fn new<const K: usize, const S: usize, const C: usize, const ONE: bool, const LEAD: bool>(
        planes: &Planes<'_, V::Elem>,
        images: &Images,
        col: usize,
    ) -> Self {
        const { assert!(!ONE || S <= 2 && C == 1) };
        const { assert!(S <= 3 && loads::<V, K, S, C, ONE>() <= MOST) };
        const { assert!(if S == 3 { K == 3 } else { loads::<V, K, 2, 1, false>() < BLOCKS }) };
        let before = const { begin::<V, K, LEAD>() };
        let loads = const { loads_from::<V, K, S, C, ONE>(begin::<V, K, LEAD>()) };
        let (left, width) = ((col * S) as isize - images.pad[1] - before as isize, images.input[1] as isize);
        let step = const { columns::<V, K, S, C, ONE>() };
        let len = step.min(planes.destination.cols - col);
        let last = ahead::<V, K, S>(loads - 1, images.dilation[1]) + V::LANES;
        let whole = left >= 0 && left + last as isize <= width && len == step;
        let lanes_before = |coordinate: isize| usize::try_from(coordinate).map_or(0, |n| n.min(V::LANES));
        // SAFETY: the caller vouches for the instruction set.
        let mut inside = [unsafe { V::mask(0, V::LANES) }; MOST];
        if !whole {
            for (i, inside) in inside.iter_mut().enumerate().take(loads) {
                let left = left + ahead::<V, K, S>(i, images.dilation[1]) as isize;
                let end = lanes_before(width - left);
                // SAFETY: as above.
                *inside = unsafe { V::mask(lanes_before(-left).min(end), end) };
            }
        }
        Self { col, left, whole, inside, len }
    }
}

/// How far behind the first vector's begin a load reads, where the columns of taps are so far apart.
#[inline(always)]
const fn ahead<V: Vector, const K: usize, const S: usize>(load: usize, apart: usize) -> usize {
    if S == 1 { load / K * V::LANES + load % K * apart } else { load * V::LANES }
}

/// The rows of a tile.
struct Rows {
    first: usize,
    /// Those of the output.
    len: usize,
    /// Where in a plane of the image the first window's row begins.
    x: isize,
    /// Bit `i`: row `i` of what the windows read lies in the image.
    within: u32,
    /// Whether all do.
    inside: bool,
}

impl Rows {
    #[inline(always)]
    fn new<const K: usize, const S: usize, const R: usize>(
        planes: &Planes<'_, impl Sized>,
        images: &Images,
        first: usize,
    ) -> Self {
        let ([height, width], apart) = (images.input, images.dilation[0]);
        let at = ((images.first_row + first) * S) as isize - images.pad[0];
        let within = within(at, (R - 1) * S + K, height, apart);
        Self {
            first,
            len: (planes.rows - first).div_ceil(apart),
            x: at.wrapping_mul(width as isize),
            within,
            inside: within == (1 << ((R - 1) * S + K)) - 1,
        }
    }
}

/// A tile of plane `plane`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<
    V: Vector,
    const K: usize,
    const S: usize,
    const R: usize,
    const C: usize,
    const ONE: bool,
    const LEAD: bool,
>(
    planes: &Planes<'_, V::Elem>,
    images: &Images,
    plane: usize,
    rows: &Rows,
    columns: &Columns<V>,
) {
    let apart = images.dilation[0];
    // Else the compiler keeps a pointer for each row and column of the tile, and moves them all from tile to tile.
    let x = planes.x.wrapping_add(plane * planes.x_step);
    let x = opaque(x.wrapping_offset(rows.x.wrapping_add(columns.left)));
    let w = planes.w.wrapping_add(plane * planes.channels * planes.w_channel);
    let pitch = [images.input[1] * apart, images.dilation[1]];
    if planes.ahead && asks::<V, K, S>() {
        ask::<V, K, S, R, C>(x.wrapping_add(if LEAD { V::LANES } else { 0 }), pitch[0]);
    }
    // SAFETY: the caller's obligations are passed on; `columns` has the lanes that read inside the image.
    unsafe {
        let mut sums = if rows.inside && (V::FREE_MASKS || columns.whole) {
            accumulate::<V, K, S, R, C, ONE, LEAD, true>(planes, pitch, (x, w), rows.within, &columns.inside)
        } else {
            accumulate::<V, K, S, R, C, ONE, LEAD, false>(planes, pitch, (x, w), rows.within, &columns.inside)
        };
        if S == 2 {
            for sum in sums.as_flattened_mut() {
                *sum = sum.in_order();
            }
        }
        let place = (plane, rows.first, apart);
        if rows.len >= R {
            store::<V, R, C>(&sums, R, planes, place, columns);
        } else {
            store::<V, R, C>(&sums, rows.len, planes, place, columns);
        }
    }
}

/// Stores the first `rows` rows of a tile, which are so far apart.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn store<V: Vector, const R: usize, const C: usize>(
    sums: &[[V; R]; C],
    rows: usize,
    planes: &Planes<'_, V::Elem>,
    (plane, row, apart): (usize, usize, usize),
    columns: &Columns<V>,
) {
    let destination = &planes.destination;
    let ahead = plane * planes.y_step + row * destination.row_stride + columns.col;
    // As for the image.
    let y = opaque(destination.y.wrapping_add(ahead).cast_const()).cast_mut();
    unroll!(c in 0..C => {
        let mut places = [y; R];
        for (r, place) in places.iter_mut().enumerate() {
            *place = y.wrapping_add(r * apart * destination.row_stride + c * V::LANES);
        }
        let lanes = [columns.len.saturating_sub(c * V::LANES).min(V::LANES); R];
        // SAFETY: the caller's obligations are passed on.
        unsafe { finish::store_vectors::<V, R>(&sums[c], rows, plane, &places, &lanes, destination) };
    });
}

/// Bit `i`: row `at + i · apart` lies in an image of `height` rows, for `i` below `count`.
#[inline(always)]
fn within(at: isize, count: usize, height: usize, apart: usize) -> u32 {
    let below = |distance: isize| (1_u32 << (distance.max(0) as usize).div_ceil(apart).min(count)) - 1;
    below((height as isize).wrapping_sub(at)) & !below(at.wrapping_neg())
}

/// The chain of fused multiply-adds over (channel, tap) ascending, for the rows of a tile whose first vector begins at `x`; rows of
/// taps are `pitch` apart, columns `apart`. With `INSIDE` all rows are `within`, and all lanes `inside` unless masks are free.
///
/// # Safety
/// As [`run`]; rows `within` and, of each load, lanes `inside` lie in the image.
#[inline(always)]
unsafe fn accumulate<
    V,
    const K: usize,
    const S: usize,
    const R: usize,
    const C: usize,
    const ONE: bool,
    const LEAD: bool,
    const INSIDE: bool,
>(
    planes: &Planes<'_, V::Elem>,
    [pitch, apart]: [usize; 2],
    (mut x, mut w): (*const V::Elem, *const V::Elem),
    within: u32,
    inside: &[V::Mask; MOST],
) -> [[V; R]; C]
where
    V: Vector,
{
    let resident = const { resident::<V, K, S, R, C, ONE>() };
    // SAFETY: the caller vouches for the instruction set, the weights and what lies in the image.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; R]; C];
        let zeros = ZEROS.as_ptr().cast::<V::Elem>();
        for _ in 0..planes.channels {
            let (mut plane, mut taps) = (x, w);
            for _ in 0..planes.depths {
                let mut weights = [[zero; K]; K];
                if resident {
                    for (i, row) in weights.iter_mut().enumerate() {
                        for (k, weight) in row.iter_mut().enumerate() {
                            *weight = V::splat(*taps.wrapping_add(i * K + k));
                        }
                    }
                }
                unroll!(i in 0..(R - 1) * S + K => {
                    let row = plane.wrapping_add(pitch.wrapping_mul(i));
                    let row = if INSIDE || within & (1 << i) != 0 { row } else { zeros };
                    let values = values::<V, K, S, C, ONE, LEAD, INSIDE>(row, apart, inside);
                    // The output rows that read this one.
                    let (first, last) = (if i < K { 0 } else { (i - K) / S + 1 }, (i / S).min(R - 1));
                    for k in 0..K {
                        for r in first..last + 1 {
                            let from = taps.wrapping_add((i - r * S) * K + k);
                            let weight = if resident { weights[i - r * S][k] } else { V::splat(*from) };
                            for c in 0..C {
                                sums[c][r] = values[c][k].mul_add(weight, sums[c][r]);
                            }
                        }
                    }
                });
                plane = plane.wrapping_add(planes.x_depth);
                taps = taps.wrapping_add(K * K);
            }
            x = x.wrapping_add(planes.x_channel);
            w = w.wrapping_add(planes.w_channel);
        }
        sums
    }
}

/// Whether tiles ask for what comes next: else shorter vectors and larger kernels take longer than memory does.
const fn asks<V: Vector, const K: usize, const S: usize>() -> bool {
    (V::LANES * size_of::<V::Elem>() >= LINE || S > 1) && K < 5
}

/// Asks for the rows that the tile below the one whose first window begins at `x` reads and this one does not. Not inlined: tiles that do
/// not ask were 4 % slower.
#[inline(never)]
fn ask<V: Vector, const K: usize, const S: usize, const R: usize, const C: usize>(
    x: *const V::Elem,
    pitch: usize,
) {
    for row in 0..R * S {
        let x = x.wrapping_add(pitch.wrapping_mul((R - 1) * S + K + row));
        for vector in 0..S * C {
            V::prefetch(x.wrapping_add(vector * V::LANES));
        }
    }
}

/// What the positions read of a row: for each vector of them one for each column of taps.
///
/// # Safety
/// As [`accumulate`].
#[inline(always)]
unsafe fn values<
    V: Vector,
    const K: usize,
    const S: usize,
    const C: usize,
    const ONE: bool,
    const LEAD: bool,
    const INSIDE: bool,
>(
    row: *const V::Elem,
    apart: usize,
    inside: &[V::Mask; MOST],
) -> [[V; K]; C] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let zero = V::splat(V::Elem::default());
        // The first is what comes before the first window's vectors.
        let mut loaded = [zero; 1 + MOST + BLOCKS];
        let first = if LEAD { 0 } else { 1 };
        for (i, &inside) in
            inside.iter().enumerate().take(const { loads_from::<V, K, S, C, ONE>(begin::<V, K, LEAD>()) })
        {
            let from = row.wrapping_add(ahead::<V, K, S>(i, apart));
            loaded[first + i] =
                if INSIDE && !V::FREE_MASKS { V::load(from) } else { V::load_masked(from, inside) };
        }
        let mut values = [[zero; K]; C];
        for (c, values) in values.iter_mut().enumerate() {
            let mut blocks = [zero; BLOCKS];
            for (i, block) in blocks.iter_mut().enumerate() {
                *block = loaded[S * c + i];
            }
            for (k, value) in values.iter_mut().enumerate() {
                *value = match S {
                    // With `ONE`, what comes round from the other end, or behind the last block, is in lanes behind the tile's columns.
                    1 if ONE => blocks[1].rotated(k),
                    1 => loaded[1 + c * K + k],
                    2 => V::every_second(&blocks, k as isize - if LEAD { (K / 2) as isize } else { 0 }),
                    _ => V::every_third(&[blocks[1], blocks[2], blocks[3]], k),
                };
            }
        }
        values
    }
}
