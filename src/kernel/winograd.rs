//! Winograd's transforms, with channels in the lanes: of copied rows of the image into values at points, and of sums of products at
//! points into the output.
//!
//! What is done to each element is written out as a fixed order of operations, so that instruction sets with fused multiply-adds give
//! the same bytes.

use super::{Destination, Finish, PointInputs, PointOutputs, PointWeights, finish, unroll};
use crate::element::Element;
use crate::simd::Vector;
use crate::winograd::{Coefficients, MOST_POINTS, MOST_TAPS, WeightTransform};

/// Outputs of a tile along an axis, at most.
const MOST_OUTPUTS: usize = 6;

/// # Safety
/// See [`super::KernelSet::to_points`].
#[inline(always)]
pub(crate) unsafe fn to_points<V: Vector>(inputs: &PointInputs<V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match inputs.points[0] {
            4 => columns::<V, 4>(inputs),
            6 => columns::<V, 6>(inputs),
            8 => columns::<V, 8>(inputs),
            _ => {}
        }
        match inputs.points[1] {
            4 => rows::<V, 4>(inputs),
            6 => rows::<V, 6>(inputs),
            8 => rows::<V, 8>(inputs),
            _ => rows::<V, 1>(inputs),
        }
    }
}

/// Each column, in place.
///
/// # Safety
/// As [`to_points`].
#[inline(always)]
unsafe fn columns<V: Vector, const A: usize>(inputs: &PointInputs<V::Elem>) {
    let row = inputs.columns * V::LANES;
    for column in 0..inputs.columns {
        let at = inputs.strip.wrapping_add(column * V::LANES);
        // SAFETY: the caller vouches for the strip.
        unsafe {
            let mut values = [V::splat(V::Elem::ZERO); A];
            unroll!(i in 0..A => values[i] = V::load(at.wrapping_add(i * row)));
            let values = at_points(&values);
            unroll!(i in 0..A => values[i].store(at.wrapping_add(i * row)));
        }
    }
}

/// Each row of each tile.
///
/// # Safety
/// As [`to_points`].
#[inline(always)]
unsafe fn rows<V: Vector, const A: usize>(inputs: &PointInputs<V::Elem>) {
    for row in 0..inputs.points[0] {
        for tile in 0..inputs.tiles {
            let from = inputs.strip.wrapping_add((row * inputs.columns + tile * inputs.step) * V::LANES);
            let to = inputs.to.wrapping_add(row * A * inputs.to_point + tile * inputs.to_tile);
            // SAFETY: the caller vouches for the strip and for room for every point of every tile.
            unsafe {
                let mut values = [V::splat(V::Elem::ZERO); A];
                unroll!(j in 0..A => values[j] = V::load(from.wrapping_add(j * V::LANES)));
                let values = at_points(&values);
                unroll!(j in 0..A => values[j].store(to.wrapping_add(j * inputs.to_point)));
            }
        }
    }
}

/// Bᵀ.
#[inline(always)]
fn at_points<V: Vector, const A: usize>(d: &[V; A]) -> [V; A] {
    let of = const { Coefficients::of(A) };
    let mut points = *d;
    if A == 1 {
        return points;
    }
    let count = (A - 2) / 2;
    points[0] = weighted(d, 0, count, &of.all);
    points[A - 1] = weighted(d, 1, count, &of.all);
    unroll!(i in 0..(A - 1) / 2 => {
        let even = weighted(d, 2, count - 1, of.others(i));
        let odd = weighted(d, 1, count - 1, of.others(i));
        points[1 + 2 * i] = odd.mul_add(constant(of.power(i, 1)), even);
        points[2 + 2 * i] = odd.mul_add(constant(-of.power(i, 1)), even);
    });
    points
}

/// Every second of `d` from `first` on, number `last` as it is, those before it times their coefficients.
#[inline(always)]
fn weighted<V: Vector>(d: &[V], first: usize, last: usize, coefficients: &[f64]) -> V {
    let mut sum = d[first + 2 * last];
    unroll!(k in 0..3 => if k < last {
        let k = last - 1 - k;
        sum = d[first + 2 * k].mul_add(constant(coefficients[k]), sum);
    });
    sum
}

#[inline(always)]
fn constant<V: Vector>(value: f64) -> V {
    // SAFETY: it is called from kernels alone, whose callers vouch for the instruction set.
    unsafe { V::splat(V::Elem::from_f64(value)) }
}

