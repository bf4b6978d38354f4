//! The oracle: naive sliding windows, straight from the formula.
//!
//! Slow on purpose. It shares nothing with the engine but the geometry, so that it can judge it:
//! [`Oracle::at`] accumulates in the order that this crate promises, [`Oracle::at_f64`] in double precision, and
//! [`Oracle::bound_at`] says how far any order of summation may be from the exact sum.
//!
//! ```
//! use convgemm::{Params, reference::Oracle};
//! let params = Params::new(1, 1, [2, 2]);
//! let image = [0., 1., 2., 3., 4., 5., 6., 7., 8.];
//! let oracle = Oracle::new(&params, 1, [3, 3], &image, &[0., 1., 2., 3.])?;
//! assert_eq!(oracle.output(), [19., 25., 37., 43.]);
//! # Ok::<(), convgemm::Error>(())
//! ```

mod gradient;
mod transpose;

pub use gradient::{Expected, GradientOracle};
pub use transpose::TransposeOracle;

use crate::element::Element;
use crate::epilogue::{Activation, normalise_bias};
use crate::error::{Argument, Result, check_len};
use crate::geometry::{Geometry, Params};

/// A convolution problem, ready to be asked for any element of its output.
#[derive(Debug, Clone)]
pub struct Oracle<'a, T, const D: usize> {
    geometry: Geometry<D>,
    input: &'a [T],
    weight: &'a [T],
    bias: Vec<T>,
    residual: Option<&'a [T]>,
    activation: Activation<T>,
}

impl<'a, T: Element, const D: usize> Oracle<'a, T, D> {
    /// A convolution of `batch` images of the extents `extent` without bias, residual or activation.
    ///
    /// Shapes: `input` `[batch, in_channels, extent…]`, `weight` `[out_channels, in_channels / groups, kernel…]`.
    ///
    /// # Errors
    /// Those of [`Params::geometry`]; a slice of the wrong length.
    pub fn new(
        params: &Params<D>,
        batch: usize,
        extent: [usize; D],
        input: &'a [T],
        weight: &'a [T],
    ) -> Result<Self> {
        let geometry = params.geometry(batch, extent)?;
        check_len(Argument::Input, input.len(), geometry.input_len())?;
        check_len(Argument::Weight, weight.len(), geometry.weight_len())?;
        let bias = normalise_bias(None, params.out_channels)?;
        Ok(Self { geometry, input, weight, bias, residual: None, activation: Activation::Identity })
    }

    /// Adds `bias[channel]` to each output.
    ///
    /// # Errors
    /// A length that is not `out_channels`.
    pub fn bias(mut self, bias: &[T]) -> Result<Self> {
        self.bias = normalise_bias(Some(bias), self.bias.len())?;
        Ok(self)
    }

    /// Adds a tensor, shaped like the output, before the activation.
    ///
    /// # Errors
    /// A length that is not the output's.
    pub fn residual(mut self, residual: &'a [T]) -> Result<Self> {
        check_len(Argument::Residual, residual.len(), self.geometry.output_len())?;
        self.residual = Some(residual);
        Ok(self)
    }

    /// Applies `activation` to each output.
    ///
    /// # Errors
    /// A clamp with bounds out of order, slopes that are not one for each output channel.
    pub fn activation(mut self, activation: Activation<T>) -> Result<Self> {
        activation.validate(self.bias.len())?;
        self.activation = activation;
        Ok(self)
    }

    /// The sizes.
    pub fn geometry(&self) -> &Geometry<D> {
        &self.geometry
    }

    /// Every output, each as [`Oracle::at`]; `[batch, out_channels, output extent…]`.
    pub fn output(&self) -> Vec<T> {
        (0..self.geometry.output_len()).map(|index| self.at(index)).collect()
    }

    /// Every output, each as [`Oracle::at_f64`].
    pub fn output_f64(&self) -> Vec<f64> {
        (0..self.geometry.output_len()).map(|index| self.at_f64(index)).collect()
    }

    /// The output element at `index` in the contract's order: one chain of fused multiply-adds from +0.0 over
    /// (channel, taps) ascending, then + bias, + residual, activation.
    ///
    /// # Panics
    /// Where `index` is not below `output_len()`.
    pub fn at(&self, index: usize) -> T {
        let mut sum = T::ZERO;
        let channel = self.terms(index, |w, x| sum = w.mul_add(x, sum));
        sum = sum.plus(self.bias[channel]);
        if let Some(residual) = self.residual {
            sum = sum.plus(residual[index]);
        }
        self.activation.apply(sum, channel)
    }

