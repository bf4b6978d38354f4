//! The tile with positions in the lanes: `R` channels × `NV` vectors of positions.
//!
//! Vectors of image values come from rows (a packed panel, or an image that is its own im2col matrix) or are put
//! together from runs of the image's rows; then they can be stored as a panel for the tiles of other channels.

use super::{PositionTile, Run, Source, finish, unroll};
use crate::simd::{Vector, merge_strided};

/// # Safety
/// See [`super::Kernel::run`]: the source holds `NV` vectors for every k; `w` holds `R` weights for every k; a panel
/// has room for `NV` vectors for every k.
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const R: usize, const NV: usize>(tile: &PositionTile<'_, V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; NV]; R];
        if tile.destination.resume {
            unroll!(v in 0..NV => {
                let mut column = [zero; R];
                finish::load_rows(&mut column, 0, v * V::LANES, &tile.destination);
                for r in 0..R {
                    sums[r][v] = column[r];
                }
            });
        }
        let sums = match tile.source {
            Source::Rows { b, stride, k } => {
                let mut w = tile.w;
                let mut b = b;
                for _ in 0..k {
                    let mut values = [zero; NV];
                    for (v, value) in values.iter_mut().enumerate() {
                        *value = V::load(b.add(v * V::LANES));
                    }
                    step::<V, R, NV>(&mut sums, &values, w);
                    b = b.wrapping_add(stride);
                    w = w.wrapping_add(tile.w_step);
                }
                sums
            }
            Source::Runs { .. } => gather::<V, R, NV>(sums, tile),
        };
        unroll!(v in 0..NV => {
            let mut column = [zero; R];
            for r in 0..R {
                column[r] = sums[r][v];
            }
            finish::store_rows(&column, 0, v * V::LANES, &tile.destination);
        });
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

/// The k loop over runs.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn gather<V: Vector, const R: usize, const NV: usize>(
    mut sums: [[V; NV]; R],
    tile: &PositionTile<'_, V::Elem>,
) -> [[V; NV]; R] {
    let Source::Runs { x, channel_stride, channels, starts, runs, stride, panel } = tile.source else {
        return sums;
    };
    let (mut x, mut w, mut panel) = (x, tile.w, panel);
    for _ in 0..channels {
        for starts in starts.windows(NV + 1).step_by(NV) {
            // SAFETY: the caller vouches for the runs, the weights and the panel.
            unsafe {
                let mut values = [V::splat(V::Elem::default()); NV];
                for v in 0..NV {
                    for run in &runs[starts[v] as usize..starts[v + 1] as usize] {
                        values[v] = merge(values[v], x, run, stride);
                    }
                }
                step::<V, R, NV>(&mut sums, &values, w);
                if let Some(to) = panel {
                    for (v, value) in values.iter().enumerate() {
                        value.store(to.add(v * V::LANES));
                    }
                    panel = Some(to.add(NV * V::LANES));
                }
            }
            w = w.wrapping_add(tile.w_step);
        }
        x = x.wrapping_add(channel_stride);
    }
    sums
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
