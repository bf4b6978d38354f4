//! The cost model: what a tile would take, in vector multiply-adds.

use super::bands::{Choice, FAR};
use super::{Kind, Lowering, Tile, depthwise, last_tile, row_blocks};
use crate::caches::{Caches, LINE};
use crate::element::Element;
use crate::gemm::blocking::{apart, beside, streamed, whole_lines};
use crate::geometry::{Axis, Shape};
use crate::kernel::{ChannelFamily, KernelSet, PlaneKernel, PositionFamily};
use crate::machine::{Pace, is_wide, other, pace};

/// The estimated cost of one group of one image, in vector multiply-adds.
pub(super) fn cost<T: Element>(
    shape: &Shape,
    set: &KernelSet<T>,
    tile: Tile,
    lowering: Lowering,
    bands: Option<&Choice>,
) -> f64 {
    let other = other(set.lanes * size_of::<T>());
    let call = other * CALL / (shape.batch * shape.groups).max(1) as f64;
    let tiles = match (tile.kind, bands) {
        (Kind::Windows, _) => return window_cost(shape, set),
        (Kind::Planes, _) => return PLANE_CALL * call + plane_cost(shape, set, &set.planes[tile.family]),
        (Kind::Depthwise, Some(choice)) => return call + depthwise::cost(shape, set, choice),
        (Kind::Strips, Some(choice)) => return call + strip_cost(shape, set, choice),
        (_, None) => channel_cost(shape, set, &set.channel[tile.family], tile.largest),
        (_, Some(choice)) => position_cost(shape, set, &set.position[tile.family], tile.largest, choice),
    };
    let call = if tile.kind == Kind::Channels { CHANNEL_CALL * call } else { call };
    call + if lowering == Lowering::InPlace && aliased::<T>(shape) { ALIASED * tiles } else { tiles }
}

/// Preparing tables, tasks and bands, and the part of it that tiles need without bands. Measured on a 3×3 image and on 1×1 7².
const CALL: f64 = 1200.0;
const CHANNEL_CALL: f64 = 0.5;
const PLANE_CALL: f64 = 0.6;

/// How much longer it takes to read images in place whose planes all begin in the same sets of L2 (a way of it has 64 to 256
/// KiB on today's cores), where there are more of them than ways. Measured on 256² maps: 64→64 3×3 reaches 96 GFLOP/s in
/// place, 107 through bands; 128→128 1×1 83 and 92.
const ALIASED: f64 = 1.15;
const L2_WAY: usize = 128 << 10;
const L2_WAYS: usize = 8;

/// A way of L1, and as many as rows of an image may fall on, so that those of a tile still are there for the tile below. Measured with two
/// multiply-adds a cycle on 1×1 of 32², 80² and 128² maps: 8×48 as fast in place as through bands, 4×48 half as fast.
const L1_WAY: usize = 4 << 10;
const L1_WAYS: usize = 12;
/// A vector of a tile that is not there, as a k of so many sums.
const BEYOND_L1: f64 = 3.75;

/// Whether the rows of a tile that reads an image in place push each other out of L1.
fn crowded<T>(shape: &Shape) -> bool {
    let step = shape.in_plane().wrapping_mul(size_of::<T>()) % L1_WAY;
    let places = if step == 0 { 1 } else { L1_WAY >> step.trailing_zeros() };
    step.is_multiple_of(LINE) && shape.in_channels / places >= L1_WAYS
}

fn aliased<T>(shape: &Shape) -> bool {
    let bytes = shape.in_plane().saturating_mul(size_of::<T>());
    bytes > 0 && bytes.is_multiple_of(L2_WAY) && shape.in_channels > L2_WAYS
}

/// A call, its tables and the first loads of a channels-in-lanes tile, in multiply-adds.
const CALL_OVERHEAD: f64 = 30.0;

/// Transposing and storing one row of a channels-in-lanes tile, in an output that L2 holds and in a larger one, whose lines
/// are fetched to write some elements of each. Measured: a 14×32 tile takes 330 more than its multiply-adds on
/// 384→64 1×1 14², 400 on 64→64 1×1 56², 1 000 and more on 3→64 7×7 with an output of 112².
const TRANSPOSED_STORE: f64 = 11.0;
const TRANSPOSED_STORE_BEYOND: f64 = 22.0;

