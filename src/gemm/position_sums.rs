//! The weight gradient: blocks of weights, each the sum over all positions of products of the output's gradient and the image.

use crate::element::Element;
use crate::error::Result;
use crate::gemm::blocking::KBlock;
use crate::gemm::tiles::Output;
use crate::kernel::{Dots, KernelSet, Run};
use crate::pack::bands::{Layout, Rectangle};
use crate::pack::buffer::{Carver, Scratch};
use crate::parallel::Parallelism;
use crate::plan::{WeightBlock, WeightPlan};
use crate::slices::SLICES;

/// One weight gradient: everything is checked and planned.
pub(crate) struct WeightJob<'a, T: 'static> {
    pub(crate) plan: &'a WeightPlan,
    pub(crate) set: &'static KernelSet<T>,
    pub(crate) x: &'a [T],
    /// The output's gradient.
    pub(crate) dy: &'a [T],
    /// Whether it is added to what `dw` holds.
    pub(crate) add: bool,
    pub(crate) dw: &'a Output<'a, T>,
}

/// Scratch of a part.
struct Tables<'a, T> {
    /// The columns that the tables describe.
    described: Option<KBlock>,
    layout: Layout,
    runs: &'a mut [Run],
    taps: &'a mut [usize],
    columns: &'a mut [usize],
    sums: &'a mut [T],
    band: &'a mut [T],
}

