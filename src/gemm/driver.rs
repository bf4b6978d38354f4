//! The loops: tasks, blocks of k, tiles.

use std::ops::Range;

use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::gemm::blocking::{Blocking, KBlock, streamed, tiles_in_group, whole_lines};
use crate::gemm::partition::Task;
use crate::gemm::tiles::Output;
use crate::kernel::{
    ChannelTiles, Destination, Finish, KernelSet, MAX_POSITIONS, PanelSource, PositionTiles, Run, Tap,
};
use crate::pack::buffer::{Carver, LINE, Scratch};
use crate::pack::runs::{self, MAX_SEGMENTS};
use crate::pack::segments::{Segment, Segments};
use crate::pack::taps::{self, TapWindow};
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::{Lowering, Orientation, Plan, Tile, row_blocks};
use crate::simd::fence;

/// One convolution: everything is checked and planned.
pub(crate) struct Job<'a, T: 'static> {
    pub(crate) plan: &'a Plan,
    pub(crate) set: &'static KernelSet<T>,
    pub(crate) weights: &'a PackedWeights<T>,
    pub(crate) x: &'a [T],
    pub(crate) residual: Option<&'a [T]>,
    pub(crate) epilogue: &'a Epilogue<T>,
    pub(crate) y: &'a Output<'a, T>,
}

/// Where a tile is in the output: the first and the number of its channels and positions.
#[derive(Clone, Copy)]
struct Place {
    channel: usize,
    rows: usize,
    position: usize,
    cols: usize,
}

/// Positions from which on aligning the stores of the others pays for a narrow tile more.
const MIN_ALIGNED: usize = 512;

impl<T: Element> Job<'_, T> {
    /// Computes the whole output in `parts` parts, each with a share of `scratch`.
    pub(crate) fn run(&self, parallelism: Parallelism, parts: usize, scratch: &mut Scratch) {
        let Some(tiling) = self.plan.tiling else { return };
        let (tile, grid) = (tiling.tile, tiling.grid(parts));
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, scratch| {
            let mut tables = Tables::new(scratch, self, tile);
            for task in grid.part(part, parts) {
                self.run_task(&task, tile, &mut tables);
            }
            if streamed(self.y.len()) {
                fence();
            }
        });
    }

    fn run_task(&self, task: &Task, tile: Tile, tables: &mut Tables<'_, T>) {
        let shape = &self.plan.shape;
        for block in self.plan.blocking.blocks(shape.in_channels, shape.taps()) {
            tables.fill(self, tile, &block);
            let windows = &tables.windows[..block.taps.len()];
            let step = Step { job: self, task, tile, block, windows };
            match &mut tables.of {
                Of::Channels { all, some } => step.channel_tiles(all, some),
                Of::Positions { all, some, counts, panel } => step.position_tiles((all, some, counts), panel),
            }
        }
    }

    /// Index of an element of the output.
    fn index(&self, task: &Task, channel: usize, position: usize) -> usize {
        let shape = &self.plan.shape;
        let plane = (task.image * shape.groups + task.group) * shape.out_channels + channel;
        plane * shape.out_plane() + position
    }
}

/// The runs of vectors that read no padding, relative to their origin; those of others, and how many make each.
type RunTables<'a> = (&'a [Run], &'a mut [Run], &'a mut [u32]);

/// Scratch of a thread's tasks.
struct Tables<'a, T> {
    windows: &'a mut [TapWindow],
    /// The taps that `windows` describes; they stay from task to task where k is one block.
    filled: Range<usize>,
    of: Of<'a, T>,
}

/// What an orientation needs.
enum Of<'a, T> {
    Channels { all: &'a mut [Tap], some: &'a mut [Tap] },
    Positions { all: &'a mut [Run], some: &'a mut [Run], counts: &'a mut [u32], panel: &'a mut [T] },
}

