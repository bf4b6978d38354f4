//! Winograd's tiles: whether they apply, how much of what is computed at a time, what it costs.

use std::fmt;

use crate::caches::{Caches, LINE};
use crate::element::Element;
use crate::gemm::blocking::Blocking;
use crate::gemm::partition::{Grid, Pieces};
use crate::geometry::Shape;
use crate::kernel::KernelSet;
use crate::machine::other;
use crate::pack::buffer::lines_for;
use crate::winograd::Filter;

use super::{Algorithm, Lowering, Plan, Tuning};

/// Input channels that are transformed together, at most.
const CHUNK: usize = 512;

/// Tiles whose products are computed at once by a kernel are a multiple of this, if they can be.
const STEP: usize = 4;

/// Bytes of transformed weights from which on they are read from memory.
const OUT_OF_CACHE: usize = 14 << 20;

/// Bytes of scratch of a thread, at most.
const MOST_SCRATCH: usize = 2 << 20;

/// How Winograd's algorithm computes a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Winograd {
    /// Of the height and the width.
    pub(crate) filters: [Filter; 2],
    /// Tiles of a plane.
    pub(crate) tiles: [usize; 2],
    /// Tiles that are computed together, at most, and those side by side that are transformed together.
    pub(crate) block: usize,
    pub(crate) run: usize,
    /// Output channels that are computed together: a multiple of the lanes.
    pub(crate) channels: usize,
    /// Input channels that are transformed together.
    pub(crate) chunk: usize,
    /// Tiles of all planes.
    positions: usize,
    /// Transformed weights are read from memory.
    pub(crate) streamed: bool,
}

/// How values and sums at points lie in scratch, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PointLayout {
    /// From a tile to the next, and from a point to the next.
    pub(crate) tile: usize,
    pub(crate) point: usize,
}

impl PointLayout {
    /// For `tiles` of so many channels: an odd number of cache lines apart, so that they do not fall on the same sets.
    fn new<T>(tiles: usize, channels: usize) -> Self {
        let odd = |len: usize| (lines_for::<T>(len) | 1) * (LINE / size_of::<T>());
        let tile = odd(channels);
        Self { tile, point: odd(tiles * tile) }
    }
}

impl Winograd {
    /// With tiles of `tile` outputs along each axis, if there are such.
    pub(crate) fn new<T>(shape: &Shape, set: &KernelSet<T>, tile: usize) -> Option<Self> {
        let [depth, height, width] = shape.axes;
        let plain =
            shape.axes.iter().all(|axis| axis.stride == 1 && (axis.kernel == 1 || axis.dilation == 1));
        let planes = depth.kernel == 1 && depth.pad_begin == 0 && depth.input == depth.output;
        if !plain || !planes || height.kernel * width.kernel == 1 {
            return None;
        }
        let filters = [Filter::new(height.kernel, tile)?, Filter::new(width.kernel, tile)?];
        let [rows, cols] = [height, width].map(|axis| axis.output);
        let tiles = [rows.div_ceil(filters[0].tile), cols.div_ceil(filters[1].tile)];
        let positions = shape.batch * depth.output * tiles[0] * tiles[1];
        let mut winograd =
            Self { filters, tiles, block: 1, run: 1, channels: 0, chunk: 0, positions, streamed: false };
        let bytes = winograd.weights_bytes(shape, set.lanes, set.lanes * size_of::<T>());
        winograd.streamed = bytes > OUT_OF_CACHE;
        // Long rows stream; as many columns of vectors as L1 holds of 8 rows.
        let columns = Caches::here().l1 / (8 * set.lanes * size_of::<T>());
        let run = columns.saturating_sub(filters[1].kernel - 1) / filters[1].tile;
        winograd.run = run.clamp(1, tiles[1]);
        winograd = winograd.in_l2::<T>(shape, set.lanes);
        if winograd.streamed {
            winograd = winograd.streaming::<T>(shape, set.lanes);
        }
        Some(winograd)
    }

    /// In blocks whose inputs take what L2 has, beside the weights that go by; of wide layers more, lest these be read for a few
    /// tiles.
    fn in_l2<T>(self, shape: &Shape, lanes: usize) -> Self {
        let (caches, points) = (Caches::here(), self.points());
        let chunk = shape.in_channels.min(CHUNK);
        let of = |channels: usize| points * PointLayout::new::<T>(1, channels).tile * size_of::<T>();
        let block = (caches.inputs() / of(chunk)).max((Caches::most_inputs() / of(chunk)).min(4 * STEP));
        let block = block.min(caches.sums() / of(2 * lanes)).min(self.positions.next_multiple_of(STEP));
        let block = if block > STEP { block - block % STEP } else { block.max(1) };
        let pairs = caches.sums() / (points * block * size_of::<T>()) / (2 * lanes);
        let channels = (pairs.max(1) * 2 * lanes).min(shape.out_channels.next_multiple_of(lanes));
        Self { block, channels, chunk, ..self }
    }

