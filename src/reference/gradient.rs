//! The gradients, straight from their formulas, in the order that this crate promises.

use crate::element::Element;
use crate::error::{Argument, Result, check_len};
use crate::geometry::{Axis, Geometry};
use crate::slices::{LANES, Slices, join};

/// The gradients of a convolution, ready to be asked for any element.
///
/// ```
/// use convgemm::{Params, reference::GradientOracle};
/// let geometry = Params::new(1, 1, [2]).geometry(1, [3])?;
/// let oracle = GradientOracle::new(&geometry, &[1.0, 2.0, 4.0], &[1.0, -1.0], &[10.0, 1.0])?;
/// assert_eq!(oracle.input_gradient(), [10.0, -9.0, -1.0]);
/// assert_eq!(oracle.weight_gradient(), [12.0, 24.0]);
/// assert_eq!(oracle.bias_gradient(), [11.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientOracle<'a, T, const D: usize> {
    geometry: Geometry<D>,
    input: &'a [T],
    weight: &'a [T],
    output_gradient: &'a [T],
}

/// A sum in double precision, and how far any order of summation may be from the exact sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expected {
    /// The sum.
    pub value: f64,
    /// γₙ·Σ|a·b|, n the number of roundings.
    pub bound: f64,
}

impl Expected {
    /// The sum of the products of `terms`.
    pub fn of_terms<T: Element>(terms: impl IntoIterator<Item = (T, T)>) -> Self {
        Self::of(|visit| terms.into_iter().for_each(|(a, b)| visit(a, b)))
    }

    pub(super) fn of<T: Element>(terms: impl FnOnce(&mut dyn FnMut(T, T))) -> Self {
        let (mut value, mut sum, mut roundings) = (0.0, 0.0, 2.0);
        terms(&mut |a, b| {
            let product = a.to_f64() * b.to_f64();
            value += product;
            sum += product.abs();
            roundings += 2.0;
        });
        let nu = roundings * T::EPSILON.to_f64() / 2.0;
        Self { value, bound: nu / (1.0 - nu) * sum }
    }
}

impl<'a, T: Element, const D: usize> GradientOracle<'a, T, D> {
    /// The gradients of a convolution of the given geometry.
    ///
    /// Shapes: `input` `[batch, in_channels, extent…]`, `weight` `[out_channels, in_channels / groups, kernel…]`,
    /// `output_gradient` `[batch, out_channels, output extent…]`.
    ///
    /// # Errors
    /// A slice of the wrong length.
    pub fn new(
        geometry: &Geometry<D>,
        input: &'a [T],
        weight: &'a [T],
        output_gradient: &'a [T],
    ) -> Result<Self> {
        check_len(Argument::Input, input.len(), geometry.input_len())?;
        check_len(Argument::Weight, weight.len(), geometry.weight_len())?;
        check_len(Argument::OutputGradient, output_gradient.len(), geometry.output_len())?;
        Ok(Self { geometry: *geometry, input, weight, output_gradient })
    }

    /// `∂L/∂x`: every element as [`GradientOracle::input_at`]; `[batch, in_channels, extent…]`.
    pub fn input_gradient(&self) -> Vec<T> {
        (0..self.geometry.input_len()).map(|index| self.input_at(index)).collect()
    }

    /// `∂L/∂w`: every element as [`GradientOracle::weight_at`]; `[out_channels, in_channels / groups, kernel…]`.
    pub fn weight_gradient(&self) -> Vec<T> {
        (0..self.geometry.weight_len()).map(|index| self.weight_at(index)).collect()
    }

    /// `∂L/∂b`: every element as [`GradientOracle::bias_at`]; `[out_channels]`.
    pub fn bias_gradient(&self) -> Vec<T> {
        (0..self.geometry.params().out_channels).map(|channel| self.bias_at(channel)).collect()
    }

    /// An element of the input's gradient: one chain of fused multiply-adds from +0.0 over (output channel, position in the
    /// output) ascending, then + 0.0, so that there is no −0.0.
    ///
    /// # Panics
    /// Where `index` is not below `input_len()`.
    pub fn input_at(&self, index: usize) -> T {
        let mut sum = T::ZERO;
        let visit = |w: T, dy| sum = w.mul_add(dy, sum);
        input_terms(&self.geometry, index, self.weight, self.output_gradient, visit);
        sum.plus(T::ZERO)
    }

    /// The same in double precision.
    ///
    /// # Panics
    /// As [`GradientOracle::input_at`].
    pub fn input_expected_at(&self, index: usize) -> Expected {
        Expected::of(|visit| input_terms(&self.geometry, index, self.weight, self.output_gradient, visit))
    }

