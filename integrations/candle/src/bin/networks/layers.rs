//! A convolution, by candle or by convgemm.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use candle_core::{Device, Module, Result, Tensor};
use convgemm::{Activation, Params};
use convgemm_candle::Layer;

/// Who convolves.
pub(crate) enum Backend {
    Candle,
    Convgemm,
}

/// Seeded numbers: the same for both networks.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From `-scale` to `scale`.
    pub(crate) fn tensor(&mut self, shape: &[usize], scale: f32) -> Result<Tensor> {
        let mut draw = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    }
}

/// What is applied to a convolution's result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum After {
    Nothing,
    Relu,
    Relu6,
}

/// A convolution with bias and activation.
pub(crate) struct Convolution {
    kind: Kind,
    /// Gathers the time that convolutions take, with bias, residual and activation.
    clock: Rc<Cell<Duration>>,
}

enum Kind {
    Candle { weight: Tensor, bias: Tensor, params: Params<2>, padding: usize, after: After },
    Convgemm(Box<Layer>),
}

/// Makes convolutions.
pub(crate) struct Maker<'a> {
    pub(crate) backend: &'a Backend,
    pub(crate) random: Random,
    pub(crate) clock: Rc<Cell<Duration>>,
}

impl Maker<'_> {
    /// A square kernel with a padding that keeps the extents at a stride of 1.
    pub(crate) fn conv(
        &mut self,
        [c_in, c_out]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
        after: After,
    ) -> Result<Convolution> {
        let padding = kernel / 2;
        let params = Params::new(c_in, c_out, [kernel; 2]).stride([stride; 2]).padding([padding; 2]);
        let params = params.groups(groups);
        // So that values keep their size through the layers.
        let terms = (c_in / groups * kernel * kernel) as f32;
        let weight = self.random.tensor(&[c_out, c_in / groups, kernel, kernel], (6.0 / terms).sqrt())?;
        let bias = self.random.tensor(&[c_out], 0.1)?;
        let kind = match self.backend {
            Backend::Candle => {
                let bias = bias.reshape((1, c_out, 1, 1))?;
                Kind::Candle { weight, bias, params, padding, after }
            }
            Backend::Convgemm => {
                let activation = match after {
                    After::Nothing => Activation::Identity,
                    After::Relu => Activation::Relu,
                    After::Relu6 => Activation::Relu6,
                };
                Kind::Convgemm(Box::new(Layer::new(&weight, Some(&bias), &params, activation)?))
            }
        };
        Ok(Convolution { kind, clock: self.clock.clone() })
    }
}

impl Convolution {
    /// The convolution of `x` plus `residual`, if there is one, before the activation.
    pub(crate) fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let start = Instant::now();
        let y = match (&self.kind, residual) {
            (Kind::Convgemm(layer), None) => layer.forward(x)?,
            (Kind::Convgemm(layer), Some(residual)) => layer.forward_add(x, residual)?,
            (Kind::Candle { weight, bias, params, padding, after }, residual) => {
                let y = x.conv2d(weight, *padding, params.stride[0], 1, params.groups)?;
                let y = y.broadcast_add(bias)?;
                let y = residual.map_or(Ok(y.clone()), |residual| &y + residual)?;
                match after {
                    After::Nothing => y,
                    After::Relu => y.relu()?,
                    After::Relu6 => y.clamp(0.0_f32, 6.0_f32)?,
                }
            }
        };
        self.clock.set(self.clock.get() + start.elapsed());
        Ok(y)
    }
}