    /// The cheapest blocks within [`MOST_SCRATCH`], so that weights are not read from memory more often than need be.
    fn streaming<T>(self, shape: &Shape, lanes: usize) -> Self {
        let mut best = self;
        let cost = |winograd: &Self| winograd.cost(shape, lanes, lanes * size_of::<T>());
        for chunk in [CHUNK, CHUNK / 2, CHUNK / 4].map(|chunk| chunk.min(shape.in_channels)) {
            let inputs = self.points() * PointLayout::new::<T>(1, chunk).tile * size_of::<T>();
            let fewest = self.positions.div_ceil((MOST_SCRATCH / inputs).max(1));
            for blocks in (fewest..self.blocks()).take(4) {
                let block = self.positions.div_ceil(blocks);
                let block = if blocks == 1 { block } else { block.next_multiple_of(STEP) };
                let parts = std::iter::successors(Some(1), |parts| Some(2 * parts));
                let largest = parts
                    .map(|parts| shape.out_channels.div_ceil(parts).next_multiple_of(2 * lanes))
                    .take_while(|&channels| channels > 2 * lanes)
                    .map(|channels| Self { block, chunk, channels, ..self })
                    .find(|winograd| winograd.scratch_lines::<T>(lanes) * LINE <= MOST_SCRATCH);
                best = largest.filter(|other| cost(other) < cost(&best)).unwrap_or(best);
            }
        }
        best
    }

    /// Of the transformed weights of a group, in vectors of `bytes`.
    fn weights_bytes(&self, shape: &Shape, lanes: usize, bytes: usize) -> usize {
        let vectors = shape.in_channels.saturating_mul(shape.out_channels.div_ceil(lanes));
        vectors.saturating_mul(self.points()).saturating_mul(bytes)
    }

    /// Outputs of a tile along an axis.
    pub(crate) fn tile(&self) -> usize {
        self.filters.iter().map(|filter| filter.tile).max().unwrap_or(1)
    }

