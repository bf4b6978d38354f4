//! Tiles with positions in the lanes: lines of positions by rows of channels, read through bands of copied rows or where
//! they lie.

use std::ops::Range;

use crate::caches::{Caches, LINE};
use crate::element::Element;
use crate::gemm::blocking::{streamed, whole_lines};
use crate::gemm::step::{Band, Place, Step};
use crate::kernel::{Next, PositionTiles};
use crate::pack::bands::{Bands, Rectangle};
use crate::plan::{Lowering, row_blocks};

/// Channels, and terms of a block, up to which nothing is asked for ahead of time in a band: what a tile reads stays in L1 for the
/// tiles below it. Behind the last channel lies the band of another thread, which has to fetch its lines again before it
/// writes them. Measured: in two threads 3 channels 1.03 to 1.07, 8 channels 1.04, 16 channels 1.01 without; in one, 12
/// channels of 5×5 AVX2 0.97.
const RESIDENT_CHANNELS: usize = 4;
const RESIDENT_TERMS: usize = 150;

impl<T> Band<'_, T> {
    /// A line of `channels` whose first position reads from `from` on.
    fn source(&self, from: usize, channels: usize) -> Source<'_, T> {
        let resident = channels <= RESIDENT_CHANNELS || channels * self.taps.len() <= RESIDENT_TERMS;
        Source {
            b: self.to[from..].as_ptr(),
            taps: self.taps,
            channel_stride: self.layout.channel,
            readable: usize::MAX,
            next: if resident { Next::Nothing } else { Next::Channel },
        }
    }
}

/// Where tiles with positions in the lanes read: what the first position of a line reads lies at `taps` from `b` on.
struct Source<'a, T> {
    b: *const T,
    taps: &'a [usize],
    channel_stride: usize,
    /// Positions from the first on that can be read, whether they belong to the line or not.
    readable: usize,
    next: Next,
}

/// Positions from which on aligning the stores of the others pays for a narrow tile more.
const MIN_ALIGNED: usize = 512;

