//! Sums of outer products over positions, as the weight gradient needs them: of the values of some rows, which are broadcast from where
//! they lie, with vectors of channels.

use super::Outer;
use crate::caches::LINE;
use crate::simd::Vector;

/// # Safety
/// See [`super::KernelSet::outer`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(outer: &Outer<'_, V::Elem>) {
    let mut vector = 0;
    while vector < outer.vectors {
        // SAFETY: the caller's obligations are passed on; there are so many vectors.
        unsafe {
            if outer.vectors - vector >= 2 {
                all_rows::<V, 2>(outer, vector);
                vector += 2;
            } else {
                all_rows::<V, 1>(outer, vector);
                vector += 1;
            }
        }
    }
}

/// All rows by the vectors from `vector` on.
///
/// # Safety
/// As [`run`]; there are `NV` vectors.
#[inline(always)]
unsafe fn all_rows<V: Vector, const NV: usize>(outer: &Outer<'_, V::Elem>, vector: usize) {
    let mut row = 0;
    while row < outer.rows.len() {
        // SAFETY: the caller's obligations are passed on; there are so many rows.
        row += unsafe {
            match outer.rows.len() - row {
                8.. if V::REGISTERS >= 32 || NV == 1 => tile::<V, 8, NV>(outer, row, vector),
                // 12 sums, two vectors and a broadcast, of 16 registers.
                6.. if V::REGISTERS < 32 && NV > 1 => tile::<V, 6, NV>(outer, row, vector),
                4.. => tile::<V, 4, NV>(outer, row, vector),
                2.. => tile::<V, 2, NV>(outer, row, vector),
                _ => tile::<V, 1, NV>(outer, row, vector),
            }
        };
    }
}

/// The rows from `row` on by the vectors from `vector` on; gives `R`.
///
/// # Safety
/// As [`run`]; there are `R` rows and `NV` vectors.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize>(
    outer: &Outer<'_, V::Elem>,
    row: usize,
    vector: usize,
) -> usize {
    // SAFETY: the caller vouches for the instruction set, for what the runs read, and for room for all sums.
    unsafe {
        let zero = V::splat(V::Elem::default());
        prefetch::<V, R>(outer, row);
        // The first rows ask for the first vectors, those behind them for the second.
        let full = if V::REGISTERS < 32 { 6 } else { 8 };
        let hidden = R == full && NV == 2 && row < 2 * R && 2 * R <= outer.rows.len();
        let sums = if hidden && !outer.next.is_null() {
            let next = outer.next.wrapping_add(row / R * outer.b_vector);
            accumulate::<V, R, NV, true>(outer, row, vector, next)
        } else {
            accumulate::<V, R, NV, false>(outer, row, vector, outer.next)
        };
        for (r, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let to = outer.to.wrapping_add((row + r) * outer.to_row + (vector + v) * outer.to_vector);
                let before = if outer.first { zero } else { V::load(to) };
                // What is added to what was given, too, is a sum from +0.0.
                before.add(zero.add(sum)).store(to);
            }
        }
    }
    R
}

/// Asks for the lines that will be written, while there is something to compute.
#[inline(always)]
fn prefetch<V: Vector, const R: usize>(outer: &Outer<'_, V::Elem>, row: usize) {
    for r in 0..R {
        let written = outer.written.wrapping_add((row + r) * outer.written_row);
        for line in 0..outer.lines {
            V::prefetch_write(written.wrapping_add(line * (LINE / size_of::<V::Elem>())));
        }
    }
}

/// One chain of fused multiply-adds over all positions for each sum; asks for a vector of `next` at each, if that is wanted.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const R: usize, const NV: usize, const AHEAD: bool>(
    outer: &Outer<'_, V::Elem>,
    row: usize,
    vector: usize,
    mut next: *const V::Elem,
) -> [[V; NV]; R] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut sums = [[V::splat(V::Elem::default()); NV]; R];
        let first = outer.b.wrapping_add(vector * outer.b_vector);
        for run in outer.runs {
            let mut rows = [outer.a; R];
            for (r, from) in rows.iter_mut().enumerate() {
                *from = outer.a.wrapping_add(outer.rows[row + r] + run.a);
            }
            let (mut b, mut at) = (first.wrapping_add(run.b), 0);
            for _ in 0..run.len {
                if AHEAD {
                    V::prefetch(next);
                    next = next.wrapping_add(outer.b_step);
                }
                let mut vectors = [V::splat(V::Elem::default()); NV];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = V::load(b.wrapping_add(v * outer.b_vector));
                }
                for (sums, from) in sums.iter_mut().zip(&rows) {
                    let value = V::splat(*from.wrapping_add(at));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = value.mul_add(vector, *sum);
                    }
                }
                at += 1;
                b = b.wrapping_add(outer.b_step);
            }
        }
        sums
    }
}