    pub(super) fn name(&self) -> &'static str {
        match self.tile() {
            2 => "winograd_2",
            4 => "winograd_4",
            _ => "winograd_6",
        }
    }

    /// Points of a tile.
    pub(crate) fn points(&self) -> usize {
        self.filters.map(Filter::points).iter().product()
    }

    /// About the largest error over the largest output, in single precision: see `docs/accuracy.md`.
    pub(super) fn relative_error(&self) -> f64 {
        match self.filters.map(Filter::points).into_iter().max() {
            Some(..=4) => 6e-7,
            Some(6) => 3e-6,
            _ => 1e-5,
        }
    }

    /// Input channels whose products are one chain of multiply-adds, at most; the sums of such chains are added in order. That is part of
    /// what the result is, and the same on every machine: shorter ones round less, and what 8 points round counts most.
    pub(crate) fn chain(&self) -> usize {
        if self.filters.iter().any(|filter| filter.points() == 8) { 32 } else { 128 }
    }

    /// How the values of a block's inputs lie.
    pub(crate) fn inputs<T>(&self) -> PointLayout {
        PointLayout::new::<T>(self.block, self.chunk)
    }

    /// How the sums of a block's products lie.
    pub(crate) fn sums<T>(&self) -> PointLayout {
        PointLayout::new::<T>(self.block, self.channels)
    }

    /// Columns of the image that a run of tiles reads.
    pub(crate) fn columns(&self, tiles: usize) -> usize {
        (tiles - 1) * self.filters[1].tile + self.filters[1].points()
    }

    /// Elements of scratch for the rows of the image, or the output, of a run of tiles.
    pub(crate) fn strip_len(&self, lanes: usize) -> usize {
        let [height, width] = self.filters;
        let inputs = height.points() * self.columns(self.run);
        let outputs = height.tile * self.run * width.tile + lanes;
        inputs.max(outputs) * lanes
    }

    /// Cache lines of scratch for one part; what [`crate::gemm::winograd_tiles`] takes.
    pub(super) fn scratch_lines<T>(&self, lanes: usize) -> usize {
        let points = self.points();
        lines_for::<T>(points * self.inputs::<T>().point)
            + lines_for::<T>(points * self.sums::<T>().point)
            + lines_for::<T>(self.strip_len(lanes))
            + lines_for::<usize>(self.block)
    }

    /// The output in pieces for so many parts: tiles of all images; where there are few for the weights that are read, or these come
    /// from memory, channels, and the inputs are transformed in each part.
    pub(crate) fn grid(&self, shape: &Shape, lanes: usize, parts: usize) -> Grid {
        let (channels, positions) = (shape.out_channels, self.positions.max(1));
        let by_channels = positions / parts.max(1) < 4 * STEP || self.streamed && parts <= 4;
        let piece = if by_channels { 2 * lanes } else { channels };
        let channels = Pieces { len: channels, piece, step: lanes };
        let piece = if by_channels { positions } else { STEP };
        let positions = Pieces { len: self.positions, piece, step: STEP };
        Grid::new(1, shape.groups, channels, positions, by_channels)
    }

    /// Blocks of tiles.
    pub(super) fn blocks(&self) -> usize {
        self.positions.div_ceil(self.block)
    }

    /// Parts that there can be.
    pub(super) fn most_parts(&self, shape: &Shape) -> usize {
        shape.groups * self.positions.div_ceil(STEP).max(shape.out_channels.div_ceil(self.channels))
    }

    /// What transforming the weights of a group takes, in vector multiply-adds of `bytes`: in double precision, of which a vector is two.
    pub(super) fn weights_cost(&self, shape: &Shape, bytes: usize, lanes: usize) -> f64 {
        let vectors = shape.in_channels * shape.out_channels.div_ceil(lanes);
        16.0 * other(bytes) * (self.points() * vectors) as f64
    }

    /// What one group of one image takes, in vector multiply-adds of `bytes`. The numbers were fitted to what 41 layers took with each
    /// tile, most of them within 10 %.
    pub(super) fn cost(&self, shape: &Shape, lanes: usize, bytes: usize) -> f64 {
        let [height, width] = self.filters.map(|filter| [filter.points() as f64, filter.tile as f64]);
        let tiles = (self.tiles[0] * self.tiles[1] * shape.axes[0].output) as f64;
        let vectors = |channels: usize| channels.div_ceil(lanes) as f64;
        let (inputs, outputs) = (vectors(shape.in_channels), vectors(shape.out_channels));
        // Sums are loaded and stored once for each chain.
        let chain = self.chain().min(shape.in_channels) as f64;
        let products =
            self.points() as f64 * tiles * shape.in_channels as f64 * outputs * (1.06 + 4.0 / chain);
        // Loads, stores and arithmetic of each row and column, and copying with lanes and positions exchanged.
        let line = |points: f64, results: f64| 4.0 * points + results;
        let copied = 4.0 * height[0] * width[1];
        let input = copied + width[1] * line(height[0], height[0]) + height[0] * line(width[0], width[0]);
        let output = width[0] * line(height[0], height[1]) + height[1] * line(width[0], width[1]) + copied;
        let chunks = shape.in_channels.div_ceil(self.chunk);
        let repeated = if chunks > 1 { shape.out_channels.div_ceil(self.channels) as f64 } else { 1.0 };
        let transforms = 0.7 * tiles * (inputs * input * repeated + outputs * output);
        // Weights come from L3, or from memory, once for each block of tiles.
        let weights = self.weights_bytes(shape, lanes, bytes) as f64;
        // From memory while products are computed, if there are enough of them.
        let line = match (self.streamed, self.block >= 4 * STEP) {
            (false, _) => 0.9,
            (true, true) => 1.0,
            (true, false) => 11.0,
        };
        let weights = weights / LINE as f64 * line * self.blocks() as f64 / shape.batch.max(1) as f64;
        // Of shorter vectors more multiply-adds are done in the time of a line.
        products + other(bytes) * (transforms + weights * (LINE / bytes).max(1) as f64)
    }
}

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [[rows, cols], [taps, across]] =
            [self.filters.map(|filter| filter.tile), self.filters.map(|filter| filter.kernel)];
        write!(
            f,
            "F({rows}×{cols}, {taps}×{across}), {} products for {}, {} tiles and {} channels at a time",
            self.points(),
            rows * cols * taps * across,
            self.block,
            self.channels
        )
    }
}

impl Plan {
    /// Of Winograd's tiles.
    pub(super) fn fast<T: Element>(
        shape: Shape,
        set: &'static KernelSet<T>,
        winograd: Winograd,
        tuning: Tuning,
    ) -> Self {
        // What is chosen by it must not depend on the batch, which blocks do.
        let image = Winograd::new(&Shape { batch: 1, ..shape }, set, winograd.tile()).unwrap_or(winograd);
        Self {
            shape,
            isa: set.isa,
            dtype: T::NAME,
            algorithm: Algorithm::Winograd { tile: winograd.tile() },
            lowering: Lowering::Packed,
            tiling: None,
            kernel: winograd.name(),
            extents: winograd.filters.map(|filter| filter.tile),
            blocking: Blocking { channels: winograd.chunk, taps: shape.kernel() },
            bands: None,
            winograd: Some(winograd),
            parts: tuning.parts,
            scratch_bytes: winograd.scratch_lines::<T>(set.lanes) * LINE,
            cost: image.cost(&Shape { batch: 1, ..shape }, set.lanes, set.lanes * size_of::<T>()),
        }
    }
}
