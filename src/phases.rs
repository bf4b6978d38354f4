//! The input gradient as forward convolutions: one for each phase of the strides.
//!
//! Window `o` reads, with tap `k`, the coordinate `i = o·stride + k·dilation − pad`. Seen from `i`: the coordinates that are
//! equal modulo the stride, a *phase*, are read with the same taps, every `stride / gcd(stride, dilation)`-th of the kernel, by
//! windows that lie `dilation / gcd` apart. That makes each phase a convolution of the output's gradient with a stride of 1,
//! whose kernel is those taps in reverse. A stride of 1 has one phase, which is everything.

use crate::geometry::{Axis, Params, Shape, gcd};

/// Taps `first`, `first + step`, … of an axis of a kernel; the phase's kernel has them in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PhaseTaps {
    first: usize,
    step: usize,
    pub(crate) count: usize,
}

impl PhaseTaps {
    /// The tap of the kernel that is the phase's tap `j`.
    pub(crate) fn tap(&self, j: usize) -> usize {
        self.first + (self.count - 1 - j) * self.step
    }

    /// The taps of each phase of an axis that has any. Neither padding nor extents matter for that.
    pub(crate) fn of(kernel: usize, stride: usize, dilation: usize) -> impl Iterator<Item = Self> + Clone {
        let step = stride / gcd(stride, dilation);
        (0..kernel.min(step)).map(move |first| Self { first, step, count: (kernel - first).div_ceil(step) })
    }

    /// The phase of `axis` that is read with these taps: the first coordinate of it, and the convolution of the output's
    /// gradient that gives it. None where the image has none.
    fn axis(self, axis: &Axis) -> Option<(usize, Axis)> {
        let stride = axis.stride as i128;
        let read = self.first as i128 * axis.dilation as i128 - axis.pad_begin as i128;
        let first = read.rem_euclid(stride);
        let start = usize::try_from(first).ok().filter(|&start| start < axis.input)?;
        // The window that reads the first coordinate with the first tap.
        let window = ((first - read) / stride) as isize;
        let dilation = axis.dilation / gcd(axis.stride, axis.dilation);
        let span = (self.count - 1) * dilation;
        let phase = Axis {
            input: axis.output,
            output: (axis.input - start).div_ceil(axis.stride),
            kernel: self.count,
            stride: 1,
            dilation,
            pad_begin: span as isize - window,
        };
        Some((start, phase))
    }
}

/// One phase on all axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Phase {
    /// Its first element in a plane of the input; the others are the stride apart.
    pub(crate) first: [usize; 3],
    /// The convolution of the output's gradient that gives it: its output channels are the input channels.
    pub(crate) shape: Shape,
}

/// The taps of each phase of a convolution that has any.
pub(crate) fn phase_taps<const D: usize>(
    params: &Params<D>,
) -> impl Iterator<Item = [PhaseTaps; 3]> + use<D> {
    let Params { kernel, stride, dilation, .. } = *params;
    axis_taps(std::array::from_fn(|axis| match (axis + D).checked_sub(3) {
        Some(axis) => [kernel[axis], stride[axis], dilation[axis]],
        None => [1; 3],
    }))
}

/// Those of axes with so many taps, at strides and dilations.
fn axis_taps(axes: [[usize; 3]; 3]) -> impl Iterator<Item = [PhaseTaps; 3]> {
    let [depth, height, width] =
        axes.map(|[kernel, stride, dilation]| PhaseTaps::of(kernel, stride, dilation));
    depth.flat_map(move |d| {
        let width = width.clone();
        height.clone().flat_map(move |h| width.clone().map(move |w| [d, h, w]))
    })
}

/// The phases of `shape` that the input has elements of, each with the place of its taps in [`phase_taps`].
pub(crate) fn phases(shape: &Shape) -> impl Iterator<Item = (usize, Phase)> {
    let taps = axis_taps(shape.axes.map(|axis| [axis.kernel, axis.stride, axis.dilation]));
    taps.enumerate().filter_map(|(i, taps)| Some((i, phase(shape, taps)?)))
}

fn phase(shape: &Shape, taps: [PhaseTaps; 3]) -> Option<Phase> {
    let [depth, height, width] = &shape.axes;
    let (d, h, w) = (taps[0].axis(depth)?, taps[1].axis(height)?, taps[2].axis(width)?);
    let shape = Shape {
        in_channels: shape.out_channels,
        out_channels: shape.in_channels,
        axes: [d.1, h.1, w.1],
        ..*shape
    };
    Some(Phase { first: [d.0, h.0, w.0], shape })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every (coordinate, window, tap) that there is lies in one phase, once, with the window that reads it.
    #[test]
    fn phases_have_every_read_once() {
        for (kernel, stride, dilation) in [
            (1, 1, 1),
            (3, 1, 1),
            (3, 2, 1),
            (4, 2, 3),
            (2, 3, 1),
            (5, 4, 2),
            (5, 6, 4),
            (3, 5, 5),
            (7, 3, 6),
        ] {
            for (pad_begin, pad_end) in [(0, 0), (1, 2), (3, 0), (-1, 1), (-2, -1), (9, 9)] {
                for input in 1..40 {
                    let params = Params::new(1, 1, [kernel]).stride([stride]).dilation([dilation]);
                    let params = params.pad_begin([pad_begin]).pad_end([pad_end]);
                    let Ok(geometry) = params.geometry(1, [input]) else { continue };
                    let axis = geometry.shape.axes[2];
                    let mut reads: Vec<_> = (0..axis.output)
                        .flat_map(|o| (0..kernel).filter_map(move |k| Some((axis.read(o, k)?, o, k))))
                        .collect();
                    let mut found = vec![];
                    for (i, phase) in phases(&geometry.shape) {
                        let taps = phase_taps(&params).nth(i).unwrap();
                        let along = phase.shape.axes[2];
                        for m in 0..along.output {
                            for j in 0..along.kernel {
                                let Some(window) = along.read(m, j) else { continue };
                                found.push((phase.first[2] + m * stride, window, taps[2].tap(j)));
                            }
                        }
                    }
                    reads.sort_unstable();
                    found.sort_unstable();
                    assert_eq!(reads, found, "{params:?} {input}");
                }
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let most = isize::MAX as usize;
        for (kernel, stride, dilation, pad) in
            [(2, usize::MAX, 1, 0), (2, 1, most - 1, 0), (1, 3, most, 5), (2, most, most / 2, most / 4)]
        {
            let params = Params::new(1, 1, [kernel]).stride([stride]).dilation([dilation]).padding([pad]);
            for input in [1, 1000, most / 8] {
                let Ok(geometry) = params.geometry(0, [input]) else { continue };
                assert!(phases(&geometry.shape).count() <= kernel);
            }
        }
    }
}
