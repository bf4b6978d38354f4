//! How large the bands are that tiles with positions in the lanes read.

use super::tuning::Tuning;
use crate::caches::{Caches, LINE};
use crate::gemm::blocking::Limits;
use crate::geometry::Shape;
use crate::machine::{Pace, other, pace};
use crate::pack::bands::{Bands, Layout};

/// Strips to be tried, as tiles and rows: large ones read fewer rows and columns twice.
const STRIPS: [(usize, usize); 7] = [(8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (2, 1), (1, 1)];

/// Into how many bands of whole rows the output is cut, to be tried.
const CUTS: [usize; 10] = [1, 2, 3, 4, 6, 8, 12, 16, 32, usize::MAX];

/// What a narrow tile takes for each position, where it stands beside wider ones. Measured: AVX2's 8×8 against 4×24.
const NARROW: f64 = 1.3;

/// Loading and storing the sums of a vector where k goes on in another block, in multiply-adds; those of less than 512 bits, of which two
/// are done in a cycle, where half of L2 does not hold the output, and where 8 MiB do not. Measured with AVX2: 1×1 256→64 56² in two
/// blocks takes 6 % longer than in one, 512→512 3 stride 2 of 8 000 in six 8 %.
const RESUMED: f64 = 8.0;
const RESUMED_BEYOND: f64 = 20.0;
const RESUMED_FAR: f64 = 30.0;
pub(super) const FAR: usize = 8 << 20;

fn resumed(shape: &Shape, widths: Widths) -> f64 {
    let output = shape.out_plane().saturating_mul(shape.out_channels).saturating_mul(widths.size);
    match pace(widths.lanes * widths.size) {
        Pace::Short if output > FAR => RESUMED_FAR,
        Pace::Short if output > Caches::here().l2 / 2 => RESUMED_BEYOND,
        _ => RESUMED,
    }
}

/// Copying a vector of a row, each pair of the vectors that those of a stride are picked from, and an element where there is no shuffle
/// for it; beginning a row. In multiply-adds; measured with k = 27 and 147.
const COPIED_VECTOR: f64 = 2.0;
const COPIED_STRIDE: f64 = 1.0;
const COPIED_ELEMENT: f64 = 2.0;
const COPIED_ROW: f64 = 6.0;

/// Strides at which multiply-adds of less than 512 bits were counted: 3→32 3×3 s2 90 GFLOP/s from copied rows, 60 in place. Elsewhere two of
/// them are done in the time of one.
const MEASURED_STRIDES: usize = 4;

/// What the elements of a vector take besides, with those between them, the first time that they are copied, where L2 does not hold the
/// input. Measured on 1×1 s2: 384→80 75² 178 GFLOP/s through bands, 214 in place; 768→40 112² 63 and 117.
const COPIED_BEYOND: f64 = 8.0;

/// What is known of a family of tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Widths {
    /// Positions of its tiles, and of the narrowest that there are.
    pub(super) wide: usize,
    pub(super) narrow: usize,
    /// Whether they are direct tiles: these need all of k in a band, and its rows apart.
    pub(super) strips: bool,
    pub(super) lanes: usize,
    /// The largest stride at which rows are copied by shuffles.
    pub(super) shuffled: usize,
    /// Bytes of an element.
    pub(super) size: usize,
}

impl Widths {
    /// What tiles over a line of `len` positions take, in vectors of the wide ones.
    fn vectors(self, len: usize) -> f64 {
        let whole = len / self.wide * self.wide;
        let factor = if self.narrow < self.wide { NARROW } else { 1.0 };
        let rest = (len - whole).div_ceil(self.narrow) * self.narrow;
        (whole as f64 + factor * rest as f64) / self.lanes as f64
    }

    /// What a tile reads of a channel of an image that is its own im2col matrix.
    fn bytes_in_place(self) -> usize {
        self.wide * self.size
    }
}

