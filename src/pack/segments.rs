//! Consecutive positions as pieces of output rows.

use crate::geometry::Shape;
use crate::kernel::MAX_POSITIONS;

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
pub(crate) struct Segments {
    extents: [usize; 3],
    /// How far the origin moves with each coordinate.
    steps: [isize; 3],
    /// Origin of the window at coordinate 0.
    base: isize,
    at: [usize; 3],
    left: usize,
    tile: [Segment; MAX_POSITIONS],
}

impl Segments {
    /// Those of `count` positions from `first` on.
    pub(crate) fn new(shape: &Shape, first: usize, count: usize) -> Self {
        let at = if count == 0 { [0; 3] } else { shape.position(first) };
        let (mut steps, mut base) = ([0; 3], 0_isize);
        for (axis, stride) in shape.in_strides().into_iter().enumerate() {
            let a = &shape.axes[axis];
            steps[axis] = a.stride.wrapping_mul(stride) as isize;
            base = base.wrapping_sub(a.pad_begin.wrapping_mul(stride as isize));
        }
        let none = Segment { start: 0, len: 0, at: [0; 3], origin: 0 };
        let extents = shape.axes.map(|a| a.output);
        Self { extents, steps, base, at, left: count, tile: [none; MAX_POSITIONS] }
    }

    /// Those of the next tile, of at most `most` positions. Without a division, which would cost as much as the rest of a
    /// tile's set-up.
    pub(crate) fn next_tile(&mut self, most: usize) -> &[Segment] {
        let (mut start, mut count) = (0, 0);
        let most = most.min(self.left);
        while start < most {
            let len = (self.extents[2] - self.at[2]).min(most - start);
            let origin = (0..3).fold(self.base, |origin, axis| {
                origin.wrapping_add((self.at[axis] as isize).wrapping_mul(self.steps[axis]))
            });
            self.tile[count] = Segment { start, len, at: self.at, origin };
            count += 1;
            start += len;
            self.advance(len);
        }
        self.left -= most;
        &self.tile[..count]
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
}
