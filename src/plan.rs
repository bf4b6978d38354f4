//! Deciding what will run: a pure function of the geometry, the instruction set and what the caller forces.

use std::fmt;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::gemm::blocking::{Blocking, Limits};
use crate::geometry::Shape;
use crate::isa::{Available, Isa};
use crate::kernel::{self, ChannelFamily, KernelSet, PositionFamily, Run, Tap};
use crate::pack::buffer::lines_for;
use crate::pack::runs::max_runs;
use crate::pack::taps::TapWindow;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// Whatever is estimated to be fastest among those that give the exact order of summation.
    #[default]
    Auto,
    /// This crate's blocked GEMM over the virtual im2col matrix.
    Gemm,
    /// The im2col matrix in memory and `matrixmultiply`: the baseline. Its sums are not in this crate's order, and
    /// its workspace grows with the image.
    Im2col,
}

/// How the im2col matrix is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lowering {
    /// Where its values lie in the image.
    InPlace,
    /// From panels that are packed while they are first used.
    Packed,
    /// As a whole, written to memory first.
    Materialised,
}

/// What a vector register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Orientation {
    /// One position of several output channels.
    ChannelsInLanes,
    /// Several positions of one output channel.
    PositionsInLanes,
}

/// Forces choices that are otherwise made for speed: for tests, benchmarks and experiments. None changes a byte of
/// a result of the exact family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct Tuning {
    /// How the im2col matrix is read.
    pub lowering: Option<Lowering>,
    /// What a vector register holds.
    pub orientation: Option<Orientation>,
    /// The largest register tile, by its name; see [`kernel_names`].
    pub kernel: Option<&'static str>,
    /// Terms in a block of the sum, about.
    pub k_block: Option<usize>,
    /// Taps in a block of the sum, at most.
    pub tap_block: Option<usize>,
}

impl Tuning {
    /// Sets how the im2col matrix is read.
    #[must_use]
    pub const fn lowering(mut self, lowering: Lowering) -> Self {
        self.lowering = Some(lowering);
        self
    }

    /// Sets what a vector register holds.
    #[must_use]
    pub const fn orientation(mut self, orientation: Orientation) -> Self {
        self.orientation = Some(orientation);
        self
    }

    /// Sets the largest register tile, by its name.
    #[must_use]
    pub const fn kernel(mut self, name: &'static str) -> Self {
        self.kernel = Some(name);
        self
    }

    /// Sets about how many terms a block of the sum has; 0 counts as 1.
    #[must_use]
    pub const fn k_block(mut self, terms: usize) -> Self {
        self.k_block = Some(terms);
        self
    }

    /// Sets how many taps a block of the sum has at most; 0 counts as 1.
    #[must_use]
    pub const fn tap_block(mut self, taps: usize) -> Self {
        self.tap_block = Some(taps);
        self
    }
}

/// The names of the register tiles for `T` on `isa`, as [`Tuning::kernel`] takes them.
///
/// # Errors
/// [`Error::IsaUnavailable`].
pub fn kernel_names<T: Element>(isa: Isa) -> Result<Vec<&'static str>> {
    let set = kernel::set::<T>(Available::new(isa)?);
    Ok(candidates(set).map(|tile| tile.name(set)).collect())
}

/// What a convolution of given extents will run. `Display` explains it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) shape: Shape,
    isa: Isa,
    dtype: &'static str,
    algorithm: Algorithm,
    lowering: Lowering,
    pub(crate) tile: Option<Tile>,
    kernel: &'static str,
    /// Channels and positions of the largest tile.
    extents: [usize; 2],
    pub(crate) blocking: Blocking,
    scratch_bytes: usize,
    /// Estimated fused multiply-add instructions, everything else counted in those.
    cost: f64,
}

/// A register tile of a [`KernelSet`], with all smaller ones of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) orientation: Orientation,
    /// Index of the family.
    pub(crate) family: usize,
    /// The largest member's index in the family.
    pub(crate) largest: usize,
}

impl Tile {
    fn name<T: Element>(self, set: &KernelSet<T>) -> &'static str {
        match self.orientation {
            Orientation::ChannelsInLanes => set.channel[self.family].by_vectors[self.largest].name,
            Orientation::PositionsInLanes => set.position[self.family].by_log2_rows[self.largest].name,
        }
    }

    /// Channels and positions.
    fn extents<T: Element>(self, set: &KernelSet<T>) -> [usize; 2] {
        match self.orientation {
            Orientation::ChannelsInLanes => {
                [(self.largest + 1) * set.lanes, set.channel[self.family].positions]
            }
            Orientation::PositionsInLanes => {
                [1 << self.largest, set.position[self.family].vectors * set.lanes]
            }
        }
    }
}

