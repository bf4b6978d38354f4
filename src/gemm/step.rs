//! One block of k of one rectangle of the output: what tiles of either orientation need to know of it.

use crate::caches::LINE;
use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::gemm::blocking::{KBlock, streamed, whole_lines};
use crate::gemm::partition::Task;
use crate::gemm::tiles::Output;
use crate::geometry::Shape;
use crate::kernel::{Destination, Finish, KernelSet};
use crate::pack::bands::{Layout, Rectangle};
use crate::pack::taps::Leap;
use crate::pack::transformed::TransformedWeights;
use crate::pack::weights::PackedWeights;
use crate::plan::{Plan, Tile};

/// One convolution: everything is checked and planned.
pub(crate) struct Job<'a, T: 'static> {
    pub(crate) plan: &'a Plan,
    pub(crate) set: &'static KernelSet<T>,
    pub(crate) weights: &'a PackedWeights<T>,
    /// Those of Winograd's products, where the plan has these.
    pub(crate) transformed: Option<&'a TransformedWeights<T>>,
    pub(crate) x: &'a [T],
    pub(crate) addend: Addend<'a, T>,
    pub(crate) epilogue: &'a Epilogue<T>,
    pub(crate) y: &'a Output<'a, T>,
    pub(crate) layout: PlaneLayout,
}

/// What is added to the sums before the activation.
#[derive(Clone, Copy)]
pub(crate) enum Addend<'a, T> {
    Nothing,
    /// A tensor that is laid out like the output.
    Residual(&'a [T]),
    /// What the output holds.
    Output,
}

/// Where the planes of a convolution's output lie, of which the output may be a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaneLayout {
    /// From a plane to the next.
    pub(crate) stride: usize,
    /// The output's first element, were it the whole.
    pub(crate) first: usize,
}

impl PlaneLayout {
    /// Of the whole output.
    pub(crate) fn whole(shape: &Shape) -> Self {
        Self { stride: shape.out_plane(), first: 0 }
    }
}

/// Where a tile is in the output: the first and the number of its channels and positions.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) channel: usize,
    pub(super) rows: usize,
    pub(super) position: usize,
    pub(super) cols: usize,
}

impl<T: Element> Job<'_, T> {
    /// Index of an element of the output.
    pub(super) fn index(&self, task: &Task, channel: usize, position: usize) -> usize {
        let shape = &self.plan.shape;
        let plane = (task.image * shape.groups + task.group) * shape.out_channels + channel;
        plane * self.layout.stride + position - self.layout.first
    }

    /// From an input channel to the next, for tiles with channels in the lanes.
    pub(super) fn channel(&self) -> Leap {
        let shape = &self.plan.shape;
        Leap { x: shape.in_plane() as isize, w: shape.taps() * self.set.lanes }
    }

    /// What happens to the sums from element `index` of the output on, which is of channel `channel`, counted through all groups.
    pub(super) fn finish(&self, channel: usize, index: usize) -> Finish<'_, T> {
        let epilogue = self.epilogue;
        let residual = match (self.addend, epilogue.activation.clamp()) {
            (Addend::Nothing, Some((lo, hi))) => {
                return Finish::Clamp { bias: epilogue.bias[channel..].as_ptr(), lo, hi };
            }
            (Addend::Nothing, None) => None,
            (Addend::Residual(residual), _) => Some(residual[index..].as_ptr()),
            (Addend::Output, _) => Some(self.y.at(index).cast_const()),
        };
        Finish::Full { epilogue, channel, residual, run: self.set.finish }
    }
}

/// One block of k of one task.
pub(super) struct Step<'a, T: 'static> {
    pub(super) job: &'a Job<'a, T>,
    pub(super) task: &'a Task,
    pub(super) tile: Tile,
    pub(super) block: KBlock,
}

/// Scratch for the rows of a band, and where its taps read there.
pub(super) struct Band<'a, T> {
    pub(super) taps: &'a [usize],
    pub(super) layout: Layout,
    pub(super) to: &'a mut [T],
}

impl<T: Element> Step<'_, T> {
    /// Copies what `rectangle` reads with the block's taps in `channels` channels from `x` on.
    pub(super) fn fill(&self, rectangle: Rectangle, x: *const T, channels: usize, band: &mut Band<'_, T>) {
        let image = (&self.job.plan.shape, self.job.set);
        band.layout.fill(image, (&self.block.taps, channels), rectangle, x, band.to);
    }

    /// The block's first input channel of the task's group and image.
    pub(super) fn x(&self) -> *const T {
        let shape = &self.job.plan.shape;
        let plane = (self.task.image * shape.groups + self.task.group) * shape.in_channels;
        self.job.x[(plane + self.block.channels.start) * shape.in_plane()..].as_ptr()
    }

    /// The weights of the block's first k for the vector of channels that `channel` is in.
    pub(super) fn w(&self, channel: usize) -> *const T {
        let lanes = self.job.set.lanes;
        let shape = &self.job.plan.shape;
        let k = self.block.channels.start * shape.taps() + self.block.taps.range(shape.kernel()).start;
        self.job.weights.panel(self.task.group, channel / lanes)[k * lanes..].as_ptr()
    }

    pub(super) fn destination(&self, place: Place) -> Destination<'_, T> {
        let plane = self.job.layout.stride;
        let index = self.job.index(self.task, place.channel, place.position);
        let channel = self.task.group * self.job.plan.shape.out_channels + place.channel;
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
            finish: if self.block.last { self.job.finish(channel, index) } else { Finish::Partial },
        }
    }
}