/// In double precision, rounded once.
///
/// # Safety
/// See [`super::KernelSet::weights_to_points`].
#[inline(always)]
pub(crate) unsafe fn weights_to_points<V: Vector>(weights: &PointWeights<'_, V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        match V::LANES {
            16 => vectors_to_points::<V::Elem, 16>(weights),
            8 => vectors_to_points::<V::Elem, 8>(weights),
            4 => vectors_to_points::<V::Elem, 4>(weights),
            _ => vectors_to_points::<V::Elem, 2>(weights),
        }
    }
}

/// [`weights_to_points`] of vectors of `N` lanes, for the compiler to make vectors of.
///
/// # Safety
/// As [`weights_to_points`].
#[inline(always)]
unsafe fn vectors_to_points<T: Element, const N: usize>(weights: &PointWeights<'_, T>) {
    let WeightTransform { taps: [rows, cols], points, rows: [down, across] } = weights.transform;
    for channel in 0..weights.channels {
        let from = weights.from.wrapping_add(channel * rows * cols * N);
        let to = weights.to.wrapping_add(channel * weights.to_channel);
        for (i, down) in down.iter().enumerate().take(points[0]) {
            let mut half = [[0.0; N]; MOST_TAPS];
            for (col, half) in half.iter_mut().enumerate().take(*cols) {
                for (row, weight) in down.iter().enumerate().take(*rows) {
                    for (lane, half) in half.iter_mut().enumerate() {
                        // SAFETY: the caller vouches for a vector of each tap.
                        let tap = unsafe { *from.wrapping_add((row * cols + col) * N + lane) };
                        *half += weight * tap.to_f64();
                    }
                }
            }
            for (j, across) in across.iter().enumerate().take(points[1]) {
                let mut values = [0.0; N];
                for (weight, half) in across.iter().zip(&half).take(*cols) {
                    for (value, half) in values.iter_mut().zip(half) {
                        *value += weight * half;
                    }
                }
                let to = to.wrapping_add((i * points[1] + j) * weights.to_point);
                for (lane, &value) in values.iter().enumerate() {
                    // SAFETY: the caller vouches for room for a vector at each point.
                    unsafe { *to.wrapping_add(lane) = T::from_f64(value) };
                }
            }
        }
    }
}

/// # Safety
/// See [`super::KernelSet::from_points`].
#[inline(always)]
pub(crate) unsafe fn from_points<V: Vector>(outputs: &PointOutputs<'_, V::Elem>) {
    // SAFETY: the caller's obligations are passed on.
    unsafe {
        let mut half = [[V::splat(V::Elem::ZERO); MOST_POINTS]; MOST_OUTPUTS];
        let [height, width] = [0, 1].map(|axis| (outputs.points[axis], outputs.tile[axis]));
        for tile in 0..outputs.tiles {
            match height {
                (4, 2) => output_columns::<V, 4, 2>(outputs, tile, &mut half),
                (6, 4) => output_columns::<V, 6, 4>(outputs, tile, &mut half),
                (8, 6) => output_columns::<V, 8, 6>(outputs, tile, &mut half),
                (6, 2) => output_columns::<V, 6, 2>(outputs, tile, &mut half),
                (8, 4) => output_columns::<V, 8, 4>(outputs, tile, &mut half),
                _ => output_columns::<V, 1, 1>(outputs, tile, &mut half),
            }
            match width {
                (4, 2) => output_rows::<V, 4, 2>(outputs, tile, &half),
                (6, 4) => output_rows::<V, 6, 4>(outputs, tile, &half),
                (8, 6) => output_rows::<V, 8, 6>(outputs, tile, &half),
                (6, 2) => output_rows::<V, 6, 2>(outputs, tile, &half),
                (8, 4) => output_rows::<V, 8, 4>(outputs, tile, &half),
                _ => output_rows::<V, 1, 1>(outputs, tile, &half),
            }
        }
        store::<V>(outputs);
    }
}

