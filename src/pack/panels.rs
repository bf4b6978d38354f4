//! Channels as vectors: what an image, or the output's gradient, holds at one position in some channels, one position behind the other.

use crate::element::Element;
use crate::geometry::{Axis, Shape, gcd};
use crate::kernel::{Columns, KernelSet, Square};
use crate::pack::taps::TapBox;

/// How a part of an image lies in scratch, as vectors: `[depths][rows][columns]`. Of depths and rows only those that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panels {
    extents: [usize; 3],
    /// How far apart in the image those are that lie side by side here.
    lattice: [usize; 3],
    /// From a window, and from a tap, to the next, in those.
    window: [usize; 3],
    tap: [usize; 3],
}

impl Panels {
    /// Of what `rows` × `cols` windows read with `taps` taps. None where that many vectors do not fit an address.
    pub(crate) fn new(shape: &Shape, [rows, cols]: [usize; 2], taps: [usize; 3]) -> Option<Self> {
        let windows = [1, rows, cols];
        let (mut lattice, mut extents) = ([1; 3], [1; 3]);
        let (mut window, mut tap) = ([0; 3], [0; 3]);
        for axis in 0..3 {
            let of = |count: usize, step: usize| if count > 1 { step } else { 0 };
            let stride = of(windows[axis], shape.axes[axis].stride);
            let dilation = of(taps[axis], shape.axes[axis].dilation);
            // Columns are read as they lie.
            lattice[axis] = if axis < 2 { gcd(stride, dilation).max(1) } else { 1 };
            (window[axis], tap[axis]) = (stride / lattice[axis], dilation / lattice[axis]);
            let last = (windows[axis].max(1) - 1).checked_mul(window[axis])?;
            extents[axis] = (taps[axis] - 1).checked_mul(tap[axis])?.checked_add(last)?.checked_add(1)?;
        }
        let all = Self { extents, lattice, window, tap };
        extents.iter().try_fold(1_usize, |all, &extent| all.checked_mul(extent))?;
        Some(all)
    }

    /// Vectors of one piece.
    pub(crate) fn len(&self) -> usize {
        self.extents.iter().product()
    }

    /// Where, in vectors, the windows of a row begin.
    pub(crate) fn row(&self, row: usize) -> usize {
        row * self.window[1] * self.extents[2]
    }

    /// Where, in vectors, a tap reads for the first window.
    pub(crate) fn tap(&self, [d, h, w]: [usize; 3]) -> usize {
        ((d * self.tap[0]) * self.extents[1] + h * self.tap[1]) * self.extents[2] + w * self.tap[2]
    }

    /// From a tap to the next of its row, in vectors.
    pub(crate) fn tap_step(&self) -> usize {
        self.tap[2]
    }

    /// From a window to the next of its row, in vectors.
    pub(crate) fn step(&self) -> usize {
        self.window[2]
    }

    /// Writes what the windows from the output coordinates `at` on read with `taps` in the planes that lie at `channels` from `x` on, at most
    /// as many as lanes; zeros for padding.
    pub(crate) fn fill<T: Element>(
        &self,
        (shape, set): (&Shape, &KernelSet<T>),
        (taps, at): (&TapBox, [usize; 3]),
        (x, channels): (&[T], &[usize]),
        to: &mut [T],
    ) {
        let first = [0, 1, 2].map(|i| {
            let axis = &shape.axes[i];
            axis.origin(at[i]).wrapping_add((taps.start[i] * axis.dilation) as isize)
        });
        let [_, height, width] = self.extents;
        // Columns lie side by side, whatever the stride.
        let cols = Axis { stride: 1, ..shape.axes[2] }.inside(first[2], width);
        let rows = to.chunks_exact_mut(width * set.lanes).take(self.extents[0] * height);
        for (i, to) in rows.enumerate() {
            let place = |axis: usize, i: usize| {
                let at = first[axis].wrapping_add((i * self.lattice[axis]) as isize);
                usize::try_from(at).ok().filter(|&at| at < shape.axes[axis].input)
            };
            let Some((d, h)) = place(0, i / height).zip(place(1, i % height)) else {
                to.fill(T::ZERO);
                continue;
            };
            let (before, to) = to.split_at_mut(cols.start * set.lanes);
            let (inside, behind) = to.split_at_mut(cols.len() * set.lanes);
            before.fill(T::ZERO);
            behind.fill(T::ZERO);
            if !cols.is_empty() {
                let from = (d * shape.axes[1].input + h) * shape.axes[2].input;
                let col = first[2].wrapping_add(cols.start as isize) as usize;
                pack_vectors(set, (x, from + col), channels, cols.len(), shape.axes[2].input, inside);
            }
        }
    }
}

/// Writes `len` vectors: what lies from `first` on in the planes that begin at `channels` in `x`, zeros in the lanes behind those. `next` is how
/// far behind that lies what is read then.
pub(crate) fn pack_vectors<T: Element>(
    set: &KernelSet<T>,
    (x, first): (&[T], usize),
    channels: &[usize],
    len: usize,
    next: usize,
    to: &mut [T],
) {
    assert!(to.len() >= len * set.lanes && channels.len() <= set.lanes);
    assert!(channels.iter().all(|channel| channel + first + len <= x.len()));
    let square = Square {
        from: x[first..].as_ptr(),
        rows: channels,
        cols: len,
        next,
        count: 1,
        from_next: 0,
        to_next: 0,
        to: to.as_mut_ptr(),
        columns: Columns::Step(set.lanes),
        whole: true,
        add: false,
    };
    // SAFETY: the set's instruction set is available; the planes have so many elements behind the first, and there is room.
    unsafe { (set.square)(&square) };
}
