//! The input gradient at strides over 1: all phases of a block of it, one after the other into scratch, and from there into
//! place.

use std::mem::MaybeUninit;
use std::ops::Range;

use crate::element::Element;
use crate::epilogue::Epilogue;
use crate::error::Result;
use crate::gemm::partition::Task;
use crate::gemm::step::{Addend, Job, PlaneLayout};
use crate::gemm::tiles::Output;
use crate::kernel::{Destination, Finish, KernelSet};
use crate::pack::buffer::{Carver, Scratch};
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::{Algorithm, Phased, Planned};
use crate::simd::MAX_LANES;

/// One input gradient: everything is checked and planned.
pub(crate) struct PhasedJob<'a, T: 'static> {
    pub(crate) plan: &'a Phased,
    pub(crate) set: &'static KernelSet<T>,
    /// Of each phase.
    pub(crate) weights: &'a [PackedWeights<T>],
    /// The output's gradient.
    pub(crate) x: &'a [T],
    /// Whether it is added to what `y` holds.
    pub(crate) add: bool,
    pub(crate) epilogue: &'a Epilogue<T>,
    pub(crate) y: &'a Output<'a, T>,
}

/// A block: channels of a group of an image, and, in phases, a depth, rows and columns.
struct Place {
    image: usize,
    group: usize,
    channels: Range<usize>,
    depth: usize,
    rows: Range<usize>,
    cols: Range<usize>,
}