/// Bands and what they bring about for one group of one image.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Choice {
    /// None where the image is read in place.
    pub(super) bands: Option<Bands>,
    /// Vectors of positions that are computed, narrow ones counted as what they take.
    pub(super) vectors: f64,
    /// Blocks of k, and their channels.
    pub(super) blocks: f64,
    pub(super) channels: usize,
    /// Going on in them with a vector of sums.
    pub(super) resuming: f64,
    /// Copying rows.
    pub(super) copying: f64,
    /// How much longer tiles take than if L1 held what each reads.
    pub(super) reading: f64,
    /// Positions behind those, for which there is no tile that reads in place.
    pub(super) last: usize,
}

impl Choice {
    fn new(shape: &Shape, bands: Bands, widths: Widths) -> Self {
        let [depth, height, width] = shape.axes.map(|axis| axis.output);
        // Lines of positions, cut into pieces.
        let (lines, len, piece) = match bands.joined {
            Some(most) => (depth, height.saturating_mul(width), most),
            None => (depth.saturating_mul(height), width, bands.cols),
        };
        let line = (len / piece) as f64 * widths.vectors(piece) + widths.vectors(len % piece);
        let layout = layout(shape, bands, widths);
        let most = Caches::here().band() / bytes_of(layout.as_ref(), widths);
        let runs = layout.map_or([1, widths.wide], |layout| layout.runs(widths.wide));
        let all = Self {
            bands: Some(bands),
            vectors: lines as f64 * line,
            copying: copying(shape, bands, layout.as_ref(), widths),
            ..Self::default()
        };
        all.in_blocks(shape, most, runs, widths)
    }

    /// Where the image is its own im2col matrix.
    fn in_place(shape: &Shape, widths: Widths) -> Self {
        let last = shape.out_plane() % widths.wide % widths.narrow;
        let all = Self { vectors: widths.vectors(shape.out_plane() - last), last, ..Self::default() };
        all.in_blocks(shape, Caches::here().band() / widths.bytes_in_place(), [1, widths.wide], widths)
    }

    /// The same in blocks of at most `most` channels, or of as many as L1 holds of what a tile reads, `runs` of each.
    fn in_blocks(self, shape: &Shape, most: usize, runs: [usize; 2], widths: Widths) -> Self {
        let read = Read::new(shape, runs, widths);
        let of = |channels: usize| {
            let blocks = shape.in_channels.div_ceil(channels.clamp(1, shape.in_channels));
            let channels = shape.in_channels.div_ceil(blocks);
            let resuming = resumed(shape, widths) * (blocks - 1) as f64;
            let reading = read.time(shape, channels, widths);
            Self { channels, blocks: blocks as f64, resuming, reading, ..self }
        };
        [of(most), of(most.min(read.resident()))]
            .into_iter()
            .min_by(|a, b| a.cost(shape).total_cmp(&b.cost(shape)))
            .expect("there are two")
    }

    /// Everything but what is the same for all bands.
    fn cost(&self, shape: &Shape) -> f64 {
        let sums = self.vectors * shape.out_channels as f64;
        sums * (shape.k() as f64 * self.reading + self.resuming) + self.copying
    }
}

/// The share of L1 that holds image values, and how much longer tiles take that read them again from beyond, where a multiply-add of 512
/// bits is done in a cycle, and where two are. Measured with one on 512→128 1×1 28²: 8×16 reaches 118 GFLOP/s, 8×48 117.
const L1_VALUES: f64 = 0.94;
const NARROW_L2_VALUES: f64 = 1.015;
const WIDE_L2_VALUES: f64 = 1.02;

/// With shorter vectors: for the lines that are not asked for, and what a tap asks for. Measured with AVX2's 4×24 on 256→256 3×3
/// 56²: from joined rows 96 GFLOP/s, in blocks of 144 terms 105, from rows apart, whose taps read the same lines, 107; on 14², where the
/// kernel's rows do, 108 and 105.
const UNASKED: f64 = 0.26;
const ASKED: f64 = 1.5;
/// Rows of such tiles: the first of them read from beyond L1 in any case.
const ROWS: f64 = 4.0;

/// Image values that a tile reads of a channel.
#[derive(Debug, Clone, Copy)]
struct Read {
    taps: usize,
    lines: usize,
}

