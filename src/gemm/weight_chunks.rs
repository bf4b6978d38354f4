//! What one chunk of positions adds to the sums of a block of weights, in each of the ways that a plan chooses from.

use std::ops::Range;

use crate::element::Element;
use crate::gemm::position_sums::{Chunk, Tables, WeightJob};
use crate::kernel::{Lanewise, Outer, Run};
use crate::pack::bands::Rectangle;
use crate::pack::panels::{Panels, pack_vectors};
use crate::pack::taps::TapBox;
use crate::plan::{InLanes, WeightBlock};
use crate::simd::MAX_LANES;
use crate::slices::Piece;

impl<T: Element> WeightJob<'_, T> {
    /// Writes where the values of each row lie, or each row of taps reads, for all chunks of a block.
    pub(super) fn describe(&self, block: &WeightBlock, places: &mut [usize]) {
        let (shape, plan, taps) = (&self.plan.shape, self.plan, &block.taps);
        match plan.in_lanes {
            InLanes::Input => {
                for (row, place) in block.rows.clone().zip(places) {
                    *place = row * shape.out_plane();
                }
            }
            InLanes::Output => {
                let (places, offsets) = places.split_at_mut(block.rows.len() * taps.count());
                let offsets = &mut offsets[..taps.count()];
                let channel = if plan.in_place() {
                    offsets.fill(0);
                    shape.in_plane()
                } else {
                    let layout = plan.layout(taps.len);
                    layout.fill_offsets(shape, taps, offsets);
                    layout.channel
                };
                for (c, places) in places.chunks_exact_mut(offsets.len()).enumerate() {
                    places.iter_mut().zip(&*offsets).for_each(|(place, &tap)| *place = c * channel + tap);
                }
            }
            InLanes::Both => {
                let panels = plan.panels(taps.len);
                let firsts = (0..taps.count()).step_by(row_of_taps(&panels, taps));
                for (tap, place) in firsts.zip(places) {
                    *place = panels.tap(taps.place(tap)) * self.set.lanes;
                }
            }
        }
    }

    /// Adds the pieces of a chunk to `sums`, or puts them there if they are the first.
    pub(super) fn add_chunk(&self, chunk: &Chunk<'_>, tables: &mut Tables<'_, T>, sums: &mut [T]) {
        match self.plan.in_lanes {
            InLanes::Input => self.input_lanes(chunk, tables, sums),
            InLanes::Output => self.output_lanes(chunk, tables, sums),
            InLanes::Both => self.both_lanes(chunk, tables, sums),
        }
    }

    fn pieces(&self, chunk: &Chunk<'_>) -> impl Iterator<Item = (usize, Piece)> {
        let slices = self.plan.slices;
        chunk.pieces.clone().map(move |index| slices.piece(index)).enumerate()
    }

    /// The channels in a vector of lanes.
    fn channels(&self, block: &WeightBlock, vector: usize) -> Range<usize> {
        let first = block.lanes.start + vector * self.set.lanes;
        first..block.lanes.end.min(first + self.set.lanes)
    }

    /// Room for what is packed of the output's gradient for a piece.
    fn piece_len(&self) -> usize {
        self.plan.slices.rows * self.plan.slices.cols * self.set.lanes
    }

    /// Packs what the pieces' windows read of the input channels in the lanes.
    fn pack_image(&self, chunk: &Chunk<'_>, panels: &Panels, image: &mut [T]) {
        let (shape, plane, block) = (&self.plan.shape, self.plan.shape.in_plane(), chunk.block);
        let of_piece = panels.len() * self.set.lanes;
        let planes: [usize; MAX_LANES] = std::array::from_fn(|lane| lane * plane);
        let vectors = image.chunks_exact_mut(chunk.pieces.len() * of_piece).take(self.vectors(block));
        for (vector, to) in vectors.enumerate() {
            let channels = self.channels(block, vector);
            for (i, piece) in self.pieces(chunk) {
                let group = piece.image * shape.groups + block.group;
                let channel = group * shape.in_channels + channels.start;
                let from = (&self.x[channel * plane..], &planes[..channels.len()]);
                panels.fill((shape, self.set), (&block.taps, piece.at), from, &mut to[i * of_piece..]);
            }
        }
    }

    /// Packs the output's gradient, a vector for each position of the pieces: for each lane that of the channel, counted through all
    /// groups of an image, that `of` gives for the channel in the lane.
    fn pack_gradients(&self, chunk: &Chunk<'_>, gradients: &mut [T], of: impl Fn(usize) -> usize) {
        let (shape, of_piece, plane) = (&self.plan.shape, self.piece_len(), self.plan.shape.out_plane());
        let vectors =
            gradients.chunks_exact_mut(chunk.pieces.len() * of_piece).take(self.vectors(chunk.block));
        for (vector, to) in vectors.enumerate() {
            let channels = self.channels(chunk.block, vector);
            let first = of(channels.start);
            let mut planes = [0; MAX_LANES];
            for (plane_of, channel) in planes.iter_mut().zip(channels.clone()) {
                *plane_of = (of(channel) - first) * plane;
            }
            for (i, piece) in self.pieces(chunk) {
                let positions = piece.positions();
                let to = &mut to[i * of_piece..][..positions.len() * self.set.lanes];
                let channel = piece.image * shape.groups * shape.out_channels + first;
                let from = (self.dy, channel * plane + positions.start);
                let (planes, next) = (&planes[..channels.len()], shape.axes[2].output);
                pack_vectors(self.set, from, planes, positions.len(), next, to);
            }
        }
    }

    /// Each tap for itself, at the positions at which it reads inside the image.
    fn input_lanes(&self, chunk: &Chunk<'_>, tables: &mut Tables<'_, T>, sums: &mut [T]) {
        let (block, lanes) = (chunk.block, self.set.lanes);
        let panels = self.plan.panels(block.taps.len);
        self.pack_image(chunk, &panels, tables.image);
        let written = self.lanes_of(block.group, block.lanes.start, block.rows.start).0;
        let direct = self.is_direct(block);
        for tap in 0..block.taps.count() {
            let (to, to_row, to_vector) = if direct {
                (self.dw.at(written), self.row_step(), lanes)
            } else {
                (sums[tap * lanes..].as_mut_ptr(), block.taps.count() * lanes, self.vector_len(block))
            };
            let count = self.runs_of_tap(chunk, &panels, block.taps.place(tap), tables.runs);
            if count == 0 && !chunk.first {
                continue;
            }
            let outer = Outer {
                runs: &tables.runs[..count],
                a: self.dy.as_ptr(),
                rows: &tables.places[..block.rows.len()],
                b: tables.image.as_ptr(),
                vectors: self.vectors(block),
                b_vector: chunk.pieces.len() * panels.len() * lanes,
                b_step: panels.step() * lanes,
                to,
                to_row,
                to_vector,
                first: chunk.first && !(direct && self.add),
                written: self.dw.at(written).wrapping_add(tap * block.lanes.len()),
                written_row: self.row_step(),
                lines: self.vectors(block),
                next: std::ptr::null(),
            };
            // SAFETY: the set's instruction set is available. Each run lies in the planes of the rows' channels, and what its windows
            // read with the tap in what was packed. There is room for the sums of all rows, taps and vectors; weights that are written
            // directly are the block's, which is this part's, and initialised where they are added to.
            unsafe { (self.set.outer)(&outer) };
        }
    }

    /// The positions of the pieces at which tap `at` of the block's reads inside the image.
    fn runs_of_tap(&self, chunk: &Chunk<'_>, panels: &Panels, at: [usize; 3], runs: &mut [Run]) -> usize {
        let (shape, lanes, block) = (&self.plan.shape, self.set.lanes, chunk.block);
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
    fn output_lanes(&self, chunk: &Chunk<'_>, tables: &mut Tables<'_, T>, sums: &mut [T]) {
        let (block, lanes) = (chunk.block, self.set.lanes);
        let first = block.group * self.plan.shape.out_channels;
        self.pack_gradients(chunk, tables.gradients, |channel| first + channel);
        self.runs_of_pieces(chunk, tables);
        let outer = Outer {
            runs: &tables.runs[..chunk.pieces.len()],
            a: if self.plan.in_place() { self.x.as_ptr() } else { tables.image.as_ptr() },
            rows: &tables.places[..block.rows.len() * block.taps.count()],
            b: tables.gradients.as_ptr(),
            vectors: self.vectors(block),
            b_vector: chunk.pieces.len() * self.piece_len(),
            b_step: lanes,
            to: sums.as_mut_ptr(),
            to_row: lanes,
            to_vector: self.vector_len(block),
            first: chunk.first,
            written: sums.as_mut_ptr(),
            written_row: 0,
            lines: 0,
            next: std::ptr::null(),
        };
        // SAFETY: the set's instruction set is available. What the windows of each piece read with each tap lies in the band, or in an
        // image that is its own im2col matrix; the output's gradient was packed for all of its positions. There is room for the sums.
        unsafe { (self.set.outer)(&outer) };
    }

    /// The pieces as runs; copies what they read into bands, where it is not read in place.
    fn runs_of_pieces(&self, chunk: &Chunk<'_>, tables: &mut Tables<'_, T>) {
        let (shape, plan, block) = (&self.plan.shape, self.plan, chunk.block);
        let layout = plan.layout(block.taps.len);
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
            tables.runs[i] = Run { a, b: i * self.piece_len(), len: positions.len() };
        }
    }

    /// Vector by vector, for each output channel of the groups that the lanes are of.
    fn both_lanes(&self, chunk: &Chunk<'_>, tables: &mut Tables<'_, T>, sums: &mut [T]) {
        let (shape, lanes, block) = (&self.plan.shape, self.set.lanes, chunk.block);
        let panels = self.plan.panels(block.taps.len);
        self.pack_image(chunk, &panels, tables.image);
        let (taps, cols) = (block.taps.count(), row_of_taps(&panels, &block.taps));
        let count = self.runs_of_rows(chunk, &panels, tables.runs);
        for (row, sums) in block.rows.clone().zip(sums.chunks_mut(taps * lanes)) {
            let out = |channel: usize| channel / shape.in_channels * shape.out_channels + row;
            self.pack_gradients(chunk, tables.gradients, out);
            let products = Lanewise {
                runs: &tables.runs[..count],
                a: tables.gradients.as_ptr(),
                a_vector: chunk.pieces.len() * self.piece_len(),
                b: tables.image.as_ptr(),
                rows: &tables.places[..taps / cols],
                cols,
                b_vector: chunk.pieces.len() * panels.len() * lanes,
                b_step: panels.step() * lanes,
                vectors: self.vectors(block),
                to: sums.as_mut_ptr(),
                to_vector: self.vector_len(block),
                first: chunk.first,
            };
            // SAFETY: the set's instruction set is available. The output's gradient was packed for all positions of the pieces, and so
            // was what their windows read with all taps. There is room for the sums of all rows, taps and vectors from this row on.
            unsafe { (self.set.lanewise)(&products) };
        }
    }

    /// The rows of the pieces.
    fn runs_of_rows(&self, chunk: &Chunk<'_>, panels: &Panels, runs: &mut [Run]) -> usize {
        let lanes = self.set.lanes;
        let mut count = 0;
        for (i, piece) in self.pieces(chunk) {
            for row in 0..piece.rows {
                runs[count] = Run {
                    a: i * self.piece_len() + row * piece.cols * lanes,
                    b: (i * panels.len() + panels.row(row)) * lanes,
                    len: piece.cols,
                };
                count += 1;
            }
        }
        count
    }
}

/// Taps of a row that lie side by side.
fn row_of_taps(panels: &Panels, taps: &TapBox) -> usize {
    if panels.tap_step() == 1 { taps.len[2] } else { 1 }
}
