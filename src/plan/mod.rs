//! Deciding what will run: a pure function of the geometry, the instruction set and what the caller forces.

mod cost;
mod tuning;

use std::fmt;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::gemm::blocking::{Blocking, Limits};
use crate::gemm::partition::{Grid, Pieces};
use crate::geometry::Shape;
use crate::isa::{Available, Isa};
use crate::kernel::{self, KernelSet, Run, Tap};
use crate::pack::buffer::lines_for;
use crate::pack::runs::max_runs;
use crate::pack::taps::TapWindow;
use cost::cost;
use tuning::not_applicable;
pub use tuning::{Algorithm, Lowering, Orientation, Tuning};

/// The names of the register tiles for `T` on `isa`, as [`Tuning::kernel`] takes them.
///
/// # Errors
/// [`Error::IsaUnavailable`].
pub fn kernel_names<T: Element>(isa: Isa) -> Result<Vec<&'static str>> {
    let set = kernel::set::<T>(Available::new(isa)?);
    Ok(candidates(set).map(|tile| tile.name(set)).collect())
}

/// The least work of a part, in multiply-adds. Measured: with two threads that are awake, sharing takes 0.3 µs, and a call
/// of 9 800 multiply-adds loses 6 %, one of 23 000 gains 36 %; waking a thread takes several times as long.
const PART_COST: f64 = 10_000.0;

/// A thread's work, in units of [`PART_COST`], from which on it is cut in two. Measured: two parts a thread take no
/// longer than one in the best case, and 5 to 15 % less in the median of a machine that does other things as well.
const LARGE_PARTS: usize = 16;

/// What a convolution of given extents will run. `Display` explains it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub(crate) shape: Shape,
    isa: Isa,
    dtype: &'static str,
    algorithm: Algorithm,
    lowering: Lowering,
    /// None where the output is computed as one.
    pub(crate) tiling: Option<Tiling>,
    kernel: &'static str,
    /// Channels and positions of the largest tile.
    extents: [usize; 2],
    pub(crate) blocking: Blocking,
    parts: Option<usize>,
    scratch_bytes: usize,
    /// Estimated fused multiply-add instructions of one group of one image, everything else counted in those.
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

/// The largest register tile, and the output cut into such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiling {
    pub(crate) tile: Tile,
    grid: Grid,
    /// Cut into smaller tiles of the family.
    fine: Grid,
}

/// Fewest tiles in a part: parts differ by at most one.
const PART_TILES: usize = 8;

impl Tiling {
    /// A vector of channels takes its time however few they are, and so does a panel of positions.
    fn new<T: Element>(shape: &Shape, set: &KernelSet<T>, tile: Tile) -> Self {
        let [channels, positions] = tile.extents(set);
        let in_lanes = tile.orientation == Orientation::ChannelsInLanes;
        let (lanes, panel) = if in_lanes { (set.lanes, 1) } else { (1, positions) };
        let grid = |piece| {
            let channels = Pieces { len: shape.out_channels, piece, step: lanes };
            let positions = Pieces { len: shape.out_plane(), piece: positions, step: panel };
            Grid::new(shape.batch, shape.groups, channels, positions, in_lanes)
        };
        Self { tile, grid: grid(channels), fine: grid(if in_lanes { lanes } else { channels }) }
    }

    /// The grid to cut into `parts`.
    pub(crate) fn grid(&self, parts: usize) -> &Grid {
        if self.grid.tiles() / parts < PART_TILES { &self.fine } else { &self.grid }
    }
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
            tiling: Some(Tiling::new(&shape, set, tile)),
            kernel: tile.name(set),
            extents: tile.extents(set),
            blocking,
            parts: tuning.parts,
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
            tiling: None,
            kernel: "matrixmultiply",
            extents: [shape.out_channels, shape.out_plane()],
            blocking: Blocking { channels: shape.in_channels, taps: shape.taps() },
            parts: None,
            scratch_bytes: columns * size_of::<T>(),
            cost: f64::NAN,
        })
    }

    /// Cache lines of scratch for one task; what [`crate::gemm::driver`] takes, in its order.
    fn scratch_lines<T: Element>(&self, set: &KernelSet<T>) -> usize {
        let Some(Tiling { tile, .. }) = self.tiling else { return 0 };
        let Blocking { channels, taps } = self.blocking;
        let windows = lines_for::<TapWindow>(taps);
        match tile.orientation {
            Orientation::ChannelsInLanes => windows + 2 * lines_for::<Tap>(taps),
            Orientation::PositionsInLanes => {
                let vectors = set.position[tile.family].vectors;
                let runs = max_runs(&self.shape, set.lanes) * taps;
                windows
                    + lines_for::<Run>(taps)
                    + lines_for::<Run>(runs)
                    + lines_for::<u32>(taps)
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
        self.tiling.map(|tiling| tiling.tile.orientation)
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

    /// Into how many parts the work is cut for `threads` threads. 1 where a part would be too small to pay for handing
    /// it to another thread; two for each thread where they are large, so that a thread that is done early can help.
    #[must_use]
    pub fn parts(&self, threads: usize) -> usize {
        let work = self.cost * (self.shape.batch * self.shape.groups) as f64;
        // An `as` cast saturates.
        let worthwhile = (work / PART_COST) as usize;
        let parts = match self.parts {
            Some(parts) => parts,
            None if threads > 1 && worthwhile / threads >= LARGE_PARTS => 2 * threads,
            None => threads.min(worthwhile),
        };
        self.tiling.map_or(1, |tiling| parts.clamp(1, tiling.fine.tiles().max(1)))
    }

    /// Scratch for each part, in bytes.
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
        if self.tiling.is_some() {
            writeln!(f, "why        least estimated cost: {:.3e} vector multiply-adds", self.cost)?;
        } else {
            writeln!(f, "why        asked for")?;
        }
        writeln!(f, "scratch    {} bytes", self.scratch_bytes)?;
        write!(f, "work       {} FLOPs", self.flops())
    }
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
            let tables = (max_runs(shape, set.lanes) + 1) * size_of::<Run>() + size_of::<u32>();
            (vectors * set.lanes * size, size_of::<TapWindow>() + tables, true)
        }
    };
    Limits { bytes_per_k, bytes_per_tap, panel, k: tuning.k_block, taps: tuning.tap_block }
}

