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
use crate::isa::{Available, Isa};

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod baseline;
mod channel_lanes;
mod finish;
#[cfg(target_arch = "aarch64")]
mod neon;
mod panel;
mod portable;
mod position_lanes;

/// Positions of a channels-in-lanes tile at most: one bit each in [`Tap::mask`], one column each in a transposed store.
pub(crate) const MAX_POSITIONS: usize = 16;

/// One tap of a kernel plane, as a channels-in-lanes tile meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Tap {
    /// Where it reads, relative to the position's origin.
    pub(crate) x: isize,
    /// Where its weights are, relative to the channel's first tap.
    pub(crate) w: usize,
    /// Bit p: position p of the tile reads inside the image.
    pub(crate) mask: u64,
}

/// Consecutive lanes of one vector of positions that read inside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Run {
    /// Where lane 0 would read in a channel plane; only lanes `first..end` do.
    pub(crate) x: isize,
    pub(crate) first: u32,
    pub(crate) end: u32,
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
    /// The origin of position 0, in the block's first channel. It may lie outside the image.
    pub(crate) x: *const T,
    pub(crate) channel_stride: usize,
    pub(crate) channels: usize,
    /// The taps of each channel, in ascending order; those that no position reads are left out.
    pub(crate) taps: &'a [Tap],
    /// The origins of the positions relative to the first; none where they lie one beside the other.
    pub(crate) offsets: Option<&'a [isize; MAX_POSITIONS]>,
    /// From a position to what the next tile reads: worth prefetching. Need not lie in the image.
    pub(crate) next: isize,
    /// Weights of the block's first k in the first vector of channels.
    pub(crate) w: *const T,
    /// From one vector of channels to the next.
    pub(crate) w_vector: usize,
    /// From one input channel to the next.
    pub(crate) w_channel: usize,
    pub(crate) destination: Destination<'a, T>,
}

/// Tiles with positions in the lanes, one below the other, whose image values are rows of a matrix: a packed panel, or an
/// image that is its own im2col matrix.
pub(crate) struct PositionTiles<'a, T> {
    /// Weights of the block's first k in the first tile's vector of channels, of which it starts with `w_row`.
    pub(crate) w: *const T,
    pub(crate) w_row: usize,
    /// From one vector of channels to the next.
    pub(crate) w_panel: usize,
    /// `k` rows, `stride` apart.
    pub(crate) b: *const T,
    pub(crate) stride: usize,
    pub(crate) k: usize,
    /// So many tiles ask for one vector each of the panel to the right. It need not exist.
    pub(crate) prefetch: usize,
    /// Of all tiles; `rows` need not be a multiple of a tile's.
    pub(crate) destination: Destination<'a, T>,
}

/// Where the values of a panel's column of vectors lie in the image.
pub(crate) struct PanelSource<'a, T> {
    /// Where the runs start from, in the block's first channel. It may lie outside the image.
    pub(crate) x: *const T,
    pub(crate) channel_stride: usize,
    pub(crate) channels: usize,
    /// How many of `runs` make the vector of each tap of a channel. None: one, of all lanes.
    pub(crate) counts: Option<&'a [u32]>,
    /// As many as `counts` add up to.
    pub(crate) runs: &'a [Run],
    /// Distance between what neighbouring lanes read.
    pub(crate) stride: usize,
    /// From one vector of the column to the next.
    pub(crate) width: usize,
}