impl<T: Element> PhasedJob<'_, T> {
    /// Computes all of it, each part with a share of `scratch`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`]; nothing has been written then.
    pub(crate) fn run(&self, parallelism: Parallelism, scratch: &mut Scratch) -> Result<()> {
        let threads = parallelism.threads(self.plan.work());
        let (blocks, parts) = (self.plan.blocks(), self.plan.parts(threads));
        scratch.reserve(parts, self.plan.scratch_bytes::<T>())?;
        parallelism.for_each_part(0..parts, scratch.carve(), &|part, mut scratch| {
            let start = |part: usize| (blocks as u128 * part as u128 / parts as u128) as usize;
            for index in start(part)..start(part + 1) {
                self.block(&self.place(index), scratch.reborrow());
            }
        });
        Ok(())
    }

    fn place(&self, mut index: usize) -> Place {
        let block = self.plan.block;
        let mut at = [0; 6];
        for (at, count) in at.iter_mut().zip(self.plan.grid()).rev() {
            *at = index % count;
            index /= count;
        }
        let [image, group, channel, depth, row, col] = at;
        let range = |i: usize, piece: usize, end: usize| i * piece..end.min((i + 1) * piece);
        Place {
            image,
            group,
            channels: range(channel, block.channels, self.plan.channels),
            depth,
            rows: range(row, block.rows, self.plan.extents[1]),
            cols: range(col, block.cols, self.plan.extents[2]),
        }
    }

    fn block(&self, place: &Place, mut scratch: Carver<'_>) {
        let strides = self.plan.shape.axes.map(|axis| axis.stride);
        let all = self.plan.phases.len() as u128 == strides.iter().map(|&s| s as u128).product::<u128>();
        if !all && !self.add {
            self.fill(place);
        }
        let buffer = scratch.take::<T>(self.plan.buffer_len());
        let mut rest = &mut *buffer;
        for planned in &self.plan.phases {
            let (phase, others) = rest.split_at_mut(self.plan.phase_len(planned));
            self.phase(place, planned, phase, scratch.reborrow());
            rest = others;
        }
        self.put_all(place, buffer);
    }

    /// Gives all elements what they are without any terms.
    fn fill(&self, place: &Place) {
        let [depth, height, width] = self.plan.shape.axes;
        let range = |at: Range<usize>, stride: usize, end: usize| {
            at.start * stride..at.end.saturating_mul(stride).min(end)
        };
        let cols = range(place.cols.clone(), width.stride, width.input);
        for channel in place.channels.clone() {
            let (plane, channel) = self.plane(place, channel);
            let value = self.of_nothing(channel);
            for d in range(place.depth..place.depth + 1, depth.stride, depth.input) {
                for h in range(place.rows.clone(), height.stride, height.input) {
                    let row = ((plane * depth.input + d) * height.input + h) * width.input;
                    // SAFETY: the row lies in the block, which is this part's.
                    unsafe { self.y.slice(row + cols.start, cols.len()) }.fill(MaybeUninit::new(value));
                }
            }
        }
    }

    /// What an element is without any terms.
    fn of_nothing(&self, channel: usize) -> T {
        let (sums, mut y) = ([T::ZERO; MAX_LANES], [T::ZERO; MAX_LANES]);
        let (epilogue, run) = (self.epilogue, self.set.finish);
        let destination = Destination {
            y: y.as_mut_ptr(),
            row_stride: MAX_LANES,
            rows: 1,
            cols: 1,
            resume: false,
            stream: false,
            finish: Finish::Full { epilogue, channel, residual: None, run },
        };
        // SAFETY: the set's instruction set is available; no vector has more lanes.
        unsafe { run(sums.as_ptr(), 0, 1, 0, &destination) };
        y[0]
    }

    /// The plane of a channel of a block, and the channel, counted through all groups.
    fn plane(&self, place: &Place, channel: usize) -> (usize, usize) {
        let channel = place.group * self.plan.channels + channel;
        (place.image * self.plan.groups * self.plan.channels + channel, channel)
    }

    /// The rows and columns of a phase in a block; none where it has none.
    fn extents(&self, place: &Place, planned: &Planned) -> Option<[Range<usize>; 2]> {
        let [depth, height, width] = planned.plan.shape.axes.map(|axis| axis.output);
        let rows = place.rows.start..place.rows.end.min(height);
        let cols = place.cols.start..place.cols.end.min(width);
        (place.depth < depth && !rows.is_empty() && !cols.is_empty()).then_some([rows, cols])
    }

    /// Computes a phase of a block into `buffer`.
    fn phase(&self, place: &Place, planned: &Planned, buffer: &mut [T], scratch: Carver<'_>) {
        let Some([rows, cols]) = self.extents(place, planned) else { return };
        let [_, height, width] = planned.plan.shape.axes.map(|axis| axis.output);
        let direct = planned.plan.algorithm() == Algorithm::Direct;
        let (first_plane, first_channel) = self.plane(place, place.channels.start);
        let channels = place.channels.len();
        let (group, first) = if direct { (0, first_channel) } else { (place.group, place.channels.start) };
        let position = (place.depth * height + rows.start) * width + cols.start;
        let stride = rows.len() * cols.len();
        let y = Output::new(&mut buffer[..channels * stride]);
        let job = Job {
            plan: &planned.plan,
            set: self.set,
            weights: &self.weights[planned.weights],
            transformed: None,
            x: self.x,
            addend: Addend::Nothing,
            epilogue: self.epilogue,
            y: &y,
            layout: PlaneLayout { stride, first: first_plane * stride + position },
        };
        let task = Task {
            image: place.image,
            group,
            channels: first..first + channels,
            positions: position..position + stride,
        };
        job.run_block(&task, scratch);
    }

    /// Puts the phases of a block in place: those of the same rows together.
    fn put_all(&self, place: &Place, mut buffer: &[T]) {
        let mut phases = &self.plan.phases[..];
        while let Some(planned) = phases.first() {
            let same = |other: &Planned| other.phase.first[..2] == planned.phase.first[..2];
            let count = phases.iter().take_while(|other| same(other)).count();
            let (together, rest) = phases.split_at(count);
            let pair = self.plan.shape.axes[2].stride == 2 && count == 2;
            let mut each = [&buffer[..0]; 2];
            for (i, planned) in together.iter().enumerate() {
                let (values, others) = buffer.split_at(self.plan.phase_len(planned));
                buffer = others;
                if pair {
                    each[i] = values;
                } else {
                    self.put(place, planned, [values, &[]]);
                }
            }
            if let (true, [a, b]) = (pair, together) {
                let (first, values) = if a.phase.first[2] == 0 { (a, each) } else { (b, [each[1], each[0]]) };
                self.put(place, first, values);
            }
            phases = rest;
        }
    }

    /// Puts a phase of a block in place, and with it, where there is one, the phase of the columns to the right of each of its own.
    fn put(&self, place: &Place, planned: &Planned, [values, right]: [&[T]; 2]) {
        let Some([rows, cols]) = self.extents(place, planned) else { return };
        let [depth, height, width] = self.plan.shape.axes;
        let [first_depth, first_row, first_col] = planned.phase.first;
        let d = first_depth + place.depth * depth.stride;
        let col = first_col + cols.start * width.stride;
        // Of the columns to the right one may lie beyond the image.
        let len = if right.is_empty() {
            (cols.len() - 1) * width.stride + 1
        } else {
            width.input.min(2 * cols.end) - col
        };
        let mut values = values.chunks_exact(cols.len());
        let right = if len > 1 { right } else { &[] };
        let mut right = right.chunks_exact((len / 2).max(1));
        for channel in place.channels.clone() {
            let (plane, _) = self.plane(place, channel);
            for row in rows.clone() {
                let h = first_row + row * height.stride;
                let index = ((plane * depth.input + d) * height.input + h) * width.input + col;
                let Some(values) = values.next() else { return };
                // SAFETY: the row lies in the block, which is this part's; it is initialised where it is added to.
                unsafe {
                    let to = self.y.slice(index, len);
                    match right.next() {
                        Some(right) => put_pairs(to, values, right, self.add),
                        None => put_row(to, width.stride, values, self.add),
                    }
                }
            }
        }
    }
}

/// The elements of `to` become, or are increased by, those of `even` and `odd` in turn.
///
/// # Safety
/// With `add`, `to` is initialised.
unsafe fn put_pairs<T: Element>(to: &mut [MaybeUninit<T>], even: &[T], odd: &[T], add: bool) {
    if add {
        // SAFETY: the caller vouches for it.
        unsafe {
            put_row(to, 2, even, true);
            put_row(to.get_mut(1..).unwrap_or_default(), 2, odd, true);
        }
        return;
    }
    for (to, (&even, &odd)) in to.chunks_exact_mut(2).zip(even.iter().zip(odd)) {
        to[0].write(even);
        to[1].write(odd);
    }
    if let (Some(to), Some(&last)) = (to.get_mut(2 * odd.len()), even.get(odd.len())) {
        to.write(last);
    }
}

/// Every `stride`-th element of `to` becomes, or is increased by, a value.
///
/// # Safety
/// With `add`, `to` is initialised.
unsafe fn put_row<T: Element>(to: &mut [MaybeUninit<T>], stride: usize, values: &[T], add: bool) {
    for (to, &value) in to.iter_mut().step_by(stride).zip(values) {
        // SAFETY: the caller vouches for it.
        let value = if add { unsafe { to.assume_init() }.plus(value) } else { value };
        to.write(value);
    }
}
