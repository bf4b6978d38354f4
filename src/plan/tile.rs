//! Register tiles as a plan chooses them, and the output cut into such.

use std::cmp::Reverse;

use super::bands::{self, Choice, Widths};
use super::{Lowering, Orientation, Tuning, depthwise};
use crate::element::Element;
use crate::gemm::blocking::{Blocking, Limits};
use crate::gemm::partition::{Grid, Pieces};
use crate::geometry::{Axis, Shape};
use crate::kernel::{KernelSet, MOST_COLUMNS, Tap};
use crate::pack::bands::Bands;
use crate::pack::taps::TapWindow;
use crate::pack::weights::has_raw;

/// The kinds of register tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of the GEMM, with channels in the lanes.
    Channels,
    /// Of the GEMM, with positions in the lanes.
    Positions,
    /// Direct: rows of one output plane, which read the image in place.
    Planes,
    /// Direct: vectors of one output plane, which read copied rows.
    Strips,
    /// Direct: rows of a vector of output planes, each of which reads one image plane.
    Depthwise,
    /// Direct: all of a small problem, in one part.
    Windows,
}

/// A register tile of a [`KernelSet`], with all smaller ones of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) kind: Kind,
    /// Index of the family, or of the direct tile that reads in place.
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
    pub(super) fine: Grid,
}

/// Tiles of positions of an image read in place, below which it is cut by channels. Measured in two threads: 64→256 1×1 10² 302 → 417 GFLOP/s;
/// with as many as 56² has, 24→144 takes 5 % longer so.
const FEW_TILES: usize = 8;

/// A thread's share in whole tiles may be longer than an equal one by one tile in so many; else channels are cut by single vectors. Those
/// keep shares equal, but are slower: 3×3 64→64 14² in two threads 366 → 503 GFLOP/s where 28 tiles make two shares.
const SHARE_TILES: usize = 6;

/// Rows of a vector of output planes that are not cut: a cut transposes the rows again that both sides read.
const DEPTHWISE_ROWS: usize = 8;

impl Tiling {
    /// A vector of channels takes its time however few they are, and so does a tile of positions.
    pub(super) fn new<T: Element>(
        shape: &Shape,
        set: &KernelSet<T>,
        tile: Tile,
        bands: Option<Bands>,
    ) -> Self {
        let [mut channels, positions] = tile.extents(set);
        let in_lanes = matches!(tile.kind, Kind::Channels | Kind::Depthwise);
        let (lanes, mut step) = if in_lanes { (set.lanes, 1) } else { (1, positions) };
        let mut channels_outer = in_lanes;
        if tile.kind == Kind::Positions {
            // Narrow tiles may have more rows, the last positions have channels in the lanes.
            channels = channels.next_multiple_of(set.lanes);
            if bands.is_none() {
                step = 1;
                // Parts of few positions would differ by what the last ones take longer than others.
                channels_outer = shape.out_plane() < FEW_TILES * positions;
            }
        }
        // Strips are cut from whole rows, if there are several.
        let [depth, height, width] = shape.axes.map(|axis| axis.output.max(1));
        let strips = bands.is_some_and(|bands| bands.joined.is_none()) && depth * height > 1;
        let (positions, step) = match tile.kind {
            Kind::Planes => {
                (width.saturating_mul(set.planes[tile.family].rows * shape.axes[1].dilation), width)
            }
            Kind::Strips => (width * set.strips.vectors, width),
            Kind::Depthwise => (width.saturating_mul(DEPTHWISE_ROWS), width),
            Kind::Windows => (shape.out_plane().max(1), 1),
            _ if strips => (width, width),
            _ => (positions, step),
        };
        let grid = |piece| {
            let positions = Pieces { len: shape.out_plane(), piece: positions, step };
            if tile.is_direct() {
                // Channels are counted through all groups.
                let channels = Pieces { len: shape.groups * shape.out_channels, piece, step: lanes };
                return Grid::new(shape.batch, 1, channels, positions, true);
            }
            let channels = Pieces { len: shape.out_channels, piece, step: lanes };
            Grid::new(shape.batch, shape.groups, channels, positions, channels_outer)
        };
        Self { tile, grid: grid(channels), fine: grid(if in_lanes { lanes } else { channels }) }
    }

