//! The transposed convolution, straight from its formula.

use super::gradient::{Expected, input_terms};
use crate::element::Element;
use crate::epilogue::{Activation, normalise_bias};
use crate::error::{Argument, Result, check_len};
use crate::geometry::Geometry;

/// A transposed convolution, ready to be asked for any element of its output.
#[derive(Debug, Clone)]
pub struct TransposeOracle<'a, T, const D: usize> {
    convolution: Geometry<D>,
    input: &'a [T],
    weight: &'a [T],
    bias: Vec<T>,
    activation: Activation<T>,
}

impl<'a, T: Element, const D: usize> TransposeOracle<'a, T, D> {
    /// The transposed convolution that is the input gradient of `convolution`, without bias or activation.
    ///
    /// Shapes: `input` as the output of `convolution`, `weight` as its weights.
    ///
    /// # Errors
    /// A slice of the wrong length.
    pub fn new(convolution: &Geometry<D>, input: &'a [T], weight: &'a [T]) -> Result<Self> {
        check_len(Argument::Input, input.len(), convolution.output_len())?;
        check_len(Argument::Weight, weight.len(), convolution.weight_len())?;
        let bias = normalise_bias(None, convolution.params().in_channels)?;
        Ok(Self { convolution: *convolution, input, weight, bias, activation: Activation::Identity })
    }

    /// Adds `bias[channel]` to each output.
    ///
    /// # Errors
    /// A length that is not the number of output channels.
    pub fn bias(mut self, bias: &[T]) -> Result<Self> {
        self.bias = normalise_bias(Some(bias), self.bias.len())?;
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

    /// Every output, each as [`TransposeOracle::at`].
    pub fn output(&self) -> Vec<T> {
        (0..self.convolution.input_len()).map(|index| self.at(index)).collect()
    }

    /// The output element at `index`: one chain of fused multiply-adds from +0.0 over (input channel, position in the input) ascending,
    /// then + bias, activation.
    ///
    /// # Panics
    /// Where `index` is not below the output's length.
    pub fn at(&self, index: usize) -> T {
        let (mut sum, channel) = (T::ZERO, self.channel(index));
        input_terms(&self.convolution, index, self.weight, self.input, |w, x| sum = w.mul_add(x, sum));
        self.activation.apply(sum.plus(self.bias[channel]), channel)
    }

    /// The output element at `index` before the activation, in double precision.
    ///
    /// # Panics
    /// As [`TransposeOracle::at`].
    pub fn expected_at(&self, index: usize) -> Expected {
        let bias = self.bias[self.channel(index)];
        Expected::of(|visit| {
            input_terms(&self.convolution, index, self.weight, self.input, &mut *visit);
            visit(T::from_f64(1.0), bias);
        })
    }

    fn channel(&self, index: usize) -> usize {
        index / self.convolution.shape.in_plane() % self.bias.len()
    }
}