/// Leaving a row to the next tile, wherever the output is. Measured on 1×1 14² and 28²: a 14×32 tile takes 110 to 250 more than its
/// multiply-adds (Zen 4, copied by elements; by blocks, on Zen 5, 45 to 200).
const HELD_STORE: f64 = 8.0;

/// Following the list of taps, for each k, and of one tap. A multiply-add of 512 bits hides it; of shorter ones two are done in a cycle.
/// Fitted with [`TAP_MASK`], [`SHORT_PLACE`], [`SHORT_WEIGHTS`], [`HALF_CYCLES`], [`SHORT_SUMS`] and [`SHORT_LOAD`] to 87 layers by five tiles of
/// AVX2: what a choice loses against the best of them is 0.7 % on average.
const TAP_LIST: f64 = 1.2;
const ONE_TAP: f64 = 0.4;

/// Going on to the next positions of a line, whatever the tiles there: each of their rows is in another place of memory. Measured: with
/// 40, narrow tiles are chosen for 3→384 1×7 128², 66 GFLOP/s where 4×48 reaches 88.
const LINE_STEP: f64 = 130.0;

/// Asking for each position of a tile on the edge of the image whether a tap reads there.
const TAP_MASK: f64 = 0.05;

/// A line of the image at a stride, of which there are several for the positions of a tile, if one tap reads it. Measured: 6×16 reaches 75 to
/// 91 GFLOP/s on 1×1 s2, 4×24 on copied rows 95 to 101.
const STRIDED_LINE: f64 = 3.2;

/// How much longer tiles of vectors of 256 bits take, which do not ask for what they read in place, where that comes from far, or at a stride
/// from beyond L2. Measured: 6×16 reaches 93 GFLOP/s on 64→64 3×3 224², 4×24 99; on 512→512 3 stride 2 of 16 000 28 and 103; on 64→128 3×3
/// s2 80² 84 to 92 and 96 to 103.
const FETCHED: f64 = 1.1;

/// A vector of weights of 256 bits that L1 does not hold. Measured on 1×1 7²: 2×48, with six of them for 12 multiply-adds, reaches 75 GFLOP/s,
/// 6×16 92.
const SHORT_WEIGHTS: f64 = 3.1;

/// Positions of a tile of `p` that are asked for, on average over the tiles.
fn masked(shape: &Shape, p: usize) -> f64 {
    let [_, height, width] = shape.axes.map(|axis| axis.output as f64);
    let tiles = if inside(shape) < 1.0 { 2.0 * p as f64 / width + 2.0 / height } else { 0.0 };
    p as f64 * tiles.min(1.0)
}

/// Storing one vector of a positions-in-lanes tile, and setting the tile up; what the multiply-adds of the next tile hide of both, if one of
/// 512 bits is done in a cycle. Measured so with k from 16 to 64: 8×48 takes 40 to 60 more than its multiply-adds, 4×48 10 to 17.
const VECTOR_STORE: f64 = 2.6;
const TILE_SETUP: f64 = 16.0;
const HIDDEN_SETUP: f64 = 38.0;
const LEAST_SETUP: f64 = 4.0;

/// The same where the output is so large that it is streamed, but the tile is not of whole lines. Measured with AVX2 on 3→64
/// 3×3: 4×24 reaches 46 GFLOP/s, 4×16 73.
const UNSTREAMED_STORE: f64 = 20.0;

/// Storing `sums` vectors, each of which takes `store`, and setting the tile up.
fn setup(bytes: usize, sums: f64, store: f64) -> f64 {
    let all = store * sums + TILE_SETUP;
    match pace(bytes) {
        Pace::Short | Pace::Two => other(bytes) * all,
        Pace::One => (all - HIDDEN_SETUP).max(LEAST_SETUP),
    }
}

/// What a k takes besides in the last tile of positions that are read in place, which asks for each whether it is there. Measured on 1×1 7²,
/// a position of 49: with k = 160 this takes as long as channels in lanes, with k = 256 3 % longer.
const LAST_K: f64 = 7.0;