/// Cuts `channels` into blocks of tiles of 2ⁱ rows, i ≤ `largest`: (first channel, i, channels). The last tile may reach
/// behind the end, where that costs less than one more tile.
pub(crate) fn row_blocks(channels: usize, largest: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = channels.checked_sub(next).filter(|&rest| rest > 0)?;
        let below = rest.ilog2() as usize;
        let above = usize::from(rest > 3 << below >> 1);
        let log2 = (below + above).min(largest);
        let (first, rows) = (next, (rest >> log2 << log2).max(rest.min(1 << log2)));
        next += rows;
        Some((first, log2, rows))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Params;

    fn listed() -> Vec<serde_json::Value> {
        serde_json::from_str(include_str!("../../benches/layers.json")).unwrap()
    }

    fn plan<T: Element>(layer: &serde_json::Value, isa: Isa) -> Plan {
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let get = |name: &str| number(&layer[name]);
        let pair = |name: &str| [0, 1].map(|i| number(&layer[name][i]));
        let params = Params::new(get("c_in"), get("c_out"), pair("kernel"))
            .stride(pair("stride"))
            .padding(pair("padding"))
            .dilation(pair("dilation"))
            .groups(get("groups"));
        let shape = params.geometry(get("n"), [get("h"), get("w")]).unwrap().shape;
        let set = kernel::set::<T>(Available::new(isa).unwrap());
        Plan::new(shape, set, Algorithm::Auto, Tuning::default()).unwrap()
    }

    fn tiles(plan: &Plan) -> usize {
        plan.tiling.unwrap().fine.tiles()
    }

    /// The largest share of `threads` threads over the average. A tile counts whole, however much of it is used.
    fn imbalance(plan: &Plan, lanes: usize, threads: usize) -> f64 {
        let parts = plan.parts(threads);
        let whole = |n: usize, piece: usize| n.next_multiple_of(piece);
        let cost = |part| -> usize {
            let of = |task: crate::gemm::partition::Task| match plan.orientation().unwrap() {
                Orientation::ChannelsInLanes => {
                    whole(task.channels.len(), lanes) * whole(task.positions.len(), plan.extents[1])
                }
                Orientation::PositionsInLanes => {
                    task.channels.len() * whole(task.positions.len(), plan.extents[1])
                }
            };
            plan.tiling.unwrap().grid(parts).part(part, parts).map(of).sum()
        };
        // As `join` deals them out where nobody is early: thread i of n has parts i·parts/n and so on.
        let share = |thread| (thread * parts / threads..(thread + 1) * parts / threads).map(cost).sum();
        let shares: Vec<usize> = (0..threads).map(share).collect();
        let average = shares.iter().sum::<usize>() as f64 / threads as f64;
        *shares.iter().max().unwrap() as f64 / average
    }

    fn check_balance<T: Element>() {
        for isa in Isa::available() {
            let lanes = kernel::set::<T>(Available::new(isa).unwrap()).lanes;
            for layer in listed() {
                let plan = plan::<T>(&layer, isa);
                if plan.flops() < 20_000_000 {
                    continue;
                }
                for threads in 1..=64 {
                    let imbalance = imbalance(&plan, lanes, threads);
                    let most = if threads <= 16 { 1.15 } else { 1.5 };
                    assert!(
                        imbalance <= most,
                        "{} {isa} {}, {} tiles, {threads} threads: {imbalance}\n{plan}",
                        layer["name"],
                        T::NAME,
                        tiles(&plan)
                    );
                }
            }
        }
    }

    #[test]
    fn threads_have_equal_shares_of_large_layers_f32() {
        check_balance::<f32>();
    }

    #[test]
    fn threads_have_equal_shares_of_large_layers_f64() {
        check_balance::<f64>();
    }

    #[test]
    fn small_work_stays_in_one_part_and_parts_can_be_forced() {
        let layer = listed().into_iter().find(|layer| layer["name"] == "tiny.edge.6x8").unwrap();
        let plan = plan::<f32>(&layer, Isa::Portable);
        assert!((0..=64).all(|threads| plan.parts(threads) == 1));
        let forced = Plan { parts: Some(3), ..plan.clone() };
        assert_eq!(forced.parts(1), 3.min(tiles(&plan)));
        assert_eq!(Plan { parts: Some(0), ..plan.clone() }.parts(64), 1);
        assert_eq!(Plan { parts: Some(usize::MAX), ..plan.clone() }.parts(1), tiles(&plan));
    }

    #[test]
    fn one_thread_has_one_part_and_many_have_enough_for_all() {
        for layer in listed() {
            let plan = plan::<f32>(&layer, Isa::Portable);
            assert_eq!(plan.parts(1), 1, "{plan}");
            assert_eq!(plan.parts(0), 1, "{plan}");
            if plan.flops() > 20_000_000 {
                assert!(plan.parts(2) >= 2 && plan.parts(16) >= 16, "{plan}");
            }
        }
    }
}