impl Read {
    fn new(shape: &Shape, [runs, len]: [usize; 2], widths: Widths) -> Self {
        // A run begins anywhere in a line.
        let lines = runs.saturating_mul(len.saturating_mul(widths.size).div_ceil(LINE));
        Self { taps: shape.taps(), lines: lines.saturating_add(runs / 2) }
    }

    /// Channels whose values stay in L1.
    fn resident(self) -> usize {
        (L1_VALUES * Caches::here().l1 as f64) as usize / self.lines.saturating_mul(LINE)
    }

    /// How much longer tiles take in blocks of `channels` channels than if what each reads stayed in L1.
    fn time(self, shape: &Shape, channels: usize, widths: Widths) -> f64 {
        let values = shape.k() as f64 * widths.bytes_in_place() as f64;
        let held = values <= L1_VALUES * Caches::here().l1 as f64;
        match pace(widths.lanes * widths.size) {
            Pace::Short => {
                let unasked = (1.0 - ASKED * self.taps as f64 / self.lines as f64).max(0.0);
                let resident = channels <= self.resident();
                let share = if resident { (ROWS / shape.out_channels as f64).min(1.0) } else { 1.0 };
                1.0 + UNASKED * unasked * share
            }
            Pace::One | Pace::Two if held => 1.0,
            Pace::One => NARROW_L2_VALUES,
            Pace::Two => WIDE_L2_VALUES,
        }
    }
}

/// How a channel lies in a band, with all of the kernel; none where that many elements do not fit an address.
fn layout(shape: &Shape, bands: Bands, widths: Widths) -> Option<Layout> {
    Layout::new(shape, bands, shape.kernel(), widths.narrow)
}

/// Bytes that a channel takes.
fn bytes(shape: &Shape, bands: Bands, widths: Widths) -> usize {
    bytes_of(layout(shape, bands, widths).as_ref(), widths)
}

fn bytes_of(layout: Option<&Layout>, widths: Widths) -> usize {
    layout.and_then(|layout| layout.channel.checked_mul(widths.size)).unwrap_or(usize::MAX)
}

/// What copying all bands of an image takes.
fn copying(shape: &Shape, bands: Bands, layout: Option<&Layout>, widths: Widths) -> f64 {
    let Some(layout) = layout else { return f64::INFINITY };
    let [depth, height, width] = shape.axes.map(|axis| axis.output as f64);
    let rows = match bands.joined {
        Some(most) => {
            let count = (height * width / most as f64).ceil();
            let twice = if most.is_multiple_of(bands.cols) { 0.0 } else { count - 1.0 };
            layout.rows(height + twice, count)
        }
        None => (width / bands.cols as f64).ceil() * layout.rows(height, (height / bands.rows as f64).ceil()),
    };
    let stride = shape.axes[2].stride;
    let vector = match stride {
        1 => COPIED_VECTOR,
        _ if stride <= widths.shuffled => COPIED_VECTOR + COPIED_STRIDE * (stride * (stride - 1) / 2) as f64,
        _ => COPIED_VECTOR + COPIED_ELEMENT * widths.lanes as f64,
    };
    let beyond = shape.input_len().saturating_mul(widths.size) > Caches::here().l2;
    let fetched = if beyond { COPIED_BEYOND * stride as f64 / layout.copies() as f64 } else { 0.0 };
    let row = COPIED_ROW + (vector + fetched) * (layout.pitch as f64 / widths.lanes as f64).ceil();
    let bytes = widths.lanes * widths.size;
    let measured = pace(bytes) != Pace::Short || (2..=MEASURED_STRIDES).contains(&stride);
    let short = if measured { 1.0 } else { 2.0 };
    short * other(bytes) * depth * shape.in_channels as f64 * rows * row
}

/// Whether a band of a row, or of a part of it, holds all of k.
pub(super) fn fits_whole(shape: &Shape, widths: Widths) -> bool {
    fits(shape, smallest(shape, widths), widths)
}

fn fits(shape: &Shape, bands: Bands, widths: Widths) -> bool {
    let channels = if widths.strips { shape.in_channels } else { 1 };
    bytes(shape, bands, widths).saturating_mul(channels) <= Caches::here().band()
}

