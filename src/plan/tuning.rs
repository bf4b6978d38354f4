//! What a caller can force.

use crate::error::Error;

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// Whatever is estimated to be fastest among those that give the exact order of summation, and those that [`Accuracy`] allows.
    #[default]
    Auto,
    /// This crate's blocked GEMM over the virtual im2col matrix.
    Gemm,
    /// Winograd's minimal filtering with tiles of `tile` outputs along each axis: 2, 4 or 6 for kernels of 3 taps, 2 or 4 for
    /// those of 5, at a stride and dilation of 1; axes of one tap are left as they are. Not of the exact family: fewer multiplications,
    /// and an error that grows with the tile ([`accuracy`](crate::accuracy)). A NaN or ∞ spreads over the tile that reads it.
    Winograd {
        /// Outputs of a tile along an axis.
        tile: usize,
    },
    /// Sliding windows over output planes, where a group has few output channels (fewer than a vector has lanes).
    /// The common square kernels at strides of 1 to 3 and, on AVX-512, any at a stride of 1 read the image in place, one output plane at a
    /// time; others read copied rows, all input channels of a group at a time, which have to fit in the cache. Where a group has one input
    /// channel (depthwise), planes may be transposed, so that vectors hold channels.
    Direct,
    /// The im2col matrix in memory and `matrixmultiply`: the baseline. Its sums are not in this crate's order, and
    /// its workspace grows with the image.
    Im2col,
}

/// How exact a result has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Accuracy {
    /// The order of summation of the exact family: the same bytes everywhere.
    #[default]
    Exact,
    /// Winograd's algorithm where it is estimated to be faster, with errors of at most about 10⁻⁵ of the largest output in `f32`
    /// ([`accuracy`](crate::accuracy)); else the exact family.
    Fast,
}

/// How the im2col matrix is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lowering {
    /// Where its values lie in the image.
    InPlace,
    /// From rows that are copied with their padding, a band at a time, once for each column of the kernel.
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
    /// The largest register tile, by its name; see [`kernel_names`](super::kernel_names).
    pub kernel: Option<&'static str>,
    /// Terms in a block of the sum, about.
    pub k_block: Option<usize>,
    /// Taps in a block of the sum, at most.
    pub tap_block: Option<usize>,
    /// Output rows and columns that a copy of the image's rows serves, at most.
    pub band: Option<[usize; 2]>,
    /// Output positions that such a copy serves, at most, where tiles go on in the next row.
    pub positions: Option<usize>,
    /// Parts that the work is cut into, at most.
    pub parts: Option<usize>,
    /// Rectangles of the output are computed apart.
    pub(crate) in_blocks: bool,
}

impl Tuning {
    /// Whether it says nothing but into how many parts the work is cut.
    pub(super) fn is_of_parts_alone(&self) -> bool {
        *self == Self { parts: self.parts, ..Self::default() }
    }

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

    /// Sets how many output rows and columns a copy of the image's rows serves, at most; 0 counts as 1. One that would not
    /// fit in the cache is not taken.
    #[must_use]
    pub const fn band(mut self, rows: usize, cols: usize) -> Self {
        self.band = Some([rows, cols]);
        self
    }

    /// Sets how many output positions, counted through the rows, a copy of the image's rows serves, at most; 0 counts as 1.
    /// One that would not fit in the cache is not taken, nor any for tiles that end with a row.
    #[must_use]
    pub const fn positions(mut self, most: usize) -> Self {
        self.positions = Some(most);
        self
    }

    /// Sets into how many parts the work is cut, at most, however many threads there are; 0 counts as 1.
    #[must_use]
    pub const fn parts(mut self, parts: usize) -> Self {
        self.parts = Some(parts);
        self
    }
}

/// The error where nothing is what is forced.
pub(super) fn not_applicable(algorithm: Algorithm, tuning: Tuning) -> Error {
    if algorithm == Algorithm::Direct {
        return Error::NotApplicable {
            what: format!("Algorithm::Direct with {tuning:?}"),
            needs: "fewer output channels in a group than a vector has lanes, windows of a group that fit in the cache, and no tuning of the \
                    GEMM",
        };
    }
    if matches!(algorithm, Algorithm::Winograd { .. }) {
        return Error::NotApplicable {
            what: format!("{algorithm:?} with {tuning:?}"),
            needs: "a kernel of 3 taps (tile 2, 4 or 6) or 5 (tile 2 or 4) along the height or width, 1 or such along the other and 1 \
                    along the depth, a stride and dilation of 1, and no tuning but of parts",
        };
    }
    let needs = match tuning.lowering {
        Some(Lowering::Materialised) => "Algorithm::Im2col",
        Some(Lowering::InPlace) => "channels in the lanes, or a 1×1 kernel with stride 1 and no padding",
        Some(Lowering::Packed) => "positions in the lanes",
        None => "the name of a kernel of this instruction set, element type and orientation",
    };
    Error::NotApplicable { what: format!("{tuning:?}"), needs }
}
