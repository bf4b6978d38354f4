//! From registers to the output: partial sums, bias and clamp straight away, everything else through [`epilogue`].

use std::mem::MaybeUninit;

use super::{Destination, Finish, unroll};
use crate::element::Element;
use crate::epilogue::Activation;
use crate::simd::{MAX_LANES, Vector};

/// Asks for the lines of the tile's `R` rows from `first_row` on and `NV` vectors from column `first_col` on, before the k loop, which
/// hides what they cost to get.
#[inline(always)]
pub(crate) fn prefetch<V: Vector, const R: usize, const NV: usize>(
    first_row: usize,
    first_col: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let y = destination.y.wrapping_add(first_row * destination.row_stride + first_col);
    for row in 0..R {
        let y = y.wrapping_add(row * destination.row_stride);
        for v in 0..NV {
            V::prefetch_write(y.wrapping_add(v * V::LANES));
        }
    }
}

/// Stores `rows`, the tile's rows from `first_row` on, at the columns from `first_col` on. `whole`: all of them lie in the
/// destination, with so many columns.
///
/// # Safety
/// The destination is valid for writing `rows` × `cols` elements, and its bias for reading `rows`.
#[inline(always)]
pub(crate) unsafe fn store_rows<V: Vector>(
    rows: &[V],
    first_row: usize,
    first_col: usize,
    whole: Option<usize>,
    destination: &Destination<'_, V::Elem>,
) {
    let lanes = destination.cols.saturating_sub(first_col).min(V::LANES);
    // SAFETY: only rows below `rows` and columns below `cols` are touched.
    unsafe {
        match (destination.finish, whole) {
            (Finish::Clamp { bias, lo, hi }, Some(cols)) => {
                let bounded = bounded(lo, hi);
                let bounds = (V::splat(lo), V::splat(hi));
                let y = destination.y.add(first_row * destination.row_stride + first_col);
                let to = (y, destination.row_stride, cols, bias.add(first_row));
                match (bounded, destination.stream) {
                    (false, false) => store_whole::<V, false, false>(rows, bounds, to),
                    (false, true) => store_whole::<V, false, true>(rows, bounds, to),
                    (true, false) => store_whole::<V, true, false>(rows, bounds, to),
                    (true, true) => store_whole::<V, true, true>(rows, bounds, to),
                }
            }
            (Finish::Clamp { bias, lo, hi }, None) => {
                let (lo, hi) = (V::splat(lo), V::splat(hi));
                for (i, &row) in rows.iter().enumerate() {
                    if first_row + i < destination.rows {
                        let sum = row.add(V::splat(*bias.add(first_row + i)));
                        let y = sum.at_least(lo).at_most(hi);
                        put(y, first_row + i, first_col, lanes, destination);
                    }
                }
            }
            (Finish::Partial, _) => {
                for (i, &row) in rows.iter().enumerate() {
                    if first_row + i < destination.rows {
                        put(row, first_row + i, first_col, lanes, destination);
                    }
                }
            }
            (Finish::Full { run, .. }, _) => {
                debug_assert!(rows.len() <= MAX_LANES);
                let mut sums = MaybeUninit::<[V::Elem; MAX_LANES * MAX_LANES]>::uninit();
                let sums = sums.as_mut_ptr().cast::<V::Elem>();
                for (i, &row) in rows.iter().enumerate() {
                    row.store(sums.add(i * V::LANES));
                }
                run(sums, first_row, rows.len(), first_col, destination);
            }
        }
    }
}

/// Whether a clamp has bounds.
#[inline(always)]
pub(super) fn bounded<T: Element>(lo: T, hi: T) -> bool {
    lo > T::NEG_INFINITY || hi < T::INFINITY
}

/// Adds the bias, clamps and stores `cols` columns.
///
/// # Safety
/// `y` is valid for writing and aligned where streamed, `bias` valid for reading; `rows` of each.
#[inline(always)]
unsafe fn store_whole<V: Vector, const BOUNDED: bool, const STREAM: bool>(
    rows: &[V],
    (lo, hi): (V, V),
    (y, row_stride, cols, bias): (*mut V::Elem, usize, usize, *const V::Elem),
) {
    for (i, &row) in rows.iter().enumerate() {
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            let mut sum = row.add(V::splat(*bias.add(i)));
            if BOUNDED {
                sum = sum.at_least(lo).at_most(hi);
            }
            let y = y.add(i * row_stride);
            if cols < V::LANES {
                sum.store_first(y, cols);
            } else if STREAM {
                sum.stream(y);
            } else {
                sum.store(y);
            }
        }
    }
}

