//! The tile with positions in the lanes: `R` channels × `NV` vectors of positions.
//!
//! Vectors of image values are rows of a matrix: a panel, which [`super::panel`] packs, or an image that is its own im2col
//! matrix.

use super::{Destination, PositionTiles, finish, unroll};
use crate::simd::Vector;

/// # Safety
/// See [`super::PositionKernel::run`]: `b` has `k` rows of `NV` vectors; the weights hold `R` for every k of every tile.
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const R: usize, const NV: usize>(tiles: &PositionTiles<'_, V::Elem>) {
    for first_row in (0..tiles.destination.rows).step_by(R) {
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            let mut sums = load::<V, R, NV>(first_row, &tiles.destination);
            // R divides LANES, so that a tile's weights lie in one panel.
            let row = tiles.w_row + first_row;
            let mut w = tiles.w.add(row / V::LANES * tiles.w_panel + row % V::LANES);
            let (mut b, mut next) = (tiles.b, tiles.b);
            if first_row < tiles.prefetch * R {
                next = next.wrapping_add((NV + first_row / R) * V::LANES);
            }
            for _ in 0..tiles.k {
                let mut values = [V::splat(V::Elem::default()); NV];
                for (v, value) in values.iter_mut().enumerate() {
                    *value = V::load(b.add(v * V::LANES));
                }
                V::prefetch(next);
                step::<V, R, NV>(&mut sums, &values, w);
                b = b.wrapping_add(tiles.stride);
                next = next.wrapping_add(tiles.stride);
                w = w.wrapping_add(V::LANES);
            }
            store(&sums, first_row, &tiles.destination);
        }
    }
}

/// One k: `sums[r][v] += w[r] · values[v]`.
///
/// # Safety
/// `w` is valid for reading `R` weights.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const NV: usize>(
    sums: &mut [[V; NV]; R],
    values: &[V; NV],
    w: *const V::Elem,
) {
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller vouches for R weights.
        let weight = unsafe { V::splat(*w.add(r)) };
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum = weight.mul_add(value, *sum);
        }
    }
}

/// Zeros, or the sums that an earlier block stored.
///
/// # Safety
/// The CPU has the instruction set; where it is resumed, the destination is valid for reading.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const NV: usize>(
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
) -> [[V; NV]; R] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if !destination.stream {
            finish::prefetch::<V, R, NV>(first_row, destination);
        }
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; NV]; R];
        if destination.resume {
            unroll!(v in 0..NV => {
                let mut column = [zero; R];
                finish::load_rows(&mut column, first_row, v * V::LANES, destination);
                for r in 0..R {
                    sums[r][v] = column[r];
                }
            });
        }
        sums
    }
}

/// # Safety
/// The destination is valid for writing.
#[inline(always)]
unsafe fn store<V: Vector, const R: usize, const NV: usize>(
    sums: &[[V; NV]; R],
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let whole = first_row + R <= destination.rows && destination.cols == NV * V::LANES;
    // SAFETY: the caller's obligations are passed on.
    unroll!(v in 0..NV => unsafe {
        let mut column = [sums[0][v]; R];
        for r in 0..R {
            column[r] = sums[r][v];
        }
        finish::store_rows(&column, first_row, v * V::LANES, whole.then_some(V::LANES), destination);
    });
}
