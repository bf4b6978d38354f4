//! Outputs that wait to be stored. A tile with channels in the lanes leaves them here, transposed in blocks, and the next one writes a row
//! of them for each of its own channels, among multiply-adds that hide it: transposed as a whole, they would hold these up.

use std::mem::MaybeUninit;

use super::{Destination, Finish, MAX_POSITIONS, finish, unroll};
use crate::element::Element;
use crate::simd::{BLOCK, MAX_LANES, Vector};

/// Channels of a tile at most.
const MAX_CHANNELS: usize = 3 * MAX_LANES;

/// How many rows before it is written a row's cache lines are asked for.
const AHEAD: usize = 8;

/// The outputs of one tile at most.
#[repr(C, align(64))]
pub(crate) struct Pending<T> {
    /// `[position][channel]`, with room for `MAX_CHANNELS` of each position; of E positions and as many channels, which are a block each, the
    /// other way around.
    outputs: [MaybeUninit<T>; MAX_POSITIONS * MAX_CHANNELS],
    waiting: Waiting<T>,
}

/// Rows of a tile, one for each channel, that are not stored yet.
pub(super) struct Waiting<T> {
    outputs: *const T,
    /// The next one.
    row: usize,
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
        Self { outputs: std::ptr::null(), row: 0, to: std::ptr::null_mut(), row_stride: 0, count: 0, cols: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.row == self.count
    }

    /// Stores the next row, if there is one, and asks for one to come.
    ///
    /// # Safety
    /// It is valid for writing, and the outputs for reading.
    #[inline(always)]
    pub(super) unsafe fn store_next<V: Vector<Elem = T>>(&mut self) {
        if self.is_empty() {
            return;
        }
        V::prefetch_write(self.to.wrapping_add(AHEAD * self.row_stride + self.cols - 1));
        // SAFETY: the caller's obligations are passed on.
        unsafe { self.store_row() }
    }

    /// Stores all rows.
    ///
    /// # Safety
    /// As [`Waiting::store_next`].
    pub(super) unsafe fn store_all(mut self) {
        while !self.is_empty() {
            // SAFETY: the caller's obligations are the same.
            unsafe { self.store_row() }
        }
    }

    /// Stores the next row, which there is.
    ///
    /// # Safety
    /// As [`Waiting::store_next`].
    #[inline(always)]
    unsafe fn store_row(&mut self) {
        let each = BLOCK / size_of::<T>();
        let lane = self.row % each;
        let mut from = self.outputs.wrapping_add(lane * MAX_CHANNELS + self.row - lane);
        let mut to = self.to;
        // The bits of the number decide, which are the same from row to row.
        for blocks in [4, 2, 1] {
            if (self.cols / each) & blocks != 0 {
                for _ in 0..blocks {
                    // SAFETY: the caller's obligations are passed on.
                    unsafe { from.copy_to_nonoverlapping(to, each) };
                    (from, to) = (from.wrapping_add(each * MAX_CHANNELS), to.wrapping_add(each));
                }
            }
        }
        for some in [2, 1] {
            if some < each && self.cols & some != 0 {
                // SAFETY: as above.
                unsafe { from.copy_to_nonoverlapping(to, some) };
                (from, to) = (from.wrapping_add(some), to.wrapping_add(some));
            }
        }
        self.row += 1;
        self.to = self.to.wrapping_add(self.row_stride);
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
        unroll!(i in 0..NV * P.div_ceil(V::LANES) => {
            let (v, first) = (i % NV, i / NV * V::LANES);
            let positions = V::LANES.min(P - first);
            let mut square = sums[first][v].square();
            for lane in 0..positions {
                let sum = sums[first + lane][v];
                let mut y = if bias.is_some() { sum.add(biases[v]) } else { sum };
                if let Some((lo, hi)) = bounds {
                    y = y.at_least(V::splat(lo)).at_most(V::splat(hi));
                }
                square.as_mut()[lane] = y;
            }
            V::transpose_blocks(&mut square);
            let outputs = outputs.add(first * MAX_CHANNELS + v * V::LANES);
            for lane in 0..positions.next_multiple_of(BLOCK / size_of::<V::Elem>()) {
                square.as_ref()[lane].store(outputs.add(lane * MAX_CHANNELS));
            }
        });
    }
    pending.waiting = Waiting {
        outputs,
        row: 0,
        to: destination.y.wrapping_add(first_row * destination.row_stride),
        row_stride: destination.row_stride,
        count,
        cols: destination.cols,
    };
}
