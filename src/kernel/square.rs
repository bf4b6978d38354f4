//! Rows as columns, for packing and for putting packed sums in place.

use super::{Columns, Square, unroll};
use crate::simd::Vector;

/// # Safety
/// See [`super::KernelSet::square`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(square: &Square<'_, V::Elem>) {
    debug_assert!((1..=V::LANES).contains(&square.rows.len()));
    let all = square.rows.len() == V::LANES;
    let whole = square.cols - square.cols % V::LANES;
    for i in 0..square.count {
        let places =
            (square.from.wrapping_add(i * square.from_next), square.to.wrapping_add(i * square.to_next));
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            for first in (0..whole).step_by(V::LANES) {
                match (all, square.whole) {
                    (true, _) => block::<V, true, true>(square, places, first),
                    (false, false) => block::<V, false, true>(square, places, first),
                    (false, true) => block::<V, false, false>(square, places, first),
                }
            }
            match (whole < square.cols, all && !square.add && whole > 0) {
                // Columns that are written twice take less than some that are not there.
                (true, true) => block::<V, true, true>(square, places, square.cols - V::LANES),
                (true, false) => block::<V, false, false>(square, places, whole),
                (false, _) => {}
            }
        }
    }
}

/// At most as many columns as lanes, from `first` on. `ROWS`: there are as many rows. `COLS`: there are as many columns, and the rows
/// that there are not need not be zeros.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn block<V: Vector, const ROWS: bool, const COLS: bool>(
    square: &Square<'_, V::Elem>,
    (from, to): (*const V::Elem, *mut V::Elem),
    first: usize,
) {
    let (rows, cols) = (square.rows.len(), V::LANES.min(square.cols - first));
    // SAFETY: the caller vouches for the instruction set, the rows, the room and as many places as columns.
    unsafe {
        let mut block = V::splat(V::Elem::default()).square();
        let [columns, none, held] = [V::mask(0, cols), V::mask(0, 0), V::mask(0, rows)];
        unroll!(i in 0..V::LANES => {
            let row = if ROWS || i < rows { i } else { 0 };
            let from = from.wrapping_add(square.rows[row] + first);
            block.as_mut()[i] = if COLS {
                V::load(from)
            } else {
                V::load_masked(from, if i < rows { columns } else { none })
            };
            if square.next > 0 {
                V::prefetch(from.wrapping_add(square.next));
            }
        });
        V::transpose(&mut block);
        if let (Columns::Step(step), true, true) = (square.columns, COLS, square.whole) {
            unroll!(i in 0..V::LANES => {
                block.as_ref()[i].store(to.wrapping_add((first + i).wrapping_mul(step)));
            });
            return;
        }
        unroll!(i in 0..V::LANES => {
            let place = match square.columns {
                Columns::Step(step) => (first + i).wrapping_mul(step),
                Columns::At(places) if COLS || i < cols => *places.get_unchecked(first + i),
                Columns::At(_) => Columns::NOWHERE,
            };
            if (COLS || i < cols) && place != Columns::NOWHERE {
                let to = to.wrapping_add(place);
                let vector = block.as_ref()[i];
                if square.whole || ROWS && !square.add {
                    vector.store(to);
                } else if square.add {
                    V::load_masked(to, held).add(vector).store_first(to, rows);
                } else {
                    vector.store_first(to, rows);
                }
            }
        });
    }
}
