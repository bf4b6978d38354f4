//! Outputs that wait to be stored. A tile with channels in the lanes leaves them here as they are, and the next one writes a row of them
//! for each of its own channels, among multiply-adds that hide it: transposed in registers, they would hold these up.

use std::mem::MaybeUninit;

use super::{Destination, Finish, MAX_POSITIONS, finish};
use crate::element::Element;
use crate::simd::{MAX_LANES, Vector};

/// Channels of a tile at most.
const MAX_CHANNELS: usize = 3 * MAX_LANES;

/// How many rows before it is written a row's cache lines are asked for.
const AHEAD: usize = 8;

/// The outputs of one tile at most.
#[repr(C, align(64))]
pub(crate) struct Pending<T> {
    /// `[position][channel]`, with room for `MAX_CHANNELS` of each position.
    outputs: [MaybeUninit<T>; MAX_POSITIONS * MAX_CHANNELS],
    waiting: Waiting<T>,
}

/// Rows of a tile, one for each channel, that are not stored yet.
pub(super) struct Waiting<T> {
    from: *const T,
    to: *mut T,
    row_stride: usize,
    count: usize,
    cols: usize,
}

impl<T: Element> Pending<T> {
    pub(crate) fn new() -> Self {
        Self {
            outputs: [const { MaybeUninit::uninit() }; MAX_POSITIONS * MAX_CHANNELS],
            waiting: Waiting::none(),
        }
    }

    /// What waits, for the caller to store.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Waiting<T> {
        std::mem::replace(&mut self.waiting, Waiting::none())
    }

    /// Stores what waits.
    ///
    /// # Safety
    /// Its destination is still valid.
    pub(crate) unsafe fn flush(&mut self) {
        // SAFETY: the caller vouches for the destination; the outputs were put here.
        unsafe { self.take().store_all() }
    }
}

impl<T> Waiting<T> {
    pub(super) fn none() -> Self {
        Self { from: std::ptr::null(), to: std::ptr::null_mut(), row_stride: 0, count: 0, cols: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Stores the next row, if there is one, and asks for one to come. Most have `P` columns.
    ///
    /// # Safety
    /// It is valid for writing, and the outputs for reading.
    #[inline(always)]
    pub(super) unsafe fn store_next<const P: usize>(&mut self, ask: impl Fn(*mut T)) {
        if self.is_empty() {
            return;
        }
        ask(self.to.wrapping_add(AHEAD * self.row_stride + self.cols - 1));
        // SAFETY: the caller vouches for `cols` elements of either. A constant number is copied without a loop.
        unsafe { if self.cols == P { self.copy_columns(P) } else { self.copy_columns(self.cols) } }
        self.from = self.from.wrapping_add(1);
        self.to = self.to.wrapping_add(self.row_stride);
        self.count -= 1;
    }

    /// Stores all rows.
    ///
    /// # Safety
    /// As [`Waiting::store_next`].
    pub(super) unsafe fn store_all(mut self) {
        while !self.is_empty() {
            // SAFETY: the caller's obligations are the same.
            unsafe { self.store_next::<0>(|_| {}) }
        }
    }

    /// Copies the first columns of the next row.
    ///
    /// # Safety
    /// As [`Waiting::store_next`]; there are so many.
    #[inline(always)]
    unsafe fn copy_columns(&self, cols: usize) {
        for col in 0..cols {
            // SAFETY: the caller's obligations are passed on.
            unsafe { copy(self.from.wrapping_add(col * MAX_CHANNELS), self.to.wrapping_add(col)) }
        }
    }
}

/// Copies an element through a register for integers, for sums take all others. Volatile, or the compiler would gather
/// several in one of those.
///
/// # Safety
/// `from` is valid for reading, `to` for writing.
#[inline(always)]
unsafe fn copy<T>(from: *const T, to: *mut T) {
    const { assert!(size_of::<T>() == size_of::<u32>() || size_of::<T>() == size_of::<u64>()) };
    // SAFETY: the caller vouches for an element, which is as large as the integer.
    unsafe {
        if size_of::<T>() == size_of::<u32>() {
            to.cast::<u32>().write_volatile(from.cast::<u32>().read_volatile());
        } else {
            to.cast::<u64>().write_volatile(from.cast::<u64>().read_volatile());
        }
    }
}

/// Leaves a tile's outputs in `pending`, where nothing waits.
///
/// # Safety
/// The destination's bias is valid for reading `rows`, of which the tile's begin with `first_row`.
#[inline(always)]
pub(super) unsafe fn hold<V: Vector, const P: usize, const NV: usize>(
    sums: &[[V; NV]; P],
    first_row: usize,
    destination: &Destination<'_, V::Elem>,
    pending: &mut Pending<V::Elem>,
) {
    const { assert!(P <= MAX_POSITIONS && NV * V::LANES <= MAX_CHANNELS) };
    let count = (destination.rows - first_row).min(NV * V::LANES);
    let outputs = pending.outputs.as_mut_ptr().cast::<V::Elem>();
    let (bias, bounds) = match destination.finish {
        Finish::Partial => (None, None),
        Finish::Clamp { bias, lo, hi } => (Some(bias), finish::bounded(lo, hi).then_some((lo, hi))),
        Finish::Full { .. } => return debug_assert!(false, "see ChannelTiles::holds"),
    };
    // SAFETY: the bias is read for rows that there are; there is room for all positions and vectors.
    unsafe {
        let mut biases = [V::splat(V::Elem::ZERO); NV];
        if let Some(bias) = bias {
            for (v, biases) in biases.iter_mut().enumerate() {
                let lanes = count.saturating_sub(v * V::LANES).min(V::LANES);
                let from = bias.wrapping_add(first_row + v * V::LANES);
                *biases = V::load_masked(from, V::mask(0, lanes));
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let mut y = if bias.is_some() { sum.add(biases[v]) } else { sum };
                if let Some((lo, hi)) = bounds {
                    y = y.at_least(V::splat(lo)).at_most(V::splat(hi));
                }
                y.store(outputs.add(p * MAX_CHANNELS + v * V::LANES));
            }
        }
    }
    pending.waiting = Waiting {
        from: outputs,
        to: destination.y.wrapping_add(first_row * destination.row_stride),
        row_stride: destination.row_stride,
        count,
        cols: destination.cols,
    };
}
