//! Packing panels of the virtual im2col matrix from runs of the image's rows, a column of vectors at a time: what makes a
//! vector is nearly the same for every k, so that branches are foreseen.

use super::{PanelSource, Run};
use crate::simd::Vector;

/// # Safety
/// See [`super::PanelFn`].
#[inline(always)]
pub(crate) unsafe fn pack<V: Vector>(source: &PanelSource<'_, V::Elem>, column: *mut V::Elem) {
    // SAFETY: the caller's obligations are passed on. A stride that the compiler knows makes loops of their own.
    unsafe {
        match source.stride {
            1 => pack_strided::<V>(source, 1, column),
            2 => pack_strided::<V>(source, 2, column),
            3 => pack_strided::<V>(source, 3, column),
            4 => pack_strided::<V>(source, 4, column),
            stride => pack_strided::<V>(source, stride, column),
        }
    }
}

/// # Safety
/// As [`pack`].
#[inline(always)]
unsafe fn pack_strided<V: Vector>(
    source: &PanelSource<'_, V::Elem>,
    stride: usize,
    mut column: *mut V::Elem,
) {
    let mut x = source.x;
    for _ in 0..source.channels {
        if let Some(counts) = source.counts {
            debug_assert_eq!(counts.iter().sum::<u32>() as usize, source.runs.len());
            let mut run = source.runs.as_ptr();
            for &count in counts {
                // SAFETY: the caller's obligations are passed on; `run` stays inside its slice, for the counts add up
                // to its length.
                unsafe {
                    let mut value = V::splat(V::Elem::default());
                    for _ in 0..count {
                        value = merge(value, x, &*run, stride);
                        run = run.add(1);
                    }
                    value.store(column);
                }
                column = column.wrapping_add(source.width);
            }
        } else {
            for run in source.runs {
                let from = x.wrapping_offset(run.x);
                // SAFETY: the caller's obligations are passed on.
                unsafe {
                    let value = if stride == 1 { V::load(from) } else { V::load_strided(from, stride) };
                    value.store(column);
                }
                column = column.wrapping_add(source.width);
            }
        }
        x = x.wrapping_add(source.channel_stride);
    }
}

/// # Safety
/// The run's lanes read inside the image.
#[inline(always)]
unsafe fn merge<V: Vector>(value: V, x: *const V::Elem, run: &Run, stride: usize) -> V {
    let from = x.wrapping_offset(run.x);
    let (first, end) = (run.first as usize, run.end as usize);
    // SAFETY: the caller vouches for the lanes first..end.
    unsafe {
        if stride == 1 {
            value.merge_range(from, first, end)
        } else {
            value.merge_strided(from, stride, first, end)
        }
    }
}
