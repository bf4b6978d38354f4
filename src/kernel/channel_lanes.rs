//! The tile with channels in the lanes: `P` positions × `NV` vectors of channels. A call computes several, one below the
//! other, from the same table of taps.
//!
//! For each k one value per position is broadcast from the image where it lies, whatever the stride or dilation.
//! Taps on padding are not computed. The tile is transposed in registers as it is stored, or left for the next one to store.

use std::hint::black_box;

use super::pending::{self, Waiting};
use super::{ChannelTiles, Destination, Finish, MAX_POSITIONS, Tap, finish, unroll};
use crate::simd::Vector;

impl<T> ChannelTiles<'_, T> {
    /// Whether a tile of `rows` channels leaves its outputs to the next one, which has to have a channel for each.
    #[inline(always)]
    fn holds(&self, rows: usize) -> bool {
        let simple = !matches!(self.destination.finish, Finish::Full { .. });
        self.beside && simple && self.channels >= rows
    }
}

/// The tile whose channels begin with the destination's row `first_row`.
///
/// # Safety
/// See [`super::ChannelKernel::run`]: for every channel and tap, the positions in the tap's mask read inside the image;
/// `w` holds `NV` vectors of weights for every k of every tile.
#[inline(always)]
pub(crate) unsafe fn tile<V: Vector, const P: usize, const NV: usize>(
    tiles: &ChannelTiles<'_, V::Elem>,
    first_row: usize,
) {
    const { assert!(P <= MAX_POSITIONS) };
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let held = V::HIDES_COPIES && tiles.holds(NV * V::LANES);
        if !held {
            prefetch::<V, P, NV>(first_row, &tiles.destination);
        }
        let zero = V::splat(V::Elem::default());
        let mut sums = [[zero; NV]; P];
        if tiles.destination.resume {
            load::<V, P, NV>(&mut sums, first_row, &tiles.destination);
        }
        let w = tiles.w.add(first_row / V::LANES * tiles.w_vector);
        let mut waiting = if V::HIDES_COPIES { (*tiles.pending).take() } else { Waiting::none() };
        let sums = match tiles.offsets {
            None => {
                let store = || waiting.store_next::<V>();
                let sums = accumulate::<V, P, NV>(sums, w, tiles, |p| p as isize, store);
                debug_assert!(waiting.is_empty());
                sums
            }
            Some(offsets) => {
                waiting.store_all();
                accumulate::<V, P, NV>(sums, w, tiles, |p| offsets[p], || {})
            }
        };
        // Else the bounds of a clamp are loaded before the k loop, whose sums need every register.
        let destination = black_box(&tiles.destination);
        if held {
            pending::hold(&sums, first_row, destination, &mut *tiles.pending);
        } else {
            store::<V, P, NV>(&sums, first_row, destination);
        }
    }
}

/// Asks for the lines of a tile's rows from `first_row` on, before the k loop, which hides what they cost to get.
#[inline(always)]
fn prefetch<V: Vector, const P: usize, const NV: usize>(
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let y = destination.y.wrapping_add(first_row * destination.row_stride);
    for row in 0..NV * V::LANES {
        let y = y.wrapping_add(row * destination.row_stride);
        V::prefetch_write(y);
        V::prefetch_write(y.wrapping_add(P - 1));
    }
}

/// The chain of fused multiply-adds over (channel, tap) ascending, and something besides for each channel.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const P: usize, const NV: usize>(
    mut sums: [[V; NV]; P],
    mut w: *const V::Elem,
    tile: &ChannelTiles<'_, V::Elem>,
    offset: impl Fn(usize) -> isize,
    mut besides: impl FnMut(),
) -> [[V; NV]; P] {
    let all = (1_u64 << P) - 1;
    let next = offset(P - 1).wrapping_add(tile.next);
    let mut x = tile.x;
    if let [Tap { x: tap_x, w: tap_w, mask }] = *tile.taps
        && mask == all
    {
        x = x.wrapping_offset(tap_x);
        w = w.wrapping_add(tap_w);
        for _ in 0..tile.channels {
            V::prefetch(x.wrapping_offset(next));
            besides();
            // SAFETY: as below.
            unsafe {
                let mut weights = [V::splat(V::Elem::default()); NV];
                for (v, weight) in weights.iter_mut().enumerate() {
                    *weight = V::load(w.add(v * tile.w_vector));
                }
                for (p, sums) in sums.iter_mut().enumerate() {
                    step(sums, V::splat(*x.wrapping_offset(offset(p))), &weights);
                }
            }
            x = x.wrapping_add(tile.channel_stride);
            w = w.wrapping_add(tile.w_channel);
        }
        return sums;
    }
    for _ in 0..tile.channels {
        besides();
        for &Tap { x: tap_x, w: tap_w, mask } in tile.taps {
            let x = x.wrapping_offset(tap_x);
            V::prefetch(x.wrapping_offset(next));
            // SAFETY: the caller vouches for NV vectors of weights at each tap, and for the positions in `mask`.
            unsafe {
                let mut weights = [V::splat(V::Elem::default()); NV];
                for (v, weight) in weights.iter_mut().enumerate() {
                    *weight = V::load(w.add(tap_w + v * tile.w_vector));
                }
                if mask == all {
                    for (p, sums) in sums.iter_mut().enumerate() {
                        step(sums, V::splat(*x.wrapping_offset(offset(p))), &weights);
                    }
                } else {
                    for (p, sums) in sums.iter_mut().enumerate() {
                        if mask & (1 << p) != 0 {
                            step(sums, V::splat(*x.wrapping_offset(offset(p))), &weights);
                        }
                    }
                }
            }
        }
        x = x.wrapping_add(tile.channel_stride);
        w = w.wrapping_add(tile.w_channel);
    }
    sums
}

/// One position and one k.
#[inline(always)]
fn step<V: Vector, const NV: usize>(sums: &mut [V; NV], value: V, weights: &[V; NV]) {
    for (sum, &weight) in sums.iter_mut().zip(weights) {
        *sum = value.mul_add(weight, *sum);
    }
}

/// Transposes and stores.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn store<V: Vector, const P: usize, const NV: usize>(
    sums: &[[V; NV]; P],
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
) {
    let whole = first_row + NV * V::LANES <= destination.rows && destination.cols == P;
    // SAFETY: the caller's obligations are passed on.
    unroll!(i in 0..NV * P.div_ceil(V::LANES) => unsafe {
        let (v, first) = (i % NV, i / NV * V::LANES);
        let mut square = sums[0][v].square();
        for lane in 0..V::LANES.min(P - first) {
            square.as_mut()[lane] = sums[first + lane][v];
        }
        V::transpose(&mut square);
        let whole = whole.then_some(V::LANES.min(P - first));
        finish::store_rows(square.as_ref(), first_row + v * V::LANES, first, whole, destination);
    });
}

/// Loads and transposes the sums that an earlier block stored.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn load<V: Vector, const P: usize, const NV: usize>(
    sums: &mut [[V; NV]; P],
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
) {
    // SAFETY: the caller's obligations are passed on.
    unroll!(i in 0..NV * P.div_ceil(V::LANES) => unsafe {
        let (v, first) = (i % NV, i / NV * V::LANES);
        let mut square = sums[0][0].square();
        finish::load_rows(square.as_mut(), first_row + v * V::LANES, first, destination);
        V::transpose(&mut square);
        for lane in 0..V::LANES.min(P - first) {
            sums[first + lane][v] = square.as_ref()[lane];
        }
    });
}