/// The share of L2 that holds a block's weights beside a band, and how much longer tiles take where each line of them reads them all from
/// beyond. Measured: 8×48 reaches 104 GFLOP/s on 512→512 3 stride 2, where channels in lanes reach 113.
const L2_WEIGHTS: f64 = 0.75;
const L3_WEIGHTS: f64 = 1.06;
/// The same of 4 MiB and of 8, with vectors of 256 bits. Measured on 1×1 7²: 4×24 reaches 81 GFLOP/s with 512→2048, 73 with 1024→2048, 6×16 90 and 80;
/// in f64 38 and 20, 46 and 40.
const FAR_WEIGHTS: f64 = 1.25;
const FARTHER_WEIGHTS: f64 = 1.4;

/// What a k of a tile takes besides, where a multiply-add of 256 bits takes half a cycle.
const HALF_CYCLES: f64 = 0.3;
/// Eight sums there, which wait for each other whenever a load is late.
const SHORT_SUMS: f64 = 9.8;
/// A load there, of which two are done in a cycle at best. Measured: 12×8, with 13 loads for 12 multiply-adds, reaches 90 to 100 GFLOP/s on 1×1
/// 14², 6×16 108.
const SHORT_LOAD: f64 = 1.15;

/// A load of 512 bits where two are done in a cycle, and as many multiply-adds, and the rest of a k there. Measured: 16×16, with 17
/// loads for 16 multiply-adds, reaches 80 % of the peak, 8×48 with 11 for 24 95.
const WIDE_LOAD: f64 = 1.1;
const WIDE_K: f64 = 0.5;

/// The rest of a k where one of 512 bits is done in a cycle. Measured: 4×48 is faster than 8×48 up to a k of 75.
const NARROW_K: f64 = 0.25;

/// One k of a tile of `sums` vectors of `bytes` bytes fed by `loads` loads. A load costs about as much as a multiply-add where two of
/// those are done in a cycle, and half where it is one; fewer than 8 sums wait for each other.
fn k_cost(bytes: usize, sums: usize, loads: f64) -> f64 {
    let sums = sums.max(8) as f64;
    match pace(bytes) {
        Pace::Short => sums.max(SHORT_SUMS).max(SHORT_LOAD * loads) + HALF_CYCLES,
        Pace::One => (sums + NARROW_K).max(0.6 * loads),
        Pace::Two => (sums + WIDE_K).max(WIDE_LOAD * loads),
    }
}

/// How much longer it takes where each line is read for one tap and half of it is, and two multiply-adds are done in a cycle. Measured on
/// 1×1 s2.
const STRIDED: f64 = 1.05;

/// Loading where a position reads, if positions do not follow each other, as a part of loading what it reads. Measured on 6→16 5×5 10²:
/// 14×16 reaches 124 GFLOP/s, 8×48 on copied rows 137.
const PLACE: f64 = 0.5;
const SHORT_PLACE: f64 = 0.05;