impl<T: Element> Step<'_, T> {
    /// Positions by rows of channels: read in place where the image is its own im2col matrix, or through bands.
    pub(super) fn position_tiles(&self, band: &mut Band<'_, T>) {
        let plan = self.job.plan;
        let mut rest = self.task.positions.clone();
        if plan.lowering() == Lowering::InPlace {
            let source = Source {
                b: self.x().wrapping_add(rest.start),
                channel_stride: plan.shape.in_plane(),
                taps: &[0],
                readable: plan.shape.out_plane() - rest.start,
                next: Next::Right,
            };
            rest.start = self.line(rest.clone(), &source);
            self.last_positions(rest);
            return;
        }
        let Some(bands) = plan.bands else { return };
        while !rest.is_empty() {
            rest.start = match bands.joined {
                Some(most) => self.joined_rows(bands.rows, most, rest.clone(), band),
                None => self.strips(bands, rest.clone(), band),
            };
        }
    }

    /// The first positions of `rest` that a band of joined rows serves, `most` in `most_rows`; gives where they end.
    fn joined_rows(
        &self,
        most_rows: usize,
        most: usize,
        rest: Range<usize>,
        band: &mut Band<'_, T>,
    ) -> usize {
        let shape = &self.job.plan.shape;
        let [_, height, width] = shape.axes.map(|axis| axis.output);
        let [d, h, w] = shape.position(rest.start);
        let row = rest.start - w;
        let mut end = rest.end.min(rest.start + most).min(row + most_rows.min(height - h) * width);
        // A part that begins in a row has no tile that is cut off at the end of one.
        if w > 0 && end < rest.end {
            let set = self.job.set;
            let len = end - rest.start;
            end -= len % set.position_width(set.narrowest()).min(len);
        }
        let rows = (end - row).div_ceil(width);
        let channels = self.block.channels.len();
        self.fill(Rectangle { at: [d, h, 0], rows, cols: width }, self.x(), channels, band);
        self.line(rest.start..end, &band.source(w, channels))
    }

    /// The first rows of `rest`, or what there is of one, strip by strip; gives where they end.
    fn strips(&self, bands: Bands, rest: Range<usize>, band: &mut Band<'_, T>) -> usize {
        let shape = &self.job.plan.shape;
        let [_, height, width] = shape.axes.map(|axis| axis.output);
        let [d, h, w] = shape.position(rest.start);
        let rows = (rest.len() / width).min(bands.rows).min(height - h);
        let (rows, end) = if w == 0 && rows > 0 { (rows, width) } else { (1, width.min(w + rest.len())) };
        let first_row = rest.start - w;
        for col in (w..end).step_by(bands.cols) {
            let cols = bands.cols.min(end - col);
            let channels = self.block.channels.len();
            self.fill(Rectangle { at: [d, h, col], rows, cols }, self.x(), channels, band);
            for row in 0..rows {
                let from = first_row + row * width + col;
                self.line(from..from + cols, &band.source(row * band.layout.pitch, channels));
            }
        }
        first_row + (rows - 1) * width + end
    }

    /// Consecutive positions: wide tiles, and narrow ones for what is left or lies before a cache line. Gives where it stops,
    /// which is before the end where less than a tile can be read.
    fn line(&self, positions: Range<usize>, source: &Source<'_, T>) -> usize {
        let set = self.job.set;
        // From wide to narrow.
        let (families, narrow) = (self.tile.family..set.position.len(), set.narrowest());
        let mut lead = self.lead(&positions);
        let mut at = positions.start;
        while at < positions.end {
            let rest = positions.end - at;
            let widest = families.clone().find(|&family| lead == 0 && set.position_width(family) <= rest);
            let family = widest.unwrap_or(narrow);
            let width = set.position_width(family);
            let done = at - positions.start;
            if done + width > source.readable {
                break;
            }
            let cols = if lead > 0 { width.min(lead) } else { self.columns(family, source, done, rest) };
            lead -= lead.min(cols);
            let place = Place {
                channel: self.task.channels.start,
                rows: self.task.channels.len(),
                position: at,
                cols,
            };
            self.rows_of_tiles(family, source, done, place);
            at += cols;
        }
        at
    }

    /// How many of `rest` positions, the first `done` behind that of `source`, tiles of `family` compute in one call: those of whole tiles, or
    /// of what there is of one. A call takes as long as 100 multiply-adds. Where there are tiles of several heights, all of them are to
    /// find in L1 what the first ones read.
    fn columns(&self, family: usize, source: &Source<'_, T>, done: usize, rest: usize) -> usize {
        let (width, size) = (self.job.set.position_width(family), size_of::<T>());
        let k = (self.block.channels.len() * source.taps.len()).max(1);
        let one_block = row_blocks(self.task.channels.len(), self.largest(family)).nth(1).is_none();
        let most = match (whole_lines(width, size) || !streamed(self.job.y.len()), one_block) {
            (false, _) => 1,
            (true, true) => usize::MAX,
            (true, false) => Caches::here().l1 / 2 / (k * width * size),
        };
        let readable = (source.readable - done) / width;
        (rest / width).min(readable).min(most).max(1).saturating_mul(width).min(rest)
    }

    /// The largest tile of `family` that is used, by its index.
    fn largest(&self, family: usize) -> usize {
        if family == self.tile.family {
            self.tile.largest
        } else {
            self.job.set.position[family].by_log2_rows.len() - 1
        }
    }

    /// How many positions there are before a cache line of the output begins, where all rows of it have theirs at the same
    /// positions: a store that crosses a line takes twice as long, and only a whole line can be streamed.
    fn lead(&self, positions: &Range<usize>) -> usize {
        let size = size_of::<T>();
        let index = self.job.index(self.task, self.task.channels.start, positions.start);
        let lead = self.job.y.at(index).align_offset(LINE);
        let aligned = whole_lines(self.job.layout.stride, size) && lead < LINE / size;
        if aligned && positions.len() >= MIN_ALIGNED { lead } else { 0 }
    }

    /// The tiles of all channels of `all` over its positions, of which the first is `from` behind that of `source`.
    fn rows_of_tiles(&self, family: usize, source: &Source<'_, T>, from: usize, all: Place) {
        let largest = self.largest(family);
        let family = &self.job.set.position[family];
        for (first, log2_rows, rows) in row_blocks(all.rows, largest) {
            let place = Place { channel: all.channel + first, rows, ..all };
            let tiles = PositionTiles {
                w: self.w(place.channel),
                w_row: place.channel % self.job.set.lanes,
                w_panel: self.job.weights.panel_len(),
                b: source.b.wrapping_add(from),
                taps: source.taps,
                channel_stride: source.channel_stride,
                channels: self.block.channels.len(),
                next: source.next,
                destination: self.destination(place),
            };
            // SAFETY: the set's instruction set is available. What the tile reads lies in the band, or in an image that
            // is its own im2col matrix. A tile's weights lie in one panel: its first channel is a multiple of its rows, for
            // the task's is one of the lanes, which the rows of every tile divide. The destination lies in this task's part of the output.
            unsafe { (family.by_log2_rows[log2_rows].run)(&tiles) };
        }
    }
}
