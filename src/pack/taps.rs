//! Tables for channels-in-lanes tiles: which taps a tile needs, and at which positions.

use std::ops::Range;

use crate::geometry::Shape;
use crate::kernel::Tap;
use crate::pack::segments::Segment;

/// Taps of a kernel that are consecutive and form a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TapBox {
    pub(crate) start: [usize; 3],
    pub(crate) len: [usize; 3],
}

impl TapBox {
    /// `kernel` cut into boxes of at most `most`: whole on all axes but one, and 1 on those before it.
    pub(crate) fn all(kernel: [usize; 3], most: [usize; 3]) -> impl Iterator<Item = Self> {
        let starts = move |axis: usize| (0..kernel[axis]).step_by(most[axis]);
        starts(0).flat_map(move |d| starts(1).flat_map(move |h| starts(2).map(move |w| [d, h, w]))).map(
            move |start| {
                let len = std::array::from_fn(|axis| most[axis].min(kernel[axis] - start[axis]));
                Self { start, len }
            },
        )
    }

    pub(crate) fn count(&self) -> usize {
        self.len.iter().product()
    }

    /// Where in the box its `i`-th tap is.
    pub(crate) fn place(&self, i: usize) -> [usize; 3] {
        let [_, height, width] = self.len;
        [i / (height * width), i / width % height, i % width]
    }

    /// Their indices in the kernel.
    pub(crate) fn range(&self, [_, height, width]: [usize; 3]) -> Range<usize> {
        let [d, h, w] = self.start;
        let first = (d * height + h) * width + w;
        first..first + self.count()
    }

    /// Whether the last tap of `kernel` is in it.
    pub(crate) fn is_last(&self, kernel: [usize; 3]) -> bool {
        (0..3).all(|axis| self.start[axis] + self.len[axis] == kernel[axis])
    }
}

/// One tap of the kernel plane: where it reads, and which windows read inside the image with it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct TapWindow {
    /// Relative to a window's origin.
    pub(crate) x: isize,
    /// First and last + 1 output coordinate on each axis.
    windows: [[usize; 2]; 3],
}

impl TapWindow {
    /// The positions of `segment`, counted in the tile, at which this tap reads inside the image.
    pub(crate) fn positions(&self, segment: &Segment) -> Range<usize> {
        let [d, h, w] = segment.at;
        let inside = |axis: usize, at: usize| self.windows[axis][0] <= at && at < self.windows[axis][1];
        if !inside(0, d) || !inside(1, h) {
            return 0..0;
        }
        let [first, end] = self.windows[2].map(|at| segment.start + at.clamp(w, w + segment.len) - w);
        first..end
    }
}

/// Fills `table` with `taps` of the kernel plane.
pub(crate) fn fill_windows(shape: &Shape, taps: Range<usize>, table: &mut [TapWindow]) {
    debug_assert_eq!(taps.len(), table.len());
    let strides = shape.in_strides();
    let [_, height, width] = shape.kernel();
    let mut at = shape.tap(taps.start);
    for entry in table {
        let x = (0..3).fold(0, |sum: isize, a| {
            let step = (at[a] * shape.axes[a].dilation) as isize;
            sum.wrapping_add(step.wrapping_mul(strides[a] as isize))
        });
        let windows = std::array::from_fn(|a| {
            let range = shape.axes[a].windows(at[a]);
            [range.start, range.end]
        });
        *entry = TapWindow { x, windows };
        at[2] += 1;
        if at[2] == width {
            at = if at[1] + 1 == height { [at[0] + 1, 0, 0] } else { [at[0], at[1] + 1, 0] };
        }
    }
}

/// What lies between the places of two taps, or a first tap's place: in the image, from the window's origin, and in the weights, from the
/// block's first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leap {
    pub(crate) x: isize,
    pub(crate) w: usize,
}

/// The taps of a channel that a tile needs.
#[derive(Clone, Copy)]
pub(crate) struct Taps<'a> {
    pub(crate) first: Leap,
    pub(crate) taps: &'a [Tap],
}

impl<'a> Taps<'a> {
    /// `taps`, which hold places and get steps in their stead; `channel` is from a channel to the next.
    fn new(taps: &'a mut [Tap], channel: Leap) -> Self {
        let place = |tap: &Tap| Leap { x: tap.x, w: tap.w };
        let first = taps.first().map_or_else(Leap::default, place);
        for i in 0..taps.len() {
            let next = match taps.get(i + 1) {
                Some(next) => place(next),
                None => Leap { x: first.x.wrapping_add(channel.x), w: first.w.wrapping_add(channel.w) },
            };
            taps[i].x = next.x.wrapping_sub(taps[i].x);
            taps[i].w = next.w.wrapping_sub(taps[i].w);
        }
        Self { first, taps }
    }

    /// Those of `windows` at which a position of `segments` reads the image. `lanes` weights lie at a tap.
    pub(crate) fn some(
        windows: &[TapWindow],
        segments: &[Segment],
        lanes: usize,
        channel: Leap,
        taps: &'a mut [Tap],
    ) -> Self {
        let mut count = 0;
        for (i, window) in windows.iter().enumerate() {
            let mask = segments.iter().fold(0_u64, |mask, segment| {
                let positions = window.positions(segment);
                mask | ((1 << positions.end) - (1 << positions.start))
            });
            if mask != 0 {
                taps[count] = Tap { x: window.x, w: i * lanes, mask };
                count += 1;
            }
        }
        Self::new(&mut taps[..count], channel)
    }

    /// All of `windows`, for a tile of `positions` that reads no padding.
    pub(crate) fn all(
        windows: &[TapWindow],
        positions: usize,
        lanes: usize,
        channel: Leap,
        taps: &'a mut [Tap],
    ) -> Self {
        for (i, (window, tap)) in windows.iter().zip(&mut *taps).enumerate() {
            *tap = Tap { x: window.x, w: i * lanes, mask: (1 << positions) - 1 };
        }
        Self::new(taps, channel)
    }
}
