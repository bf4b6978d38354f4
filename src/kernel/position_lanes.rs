//! The tile with positions in the lanes: `R` channels × `NV` vectors of positions.
//!
//! Vectors of image values are rows of a matrix ([`rows`]: a packed panel, or an image that is its own im2col matrix) or are
//! put together from runs of the image's rows ([`runs`]) and stored as a panel for the tiles of other channels.

use super::{Destination, RowsTile, Run, RunsTile, finish, unroll};
use crate::simd::{Vector, merge_strided};

/// # Safety
/// See [`super::PositionKernel`]: `b` has `k` rows of `NV` vectors; `w` holds `R` weights for every k.
#[inline(always)]
pub(crate) unsafe fn rows<V: Vector, const R: usize, const NV: usize>(tile: &RowsTile<'_, V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut sums = load::<V, R, NV>(&tile.destination);
        let (mut w, mut b) = (tile.w, tile.b);
        for _ in 0..tile.k {
            let mut values = [V::splat(V::Elem::default()); NV];
            for (v, value) in values.iter_mut().enumerate() {
                *value = V::load(b.add(v * V::LANES));
            }
            step::<V, R, NV>(&mut sums, &values, w);
            b = b.wrapping_add(tile.stride);
            w = w.wrapping_add(tile.w_step);
        }
        store(&sums, &tile.destination);
    }
}

/// # Safety
/// See [`super::PositionKernel`]: `counts` holds a multiple of `NV` numbers, which add up to the length of `runs`;
/// every run's lanes read inside the image; `panel` has room for `NV` vectors for every k; `w` holds `R` weights for
/// every k.
#[inline(always)]
pub(crate) unsafe fn runs<V: Vector, const R: usize, const NV: usize>(tile: &RunsTile<'_, V::Elem>) {
    debug_assert_eq!(tile.counts.len() % NV, 0);
    debug_assert_eq!(tile.counts.iter().sum::<u32>() as usize, tile.runs.len());
    // SAFETY: the caller's obligations are passed on; `run` and `counts` stay inside their slices, for the counts add
    // up to the number of runs.
    unsafe {
        let mut sums = load::<V, R, NV>(&tile.destination);
        let (mut x, mut w, mut panel) = (tile.x, tile.w, tile.panel);
        for _ in 0..tile.channels {
            let mut run = tile.runs.as_ptr();
            for counts in tile.counts.chunks_exact(NV) {
                let mut values = [V::splat(V::Elem::default()); NV];
                for (value, &count) in values.iter_mut().zip(counts) {
                    for _ in 0..count {
                        *value = merge(*value, x, &*run, tile.stride);
                        run = run.add(1);
                    }
                }
                step::<V, R, NV>(&mut sums, &values, w);
                for (v, value) in values.iter().enumerate() {
                    value.store(panel.add(v * V::LANES));
                }
                panel = panel.wrapping_add(NV * V::LANES);
                w = w.wrapping_add(tile.w_step);
            }
            x = x.wrapping_add(tile.channel_stride);
        }
        store(&sums, &tile.destination);
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

/// # Safety
/// The run's lanes read inside the image.
#[inline(always)]
unsafe fn merge<V: Vector>(value: V, x: *const V::Elem, run: &Run, stride: usize) -> V {
    let from = x.wrapping_offset(run.x);
    let (first, end) = (run.first as usize, run.end as usize);
    // SAFETY: the caller vouches for the lanes first..end.
    unsafe {
        if stride != 1 {
            merge_strided(value, from, stride, first, end)
        } else if end - first == V::LANES {
            V::load(from)
        } else {
            value.merge_range(from, first, end)
        }
    }
}

/// Zeros, or the sums that an earlier block stored.
///
/// # Safety
/// The CPU has the instruction set; where it is resumed, the destination is valid for reading.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const NV: usize>(
    destination: &Destination<'_, V::Elem>,
) -> [[V; NV]; R] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        finish::prefetch::<V>(destination);
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; NV]; R];
        if destination.resume {
            unroll!(v in 0..NV => {
                let mut column = [zero; R];
                finish::load_rows(&mut column, 0, v * V::LANES, destination);
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
    destination: &Destination<'_, V::Elem>,
) {
    // SAFETY: the caller's obligations are passed on.
    unroll!(v in 0..NV => unsafe {
        let mut column = [sums[0][v]; R];
        for r in 0..R {
            column[r] = sums[r][v];
        }
        finish::store_rows(&column, 0, v * V::LANES, destination);
    });
}
