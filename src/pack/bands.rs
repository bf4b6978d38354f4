//! The virtual im2col matrix of a band of output rows, lowered along the width alone: rows of the image are copied with
//! their padding, once for each column of the kernel, and the kernel's rows read them at different heights (Cho and
//! Brand, "MEC: Memory-efficient Convolution for Deep Neural Network", 2017). Strided axes are split into phases.

use crate::element::Element;
use crate::geometry::{Axis, Shape};
use crate::kernel::{KernelSet, MOST_COPIES, Rows, RowsCopy};
use crate::pack::taps::TapBox;

/// The rectangle of output rows and columns that a band serves, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bands {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Rows follow each other without a gap, so that tiles go on from one to the next, and this many positions are served at most,
    /// from any on; every column of the kernel has a copy of its own then.
    pub(crate) joined: Option<usize>,
}

/// A rectangle of output positions in one output plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rectangle {
    /// Its first position's coordinates.
    pub(crate) at: [usize; 3],
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// How one axis of a band is lowered: `groups` copies of `extent` coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Spread {
    /// Taps a multiple of the stride apart share a copy, at different places; else each has its own.
    shared: bool,
    groups: usize,
    /// The windows, and how much further the last tap of a shared copy reads.
    extent: usize,
    further: usize,
}

impl Spread {
    /// For `taps` taps and `len` windows of `axis`; shared where that takes no more room, and `may_share`.
    fn new(axis: &Axis, taps: usize, len: usize, may_share: bool) -> Self {
        let phases = (0..taps.min(axis.stride)).map(|k| k.wrapping_mul(axis.dilation) % axis.stride);
        let groups = 1 + phases.max().unwrap_or(0);
        let further = (taps - 1) * axis.dilation / axis.stride;
        let extent = len.saturating_add(further);
        if may_share && groups as u128 * extent as u128 <= taps as u128 * len as u128 {
            return Self { shared: true, groups, extent, further };
        }
        Self { shared: false, groups: taps, extent: len, further: 0 }
    }

    /// Where tap `k`, counted in the block, reads: the copy, and the place of window 0 in it.
    fn place(&self, axis: &Axis, k: usize) -> [usize; 2] {
        let ahead = k * axis.dilation;
        if self.shared { [ahead % axis.stride, ahead / axis.stride] } else { [k, 0] }
    }

    /// How far behind the block's first tap a copy begins, in the image.
    fn ahead(&self, axis: &Axis, group: usize) -> usize {
        if self.shared { group } else { group * axis.dilation }
    }
}

/// How a channel of a band lies in scratch, for a box of taps: `[depth copies][row copies][column copies][rows][pitch]` and
/// slack for tiles that read on behind the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layout {
    spread: [Spread; 3],
    pub(crate) pitch: usize,
    pub(crate) channel: usize,
    slack: usize,
}

impl Layout {
    /// `narrow` is the width of the narrowest tile. None where that many elements do not fit an address.
    pub(crate) fn new(shape: &Shape, bands: Bands, taps: [usize; 3], narrow: usize) -> Option<Self> {
        let [depth, height, width] = &shape.axes;
        let depth = Spread::new(depth, taps[0], 1, false);
        let height = Spread::new(height, taps[1], bands.rows, true);
        let joined = bands.joined.is_some();
        let cols = if joined { bands.cols } else { bands.cols.checked_next_multiple_of(narrow)? };
        let width = Spread::new(width, taps[2], cols, !joined);
        let pitch = if joined { width.extent } else { width.extent.checked_next_multiple_of(narrow)? };
        let copies = depth.groups.checked_mul(height.groups)?.checked_mul(width.groups)?;
        // A tile that goes on behind the last row reads less than `narrow` there; zeros are written in whole vectors.
        let slack = if joined { narrow } else { 0 };
        let channel = copies.checked_mul(height.extent)?.checked_mul(pitch)?.checked_add(2 * slack)?;
        Some(Self { spread: [depth, height, width], pitch, channel, slack })
    }

    /// The most elements of a channel for any box of `taps` taps.
    pub(crate) fn bound(bands: Bands, taps: usize, narrow: usize) -> Option<usize> {
        // Shared copies are no longer than those of their taps, but for rounding up.
        let pitch = bands.cols.checked_next_multiple_of(narrow)?.checked_add(narrow)?;
        pitch.checked_mul(bands.rows)?.checked_mul(taps)?.checked_add(2 * narrow)
    }

    /// Elements of `channels` channels.
    pub(crate) fn len(&self, channels: usize) -> Option<usize> {
        self.channel.checked_mul(channels)
    }

