//! The tile with positions in the lanes: `R` channels × `NV` vectors of positions.
//!
//! Vectors of image values are loaded where they lie: in a band of rows, which [`super::rows`] copies, or in an image that
//! is its own im2col matrix.

use super::{Destination, Next, PositionTiles, finish, unroll};
use crate::simd::Vector;

/// # Safety
/// See [`super::PositionKernel::run`]: for every tap of every channel there are `NV` vectors; the weights hold `R` for every k
/// of every tile.
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const R: usize, const NV: usize>(tiles: &PositionTiles<'_, V::Elem>) {
    for first_col in (0..tiles.destination.cols).step_by(NV * V::LANES) {
        for first_row in (0..tiles.destination.rows).step_by(R) {
            // SAFETY: the caller's obligations are passed on.
            unsafe { tile::<V, R, NV>(tiles, first_row, first_col) };
        }
    }
}

/// The tile whose channels begin with the destination's row `first_row` and whose positions with its column `first_col`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize>(
    tiles: &PositionTiles<'_, V::Elem>,
    first_row: usize,
    first_col: usize,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut sums = load::<V, R, NV>(first_row, first_col, &tiles.destination);
        // R divides LANES, so that a tile's weights lie in one panel.
        let row = tiles.w_row + first_row;
        let mut w = tiles.w.add(row / V::LANES * tiles.w_panel + row % V::LANES);
        let next = match tiles.next {
            Next::Channel => tiles.channel_stride + V::LANES,
            Next::Right if first_row < NV * R => (NV + first_row / R) * V::LANES,
            Next::Right | Next::Nothing => 0,
        };
        let mut b = tiles.b.wrapping_add(first_col);
        if let [tap] = tiles.taps {
            b = b.wrapping_add(*tap);
            for _ in 0..tiles.channels {
                step::<V, R, NV>(&mut sums, b, next, w);
                w = w.wrapping_add(V::LANES);
                b = b.wrapping_add(tiles.channel_stride);
            }
        } else {
            let (taps, mut tap) = (tiles.taps.as_ptr_range(), tiles.taps.as_ptr());
            // One loop over channels and taps: between two, registers for the sums would be saved and restored.
            for _ in 0..tiles.channels * tiles.taps.len() {
                step::<V, R, NV>(&mut sums, b.wrapping_add(*tap), next, w);
                w = w.wrapping_add(V::LANES);
                tap = tap.add(1);
                if tap == taps.end {
                    tap = taps.start;
                    b = b.wrapping_add(tiles.channel_stride);
                }
            }
        }
        store(&sums, first_row, first_col, &tiles.destination);
    }
}

/// One k: `sums[r][v] += w[r] · b[v]`, and a line to come is asked for.
///
/// # Safety
/// `w` is valid for reading `R` weights, `b` for `NV` vectors.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const NV: usize>(
    sums: &mut [[V; NV]; R],
    b: *const V::Elem,
    next: usize,
    w: *const V::Elem,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut values = [V::splat(V::Elem::default()); NV];
        for (v, value) in values.iter_mut().enumerate() {
            *value = V::load(b.add(v * V::LANES));
        }
        V::prefetch(b.wrapping_add(next));
        for (i, rows) in sums.chunks_mut(V::SPLATS).enumerate() {
            let w = w.add(i * V::SPLATS);
            if rows.len() == V::SPLATS {
                for (sums, &weight) in rows.iter_mut().zip(V::splats(w).as_ref()) {
                    row(sums, weight, &values);
                }
            } else {
                for (r, sums) in rows.iter_mut().enumerate() {
                    row(sums, V::splat(*w.add(r)), &values);
                }
            }
        }
    }
}

/// One channel of one k.
#[inline(always)]
fn row<V: Vector, const NV: usize>(sums: &mut [V; NV], weight: V, values: &[V; NV]) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum = weight.mul_add(value, *sum);
    }
}

/// Zeros, or the sums that an earlier block stored.
///
/// # Safety
/// The CPU has the instruction set; where it is resumed, the destination is valid for reading.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const NV: usize>(
    first_row: usize,
    first_col: usize,
    destination: &Destination<'_, V::Elem>,
) -> [[V; NV]; R] {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if !destination.stream {
            finish::prefetch::<V, R, NV>(first_row, first_col, destination);
        }
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; NV]; R];
        if destination.resume {
            unroll!(v in 0..NV => {
                let mut column = [zero; R];
                finish::load_rows(&mut column, first_row, first_col + v * V::LANES, destination);
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
    first_col: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let whole = first_row + R <= destination.rows && first_col + NV * V::LANES <= destination.cols;
    // SAFETY: the caller's obligations are passed on.
    unroll!(v in 0..NV => unsafe {
        let mut column = [sums[0][v]; R];
        for r in 0..R {
            column[r] = sums[r][v];
        }
        finish::store_rows(&column, first_row, first_col + v * V::LANES, whole.then_some(V::LANES), destination);
    });
}
