//! Consecutive positions as pieces of output rows.

use crate::geometry::Shape;

/// Positions of one output row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where in the tile it starts.
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Output coordinates of its first position.
    pub(crate) at: [usize; 3],
}

impl Segment {
    /// Where, in a channel plane, the first position's window starts. It may lie outside.
    pub(crate) fn origin(&self, shape: &Shape) -> isize {
        let strides = shape.in_strides();
        (0..3).fold(0, |sum: isize, a| {
            sum.wrapping_add(shape.axes[a].origin(self.at[a]).wrapping_mul(strides[a] as isize))
        })
    }

    /// Whether no window of it reads padding.
    pub(crate) fn interior(&self, shape: &Shape) -> bool {
        let [d, h, w] = self.at;
        shape.axes[0].interior(d, d)
            && shape.axes[1].interior(h, h)
            && shape.axes[2].interior(w, w + self.len - 1)
    }
}

/// The segments of `count` positions from `first` on.
#[derive(Clone)]
pub(crate) struct Segments {
    extents: [usize; 3],
    at: [usize; 3],
    start: usize,
    count: usize,
}

impl Segments {
    pub(crate) fn new(shape: &Shape, first: usize, count: usize) -> Self {
        let at = if count == 0 { [0; 3] } else { shape.position(first) };
        Self { extents: shape.axes.map(|a| a.output), at, start: 0, count }
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.start == self.count {
            return None;
        }
        let len = (self.extents[2] - self.at[2]).min(self.count - self.start);
        let segment = Segment { start: self.start, len, at: self.at };
        self.start += len;
        self.at[2] = 0;
        self.at[1] += 1;
        if self.at[1] == self.extents[1] {
            self.at[1] = 0;
            self.at[0] += 1;
        }
        Some(segment)
    }
}
