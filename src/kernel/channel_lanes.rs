//! The tile with channels in the lanes: `P` positions × `NV` vectors of channels. A call computes several, one below the
//! other, from the same table of taps.
//!
//! For each k one value per position is broadcast from the image where it lies, whatever the stride or dilation.
//! Taps on padding are not computed. The tile is transposed in registers as it is stored, or left for the next one to store.

use std::hint::black_box;

use super::pending::{self, Waiting};
use super::{ChannelTiles, Destination, Finish, MAX_POSITIONS, finish, unroll};
use crate::simd::Vector;

/// Offsets that registers hold; more are loaded for each k, which a multiply-add of 512 bits hides.
const HELD_OFFSETS: usize = 6;

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
                let few: [isize; P] = std::array::from_fn(|p| offsets[p]);
                let offset = |p: usize| if P <= HELD_OFFSETS { few[p] } else { offsets[p] };
                accumulate::<V, P, NV>(sums, w, tiles, offset, || {})
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
    let full = tile.taps.iter().all(|tap| tap.mask == all(P));
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match tile.taps {
            [tap] if full => {
                let next = offset(P - 1).wrapping_add(tile.next);
                let mut x = tile.x;
                for _ in 0..tile.channels {
                    ask::<V>(x.wrapping_offset(next));
                    besides();
                    step::<V, P, NV>(&mut sums, x, &offset, w, tile.w_vector, None);
                    x = x.wrapping_offset(tap.x);
                    w = w.wrapping_add(tap.w);
                }
                sums
            }
            _ if full && apart::<V>(P) => over_taps::<V, P, NV, true>(sums, w, tile, offset, besides),
            _ => over_taps::<V, P, NV, false>(sums, w, tile, offset, besides),
        }
    }
}

/// Whether tiles that need no masks have a loop of their own. Measured: AVX2's 6×16 1.03 to 1.09; where a sum is spilled for want of
/// registers, 12×8 and AVX-512's 14×32, 0.6 to 0.8.
#[inline(always)]
fn apart<V: Vector>(positions: usize) -> bool {
    size_of::<V>() < 64 && positions <= HELD_OFFSETS
}

/// The mask of all of `positions`.
#[inline(always)]
fn all(positions: usize) -> u64 {
    (1 << positions) - 1
}

/// Asks for what the next tile reads, if a load more is hidden by multiply-adds. Measured where it is not: AVX2 0.96.
#[inline(always)]
fn ask<V: Vector>(at: *const V::Elem) {
    if size_of::<V>() >= 64 {
        V::prefetch(at);
    }
}

/// The same for each tap of a channel; `FULL`: all positions read inside the image at each.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn over_taps<V: Vector, const P: usize, const NV: usize, const FULL: bool>(
    mut sums: [[V; NV]; P],
    mut w: *const V::Elem,
    tile: &ChannelTiles<'_, V::Elem>,
    offset: impl Fn(usize) -> isize,
    mut besides: impl FnMut(),
) -> [[V; NV]; P] {
    let next = offset(P - 1).wrapping_add(tile.next);
    let mut x = tile.x;
    for _ in 0..tile.channels {
        besides();
        for tap in tile.taps {
            ask::<V>(x.wrapping_offset(next));
            // SAFETY: the caller's obligations are passed on.
            unsafe {
                let full = FULL || !apart::<V>(P) && tap.mask == all(P);
                let mask = if full { None } else { Some(tap.mask) };
                step::<V, P, NV>(&mut sums, x, &offset, w, tile.w_vector, mask);
            }
            x = x.wrapping_offset(tap.x);
            w = w.wrapping_add(tap.w);
        }
    }
    sums
}

/// One k, for the positions in `mask`, or all of them.
///
/// # Safety
/// `w` is valid for reading `NV` vectors that are `w_vector` apart; the positions read inside the image.
#[inline(always)]
unsafe fn step<V: Vector, const P: usize, const NV: usize>(
    sums: &mut [[V; NV]; P],
    x: *const V::Elem,
    offset: &impl Fn(usize) -> isize,
    w: *const V::Elem,
    w_vector: usize,
    mask: Option<u64>,
) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let zero = V::splat(V::Elem::default());
        let value = |p: usize| V::splat(*x.wrapping_offset(offset(p)));
        let weights = |v: usize| V::load(w.add(v * w_vector));
        // Registers hold what there is less of.
        if P < NV {
            match mask {
                None => {
                    let mut values = [zero; P];
                    for (p, held) in values.iter_mut().enumerate() {
                        *held = value(p);
                    }
                    for v in 0..NV {
                        let weights = weights(v);
                        for (sums, &value) in sums.iter_mut().zip(&values) {
                            sums[v] = value.mul_add(weights, sums[v]);
                        }
                    }
                }
                Some(mask) => {
                    for (p, sums) in sums.iter_mut().enumerate() {
                        if mask & (1 << p) != 0 {
                            let value = value(p);
                            for (v, sum) in sums.iter_mut().enumerate() {
                                *sum = value.mul_add(weights(v), *sum);
                            }
                        }
                    }
                }
            }
            return;
        }
        let mut held = [zero; NV];
        for (v, held) in held.iter_mut().enumerate() {
            *held = weights(v);
        }
        for (p, sums) in sums.iter_mut().enumerate() {
            if mask.is_none_or(|mask| mask & (1 << p) != 0) {
                let value = value(p);
                for (sum, &weights) in sums.iter_mut().zip(&held) {
                    *sum = value.mul_add(weights, *sum);
                }
            }
        }
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
