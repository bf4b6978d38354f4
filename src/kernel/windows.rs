//! The direct tile for small problems: a vector of positions of one output row, whose windows are read where they lie. It needs
//! nothing prepared, which would take longer than the arithmetic.

use super::{Windows, finish};
use crate::geometry::Axis;
use crate::simd::Vector;

/// Columns of taps whose lanes are found once for all rows.
const KNOWN: usize = 8;

/// # Safety
/// See [`super::WindowKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector>(windows: &Windows<'_, V::Elem>) {
    let [depth, height, width] = windows.axes;
    for col in (0..width.output).step_by(V::LANES) {
        let lanes = V::LANES.min(width.output - col);
        let mut known = [(0, [0; 2]); KNOWN];
        for (k, known) in known.iter_mut().enumerate().take(width.kernel) {
            *known = reads(width, col, k, lanes);
        }
        for d in 0..depth.output {
            for h in 0..height.output {
                let y = windows.destination.y.wrapping_add((d * height.output + h) * width.output + col);
                // SAFETY: the caller's obligations are passed on.
                unsafe {
                    let sum = accumulate::<V>(windows, [d, h, col], lanes, &known);
                    finish::store_vectors::<V, 1>(&[sum], 1, 0, &[y], &[lanes], &windows.destination);
                }
            }
        }
    }
}

/// Where the window of column `col` reads with column `k` of taps, and which of the windows from there on do so inside the image.
#[inline(always)]
fn reads(width: &Axis, col: usize, k: usize, lanes: usize) -> (isize, [usize; 2]) {
    let start = width.origin(col) + (k * width.dilation) as isize;
    let inside = width.inside(start, lanes);
    (start, [inside.start, inside.end.max(inside.start)])
}

/// The chain of fused multiply-adds over (channel, tap) ascending for the windows at `at`.
///
/// # Safety
/// As [`run`]; `known` is what [`reads`] gives.
#[inline(always)]
unsafe fn accumulate<V: Vector>(
    windows: &Windows<'_, V::Elem>,
    at: [usize; 3],
    lanes: usize,
    known: &[(isize, [usize; 2]); KNOWN],
) -> V {
    let [depth, height, width] = windows.axes;
    let taps = depth.kernel * height.kernel * width.kernel;
    // SAFETY: the caller vouches for the instruction set, the weights and the image, inside of which everything is read.
    unsafe {
        let mut sum = V::splat(V::Elem::default());
        for c in 0..windows.channels {
            for kd in 0..depth.kernel {
                let Some(d) = depth.read(at[0], kd) else { continue };
                for kh in 0..height.kernel {
                    let Some(h) = height.read(at[1], kh) else { continue };
                    let row =
                        windows.x.wrapping_add(((c * depth.input + d) * height.input + h) * width.input);
                    let w = windows.w.wrapping_add(c * taps + (kd * height.kernel + kh) * width.kernel);
                    for k in 0..width.kernel {
                        let known = known.get(k).copied();
                        let (start, [first, end]) = known.unwrap_or_else(|| reads(width, at[2], k, lanes));
                        let from = row.wrapping_offset(start);
                        let value = if width.stride == 1 {
                            V::load_masked(from, V::mask(first, end))
                        } else {
                            V::splat(V::Elem::default()).merge_strided(from, width.stride, first, end)
                        };
                        sum = value.mul_add(V::splat(*w.wrapping_add(k)), sum);
                    }
                }
            }
        }
        sum
    }
}
