//! The loops: tasks, blocks of k, tiles.

use std::ops::Range;

use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::gemm::blocking::{Blocking, KBlock};
use crate::gemm::partition::Task;
use crate::gemm::tiles::Output;
use crate::kernel::{
    ChannelTile, Destination, Finish, KernelSet, MAX_POSITIONS, RowsTile, Run, RunsTile, Tap,
};
use crate::pack::buffer::{Carver, Scratch};
use crate::pack::runs;
use crate::pack::segments::Segments;
use crate::pack::taps::{self, TapWindow};
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::{Lowering, Orientation, Plan, Tile, row_tiles};

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
                Of::Positions { counts, runs, panel } => step.position_tiles(counts, runs, panel),
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

/// How many runs make each vector, the runs, and the panel that they are packed into.
type Runs<'a, T> = (&'a [u32], &'a [Run], *mut T);

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
    Positions { counts: &'a mut [u32], runs: &'a mut [Run], panel: &'a mut [T] },
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
                    counts: scratch.take(taps * vectors),
                    runs: scratch.take(runs::max_runs(&plan.shape, lanes) * taps * vectors),
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
        if let Of::Channels { all, .. } = &mut self.of {
            taps::select_all(windows, job.set.lanes, job.set.channel[tile.family].positions, all);
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
    /// Vectors of channels by tiles of positions.
    fn channel_tiles(&self, all: &[Tap], some: &mut [Tap]) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let family = &set.channel[self.tile.family];
        let channels = &self.task.channels;
        for channel in channels.clone().step_by((self.tile.largest + 1) * set.lanes) {
            let vectors = (channels.end - channel).div_ceil(set.lanes).min(self.tile.largest + 1);
            let kernel = family.by_vectors[vectors - 1].run;
            let rows = (channels.end - channel).min(vectors * set.lanes);
            let mut rest = self.segments();
            for position in self.task.positions.clone().step_by(family.positions) {
                let segments = rest.next_tile(family.positions);
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
                let tile = ChannelTile {
                    x: self.x().wrapping_offset(origin),
                    channel_stride: shape.in_plane(),
                    channels: self.block.channels.len(),
                    taps,
                    offsets,
                    next: family.positions.wrapping_mul(shape.axes[2].stride) as isize,
                    w: self.w(channel),
                    w_vector: self.job.weights.panel_len(),
                    w_channel: shape.taps() * set.lanes,
                    destination: self.destination(Place { channel, rows, position, cols }),
                };
                // SAFETY: the set's instruction set is available. `taps` names, for each tap of the block, the
                // positions whose windows read inside the image. `w` is the block's part of `vectors` panels,
                // each of which holds all k. The destination lies in this task's part of the output.
                unsafe { kernel(&tile) };
            }
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
        if stride == 1 && first.len == count {
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

    /// Tiles of positions by rows of channels.
    fn position_tiles(&self, counts: &mut [u32], runs: &mut [Run], panel: &mut [T]) {
        let (set, shape) = (self.job.set, &self.job.plan.shape);
        let vectors = set.position[self.tile.family].vectors;
        let width = vectors * set.lanes;
        let counts = &mut counts[..self.windows.len() * vectors];
        let in_place = self.job.plan.lowering() == Lowering::InPlace;
        let mut rest = self.segments();
        for position in self.task.positions.clone().step_by(width) {
            let segments = rest.next_tile(width);
            let cols = segments.positions();
            if in_place && cols == width {
                let b = self.x().wrapping_add(position);
                self.row_tiles(None, (b, shape.in_plane()), position, cols);
            } else {
                let filled = runs::fill(shape, self.windows, segments, (vectors, set.lanes), counts, runs);
                let runs = (&*counts, &runs[..filled], panel.as_mut_ptr());
                self.row_tiles(Some(runs), (panel.as_ptr(), width), position, cols);
            }
        }
    }

    /// The tiles of all channels of the task over one panel of positions, `rows`; the first of them packs it, where
    /// there are `runs` to pack it from.
    fn row_tiles(&self, runs: Option<Runs<'_, T>>, rows: (*const T, usize), position: usize, cols: usize) {
        let (set, channels) = (self.job.set, &self.task.channels);
        let family = &set.position[self.tile.family];
        for (first, log2_rows) in row_tiles(channels.len(), self.tile.largest) {
            let channel = channels.start + first;
            let place = Place { channel, rows: (1 << log2_rows).min(channels.len() - first), position, cols };
            let kernel = &family.by_log2_rows[log2_rows];
            // SAFETY: the set's instruction set is available. Runs name the lanes that read inside the image, the
            // panel has room for the block, and rows are either that panel, packed, or whole vectors of an image that
            // is its own im2col matrix. A tile's rows lie in one panel of weights, for its first channel is a
            // multiple of its rows, which divide the lanes. The destination lies in this task's part of the
            // output.
            unsafe {
                match runs {
                    Some(runs) if first == 0 => (kernel.runs)(&self.runs_tile(runs, place)),
                    _ => (kernel.rows)(&self.rows_tile(rows, place)),
                }
            }
        }
    }

    fn runs_tile<'t>(&'t self, (counts, runs, panel): Runs<'t, T>, place: Place) -> RunsTile<'t, T> {
        let shape = &self.job.plan.shape;
        RunsTile {
            w: self.w(place.channel),
            w_step: self.job.set.lanes,
            x: self.x(),
            channel_stride: shape.in_plane(),
            channels: self.block.channels.len(),
            counts,
            runs,
            stride: shape.axes[2].stride,
            panel,
            destination: self.destination(place),
        }
    }

    fn rows_tile(&self, (b, stride): (*const T, usize), place: Place) -> RowsTile<'_, T> {
        RowsTile {
            w: self.w(place.channel),
            w_step: self.job.set.lanes,
            b,
            stride,
            k: self.windows.len() * self.block.channels.len(),
            destination: self.destination(place),
        }
    }

    /// The block's first input channel of the task's group and image.
    fn x(&self) -> *const T {
        let shape = &self.job.plan.shape;
        let plane = (self.task.image * shape.groups + self.task.group) * shape.in_channels;
        self.job.x[(plane + self.block.channels.start) * shape.in_plane()..].as_ptr()
    }

    /// The weights of the block's first k for `channel` and those behind it.
    fn w(&self, channel: usize) -> *const T {
        let lanes = self.job.set.lanes;
        let k = self.block.channels.start * self.job.plan.shape.taps() + self.block.taps.start;
        let panel = self.job.weights.panel(self.task.group, channel / lanes);
        panel[k * lanes + channel % lanes..].as_ptr()
    }

    fn destination(&self, place: Place) -> Destination<'_, T> {
        let plane = self.job.plan.shape.out_plane();
        let index = self.job.index(self.task, place.channel, place.position);
        debug_assert!(index + (place.rows - 1) * plane + place.cols <= self.job.y.len());
        Destination {
            y: self.job.y.at(index),
            row_stride: plane,
            rows: place.rows,
            cols: place.cols,
            resume: !self.block.first,
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