impl<'a, T: Element> Tables<'a, T> {
    /// Takes what [`Plan::scratch_bytes`] promises.
    fn new(mut scratch: Carver<'a>, job: &Job<'_, T>, tile: Tile) -> Self {
        let (plan, lanes) = (job.plan, job.set.lanes);
        let Blocking { channels, taps } = plan.blocking;
        let windows = scratch.take(taps);
        let of = match tile.orientation {
            Orientation::ChannelsInLanes => {
                Of::Channels { all: scratch.take(taps), some: scratch.take(taps) }
            }
            Orientation::PositionsInLanes => {
                let vectors = job.set.position[tile.family].vectors;
                Of::Positions {
                    all: scratch.take(taps),
                    some: scratch.take(runs::max_runs(&plan.shape, lanes) * taps),
                    counts: scratch.take(taps),
                    panel: scratch.take(channels * taps * vectors * lanes),
                }
            }
        };
        Self { windows, filled: 0..0, of }
    }

    /// Describes the taps of `block`, unless they are described already.
    fn fill(&mut self, job: &Job<'_, T>, tile: Tile, block: &KBlock) {
        if self.filled == block.taps {
            return;
        }
        self.filled = block.taps.clone();
        let windows = &mut self.windows[..block.taps.len()];
        taps::fill_windows(&job.plan.shape, block.taps.clone(), windows);
        match &mut self.of {
            Of::Channels { all, .. } => {
                taps::select_all(windows, job.set.lanes, job.set.channel[tile.family].positions, all);
            }
            Of::Positions { all, .. } => runs::fill_whole(windows, job.set.lanes, all),
        }
    }
}

/// One block of k of one task.
struct Step<'a, T: 'static> {
    job: &'a Job<'a, T>,
    task: &'a Task,
    tile: Tile,
    block: KBlock,
    windows: &'a [TapWindow],
}

