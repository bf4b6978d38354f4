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
    /// Where, in a channel plane, the first position's window starts. It may lie outside.
    pub(crate) origin: isize,
}

impl Segment {
    /// Whether no window of it reads padding.
    pub(crate) fn interior(&self, shape: &Shape) -> bool {
        let [d, h, w] = self.at;
        shape.axes[0].interior(d, d)
            && shape.axes[1].interior(h, h)
            && shape.axes[2].interior(w, w + self.len - 1)
    }
}

/// Consecutive positions, cut into segments where a row ends.
#[derive(Clone)]
pub(crate) struct Segments {
    extents: [usize; 3],
    /// How far the origin moves with each coordinate, and where it starts.
    steps: [isize; 3],
    base: isize,
    at: [usize; 3],
    start: usize,
    count: usize,
}

impl Segments {
    /// The segments of `count` positions from `first` on.
    pub(crate) fn new(shape: &Shape, first: usize, count: usize) -> Self {
        let at = if count == 0 { [0; 3] } else { shape.position(first) };
        let (mut steps, mut base) = ([0; 3], 0_isize);
        for (axis, stride) in shape.in_strides().into_iter().enumerate() {
            let a = &shape.axes[axis];
            steps[axis] = a.stride.wrapping_mul(stride) as isize;
            base = base.wrapping_sub(a.pad_begin.wrapping_mul(stride as isize));
        }
        Self { extents: shape.axes.map(|a| a.output), steps, base, at, start: 0, count }
    }

    /// Takes the next tile of at most `most` positions. Without a division, which would cost as much as the
    /// rest of a tile's set-up.
    pub(crate) fn next_tile(&mut self, most: usize) -> Self {
        let tile = Self { start: 0, count: most.min(self.count), ..self.clone() };
        self.count -= tile.count;
        for segment in tile.clone() {
            self.advance(segment.len);
        }
        tile
    }

    /// Moves on by `len` positions, at most to the end of the row.
    fn advance(&mut self, len: usize) {
        self.at[2] += len;
        for axis in [2, 1] {
            if self.at[axis] == self.extents[axis] {
                self.at[axis] = 0;
                self.at[axis - 1] += 1;
            }
        }
    }

    /// The number of positions.
    pub(crate) fn positions(&self) -> usize {
        self.count - self.start
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if self.start == self.count {
            return None;
        }
        let len = (self.extents[2] - self.at[2]).min(self.count - self.start);
        let origin = (0..3).fold(self.base, |origin, axis| {
            origin.wrapping_add((self.at[axis] as isize).wrapping_mul(self.steps[axis]))
        });
        let segment = Segment { start: self.start, len, at: self.at, origin };
        self.start += len;
        self.advance(len);
        Some(segment)
    }
}
