//! The plan of a weight gradient: blocks of weights, each summed over all positions by one thread.

use super::parts;
use crate::caches::Caches;
use crate::element::Element;
use crate::gemm::blocking::{Blocking, KBlock, Limits};
use crate::geometry::Shape;
use crate::kernel::{KernelSet, Run};
use crate::pack::bands::{Bands, Layout};
use crate::pack::buffer::{LINE, lines_for};
use crate::slices::Slices;

/// What the sums of a block may fill, for each slice.
const SUMS_BYTES: usize = 32 << 10;

/// Rows of a block, at most: output channels, for which the image's rows are copied once. A multiple of a tile's.
const ROWS: usize = 96;

/// Fewest blocks for each of several threads, and rows of those that are made for that.
const THREAD_BLOCKS: usize = 4;
const FEWEST_ROWS: usize = 12;

/// What a weight gradient will run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WeightPlan {
    /// The convolution.
    pub(crate) shape: Shape,
    pub(crate) slices: Slices,
    /// Whether the image is read where it lies.
    pub(crate) in_place: bool,
    pub(crate) rows: usize,
    pub(crate) columns: Blocking,
    narrow: usize,
    /// Into how many parts the blocks are cut.
    pub(crate) parts: usize,
}

/// A block of weights: `rows` output channels of a group by the channels and taps of `columns`.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) group: usize,
    pub(crate) rows: std::ops::Range<usize>,
    pub(crate) columns: KBlock,
}

impl WeightPlan {
    /// For at most `threads` threads, which change the blocks alone.
    pub(crate) fn new<T: Element>(shape: Shape, set: &KernelSet<T>, threads: usize) -> Self {
        let work = shape.output_len() as f64 * shape.k() as f64 / set.lanes as f64;
        let mut plan = Self {
            shape,
            slices: Slices::new(&shape),
            in_place: shape.is_pointwise(),
            rows: shape.out_channels.min(ROWS),
            columns: Blocking { channels: 1, taps: [1; 3] },
            narrow: set.lanes,
            parts: parts(work, threads, None),
        };
        plan.columns = plan.blocking::<T>();
        let fewest = if plan.parts > 1 { THREAD_BLOCKS.saturating_mul(threads) } else { 1 };
        while plan.blocks() < fewest && plan.rows > FEWEST_ROWS {
            plan.rows = plan.rows.div_ceil(2).next_multiple_of(FEWEST_ROWS / 2);
            plan.columns = plan.blocking::<T>();
        }
        plan.parts = plan.parts.clamp(1, plan.blocks().max(1));
        plan
    }

    fn bands(&self) -> Bands {
        Bands { rows: self.slices.rows, cols: self.slices.cols, joined: true }
    }

    fn blocking<T: Element>(&self) -> Blocking {
        let (shape, size) = (&self.shape, size_of::<T>());
        let most = SUMS_BYTES / size / self.rows;
        let bytes = |len: Option<usize>| {
            let len = len.and_then(|len| len.checked_mul(self.slices.pieces.max(1) * size));
            len.unwrap_or(usize::MAX).max(1)
        };
        let limits = if self.in_place {
            Limits { channels: most, taps: 1 }
        } else {
            let whole =
                bytes(Layout::new(shape, self.bands(), shape.kernel(), self.narrow).map(|l| l.channel));
            let tap = bytes(Layout::bound(self.bands(), 1, self.narrow));
            let (band, taps) = (Caches::here().band(), shape.taps());
            Limits {
                channels: (band / whole).min(most / taps),
                taps: if whole <= band { most } else { most.min(band / tap) },
            }
        };
        Blocking::new(shape.in_channels, shape.kernel(), limits)
    }

    /// How a channel of a piece lies in a band.
    pub(crate) fn layout(&self, taps: [usize; 3]) -> Layout {
        Layout::new(&self.shape, self.bands(), taps, self.narrow).unwrap_or_default()
    }

    /// The blocks of a group's columns.
    fn column_blocks(&self) -> impl Iterator<Item = KBlock> {
        self.columns.blocks(self.shape.in_channels, self.shape.kernel())
    }

    fn row_blocks(&self) -> usize {
        self.shape.out_channels.div_ceil(self.rows)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.shape.groups * self.row_blocks() * self.column_blocks().count()
    }

    /// The blocks `range`, those of the same columns of a group one after the other.
    pub(crate) fn range(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Block> + '_ {
        let each = self.row_blocks();
        let columns = (0..self.shape.groups).flat_map(|group| self.column_blocks().map(move |b| (group, b)));
        let first = range.start / each;
        columns.enumerate().skip(first).take(range.end.div_ceil(each) - first).flat_map(
            move |(index, (group, columns))| {
                let rows = range.start.max(index * each)..range.end.min((index + 1) * each);
                rows.map(move |block| {
                    let start = (block - index * each) * self.rows;
                    let rows = start..self.shape.out_channels.min(start + self.rows);
                    Block { group, rows, columns: columns.clone() }
                })
            },
        )
    }

    /// Columns of a block, at most.
    pub(crate) fn most_columns(&self) -> usize {
        self.columns.channels * self.columns.tap_count()
    }

    /// Elements of a band, at most.
    pub(crate) fn band_len(&self) -> usize {
        if self.in_place {
            return 0;
        }
        let taps = self.columns.taps;
        let channel = if taps == self.shape.kernel() {
            self.layout(taps).channel
        } else {
            Layout::bound(self.bands(), taps.iter().product(), self.narrow).unwrap_or(0)
        };
        channel * self.columns.channels * self.slices.pieces.max(1)
    }

    /// Sums of all slices of a block that have chunks, at most.
    pub(crate) fn sums_len(&self) -> usize {
        self.slices.used() * self.rows * self.most_columns()
    }

    /// Scratch for each part, in bytes; what [`crate::gemm::position_sums`] takes, in its order.
    pub(crate) fn scratch_bytes<T: Element>(&self) -> usize {
        let lines = lines_for::<Run>(self.slices.pieces.max(1))
            + lines_for::<usize>(self.columns.tap_count())
            + lines_for::<usize>(self.most_columns())
            + lines_for::<T>(self.sums_len())
            + lines_for::<T>(self.band_len());
        lines * LINE
    }
}
