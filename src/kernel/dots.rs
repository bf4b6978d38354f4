//! Sums of products over positions: of rows of one tensor (output channels) with columns of another (input channels and taps), as
//! the weight gradient needs them. Vectors hold positions; [`LANES`] sums are kept apart, in vectors of any width.

use super::Dots;
use crate::element::Element;
use crate::simd::Vector;
use crate::slices::LANES;

/// # Safety
/// See [`super::KernelSet::dots`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(dots: &Dots<'_, V::Elem>) {
    let mut row = 0;
    while row < dots.rows {
        // SAFETY: the caller's obligations are passed on; there are so many rows.
        row += unsafe {
            match dots.rows - row {
                6.. if V::REGISTERS >= 32 => tiles::<V, 6, 4>(dots, row),
                4.. if V::REGISTERS >= 32 => tiles::<V, 4, 4>(dots, row),
                2.. if V::REGISTERS >= 32 => tiles::<V, 2, 8>(dots, row),
                2.. => tiles::<V, 2, 4>(dots, row),
                _ => tiles::<V, 1, 8>(dots, row),
            }
        };
    }
}

/// `R` rows from `row` on by all columns, `C` at a time; gives `R`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tiles<V: Vector, const R: usize, const C: usize>(dots: &Dots<'_, V::Elem>, row: usize) -> usize {
    let columns = dots.offsets.len();
    for first in (0..columns).step_by(C) {
        let count = C.min(columns - first);
        // What the tile has too many is the last one again.
        let mut offsets = [0; C];
        for (c, offset) in offsets.iter_mut().enumerate() {
            *offset = dots.offsets[first + c.min(count - 1)];
        }
        // SAFETY: the caller's obligations are passed on.
        unsafe {
            let sums = accumulate::<V, R, C>(dots, row, offsets);
            for (r, sums) in sums.iter().enumerate() {
                let to = dots.to.wrapping_add((row + r) * dots.to_row + first);
                for (i, four) in sums.chunks_exact(4).enumerate() {
                    let joined = V::sum_lanes([four[0], four[1], four[2], four[3]]);
                    for (c, &sum) in joined.iter().enumerate().take(count.saturating_sub(4 * i)) {
                        let to = to.wrapping_add(4 * i + c);
                        *to = (*to).plus(sum);
                    }
                }
            }
        }
    }
    R
}

/// Vectors that hold the lanes, at most.
const MOST: usize = LANES / 2;

/// The sums of a tile, of which the vectors that hold other lanes have been added to the first.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const R: usize, const C: usize>(
    dots: &Dots<'_, V::Elem>,
    row: usize,
    offsets: [usize; C],
) -> [[V; C]; R] {
    let vectors = const { LANES / V::LANES };
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if vectors == 1 {
            return part::<V, R, C>(dots, row, offsets, 0);
        }
        let mut parts = [[[V::splat(V::Elem::ZERO); C]; R]; MOST];
        for (i, sums) in parts.iter_mut().enumerate().take(vectors) {
            *sums = part::<V, R, C>(dots, row, offsets, i * V::LANES);
        }
        let mut half = vectors / 2;
        while half > 0 {
            let (low, high) = parts.split_at_mut(half);
            for (low, high) in low.as_flattened_mut().iter_mut().zip(high.as_flattened()) {
                for (low, &high) in low.iter_mut().zip(high) {
                    *low = low.add(high);
                }
            }
            half /= 2;
        }
        parts[0]
    }
}

/// Those lanes of the sums that begin with `lane`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn part<V: Vector, const R: usize, const C: usize>(
    dots: &Dots<'_, V::Elem>,
    row: usize,
    offsets: [usize; C],
    lane: usize,
) -> [[V; C]; R] {
    // SAFETY: the caller vouches for the instruction set and for what the runs read.
    unsafe {
        let mut sums = [[V::splat(V::Elem::ZERO); C]; R];
        for run in dots.runs {
            let a = dots.a.wrapping_add(run.a + row * dots.a_row);
            let b = dots.b.wrapping_add(run.b);
            let mut at = lane;
            while at + V::LANES <= run.len {
                let mut columns = [V::splat(V::Elem::ZERO); C];
                for (column, offset) in columns.iter_mut().zip(offsets) {
                    *column = V::load(b.wrapping_add(offset + at));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = V::load(a.wrapping_add(r * dots.a_row + at));
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = value.mul_add(column, *sum);
                    }
                }
                at += LANES;
            }
            if at < run.len {
                let mask = V::mask(0, run.len - at);
                let mut columns = [V::splat(V::Elem::ZERO); C];
                for (column, offset) in columns.iter_mut().zip(offsets) {
                    *column = V::load_masked(b.wrapping_add(offset + at), mask);
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let value = V::load_masked(a.wrapping_add(r * dots.a_row + at), mask);
                    for (sum, &column) in sums.iter_mut().zip(&columns) {
                        *sum = value.mul_add(column, *sum);
                    }
                }
            }
        }
        sums
    }
}
