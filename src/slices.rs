//! The order in which the gradients of weights and bias are summed over images and positions: a function of the shape alone.
//!
//! The positions of each image are cut into *pieces*: rows of one plane of the output, as many as make about [`CHUNK`] positions,
//! or parts of a row that is longer. Consecutive pieces that together have no more positions are a *chunk*. Each chunk is summed by
//! itself: for a weight by one chain of fused multiply-adds over its positions, for the bias by [`LANES`] sums, of which `l` has the
//! positions `l`, `l + LANES`, … of each piece, added up as a tree. All chunks of all images, in ascending order, are dealt out to
//! [`SLICES`] *slices* in equal shares; a slice adds its chunks up in ascending order; then the slices are added up as a tree, see
//! [`join`].
//!
//! Channels are what vectors of any width hold, and threads can share slices, without a change to any sum.

use std::ops::Range;

use crate::element::Element;
use crate::geometry::{Shape, gcd};

/// Sums of the bias that are kept apart until a chunk ends.
pub(crate) const LANES: usize = 16;

/// Positions of a chunk, about: what a tile of the weight gradient reads for them stays in L1.
const CHUNK: usize = 512;

/// Sums of chunks that are kept apart until the end.
pub(crate) const SLICES: usize = 8;

/// The order of the sums for a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slices {
    images: usize,
    /// Output planes, and the rows and columns of each.
    pub(crate) extents: [usize; 3],
    /// Rows and columns of a piece, and pieces of a chunk, at most.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) pieces: usize,
}

impl Slices {
    pub(crate) fn new(shape: &Shape) -> Self {
        let extents = shape.axes.map(|axis| axis.output);
        let [depth, height, width] = extents;
        // Equal shares rather than full ones and a rest.
        let share = |len: usize, most: usize| len.div_ceil(len.div_ceil(most).max(1));
        let (rows, cols) =
            if width > CHUNK { (1, share(width, CHUNK)) } else { (share(height, CHUNK / width), width) };
        let planes = shape.batch.saturating_mul(depth);
        let pieces = if rows < height || cols < width { 1 } else { share(planes, CHUNK / (rows * cols)) };
        Self { images: shape.batch, extents, rows, cols, pieces }
    }

    /// The same chunks where each plane is one row, or several planes are if no chunk ends between them. None where pieces are parts of
    /// rows, which need not begin at equal distances.
    pub(crate) fn as_rows(self) -> Option<Self> {
        let [depth, height, width] = self.extents;
        if self.cols < width {
            return None;
        }
        let planes = gcd(self.pieces.max(1), depth);
        Some(Self {
            extents: [depth / planes, 1, planes * height * width],
            rows: 1,
            cols: planes * self.rows * width,
            pieces: self.pieces / planes,
            ..self
        })
    }

    /// Pieces along (images, depths, rows, columns).
    fn grid(&self) -> [usize; 4] {
        let [depth, height, width] = self.extents;
        [self.images, depth, height.div_ceil(self.rows), width.div_ceil(self.cols)]
    }

    /// Slices that have chunks, and at least one.
    pub(crate) fn used(&self) -> usize {
        self.count().div_ceil(self.pieces.max(1)).clamp(1, SLICES)
    }

    /// Pieces of all images: fewer than 2⁶⁰, for each has an element of the output.
    fn count(&self) -> usize {
        self.grid().iter().product()
    }

    /// Whether all pieces are one chunk.
    pub(crate) fn is_one_chunk(&self) -> bool {
        (1..=self.pieces).contains(&self.count())
    }

    /// The chunks of slice `slice`, each as a range of pieces.
    pub(crate) fn chunks(&self, slice: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (count, each) = (self.count(), self.pieces.max(1));
        let chunks = count.div_ceil(each);
        (chunks * slice / SLICES..chunks * (slice + 1) / SLICES)
            .map(move |chunk| chunk * each..count.min((chunk + 1) * each))
    }

    /// The piece with that number.
    pub(crate) fn piece(&self, mut index: usize) -> Piece {
        let mut at = [0; 4];
        for (at, count) in at.iter_mut().zip(self.grid()).rev() {
            *at = index % count;
            index /= count;
        }
        let [image, depth, row, col] = at;
        let [_, height, width] = self.extents;
        let (row, col) = (row * self.rows, col * self.cols);
        Piece {
            image,
            at: [depth, row, col],
            rows: self.rows.min(height - row),
            cols: self.cols.min(width - col),
            position: (depth * height + row) * width + col,
        }
    }

