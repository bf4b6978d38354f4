//! Deciding what will run: a pure function of the geometry, the instruction set and what the caller forces.

mod bands;
mod cost;
mod depthwise;
mod display;

mod phased;
mod tile;
mod tuning;
mod weight;
mod winograd;

use crate::element::Element;
use crate::error::{Error, Result};
use crate::gemm::blocking::Blocking;
use crate::geometry::Shape;
use crate::isa::{Available, Isa};
use crate::kernel::{self, KernelSet, Tap};
use crate::pack::bands::{Bands, Layout};
use crate::pack::buffer::lines_for;
use crate::pack::taps::TapWindow;
use cost::cost;
pub(crate) use phased::{InputPlan, Manner, Phased, Planned};
pub(crate) use tile::{Kind, Tile, Tiling, last_tile, row_blocks};
use tile::{candidates, direct, direct_tiles};
use tuning::not_applicable;
pub use tuning::{Accuracy, Algorithm, Lowering, Orientation, Tuning};
pub(crate) use weight::{Block as WeightBlock, InLanes, WeightPlan};
pub(crate) use winograd::{PointLayout, Winograd};

/// The names of the register tiles for `T` on `isa`, as [`Tuning::kernel`] takes them. Those of the GEMM apply to every
/// problem, direct ones to some.
///
/// # Errors
/// [`Error::IsaUnavailable`].
pub fn kernel_names<T: Element>(isa: Isa) -> Result<Vec<&'static str>> {
    let set = kernel::set::<T>(Available::new(isa)?);
    Ok(candidates(set).chain(direct_tiles(set)).map(|tile| tile.name(set)).collect())
}

/// The least work of a part, in multiply-adds. Measured: with two threads that are awake, sharing takes 0.3 µs, and a call
/// of 9 800 multiply-adds loses 6 %, four of 15 000 to 20 000 gain 20 to 50 %; waking a thread takes several times as long.
const PART_COST: f64 = 7_500.0;

/// A thread's work, in units of [`PART_COST`], from which on it is cut in two. Measured: two parts a thread take no
/// longer than one in the best case, and 5 to 15 % less in the median of a machine that does other things as well; with less work, those of
/// an image whose rows are copied take up to 20 % longer, for each copies rows of its own.
const LARGE_PARTS: usize = 85;

/// Into how many parts so much work, in multiply-adds, is cut for `threads` threads.
fn parts(work: f64, threads: usize, forced: Option<usize>) -> usize {
    // An `as` cast saturates.
    let worthwhile = (work / PART_COST) as usize;
    match forced {
        Some(parts) => parts,
        None if threads > 1 && worthwhile / threads >= LARGE_PARTS => 2 * threads,
        None => threads.min(worthwhile),
    }
}

/// How often a layer's weights are given, and transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    Once,
    EachCall,
}