    /// The output element at `index` before the activation, accumulated in double precision.
    ///
    /// # Panics
    /// Where `index` is not below `output_len()`.
    pub fn at_f64(&self, index: usize) -> f64 {
        let mut sum = 0.0;
        let channel = self.terms(index, |w, x| sum = w.to_f64().mul_add(x.to_f64(), sum));
        sum + self.bias[channel].to_f64() + self.residual.map_or(0.0, |r| r[index].to_f64())
    }

    /// How far the element at `index`, before the activation, may be from the exact value, in whichever order
    /// its terms are summed: γₙ·(Σ|w·x| + |bias| + |residual|), n the number of roundings.
    ///
    /// Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., §3.1.
    ///
    /// # Panics
    /// Where `index` is not below `output_len()`.
    pub fn bound_at(&self, index: usize) -> f64 {
        let (mut sum, mut terms) = (0.0, 2.0);
        let channel = self.terms(index, |w, x| {
            sum += (w.to_f64() * x.to_f64()).abs();
            terms += 2.0;
        });
        sum += self.bias[channel].to_f64().abs() + self.residual.map_or(0.0, |r| r[index].to_f64().abs());
        let nu = terms * T::EPSILON.to_f64() / 2.0;
        nu / (1.0 - nu) * sum
    }

    /// [`Oracle::at_f64`] and [`Oracle::bound_at`].
    ///
    /// # Panics
    /// Where `index` is not below `output_len()`.
    pub fn expected_at(&self, index: usize) -> Expected {
        Expected { value: self.at_f64(index), bound: self.bound_at(index) }
    }

    /// Terms of the element at `index` that do not read padding.
    ///
    /// # Panics
    /// Where `index` is not below `output_len()`.
    pub fn terms_at(&self, index: usize) -> usize {
        let mut terms = 0;
        self.terms(index, |_, _| terms += 1);
        terms
    }

    /// Calls `visit(w, x)` for each term of the element at `index`, in order; gives the output channel.
    fn terms(&self, index: usize, mut visit: impl FnMut(T, T)) -> usize {
        let shape = &self.geometry.shape;
        let plane = shape.out_plane();
        let [pd, ph, pw] = shape.position(index % plane);
        let channel = index / plane % self.geometry.params().out_channels;
        let image = index / plane / self.geometry.params().out_channels;
        let group = channel / shape.out_channels;
        let [ad, ah, aw] = shape.axes;
        let mut w = channel * shape.k();
        for c in 0..shape.in_channels {
            let x_plane = (image * shape.groups + group) * shape.in_channels + c;
            for kd in 0..ad.kernel {
                for kh in 0..ah.kernel {
                    for kw in 0..aw.kernel {
                        if let (Some(d), Some(h), Some(x)) =
                            (ad.read(pd, kd), ah.read(ph, kh), aw.read(pw, kw))
                        {
                            let at = ((x_plane * ad.input + d) * ah.input + h) * aw.input + x;
                            visit(self.weight[w], self.input[at]);
                        }
                        w += 1;
                    }
                }
            }
        }
        channel
    }
}

/// The textbook's two-dimensional cross-correlation of one `height`×`width` image with one kernel: no padding, stride 1.
///
/// ```
/// use convgemm::reference::corr2d;
/// let y = corr2d(&[0., 1., 2., 3., 4., 5., 6., 7., 8.], [3, 3], &[0., 1., 2., 3.], [2, 2])?;
/// assert_eq!(y, [19., 25., 37., 43.]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// A slice of the wrong length, a kernel with no taps or larger than the image.
pub fn corr2d<T: Element>(x: &[T], extent: [usize; 2], kernel: &[T], taps: [usize; 2]) -> Result<Vec<T>> {
    Ok(Oracle::new(&Params::new(1, 1, taps), 1, extent, x, kernel)?.output())
}

/// The mathematical, true convolution of one image with one kernel: [`corr2d`] with the kernel reversed on both
/// axes. No padding, stride 1.
///
/// ```
/// use convgemm::reference::true_conv2d;
/// let y = true_conv2d(&[0., 1., 2., 3., 4., 5., 6., 7., 8.], [3, 3], &[3., 2., 1., 0.], [2, 2])?;
/// assert_eq!(y, [19., 25., 37., 43.]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// Those of [`corr2d`].
pub fn true_conv2d<T: Element>(
    x: &[T],
    extent: [usize; 2],
    kernel: &[T],
    taps: [usize; 2],
) -> Result<Vec<T>> {
    corr2d(x, extent, &flip(kernel), taps)
}

/// A kernel of any rank reversed on every spatial axis, which turns a cross-correlation into a true convolution
/// and back. For several channels flip each plane of taps by itself.
#[must_use]
pub fn flip<T: Element>(taps: &[T]) -> Vec<T> {
    taps.iter().rev().copied().collect()
}