fn smallest(shape: &Shape, widths: Widths) -> Bands {
    Bands { rows: 1, cols: widths.wide.min(shape.axes[2].output.max(1)), joined: None }
}

/// Output planes that have channels of their own, for which a band of direct tiles is made at a time: as many as have their rows in
/// half of L1.
pub(super) fn planes(shape: &Shape, bands: Bands, widths: Widths) -> usize {
    if shape.out_channels > 1 {
        return 1;
    }
    let all = bytes(shape, bands, widths).saturating_mul(shape.in_channels);
    (Caches::here().l1 / 2 / all).clamp(1, shape.groups)
}

/// The bands for tiles of `widths` that cost least, or those that `tuning` forces, if they fit.
pub(super) fn choose(shape: &Shape, widths: Widths, in_place: bool, tuning: Tuning) -> Choice {
    let [_, height, width] = shape.axes.map(|axis| axis.output.max(1));
    if in_place {
        return Choice::in_place(shape, widths);
    }
    let choice = |bands| Choice::new(shape, bands, widths);
    let fits = |bands: &Bands| fits(shape, *bands, widths);
    let joined = !widths.strips;
    let of_rows =
        |rows: usize| Bands { rows, cols: width, joined: joined.then_some(rows.saturating_mul(width)) };
    // They begin anywhere in a row.
    let of_positions = |most: usize| {
        let rows = ((most - 1).saturating_add(width - 1) / width + 1).min(height);
        Bands { rows, cols: width, joined: Some(most) }
    };
    let positions = tuning.positions.filter(|_| joined);
    let positions = positions.map(|most| of_positions(most.clamp(1, height.saturating_mul(width))));
    let band = tuning.band.map(|[rows, cols]| match [rows.clamp(1, height), cols.clamp(1, width)] {
        [rows, cols] if cols == width => of_rows(rows),
        [rows, cols] => Bands { rows, cols, joined: None },
    });
    if let Some(bands) = positions.or(band).filter(fits) {
        return choice(bands);
    }
    let rows = CUTS.into_iter().map(|cuts| height.div_ceil(cuts));
    let whole = rows.flat_map(|rows| {
        let positions = rows.saturating_mul(width);
        let tiles = positions / widths.wide * widths.wide;
        let in_tiles = (joined && 0 < tiles && tiles < positions).then(|| of_positions(tiles));
        [of_rows(rows)].into_iter().chain(in_tiles)
    });
    let strips = STRIPS.into_iter().map(|(tiles, rows)| Bands {
        rows: rows.min(height),
        cols: (tiles * widths.wide).min(width),
        joined: None,
    });
    // Where not even a channel of the smallest fits, its taps are cut into blocks.
    let smallest = smallest(shape, widths);
    whole
        .chain(strips)
        .filter(fits)
        .map(choice)
        .min_by(|a, b| a.cost(shape).total_cmp(&b.cost(shape)))
        .unwrap_or_else(|| choice(smallest))
}

/// What bounds a block of k.
pub(super) fn limits(shape: &Shape, choice: &Choice, widths: Widths) -> Limits {
    let limits = match choice.bands {
        None => Limits::bands(1, widths.bytes_in_place(), widths.bytes_in_place()),
        Some(bands) => {
            let bytes_per_tap =
                Layout::bound(bands, 1, widths.narrow).map_or(usize::MAX, |len| len * widths.size);
            Limits::bands(shape.taps(), bytes(shape, bands, widths), bytes_per_tap)
        }
    };
    Limits { channels: limits.channels.min(choice.channels), ..limits }
}

/// Elements of a band for `channels` channels and `taps`.
pub(super) fn len(shape: &Shape, bands: Bands, widths: Widths, channels: usize, taps: [usize; 3]) -> usize {
    if taps == shape.kernel() {
        layout(shape, bands, widths).and_then(|layout| layout.len(channels))
    } else {
        Layout::bound(bands, taps.iter().product(), widths.narrow)
    }
    .expect("a band that fits in the cache")
}