/// The columns of a tile.
///
/// # Safety
/// As [`from_points`].
#[inline(always)]
unsafe fn output_columns<V: Vector, const A: usize, const M: usize>(
    outputs: &PointOutputs<'_, V::Elem>,
    tile: usize,
    half: &mut [[V; MOST_POINTS]; MOST_OUTPUTS],
) {
    let from = outputs.from.wrapping_add(tile * outputs.from_tile);
    for column in 0..outputs.points[1] {
        // SAFETY: the caller vouches for every point of every tile.
        unsafe {
            let mut values = [V::splat(V::Elem::ZERO); A];
            unroll!(i in 0..A => {
                values[i] = V::load(from.wrapping_add((i * outputs.points[1] + column) * outputs.from_point));
            });
            let sums = of_points::<V, A, M>(&values);
            for (half, sum) in half.iter_mut().zip(sums) {
                half[column] = sum;
            }
        }
    }
}

/// The rows of a tile, into the strip.
///
/// # Safety
/// As [`from_points`].
#[inline(always)]
unsafe fn output_rows<V: Vector, const A: usize, const M: usize>(
    outputs: &PointOutputs<'_, V::Elem>,
    tile: usize,
    half: &[[V; MOST_POINTS]; MOST_OUTPUTS],
) {
    let columns = outputs.tiles * M;
    for (row, half) in half.iter().enumerate().take(outputs.rows) {
        let to = outputs.strip.wrapping_add((row * columns + tile * M) * V::LANES);
        let mut values = [half[0]; A];
        for (value, &half) in values.iter_mut().zip(half) {
            *value = half;
        }
        let sums = of_points::<V, A, M>(&values);
        // SAFETY: the caller vouches for the strip.
        unroll!(j in 0..M => unsafe { sums[j].store(to.wrapping_add(j * V::LANES)) });
    }
}

/// Aᵀ.
#[inline(always)]
fn of_points<V: Vector, const A: usize, const M: usize>(points: &[V; A]) -> [V; M] {
    let of = const { Coefficients::of(A) };
    let mut outputs = [points[0]; M];
    if A == 1 {
        return outputs;
    }
    // As many as there are pairs, of which there are fewer than points.
    let (mut sums, mut differences) = ([points[0]; A], [points[0]; A]);
    unroll!(i in 0..(A - 1) / 2 => {
        let [plus, minus] = [points[1 + 2 * i], points[2 + 2 * i]];
        sums[i] = plus.add(minus);
        differences[i] = minus.mul_add(constant(-1.0), plus);
    });
    unroll!(k in 0..M => {
        let pairs = if k % 2 == 0 { &sums } else { &differences };
        let mut sum = if of.power(0, k) == 1.0 { pairs[0] } else { pairs[0].mul(constant(of.power(0, k))) };
        if k == 0 {
            sum = sum.add(points[0]);
        }
        if k == M - 1 {
            sum = sum.add(points[A - 1]);
        }
        unroll!(i in 1..(A - 1) / 2 => {
            sum = if k == 0 { sum.add(pairs[i]) } else { pairs[i].mul_add(constant(of.power(i, k)), sum) };
        });
        outputs[k] = sum;
    });
    outputs
}

/// The rows of the strip, with the lanes as channels, into the output.
///
/// # Safety
/// As [`from_points`].
#[inline(always)]
unsafe fn store<V: Vector>(outputs: &PointOutputs<'_, V::Elem>) {
    let columns = outputs.tiles * outputs.tile[1];
    let destination = &outputs.destination;
    for row in 0..outputs.rows {
        let finish = match destination.finish {
            Finish::Full { epilogue, channel, residual, run } => {
                let residual = residual.map(|residual| residual.wrapping_add(row * outputs.row));
                Finish::Full { epilogue, channel, residual, run }
            }
            finish => finish,
        };
        let destination =
            Destination { y: destination.y.wrapping_add(row * outputs.row), finish, ..*destination };
        for first in (0..destination.cols).step_by(V::LANES) {
            let from = outputs.strip.wrapping_add((row * columns + first) * V::LANES);
            // SAFETY: the caller vouches for a vector's worth of vectors behind the strip's last, and for the destination.
            unsafe {
                let mut square = V::splat(V::Elem::ZERO).square();
                unroll!(i in 0..V::LANES => square.as_mut()[i] = V::load(from.wrapping_add(i * V::LANES)));
                V::transpose(&mut square);
                let whole = destination.rows == V::LANES;
                let whole = whole.then_some(V::LANES.min(destination.cols - first));
                finish::store_rows(square.as_ref(), 0, first, whole, &destination);
            }
        }
    }
}