    /// An element of the weight's gradient.
    ///
    /// The positions of each image of the output are cut into pieces: as many rows as have at most 512 positions, or, of a longer row,
    /// parts, as equal as can be. As many whole planes as have at most 512 positions are a chunk, else each piece is one. A chunk is
    /// one chain of fused multiply-adds from +0.0 over its positions, ascending. All chunks of all images are dealt out, in order, to 8
    /// slices: slice `s` of `n` chunks has those from `⌊n·s/8⌋` on, and adds them up in order, from +0.0. Slices are added up as a tree:
    /// those 4 apart, then 2 and 1.
    ///
    /// # Panics
    /// Where `index` is not below `weight_len()`.
    pub fn weight_at(&self, index: usize) -> T {
        let slices = Slices::new(&self.geometry.shape);
        slices.sum(|chunk| {
            let positions = chunk.flat_map(|piece| slices.piece(piece).of_image());
            let terms = positions.filter_map(|(image, position)| self.weight_term(index, image, position));
            terms.fold(T::ZERO, |sum, (x, dy)| dy.mul_add(x, sum))
        })
    }

    /// The same in double precision.
    ///
    /// # Panics
    /// As [`GradientOracle::weight_at`].
    pub fn weight_expected_at(&self, index: usize) -> Expected {
        let shape = &self.geometry.shape;
        Expected::of(|visit| {
            for image in 0..shape.batch {
                for position in 0..shape.out_plane() {
                    if let Some((x, dy)) = self.weight_term(index, image, position) {
                        visit(x, dy);
                    }
                }
            }
        })
    }

    /// An element of the bias's gradient: the sum over positions in the chunks and slices of [`GradientOracle::weight_at`]. A chunk is 16
    /// sums from +0.0, of which number `l` has the positions `l`, `l + 16`, … of each of its pieces, ascending; they are added up as a
    /// tree: those 8 apart, then 4, 2 and 1.
    ///
    /// # Panics
    /// Where `channel` is not below `out_channels`.
    pub fn bias_at(&self, channel: usize) -> T {
        let (plane, channels) = (self.geometry.shape.out_plane(), self.geometry.params().out_channels);
        assert!(channel < channels);
        let slices = Slices::new(&self.geometry.shape);
        slices.sum(|chunk| {
            let mut lanes = [T::ZERO; LANES];
            for piece in chunk {
                for (i, (image, position)) in slices.piece(piece).of_image().enumerate() {
                    let dy = self.output_gradient[(image * channels + channel) * plane + position];
                    lanes[i % LANES] = lanes[i % LANES].plus(dy);
                }
            }
            join(lanes)
        })
    }

    /// What one position of an image adds to the gradient of a weight: the values of the input and of the output's gradient. None where
    /// it reads padding.
    fn weight_term(&self, index: usize, image: usize, position: usize) -> Option<(T, T)> {
        let shape = &self.geometry.shape;
        let [depth, height, width] = &shape.axes;
        let (tap, kernel) = (index % shape.taps(), index / shape.taps());
        let (channel, out) = (kernel % shape.in_channels, kernel / shape.in_channels);
        let [pd, ph, pw] = shape.position(position);
        let d = depth.read(pd, tap / (height.kernel * width.kernel))?;
        let h = height.read(ph, tap / width.kernel % height.kernel)?;
        let w = width.read(pw, tap % width.kernel)?;
        let plane = (image * shape.groups + out / shape.out_channels) * shape.in_channels + channel;
        let x = self.input[((plane * depth.input + d) * height.input + h) * width.input + w];
        let out_plane = image * shape.groups * shape.out_channels + out;
        Some((x, self.output_gradient[out_plane * shape.out_plane() + position]))
    }
}

/// Calls `visit(w, dy)` for each term of the element `index` of the input's gradient, in order.
pub(super) fn input_terms<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    index: usize,
    weight: &[T],
    output_gradient: &[T],
    mut visit: impl FnMut(T, T),
) {
    let shape = &geometry.shape;
    let [depth, height, width] = &shape.axes;
    let at = index % shape.in_plane();
    let [d, h, w] = [at / (height.input * width.input), at / width.input % height.input, at % width.input];
    let plane = index / shape.in_plane();
    let (channel, group) = (plane % shape.in_channels, plane / shape.in_channels);
    let (group, image) = (group % shape.groups, group / shape.groups);
    for out in group * shape.out_channels..(group + 1) * shape.out_channels {
        let kernel = (out * shape.in_channels + channel) * shape.taps();
        let gradient = (image * shape.groups * shape.out_channels + out) * shape.out_plane();
        for (pd, kd) in readers(depth, d) {
            for (ph, kh) in readers(height, h) {
                for (pw, kw) in readers(width, w) {
                    let tap = (kd * height.kernel + kh) * width.kernel + kw;
                    let position = (pd * height.output + ph) * width.output + pw;
                    visit(weight[kernel + tap], output_gradient[gradient + position]);
                }
            }
        }
    }
}

/// The windows that read coordinate `at`, in ascending order, each with the tap that it reads it with.
fn readers(axis: &Axis, at: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..axis.kernel).rev().filter_map(move |tap| {
        let start = at as isize + axis.pad_begin - (tap * axis.dilation) as isize;
        let start = usize::try_from(start).ok().filter(|start| start.is_multiple_of(axis.stride))?;
        Some((start / axis.stride, tap)).filter(|&(window, _)| window < axis.output)
    })
}