    /// The grid to cut into `parts` for `threads`.
    pub(crate) fn grid(&self, parts: usize, threads: usize) -> &Grid {
        let shares = parts.min(threads).max(1);
        let whole =
            self.grid.tiles() / shares >= SHARE_TILES || self.grid.excess(shares) <= 1.0 / SHARE_TILES as f64;
        if whole { &self.grid } else { &self.fine }
    }
}

impl Tile {
    pub(super) fn name<T: Element>(self, set: &KernelSet<T>) -> &'static str {
        match self.kind {
            Kind::Channels => set.channel[self.family].by_vectors[self.largest].name,
            Kind::Positions => set.position[self.family].by_log2_rows[self.largest].name,
            Kind::Planes => set.planes[self.family].name,
            Kind::Strips => set.strips.name,
            Kind::Depthwise => set.depthwise.name,
            Kind::Windows => set.windows.name,
        }
    }

    pub(super) fn is_direct(self) -> bool {
        matches!(self.kind, Kind::Planes | Kind::Strips | Kind::Depthwise | Kind::Windows)
    }

    pub(super) fn orientation(self) -> Orientation {
        match self.kind {
            Kind::Channels | Kind::Depthwise => Orientation::ChannelsInLanes,
            Kind::Positions | Kind::Planes | Kind::Strips | Kind::Windows => Orientation::PositionsInLanes,
        }
    }

    /// What bands for it have to heed.
    pub(super) fn widths<T>(self, set: &KernelSet<T>) -> Widths {
        let strips = self.kind == Kind::Strips;
        Widths {
            wide: if strips { set.lanes } else { set.position_width(self.family) },
            narrow: if strips { set.lanes } else { set.position_width(set.narrowest()) },
            strips,
            lanes: set.lanes,
            shuffled: set.shuffled,
            size: size_of::<T>(),
        }
    }

    /// What is copied of the image at a time; none where nothing is.
    pub(super) fn bands<T: Element>(
        self,
        shape: &Shape,
        set: &KernelSet<T>,
        lowering: Lowering,
        tuning: Tuning,
    ) -> Option<Choice> {
        if self.kind == Kind::Depthwise {
            return depthwise::bands(shape, set, tuning).map(|bands| depthwise::choice(shape, bands));
        }
        let in_place = lowering == Lowering::InPlace;
        let reads_bands = matches!(self.kind, Kind::Positions | Kind::Strips);
        reads_bands.then(|| bands::choose(shape, self.widths(set), in_place, tuning))
    }

    /// The blocks of k; a direct tile has one.
    pub(super) fn blocking<T: Element>(
        self,
        shape: &Shape,
        set: &KernelSet<T>,
        choice: Option<&Choice>,
        tuning: Tuning,
    ) -> Blocking {
        if self.is_direct() {
            return Blocking { channels: shape.in_channels, taps: shape.kernel() };
        }
        let limits = match choice {
            Some(choice) => bands::limits(shape, choice, self.widths(set)),
            None => {
                let weights = (self.largest + 1) * set.lanes * size_of::<T>();
                Limits::weights(shape.taps(), weights, size_of::<TapWindow>() + 2 * size_of::<Tap>())
            }
        };
        let limits = limits.forced(shape.taps(), tuning.k_block, tuning.tap_block);
        Blocking::new(shape.in_channels, shape.kernel(), limits)
    }

    /// Channels and positions.
    pub(super) fn extents<T: Element>(self, set: &KernelSet<T>) -> [usize; 2] {
        match self.kind {
            Kind::Channels => [(self.largest + 1) * set.lanes, set.channel[self.family].positions],
            Kind::Positions => [1 << self.largest, set.position_width(self.family)],
            Kind::Planes => {
                let kernel = &set.planes[self.family];
                [1, kernel.rows * kernel.columns]
            }
            Kind::Strips => [1, set.strips.vectors * set.lanes],
            Kind::Depthwise => [set.lanes, set.depthwise.positions],
            Kind::Windows => [1, set.lanes],
        }
    }
}