/// Multiply-adds on padding are skipped; each vector of channels is transposed as it is stored, or left to the next tile.
fn channel_cost<T: Element>(
    shape: &Shape,
    set: &KernelSet<T>,
    family: &ChannelFamily<T>,
    largest: usize,
) -> f64 {
    let lanes = set.lanes;
    let bytes = lanes * size_of::<T>();
    let (p, n) = (family.positions, shape.out_plane());
    let (list, place) = match pace(bytes) {
        Pace::Short => {
            let lines = 0.5 + (p * size_of::<T>()) as f64 * shape.axes[2].stride as f64 / LINE as f64;
            let list = match shape.taps() {
                1 if shape.axes[2].stride > 1 => ONE_TAP + STRIDED_LINE * lines,
                1 => ONE_TAP,
                _ => TAP_LIST + TAP_MASK * masked(shape, p),
            };
            (list, SHORT_PLACE * apart(shape, p))
        }
        Pace::One => (0.5, 0.0),
        Pace::Two => (0.5, PLACE * apart(shape, p)),
    };
    let tiles = n.div_ceil(p) as f64;
    let vectors = shape.out_channels.div_ceil(lanes);
    let strided = shape.taps() == 1 && shape.axes[2].stride > 1 && is_wide(bytes);
    let held = if shape.axes[2].stride > 1 { Caches::here().l2 } else { FAR };
    let far = pace(bytes) == Pace::Short && shape.input_len().saturating_mul(size_of::<T>()) > held;
    let factor = if strided { STRIDED } else { 1.0 } * if far { FETCHED } else { 1.0 };
    let k = shape.k() as f64 * inside(shape) * factor;
    let output = (n as f64) * (shape.out_channels * size_of::<T>()) as f64;
    let transposed =
        if output > Caches::here().l2 as f64 { TRANSPOSED_STORE_BEYOND } else { TRANSPOSED_STORE };
    let held = |rows: usize| set.hides_copies && beside(shape, p) && shape.in_channels >= rows;
    let of = |v: usize| {
        let store = if held(v * lanes) { HELD_STORE } else { transposed };
        let fetched = shape.k().saturating_mul(v * bytes) > Caches::here().l1 / 2;
        let weights = if fetched && pace(bytes) == Pace::Short { SHORT_WEIGHTS * v as f64 } else { 0.0 };
        let of_tile =
            |p: usize| (k_cost(bytes, p * v, (p + v) as f64 + place * p as f64) + list).max(weights);
        let rest = match n % p {
            0 => 0.0,
            rest if bytes >= 64 => of_tile(rest),
            rest => of_tile(p) * rest as f64 / p as f64,
        };
        let all = (n / p) as f64 * of_tile(p) + rest;
        k * all + tiles * other(bytes) * (CALL_OVERHEAD + store * (v * lanes) as f64)
    };
    let most = largest + 1;
    let rest = vectors % most;
    (vectors / most) as f64 * of(most) + if rest > 0 { of(rest) } else { 0.0 }
}

/// Nothing is skipped.
fn position_cost<T: Element>(
    shape: &Shape,
    set: &KernelSet<T>,
    family: &PositionFamily<T>,
    largest: usize,
    choice: &Choice,
) -> f64 {
    let (v, lanes) = (family.vectors, set.lanes);
    let k = shape.k() as f64;
    let size = size_of::<T>();
    let streamed = streamed(shape.output_len()) && whole_lines(shape.out_plane(), size);
    let store = if streamed && !whole_lines(v * lanes, size) { UNSTREAMED_STORE } else { VECTOR_STORE };
    let bytes = lanes * size;
    let other = other(bytes);
    let crowded = choice.bands.is_none() && crowded::<T>(shape);
    let least = if crowded { BEYOND_L1 * other * v as f64 } else { 0.0 };
    let mut tiles = other * LINE_STEP;
    for (_, log2_rows, rows) in row_blocks(shape.out_channels, largest) {
        let tile = 1 << log2_rows;
        let sums = (tile * v) as f64;
        let of_one = choice.reading * k * k_cost(bytes, tile * v, (tile + v) as f64).max(least)
            + setup(bytes, sums, store);
        tiles += rows.div_ceil(tile) as f64 * (of_one + choice.resuming * sums);
    }
    let last = if choice.last > 0 { last_cost(shape, set, choice.last) } else { 0.0 };
    let weights = k * (shape.out_channels * size_of::<T>()) as f64 / choice.blocks;
    let streaming = match pace(bytes) {
        Pace::Short if weights >= FAR as f64 => FARTHER_WEIGHTS,
        Pace::Short if weights >= FAR as f64 / 2.0 => FAR_WEIGHTS,
        _ if weights > L2_WEIGHTS * Caches::here().l2 as f64 => L3_WEIGHTS,
        _ => 1.0,
    };
    choice.vectors * streaming * tiles / v as f64 + choice.copying + last
}

/// The last `count` positions of an image that is its own im2col matrix.
fn last_cost<T: Element>(shape: &Shape, set: &KernelSet<T>, count: usize) -> f64 {
    let tile = last_tile(set, count);
    let along = |axis: Axis, len: usize| Axis { input: len, output: len, ..axis };
    let [depth, height, width] = shape.axes;
    let shape = Shape { axes: [along(depth, 1), along(height, 1), along(width, count)], ..*shape };
    let tiles = shape.out_channels.div_ceil((tile.largest + 1) * set.lanes) as f64;
    let asking = other(set.lanes * size_of::<T>()) * LAST_K * shape.k() as f64 * tiles;
    channel_cost(&shape, set, &set.channel[tile.family], tile.largest) + asking
}

