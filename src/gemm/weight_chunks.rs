//! What one chunk of positions adds to the sums of a block of weights, in each of the ways that a plan chooses from.

use std::ops::Range;

use crate::element::Element;
use crate::gemm::position_sums::{Tables, WeightJob};
use crate::kernel::{Lanewise, Outer, Run};
use crate::pack::bands::Rectangle;
use crate::pack::panels::{Panels, vectors};
use crate::plan::{InLanes, WeightBlock};
use crate::simd::MAX_LANES;
use crate::slices::Piece;

impl<T: Element> WeightJob<'_, T> {
    /// Adds the pieces `chunk` to `sums`, or puts them there if they are the `first`.
    pub(super) fn add_chunk(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        first: bool,
        tables: &mut Tables<'_, T>,
        sums: &mut [T],
    ) {
        match self.plan.in_lanes {
            InLanes::Input => self.input_lanes(block, chunk, first, tables, sums),
            InLanes::Output => self.output_lanes(block, chunk, first, tables, sums),
            InLanes::Both => self.both_lanes(block, chunk, first, tables, sums),
        }
    }

    fn pieces(&self, chunk: Range<usize>) -> impl Iterator<Item = (usize, Piece)> {
        let slices = self.plan.slices;
        chunk.map(move |index| slices.piece(index)).enumerate()
    }

    /// The first of the channels in the lanes from `channel` on, and the others relative to it, as planes of a tensor that has `plane`
    /// elements for each.
    fn planes(&self, block: &WeightBlock, vector: usize, plane: usize) -> (usize, usize, [usize; MAX_LANES]) {
        let first = block.lanes.start + vector * self.set.lanes;
        let count = self.set.lanes.min(block.lanes.end - first);
        (first, count, std::array::from_fn(|i| i * plane))
    }

    /// Packs what the pieces' windows read of the input channels in the lanes.
    fn pack_image(&self, block: &WeightBlock, chunk: Range<usize>, panels: &Panels, image: &mut [T]) {
        let (shape, plane, of_piece) = (&self.plan.shape, self.plan.shape.in_plane(), panels.len());
        let of_vector = chunk.len() * of_piece * self.set.lanes;
        let channels = shape.groups * shape.in_channels;
        for (vector, to) in image.chunks_exact_mut(of_vector).take(self.vectors(block)).enumerate() {
            let (first, count, planes) = self.planes(block, vector, plane);
            for (i, piece) in self.pieces(chunk.clone()) {
                let channel = piece.image * channels + block.group * shape.in_channels + first;
                let to = &mut to[i * of_piece * self.set.lanes..];
                let from = (&self.x[channel * plane..], &planes[..count]);
                panels.fill((shape, self.set), (&block.taps, piece.at), from, to);
            }
        }
    }

    /// Packs the output's gradient in the planes `planes(image, vector)`, a vector for each position of the pieces.
    fn pack_gradients(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        gradients: &mut [T],
        planes: impl Fn(usize, usize) -> (usize, usize, [usize; MAX_LANES]),
    ) {
        let of_piece = self.plan.slices.rows * self.plan.slices.cols * self.set.lanes;
        let of_vector = chunk.len() * of_piece;
        for (vector, to) in gradients.chunks_exact_mut(of_vector).take(self.vectors(block)).enumerate() {
            for (i, piece) in self.pieces(chunk.clone()) {
                let (start, count, planes) = planes(piece.image, vector);
                let positions = piece.positions();
                let to = &mut to[i * of_piece..][..positions.len() * self.set.lanes];
                let from = (self.dy, start + positions.start);
                vectors(
                    self.set,
                    from,
                    &planes[..count],
                    positions.len(),
                    self.plan.shape.axes[2].output,
                    to,
                );
            }
        }
    }

    fn vectors(&self, block: &WeightBlock) -> usize {
        block.lanes.len().div_ceil(self.set.lanes)
    }

    /// From the sums of a vector to those of the next.
    fn to_vector(&self, block: &WeightBlock) -> usize {
        block.rows.len() * block.taps.count() * self.set.lanes
    }

    /// Each tap for itself, at the positions at which it reads inside the image.
    fn input_lanes(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        first: bool,
        tables: &mut Tables<'_, T>,
        sums: &mut [T],
    ) {
        let (shape, lanes) = (&self.plan.shape, self.set.lanes);
        let Some(panels) = self.plan.panels(block.taps.len) else { return };
        self.pack_image(block, chunk.clone(), &panels, tables.image);
        let places = &mut tables.places[..block.rows.len()];
        for (row, place) in block.rows.clone().zip(places.iter_mut()) {
            *place = row * shape.out_plane();
        }
        let [_, height, width] = block.taps.len;
        let written = self.lanes_of(block.group, block.lanes.start, block.rows.start).0;
        let direct = self.is_direct(block);
        for tap in 0..block.taps.count() {
            let (to, to_row, to_vector) = if direct {
                (self.dw.at(written), self.row_step(), lanes)
            } else {
                (sums[tap * lanes..].as_mut_ptr(), block.taps.count() * lanes, self.to_vector(block))
            };
            let at = [tap / (height * width), tap / width % height, tap % width];
            let count = self.runs_of_tap(block, chunk.clone(), &panels, at, tables.runs);
            if count == 0 && !first {
                continue;
            }
            let outer = Outer {
                runs: &tables.runs[..count],
                a: self.dy.as_ptr(),
                rows: places,
                a_step: 1,
                b: tables.image.as_ptr(),
                vectors: self.vectors(block),
                b_vector: chunk.len() * panels.len() * lanes,
                b_step: panels.step() * lanes,
                to,
                to_row,
                to_vector,
                first: first && !(direct && self.add),
                written: self.dw.at(written).wrapping_add(tap * block.lanes.len()),
                written_row: self.row_step(),
                lines: self.vectors(block),
            };
            // SAFETY: the set's instruction set is available. Each run lies in the planes of the rows' channels, and what its windows
            // read with the tap in what was packed. There is room for the sums of all rows, taps and vectors; weights that are written
            // directly are the block's, which is this part's, and initialised where they are added to.
            unsafe { (self.set.outer)(&outer) };
        }
    }

    /// The positions of the pieces at which tap `at` of the block's reads inside the image.
    fn runs_of_tap(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        panels: &Panels,
        at: [usize; 3],
        runs: &mut [Run],
    ) -> usize {
        let (shape, lanes) = (&self.plan.shape, self.set.lanes);
        let [depth, height, width] = &shape.axes;
        let [d, h, w] = [0, 1, 2].map(|axis| block.taps.start[axis] + at[axis]);
        let (rows, cols) = (height.windows(h), width.windows(w));
        let step = panels.step() * lanes;
        let mut count = 0_usize;
        for (i, piece) in self.pieces(chunk) {
            if depth.read(piece.at[0], d).is_none() {
                continue;
            }
            let plane = (piece.image * shape.groups + block.group) * shape.out_channels * shape.out_plane();
            let cols = cols.start.max(piece.at[2])..cols.end.min(piece.at[2] + piece.cols);
            if cols.is_empty() {
                continue;
            }
            for row in rows.start.max(piece.at[1])..rows.end.min(piece.at[1] + piece.rows) {
                let position = (piece.at[0] * height.output + row) * width.output + cols.start;
                let ahead = panels.row(row - piece.at[1]) + (cols.start - piece.at[2]) * panels.step();
                let run = Run {
                    a: plane + position,
                    b: (i * panels.len() + ahead + panels.tap(at)) * lanes,
                    len: cols.len(),
                };
                let goes_on = |last: Run| last.a + last.len == run.a && last.b + last.len * step == run.b;
                if count > 0 && goes_on(runs[count - 1]) {
                    runs[count - 1].len += run.len;
                } else {
                    runs[count] = run;
                    count += 1;
                }
            }
        }
        count
    }

    /// All taps of the input channels as rows, read in place or from bands of joined rows.
    fn output_lanes(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        first: bool,
        tables: &mut Tables<'_, T>,
        sums: &mut [T],
    ) {
        let (shape, lanes) = (&self.plan.shape, self.set.lanes);
        let plane = shape.out_plane();
        self.pack_gradients(block, chunk.clone(), tables.gradients, |image, vector| {
            let (first, count, planes) = self.planes(block, vector, plane);
            let channel = (image * shape.groups + block.group) * shape.out_channels + first;
            (channel * plane, count, planes)
        });
        let pieces = chunk.len();
        let values = if self.plan.in_place() { self.x.as_ptr() } else { tables.image.as_ptr() };
        self.rows_of_taps(block, chunk, tables);
        let outer = Outer {
            runs: &tables.runs[..pieces],
            a: values,
            rows: &tables.places[..block.rows.len() * block.taps.count()],
            a_step: 1,
            b: tables.gradients.as_ptr(),
            vectors: self.vectors(block),
            b_vector: pieces * self.plan.slices.rows * self.plan.slices.cols * lanes,
            b_step: lanes,
            to: sums.as_mut_ptr(),
            to_row: lanes,
            to_vector: self.to_vector(block),
            first,
            written: sums.as_mut_ptr(),
            written_row: 0,
            lines: 0,
        };
        // SAFETY: the set's instruction set is available. What the windows of each piece read with each tap lies in the band, or in an
        // image that is its own im2col matrix; the output's gradient was packed for all of its positions. There is room for the sums.
        unsafe { (self.set.outer)(&outer) };
    }

    /// Where each tap of each channel of the block reads, and the runs of the pieces, which are copied into bands if need be.
    fn rows_of_taps(&self, block: &WeightBlock, chunk: Range<usize>, tables: &mut Tables<'_, T>) {
        let (shape, plan) = (&self.plan.shape, self.plan);
        let (places, taps) = tables.places.split_at_mut(block.rows.len() * block.taps.count());
        let taps = &mut taps[..block.taps.count()];
        let layout = plan.layout(block.taps.len);
        let channel = if plan.in_place() { shape.in_plane() } else { layout.channel };
        taps.fill(0);
        if !plan.in_place() {
            layout.fill_offsets(shape, &block.taps, taps);
        }
        for (c, places) in places.chunks_exact_mut(taps.len()).enumerate() {
            places.iter_mut().zip(&*taps).for_each(|(place, &tap)| *place = c * channel + tap);
        }
        let of_piece = plan.slices.rows * plan.slices.cols * self.set.lanes;
        for (i, piece) in self.pieces(chunk) {
            let positions = piece.positions();
            let group = piece.image * shape.groups + block.group;
            let x = (group * shape.in_channels + block.rows.start) * shape.in_plane();
            let a = if plan.in_place() {
                x + positions.start
            } else {
                let len = block.rows.len() * layout.channel;
                let rectangle = Rectangle { at: piece.at, rows: piece.rows, cols: piece.cols };
                let band = &mut tables.image[i * len..][..len];
                let taps = (&block.taps, block.rows.len());
                layout.fill((shape, self.set), taps, rectangle, self.x[x..].as_ptr(), band);
                i * len
            };
            tables.runs[i] = Run { a, b: i * of_piece, len: positions.len() };
        }
    }

    /// Vector by vector, for each output channel of the groups that the lanes are of.
    fn both_lanes(
        &self,
        block: &WeightBlock,
        chunk: Range<usize>,
        first: bool,
        tables: &mut Tables<'_, T>,
        sums: &mut [T],
    ) {
        let (shape, lanes, taps) = (&self.plan.shape, self.set.lanes, block.taps.count());
        let Some(panels) = self.plan.panels(block.taps.len) else { return };
        self.pack_image(block, chunk.clone(), &panels, tables.image);
        let [_, height, width] = block.taps.len;
        // Rows of taps, where these lie side by side.
        let cols = if panels.tap_step() == 1 { width } else { 1 };
        let places = &mut tables.places[..taps / cols];
        for (tap, place) in (0..taps).step_by(cols).zip(places.iter_mut()) {
            let at = [tap / (height * width), tap / width % height, tap % width];
            *place = panels.tap(at) * lanes;
        }
        let plane = shape.out_plane();
        let count = self.runs_of_rows(chunk.clone(), &panels, tables.runs);
        for (row, sums) in block.rows.clone().zip(sums.chunks_mut(taps * lanes)) {
            self.pack_gradients(block, chunk.clone(), tables.gradients, |image, vector| {
                let (first, count, _) = self.planes(block, vector, 0);
                let out = |lane: usize| (first + lane) / shape.in_channels * shape.out_channels;
                let channel = image * shape.groups * shape.out_channels + out(0) + row;
                let planes = std::array::from_fn(|lane| (out(lane.min(count - 1)) - out(0)) * plane);
                (channel * plane, count, planes)
            });
            let products = Lanewise {
                runs: &tables.runs[..count],
                a: tables.gradients.as_ptr(),
                a_vector: chunk.len() * self.plan.slices.rows * self.plan.slices.cols * lanes,
                b: tables.image.as_ptr(),
                rows: &tables.places[..taps / cols],
                cols,
                b_vector: chunk.len() * panels.len() * lanes,
                b_step: panels.step() * lanes,
                vectors: self.vectors(block),
                to: sums.as_mut_ptr(),
                to_vector: self.to_vector(block),
                first,
            };
            // SAFETY: the set's instruction set is available. The output's gradient was packed for all positions of the pieces, and so
            // was what their windows read with all taps. There is room for the sums of all rows, taps and vectors from this row on.
            unsafe { (self.set.lanewise)(&products) };
        }
    }

    /// The rows of the pieces.
    fn runs_of_rows(&self, chunk: Range<usize>, panels: &Panels, runs: &mut [Run]) -> usize {
        let (lanes, slices) = (self.set.lanes, self.plan.slices);
        let mut count = 0;
        for (i, piece) in self.pieces(chunk) {
            for row in 0..piece.rows {
                runs[count] = Run {
                    a: (i * slices.rows * slices.cols + row * piece.cols) * lanes,
                    b: (i * panels.len() + panels.row(row)) * lanes,
                    len: piece.cols,
                };
                count += 1;
            }
        }
        count
    }
}
