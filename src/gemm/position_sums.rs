//! The weight gradient: blocks of weights, each the sum over all positions of products of the output's gradient and the image.

use std::ops::Range;

use crate::element::Element;
use crate::error::Result;
use crate::gemm::tiles::Output;
use crate::kernel::{Columns, KernelSet, Run, Square};
use crate::pack::buffer::{Carver, Scratch};
use crate::parallel::Parallelism;
use crate::plan::{InLanes, WeightBlock, WeightPlan};
use crate::simd::MAX_LANES;
use crate::slices::SLICES;

/// One weight gradient: everything is checked and planned.
pub(crate) struct WeightJob<'a, T: 'static> {
    pub(crate) plan: &'a WeightPlan,
    pub(crate) set: &'static KernelSet<T>,
    pub(crate) x: &'a [T],
    /// The output's gradient.
    pub(crate) dy: &'a [T],
    /// Whether it is added to what `dw` holds.
    pub(crate) add: bool,
    pub(crate) dw: &'a Output<'a, T>,
}

/// Scratch of a part.
pub(super) struct Tables<'a, T> {
    pub(super) runs: &'a mut [Run],
    /// Where the rows of the block, and of what its taps read, begin.
    pub(super) places: &'a mut [usize],
    sums: &'a mut [T],
    /// What is packed of the output's gradient, and packed or copied of the image.
    pub(super) gradients: &'a mut [T],
    pub(super) image: &'a mut [T],
}

/// Consecutive pieces that are summed for a block of weights, and whether they are the first of a slice.
pub(super) struct Chunk<'a> {
    pub(super) block: &'a WeightBlock,
    pub(super) pieces: Range<usize>,
    pub(super) first: bool,
}

