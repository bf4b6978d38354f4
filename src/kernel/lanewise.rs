//! Sums of products over positions, channel by channel, as the weight gradient of narrow groups needs them: vectors of channels of the
//! output's gradient times those of the image that each tap reads.

use super::Lanewise;
use crate::simd::Vector;

/// # Safety
/// See [`super::KernelSet::lanewise`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(products: &Lanewise<'_, V::Elem>) {
    let mut vector = 0;
    while vector < products.vectors {
        // SAFETY: the caller's obligations are passed on; there are so many vectors.
        unsafe {
            if V::REGISTERS >= 32 && products.vectors - vector >= 2 {
                all_taps::<V, 2>(products, vector);
                vector += 2;
            } else {
                all_taps::<V, 1>(products, vector);
                vector += 1;
            }
        }
    }
}

/// # Safety
/// As [`run`]; there are `NV` vectors from `vector` on.
#[inline(always)]
unsafe fn all_taps<V: Vector, const NV: usize>(products: &Lanewise<'_, V::Elem>, vector: usize) {
    let mut col = 0;
    while col < products.cols {
        // SAFETY: the caller's obligations are passed on; there are so many taps in each row.
        col += unsafe {
            match products.cols - col {
                7.. => all_rows::<V, 7, 1, NV>(products, col, vector),
                5.. => all_rows::<V, 5, 1, NV>(products, col, vector),
                3.. => all_rows::<V, 3, 3, NV>(products, col, vector),
                _ => all_rows::<V, 1, 4, NV>(products, col, vector),
            }
        };
    }
}

/// `K` taps of all rows from `col` on, of `R` rows at a time; gives `K`.
///
/// # Safety
/// As [`all_taps`]; there are `K` taps.
#[inline(always)]
unsafe fn all_rows<V: Vector, const K: usize, const R: usize, const NV: usize>(
    products: &Lanewise<'_, V::Elem>,
    col: usize,
    vector: usize,
) -> usize {
    let (rows, whole) = (products.rows.len(), products.rows.len() / R * R);
    // SAFETY: the caller's obligations are passed on; there are so many rows.
    unsafe {
        for row in (0..whole).step_by(R) {
            tile::<V, K, R, NV>(products, (row, col), vector);
        }
        for row in whole..rows {
            tile::<V, K, 1, NV>(products, (row, col), vector);
        }
    }
    K
}

/// # Safety
/// As [`all_rows`]; there are `R` rows of taps.
#[inline(always)]
unsafe fn tile<V: Vector, const K: usize, const R: usize, const NV: usize>(
    products: &Lanewise<'_, V::Elem>,
    (row, col): (usize, usize),
    vector: usize,
) {
    // SAFETY: the caller vouches for the instruction set, for what the runs read, and for room for all sums.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [[[zero; NV]; K]; R];
        for run in products.runs {
            let mut a = products.a.wrapping_add(run.a + vector * products.a_vector);
            let b = products.b.wrapping_add(run.b + vector * products.b_vector + col * V::LANES);
            let mut rows = [b; R];
            for (from, row) in rows.iter_mut().zip(&products.rows[row..]) {
                *from = b.wrapping_add(*row);
            }
            let mut at = 0;
            for _ in 0..run.len {
                for v in 0..NV {
                    let value = V::load(a.wrapping_add(v * products.a_vector));
                    for (sums, from) in sums.iter_mut().zip(&rows) {
                        let from = from.wrapping_add(at + v * products.b_vector);
                        for (k, sums) in sums.iter_mut().enumerate() {
                            let b = V::load(from.wrapping_add(k * V::LANES));
                            sums[v] = b.mul_add(value, sums[v]);
                        }
                    }
                }
                a = a.wrapping_add(V::LANES);
                at += products.b_step;
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (k, sums) in sums.iter().enumerate() {
                let tap = (row + r) * products.cols + col + k;
                for (v, &sum) in sums.iter().enumerate() {
                    let to = products.to.wrapping_add(tap * V::LANES + (vector + v) * products.to_vector);
                    let before = if products.first { zero } else { V::load(to) };
                    before.add(sum).store(to);
                }
            }
        }
    }
}
