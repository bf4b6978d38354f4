//! The cost model: what a tile would take, in vector multiply-adds.

use super::{Lowering, Orientation, Tile, row_blocks};
use crate::element::Element;
use crate::gemm::blocking::{streamed, whole_lines};
use crate::geometry::Shape;
use crate::kernel::{ChannelFamily, KernelSet, PositionFamily};

/// The estimated cost of one group of one image, in vector multiply-adds.
pub(super) fn cost<T: Element>(shape: &Shape, set: &KernelSet<T>, tile: Tile, lowering: Lowering) -> f64 {
    match tile.orientation {
        Orientation::ChannelsInLanes => channel_cost(shape, set, &set.channel[tile.family], tile.largest),
        Orientation::PositionsInLanes => {
            position_cost(shape, set, &set.position[tile.family], tile.largest, lowering)
        }
    }
}

/// A call, its tables and the first loads of a channels-in-lanes tile, in multiply-adds.
const CALL_OVERHEAD: f64 = 30.0;

/// Transposing and storing one row of a channels-in-lanes tile, in an output that L2 holds and in a larger one, whose lines
/// are fetched to write some elements of each. Measured: a 14×32 tile takes 330 more than its multiply-adds on
/// 384→64 1×1 14², 400 on 64→64 1×1 56², 1 000 and more on 3→64 7×7 with an output of 112².
const TRANSPOSED_STORE: f64 = 11.0;
const TRANSPOSED_STORE_BEYOND: f64 = 22.0;
const L2_OUTPUT: usize = 1 << 20;

/// Following the list of taps, for each k. A multiply-add of 512 bits hides it; of shorter ones two are done in a cycle, and
/// what there is besides them fills it. Measured: AVX2's 6×16 reaches 67 % of the peak where its 4×24 reaches 90.
const TAP_LIST: f64 = 6.0;

/// Storing one vector of a positions-in-lanes tile, and its share of the tile's set-up. Measured with k = 64: an 8×48 tile
/// takes 79 more than its 1536, a 4×48 tile 26 more than its 768.
const VECTOR_STORE: f64 = 3.2;

/// The same where the output is so large that it is streamed, but the tile is not of whole lines. Measured with AVX2 on 3→64
/// 3×3: 4×24 reaches 46 GFLOP/s, 4×16 73.
const UNSTREAMED_STORE: f64 = 20.0;

/// Bytes of a panel that is read again from L1, and how many more loads a vector counts for beyond. Measured with k = 144:
/// 4×48 falls behind 8×48 by 8 %, which has multiply-adds to hide them behind.
const L1_PANEL: usize = 16 << 10;
const L2_VECTOR: usize = 2;

/// Bytes of weights that L2 holds beside a panel, and how much longer tiles take where each panel reads them all from
/// beyond. Measured: 8×48 reaches 104 GFLOP/s on 512→512 3 stride 2, where channels in lanes reach 113.
const L2_WEIGHTS: f64 = (768 << 10) as f64;
const L3_WEIGHTS: f64 = 1.1;

/// One k of a tile of `sums` registers fed by `loads` loads. A load costs about as much as a multiply-add with
/// 256-bit vectors and half with 512; fewer than 8 sums wait for each other.
fn k_cost(sums: usize, loads: usize) -> f64 {
    sums.max(loads).max(8) as f64
}

/// Multiply-adds on padding are skipped; each vector of channels is transposed as it is stored.
fn channel_cost<T: Element>(
    shape: &Shape,
    set: &KernelSet<T>,
    family: &ChannelFamily<T>,
    largest: usize,
) -> f64 {
    let lanes = set.lanes;
    let list = if lanes * size_of::<T>() < 64 { TAP_LIST } else { 0.5 };
    let (p, n) = (family.positions, shape.out_plane());
    let tiles = n.div_ceil(p) as f64;
    let vectors = shape.out_channels.div_ceil(lanes);
    let k = shape.k() as f64 * inside(shape);
    let output = (n as f64) * (shape.out_channels * size_of::<T>()) as f64;
    let store = if output > L2_OUTPUT as f64 { TRANSPOSED_STORE_BEYOND } else { TRANSPOSED_STORE };
    let of = |v: usize| {
        let whole = (k_cost(p * v, p + v) + list) * (n as f64 / p as f64);
        k * whole + tiles * (CALL_OVERHEAD + store * (v * lanes) as f64)
    };
    let most = largest + 1;
    let rest = vectors % most;
    (vectors / most) as f64 * of(most) + if rest > 0 { of(rest) } else { 0.0 }
}

/// Packing a vector: of one run, at a stride, and more where a row ends or padding is read. Measured with k = 27 and 147.
const PACKED_VECTOR: f64 = 3.0;
const PACKED_STRIDE: f64 = 3.0;
const PACKED_EDGE: f64 = 8.0;

/// Nothing is skipped. Single vectors of positions take a tile of their own.
fn position_cost<T>(
    shape: &Shape,
    set: &KernelSet<T>,
    family: &PositionFamily<T>,
    largest: usize,
    lowering: Lowering,
) -> f64 {
    let (v, lanes) = (family.vectors, set.lanes);
    let vectors = shape.out_plane().div_ceil(lanes) as f64;
    let k = shape.k() as f64;
    let size = size_of::<T>();
    let streamed = streamed(shape.output_len()) && whole_lines(shape.out_plane(), size);
    let store = if streamed && !whole_lines(v * lanes, size) { UNSTREAMED_STORE } else { VECTOR_STORE };
    let panel = shape.k() * v * lanes * size;
    let reading = if panel > L1_PANEL { L2_VECTOR * v } else { 0 };
    let mut tiles = 0.0;
    for (_, log2_rows, rows) in row_blocks(shape.out_channels, largest) {
        let tile = 1 << log2_rows;
        let of_one = k * k_cost(tile * v, tile + v + reading) + store * (tile * v) as f64;
        tiles += rows.div_ceil(tile) as f64 * of_one;
    }
    let mut packing = 0.0;
    if lowering == Lowering::Packed {
        let stride = shape.axes[2].stride;
        // Each row has a beginning and an end, which share a vector.
        let edges = (1.5 * lanes as f64 / shape.axes[2].output.max(1) as f64).clamp(0.0, lanes as f64);
        packing = PACKED_VECTOR + PACKED_EDGE * edges;
        if stride > set.shuffled {
            packing += 2.0 * lanes as f64;
        } else if stride > 1 {
            packing += PACKED_STRIDE;
        }
    }
    let weights = k * (shape.out_channels * size_of::<T>()) as f64;
    let streaming = if weights > L2_WEIGHTS { L3_WEIGHTS } else { 1.0 };
    vectors * (streaming * tiles / v as f64 + packing * k)
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