impl<T: Element> WeightJob<'_, T> {
    /// Computes all of it, each part with a share of `scratch`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; nothing has been written then.
    pub(crate) fn run(&self, parallelism: Parallelism, scratch: &mut Scratch) -> Result<()> {
        let (plan, parts, blocks) = (self.plan, self.plan.parts, self.plan.blocks());
        scratch.reserve_bytes(parts.saturating_mul(plan.scratch_bytes::<T>()))?;
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, mut scratch: Carver<'_>| {
            let mut tables = Tables {
                described: None,
                layout: Layout::default(),
                runs: scratch.take(plan.slices.pieces.max(1)),
                taps: scratch.take(plan.columns.tap_count()),
                columns: scratch.take(plan.most_columns()),
                sums: scratch.take(plan.sums_len()),
                band: scratch.take(plan.band_len()),
            };
            let start = |part: usize| (blocks as u128 * part as u128 / parts as u128) as usize;
            for block in plan.range(start(part)..start(part + 1)) {
                self.block(&block, &mut tables);
            }
        });
        Ok(())
    }

    fn block(&self, block: &WeightBlock, tables: &mut Tables<'_, T>) {
        let (shape, slices) = (&self.plan.shape, self.plan.slices);
        let columns = &block.columns;
        let count = columns.channels.len() * columns.taps.count();
        if tables.described.as_ref() != Some(columns) {
            tables.described = Some(columns.clone());
            self.describe(columns, tables);
        }
        let layout = tables.layout;
        let len = block.rows.len() * count;
        tables.sums[..slices.used() * len].fill(T::ZERO);
        let mut used = 0;
        let mut places = [None; SLICES];
        for (slice, place) in places.iter_mut().enumerate() {
            let mut chunks = slices.chunks(slice).peekable();
            if chunks.peek().is_none() {
                continue;
            }
            *place = Some(used * len);
            for chunk in chunks {
                let pieces = chunk.len();
                for (i, index) in chunk.enumerate() {
                    tables.runs[i] = self.run_of(block, &layout, index, i, tables.band);
                }
                let in_band = tables.band.as_ptr();
                let dots = Dots {
                    runs: &tables.runs[..pieces],
                    a: self.dy.as_ptr(),
                    a_row: shape.out_plane(),
                    rows: block.rows.len(),
                    b: if self.plan.in_place { self.x.as_ptr() } else { in_band },
                    offsets: &tables.columns[..count],
                    to: tables.sums[used * len..][..len].as_mut_ptr(),
                    to_row: count,
                };
                // SAFETY: the set's instruction set is available. Each piece lies in the planes of the rows' channels; what its windows
                // read with each tap lies in the band, or in an image that is its own im2col matrix. The sums have room for all
                // rows and columns.
                unsafe { (self.set.dots)(&dots) };
            }
            used += 1;
        }
        add_up(tables.sums, len, &mut places);
        let first = places[0].unwrap_or(0);
        self.put(block, count, &tables.sums[first..first + len]);
    }

    /// Where the columns lie: each tap of each channel.
    fn describe(&self, block: &KBlock, tables: &mut Tables<'_, T>) {
        let shape = &self.plan.shape;
        let taps = &mut tables.taps[..block.taps.count()];
        let channel = if self.plan.in_place {
            taps.fill(0);
            shape.in_plane()
        } else {
            tables.layout = self.plan.layout(block.taps.len);
            tables.layout.fill_offsets(shape, &block.taps, taps);
            tables.layout.channel
        };
        for (c, columns) in tables.columns.chunks_exact_mut(taps.len()).enumerate() {
            for (column, &tap) in columns.iter_mut().zip(&*taps) {
                *column = c * channel + tap;
            }
        }
    }

    /// The run of the piece with the number `index`, which is the chunk's `i`-th; copies what it reads.
    fn run_of(&self, block: &WeightBlock, layout: &Layout, index: usize, i: usize, band: &mut [T]) -> Run {
        let (shape, columns) = (&self.plan.shape, &block.columns);
        let piece = self.plan.slices.piece(index);
        let positions = piece.positions();
        let group = piece.image * shape.groups + block.group;
        let channel = group * shape.in_channels + columns.channels.start;
        let x = channel * shape.in_plane();
        let b = if self.plan.in_place {
            x + positions.start
        } else {
            let len = columns.channels.len() * layout.channel;
            let rectangle = Rectangle { at: piece.at, rows: piece.rows, cols: piece.cols };
            let taps = (&columns.taps, columns.channels.len());
            layout.fill(
                (shape, self.set),
                taps,
                rectangle,
                self.x[x..].as_ptr(),
                &mut band[i * len..][..len],
            );
            i * len
        };
        let row = group * shape.out_channels + block.rows.start;
        Run { a: row * shape.out_plane() + positions.start, b, len: positions.len() }
    }

    /// Puts the sums of a block in place.
    fn put(&self, block: &WeightBlock, count: usize, sums: &[T]) {
        let (shape, columns) = (&self.plan.shape, &block.columns);
        let first = columns.channels.start * shape.taps() + columns.taps.range(shape.kernel()).start;
        for (row, sums) in block.rows.clone().zip(sums.chunks_exact(count)) {
            let index = (block.group * shape.out_channels + row) * shape.k() + first;
            // SAFETY: these weights are the block's, which is this part's; they are initialised where they are added to.
            unsafe {
                for (to, &sum) in self.dw.slice(index, count).iter_mut().zip(sums) {
                    to.write(if self.add { to.assume_init().plus(sum) } else { sum });
                }
            }
        }
    }
}

/// [`crate::slices::join`] for `len` sums of each slice, which lie at `places` in `sums`, where it has any; the result lies at the first.
fn add_up<T: Element>(sums: &mut [T], len: usize, places: &mut [Option<usize>; SLICES]) {
    let mut half = SLICES / 2;
    while half > 0 {
        for i in 0..half {
            match (places[i], places[i + half]) {
                (Some(to), Some(from)) => {
                    let (low, high) = sums.split_at_mut(to.max(from));
                    let (low, high) = (&mut low[to.min(from)..][..len], &mut high[..len]);
                    let (to, from) = if to < from { (low, high) } else { (high, low) };
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = to.plus(*from));
                }
                // A sum that was begun with +0.0 is none of −0.0, so that adding nothing does nothing.
                (None, from) => places[i] = from,
                (Some(_), None) => {}
            }
        }
        half /= 2;
    }
}