/// A load of 512 bits from anywhere, and of 256 bits, of which two are done in a cycle: most of the former and half of the latter
/// cross a line. Measured: a direct tile of 36 multiply-adds and 27 loads of 512 bits takes 58 cycles.
const LOAD_512: f64 = 1.8;
const LOAD_256: f64 = 1.5;

fn load_cost<T>(lanes: usize) -> f64 {
    if lanes * size_of::<T>() < 64 { LOAD_256 } else { LOAD_512 }
}

/// Setting a direct tile up, and storing a row of it; broadcasting a weight for each multiply-add. Measured on 3×3, 5×5 and 7×7.
const PLANE_SETUP: f64 = 28.0;
const PLANE_STORE: f64 = 3.0;
const PLANE_BROADCAST: f64 = 0.6;
const PLANE_HALF_BROADCAST: f64 = 1.0;

/// How much longer a vector of a tile takes that loads one of each row than of one that loads one for each column of taps: with two
/// multiply-adds of 512 bits a cycle, and with one. Measured with two on 3×3; with one, two vectors for the same took 1.27 times as long.
const ONE_WIDE: f64 = 0.72;
const ONE: f64 = 1.25;

/// Picking a vector's columns at a stride, beside the multiply-adds where vectors of 512 bits do it in one shuffle, beside the loads where
/// shorter ones take several. Measured on 3×3 and 5×5 s2, 7² to 56².
const PLANE_SHUFFLE: f64 = 0.7;
const PLANE_SHORT_SHUFFLE: f64 = 2.0;

/// Setting up a tile that is made for any kernel, and a row that it reads.
const ANY_SETUP: f64 = 24.0;
const ANY_ROW: f64 = 3.0;

/// Bytes that a tile reads of each row, most vectors crossing a line. How much longer tiles take that read more than L1 holds, and
/// find nothing there of the tile to the left. Measured on 256² maps: 32→1 5×5 reaches 91 GFLOP/s, 64→3 3×3 40.
const PLANE_LINES: usize = 128;
const PLANE_BEYOND: f64 = 2.5;

/// Each output channel reads all input channels; lanes and rows behind the output are computed.
fn plane_cost<T: Element>(shape: &Shape, set: &KernelSet<T>, kernel: &PlaneKernel<T>) -> f64 {
    let [depth, height, width] = shape.axes.map(|axis| axis.output);
    let columns = width.div_ceil(kernel.columns);
    // A tile's rows are the dilation apart.
    let apart = shape.axes[1].dilation;
    let (each, more) = (height / apart, height % apart);
    let rows = more * (each + 1).div_ceil(kernel.rows) + (apart - more) * each.div_ceil(kernel.rows);
    let tiles = rows as f64 * depth as f64 * (columns * shape.out_channels) as f64;
    let [kernel_depth, kernel_height, kernel_width] = shape.kernel();
    let reads = (kernel.rows - 1) * kernel.stride + kernel_height;
    let taps = kernel_height * kernel_width;
    let sums = (kernel.rows * kernel.vectors * taps) as f64;
    let bytes = kernel.lanes * size_of::<T>();
    // Tiles for any kernel load each weight as an operand.
    let loaded = bytes < 64 || kernel.kernel.is_none() && is_wide(bytes);
    let broadcast = if loaded { PLANE_HALF_BROADCAST } else { PLANE_BROADCAST };
    let broadcasts = if kernel.resident { taps as f64 } else { broadcast * (kernel.rows * taps) as f64 };
    let (loads, setup, computed) = match kernel.kernel {
        // As many as where each is loaded.
        Some(taps) if kernel.stride == 1 => (kernel.vectors * taps, PLANE_SETUP, 1.0),
        Some(_) => (kernel.loads, PLANE_SETUP, 1.0),
        None => {
            (kernel.loads * kernel_width, ANY_SETUP + ANY_ROW * reads as f64, inside_axis(&shape.axes[1]))
        }
    };
    let loads = load_cost::<T>(kernel.lanes) * (reads * loads) as f64;
    let planes = shape.in_channels.saturating_mul(kernel_depth);
    let l1 = planes.saturating_mul(reads * PLANE_LINES) <= Caches::here().l1;
    // Of a vector of half the lanes, two are done in the time of one.
    let share = kernel.lanes as f64 / set.lanes as f64;
    let one = match (kernel.apart, is_wide(set.lanes * size_of::<T>())) {
        (true, _) => 1.0,
        (false, true) => ONE_WIDE,
        (false, false) => ONE,
    };
    // Of vectors of a row, at strides that take them apart, one for each column of taps.
    let shuffles = if kernel.stride > 1 { (reads * kernel.vectors * kernel_width) as f64 } else { 0.0 };
    let [beside_loads, beside_sums] = match pace(bytes) {
        Pace::Short if bytes < set.lanes * size_of::<T>() => [0.0, PLANE_SHUFFLE],
        Pace::Short => [PLANE_SHORT_SHUFFLE, 0.0],
        Pace::One => [0.0, PLANE_SHUFFLE],
        Pace::Two => [0.0, 0.0],
    };
    let read = loads + broadcasts + beside_loads * shuffles;
    let channel = share
        * one
        * computed
        * read.max(sums + beside_sums * shuffles)
        * if l1 { 1.0 } else { PLANE_BEYOND };
    let store = setup + PLANE_STORE * (kernel.rows * kernel.vectors) as f64;
    tiles * (planes as f64 * channel + store)
}

