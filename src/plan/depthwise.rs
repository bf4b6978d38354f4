//! What depthwise tiles read of the image at a time, and what they take.

use super::bands::Choice;
use super::cost::inside;
use super::machine::other;
use super::tuning::Tuning;
use crate::caches::{Caches, LINE};
use crate::geometry::{Axis, Shape};
use crate::kernel::{KernelSet, waiting_room};
use crate::pack::bands::Bands;
use crate::pack::buffer::lines_for;
use crate::pack::weights::has_raw;

/// Turning a vector of the image and of the output around, in multiply-adds.
const TURNED_IN: f64 = 4.5;
const TURNED_OUT: f64 = 7.0;

/// Setting up a tile, and a row of its taps.
const TILE: f64 = 12.0;
const ROW: f64 = 2.0;

/// Elements of scratch.
pub(crate) struct Vectors {
    pub(crate) image: usize,
    pub(crate) weights: usize,
    pub(crate) sums: usize,
    pub(crate) windows: usize,
}

impl Vectors {
    pub(crate) fn new(shape: &Shape, bands: Bands, lanes: usize) -> Self {
        let [depth, height, width] = &shape.axes;
        let image = depth.kernel.min(depth.input) * most(height, bands.rows) * most(width, bands.cols);
        Self {
            image: image * lanes,
            weights: shape.taps() * lanes,
            sums: waiting_room(bands.cols, lanes) * lanes,
            windows: width.kernel,
        }
    }

    pub(crate) fn lines<T>(&self) -> usize {
        let elements = [self.image, self.weights, self.sums].map(lines_for::<T>);
        elements.iter().sum::<usize>() + lines_for::<[usize; 2]>(self.windows)
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
/// of one. None where not even that fits, or where output channels read several.
pub(super) fn bands<T>(shape: &Shape, set: &KernelSet<T>, tuning: Tuning) -> Option<Bands> {
    let [depth, height, width] = &shape.axes;
    let room = Caches::here().band() / (set.lanes * size_of::<T>());
    let applies = shape.in_channels == 1 && has_raw(shape.out_channels, set.lanes);
    if !applies || shape.taps().max(width.kernel * LINE) > room {
        return None;
    }
    let plane = room / depth.kernel;
    let bands = match fitting(height, plane / width.input.max(1)) {
        0 => {
            let cols = fitting(width, plane / most(height, 1).max(1));
            Bands { rows: 1, cols, joined: None }
        }
        rows => Bands { rows: height.output.div_ceil(height.output.div_ceil(rows)), cols: width.output, joined: None },
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
    let depths = (depth.kernel.min(depth.input) * depth.output) as f64;
    Choice {
        bands: Some(bands),
        vectors: shape.out_plane() as f64,
        blocks: 1.0,
        copying: depths * of(height, bands.rows) * of(width, bands.cols),
        last: 0,
    }
}

/// What one group of one image takes.
pub(super) fn cost<T>(shape: &Shape, set: &KernelSet<T>, choice: &Choice) -> f64 {
    let taps = shape.taps() as f64;
    let channels = shape.groups * shape.out_channels;
    let [_, height, width] = &shape.axes;
    let tiles = (shape.out_plane() / width.output * width.output.div_ceil(set.depthwise.positions)) as f64;
    let rows = tiles * (height.kernel * shape.axes[0].kernel) as f64;
    let other = other(set.lanes * size_of::<T>());
    let vector = choice.vectors * taps * inside(shape)
        + other * (TURNED_IN * (choice.copying + taps) + TURNED_OUT * choice.vectors + TILE * tiles + ROW * rows);
    channels.div_ceil(set.lanes) as f64 * vector / shape.groups as f64
}