pub(crate) type ChannelFn<T> = unsafe fn(&ChannelTiles<'_, T>);
pub(crate) type PositionFn<T> = unsafe fn(&PositionTiles<'_, T>);

/// Packs a column of vectors of a panel.
///
/// # Safety
/// The set's instruction set is available; every run's lanes read inside the image; there is room for a vector, `width`
/// after the one before, for each tap in each channel.
pub(crate) type PanelFn<T> = unsafe fn(&PanelSource<'_, T>, *mut T);

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
    pub(crate) panel: PanelFn<T>,
    /// The largest stride at which a panel's vectors are not packed lane by lane.
    pub(crate) shuffled: usize,
    pub(crate) finish: FinishFn<T>,
}

/// The tiles for `T` on an instruction set that this machine was seen to have.
pub(crate) fn set<T: Element>(isa: Available) -> &'static KernelSet<T> {
    let sets: [&'static dyn Any; 2] = match isa.isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => [&avx512::F32_SET, &avx512::F64_SET],
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => [&avx2::F32_SET, &avx2::F64_SET],
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => [&neon::F32_SET, &neon::F64_SET],
        _ => [&portable::F32_SET, &portable::F64_SET],
    };
    sets.into_iter().find_map(<dyn Any>::downcast_ref).expect("Element is sealed: f32 and f64 have sets")
}

/// Repeats a body for `$i` in `0..$end`, `$end` ≤ 12, with `$i` a constant each time, so that arrays indexed with it stay in
/// registers: the compiler keeps a `for` over bodies of this size, and the arrays in memory.
macro_rules! unroll {
    ($i:ident in 0..$end:expr => $body:expr) => {
        const { assert!($end <= 12) };
        unroll!(@ $i, $end, $body; 0 1 2 3 4 5 6 7 8 9 10 11);
    };
    (@ $i:ident, $end:expr, $body:expr; $($n:literal)+) => {
        $(if $n < $end {
            let $i = $n;
            $body;
        })+
    };
}
use unroll;

/// Defines a static [`KernelSet`]: `channel` lists positions and, in ascending order, vectors of channels;
/// `position` lists vectors of positions and, in ascending powers of two from 1, channels.
macro_rules! kernel_set {
    (#[$feature:meta] $set:ident: $isa:expr, $vector:ty, $activate:path;
     channel { $($positions:literal x [$($cname:ident: $cvectors:literal),+]),+ }
     position { $($pvectors:literal x [$($pname:ident: $rows:literal),+]),+ }
     panel $panel:ident finish $finish:ident) => {
        $($(
            #[$feature]
            unsafe fn $cname(tiles: &super::ChannelTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::channel_lanes::run::<$vector, $positions, $cvectors>(tiles) }
            }
        )+)+
        $($(
            #[$feature]
            unsafe fn $pname(tiles: &super::PositionTiles<'_, <$vector as crate::simd::Vector>::Elem>) {
                // SAFETY: the caller's obligations are the same.
                unsafe { super::position_lanes::run::<$vector, $rows, $pvectors>(tiles) }
            }
        )+)+
        #[$feature]
        unsafe fn $panel(
            source: &super::PanelSource<'_, <$vector as crate::simd::Vector>::Elem>,
            panel: *mut <$vector as crate::simd::Vector>::Elem,
        ) {
            // SAFETY: the caller's obligations are the same.
            unsafe { super::panel::pack::<$vector>(source, panel) }
        }
        #[$feature]
        unsafe fn $finish(
            sums: *const <$vector as crate::simd::Vector>::Elem,
            first_row: usize,
            rows: usize,
            first_col: usize,
            destination: &super::Destination<'_, <$vector as crate::simd::Vector>::Elem>,
        ) {
            // SAFETY: the caller's obligations are the same.
            unsafe {
                super::finish::epilogue::<$vector>(sums, first_row, rows, first_col, destination, $activate);
            }
        }
        pub(crate) static $set: super::KernelSet<<$vector as crate::simd::Vector>::Elem> = super::KernelSet {
            isa: $isa,
            lanes: <$vector as crate::simd::Vector>::LANES,
            channel: &[$(super::ChannelFamily {
                positions: $positions,
                by_vectors: &[$(super::ChannelKernel { name: stringify!($cname), run: $cname }),+],
            }),+],
            position: &[$(super::PositionFamily {
                vectors: $pvectors,
                by_log2_rows: &[$(super::PositionKernel { name: stringify!($pname), run: $pname }),+],
            }),+],
            panel: $panel,
            shuffled: <$vector as crate::simd::Vector>::SHUFFLED,
            finish: $finish,
        };
    };
}
use kernel_set;
