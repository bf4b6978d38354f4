//! The cost model: what a tile would take, in vector multiply-adds.

use super::{Lowering, Orientation, Tile, row_tiles};
use crate::element::Element;
use crate::geometry::Shape;
use crate::kernel::{ChannelFamily, KernelSet, PositionFamily};

/// The estimated cost of one group of one image, in vector multiply-adds.
pub(super) fn cost<T: Element>(shape: &Shape, set: &KernelSet<T>, tile: Tile, lowering: Lowering) -> f64 {
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