/// Every tile of `set`.
fn candidates<T: Element>(set: &'static KernelSet<T>) -> impl Iterator<Item = Tile> {
    let of = |orientation, family, members: usize| {
        (0..members).map(move |largest| Tile { orientation, family, largest })
    };
    let channel = set.channel.iter().enumerate();
    let position = set.position.iter().enumerate();
    channel
        .flat_map(move |(i, f)| of(Orientation::ChannelsInLanes, i, f.by_vectors.len()))
        .chain(position.flat_map(move |(i, f)| of(Orientation::PositionsInLanes, i, f.by_log2_rows.len())))
}

impl Plan {
    /// Decides.
    ///
    /// # Errors
    /// [`Error::NotApplicable`] where what is forced does not exist for this problem.
    pub(crate) fn new<T: Element>(
        shape: Shape,
        set: &'static KernelSet<T>,
        algorithm: Algorithm,
        tuning: Tuning,
    ) -> Result<Self> {
        if algorithm == Algorithm::Im2col {
            return Self::materialised::<T>(shape, set.isa, tuning);
        }
        let best = candidates(set)
            .filter(|tile| tuning.kernel.is_none_or(|name| name == tile.name(set)))
            .filter(|tile| tuning.orientation.is_none_or(|o| o == tile.orientation))
            .filter_map(|tile| lowering(&shape, tile, tuning.lowering).map(|lowering| (tile, lowering)))
            .map(|(tile, lowering)| (tile, lowering, cost(&shape, set, tile, lowering)))
            .min_by(|a, b| a.2.total_cmp(&b.2));
        let Some((tile, lowering, cost)) = best else {
            return Err(not_applicable(tuning));
        };
        let limits = limits(&shape, set, tile, tuning);
        let blocking = Blocking::new(shape.in_channels, shape.taps(), limits);
        let mut plan = Self {
            shape,
            isa: set.isa,
            dtype: T::NAME,
            algorithm: Algorithm::Gemm,
            lowering,
            tile: Some(tile),
            kernel: tile.name(set),
            extents: tile.extents(set),
            blocking,
            scratch_bytes: 0,
            cost,
        };
        plan.scratch_bytes = plan.scratch_lines::<T>(set) * crate::pack::buffer::LINE;
        Ok(plan)
    }

    fn materialised<T: Element>(shape: Shape, isa: Isa, tuning: Tuning) -> Result<Self> {
        if tuning.kernel.is_some()
            || tuning.orientation.is_some()
            || tuning.lowering.is_some_and(|lowering| lowering != Lowering::Materialised)
        {
            return Err(Error::NotApplicable {
                what: format!("{tuning:?} with Algorithm::Im2col"),
                needs: "Algorithm::Gemm",
            });
        }
        let columns = shape
            .k()
            .checked_mul(shape.out_plane())
            .filter(|&len| len <= isize::MAX as usize / 8)
            .ok_or(Error::TensorTooLarge { argument: crate::error::Argument::Columns })?;
        Ok(Self {
            shape,
            isa,
            dtype: T::NAME,
            algorithm: Algorithm::Im2col,
            lowering: Lowering::Materialised,
            tile: None,
            kernel: "matrixmultiply",
            extents: [shape.out_channels, shape.out_plane()],
            blocking: Blocking { channels: shape.in_channels, taps: shape.taps() },
            scratch_bytes: columns * size_of::<T>(),
            cost: f64::NAN,
        })
    }

    /// Cache lines of scratch for one task; what [`crate::gemm::driver`] takes, in its order.
    fn scratch_lines<T: Element>(&self, set: &KernelSet<T>) -> usize {
        let Some(tile) = self.tile else { return 0 };
        let Blocking { channels, taps } = self.blocking;
        let windows = lines_for::<TapWindow>(taps);
        match tile.orientation {
            Orientation::ChannelsInLanes => windows + 2 * lines_for::<Tap>(taps),
            Orientation::PositionsInLanes => {
                let vectors = set.position[tile.family].vectors;
                let runs = max_runs(&self.shape, set.lanes) * taps * vectors;
                windows
                    + lines_for::<u32>(taps * vectors)
                    + lines_for::<Run>(runs)
                    + lines_for::<T>(channels * taps * vectors * set.lanes)
            }
        }
    }

