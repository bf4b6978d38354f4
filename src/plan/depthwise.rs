//! What depthwise tiles read of the image at a time, and what they take.

use super::Plan;
use super::bands::Choice;
use super::cost::inside_axis;
use super::tuning::Tuning;
use crate::caches::Caches;
use crate::geometry::{Axis, Shape};
use crate::kernel::{KernelSet, waiting_room};
use crate::machine::{Pace, pace};
use crate::pack::bands::Bands;
use crate::pack::buffer::lines_for;
use crate::pack::weights::has_raw;

/// Transposing a vector of the image or of the output, and where planes begin in the same sets of L1; a load where L1 does not hold what a
/// row of the output reads; a tap that does not share its loads with others, in a tile; setting up a tile, a row of its taps, and a vector of
/// channels of a band; a tap's weights. In cycles, of which one of 512 bits takes one, or half where two are done. Measured on 3×3 to 9×9, 1×31 and 31×1, 7² to 112², at strides of 1 to 3.
const TRANSPOSED: f64 = 4.5;
const TRANSPOSED_ALIASED: f64 = 7.5;
const L2_LOAD: f64 = 2.0;
const LONE_TAP: f64 = 8.0;
const TILE: f64 = 10.0;
const ROW: f64 = 4.0;
const BAND: f64 = 600.0;
const WEIGHTS: f64 = 3.0;

/// Taps of a row that are multiplied with a column of the image while it is in a register.
const SHARING: usize = 7;

/// Planes that are a multiple of so many bytes begin in the same set of L1, which holds so many lines.
const PAGE: usize = 4 << 10;
const L1_WAYS: usize = 8;

/// Elements of scratch.
pub(crate) struct VectorLens {
    pub(crate) image: usize,
    pub(crate) weights: usize,
    pub(crate) sums: usize,
    pub(crate) windows: usize,
}

impl VectorLens {
    fn new(shape: &Shape, bands: Bands, lanes: usize) -> Self {
        let [depth, height, width] = &shape.axes;
        let image = depth.kernel.min(depth.input) * most(height, bands.rows) * most(width, bands.cols);
        Self {
            image: image * lanes,
            weights: shape.taps() * lanes,
            sums: waiting_room(bands.cols, lanes) * lanes,
            windows: width.kernel,
        }
    }

    pub(super) fn lines<T>(&self) -> usize {
        let elements = [self.image, self.weights, self.sums].map(lines_for::<T>);
        elements.iter().sum::<usize>() + lines_for::<[usize; 2]>(self.windows)
    }
}

impl Plan {
    /// What depthwise tiles need of scratch.
    pub(crate) fn vectors(&self, lanes: usize) -> Option<VectorLens> {
        self.bands.map(|bands| VectorLens::new(&self.shape, bands, lanes))
    }
}

/// What `len` windows read of an axis at most, and what lies between.
fn most(axis: &Axis, len: usize) -> usize {
    let span = (axis.kernel - 1) * axis.dilation;
    (len - 1).saturating_mul(axis.stride).saturating_add(span + 1).min(axis.input)
}

/// The most windows that read no more than `room`, of all.
fn fitting(axis: &Axis, room: usize) -> usize {
    if axis.input <= room {
        return axis.output;
    }
    let span = (axis.kernel - 1) * axis.dilation;
    let beyond = room.checked_sub(span + 1);
    beyond.map_or(0, |beyond| (beyond / axis.stride + 1).min(axis.output))
}

/// The rectangles of output positions whose part of the image is in scratch together: all if that is a quarter of L2, whole rows, or parts
/// of one. None where not even that fits, the kernel is as large, or output channels read several.
pub(super) fn bands<T>(shape: &Shape, set: &KernelSet<T>, tuning: Tuning) -> Option<Bands> {
    let [depth, height, width] = &shape.axes;
    let room = Caches::here().band() / (set.lanes * size_of::<T>());
    let applies = shape.in_channels == 1 && has_raw(shape.out_channels, set.lanes);
    if !applies || shape.taps() > room / 4 {
        return None;
    }
    let plane = room / depth.kernel;
    // Padding may be far wider than the image.
    let most_cols = room / 2;
    let bands = match fitting(height, plane / width.input.max(1)) {
        rows if rows > 0 && width.output <= most_cols => Bands {
            rows: height.output.div_ceil(height.output.div_ceil(rows)),
            cols: width.output,
            joined: None,
        },
        _ => {
            let cols = fitting(width, plane / most(height, 1).max(1)).min(most_cols);
            Bands { rows: 1, cols, joined: None }
        }
    };
    let bands = match tuning.band {
        Some([_, cols]) if cols < bands.cols => Bands { rows: 1, cols: cols.max(1), joined: None },
        Some([rows, _]) if bands.cols == width.output => Bands { rows: rows.clamp(1, bands.rows), ..bands },
        _ => bands,
    };
    (bands.cols > 0).then_some(bands)
}

/// What they bring about for a vector of channels of one image.
pub(super) fn choice(shape: &Shape, bands: Bands) -> Choice {
    let [depth, height, width] = &shape.axes;
    let of = |axis: &Axis, len: usize| {
        let bands = (axis.output / len) as f64;
        let rest = axis.output % len;
        bands * most(axis, len) as f64 + if rest > 0 { most(axis, rest) as f64 } else { 0.0 }
    };
    let depths = depth.kernel.min(depth.input) as f64 * depth.output as f64;
    Choice {
        bands: Some(bands),
        vectors: shape.out_plane() as f64,
        blocks: (shape.out_plane() as f64 / (bands.rows * bands.cols) as f64).ceil(),
        copying: depths * of(height, bands.rows) * of(width, bands.cols),
        ..Choice::default()
    }
}

/// What one group of one image takes.
pub(super) fn cost<T>(shape: &Shape, set: &KernelSet<T>, choice: &Choice) -> f64 {
    let bytes = set.lanes * size_of::<T>();
    let [depth, height, width] = &shape.axes;
    let tile = set.depthwise.positions.min(width.output) as f64;
    let rows = depth.kernel as f64 * (height.kernel as f64) * inside_axis(depth) * inside_axis(height);
    let beside = width.dilation == 1 && width.stride <= 2;
    // Taps of a row that share loads.
    let shared = if beside { width.kernel.min(SHARING) } else { 1 } as f64;
    let loads =
        (tile * (width.stride as f64).min(shared) + shared - 1.0) / (tile * shared) * width.kernel as f64;
    let row = most(width, width.output).saturating_mul(bytes);
    let cached = row.saturating_mul(depth.kernel * height.kernel) <= Caches::here().l1;
    let load = if cached { 1.0 } else { L2_LOAD };
    let alone = if beside { 0.0 } else { LONE_TAP * width.kernel as f64 / tile };
    let position = (width.kernel as f64 * inside_axis(width)).max(load * loads);
    let cycles = match pace(bytes) {
        Pace::Short => 1.5,
        Pace::One => 1.0,
        Pace::Two => 2.0,
    };
    let plane = shape.in_plane().saturating_mul(size_of::<T>());
    let transposed =
        if set.lanes > L1_WAYS && plane.is_multiple_of(PAGE) { TRANSPOSED_ALIASED } else { TRANSPOSED };
    let other = transposed * (choice.copying + choice.vectors)
        + choice.vectors / tile * (TILE + ROW * rows)
        + choice.vectors * rows * alone
        + BAND * choice.blocks
        + WEIGHTS * shape.taps() as f64;
    let vector = choice.vectors * rows * position + cycles * other;
    let channels = shape.groups * shape.out_channels;
    channels.div_ceil(set.lanes) as f64 * vector / shape.groups as f64
}
