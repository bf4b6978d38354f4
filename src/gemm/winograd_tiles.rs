//! Winograd's algorithm: of a block of tiles the inputs at all points, their products with the weights of a block of channels, and of
//! those the outputs.

use std::ops::Range;

use crate::caches::Caches;
use crate::element::Element;
use crate::error::Result;
use crate::gemm::partition::Task;
use crate::gemm::step::Job;
use crate::kernel::{Columns, Destination, Outer, PointInputs, PointOutputs, Run, Square};
use crate::pack::buffer::{Carver, Scratch};
use crate::pack::transformed::TransformedWeights;
use crate::parallel::Parallelism;
use crate::plan::{PointLayout, Winograd};
use crate::simd::MAX_LANES;

/// One convolution: everything is checked and planned.
pub(crate) struct WinogradJob<'a, T: 'static> {
    pub(crate) job: &'a Job<'a, T>,
    pub(crate) winograd: &'a Winograd,
    pub(crate) weights: &'a TransformedWeights<T>,
}

/// Scratch of a part.
struct Buffers<'a, T> {
    inputs: &'a mut [T],
    sums: &'a mut [T],
    strip: &'a mut [T],
    /// Where the inputs of each tile of a block begin, at any point.
    tiles: &'a mut [usize],
    /// Where each of a vector's channels begins in the image.
    planes: [usize; MAX_LANES],
}

/// Tiles that lie side by side.
struct Side {
    image: usize,
    depth: usize,
    /// The first output.
    row: usize,
    col: usize,
    tiles: usize,
    /// The number of the first in its block.
    at: usize,
}

