//! The direct tile for small problems: a vector of positions of one output row, whose windows are read where they lie. It needs
//! nothing prepared, which would take longer than the arithmetic.

use super::{Windows, finish};
use crate::geometry::Axis;
use crate::simd::Vector;

/// # Safety
/// See [`super::WindowKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(windows: &Windows<'_, V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        if windows.axes[2].stride == 1 {
            plane::<V, true>(windows);
        } else {
            plane::<V, false>(windows);
        }
    }
}

/// With `UNIT`, the stride of columns is 1.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn plane<V: Vector, const UNIT: bool>(windows: &Windows<'_, V::Elem>) {
    let [depth, height, width] = windows.axes;
    let mut y = windows.destination.y;
    for d in 0..depth.output {
        for h in 0..height.output {
            for col in (0..width.output).step_by(V::LANES) {
                let lanes = V::LANES.min(width.output - col);
                // SAFETY: the caller's obligations are passed on.
                unsafe {
                    let sum = accumulate::<V, UNIT>(windows, [d, h, col], lanes);
                    let place = [y.wrapping_add(col)];
                    finish::store_vectors::<V, 1>(&[sum], 1, 0, &place, &[lanes], &windows.destination);
                }
            }
            y = y.wrapping_add(width.output);
        }
    }
}

/// The chain of fused multiply-adds over (channel, tap) ascending for the windows at `at` and the `lanes` − 1 to the right.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const UNIT: bool>(
    windows: &Windows<'_, V::Elem>,
    at: [usize; 3],
    lanes: usize,
) -> V {
    let [depth, height, width] = windows.axes;
    let mut channel = windows.x;
    let mut w = windows.w;
    // SAFETY: the caller vouches for the instruction set, the weights and the image, inside of which everything is read.
    unsafe {
        let mut sum = V::splat(V::Elem::default());
        let interior = UNIT && width.interior(at[2], at[2] + lanes - 1);
        let all = V::mask(0, lanes);
        for _ in 0..windows.channels {
            for kd in 0..depth.kernel {
                let d = depth.read(at[0], kd);
                for kh in 0..height.kernel {
                    let (Some(d), Some(h)) = (d, height.read(at[1], kh)) else {
                        w = w.wrapping_add(width.kernel);
                        continue;
                    };
                    let row = channel.wrapping_add((d * height.input + h) * width.input);
                    let mut start = width.origin(at[2]);
                    if interior {
                        let mut from = row.wrapping_offset(start);
                        for _ in 0..width.kernel {
                            sum = V::load_masked(from, all).mul_add(V::splat(*w), sum);
                            from = from.wrapping_add(width.dilation);
                            w = w.wrapping_add(1);
                        }
                        continue;
                    }
                    for _ in 0..width.kernel {
                        let [first, end] = inside::<UNIT>(width, start, lanes);
                        if first < end {
                            let value = values::<V, UNIT>(width, row.wrapping_offset(start), first, end);
                            sum = value.mul_add(V::splat(*w), sum);
                        }
                        start = start.wrapping_add_unsigned(width.dilation);
                        w = w.wrapping_add(1);
                    }
                }
            }
            channel = channel.wrapping_add(depth.input * height.input * width.input);
        }
        sum
    }
}

/// Which of `lanes` windows, of which the first reads column `start` with some tap, read inside the image.
#[inline(always)]
fn inside<const UNIT: bool>(width: &Axis, start: isize, lanes: usize) -> [usize; 2] {
    if UNIT {
        let before = |coordinate: isize| coordinate.clamp(0, lanes as isize) as usize;
        return [before(start.wrapping_neg()), before((width.input as isize).wrapping_sub(start))];
    }
    let inside = width.inside(start, lanes);
    [inside.start, inside.end]
}

/// What windows `first` to `end` read with one tap, of which window 0 reads `from`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn values<V: Vector, const UNIT: bool>(
    width: &Axis,
    from: *const V::Elem,
    first: usize,
    end: usize,
) -> V {
    // SAFETY: the caller vouches for the instruction set and for what those windows read.
    unsafe {
        if UNIT {
            return V::load_masked(from, V::mask(first, end));
        }
        V::splat(V::Elem::default()).merge_strided(from, width.stride, first, end)
    }
}
