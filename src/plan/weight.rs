//! The plan of a weight gradient: blocks of weights, each summed over all positions by one thread.

use std::ops::Range;

use super::cost::inside;
use super::parts;
use crate::caches::{Caches, LINE};
use crate::element::Element;
use crate::gemm::blocking::{Blocking, Limits};
use crate::geometry::Shape;
use crate::kernel::{KernelSet, Run};
use crate::pack::bands::{Bands, Layout};
use crate::pack::buffer::lines_for;
use crate::pack::panels::Panels;
use crate::pack::taps::TapBox;
use crate::parallel::Parallelism;
use crate::slices::Slices;

/// What the sums of a block may fill, for each slice: what is packed for a block is packed again for the next.
const SUMS_BYTES: usize = 64 << 10;

/// Vectors of channels of a block: 16 sums with 8 rows.
const VECTORS: usize = 2;

/// Blocks for each of several threads, and fewest rows and taps of those that are made for that.
const THREAD_BLOCKS: usize = 2;
const FEWEST_SUMS: usize = 16;

/// Writing one vector of channels, in multiply-adds; reading a vector for each multiply-add, in place of one for several.
const PACK: f64 = 8.0;
const LANEWISE: f64 = 1.2;

/// Copying a vector of the image. Measured on 128→128 3×3 stride 2, 56²: a third of the time.
const COPY: f64 = 8.0;
const COPY_STRIDED: f64 = 30.0;

/// Which channels vectors hold, and which values they are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InLanes {
    /// Input channels, packed; values of the output's gradient where they lie. Taps on padding are skipped.
    Input,
    /// Output channels, packed; values of the image, in bands of copied rows or where they lie.
    Output,
    /// Input channels, counted through all groups, and the output channels of their groups, both packed.
    Both,
}

impl InLanes {
    /// Groups that are computed one after the other, channels in lanes, and channels in rows.
    fn extents(self, shape: &Shape) -> [usize; 3] {
        let &Shape { groups, in_channels, out_channels, .. } = shape;
        match self {
            Self::Input => [groups, in_channels, out_channels],
            Self::Output => [groups, out_channels, in_channels],
            Self::Both => [1, groups * in_channels, out_channels],
        }
    }
}

/// What a weight gradient will run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WeightPlan {
    /// The convolution.
    pub(crate) shape: Shape,
    pub(crate) slices: Slices,
    pub(crate) in_lanes: InLanes,
    pub(crate) lanes: usize,
    /// Vectors, rows and taps of a block, at most.
    pub(crate) vectors: usize,
    pub(crate) rows: usize,
    pub(crate) taps: [usize; 3],
    /// Into how many parts the blocks are cut.
    pub(crate) parts: usize,
}

/// A block of weights of a group: channels in lanes by channels in rows by taps.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) group: usize,
    pub(crate) lanes: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) taps: TapBox,
}

impl WeightPlan {
    pub(crate) fn new<T: Element>(shape: Shape, set: &KernelSet<T>, parallelism: Parallelism) -> Self {
        Self::for_threads(shape, set, |work| parallelism.threads(work))
    }

    /// For as many threads as `threads` says of its work, which change the blocks alone.
    pub(super) fn for_threads<T: Element>(
        shape: Shape,
        set: &KernelSet<T>,
        threads: impl Fn(f64) -> usize,
    ) -> Self {
        let (shape, slices) = as_rows(shape);
        let work = shape.output_len() as f64 * shape.k() as f64 / set.lanes as f64;
        let threads = threads(work);
        let parts = parts(work, threads, None);
        let mut most = SUMS_BYTES / size_of::<T>() / set.lanes;
        let all = [InLanes::Output, InLanes::Input, InLanes::Both];
        let plans =
            all.into_iter().filter_map(|in_lanes| Self::by::<T>(in_lanes, (shape, slices), set, most));
        let best = plans.min_by(|a, b| a.cost().total_cmp(&b.cost()));
        // Values of the image need no room that the shape decides.
        let mut plan = best.expect("output channels in lanes always apply");
        let fewest = if parts > 1 { THREAD_BLOCKS.saturating_mul(threads) } else { 1 };
        while plan.blocks() < fewest && most > FEWEST_SUMS {
            most /= 2;
            let Some(smaller) = Self::by::<T>(plan.in_lanes, (shape, slices), set, most) else { break };
            plan = smaller;
        }
        plan.parts = parts.clamp(1, plan.blocks().max(1));
        plan
    }