impl<T: Element> WeightJob<'_, T> {
    /// Computes all of it, each part with a share of `scratch`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; nothing has been written then.
    pub(crate) fn run(&self, parallelism: Parallelism, scratch: &mut Scratch) -> Result<()> {
        let (plan, parts, blocks) = (self.plan, self.plan.parts, self.plan.blocks());
        scratch.reserve(parts, plan.scratch_bytes::<T>())?;
        let [runs, places, sums, gradients, image] = plan.scratch_lens();
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, mut scratch: Carver<'_>| {
            let mut tables = Tables {
                runs: scratch.take(runs),
                places: scratch.take(places),
                sums: scratch.take(sums),
                gradients: scratch.take(gradients),
                image: scratch.take(image),
            };
            let start = |part: usize| (blocks as u128 * part as u128 / parts as u128) as usize;
            for index in start(part)..start(part + 1) {
                self.block(&plan.block(index), &mut tables);
            }
        });
        Ok(())
    }

    fn block(&self, block: &WeightBlock, tables: &mut Tables<'_, T>) {
        self.describe(block, tables.places);
        let (slices, len) = (self.plan.slices, self.vectors(block) * self.vector_len(block));
        let all = std::mem::take(&mut tables.sums);
        let mut places = [None; SLICES];
        let mut free = 0..slices.used();
        for (slice, place) in places.iter_mut().enumerate() {
            for (i, pieces) in slices.chunks(slice).enumerate() {
                let at = *place.get_or_insert_with(|| len * free.next().unwrap_or(0));
                self.add_chunk(&Chunk { block, pieces, first: i == 0 }, tables, &mut all[at..][..len]);
            }
        }
        if places.iter().all(Option::is_none) {
            all[..len].fill(T::ZERO);
        }
        if !self.is_direct(block) {
            add_up(all, len, &mut places);
            self.put(block, &all[places[0].unwrap_or(0)..][..len]);
        }
        tables.sums = all;
    }

    /// Vectors of channels in lanes.
    pub(super) fn vectors(&self, block: &WeightBlock) -> usize {
        block.lanes.len().div_ceil(self.set.lanes)
    }

    /// Sums of each of them.
    pub(super) fn vector_len(&self, block: &WeightBlock) -> usize {
        block.rows.len() * block.taps.count() * self.set.lanes
    }

    /// Puts the sums of a block, `[vectors][rows][taps][lanes]`, in place.
    fn put(&self, block: &WeightBlock, sums: &[T]) {
        let (shape, lanes, taps) = (&self.plan.shape, self.set.lanes, block.taps.count());
        let first = block.taps.range(shape.kernel()).start;
        // Rows that follow each other in the gradient are put as one.
        let joined = self.plan.in_lanes == InLanes::Output && taps == shape.taps();
        let (rows, terms) = if joined { (1, block.rows.len() * taps) } else { (block.rows.len(), taps) };
        for (vector, sums) in sums.chunks_exact(rows * terms * lanes).enumerate() {
            let start = block.lanes.start + vector * lanes;
            let (mut at, end) = (start, block.lanes.end.min(start + lanes));
            // Channels of a group lie at equal distances.
            while at < end {
                let (index, step, count) = self.lanes_of(block.group, at, block.rows.start);
                let count = count.min(end - at);
                self.put_lanes((index + first, step, count), &sums[at - start..], rows, terms);
                at += count;
            }
        }
    }

    /// Puts `rows` times `terms` vectors of sums, of `count` lanes each, in place: lanes `step` apart from `index` on, of each the terms side
    /// by side.
    fn put_lanes(&self, (index, step, count): (usize, usize, usize), sums: &[T], rows: usize, terms: usize) {
        let lanes = self.set.lanes;
        let next = self.row_step();
        if terms == 1 && step == 1 {
            for (row, sums) in sums.chunks(lanes).take(rows).enumerate() {
                // SAFETY: these weights are the block's, which is this part's; they are initialised where they are added to.
                unsafe {
                    for (to, &sum) in self.dw.slice(index + row * next, count).iter_mut().zip(sums) {
                        to.write(if self.add { to.assume_init().plus(sum) } else { sum });
                    }
                }
            }
            return;
        }
        let places: [usize; MAX_LANES] = std::array::from_fn(|i| i * lanes);
        for term in (0..terms).step_by(lanes) {
            let square = Square {
                from: sums[term * lanes..].as_ptr(),
                rows: &places[..lanes.min(terms - term)],
                cols: count,
                next: 0,
                count: rows,
                from_next: terms * lanes,
                to_next: next,
                to: self.dw.at(index + term),
                columns: Columns::Step(step),
                whole: false,
                add: self.add,
            };
            debug_assert!(index + (rows - 1) * next + (count - 1) * step + terms <= self.dw.len());
            // SAFETY: the set's instruction set is available. There are so many rows of so many sums; these weights are the block's,
            // which is this part's; they are initialised where they are added to.
            unsafe { (self.set.square)(&square) };
        }
    }

    /// Whether the sums of the only chunk are written where they belong, as whole vectors.
    pub(super) fn is_direct(&self, block: &WeightBlock) -> bool {
        let whole = block.lanes.len().is_multiple_of(self.set.lanes);
        self.plan.in_lanes == InLanes::Input
            && self.plan.shape.taps() == 1
            && self.plan.slices.is_one_chunk()
            && whole
    }

    /// The place of the first tap of the lane of channel `channel` in row `row`, how far the next lanes are, and how many are so far apart.
    pub(super) fn lanes_of(&self, group: usize, channel: usize, row: usize) -> (usize, usize, usize) {
        let shape = &self.plan.shape;
        let at = |group: usize, out: usize, channel: usize| {
            ((group * shape.out_channels + out) * shape.in_channels + channel) * shape.taps()
        };
        match self.plan.in_lanes {
            InLanes::Input => (at(group, row, channel), shape.taps(), shape.in_channels - channel),
            InLanes::Output => (at(group, channel, row), shape.k(), shape.out_channels - channel),
            InLanes::Both => {
                let (group, channel) = (channel / shape.in_channels, channel % shape.in_channels);
                if shape.in_channels == 1 {
                    return (at(group, row, 0), shape.out_channels * shape.taps(), shape.groups - group);
                }
                (at(group, row, channel), shape.taps(), shape.in_channels - channel)
            }
        }
    }

    /// From a row's weights to the next row's.
    pub(super) fn row_step(&self) -> usize {
        match self.plan.in_lanes {
            InLanes::Input | InLanes::Both => self.plan.shape.k(),
            InLanes::Output => self.plan.shape.taps(),
        }
    }
}

/// [`crate::slices::join`] for `len` sums of each slice, which lie at `places` in `sums`, where it has any; the result lies at the first.
fn add_up<T: Element>(sums: &mut [T], len: usize, places: &mut [Option<usize>; SLICES]) {
    let mut half = SLICES / 2;
    while half > 0 {
        for i in 0..half {
            match (places[i], places[i + half]) {
                (Some(to), Some(from)) => {
                    let (low, high) = sums.split_at_mut(to.max(from));
                    let (low, high) = (&mut low[to.min(from)..][..len], &mut high[..len]);
                    let (to, from) = if to < from { (low, high) } else { (high, low) };
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = to.plus(*from));
                }
                // A sum that was begun with +0.0 is none of −0.0, so that adding nothing does nothing.
                (None, from) => places[i] = from,
                (Some(_), None) => {}
            }
        }
        half /= 2;
    }
}
