//! The loops: tasks, blocks of k, tiles.

use crate::element::Element;
use crate::error::Result;
use crate::gemm::blocking::streamed;
use crate::gemm::depthwise_tiles::Vectors;
use crate::gemm::partition::Task;
use crate::gemm::step::{Band, Job, Step};
use crate::gemm::winograd_tiles::WinogradJob;
use crate::kernel::Tap;
use crate::pack::bands::Layout;
use crate::pack::buffer::{Carver, Scratch};
use crate::pack::taps::{self, Leap, TapBox, TapWindow, Taps};
use crate::parallel::Parallelism;
use crate::plan::{Kind, Tile};
use crate::simd::fence;

impl<T: Element> Job<'_, T> {
    /// Computes the whole output, each part with a share of `scratch`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; nothing has been written then.
    pub(crate) fn run(&self, parallelism: Parallelism, scratch: &mut Scratch) -> Result<()> {
        if let (Some(winograd), Some(weights)) = (&self.plan.winograd, self.transformed) {
            return WinogradJob { job: self, winograd, weights }.run(parallelism, scratch);
        }
        let tiling = self.plan.tiling.as_ref().expect("a plan of tiles, or of Winograd's with their weights");
        let threads = parallelism.threads(self.plan.work());
        let parts = self.plan.parts(threads);
        scratch.reserve(parts, self.plan.scratch_bytes())?;
        if tiling.tile.kind == Kind::Windows {
            self.windows();
            return Ok(());
        }
        let (tile, grid) = (tiling.tile, tiling.grid(parts, threads));
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, scratch| {
            let mut tables = Tables::new(scratch, self, tile);
            for task in grid.part(part, parts) {
                self.run_task(&task, tile, &mut tables);
            }
            if streamed(self.y.len()) {
                fence();
            }
        });
        Ok(())
    }

    /// Computes `task`, which is one of a direct tile only if it has whole rows.
    pub(crate) fn run_block(&self, task: &Task, scratch: Carver<'_>) {
        let Some(tiling) = &self.plan.tiling else { return };
        self.run_task(task, tiling.tile, &mut Tables::new(scratch, self, tiling.tile));
    }

    fn run_task(&self, task: &Task, tile: Tile, tables: &mut Tables<'_, T>) {
        let shape = &self.plan.shape;
        for block in self.plan.blocking.blocks(shape.in_channels, shape.kernel()) {
            tables.fill(self, tile, &block.taps);
            let taps = block.taps.count();
            let step = Step { job: self, task, tile, block };
            match &mut tables.of {
                Of::Channels { windows, first, all, some } => {
                    let all = Taps { first: *first, taps: &all[..taps] };
                    step.channel_tiles(&windows[..taps], all, some);
                }
                Of::Bands { taps: offsets, layout, to } => {
                    let mut band = Band { taps: &offsets[..taps], layout: *layout, to };
                    if tile.kind == Kind::Strips {
                        step.planes_through_bands(&mut band);
                    } else {
                        step.position_tiles(&mut band);
                    }
                }
                Of::Vectors(vectors) => step.depthwise_tiles(vectors),
                Of::Nothing => step.planes_in_place(),
            }
        }
    }
}

/// Scratch of a thread's tasks.
struct Tables<'a, T> {
    /// The taps that the tables describe; they stay from task to task where k is one block.
    filled: Option<TapBox>,
    of: Of<'a, T>,
}

/// What a kind of tiles needs.
enum Of<'a, T> {
    Channels { windows: &'a mut [TapWindow], first: Leap, all: &'a mut [Tap], some: &'a mut [Tap] },
    Bands { taps: &'a mut [usize], layout: Layout, to: &'a mut [T] },
    Vectors(Vectors<'a, T>),
    Nothing,
}

impl<'a, T: Element> Tables<'a, T> {
    /// Takes what [`Plan::scratch_bytes`] promises.
    fn new(mut scratch: Carver<'a>, job: &Job<'_, T>, tile: Tile) -> Self {
        let taps = job.plan.blocking.tap_count();
        let of = match tile.kind {
            Kind::Channels => Of::Channels {
                windows: scratch.take(taps),
                first: Leap::default(),
                all: scratch.take(taps),
                some: scratch.take(taps),
            },
            Kind::Positions | Kind::Strips => Of::Bands {
                taps: scratch.take(taps),
                layout: Layout::default(),
                to: scratch.take(job.plan.band_len(job.set, tile)),
            },
            Kind::Depthwise => {
                let lens = job.plan.vectors(job.set.lanes).expect("a plan of depthwise tiles has bands");
                Of::Vectors(Vectors {
                    image: scratch.take(lens.image),
                    weights: scratch.take(lens.weights),
                    sums: scratch.take(lens.sums),
                    windows: scratch.take(lens.windows),
                })
            }
            Kind::Planes | Kind::Windows => Of::Nothing,
        };
        Self { filled: None, of }
    }

    /// Describes `taps`, unless they are described already.
    fn fill(&mut self, job: &Job<'_, T>, tile: Tile, taps: &TapBox) {
        if self.filled == Some(*taps) {
            return;
        }
        self.filled = Some(*taps);
        let (shape, set) = (&job.plan.shape, job.set);
        match &mut self.of {
            Of::Channels { windows, first, all, .. } => {
                let windows = &mut windows[..taps.count()];
                taps::fill_windows(shape, taps.range(shape.kernel()), windows);
                let positions = set.channel[tile.family].positions;
                let all = &mut all[..taps.count()];
                *first = Taps::all(windows, positions, set.lanes, job.channel(), all).first;
            }
            Of::Bands { taps: offsets, layout, .. } => {
                *layout = job.plan.layout(set, tile, taps.len);
                layout.fill_offsets(shape, taps, &mut offsets[..taps.count()]);
            }
            Of::Vectors(_) | Of::Nothing => {}
        }
    }
}
