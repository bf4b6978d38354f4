//! Direct tiles: output planes, one channel after the other.

use std::ops::Range;

use crate::caches::Caches;
use crate::element::Element;
use crate::gemm::step::{Band, Job, Place, Step};
use crate::kernel::{Destination, Images, Planes, Strips, Windows};
use crate::pack::bands::Rectangle;

impl<T: Element> Job<'_, T> {
    /// All planes of a small problem.
    pub(super) fn windows(&self) {
        let shape = &self.plan.shape;
        let (each, plane) = (shape.groups * shape.out_channels, shape.out_plane());
        for (i, index) in (0..self.y.len()).step_by(plane.max(1)).enumerate() {
            let (image, channel) = (i / each, i % each);
            let first = (image * shape.groups + channel / shape.out_channels) * shape.in_channels;
            let destination = Destination {
                y: self.y.at(index),
                row_stride: shape.axes[2].output,
                rows: 1,
                cols: shape.axes[2].output,
                resume: false,
                stream: false,
                finish: self.finish(channel, index),
            };
            let windows = Windows {
                x: self.x[first * shape.in_plane()..].as_ptr(),
                channels: shape.in_channels,
                w: self.weights.given(channel).as_ptr(),
                axes: &shape.axes,
                destination,
            };
            // SAFETY: the set's instruction set is available. The plane's input channels and weights exist, and the plane lies in
            // the output, which nobody else writes to.
            unsafe { (self.set.windows.run)(&windows) };
        }
    }
}

impl<T: Element> Step<'_, T> {
    /// Rows of the planes of the task's channels, read in place.
    pub(super) fn planes_in_place(&self) {
        let shape = &self.job.plan.shape;
        let kernel = &self.job.set.planes[self.tile.family];
        let [depth, height, width] = &shape.axes;
        let mut images = Images {
            input: [height.input, width.input],
            pad: [height.pad_begin, width.pad_begin],
            kernel: [height.kernel, width.kernel],
            dilation: [height.dilation, width.dilation],
            first_row: 0,
        };
        let (x_depth, w_depth) = (height.input * width.input, height.kernel * width.kernel);
        let end = self.task.positions.end / width.output;
        for run in self.runs(usize::MAX) {
            let mut row = self.task.positions.start / width.output;
            while row < end {
                let d = row / height.output;
                images.first_row = row % height.output;
                let rows = (height.output - images.first_row).min(end - row);
                let x = self.x_of(&run);
                let planes = self.rectangle(
                    run.clone(),
                    row * width.output,
                    [rows, width.output],
                    (x, shape.in_plane()),
                );
                // Taps whose planes lie outside the image are left out.
                let taps = depth.taps(d);
                let planes = Planes {
                    x: x.wrapping_add(depth.read(d, taps.start).unwrap_or(0) * x_depth),
                    depths: taps.len(),
                    x_depth: depth.dilation.wrapping_mul(x_depth),
                    w: planes.w.wrapping_add(taps.start * w_depth),
                    ..planes
                };
                // SAFETY: the set's instruction set is available. The planes are as large as said, and each channel has a
                // weight for each tap of each. The rows lie in this task's part of the output.
                unsafe { (kernel.run)(&planes, &images) };
                row += rows;
            }
        }
    }

    /// The same, through bands of copied rows.
    pub(super) fn planes_through_bands(&self, band: &mut Band<'_, T>) {
        let (plan, set) = (self.job.plan, self.job.set);
        let Some(bands) = plan.bands else { return };
        let [_, height, width] = plan.shape.axes.map(|axis| axis.output);
        let end = self.task.positions.end / width;
        for run in self.runs(plan.planes_in_band(set, self.tile)) {
            let groups = if plan.shape.out_channels == 1 { run.len() } else { 1 };
            let mut row = self.task.positions.start / width;
            while row < end {
                let (d, h) = (row / height, row % height);
                let rows = bands.rows.min(height - h).min(end - row);
                for col in (0..width).step_by(bands.cols) {
                    let cols = bands.cols.min(width - col);
                    let copied = Rectangle { at: [d, h, col], rows, cols };
                    self.fill(copied, self.x_of(&run), groups * plan.shape.in_channels, band);
                    let x = (band.to.as_ptr(), band.layout.channel);
                    let planes = self.rectangle(run.clone(), row * width + col, [rows, cols], x);
                    let strips = Strips { taps: band.taps, pitch: band.layout.pitch };
                    // SAFETY: the set's instruction set is available. What the taps read lies in the band, and each channel has
                    // a weight for each of them. The rectangle lies in this task's part of the output.
                    unsafe { (set.strips.run)(&planes, &strips) };
                }
                row += rows;
            }
        }
    }

    /// The task's channels, which are counted through all groups: those of one group, or of at most `most` groups that have
    /// one each, so that consecutive planes of the image make consecutive planes of the output.
    fn runs(&self, most: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let each = self.job.plan.shape.out_channels;
        let mut rest = self.task.channels.clone();
        std::iter::from_fn(move || {
            let start = rest.start;
            let most = if each == 1 { most } else { each - start % each };
            rest.start += most.min(rest.len());
            Some(start..rest.start).filter(|run| !run.is_empty())
        })
    }

    /// The first input channel that the first of `channels` reads.
    fn x_of(&self, channels: &Range<usize>) -> *const T {
        let shape = &self.job.plan.shape;
        self.x().wrapping_add(channels.start / shape.out_channels * shape.in_channels * shape.in_plane())
    }

    /// Rows and columns from `position` on in the planes of `channels`, whose input channels lie from `x` on, so far apart.
    fn rectangle(
        &self,
        channels: Range<usize>,
        position: usize,
        [rows, cols]: [usize; 2],
        (x, x_channel): (*const T, usize),
    ) -> Planes<'_, T> {
        let shape = &self.job.plan.shape;
        let row_stride = shape.axes[2].output;
        let place =
            Place { channel: channels.start, rows: 1, position, cols: (rows - 1) * row_stride + cols };
        let destination = self.destination(place);
        Planes {
            x,
            x_step: if shape.out_channels == 1 { shape.in_channels * x_channel } else { 0 },
            x_channel,
            channels: shape.in_channels,
            depths: 1,
            x_depth: 0,
            w: self.job.weights.given(channels.start).as_ptr(),
            w_channel: shape.taps(),
            count: channels.len(),
            rows,
            y_step: self.job.layout.stride,
            ahead: shape.in_channels == 1 && size_of_val(self.job.x) > Caches::here().l2,
            destination: Destination { row_stride, cols, stream: false, ..destination },
        }
    }
}
