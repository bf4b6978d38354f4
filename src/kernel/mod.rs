//! Register tiles, written once over [`Vector`] and instantiated for each instruction set and element type.
//!
//! Two orientations. *Channels in lanes*: a vector holds one position of several output channels; weights are
//! loaded as vectors, image values broadcast from where they lie. *Positions in lanes*: a vector holds several
//! positions of one channel; image values are vectors, weights are broadcast. Both read the same packed weights,
//! `[⌈channels / lanes⌉][k][lanes]`.
//!
//! [`set`] is the registry: the tiles that exist for an instruction set and element type.

use std::any::Any;

use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::geometry::Axis;
use crate::isa::{Available, Isa};
use crate::winograd::WeightTransform;
pub(crate) use depthwise::{Depthwise, DepthwiseKernel, room as waiting_room};
use macros::{kernel_set, unroll};
pub(crate) use pending::Pending;
pub(crate) use rows::{MOST_COPIES, Rows, RowsCopy};

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod baseline;
mod channel_lanes;
mod depthwise;
mod finish;
mod lanewise;
mod macros;
#[cfg(target_arch = "aarch64")]
mod neon;
mod opaque;
mod outer;
mod pending;
mod planes;
#[cfg(target_arch = "x86_64")]
mod planes_any;
mod portable;
mod position_lanes;
mod rows;
mod square;
mod strips;
mod windows;
mod winograd;

/// Positions of a channels-in-lanes tile at most: one bit each in [`Tap::mask`], one column each in a transposed store.
pub(crate) const MAX_POSITIONS: usize = 16;

/// Columns of taps at most, for a direct tile that reads any kernel in place.
pub(crate) const MOST_COLUMNS: usize = 64;

/// One tap of a kernel plane, as a channels-in-lanes tile meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub(crate) struct Tap {
    /// From what it reads to what the next one reads, from the last one of a channel to the first one of the next.
    pub(crate) x: isize,
    /// The same in the weights.
    pub(crate) w: usize,
    /// Bit p: position p of the tile reads inside the image.
    pub(crate) mask: u64,
}

/// Where a tile's results go: `rows` channels, `row_stride` apart, by `cols` consecutive positions.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a, T> {
    pub(crate) y: *mut T,
    pub(crate) row_stride: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// The sums continue those that are stored there.
    pub(crate) resume: bool,
    /// Whole vectors go past the caches; they are aligned to cache lines. The caller fences.
    pub(crate) stream: bool,
    pub(crate) finish: Finish<'a, T>,
}

/// What happens to a tile's sums as they are stored.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a, T> {
    /// Nothing: a later block of k goes on from them.
    Partial,
    /// `bias[row]` is added and the result clamped.
    Clamp { bias: *const T, lo: T, hi: T },
    /// Everything that an epilogue can ask for. `channel` is that of row 0; `residual` is laid out like `y`.
    Full { epilogue: &'a Epilogue<T>, channel: usize, residual: Option<*const T>, run: FinishFn<T> },
}

/// The epilogue of a block of at most `LANES` columns: (sums, `rows` × `LANES`; first row; rows; first column;
/// destination).
pub(crate) type FinishFn<T> = unsafe fn(*const T, usize, usize, usize, &Destination<'_, T>);

/// Tiles with channels in the lanes, one below the other, of the same positions.
pub(crate) struct ChannelTiles<'a, T> {
    /// What position 0 reads at the first tap of the block's first channel. It may lie outside the image.
    pub(crate) x: *const T,
    pub(crate) channels: usize,
    /// The taps of each channel, in ascending order; those that no position reads are left out.
    pub(crate) taps: &'a [Tap],
    /// The origins of the positions relative to the first; none where they lie one beside the other.
    pub(crate) offsets: Option<&'a [isize; MAX_POSITIONS]>,
    /// From a position to what the next tile reads: worth prefetching. Need not lie in the image.
    pub(crate) next: isize,
    /// Weights of that tap in the first vector of channels.
    pub(crate) w: *const T,
    /// From one vector of channels to the next.
    pub(crate) w_vector: usize,
    pub(crate) destination: Destination<'a, T>,
    /// What the tile before has left to be stored, and this one may leave.
    pub(crate) pending: *mut Pending<T>,
    /// Whether the positions of most tiles lie one beside the other, so that the next tile's will.
    pub(crate) beside: bool,
}