impl<T: Element> WinogradJob<'_, T> {
    /// Computes the whole output, each part with a share of `scratch`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; nothing has been written then.
    pub(crate) fn run(&self, parallelism: Parallelism, scratch: &mut Scratch) -> Result<()> {
        let (plan, winograd, lanes) = (self.job.plan, self.winograd, self.job.set.lanes);
        let parts = plan.parts(parallelism.threads(plan.work()));
        scratch.reserve(parts, plan.scratch_bytes())?;
        let grid = winograd.grid(&plan.shape, lanes, parts);
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, mut scratch: Carver<'_>| {
            let points = winograd.points();
            let mut buffers = Buffers {
                inputs: scratch.take(points * winograd.inputs::<T>().point),
                sums: scratch.take(points * winograd.sums::<T>().point),
                strip: scratch.take(winograd.strip_len(lanes)),
                tiles: scratch.take(winograd.block),
                planes: [0; MAX_LANES],
            };
            let PointLayout { tile, .. } = winograd.inputs::<T>();
            buffers.tiles.iter_mut().enumerate().for_each(|(i, at)| *at = i * tile);
            let plane = plan.shape.in_plane();
            buffers.planes.iter_mut().enumerate().for_each(|(i, at)| *at = i * plane);
            for task in grid.part(part, parts) {
                self.run_task(&task, &mut buffers);
            }
        });
        Ok(())
    }

    fn run_task(&self, task: &Task, buffers: &mut Buffers<'_, T>) {
        let (shape, winograd) = (&self.job.plan.shape, self.winograd);
        // As many in each block, but whole steps of the kernel.
        let even = |len: usize, most: usize, step: usize| {
            len.div_ceil(len.div_ceil(most)).next_multiple_of(step).min(most)
        };
        let block = even(task.positions.len(), winograd.block, 4);
        let together = even(task.channels.len(), winograd.channels, 2 * self.job.set.lanes);
        for first in task.positions.clone().step_by(block) {
            let block = first..task.positions.end.min(first + block);
            let mut filled = None;
            for channel in task.channels.clone().step_by(together) {
                let channels = channel..task.channels.end.min(channel + together);
                for first in (0..shape.in_channels).step_by(winograd.chunk) {
                    let chunk = first..shape.in_channels.min(first + winograd.chunk);
                    if filled != Some(first) {
                        self.inputs(task, &block, &chunk, buffers);
                        filled = Some(first);
                    }
                    self.products(task, block.len(), &channels, &chunk, buffers);
                }
                self.outputs(task, &block, &channels, buffers);
            }
        }
    }

    /// The tiles of `block` in runs that lie side by side.
    fn sides(&self, block: &Range<usize>) -> impl Iterator<Item = Side> + use<T> {
        let Winograd { tiles: [rows, cols], run, filters, .. } = *self.winograd;
        let depths = self.job.plan.shape.axes[0].output;
        let (first, mut at, len) = (block.start, 0, block.len());
        std::iter::from_fn(move || {
            let position = first + at;
            let (col, row, plane) = (position % cols, position / cols % rows, position / cols / rows);
            let tiles = run.min(cols - col).min(len - at);
            let side = Side {
                image: plane / depths,
                depth: plane % depths,
                row: row * filters[0].tile,
                col: col * filters[1].tile,
                tiles,
                at,
            };
            at += tiles;
            (tiles > 0).then_some(side)
        })
    }

    /// Transforms what the tiles of `block` read of the input channels in `chunk`.
    fn inputs(&self, task: &Task, block: &Range<usize>, chunk: &Range<usize>, buffers: &mut Buffers<'_, T>) {
        let lanes = self.job.set.lanes;
        let layout = self.winograd.inputs::<T>();
        for side in self.sides(block) {
            for channel in chunk.clone().step_by(lanes) {
                let channels = lanes.min(chunk.end - channel);
                self.copy(task, &side, channel, channels, buffers);
                let to = side.at * layout.tile + channel - chunk.start;
                let inputs = PointInputs {
                    strip: buffers.strip.as_mut_ptr(),
                    columns: self.winograd.columns(side.tiles),
                    points: self.winograd.filters.map(|filter| filter.points()),
                    step: self.winograd.filters[1].tile,
                    tiles: side.tiles,
                    to: buffers.inputs[to..].as_mut_ptr(),
                    to_point: layout.point,
                    to_tile: layout.tile,
                };
                // SAFETY: the set's instruction set is available; the strip holds what `copy` wrote; a row of channels is as long as
                // those of a chunk in whole vectors.
                unsafe { (self.job.set.to_points)(&inputs) }
            }
        }
    }

    /// Copies what the tiles of `side` read of some channels into the strip, as vectors of channels.
    fn copy(&self, task: &Task, side: &Side, channel: usize, channels: usize, buffers: &mut Buffers<'_, T>) {
        let (shape, lanes) = (&self.job.plan.shape, self.job.set.lanes);
        let [_, height, width] = shape.axes;
        let first = (side.image * shape.groups + task.group) * shape.in_channels + channel;
        let first = first * shape.in_plane() + side.depth * height.input * width.input;
        let columns = self.winograd.columns(side.tiles);
        let left = width.origin(side.col);
        let inside = width.inside(left, columns);
        // What the next tiles of the row read is worth asking for where it is not in L2.
        let large = size_of_val(self.job.x) > Caches::here().l2;
        let next = if large { side.tiles * self.winograd.filters[1].tile } else { 0 };
        let rows = buffers.strip.chunks_exact_mut(columns * lanes).take(self.winograd.filters[0].points());
        for (row, to) in rows.enumerate() {
            let y = usize::try_from(height.origin(side.row + row)).ok().filter(|&y| y < height.input);
            let (Some(y), false) = (y, inside.is_empty()) else {
                to.fill(T::ZERO);
                continue;
            };
            to[..inside.start * lanes].fill(T::ZERO);
            to[inside.end * lanes..].fill(T::ZERO);
            let from = first + y * width.input + left.saturating_add_unsigned(inside.start) as usize;
            let square = Square {
                from: self.job.x[from..].as_ptr(),
                rows: &buffers.planes[..channels],
                cols: inside.len(),
                next,
                count: 1,
                from_next: 0,
                to_next: 0,
                to: to[inside.start * lanes..].as_mut_ptr(),
                columns: Columns::Step(lanes),
                whole: true,
                add: false,
            };
            // SAFETY: the set's instruction set is available; these columns of the row lie in each channel's plane; there is a vector's
            // room for each.
            unsafe { (self.job.set.square)(&square) }
        }
    }

    /// Adds up the products of the inputs of `chunk` with the weights of some output channels.
    fn products(
        &self,
        task: &Task,
        tiles: usize,
        channels: &Range<usize>,
        chunk: &Range<usize>,
        buffers: &mut Buffers<'_, T>,
    ) {
        let lanes = self.job.set.lanes;
        let (inputs, sums) = (self.winograd.inputs::<T>(), self.winograd.sums::<T>());
        let chain = self.winograd.chain();
        let last = self.winograd.points() - 1;
        // Two vectors of channels at a time, as the kernel computes them.
        let pair = |point: usize, channel: usize| {
            let vectors = (channels.len() - channel).div_ceil(lanes).min(2);
            (self.weights.panels(task.group, point, (channels.start + channel) / lanes), vectors)
        };
        for point in 0..=last {
            for channel in (0..channels.len()).step_by(2 * lanes) {
                let (weights, vectors) = pair(point, channel);
                let next = match channel + 2 * lanes {
                    next if next < channels.len() => pair(point, next),
                    _ => pair(last.min(point + 1), 0),
                };
                for first in chunk.clone().step_by(chain) {
                    let len = chain.min(chunk.end - first);
                    let input = point * inputs.point + first - chunk.start;
                    let products = Outer {
                        runs: &[Run { a: 0, b: 0, len }],
                        a: buffers.inputs[input..].as_ptr(),
                        rows: &buffers.tiles[..tiles],
                        b: weights[first * vectors * lanes..].as_ptr(),
                        vectors,
                        b_vector: lanes,
                        b_step: vectors * lanes,
                        to: buffers.sums[point * sums.point + channel..].as_mut_ptr(),
                        to_row: sums.tile,
                        to_vector: lanes,
                        first: first == 0,
                        written: std::ptr::null_mut(),
                        written_row: 0,
                        lines: 0,
                        next: if self.winograd.streamed {
                            next.0[first * next.1 * lanes..].as_ptr()
                        } else {
                            std::ptr::null()
                        },
                    };
                    // SAFETY: the set's instruction set is available; of each tile there are the inputs of the chunk, of each vector of
                    // channels the weights, and room for its sums, which an earlier chain wrote if it is not the first.
                    unsafe { (self.job.set.outer)(&products) }
                }
            }
        }
    }

    /// Makes outputs of the sums of some channels.
    fn outputs(
        &self,
        task: &Task,
        block: &Range<usize>,
        channels: &Range<usize>,
        buffers: &mut Buffers<'_, T>,
    ) {
        let (shape, lanes) = (&self.job.plan.shape, self.job.set.lanes);
        let [_, height, width] = shape.axes.map(|axis| axis.output);
        let layout = self.winograd.sums::<T>();
        for side in self.sides(block) {
            let task = Task { image: side.image, ..task.clone() };
            for channel in channels.clone().step_by(lanes) {
                let position = (side.depth * height + side.row) * width + side.col;
                let index = self.job.index(&task, channel, position);
                let from = side.at * layout.tile + channel - channels.start;
                let outputs = PointOutputs {
                    from: buffers.sums[from..].as_ptr(),
                    from_point: layout.point,
                    from_tile: layout.tile,
                    points: self.winograd.filters.map(|filter| filter.points()),
                    tile: self.winograd.filters.map(|filter| filter.tile),
                    tiles: side.tiles,
                    strip: buffers.strip.as_mut_ptr(),
                    rows: self.winograd.filters[0].tile.min(height - side.row),
                    row: width,
                    destination: Destination {
                        y: self.job.y.at(index),
                        row_stride: self.job.layout.stride,
                        rows: lanes.min(channels.end - channel),
                        cols: (side.tiles * self.winograd.filters[1].tile).min(width - side.col),
                        resume: false,
                        stream: false,
                        finish: self.job.finish(task.group * shape.out_channels + channel, index),
                    },
                };
                // SAFETY: the set's instruction set is available; there are sums at every point of every tile, and room in the strip;
                // these rows and columns lie in the output, and nobody else's tiles do.
                unsafe { (self.job.set.from_points)(&outputs) }
            }
        }
    }
}