    /// With at most `most` vectors of sums in a block; none where what it packs is too large.
    fn by<T: Element>(
        in_lanes: InLanes,
        (shape, slices): (Shape, Slices),
        set: &KernelSet<T>,
        most: usize,
    ) -> Option<Self> {
        let [_, lane_channels, row_channels] = in_lanes.extents(&shape);
        let vectors = lane_channels.div_ceil(set.lanes).clamp(1, VECTORS);
        let mut plan =
            Self { shape, slices, in_lanes, lanes: set.lanes, vectors, rows: 1, taps: [1; 3], parts: 1 };
        let (kernel, band) = (shape.kernel(), Caches::here().band());
        let most = most / vectors;
        if in_lanes == InLanes::Output {
            let Blocking { channels, taps } = plan.columns::<T>(most);
            (plan.rows, plan.taps) = (channels, taps);
            return Some(plan);
        }
        let mut taps = shape.taps().min(most);
        loop {
            plan.taps = Blocking::new(1, kernel, Limits { channels: 1, taps }).taps;
            if plan.panels_len().is_some_and(|len| len.saturating_mul(size_of::<T>()) <= band) {
                break;
            }
            taps = (taps / 2 > 0).then_some(taps / 2)?;
        }
        let blocks = row_channels.div_ceil((most / plan.tap_count()).max(1));
        // Whole tiles of eight rows.
        let rows = row_channels.div_ceil(blocks);
        plan.rows =
            if blocks > 1 { rows.next_multiple_of(8).min(most / plan.tap_count()) } else { rows }.max(1);
        Some(plan)
    }

    /// Input channels and taps of a block whose bands fit.
    fn columns<T: Element>(&self, most: usize) -> Blocking {
        let (shape, size) = (&self.shape, size_of::<T>());
        let bytes = |len: Option<usize>| {
            let len = len.and_then(|len| len.checked_mul(self.slices.pieces.max(1) * size));
            len.unwrap_or(usize::MAX).max(1)
        };
        let limits = if self.in_place() {
            Limits { channels: most, taps: 1 }
        } else {
            let (layout, bound) =
                (self.layout_of(shape.kernel()), Layout::bound(self.bands(), 1, self.lanes));
            let (whole, tap) = (bytes(layout.map(|layout| layout.channel)), bytes(bound));
            let (band, taps) = (Caches::here().band(), shape.taps());
            Limits {
                channels: (band / whole).min(most / taps),
                taps: if whole <= band { most } else { most.min(band / tap) },
            }
        };
        Blocking::new(shape.in_channels, shape.kernel(), limits)
    }

    /// Whether the image is read where it lies.
    pub(crate) fn in_place(&self) -> bool {
        self.in_lanes == InLanes::Output && self.shape.is_pointwise()
    }

    pub(crate) fn tap_count(&self) -> usize {
        self.taps.iter().product()
    }

    fn bands(&self) -> Bands {
        Bands {
            rows: self.slices.rows,
            cols: self.slices.cols,
            joined: Some(self.slices.rows.saturating_mul(self.slices.cols)),
        }
    }

    fn layout_of(&self, taps: [usize; 3]) -> Option<Layout> {
        Layout::new(&self.shape, self.bands(), taps, self.lanes)
    }

    /// How a channel of a piece lies in a band.
    pub(crate) fn layout(&self, taps: [usize; 3]) -> Layout {
        self.layout_of(taps).unwrap_or_default()
    }

    fn panels_of(&self, taps: [usize; 3]) -> Option<Panels> {
        Panels::new(&self.shape, [self.slices.rows, self.slices.cols], taps)
    }

    /// How a vector of channels of a piece lies in scratch, where input channels are in lanes.
    pub(crate) fn panels(&self, taps: [usize; 3]) -> Panels {
        self.panels_of(taps).expect("no more taps than those whose panels fit")
    }

    /// Elements of the packed image, at most.
    fn panels_len(&self) -> Option<usize> {
        let vectors = self.slices.pieces.max(1) * self.vectors * self.lanes;
        self.panels_of(self.taps)?.len().checked_mul(vectors)
    }

    /// Elements of the packed output's gradient.
    fn gradients_len(&self) -> usize {
        self.slices.positions() * self.vectors * self.lanes
    }

    /// In multiply-adds.
    fn cost(&self) -> f64 {
        let shape = &self.shape;
        let [groups, lane_channels, row_channels] = self.in_lanes.extents(shape);
        let vectors = groups as f64 * lane_channels.div_ceil(self.lanes) as f64;
        let positions = (shape.batch * shape.out_plane()) as f64;
        let blocks = (row_channels.div_ceil(self.rows) * shape.taps().div_ceil(self.tap_count())) as f64;
        let image = || {
            let panels = self.panels_of(self.taps).map_or(f64::INFINITY, |panels| panels.len() as f64);
            panels / (self.slices.rows * self.slices.cols).max(1) as f64
        };
        let (work, packed) = match self.in_lanes {
            InLanes::Input => (inside(shape) * rows_cost(row_channels) * shape.taps() as f64, image()),
            InLanes::Output => (rows_cost(row_channels * shape.taps()) + self.copying(), 1.0),
            InLanes::Both => {
                // Of each block the image, and of each row the output's gradient.
                let work = LANEWISE * (row_channels * shape.taps()) as f64;
                (work, image() + self.rows as f64)
            }
        };
        positions * vectors * (work + PACK * packed * blocks)
    }