impl<T: Element> Step<'_, T> {
    /// Tiles of positions by groups of vectors of channels.
    fn channel_tiles(&self, all: &[Tap], some: &mut [Tap]) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let family = &set.channel[self.tile.family];
        let k = self.windows.len() * self.block.channels.len();
        let most = self.tile.largest + 1;
        let group = tiles_in_group(most * set.lanes * size_of::<T>() * k);
        let mut channel = self.task.channels.start;
        while channel < self.task.channels.end {
            let rest = self.task.channels.end - channel;
            let vectors = rest.div_ceil(set.lanes).min(most);
            let width = vectors * set.lanes;
            let rows = ((rest / width).clamp(1, group) * width).min(rest);
            let w = self.w(channel);
            let mut positions = self.segments();
            for position in self.task.positions.clone().step_by(family.positions) {
                let segments = positions.next_tile(family.positions);
                let cols = segments.positions();
                let whole = cols == family.positions && segments.clone().all(|s| s.interior(shape));
                let taps = if whole {
                    &all[..self.windows.len()]
                } else {
                    let count = taps::select(self.windows, set.lanes, segments.clone(), some);
                    &some[..count]
                };
                let mut table = [0; MAX_POSITIONS];
                let (origin, offsets) = self.origins(segments, &mut table);
                let tiles = ChannelTiles {
                    x: self.x().wrapping_offset(origin),
                    channel_stride: shape.in_plane(),
                    channels: self.block.channels.len(),
                    taps,
                    offsets,
                    next: family.positions.wrapping_mul(shape.axes[2].stride) as isize,
                    w,
                    w_vector: self.job.weights.panel_len(),
                    w_channel: shape.taps() * set.lanes,
                    destination: self.destination(Place { channel, rows, position, cols }),
                };
                // SAFETY: the set's instruction set is available. `taps` names, for each tap of the block, the
                // positions whose windows read inside the image. `w` is the block's part of the panels of `rows`
                // channels, each of which holds all k. The destination lies in this task's part of the output.
                unsafe { (family.by_vectors[vectors - 1].run)(&tiles) };
            }
            channel += rows;
        }
    }

    /// The origin of a tile's first position and, where the others do not lie one beside the other, the table of all
    /// relative to it.
    fn origins<'t>(
        &self,
        mut segments: Segments,
        table: &'t mut [isize; MAX_POSITIONS],
    ) -> (isize, Option<&'t [isize; MAX_POSITIONS]>) {
        let shape = &self.job.plan.shape;
        let (stride, count) = (shape.axes[2].stride, segments.positions());
        let Some(first) = segments.next() else { return (0, None) };
        let start = first.origin;
        // Where every window starts at its own element, rows follow each other as well.
        if stride == 1 && (first.len == count || shape.is_pointwise()) {
            return (start, None);
        }
        for segment in std::iter::once(first).chain(segments) {
            let origin = segment.origin.wrapping_sub(start);
            for (i, offset) in table[segment.start..][..segment.len].iter_mut().enumerate() {
                *offset = origin.wrapping_add((i * stride) as isize);
            }
        }
        (start, Some(table))
    }

    /// The task's positions.
    fn segments(&self) -> Segments {
        let positions = &self.task.positions;
        Segments::new(&self.job.plan.shape, positions.start, positions.len())
    }

    /// Panels of positions, by rows of channels.
    fn position_tiles(&self, mut tables: RunTables<'_>, panel: &mut [T]) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let in_place = self.job.plan.lowering() == Lowering::InPlace;
        let mut rest = self.segments();
        let mut lead = self.lead();
        while rest.positions() > 0 {
            let family = self.family(lead, rest.positions());
            let vectors = set.position[family].vectors;
            let width = vectors * set.lanes;
            let position = self.task.positions.end - rest.positions();
            let segments = rest.next_tile(if lead > 0 { lead.min(width) } else { width });
            let cols = segments.positions();
            lead -= lead.min(cols);
            let place =
                Place { channel: self.task.channels.start, rows: self.task.channels.len(), position, cols };
            if in_place && cols == width {
                let rows = (self.x().wrapping_add(position), shape.in_plane());
                // The panel to the right is asked for, a vector by each tile.
                self.rows_of_tiles(family, rows, vectors, place);
            } else {
                self.pack(segments, width, &mut tables, panel);
                self.rows_of_tiles(family, (panel.as_ptr(), width), 0, place);
            }
        }
    }

    /// Packs the panel of the positions of `tile`, of `width` with what is behind its end.
    fn pack(
        &self,
        mut tile: Segments,
        width: usize,
        (all, some, counts): &mut RunTables<'_>,
        panel: &mut [T],
    ) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let (channels, taps) = (self.block.channels.len(), self.windows.len());
        assert!(channels * taps * width <= panel.len());
        let mut table = [Segment::default(); MAX_SEGMENTS];
        for column in (0..width).step_by(set.lanes) {
            let segments = tile.next_tile(set.lanes).collect(&mut table);
            let (x, counts, runs) = match segments {
                [one] if one.len == set.lanes && one.interior(shape) => {
                    (self.x().wrapping_offset(one.origin), None, &all[..taps])
                }
                _ => {
                    let filled = runs::fill(shape, self.windows, segments, &mut counts[..taps], some);
                    (self.x(), Some(&counts[..taps]), &some[..filled])
                }
            };
            let (stride, channel_stride) = (shape.axes[2].stride, shape.in_plane());
            let source = PanelSource { x, channel_stride, channels, counts, runs, stride, width };
            // SAFETY: the set's instruction set is available. Runs name the lanes that read inside the image. The
            // panel has room for the block.
            unsafe { (set.panel)(&source, panel.as_mut_ptr().wrapping_add(column)) };
        }
    }

    /// How many positions there are before a cache line of the output begins, where all rows of it have theirs at the same
    /// positions: a store that crosses a line takes twice as long, and only a whole line can be streamed.
    fn lead(&self) -> usize {
        let size = size_of::<T>();
        let index = self.job.index(self.task, self.task.channels.start, self.task.positions.start);
        let lead = self.job.y.at(index).align_offset(LINE);
        let aligned = whole_lines(self.job.plan.shape.out_plane(), size) && lead < LINE / size;
        if aligned && self.task.positions.len() >= MIN_ALIGNED { lead } else { 0 }
    }

    /// The plan's family, or the one of single vectors where `rest` positions, or a lead, would leave lanes of it idle.
    fn family(&self, lead: usize, rest: usize) -> usize {
        let (set, planned) = (self.job.set, self.tile.family);
        let narrow = set.position.len() - 1;
        let few = (set.position[planned].vectors - 1) * set.lanes;
        if set.position[narrow].vectors == 1 && (lead > 0 || rest <= few) { narrow } else { planned }
    }

    /// The tiles of all channels of `all` over the panel `rows` of its positions.
    fn rows_of_tiles(&self, family: usize, (b, stride): (*const T, usize), prefetch: usize, all: Place) {
        let family = &self.job.set.position[family];
        let largest = self.tile.largest.min(family.by_log2_rows.len() - 1);
        for (first, log2_rows, rows) in row_blocks(all.rows, largest) {
            let place = Place { channel: all.channel + first, rows, ..all };
            let tiles = PositionTiles {
                w: self.w(place.channel),
                w_row: place.channel % self.job.set.lanes,
                w_panel: self.job.weights.panel_len(),
                b,
                stride,
                k: self.windows.len() * self.block.channels.len(),
                prefetch,
                destination: self.destination(place),
            };
            // SAFETY: the set's instruction set is available. The panel's rows are packed, or whole vectors of an
            // image that is its own im2col matrix. A tile's weights lie in one panel, for its first channel is a
            // multiple of its rows, which divide the lanes. The destination lies in this task's part of the
            // output.
            unsafe { (family.by_log2_rows[log2_rows].run)(&tiles) };
        }
    }

    /// The block's first input channel of the task's group and image.
    fn x(&self) -> *const T {
        let shape = &self.job.plan.shape;
        let plane = (self.task.image * shape.groups + self.task.group) * shape.in_channels;
        self.job.x[(plane + self.block.channels.start) * shape.in_plane()..].as_ptr()
    }

    /// The weights of the block's first k for the vector of channels that `channel` is in.
    fn w(&self, channel: usize) -> *const T {
        let lanes = self.job.set.lanes;
        let k = self.block.channels.start * self.job.plan.shape.taps() + self.block.taps.start;
        self.job.weights.panel(self.task.group, channel / lanes)[k * lanes..].as_ptr()
    }

    fn destination(&self, place: Place) -> Destination<'_, T> {
        let plane = self.job.plan.shape.out_plane();
        let index = self.job.index(self.task, place.channel, place.position);
        debug_assert!(index + (place.rows - 1) * plane + place.cols <= self.job.y.len());
        let y = self.job.y.at(index);
        let size = size_of::<T>();
        Destination {
            y,
            row_stride: plane,
            rows: place.rows,
            cols: place.cols,
            resume: !self.block.first,
            // A part of a line that is streamed takes as long as a whole one.
            stream: streamed(self.job.y.len())
                && whole_lines(plane, size)
                && whole_lines(place.cols, size)
                && y.addr().is_multiple_of(LINE),
            finish: self.finish(place.channel, index),
        }
    }

    fn finish(&self, channel: usize, index: usize) -> Finish<'_, T> {
        let epilogue = self.job.epilogue;
        let channel = self.task.group * self.job.plan.shape.out_channels + channel;
        match (self.block.last, self.job.residual, epilogue.activation.clamp()) {
            (false, _, _) => Finish::Partial,
            (true, None, Some((lo, hi))) => Finish::Clamp { bias: epilogue.bias[channel..].as_ptr(), lo, hi },
            (true, residual, _) => Finish::Full {
                epilogue,
                channel,
                residual: residual.map(|residual| residual[index..].as_ptr()),
                run: self.job.set.finish,
            },
        }
    }
}