/// Stores the first `count` of vectors of output plane `plane`, each at its place, and of each its first lanes.
///
/// # Safety
/// So many lanes are valid for writing at each place, which lies in the output, and the bias for reading.
#[inline(always)]
pub(crate) unsafe fn store_vectors<V: Vector, const N: usize>(
    sums: &[V; N],
    count: usize,
    plane: usize,
    places: &[*mut V::Elem; N],
    lanes: &[usize; N],
    destination: &Destination<'_, V::Elem>,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match destination.finish {
            Finish::Clamp { bias, lo, hi } => {
                let bounded = bounded(lo, hi);
                let (bias, lo, hi) = (V::splat(*bias.add(plane)), V::splat(lo), V::splat(hi));
                unroll!(i in 0..N => if i < count {
                    let mut sum = sums[i].add(bias);
                    if bounded {
                        sum = sum.at_least(lo).at_most(hi);
                    }
                    if V::FREE_MASKS || lanes[i] < V::LANES {
                        sum.store_first(places[i], lanes[i]);
                    } else {
                        sum.store(places[i]);
                    }
                });
            }
            Finish::Full { epilogue, channel, residual, run } => {
                // Initialised, for the epilogue's vectors may have more lanes than these.
                let mut stored = [V::Elem::ZERO; MAX_LANES * MAX_LANES];
                let stored = stored.as_mut_ptr();
                unroll!(i in 0..N => sums[i].store(stored.add(i * V::LANES)));
                // Copies, so that the others stay in registers.
                let (places, lanes) = (*places, *lanes);
                for (i, (y, cols)) in places.into_iter().zip(lanes).enumerate().take(count) {
                    if cols == 0 {
                        continue;
                    }
                    let ahead = y.offset_from(destination.y);
                    let residual = residual.map(|residual| residual.wrapping_offset(ahead));
                    let finish = Finish::Full { epilogue, channel: channel + plane, residual, run };
                    let place = Destination { y, cols, finish, ..*destination };
                    run(stored.add(i * V::LANES), 0, 1, 0, &place);
                }
            }
            Finish::Partial => debug_assert!(false, "a direct tile has all of k"),
        }
    }
}

/// Loads partial sums: the inverse of [`store_rows`]; what lies outside the destination reads as 0.
///
/// # Safety
/// The destination is valid for reading `rows` × `cols` elements.
#[inline(always)]
pub(crate) unsafe fn load_rows<V: Vector>(
    rows: &mut [V],
    first_row: usize,
    first_col: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let lanes = destination.cols.saturating_sub(first_col).min(V::LANES);
    for (i, row) in rows.iter_mut().enumerate() {
        // SAFETY: only rows below `rows` and columns below `cols` are read.
        unsafe {
            *row = V::splat(V::Elem::default());
            if first_row + i < destination.rows {
                let from = destination.y.wrapping_add((first_row + i) * destination.row_stride + first_col);
                *row =
                    if lanes == V::LANES { V::load(from) } else { V::load_masked(from, V::mask(0, lanes)) };
            }
        }
    }
}

/// # Safety
/// `lanes` elements at (row, col) of the destination are valid for writing.
#[inline(always)]
unsafe fn put<V: Vector>(y: V, row: usize, col: usize, lanes: usize, destination: &Destination<'_, V::Elem>) {
    let to = destination.y.wrapping_add(row * destination.row_stride + col);
    // SAFETY: the caller vouches for the elements.
    unsafe { if lanes == V::LANES { y.store(to) } else { y.store_first(to, lanes) } }
}

/// Bias, residual and any activation for `rows` rows of sums, `LANES` apart.
///
/// # Safety
/// As [`store_rows`]; `sums` is valid for reading `rows · LANES` elements, the residual for what the destination
/// is valid for.
#[inline(always)]
pub(crate) unsafe fn epilogue<V: Vector>(
    sums: *const V::Elem,
    first_row: usize,
    rows: usize,
    first_col: usize,
    destination: &Destination<'_, V::Elem>,
    activate: impl Fn(&Activation<V::Elem>, V, usize) -> V,
) {
    let Finish::Full { epilogue, channel, residual, .. } = destination.finish else { return };
    let lanes = destination.cols.saturating_sub(first_col).min(V::LANES);
    for i in 0..rows.min(destination.rows.saturating_sub(first_row)) {
        let (row, channel) = (first_row + i, channel + first_row + i);
        // SAFETY: the caller vouches for the sums and for the residual; `row` is below `rows`.
        unsafe {
            let mut y = V::load(sums.add(i * V::LANES)).add(V::splat(epilogue.bias[channel]));
            if let Some(residual) = residual {
                let from = residual.wrapping_add(row * destination.row_stride + first_col);
                y = y.add(V::load_masked(from, V::mask(0, lanes)));
            }
            put(activate(&epilogue.activation, y, channel), row, first_col, lanes, destination);
        }
    }
}
