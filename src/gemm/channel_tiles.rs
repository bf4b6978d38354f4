//! Tiles with channels in the lanes: vectors of channels by positions, whose values are read where they lie.

use std::ops::Range;

use crate::element::Element;
use crate::gemm::blocking::{beside, tiles_in_group};
use crate::gemm::partition::Task;
use crate::gemm::step::{Place, Step};
use crate::kernel::{ChannelFamily, ChannelTiles, MAX_POSITIONS, Pending, Tap};
use crate::pack::segments::{Segment, Segments};
use crate::pack::taps::{self, TapWindow, Taps};
use crate::plan::{Tile, last_tile};

/// Sums from which on they do not wait for each other.
const LEAST_SUMS: usize = 8;

impl<T: Element> Step<'_, T> {
    /// Tiles of positions by groups of vectors of channels, and others of more channels for the last few positions.
    pub(super) fn channel_tiles(&self, windows: &[TapWindow], all: Taps<'_>, some: &mut [Tap]) {
        let positions = self.task.positions.clone();
        let rest = positions.len() % self.job.set.channel[self.tile.family].positions;
        let most = self.tile.largest + 1;
        let several = self.task.channels.len() > most * self.job.set.lanes;
        let last = if several && rest * most < LEAST_SUMS { rest } else { 0 };
        let middle = positions.end - last;
        if middle > positions.start {
            let task = Task { positions: positions.start..middle, ..self.task.clone() };
            self.of(&task, self.tile).groups_of_tiles(windows, Some(all), some);
        }
        if last > 0 {
            let task = Task { positions: middle..positions.end, ..self.task.clone() };
            self.of(&task, last_tile(self.job.set, last)).groups_of_tiles(windows, None, some);
        }
    }

    /// The same block of `task` by `tile`.
    fn of<'s>(&'s self, task: &'s Task, tile: Tile) -> Step<'s, T> {
        Step { job: self.job, task, tile, block: self.block.clone() }
    }

    /// Tiles of positions by groups of vectors of channels.
    fn groups_of_tiles(&self, windows: &[TapWindow], all: Option<Taps<'_>>, some: &mut [Tap]) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let family = &set.channel[self.tile.family];
        debug_assert!(self.task.channels.start.is_multiple_of(set.lanes));
        let k = windows.len() * self.block.channels.len();
        let most = self.tile.largest + 1;
        let vector = set.lanes * size_of::<T>();
        let group = tiles_in_group(vector, most * vector * k);
        let mut table = [0; MAX_POSITIONS];
        let mut pending = Pending::new();
        let beside = beside(shape, family.positions);
        let mut channel = self.task.channels.start;
        while channel < self.task.channels.end {
            let rest = self.task.channels.end - channel;
            let vectors = rest.div_ceil(set.lanes).min(most);
            let width = vectors * set.lanes;
            let rows = ((rest / width).clamp(1, group) * width).min(rest);
            let w = self.w(channel);
            let mut positions = Segments::new(shape, self.task.positions.start, self.task.positions.len());
            let mut position = self.task.positions.start;
            while position < self.task.positions.end {
                let segments = positions.next_tile(family.positions);
                let cols = segments.iter().map(|segment| segment.len).sum();
                let whole = cols == family.positions && segments.iter().all(|s| s.interior(shape));
                let taps = match all {
                    Some(all) if whole => all,
                    _ => Taps::some(windows, segments, set.lanes, self.job.channel(), some),
                };
                let (origin, offsets) = self.origins(segments, cols, &mut table);
                let tiles = ChannelTiles {
                    x: self.x().wrapping_offset(origin).wrapping_offset(taps.first.x),
                    channels: self.block.channels.len(),
                    taps: taps.taps,
                    offsets,
                    next: family.positions.wrapping_mul(shape.axes[2].stride) as isize,
                    w: w.wrapping_add(taps.first.w),
                    w_vector: self.job.weights.panel_len(),
                    destination: self.destination(Place { channel, rows, position, cols }),
                    pending: &raw mut pending,
                    beside,
                };
                let kernel = if cols < family.positions {
                    smallest(set.channel, cols, vectors).unwrap_or(family)
                } else {
                    family
                };
                // SAFETY: the set's instruction set is available. `taps` names, for each tap of the block, the
                // positions whose windows read inside the image. `w` is the block's part of the panels of `rows`
                // channels, each of which holds all k. The destination lies in this task's part of the output.
                unsafe { (kernel.by_vectors[vectors - 1].run)(&tiles) };
                position += cols;
            }
            channel += rows;
        }
        // SAFETY: the tiles' destinations are still there.
        unsafe { pending.flush() }
    }

    /// The last `positions` of an image that is its own im2col matrix: fewer than a tile with positions in the lanes reads.
    pub(super) fn last_positions(&self, positions: Range<usize>) {
        if positions.is_empty() {
            return;
        }
        let (shape, set) = (&self.job.plan.shape, self.job.set);
        let tile = last_tile(set, positions.len());
        let (mut windows, mut all, mut some) = ([TapWindow::default()], [Tap::default()], [Tap::default()]);
        taps::fill_windows(shape, 0..1, &mut windows);
        let count = set.channel[tile.family].positions;
        let all = Taps::all(&windows, count, set.lanes, self.job.channel(), &mut all);
        let task = Task { positions, ..self.task.clone() };
        self.of(&task, tile).groups_of_tiles(&windows, Some(all), &mut some);
    }

    /// The origin of a tile's first position and, where the others do not lie one beside the other, the table of all
    /// relative to it.
    fn origins<'t>(
        &self,
        segments: &[Segment],
        count: usize,
        table: &'t mut [isize; MAX_POSITIONS],
    ) -> (isize, Option<&'t [isize; MAX_POSITIONS]>) {
        let shape = &self.job.plan.shape;
        let stride = shape.axes[2].stride;
        let Some(first) = segments.first() else { return (0, None) };
        let start = first.origin;
        // Where every window starts at its own element, rows follow each other as well.
        if stride == 1 && (first.len == count || shape.is_pointwise()) {
            return (start, None);
        }
        for segment in segments {
            let origin = segment.origin.wrapping_sub(start);
            for (i, offset) in table[segment.start..][..segment.len].iter_mut().enumerate() {
                *offset = origin.wrapping_add((i * stride) as isize);
            }
        }
        (start, Some(table))
    }
}

/// The family of the fewest positions that has a tile of so many, and of so many vectors.
fn smallest<T>(families: &[ChannelFamily<T>], positions: usize, vectors: usize) -> Option<&ChannelFamily<T>> {
    let large =
        |family: &&ChannelFamily<T>| family.positions >= positions && family.by_vectors.len() >= vectors;
    families.iter().filter(large).min_by_key(|family| family.positions)
}
