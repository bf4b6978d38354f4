//! A block of rows as columns, for packing.

use crate::element::Element;
use crate::simd::Vector;

/// Writes `cols` columns of `rows` rows, neither more than the lanes, as vectors, with zeros for the rows that there are not;
/// asks for the rows that lie `next` behind these.
///
/// # Safety
/// See [`super::SquareFn`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(
    from: *const V::Elem,
    (row, next): (usize, usize),
    [rows, cols]: [usize; 2],
    to: *mut V::Elem,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut square = V::splat(V::Elem::ZERO).square();
        let mask = V::mask(0, cols);
        for (i, vector) in square.as_mut().iter_mut().enumerate().take(rows) {
            *vector = V::load_masked(from.wrapping_add(i * row), mask);
            V::prefetch(from.wrapping_add(i * row + next));
        }
        V::transpose(&mut square);
        for (i, vector) in square.as_ref().iter().enumerate().take(cols) {
            vector.store(to.wrapping_add(i * V::LANES));
        }
    }
}
