//! `matrixmultiply` behind slices: the GEMM of `Algorithm::Im2col`.

use std::any::Any;

use crate::element::Element;

/// `c = a · b` for row-major `a` (m×k), `b` (k×n) and `c` (m×n).
///
/// # Panics
/// Where a slice is shorter than its matrix.
pub(crate) fn gemm<T: Element>(m: usize, k: usize, n: usize, a: &[T], b: &[T], c: &mut [T]) {
    assert!(a.len() >= m * k && b.len() >= k * n && c.len() >= m * n, "a slice is shorter than its matrix");
    let (row_a, row_b) = (k as isize, n as isize);
    let zero: &dyn Any = &T::ZERO;
    // SAFETY: the assertion above; matrices are row-major with unit column stride. `T` is f32 where ZERO is one,
    // else f64, for `Element` is sealed.
    unsafe {
        let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
        if zero.is::<f32>() {
            let (a, b, c) = (a.cast(), b.cast(), c.cast());
            matrixmultiply::sgemm(m, k, n, 1.0, a, row_a, 1, b, row_b, 1, 0.0, c, row_b, 1);
        } else {
            let (a, b, c) = (a.cast(), b.cast(), c.cast());
            matrixmultiply::dgemm(m, k, n, 1.0, a, row_a, 1, b, row_b, 1, 0.0, c, row_b, 1);
        }
    }
}
