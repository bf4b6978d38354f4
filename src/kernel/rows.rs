//! Copying rows of the image with the padding around them: what a band of the virtual im2col matrix is made of.

use super::Rows;
use crate::simd::Vector;

/// # Safety
/// See [`super::RowsFn`].
#[inline(always)]
pub(crate) unsafe fn copy<V: Vector>(rows: &Rows<V::Elem>, to: *mut V::Elem) {
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

/// # Safety
/// As [`copy`].
#[inline(always)]
unsafe fn copy_strided<V: Vector>(rows: &Rows<V::Elem>, stride: usize, to: *mut V::Elem) {
    let [first, end] = [rows.inside.start, rows.inside.end];
    let vectors = rows.len.div_ceil(V::LANES);
    // Vectors before `whole`, and from `rest` on, hold padding or go on behind the row.
    let whole = first.div_ceil(V::LANES).min(vectors);
    let rest = (end / V::LANES).max(whole);
    for channel in 0..rows.channels {
        let mut x = rows.x.wrapping_add(channel.wrapping_mul(rows.x_channel));
        let mut y = to.wrapping_add(channel * rows.channel);
        // SAFETY: the caller's obligations are passed on. What a row's last vector writes behind its end is written again
        // by what follows it: the next row, or the slack.
        unsafe {
            y = zeros::<V>(rows.above * rows.pitch, y);
            for _ in 0..rows.rows {
                for v in 0..whole {
                    edge::<V>(x, stride, v, first, end).store(y.add(v * V::LANES));
                }
                for v in whole..rest {
                    let from = x.wrapping_add((v * V::LANES).wrapping_mul(stride));
                    let value = if stride == 1 { V::load(from) } else { V::load_strided(from, stride) };
                    value.store(y.add(v * V::LANES));
                }
                for v in rest..vectors {
                    edge::<V>(x, stride, v, first, end).store(y.add(v * V::LANES));
                }
                x = x.wrapping_add(rows.x_row);
                y = y.add(rows.pitch);
            }
            zeros::<V>(rows.below * rows.pitch + rows.slack, y);
        }
    }
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