    /// Copies of a row of the image.
    pub(crate) fn copies(&self) -> usize {
        self.spread[2].groups
    }

    /// How many runs of elements a tile of `positions` reads of a channel, and how long they are.
    pub(crate) fn runs(&self, positions: usize) -> [usize; 2] {
        let [depth, height, width] = &self.spread;
        let (copies, len) = (depth.groups * height.groups * width.groups, positions + width.further);
        // Rows that are shorter than a tile follow each other.
        if self.pitch < len {
            [copies, len + height.further * self.pitch]
        } else {
            [copies * (1 + height.further), len]
        }
    }

    /// Rows that a channel has in `bands` bands, which serve `rows` output rows together.
    pub(crate) fn rows(&self, rows: f64, bands: f64) -> f64 {
        let copies: usize = self.spread.iter().map(|spread| spread.groups).product();
        copies as f64 * (rows + bands * self.spread[1].further as f64)
    }

    /// Where tap `at` of the box reads for the first position, in a channel.
    fn offset(&self, shape: &Shape, at: [usize; 3]) -> usize {
        let [[d, _], [h, down], [w, right]] =
            [0, 1, 2].map(|axis| self.spread[axis].place(&shape.axes[axis], at[axis]));
        self.copy(d, h, w) + down * self.pitch + right
    }

    fn copy(&self, d: usize, h: usize, w: usize) -> usize {
        let [_, height, width] = &self.spread;
        ((d * height.groups + h) * width.groups + w) * height.extent * self.pitch
    }

    /// Writes, for each tap of `taps`, where it reads.
    pub(crate) fn fill_offsets(&self, shape: &Shape, taps: &TapBox, offsets: &mut [usize]) {
        debug_assert_eq!(offsets.len(), taps.count());
        for (i, offset) in offsets.iter_mut().enumerate() {
            *offset = self.offset(shape, taps.place(i));
        }
    }

    /// Copies what the windows of `rectangle` read with `taps` in `channels` channels from `x` on.
    pub(crate) fn fill<T: Element>(
        &self,
        (shape, set): (&Shape, &KernelSet<T>),
        (taps, channels): (&TapBox, usize),
        rectangle: Rectangle,
        x: *const T,
        band: &mut [T],
    ) {
        assert!(self.len(channels).is_some_and(|len| len <= band.len()));
        let [depth, height, width] = &shape.axes;
        let [depths, heights, widths] = &self.spread;
        let strides = shape.in_strides();
        let first = |axis: usize, group: usize| {
            let a = &shape.axes[axis];
            let ahead = taps.start[axis] * a.dilation + self.spread[axis].ahead(a, group);
            a.origin(rectangle.at[axis]).wrapping_add(ahead as isize)
        };
        let rows = rectangle.rows + heights.further;
        for d in 0..depths.groups {
            let at_depth = first(0, d);
            let inside = usize::try_from(at_depth).is_ok_and(|at| at < depth.input);
            for h in 0..heights.groups {
                let at_row = first(1, h);
                let within = if inside { height.inside(at_row, rows) } else { 0..0 };
                let row = at_row.wrapping_add((within.start.wrapping_mul(height.stride)) as isize);
                let origin = at_depth
                    .wrapping_mul(strides[0] as isize)
                    .wrapping_add(row.wrapping_mul(strides[1] as isize));
                let len = if widths.shared { self.pitch } else { rectangle.cols };
                let mut copies = [RowsCopy::default(); MOST_COPIES];
                for w in (0..widths.groups).step_by(MOST_COPIES) {
                    let count = MOST_COPIES.min(widths.groups - w);
                    for (i, copy) in copies[..count].iter_mut().enumerate() {
                        let ahead = first(2, w + i);
                        let inside = width.inside(ahead, len);
                        *copy = RowsCopy { ahead, inside: [inside.start, inside.end] };
                    }
                    let source = Rows {
                        copies: &copies[..count],
                        copy: self.copy(0, 0, 1),
                        x: x.wrapping_offset(origin),
                        x_row: height.stride.wrapping_mul(strides[1]),
                        x_channel: shape.in_plane(),
                        channels,
                        stride: width.stride,
                        len,
                        above: within.start,
                        rows: within.len(),
                        below: rows - within.end,
                        pitch: self.pitch,
                        channel: self.channel,
                        slack: self.slack,
                    };
                    let to = band[self.copy(d, h, w)..].as_mut_ptr();
                    // SAFETY: the set's instruction set is available. `within` and `inside` are the rows and columns that
                    // lie inside the image. Each channel of the band has room for the copies and the slack.
                    unsafe { (set.rows)(&source, to) };
                }
            }
        }
    }
}