/// What tiles with positions in the lanes ask for ahead of time. It need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// What the same tap reads in the next channel: its distance from the tap before differs, so that the CPU does not foresee
    /// it.
    Channel,
    /// What lies to the right, of which the first tiles ask for a vector each.
    Right,
}

/// Tiles with positions in the lanes, one below the other and side by side, whose image values are vectors in memory: in a band of rows of
/// the image, or in an image that is its own im2col matrix.
pub(crate) struct PositionTiles<'a, T> {
    /// Weights of the block's first k in the first tile's vector of channels, of which it starts with `w_row`.
    pub(crate) w: *const T,
    pub(crate) w_row: usize,
    /// From one vector of channels to the next.
    pub(crate) w_panel: usize,
    /// What position 0 reads in the block's first channel lies at these places from here on.
    pub(crate) b: *const T,
    pub(crate) taps: &'a [usize],
    pub(crate) channel_stride: usize,
    pub(crate) channels: usize,
    pub(crate) next: Next,
    /// Of all tiles; neither `rows` nor `cols` need be a multiple of a tile's.
    pub(crate) destination: Destination<'a, T>,
}

/// Rows of consecutive output planes, computed directly.
pub(crate) struct Planes<'a, T> {
    /// The first input channel of the first output plane.
    pub(crate) x: *const T,
    /// From an output plane's first input channel to the next one's.
    pub(crate) x_step: usize,
    pub(crate) x_channel: usize,
    /// Input channels of each output plane, and of each the planes that it reads, one for each tap along the depth.
    pub(crate) channels: usize,
    pub(crate) depths: usize,
    pub(crate) x_depth: usize,
    /// `[count][channels][taps]`, and from an input channel to the next.
    pub(crate) w: *const T,
    pub(crate) w_channel: usize,
    /// Output planes, and the rows of each.
    pub(crate) count: usize,
    pub(crate) rows: usize,
    /// From an output plane to the next.
    pub(crate) y_step: usize,
    /// Whether rows to come are asked for: L2 does not hold the image.
    pub(crate) ahead: bool,
    /// Those rows of the first plane; all are of its channel.
    pub(crate) destination: Destination<'a, T>,
}

/// Images that are read where they lie.
pub(crate) struct Images {
    /// Height and width of the planes, and the padding before them.
    pub(crate) input: [usize; 2],
    pub(crate) pad: [isize; 2],
    /// Rows and columns of taps.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "tiles of fixed kernels alone"))]
    pub(crate) kernel: [usize; 2],
    /// Distance between taps, 1 where the stride is not.
    pub(crate) dilation: [usize; 2],
    /// The first output row.
    pub(crate) first_row: usize,
}

/// Images of which rows were copied.
pub(crate) struct Strips<'a> {
    /// Where each tap reads for the first position.
    pub(crate) taps: &'a [usize],
    /// From what a row reads to what the next one reads.
    pub(crate) pitch: usize,
}

/// One output plane of a small problem.
pub(crate) struct Windows<'a, T> {
    /// The first input channel that it reads.
    pub(crate) x: *const T,
    pub(crate) channels: usize,
    /// `[channels][taps]`.
    pub(crate) w: *const T,
    pub(crate) axes: &'a [Axis; 3],
    pub(crate) destination: Destination<'a, T>,
}

/// Consecutive positions: where the first lies in either factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Run {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) len: usize,
}