    /// The algorithm that runs; never [`Algorithm::Auto`].
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How the im2col matrix is read.
    #[must_use]
    pub fn lowering(&self) -> Lowering {
        self.lowering
    }

    /// What a vector register holds; none where the algorithm has no register tile of this crate's.
    #[must_use]
    pub fn orientation(&self) -> Option<Orientation> {
        self.tile.map(|tile| tile.orientation)
    }

    /// The instruction set.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The name of the largest register tile that is used.
    #[must_use]
    pub fn kernel(&self) -> &'static str {
        self.kernel
    }

    /// Scratch for one task, in bytes.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Floating-point operations, two for each term, terms on padding included.
    #[must_use]
    pub fn flops(&self) -> u128 {
        let s = &self.shape;
        2 * (s.batch as u128 * s.groups as u128 * s.out_channels as u128)
            * s.out_plane() as u128
            * s.k() as u128
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.shape;
        writeln!(
            f,
            "GEMM       m = {} channels, n = {} positions, k = {} terms, × {} groups × {} images",
            s.out_channels,
            s.out_plane(),
            s.k(),
            s.groups,
            s.batch
        )?;
        writeln!(f, "algorithm  {:?}, im2col matrix {:?}", self.algorithm, self.lowering)?;
        write!(f, "kernel     {} ({}, {}", self.kernel, self.isa, self.dtype)?;
        match self.orientation() {
            Some(orientation) => writeln!(
                f,
                ", {orientation:?}): tile of {} channels × {} positions",
                self.extents[0], self.extents[1]
            )?,
            None => writeln!(f, ")")?,
        }
        writeln!(
            f,
            "blocking   {} of {} input channels, {} of {} taps",
            self.blocking.channels,
            s.in_channels,
            self.blocking.taps,
            s.taps()
        )?;
        if self.tile.is_some() {
            writeln!(f, "why        least estimated cost: {:.3e} vector multiply-adds", self.cost)?;
        } else {
            writeln!(f, "why        asked for")?;
        }
        writeln!(f, "scratch    {} bytes", self.scratch_bytes)?;
        write!(f, "work       {} FLOPs", self.flops())
    }
}

fn not_applicable(tuning: Tuning) -> Error {
    let needs = match tuning.lowering {
        Some(Lowering::Materialised) => "Algorithm::Im2col",
        Some(Lowering::InPlace) => "channels in the lanes, or a 1×1 kernel with stride 1 and no padding",
        Some(Lowering::Packed) => "positions in the lanes",
        None => "the name of a kernel of this instruction set, element type and orientation",
    };
    Error::NotApplicable { what: format!("{tuning:?}"), needs }
}

/// How `tile` would read the im2col matrix; none where that is not what is `forced`.
fn lowering(shape: &Shape, tile: Tile, forced: Option<Lowering>) -> Option<Lowering> {
    match (tile.orientation, forced) {
        (_, Some(Lowering::Materialised)) | (Orientation::ChannelsInLanes, Some(Lowering::Packed)) => None,
        (Orientation::ChannelsInLanes, _) => Some(Lowering::InPlace),
        (Orientation::PositionsInLanes, Some(Lowering::Packed)) => Some(Lowering::Packed),
        (Orientation::PositionsInLanes, _) if shape.is_pointwise() => Some(Lowering::InPlace),
        (Orientation::PositionsInLanes, Some(Lowering::InPlace)) => None,
        (Orientation::PositionsInLanes, _) => Some(Lowering::Packed),
    }
}

/// What bounds a block of k.
fn limits<T: Element>(shape: &Shape, set: &KernelSet<T>, tile: Tile, tuning: Tuning) -> Limits {
    let size = size_of::<T>();
    let (bytes_per_k, bytes_per_tap, panel) = match tile.orientation {
        Orientation::ChannelsInLanes => {
            ((tile.largest + 1) * set.lanes * size, size_of::<TapWindow>() + 2 * size_of::<Tap>(), false)
        }
        Orientation::PositionsInLanes => {
            let vectors = set.position[tile.family].vectors;
            let tables = vectors * (max_runs(shape, set.lanes) * size_of::<Run>() + size_of::<u32>());
            (vectors * set.lanes * size, size_of::<TapWindow>() + tables, true)
        }
    };
    Limits { bytes_per_k, bytes_per_tap, panel, k: tuning.k_block, taps: tuning.tap_block }
}

