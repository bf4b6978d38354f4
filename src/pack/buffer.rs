//! Aligned, reusable memory for plain numbers.

use std::marker::PhantomData;
use std::mem::size_of;

use crate::caches::LINE;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::kernel::{Run, Tap};
use crate::pack::taps::TapWindow;

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

/// Types of which every pattern of bits is a value, without padding bytes, aligned to at most a line.
///
/// # Safety
/// As said.
pub(crate) unsafe trait Plain: Copy + 'static {}
// SAFETY: `Element` is sealed: f32 and f64.
unsafe impl<T: Element> Plain for T {}
// SAFETY: a number.
unsafe impl Plain for usize {}
// SAFETY: numbers.
unsafe impl Plain for [usize; 2] {}
// SAFETY: repr(C): an isize, a usize and a u64, which leave no gap on 64-bit targets (asserted in `view`).
unsafe impl Plain for Tap {}
// SAFETY: repr(C): an isize and seven usize.
unsafe impl Plain for TapWindow {}
// SAFETY: repr(C): three usize.
unsafe impl Plain for Run {}

/// Lines that hold `len` elements of `T`.
pub(crate) fn lines_for<T>(len: usize) -> usize {
    (len * size_of::<T>()).div_ceil(LINE)
}

fn view<T: Plain>(lines: &mut [Line], len: usize) -> &mut [T] {
    const { assert!(align_of::<T>() <= LINE) };
    const { assert!(size_of::<Tap>() == 3 * size_of::<usize>(), "a Tap without padding") };
    assert!(lines_for::<T>(len) <= lines.len());
    // SAFETY: the lines are initialised, exclusively borrowed, long enough and aligned; any bytes are a `T`.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), len) }
}

/// Makes `lines` at least `count` long without moving what need not move.
fn grow(lines: &mut Vec<Line>, count: usize) -> Result<()> {
    let more = count.saturating_sub(lines.len());
    lines.try_reserve_exact(more).map_err(|_| Error::OutOfMemory { bytes: count.saturating_mul(LINE) })?;
    lines.resize(lines.len() + more, Line([0; LINE]));
    Ok(())
}

/// Bytes between the scratch of parts: what a thread and its core ask for ahead of time, behind the end of its own, would take from another
/// thread lines that this one is writing. Measured, two threads, copied rows: 1.02 (0.96 to 1.05).
const GAP: usize = 16 << 10;

/// Scratch of a call, shared by its parts. It keeps its memory and whatever was written there.
#[derive(Default)]
pub(crate) struct Scratch {
    lines: Vec<Line>,
}

impl Scratch {
    /// Makes room for `bytes`, rounded up to lines, for each of `parts`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn reserve(&mut self, parts: usize, bytes: usize) -> Result<()> {
        let gap = if parts > 1 && bytes > 0 { GAP } else { 0 };
        let lines = bytes.div_ceil(LINE) + gap / LINE;
        grow(&mut self.lines, parts.saturating_mul(lines))
    }

    /// Hands the memory out piece by piece.
    pub(crate) fn carve(&mut self) -> Carver<'_> {
        Carver { rest: &mut self.lines }
    }
}

/// Scratch that is still to be handed out.
pub(crate) struct Carver<'a> {
    rest: &'a mut [Line],
}

impl<'a> Carver<'a> {
    /// `len` elements, aligned to a line, holding anything.
    ///
    /// # Panics
    /// Where the plan reserved less than is taken.
    pub(crate) fn take<T: Plain>(&mut self, len: usize) -> &'a mut [T] {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut(lines_for::<T>(len));
        self.rest = rest;
        view(taken, len)
    }

    /// What is left, to be used again.
    pub(crate) fn reborrow(&mut self) -> Carver<'_> {
        Carver { rest: self.rest }
    }

    /// Two carvers of what is left, in the given ratio.
    pub(crate) fn split(self, [first, second]: [usize; 2]) -> [Self; 2] {
        // As products of whole shares, so that each gets at least as many lines as were reserved for it.
        let share = self.rest.len() / (first + second);
        let (first, second) = self.rest.split_at_mut(share * first);
        [Self { rest: first }, Self { rest: second }]
    }
}

/// A vector of numbers that starts on a cache line.
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// An empty one that will use the memory of `lines`.
    pub(crate) const fn reusing(lines: Vec<Line>) -> Self {
        Self { lines, len: 0, of: PhantomData }
    }

    /// The memory, to be used again.
    pub(crate) fn into_lines(self) -> Vec<Line> {
        self.lines
    }

    /// Makes it `len` long; what it holds is anything.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn resize(&mut self, len: usize) -> Result<()> {
        let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize - LINE);
        let lines = bytes.ok_or(Error::OutOfMemory { bytes: usize::MAX })?.div_ceil(LINE);
        grow(&mut self.lines, lines)?;
        self.len = len;
        Ok(())
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        view(&mut self.lines, self.len)
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        // SAFETY: as in `view`; `resize` made room for `len` elements.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}