/// The tile with channels in the lanes for the last `positions` of an image that tiles with positions in the lanes read in place: of as
/// few positions as there are, and of most channels.
pub(crate) fn last_tile<T>(set: &KernelSet<T>, positions: usize) -> Tile {
    let families = set.channel.iter().map(|family| (family.positions, family.by_vectors.len())).enumerate();
    let best =
        families.min_by_key(|&(_, (p, vectors))| (p < positions, p.abs_diff(positions), Reverse(vectors)));
    let (family, (_, vectors)) = best.expect("a set has tiles with channels in the lanes");
    Tile { kind: Kind::Channels, family, largest: vectors - 1 }
}

/// The direct tiles of `set` for `shape`.
pub(super) fn direct<T: Element>(
    shape: &Shape,
    set: &'static KernelSet<T>,
) -> impl Iterator<Item = Tile> + use<T> {
    let [_, height, width] = shape.axes;
    let raw = has_raw(shape.out_channels, set.lanes);
    let square = height.kernel == width.kernel;
    // Where there is an image, and each window begins or ends inside, none of a tile's masked loads is far from it.
    let last = width.origin(width.output.saturating_sub(1));
    let span = |axis: &Axis| (axis.kernel - 1) * axis.dilation;
    let overlaps = width.pad_begin <= span(&width) as isize && last < width.input as isize && width.input > 0;
    let near = |axis: &Axis| axis.dilation == 1 || axis.stride == 1 && span(axis) <= axis.input;
    let in_place = raw && overlaps && near(&height) && near(&width);
    let shape = *shape;
    direct_tiles(set).filter(move |tile| {
        let kernel = &set.planes[tile.family];
        match tile.kind {
            Kind::Planes => {
                let made_for = match kernel.kernel {
                    Some(taps) => square && taps == width.kernel,
                    None => kernel.rows <= height.kernel && width.kernel <= MOST_COLUMNS,
                };
                let reaches = kernel.apart || width.dilation == 1;
                in_place && made_for && reaches && [height.stride, width.stride] == [kernel.stride; 2]
            }
            Kind::Depthwise => depthwise::bands(&shape, set, Tuning::default()).is_some(),
            Kind::Strips => raw && bands::fits_whole(&shape, tile.widths(set)),
            _ => raw,
        }
    })
}

/// Every direct tile of `set`.
pub(super) fn direct_tiles<T: Element>(set: &'static KernelSet<T>) -> impl Iterator<Item = Tile> + use<T> {
    let planes = (0..set.planes.len()).map(|family| Tile { kind: Kind::Planes, family, largest: 0 });
    planes.chain([Kind::Strips, Kind::Depthwise, Kind::Windows].map(|kind| Tile {
        kind,
        family: 0,
        largest: 0,
    }))
}

/// Every tile of the GEMM of `set`.
pub(super) fn candidates<T: Element>(set: &'static KernelSet<T>) -> impl Iterator<Item = Tile> {
    let of = |kind, family, members: usize| (0..members).map(move |largest| Tile { kind, family, largest });
    let channel = set.channel.iter().enumerate();
    let position = set.position.iter().enumerate();
    channel
        .flat_map(move |(i, f)| of(Kind::Channels, i, f.by_vectors.len()))
        .chain(position.flat_map(move |(i, f)| of(Kind::Positions, i, f.by_log2_rows.len())))
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