/// Tiles of Winograd's algorithm.
const TILES: [usize; 3] = [2, 4, 6];

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
    /// What is copied of the image at a time; none where channels are in the lanes.
    pub(crate) bands: Option<Bands>,
    pub(crate) winograd: Option<Winograd>,
    parts: Option<usize>,
    scratch_bytes: usize,
    /// Estimated fused multiply-add instructions of one group of one image, everything else counted in those.
    cost: f64,
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
        // A block is some rows.
        let one_row = shape.is_pointwise() && !tuning.in_blocks;
        let shape = if one_row { shape.as_one_row() } else { shape };
        let gemm = candidates(set).filter(|_| algorithm != Algorithm::Direct);
        let best = direct(&shape, set)
            .filter(|_| algorithm != Algorithm::Gemm)
            .chain(gemm)
            .filter(|tile| tuning.kernel.is_none_or(|name| name == tile.name(set)))
            .filter(|tile| !(tuning.in_blocks && tile.kind == Kind::Windows))
            .filter(|tile| tuning.orientation.is_none_or(|o| o == tile.orientation()))
            .flat_map(|tile| lowerings(&shape, tile, tuning.lowering).map(move |lowering| (tile, lowering)))
            .map(|(tile, lowering)| {
                let bands = tile.bands(&shape, set, lowering, tuning);
                (tile, lowering, bands, cost(&shape, set, tile, lowering, bands.as_ref()))
            })
            .min_by(|a, b| a.3.total_cmp(&b.3));
        let Some((tile, lowering, bands, cost)) = best else {
            return Err(not_applicable(algorithm, tuning));
        };
        let blocking = tile.blocking(&shape, set, bands.as_ref(), tuning);
        let bands = bands.and_then(|choice| choice.bands);
        let mut plan = Self {
            shape,
            isa: set.isa,
            dtype: T::NAME,
            algorithm: if tile.is_direct() { Algorithm::Direct } else { Algorithm::Gemm },
            lowering,
            tiling: Some(Tiling::new(&shape, set, tile, bands)),
            kernel: tile.name(set),
            extents: tile.extents(set),
            blocking,
            bands,
            winograd: None,
            parts: tuning.parts,
            scratch_bytes: 0,
            cost,
        };
        plan.scratch_bytes = plan.scratch_lines::<T>(set) * crate::caches::LINE;
        Ok(plan)
    }

    /// Decides between the exact family and what `accuracy` allows besides.
    ///
    /// # Errors
    /// [`Error::NotApplicable`] where what is forced does not exist for this problem.
    pub(crate) fn choose<T: Element>(
        shape: Shape,
        set: &'static KernelSet<T>,
        (algorithm, accuracy): (Algorithm, Accuracy),
        tuning: Tuning,
        weights: Given,
    ) -> Result<Self> {
        if let Algorithm::Winograd { tile } = algorithm {
            let winograd = Winograd::new(&shape, set, tile).filter(|_| tuning.is_of_parts_alone());
            return winograd
                .map(|winograd| Self::fast(shape, set, winograd, tuning))
                .ok_or_else(|| not_applicable(algorithm, tuning));
        }
        let exact = Self::new(shape, set, algorithm, tuning)?;
        if accuracy == Accuracy::Exact || algorithm != Algorithm::Auto || !tuning.is_of_parts_alone() {
            return Ok(exact);
        }
        // What is chosen must not depend on the batch, whose images share what a call takes.
        let one = match shape.batch {
            1 => exact.cost,
            _ => Self::new(Shape { batch: 1, ..shape }, set, algorithm, tuning)?.cost,
        };
        let fast = TILES.into_iter().filter_map(|tile| Winograd::new(&shape, set, tile));
        let fast = fast.map(|winograd| {
            let mut plan = Self::fast(shape, set, winograd, tuning);
            if weights == Given::EachCall {
                plan.cost += winograd.weights_cost(&shape, set.lanes * size_of::<T>(), set.lanes);
            }
            plan
        });
        let fast = fast.filter(|fast| fast.cost <= one).min_by(|a, b| a.cost.total_cmp(&b.cost));
        Ok(fast.unwrap_or(exact))
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
        // Of no image there is no matrix, however large one would be.
        let images = shape.batch.min(1);
        let columns = (images * shape.k())
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
            blocking: Blocking { channels: shape.in_channels, taps: shape.kernel() },
            bands: None,
            winograd: None,
            parts: None,
            scratch_bytes: columns * size_of::<T>(),
            cost: f64::NAN,
        })
    }

    /// Cache lines of scratch for one task; what [`crate::gemm::driver`] takes, in its order.
    fn scratch_lines<T: Element>(&self, set: &KernelSet<T>) -> usize {
        let Some(Tiling { tile, .. }) = self.tiling else { return 0 };
        let taps = self.blocking.tap_count();
        match tile.kind {
            Kind::Channels => lines_for::<TapWindow>(taps) + 2 * lines_for::<Tap>(taps),
            Kind::Positions | Kind::Strips => {
                lines_for::<usize>(taps) + lines_for::<T>(self.band_len(set, tile))
            }
            Kind::Depthwise => self.vectors(set.lanes).map_or(0, |vectors| vectors.lines::<T>()),
            Kind::Planes | Kind::Windows => 0,
        }
    }

    /// How a channel of a band lies in scratch, for a box of `taps`.
    pub(crate) fn layout<T: Element>(&self, set: &KernelSet<T>, tile: Tile, taps: [usize; 3]) -> Layout {
        self.bands
            .and_then(|bands| Layout::new(&self.shape, bands, taps, tile.widths(set).narrow))
            .unwrap_or_default()
    }

    /// Elements of scratch that bands take.
    pub(crate) fn band_len<T>(&self, set: &KernelSet<T>, tile: Tile) -> usize {
        let Blocking { channels, taps } = self.blocking;
        let channels = channels * self.planes_in_band(set, tile);
        self.bands.map_or(0, |bands| bands::len(&self.shape, bands, tile.widths(set), channels, taps))
    }

    /// Output planes whose input channels lie in a band together.
    pub(crate) fn planes_in_band<T>(&self, set: &KernelSet<T>, tile: Tile) -> usize {
        match self.bands {
            Some(bands) if tile.kind == Kind::Strips => bands::planes(&self.shape, bands, tile.widths(set)),
            _ => 1,
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
        self.tiling.map(|tiling| tiling.tile.orientation())
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

    /// Estimated, in multiply-adds of vectors.
    pub(crate) fn work(&self) -> f64 {
        self.cost * (self.shape.batch * self.shape.groups) as f64
    }

    /// Into how many parts the work is cut for `threads` threads. 1 where a part would be too small to pay for handing
    /// it to another thread; two for each thread where they are large, so that a thread that is done early can help.
    /// Calls from outside the thread pool, whose threads may sleep, use fewer threads where there is little work.
    #[must_use]
    pub fn parts(&self, threads: usize) -> usize {
        let most = match (&self.tiling, &self.winograd) {
            (Some(tiling), _) if tiling.tile.kind != Kind::Windows => tiling.fine.tiles(),
            (None, Some(winograd)) => winograd.most_parts(&self.shape),
            _ => return 1,
        };
        let mut parts = parts(self.work(), threads, self.parts);
        if let (Some(winograd), None) = (&self.winograd, self.parts)
            && (winograd.blocks() < parts || self.scratch_bytes > 1 << 20)
        {
            // The fewer, the less often weights are read and inputs transformed; all of a thread have 2 MiB of scratch.
            parts = parts.min(threads);
        }
        match parts {
            0 | 1 => 1,
            parts => parts.min(most.max(1)),
        }
    }

    /// Scratch for each part, in bytes. Between those of several parts 16 KiB are left free.
    #[must_use]
    pub fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Of an algorithm outside the exact family, about the largest error over the largest output that is to be expected, in `f32` and
    /// for data of one size ([`accuracy`](crate::accuracy)); none of an exact one.
    #[must_use]
    pub fn relative_error(&self) -> Option<f64> {
        self.winograd.map(|winograd| winograd.relative_error())
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

/// How `tile` can read the im2col matrix; none where that is not what is `forced`.
fn lowerings(shape: &Shape, tile: Tile, forced: Option<Lowering>) -> impl Iterator<Item = Lowering> + use<> {
    let (in_place, packed) = match tile.kind {
        Kind::Channels | Kind::Planes | Kind::Windows => (true, false),
        Kind::Positions => (shape.is_pointwise(), true),
        Kind::Strips | Kind::Depthwise => (false, true),
    };
    [(Lowering::InPlace, in_place), (Lowering::Packed, packed)]
        .into_iter()
        .filter_map(|(lowering, can)| can.then_some(lowering))
        .filter(move |&lowering| forced.is_none_or(|forced| forced == lowering))
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
                // There are narrower tiles, and tiles of the last positions.
                Orientation::PositionsInLanes
                    if plan.bands.is_none() && plan.algorithm == Algorithm::Gemm =>
                {
                    task.channels.len() * task.positions.len()
                }
                Orientation::PositionsInLanes => {
                    task.channels.len() * whole(task.positions.len(), plan.extents[1])
                }
            };
            plan.tiling.unwrap().grid(parts, threads).part(part, parts).map(of).sum()
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

    /// Scratch of a thread's part of either gradient, weights that are packed aside.
    #[test]
    fn gradients_take_a_mebibyte_at_most() {
        for isa in Isa::available() {
            let set = kernel::set::<f64>(Available::new(isa).unwrap());
            for layer in listed() {
                let shape = plan::<f64>(&layer, isa).shape;
                for threads in [1, 2, 64] {
                    let bytes = WeightPlan::for_threads(shape, set, |_| threads).scratch_bytes::<f64>();
                    assert!(bytes <= 1 << 20, "{} {isa}: {bytes}", layer["name"]);
                }
                for add in [false, true] {
                    let bytes = match InputPlan::new(shape, set, Manner { add, ..Manner::default() }).unwrap()
                    {
                        InputPlan::Whole(plan) => plan.scratch_bytes(),
                        InputPlan::Phased(phased) => phased.scratch_bytes::<f64>(),
                    };
                    assert!(bytes <= 1 << 20, "{} {isa}: {bytes}", layer["name"]);
                }
            }
        }
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