/// Sums over positions of outer products: rows of values, which are broadcast, by vectors of channels.
pub(crate) struct Outer<'a, T> {
    pub(crate) runs: &'a [Run],
    /// The values: where each row lies from here on.
    pub(crate) a: *const T,
    pub(crate) rows: &'a [usize],
    /// The vectors: from one to the next, and from a position to the next.
    pub(crate) b: *const T,
    pub(crate) vectors: usize,
    pub(crate) b_vector: usize,
    pub(crate) b_step: usize,
    pub(crate) to: *mut T,
    pub(crate) to_row: usize,
    pub(crate) to_vector: usize,
    /// The sums replace what is there; else they are added to it.
    pub(crate) first: bool,
    /// Lines that will be written for each row, worth asking for: the first row's, and from a row's to the next.
    pub(crate) written: *mut T,
    pub(crate) written_row: usize,
    pub(crate) lines: usize,
    /// Vectors of the next product, as those of `b`, to be asked for while there are rows enough to hide it; or null.
    pub(crate) next: *const T,
}

/// Sums over positions of products of vectors of channels, one for each tap.
pub(crate) struct Lanewise<'a, T> {
    pub(crate) runs: &'a [Run],
    /// One vector for each position; from one of channels to the next.
    pub(crate) a: *const T,
    pub(crate) a_vector: usize,
    /// What each tap multiplies it by: where the rows of taps begin, so many taps in each, one vector apart. From one vector of
    /// channels to the next, and from a position to the next.
    pub(crate) b: *const T,
    pub(crate) rows: &'a [usize],
    pub(crate) cols: usize,
    pub(crate) b_vector: usize,
    pub(crate) b_step: usize,
    pub(crate) vectors: usize,
    /// The vectors of all taps lie one behind the other.
    pub(crate) to: *mut T,
    pub(crate) to_vector: usize,
    /// As of [`Outer`].
    pub(crate) first: bool,
}

/// Rows of which the columns are written.
pub(crate) struct Square<'a, T> {
    /// At most as many rows as lanes, which lie at these places from here on.
    pub(crate) from: *const T,
    pub(crate) rows: &'a [usize],
    pub(crate) cols: usize,
    /// How far behind each row lies what is read next, if it is worth prefetching. It need not exist.
    pub(crate) next: usize,
    /// How many such squares there are; from one to the next.
    pub(crate) count: usize,
    pub(crate) from_next: usize,
    pub(crate) to_next: usize,
    pub(crate) to: *mut T,
    pub(crate) columns: Columns<'a>,
    /// Columns are whole vectors, with zeros for the rows that there are not.
    pub(crate) whole: bool,
    /// They are added to what is there, if they are not whole.
    pub(crate) add: bool,
}

/// Where the columns of a [`Square`] are written.
#[derive(Clone, Copy)]
pub(crate) enum Columns<'a> {
    /// So far one behind the other.
    Step(usize),
    /// At these places, those that have one.
    At(&'a [usize]),
}

impl Columns<'_> {
    /// The place of a column that is not written.
    pub(crate) const NOWHERE: usize = usize::MAX;
}

/// Copied rows of the image, to become values at points of Winograd's tiles.
pub(crate) struct PointInputs<T> {
    /// As many rows as there are points along the height, of `columns` vectors of channels each. They are written over.
    pub(crate) strip: *mut T,
    pub(crate) columns: usize,
    /// Along the height and the width: 4, 6 or 8; 1 where the kernel has one tap.
    pub(crate) points: [usize; 2],
    /// Columns from a tile to the next.
    pub(crate) step: usize,
    pub(crate) tiles: usize,
    /// From a point, counted over both axes, to the next, and from a tile to the next.
    pub(crate) to: *mut T,
    pub(crate) to_point: usize,
    pub(crate) to_tile: usize,
}

/// Packed weights, to become values at points.
pub(crate) struct PointWeights<'a, T> {
    pub(crate) transform: &'a WeightTransform,
    /// `[channels][taps]`, vectors.
    pub(crate) from: *const T,
    pub(crate) channels: usize,
    /// `[channels]`, vectors, of each point; from a channel to the next, and from a point to the next.
    pub(crate) to: *mut T,
    pub(crate) to_channel: usize,
    pub(crate) to_point: usize,
}

