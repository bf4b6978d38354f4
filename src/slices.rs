//! The order in which the gradients of weights and bias are summed over images and positions: a function of the shape alone.
//!
//! The positions of each image are cut into *chunks*: rows of one plane of the output, as many as make about [`CHUNK`] positions,
//! or parts of a row that is longer. In a chunk, lane `l` of [`LANES`] sums the positions `l`, `l + LANES`, …, counted from the
//! chunk's first, in ascending order; [`join_lanes`] adds the lanes up. All chunks of all images, in ascending order, are dealt out to
//! [`SLICES`] *slices* in equal shares; a slice adds its chunks up in ascending order, and [`join_slices`] adds the slices up.
//!
//! Vectors of any width hold the lanes, and threads can share slices, without a change to any sum.

use std::ops::Range;

use crate::element::Element;
use crate::geometry::Shape;

/// Sums that are kept apart until a chunk ends.
pub(crate) const LANES: usize = 16;

/// Positions of a chunk, about.
const CHUNK: usize = 1024;

/// Sums of chunks that are kept apart until the end.
pub(crate) const SLICES: usize = 8;

/// The order of the sums for a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slices {
    images: usize,
    /// Output planes, and the rows and columns of each.
    extents: [usize; 3],
    /// Rows and columns of a chunk, at most.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Slices {
    pub(crate) fn new(shape: &Shape) -> Self {
        let extents = shape.axes.map(|axis| axis.output);
        let [_, height, width] = extents;
        let pieces = |len: usize, most: usize| len.div_ceil(len.div_ceil(most));
        let (rows, cols) =
            if width > CHUNK { (1, pieces(width, CHUNK)) } else { (pieces(height, CHUNK / width), width) };
        Self { images: shape.batch, extents, rows, cols }
    }

    /// Chunks along (images, depths, rows, columns).
    fn grid(&self) -> [usize; 4] {
        let [depth, height, width] = self.extents;
        [self.images, depth, height.div_ceil(self.rows), width.div_ceil(self.cols)]
    }

    /// The chunks of slice `slice`.
    pub(crate) fn chunks(&self, slice: usize) -> impl Iterator<Item = Chunk> + use<> {
        let (this, grid) = (*self, self.grid());
        // Less than 2⁶⁰, for each has an element of the output.
        let count: usize = grid.iter().product();
        (count * slice / SLICES..count * (slice + 1) / SLICES).map(move |mut index| {
            let mut at = [0; 4];
            for (at, count) in at.iter_mut().zip(grid).rev() {
                *at = index % count;
                index /= count;
            }
            let [image, depth, row, col] = at;
            let [_, height, width] = this.extents;
            let (row, col) = (row * this.rows, col * this.cols);
            Chunk {
                image,
                at: [depth, row, col],
                rows: this.rows.min(height - row),
                cols: this.cols.min(width - col),
                position: (depth * height + row) * width + col,
            }
        })
    }

    /// The sum over everything, where `add` adds what an image has at some positions to the lanes.
    pub(crate) fn sum<T: Element>(&self, mut add: impl FnMut(usize, Range<usize>, &mut [T; LANES])) -> T {
        let mut slices = [T::ZERO; SLICES];
        for (slice, sum) in slices.iter_mut().enumerate() {
            for chunk in self.chunks(slice) {
                let mut lanes = [T::ZERO; LANES];
                add(chunk.image, chunk.positions(), &mut lanes);
                *sum = sum.plus(join_lanes(lanes));
            }
        }
        join_slices(slices)
    }
}

/// Consecutive positions of an output plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) image: usize,
    /// Depth, row and column of the first position.
    pub(crate) at: [usize; 3],
    pub(crate) rows: usize,
    /// All columns, if there is more than a row.
    pub(crate) cols: usize,
    /// The first position.
    pub(crate) position: usize,
}

impl Chunk {
    pub(crate) fn positions(&self) -> Range<usize> {
        self.position..self.position + self.rows * self.cols
    }
}

/// Adds up lanes that are 8, then 4, 2 and 1 apart.
pub(crate) fn join_lanes<T: Element>(lanes: [T; LANES]) -> T {
    join(lanes)
}

/// Adds up slices that are 4, then 2 and 1 apart.
pub(crate) fn join_slices<T: Element>(slices: [T; SLICES]) -> T {
    join(slices)
}

fn join<T: Element, const N: usize>(mut sums: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] = sums[i].plus(sums[i + half]);
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Params;

    #[test]
    fn chunks_cover_every_position_once_in_order() {
        for (batch, extent) in [
            (1, [1, 1, 1]),
            (3, [1, 7, 7]),
            (2, [2, 56, 56]),
            (1, [1, 1, 5000]),
            (9, [3, 40, 1025]),
            (0, [1, 2, 3]),
        ] {
            let shape = Params::<3>::new(1, 1, [1; 3]).geometry(batch, extent).unwrap().shape;
            let plane = shape.out_plane();
            let slices = Slices::new(&shape);
            let positions = (0..SLICES).flat_map(|slice| slices.chunks(slice)).flat_map(|chunk| {
                assert!(chunk.positions().len() <= CHUNK && (chunk.rows == 1 || chunk.cols == extent[2]));
                chunk.positions().map(move |position| chunk.image * plane + position)
            });
            assert!(positions.eq(0..batch * plane), "{batch} {extent:?}");
        }
    }

    #[test]
    fn joining_is_a_tree() {
        // Sums that a rounding of the wrong pair would lose.
        let big = f32::from_bits(0x4b80_0000);
        assert_eq!(join([big, 1.0, -big, 1.0]), 2.0);
        assert_eq!(join_lanes::<f64>(std::array::from_fn(|i| i as f64)), 120.0);
    }
}
