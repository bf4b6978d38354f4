//! Direct tiles: output planes, one channel after the other.

use std::ops::Range;

use crate::element::Element;
use crate::gemm::partition::Task;
use crate::gemm::step::{Job, Place, Step};
use crate::kernel::Planes;
use crate::plan::Tile;

impl<T: Element> Job<'_, T> {
    /// Rows of the planes of the task's channels, which are counted through all groups.
    pub(super) fn planes(&self, task: &Task, tile: Tile) {
        let each = self.plan.shape.out_channels;
        if each == 1 {
            // Consecutive planes of the image make consecutive planes of the output.
            return self.planes_of(task, tile, task.channels.clone());
        }
        let mut at = task.channels.start;
        while at < task.channels.end {
            let end = task.channels.end.min((at / each + 1) * each);
            self.planes_of(task, tile, at..end);
            at = end;
        }
    }

    /// The planes of channels of one group, or of several that have one each.
    fn planes_of(&self, task: &Task, tile: Tile, channels: Range<usize>) {
        let shape = &self.plan.shape;
        let kernel = &self.set.planes[tile.family];
        let [_, height, width] = &shape.axes;
        let positions = &task.positions;
        debug_assert!([positions.start, positions.end].iter().all(|p| p.is_multiple_of(width.output)));
        let (group, channel) = (channels.start / shape.out_channels, channels.start % shape.out_channels);
        let first = Task { group, ..task.clone() };
        let step = Step::whole(self, &first, tile);
        let place = Place { channel, rows: 1, position: positions.start, cols: positions.len() };
        let mut destination = step.destination(place);
        (destination.row_stride, destination.cols, destination.stream) = (width.output, width.output, false);
        let planes = Planes {
            x: step.x(),
            x_step: if shape.out_channels == 1 { shape.in_channels * shape.in_plane() } else { 0 },
            x_channel: shape.in_plane(),
            channels: shape.in_channels,
            input: [height.input, width.input],
            pad: [height.pad_begin, width.pad_begin],
            w: self.weights.given(channels.start).as_ptr(),
            count: channels.len(),
            rows: positions.start / width.output..positions.end / width.output,
            y_step: shape.out_plane(),
            destination,
        };
        // SAFETY: the set's instruction set is available. The planes are as large as said, and each channel has a weight for
        // each tap of each. The rows lie in this task's part of the output.
        unsafe { (kernel.run)(&planes) };
    }
}