/// Sums at the points of Winograd's tiles that lie side by side, to become outputs.
pub(crate) struct PointOutputs<'a, T> {
    /// Vectors of channels; from a point to the next, and from a tile to the next.
    pub(crate) from: *const T,
    pub(crate) from_point: usize,
    pub(crate) from_tile: usize,
    /// As of [`PointInputs`], and the outputs that come of them.
    pub(crate) points: [usize; 2],
    pub(crate) tile: [usize; 2],
    pub(crate) tiles: usize,
    /// Room for the outputs of all tiles as vectors of channels, and as many more as a vector has lanes.
    pub(crate) strip: *mut T,
    /// Rows that lie in the output; from one to the next.
    pub(crate) rows: usize,
    pub(crate) row: usize,
    /// Of the first row: at most a vector of channels, and the columns that lie in the output.
    pub(crate) destination: Destination<'a, T>,
}

pub(crate) type ToPointsFn<T> = unsafe fn(&PointInputs<T>);
pub(crate) type WeightsToPointsFn<T> = unsafe fn(&PointWeights<'_, T>);
pub(crate) type FromPointsFn<T> = unsafe fn(&PointOutputs<'_, T>);
pub(crate) type OuterFn<T> = unsafe fn(&Outer<'_, T>);
pub(crate) type LanewiseFn<T> = unsafe fn(&Lanewise<'_, T>);
pub(crate) type SquareFn<T> = unsafe fn(&Square<'_, T>);
pub(crate) type WindowFn<T> = unsafe fn(&Windows<'_, T>);
pub(crate) type PlaneFn<T> = unsafe fn(&Planes<'_, T>, &Images);
pub(crate) type StripFn<T> = unsafe fn(&Planes<'_, T>, &Strips<'_>);
pub(crate) type ChannelFn<T> = unsafe fn(&ChannelTiles<'_, T>);
pub(crate) type PositionFn<T> = unsafe fn(&PositionTiles<'_, T>);

/// Copies rows.
///
/// # Safety
/// The set's instruction set is available; the elements that are said to lie inside the image do. In each channel there is
/// room for all rows and the slack, and a vector more.
pub(crate) type RowsFn<T> = unsafe fn(&Rows<'_, T>, *mut T);

/// An instantiated channels-in-lanes tile.
pub(crate) struct ChannelKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// # Safety
    /// The instruction set of the set that it comes from is available; the tile's pointers are valid for what
    /// their docs say is read and written.
    pub(crate) run: ChannelFn<T>,
}

/// An instantiated positions-in-lanes tile.
pub(crate) struct PositionKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// # Safety
    /// As [`ChannelKernel::run`].
    pub(crate) run: PositionFn<T>,
}

/// An instantiated direct tile that reads images in place.
pub(crate) struct PlaneKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// Extent of the kernel, if it is made for one, and stride, the same on both axes. Rows of the tile.
    pub(crate) kernel: Option<usize>,
    pub(crate) stride: usize,
    pub(crate) rows: usize,
    /// Vectors of columns of the tile, and their lanes, which may be fewer than those of the set.
    pub(crate) vectors: usize,
    pub(crate) lanes: usize,
    /// Columns of the tile, which may be fewer than those have lanes.
    pub(crate) columns: usize,
    /// Whether columns of taps may be apart.
    pub(crate) apart: bool,
    /// Loads of each row of the image, for each column of taps where it is made for any kernel, and whether a channel's weights
    /// stay in registers.
    pub(crate) loads: usize,
    pub(crate) resident: bool,
    /// # Safety
    /// The instruction set of the set that it comes from is available; the pointers are valid for what their docs say is
    /// read and written.
    pub(crate) run: PlaneFn<T>,
}

/// An instantiated direct tile that reads copied rows.
pub(crate) struct StripKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// Vectors of the tile.
    pub(crate) vectors: usize,
    /// # Safety
    /// As [`PlaneKernel::run`].
    pub(crate) run: StripFn<T>,
}

/// An instantiated direct tile for small problems.
pub(crate) struct WindowKernel<T: 'static> {
    pub(crate) name: &'static str,
    /// # Safety
    /// As [`PlaneKernel::run`].
    pub(crate) run: WindowFn<T>,
}

/// Channels-in-lanes tiles of one number of positions.
pub(crate) struct ChannelFamily<T: 'static> {
    pub(crate) positions: usize,
    /// Element i has i + 1 vectors of channels.
    pub(crate) by_vectors: &'static [ChannelKernel<T>],
}

/// Positions-in-lanes tiles of one number of vectors.
pub(crate) struct PositionFamily<T: 'static> {
    pub(crate) vectors: usize,
    /// Element i has 2ⁱ channels.
    pub(crate) by_log2_rows: &'static [PositionKernel<T>],
}

/// The tiles of one instruction set and element type.
pub(crate) struct KernelSet<T: 'static> {
    pub(crate) isa: Isa,
    pub(crate) lanes: usize,
    pub(crate) channel: &'static [ChannelFamily<T>],
    pub(crate) position: &'static [PositionFamily<T>],
    pub(crate) planes: &'static [PlaneKernel<T>],
    pub(crate) strips: StripKernel<T>,
    pub(crate) windows: WindowKernel<T>,
    pub(crate) depthwise: DepthwiseKernel<T>,
    pub(crate) rows: RowsFn<T>,
    /// # Safety
    /// The set's instruction set is available; what the runs, rows and vectors say is valid for reading, `to` for writing, and
    /// initialised if the sums are not the first.
    pub(crate) outer: OuterFn<T>,
    /// # Safety
    /// As [`KernelSet::outer`].
    pub(crate) lanewise: LanewiseFn<T>,
    /// # Safety
    /// The set's instruction set is available; `cols` columns of the rows are valid for reading, the columns for writing, and
    /// initialised where they are added to. Places are of all columns.
    pub(crate) square: SquareFn<T>,
    /// # Safety
    /// The set's instruction set is available; the strip is initialised and valid for writing, and there is room for each point of
    /// each tile.
    pub(crate) to_points: ToPointsFn<T>,
    /// # Safety
    /// The set's instruction set is available; each point of each tile is valid for reading, the strip for writing and
    /// initialised, `rows` rows from that of the destination on for writing.
    pub(crate) from_points: FromPointsFn<T>,
    /// # Safety
    /// The set's instruction set is available; the weights are valid for reading, a vector of each channel at each point for writing.
    pub(crate) weights_to_points: WeightsToPointsFn<T>,
    /// The largest stride at which rows are not copied element by element.
    pub(crate) shuffled: usize,
    /// Whether channels-in-lanes tiles may leave their outputs to the next.
    pub(crate) hides_copies: bool,
    pub(crate) finish: FinishFn<T>,
}

impl<T> KernelSet<T> {
    /// Positions of a tile of that family of [`KernelSet::position`].
    pub(crate) fn position_width(&self, family: usize) -> usize {
        self.position[family].vectors * self.lanes
    }

    /// The family of the narrowest tiles: they go from wide to narrow.
    pub(crate) fn narrowest(&self) -> usize {
        self.position.len() - 1
    }
}

/// The tiles for `T` on an instruction set that this machine was seen to have.
pub(crate) fn set<T: Element>(isa: Available) -> &'static KernelSet<T> {
    let sets: [&'static dyn Any; 2] = match isa.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => [&avx512::single::SET, &avx512::double::SET],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => [&avx2::single::SET, &avx2::double::SET],
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => [&neon::single::SET, &neon::double::SET],
        _ => [&portable::single::SET, &portable::double::SET],
    };
    sets.into_iter().find_map(<dyn Any>::downcast_ref).expect("Element is sealed: f32 and f64 have sets")
}