/// The estimated cost of one group of one image, in vector multiply-adds.
fn cost<T: Element>(shape: &Shape, set: &KernelSet<T>, tile: Tile, lowering: Lowering) -> f64 {
    match tile.orientation {
        Orientation::ChannelsInLanes => {
            channel_cost(shape, set.lanes, &set.channel[tile.family], tile.largest)
        }
        Orientation::PositionsInLanes => {
            position_cost(shape, set.lanes, &set.position[tile.family], tile.largest, lowering)
        }
    }
}

/// A call, its tables and the first loads of a tile, in multiply-adds.
const TILE_OVERHEAD: f64 = 30.0;

/// Transposing and storing one row of a channels-in-lanes tile. Measured: a 14×32 tile of k = 64 takes 476 more than its
/// 1792 multiply-adds.
const TRANSPOSED_STORE: f64 = 14.0;

/// Storing one vector of a positions-in-lanes tile. Measured: an 8×48 tile of k = 64 takes 200 more than its 1536.
const VECTOR_STORE: f64 = 7.0;

/// One k of a tile of `sums` registers fed by `loads` loads. A load costs about as much as a multiply-add with
/// 256-bit vectors and half with 512; fewer than 8 sums wait for each other.
fn k_cost(sums: usize, loads: usize) -> f64 {
    sums.max(loads).max(8) as f64 + 0.5
}

/// Multiply-adds on padding are skipped; each vector of channels is transposed as it is stored.
fn channel_cost<T>(shape: &Shape, lanes: usize, family: &ChannelFamily<T>, largest: usize) -> f64 {
    let (p, n) = (family.positions, shape.out_plane());
    let tiles = n.div_ceil(p) as f64;
    let vectors = shape.out_channels.div_ceil(lanes);
    let k = shape.k() as f64 * inside(shape);
    let of = |v: usize| {
        let whole = k_cost(p * v, p + v) * (n as f64 / p as f64);
        k * whole + tiles * (TILE_OVERHEAD + TRANSPOSED_STORE * (v * lanes) as f64)
    };
    let most = largest + 1;
    let rest = vectors % most;
    (vectors / most) as f64 * of(most) + if rest > 0 { of(rest) } else { 0.0 }
}

/// Nothing is skipped; packing costs a few instructions a vector, or one a lane where it is strided.
fn position_cost<T>(
    shape: &Shape,
    lanes: usize,
    family: &PositionFamily<T>,
    largest: usize,
    lowering: Lowering,
) -> f64 {
    let v = family.vectors;
    let tiles = shape.out_plane().div_ceil(v * lanes) as f64;
    let k = shape.k() as f64;
    let mut cost = 0.0;
    for (_, rows) in row_tiles(shape.out_channels, largest) {
        let computed = 1 << rows;
        cost += k * k_cost(computed * v, computed + v);
        cost += TILE_OVERHEAD + VECTOR_STORE * (computed * v) as f64;
    }
    if lowering == Lowering::Packed {
        let runs = (lanes / shape.axes[2].output.max(1) + 1) as f64;
        let per_vector = if shape.axes[2].stride == 1 { 2.0 + 4.0 * runs } else { 2.0 * lanes as f64 };
        cost += v as f64 * (k * per_vector + shape.taps() as f64 * 10.0 * runs);
    }
    tiles * cost
}

/// The share of terms that do not read padding.
fn inside(shape: &Shape) -> f64 {
    shape
        .axes
        .iter()
        .map(|a| {
            // In floating point: an empty batch may be one of images as large as can be.
            let inside: f64 = (0..a.kernel).map(|k| a.windows(k).len() as f64).sum();
            inside / (a.kernel as f64 * a.output as f64)
        })
        .product()
}

/// Cuts `channels` into tiles of 2ⁱ rows, i ≤ `largest`: (first channel, i). The last may reach behind the end, where
/// that costs less than one more tile.
pub(crate) fn row_tiles(channels: usize, largest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = channels.checked_sub(next).filter(|&rest| rest > 0)?;
        let below = rest.ilog2() as usize;
        let above = usize::from(rest > 3 << below >> 1);
        let log2 = (below + above).min(largest);
        let first = next;
        next += 1 << log2;
        Some((first, log2))
    })
}
