//! Copying rows of the image with the padding around them: what a band of the virtual im2col matrix is made of.

use crate::simd::Vector;

/// Copies that are made of a channel's rows before those of the next channel, at most.
pub(crate) const MOST_COPIES: usize = 8;

/// A copy of rows of the image.
#[derive(Clone, Copy, Default)]
pub(crate) struct RowsCopy {
    /// How far from the others' its element 0 lies in the image.
    pub(crate) ahead: isize,
    /// The elements that lie inside the image, from the first to before the last; the others are zeros.
    pub(crate) inside: [usize; 2],
}

/// Rows of the image, to be copied with what lies around them, once or more.
pub(crate) struct Rows<'a, T> {
    pub(crate) copies: &'a [RowsCopy],
    /// From a copy to the next.
    pub(crate) copy: usize,
    /// Element 0 of the first row that lies inside the image, in the first channel, for copies that are 0 ahead. It may itself lie
    /// outside.
    pub(crate) x: *const T,
    pub(crate) x_row: usize,
    pub(crate) x_channel: usize,
    pub(crate) channels: usize,
    /// From an element to the next.
    pub(crate) stride: usize,
    pub(crate) len: usize,
    /// Rows of zeros before, rows of the image, rows of zeros behind.
    pub(crate) above: usize,
    pub(crate) rows: usize,
    pub(crate) below: usize,
    /// From a copied row to the next; at least `len`, or as much as a vector less where the next follows.
    pub(crate) pitch: usize,
    /// From a copied channel to the next.
    pub(crate) channel: usize,
    /// Zeros behind the last row.
    pub(crate) slack: usize,
}

/// # Safety
/// See [`super::RowsFn`].
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(rows: &Rows<'_, V::Elem>, to: *mut V::Elem) {
    // SAFETY: the caller's obligations are passed on. A stride that the compiler knows makes loops of their own.
    unsafe {
        match rows.stride {
            1 => copy_strided::<V>(rows, 1, to),
            2 => copy_strided::<V>(rows, 2, to),
            3 => copy_strided::<V>(rows, 3, to),
            4 => copy_strided::<V>(rows, 4, to),
            stride => copy_strided::<V>(rows, stride, to),
        }
    }
}

/// Rows that are copied together, a vector of each at a time.
const TOGETHER: usize = 4;

/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn copy_strided<V: Vector>(rows: &Rows<'_, V::Elem>, stride: usize, to: *mut V::Elem) {
    for channel in 0..rows.channels {
        // All copies of a channel before the next: they read the same lines.
        for (i, copy) in rows.copies.iter().enumerate() {
            let mut x = rows.x.wrapping_add(channel.wrapping_mul(rows.x_channel)).wrapping_offset(copy.ahead);
            let mut y = to.wrapping_add(channel * rows.channel + i * rows.copy);
            // Rows of nothing but padding are not read at all: they may lie anywhere.
            let read = if copy.inside[0] < copy.inside[1] { rows.rows } else { 0 };
            // SAFETY: the caller's obligations are passed on. What is written behind the last row's end is written again by what
            // follows it: zeros, or the next copy.
            unsafe {
                y = zeros::<V>(rows.above * rows.pitch, y);
                let mut rest = read;
                while rest > 0 {
                    let count = if rest >= TOGETHER {
                        block::<V, TOGETHER>(rows, stride, copy.inside, x, y)
                    } else {
                        block::<V, 1>(rows, stride, copy.inside, x, y)
                    };
                    rest -= count;
                    x = x.wrapping_add(rows.x_row.wrapping_mul(count));
                    y = y.add(rows.pitch * count);
                }
                zeros::<V>((rows.rows - read + rows.below) * rows.pitch + rows.slack, y);
            }
        }
    }
}

/// Copies `N` rows, of which the elements `first..end` lie in the image; gives `N`. Vectors go from right to left: what the last one
/// writes behind a row's end is written again by the first of the next row.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn block<V: Vector, const N: usize>(
    rows: &Rows<'_, V::Elem>,
    stride: usize,
    [first, end]: [usize; 2],
    x: *const V::Elem,
    y: *mut V::Elem,
) -> usize {
    let vectors = rows.len.div_ceil(V::LANES);
    // Vectors before `whole`, and from `rest` on, hold padding or go on behind the row.
    let whole = first.div_ceil(V::LANES).min(vectors);
    let rest = (end / V::LANES).max(whole);
    let from = |row: usize| x.wrapping_add(row.wrapping_mul(rows.x_row));
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        for v in (rest..vectors).rev() {
            for row in 0..N {
                edge::<V>(from(row), stride, v, first, end).store(y.add(row * rows.pitch + v * V::LANES));
            }
        }
        for v in (whole..rest).rev() {
            for row in 0..N {
                let from = from(row).wrapping_add((v * V::LANES).wrapping_mul(stride));
                let value = if stride == 1 { V::load(from) } else { V::load_strided(from, stride) };
                value.store(y.add(row * rows.pitch + v * V::LANES));
            }
        }
        for v in (0..whole).rev() {
            for row in 0..N {
                edge::<V>(from(row), stride, v, first, end).store(y.add(row * rows.pitch + v * V::LANES));
            }
        }
    }
    N
}

/// Vector `v` of a row whose elements `first..end` lie in the image.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn edge<V: Vector>(x: *const V::Elem, stride: usize, v: usize, first: usize, end: usize) -> V {
    let start = v * V::LANES;
    let first = first.clamp(start, start + V::LANES) - start;
    let end = end.clamp(start + first, start + V::LANES) - start;
    // SAFETY: the caller vouches for the instruction set and for the elements that lie in the image.
    unsafe {
        let from = x.wrapping_add(start.wrapping_mul(stride));
        if stride == 1 {
            V::load_masked(from, V::mask(first, end))
        } else {
            V::splat(V::Elem::default()).merge_strided(from, stride, first, end)
        }
    }
}

/// Writes at least `count` zeros, in whole vectors, and gives the place behind `count`.
///
/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn zeros<V: Vector>(count: usize, to: *mut V::Elem) -> *mut V::Elem {
    // SAFETY: the caller vouches for the instruction set and the room.
    unsafe {
        for at in (0..count).step_by(V::LANES) {
            V::splat(V::Elem::default()).store(to.add(at));
        }
        to.add(count)
    }
}