    /// What copying bands takes for each position and vector of the output channels.
    fn copying(&self) -> f64 {
        let [_, height, width] = &self.shape.axes;
        if self.in_place() {
            return 0.0;
        }
        // Windows that overlap share rows; each column of taps has a copy.
        let span = (height.kernel - 1).saturating_mul(height.dilation).min(height.input);
        let rows = height.stride as f64 + span as f64 / self.slices.rows.max(1) as f64;
        let rows = rows.min(height.kernel as f64) * self.shape.axes[0].kernel as f64;
        let elements = rows * (width.kernel * self.shape.in_channels) as f64;
        let copy = if width.stride == 1 { COPY } else { COPY_STRIDED };
        copy * elements / (self.lanes * self.vectors) as f64
    }

    fn lane_blocks(&self) -> usize {
        self.in_lanes.extents(&self.shape)[1].div_ceil(self.vectors * self.lanes)
    }

    fn row_blocks(&self) -> usize {
        self.in_lanes.extents(&self.shape)[2].div_ceil(self.rows)
    }

    fn tap_boxes(&self) -> impl Iterator<Item = TapBox> {
        TapBox::all(self.shape.kernel(), self.taps)
    }

    pub(crate) fn blocks(&self) -> usize {
        self.in_lanes.extents(&self.shape)[0]
            * self.lane_blocks()
            * self.row_blocks()
            * self.tap_boxes().count()
    }

    /// The block with that number.
    pub(crate) fn block(&self, index: usize) -> Block {
        let [_, lane_channels, row_channels] = self.in_lanes.extents(&self.shape);
        let (boxes, rows, lanes) = (self.tap_boxes().count(), self.row_blocks(), self.lane_blocks());
        let (index, row) = (index / rows, index % rows);
        let (index, lane) = (index / lanes, index % lanes);
        let range = |i: usize, piece: usize, end: usize| i * piece..end.min((i + 1) * piece);
        Block {
            group: index / boxes,
            lanes: range(lane, self.vectors * self.lanes, lane_channels),
            rows: range(row, self.rows, row_channels),
            taps: self.tap_boxes().nth(index % boxes).expect("a block of the kernel"),
        }
    }

    /// Sums of a slice of a block, at most.
    fn slice_len(&self) -> usize {
        self.vectors * self.rows * self.tap_count() * self.lanes
    }

    /// What a part takes of scratch: runs, places, sums of all slices, what is packed of the output's gradient, and what is packed or
    /// copied of the image.
    pub(crate) fn scratch_lens(&self) -> [usize; 5] {
        let runs = self.slices.pieces.max(1) * self.slices.rows;
        let (rows, taps) = (self.rows, self.tap_count());
        let (places, gradients, image) = match self.in_lanes {
            InLanes::Input => (rows, 0, self.panels_len().unwrap_or(0)),
            InLanes::Output => ((rows + 1) * taps, self.gradients_len(), self.band_len()),
            InLanes::Both => (taps, self.gradients_len(), self.panels_len().unwrap_or(0)),
        };
        [runs, places, self.slices.used() * self.slice_len(), gradients, image]
    }

    /// Elements of a band, at most.
    fn band_len(&self) -> usize {
        if self.in_place() {
            return 0;
        }
        let channel = if self.taps == self.shape.kernel() {
            self.layout(self.taps).channel
        } else {
            Layout::bound(self.bands(), self.tap_count(), self.lanes).unwrap_or(0)
        };
        channel * self.rows * self.slices.pieces.max(1)
    }

    /// Scratch for each part, in bytes.
    pub(crate) fn scratch_bytes<T: Element>(&self) -> usize {
        let [runs, places, elements @ ..] = self.scratch_lens();
        let elements: usize = elements.into_iter().map(lines_for::<T>).sum();
        (lines_for::<Run>(runs) + lines_for::<usize>(places) + elements) * LINE
    }
}

/// The order of the sums for a convolution of `shape`, and `shape`; where an image is its own im2col matrix, both with longer rows, of which
/// there is less to say. The order stays that of the shape as given.
fn as_rows(mut shape: Shape) -> (Shape, Slices) {
    let slices = Slices::new(&shape);
    let Some(joined) = shape.is_pointwise().then(|| slices.as_rows()).flatten() else {
        return (shape, slices);
    };
    for (axis, extent) in shape.axes.iter_mut().zip(joined.extents) {
        (axis.input, axis.output) = (extent, extent);
    }
    (shape, joined)
}

/// What so many rows take for each position and vector: fewer than eight wait for each other.
fn rows_cost(rows: usize) -> f64 {
    const REST: [f64; 8] = [0.0, 3.0, 3.0, 6.0, 4.5, 7.5, 7.5, 9.0];
    (rows - rows % 8) as f64 + REST[rows % 8]
}
