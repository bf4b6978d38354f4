//! The direct tile for any kernel: `N` vectors of positions of one output plane, which read copied rows of the image. Each
/// tap's weight is broadcast once for all of them.
use super::{Planes, Strips, finish};
use crate::simd::Vector;

/// # Safety
/// See [`super::StripKernel::run`].
#[inline(always)]
pub(crate) unsafe fn run<V: Vector, const N: usize>(planes: &Planes<'_, V::Elem>, strips: &Strips<'_>) {
    let cols = planes.destination.cols;
    let vectors = planes.rows * cols.div_ceil(V::LANES);
    for plane in 0..planes.count {
        let x = planes.x.wrapping_add(plane * planes.x_step);
        let y = planes.destination.y.wrapping_add(plane * planes.y_step);
        let w = planes.w.wrapping_add(plane * planes.channels * planes.w_channel);
        let mut next = [0; 2];
        for first in (0..vectors).step_by(N) {
            let count = N.min(vectors - first);
            let (mut from, mut places, mut lanes) = ([x; N], [y; N], [0; N]);
            for i in 0..N {
                let [row, col] = next;
                from[i] = x.wrapping_add(row * strips.pitch + col);
                places[i] = y.wrapping_add(row * planes.destination.row_stride + col);
                lanes[i] = V::LANES.min(cols - col);
                // What the tile has too many is the last one again.
                if i + 1 < count {
                    next = after::<V>(next, cols);
                }
            }
            next = after::<V>(next, cols);
            // SAFETY: the caller's obligations are passed on.
            unsafe {
                let sums = accumulate::<V, N>(planes, strips, from, w);
                finish::store_vectors::<V, N>(&sums, count, plane, &places, &lanes, &planes.destination);
            }
        }
    }
}

/// The row and column of the vector after that at `place`, in rows of `cols` columns.
#[inline(always)]
fn after<V: Vector>([row, col]: [usize; 2], cols: usize) -> [usize; 2] {
    if col + V::LANES < cols { [row, col + V::LANES] } else { [row + 1, 0] }
}

/// The chain of fused multiply-adds over (channel, tap) ascending.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn accumulate<V: Vector, const N: usize>(
    planes: &Planes<'_, V::Elem>,
    strips: &Strips<'_>,
    mut from: [*const V::Elem; N],
    mut w: *const V::Elem,
) -> [V; N] {
    // SAFETY: the caller vouches for the instruction set, the weights and the copied rows.
    unsafe {
        let mut sums = [V::splat(V::Elem::default()); N];
        for _ in 0..planes.channels {
            for &tap in strips.taps {
                let weight = V::splat(*w);
                for (sum, from) in sums.iter_mut().zip(&from) {
                    *sum = V::load(from.wrapping_add(tap)).mul_add(weight, *sum);
                }
                w = w.wrapping_add(1);
            }
            for from in &mut from {
                *from = from.wrapping_add(planes.x_channel);
            }
        }
        sums
    }
}