    /// The sum over everything, where `of_chunk` gives that of the pieces of a chunk.
    pub(crate) fn sum<T: Element>(&self, mut of_chunk: impl FnMut(Range<usize>) -> T) -> T {
        join(std::array::from_fn::<T, SLICES, _>(|slice| {
            self.chunks(slice).fold(T::ZERO, |sum, chunk| sum.plus(of_chunk(chunk)))
        }))
    }

    /// Positions of a chunk, at most.
    pub(crate) fn positions(&self) -> usize {
        self.pieces.max(1) * self.rows * self.cols
    }
}

/// Consecutive positions of an output plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) image: usize,
    /// Depth, row and column of the first position.
    pub(crate) at: [usize; 3],
    pub(crate) rows: usize,
    /// All columns, if there is more than a row.
    pub(crate) cols: usize,
    /// The first position.
    position: usize,
}

impl Piece {
    pub(crate) fn positions(&self) -> Range<usize> {
        self.position..self.position + self.rows * self.cols
    }

    /// Its image and each of its positions.
    pub(crate) fn of_image(self) -> impl Iterator<Item = (usize, usize)> {
        self.positions().map(move |position| (self.image, position))
    }
}

/// Adds up sums: those that half of their number lie between first, then a quarter, and so on.
pub(crate) fn join<T: Element, const N: usize>(mut sums: [T; N]) -> T {
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
            let chunks = (0..SLICES).flat_map(|slice| slices.chunks(slice));
            let positions = chunks.flat_map(|chunk| {
                let pieces: Vec<_> = chunk.map(|index| slices.piece(index)).collect();
                let count: usize = pieces.iter().map(|piece| piece.positions().len()).sum();
                assert!(count <= CHUNK && pieces.iter().all(|p| p.rows == 1 || p.cols == extent[2]));
                let positions = |p: Piece| p.positions().map(move |position| p.image * plane + position);
                pieces.into_iter().flat_map(positions)
            });
            assert!(positions.eq(0..batch * plane), "{batch} {extent:?}");
        }
    }

    #[test]
    fn the_chunks_of_known_shapes() {
        let known: [(usize, [usize; 3], &[usize]); 5] = [
            // Whole planes, of several images.
            (3, [2, 13, 13], &[507, 507]),
            (5, [1, 15, 17], &[510, 510, 255]),
            // Rows, of which fewer lie at the end.
            (2, [1, 9, 63], &[315, 252, 315, 252]),
            (1, [1, 3, 300], &[300, 300, 300]),
            // Parts of rows.
            (1, [1, 2, 1025], &[342, 342, 341, 342, 342, 341]),
        ];
        for (batch, extent, lens) in known {
            let slices = Slices::new(&Params::<3>::new(1, 1, [1; 3]).geometry(batch, extent).unwrap().shape);
            let len = |chunk: Range<usize>| chunk.map(|index| slices.piece(index).positions().len()).sum();
            let chunks: Vec<usize> = (0..SLICES).flat_map(|slice| slices.chunks(slice)).map(len).collect();
            assert_eq!(chunks, lens, "{batch} × {extent:?}");
        }
    }

    #[test]
    fn longer_rows_have_the_same_chunks() {
        for (batch, extent) in [
            (2, [1, 9, 63]),
            (3, [1, 112, 112]),
            (1, [1, 1, 5000]),
            (1, [1, 3, 512]),
            (3, [2, 13, 13]),
            (5, [3, 9, 9]),
            (2, [9, 9, 9]),
            (2, [12, 11, 11]),
            (40, [2, 7, 7]),
            (7, [1, 7, 7]),
            (10, [2, 7, 7]),
            (0, [6, 2, 3]),
        ] {
            let shape = Params::<3>::new(1, 1, [1; 3]).geometry(batch, extent).unwrap().shape;
            let slices = Slices::new(&shape);
            let joined = slices.as_rows().unwrap_or(slices);
            assert!(joined == slices || joined.rows == 1 && joined.positions() == slices.positions());
            let positions = |slices: Slices, slice| -> Vec<Vec<usize>> {
                let of_piece =
                    |index| slices.piece(index).of_image().map(|(image, at)| image * shape.out_plane() + at);
                slices.chunks(slice).map(|chunk| chunk.flat_map(of_piece).collect()).collect()
            };
            for slice in 0..SLICES {
                assert_eq!(positions(joined, slice), positions(slices, slice), "{batch} × {extent:?}");
            }
        }
    }

    #[test]
    fn joining_is_a_tree() {
        // Sums that a rounding of the wrong pair would lose.
        let big = f32::from_bits(0x4b80_0000);
        assert_eq!(join([big, 1.0, -big, 1.0]), 2.0);
        assert_eq!(join::<f64, 16>(std::array::from_fn(|i| i as f64)), 120.0);
    }
}