/// A tap and the rest of a vector of a direct tile that reads copied rows, and how much longer than elsewhere these take to be copied at a
/// stride, on vectors of 512 bits and on shorter ones. Measured on 3×3 to 31×31, at strides of 1 and 2.
const STRIP_TAP: f64 = 1.8;
const STRIP_VECTOR: f64 = 12.0;
const STRIDED_STRIPS: f64 = 1.5;
const SHORT_STRIP_VECTOR: f64 = 20.0;
const SHORT_STRIDED_STRIPS: f64 = 3.0;

/// Each output channel reads all input channels.
fn strip_cost<T: Element>(shape: &Shape, set: &KernelSet<T>, choice: &Choice) -> f64 {
    let (rest, strided) = match pace(set.lanes * size_of::<T>()) {
        Pace::Short => (SHORT_STRIP_VECTOR, SHORT_STRIDED_STRIPS),
        Pace::One | Pace::Two => (STRIP_VECTOR, STRIDED_STRIPS),
    };
    let copying = if shape.axes[2].stride > 1 { strided * choice.copying } else { choice.copying };
    choice.vectors * shape.out_channels as f64 * (STRIP_TAP * shape.k() as f64 + rest) + copying
}

/// A multiply-add that waits for the one before, and the rest of a vector, of the tile for small problems; what its elements take to be
/// loaded at a stride by shuffles and one by one. Measured on 3×3, 4×4 s4 and 6×6 s3.
const WINDOW_TERM: f64 = 6.0;
const WINDOW_VECTOR: f64 = 25.0;
const WINDOW_SHUFFLES: f64 = 18.0;
const WINDOW_ELEMENT: f64 = 8.0;

/// Lanes behind the output are computed.
fn window_cost<T: Element>(shape: &Shape, set: &KernelSet<T>) -> f64 {
    let [depth, height, width] = shape.axes.map(|axis| axis.output as f64);
    let vectors = depth * height * (width / set.lanes as f64).ceil() * shape.out_channels as f64;
    let loading = match shape.axes[2].stride {
        1 => 0.0,
        stride if stride <= set.shuffled => WINDOW_SHUFFLES,
        _ => WINDOW_ELEMENT * width.min(set.lanes as f64),
    };
    vectors * ((WINDOW_TERM + loading) * shape.k() as f64 + WINDOW_VECTOR)
}

/// The share of terms that do not read padding.
pub(super) fn inside(shape: &Shape) -> f64 {
    shape.axes.iter().map(inside_axis).product()
}

pub(super) fn inside_axis(axis: &Axis) -> f64 {
    // In floating point: an empty batch may be one of images as large as can be.
    let inside: f64 = (0..axis.kernel).map(|k| axis.windows(k).len() as f64).sum();
    inside / (axis.kernel as f64 * axis.output as f64)
}
