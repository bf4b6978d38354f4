//! What happens to a finished sum before it is stored: bias, residual and activation, as data, with the scalar
//! definition of each.

use crate::element::Element;
use crate::error::{Argument, Error, Result, check_len};

/// What is applied to `Σ w·x + bias + residual` before it is stored. NaN stays NaN.
///
/// [`Activation::apply`] is the definition. [`Activation::is_exact`] ones are computed exactly as defined; the
/// others within 4 units in the last place of it in `f32` (GELU: 4 ulp or 2⁻²²·|x|, whichever is larger), by the
/// same fused multiply-adds and divisions on every instruction set with FMA, so that the bytes agree; `f64` is
/// computed with the `libm` crate, exactly as defined.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Activation<T> {
    /// x.
    #[default]
    Identity,
    /// 0 where x < 0, else x.
    Relu,
    /// [`Activation::Clamp`] from 0 to 6.
    Relu6,
    /// `lo` where x < `lo`, `hi` where x > `hi`, else x.
    Clamp {
        /// The least value.
        lo: T,
        /// The greatest value.
        hi: T,
    },
    /// `slope`·x where x < 0, else x.
    LeakyRelu {
        /// The factor of negative values.
        slope: T,
    },
    /// `slopes[channel]`·x where x < 0, else x.
    Prelu {
        /// The factor of negative values for each output channel.
        slopes: Vec<T>,
    },
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// x / (1 + e⁻ˣ), also called swish.
    Silu,
    /// x · HardSigmoid(x).
    HardSwish,
    /// x·(1/6) + 1/2 (one fused multiply-add), clamped from 0 to 1.
    HardSigmoid,
    /// x/2 · (1 + erf(x/√2)). Hendrycks, Gimpel, "Gaussian Error Linear Units", 2016.
    Gelu,
    /// x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))), GELU's approximation from the same paper.
    GeluTanh,
}

impl<T: Element> Activation<T> {
    /// The activation of the pre-activation value `x` in output channel `channel`: the definition.
    ///
    /// # Panics
    /// Where PReLU has no slope for `channel`.
    #[must_use]
    pub fn apply(&self, x: T, channel: usize) -> T {
        let real = |f: fn(f64) -> f64| T::from_f64(f(x.to_f64()));
        match self {
            Self::Identity => x,
            Self::Relu | Self::Relu6 | Self::Clamp { .. } => {
                let (lo, hi) = self.clamp().unwrap_or((x, x));
                clamp(x, lo, hi)
            }
            Self::LeakyRelu { slope } => leaky(x, *slope),
            Self::Prelu { slopes } => leaky(x, slopes[channel]),
            Self::HardSigmoid => hard_sigmoid(x),
            Self::HardSwish => x.times(hard_sigmoid(x)),
            Self::Sigmoid => real(|x| 1.0 / (1.0 + libm::exp(-x))),
            Self::Tanh => real(libm::tanh),
            // −∞ · 0 would be NaN; the limit is −0.
            Self::Silu => real(|x| if x < -800.0 { -0.0 } else { x / (1.0 + libm::exp(-x)) }),
            Self::Gelu => real(|x| {
                // erfc keeps the digits that 1 + erf(x) cancels on the left.
                if x < -50.0 { -0.0 } else { 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) }
            }),
            Self::GeluTanh => real(gelu_tanh),
        }
    }

    /// The derivative at the pre-activation value `x` in output channel `channel`; at a kink that of the flat side, or `slope`.
    ///
    /// # Panics
    /// Where PReLU has no slope for `channel`.
    #[must_use]
    pub fn derivative(&self, x: T, channel: usize) -> T {
        let real = |f: fn(f64) -> f64| T::from_f64(f(x.to_f64()));
        match self {
            // At the output it is the same.
            Self::Identity | Self::Relu | Self::Relu6 | Self::Clamp { .. } => {
                self.derivative_at_output(x, channel)
            }
            Self::LeakyRelu { slope } => leaky_slope(x, *slope),
            Self::Prelu { slopes } => leaky_slope(x, slopes[channel]),
            Self::HardSigmoid => real(|x| if x.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 * x }),
            Self::HardSwish => real(|x| match x {
                ..-3.0 => 0.0,
                3.0.. => 1.0,
                _ => x / 3.0 + 0.5,
            }),
            Self::Sigmoid => real(|x| sigmoid(x) * sigmoid(-x)),
            Self::Tanh => real(|x| 1.0 - libm::tanh(x) * libm::tanh(x)),
            Self::Silu => {
                real(|x| if x.abs() > 800.0 { sigmoid(x) } else { sigmoid(x) * (1.0 + x * sigmoid(-x)) })
            }
            Self::Gelu => real(|x| {
                const DENSITY: f64 = 0.398_942_280_401_432_7;
                let normal = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
                if x.abs() > 50.0 { normal } else { normal + x * DENSITY * libm::exp(-0.5 * x * x) }
            }),
            Self::GeluTanh => real(|x| {
                const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
                let u = SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x);
                let du = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044_715 * x * x);
                let half = sigmoid(2.0 * u);
                if x.abs() > 50.0 { half } else { half + 2.0 * x * half * sigmoid(-2.0 * u) * du }
            }),
        }
    }

    /// The derivative where the activation's value is `y`, where [`Activation::output_tells`] it.
    pub(crate) fn derivative_at_output(&self, y: T, channel: usize) -> T {
        let one = T::from_f64(1.0);
        match self {
            Self::Relu | Self::Relu6 | Self::Clamp { .. } => {
                let (lo, hi) = self.clamp().unwrap_or((y, y));
                if lo < y && y < hi || y.to_f64().is_nan() { one } else { T::ZERO }
            }
            Self::LeakyRelu { slope } => leaky_slope(y, *slope),
            Self::Prelu { slopes } => leaky_slope(y, slopes[channel]),
            Self::Sigmoid => T::from_f64(y.to_f64() * (1.0 - y.to_f64())),
            Self::Tanh => T::from_f64(1.0 - y.to_f64() * y.to_f64()),
            Self::HardSigmoid if T::ZERO < y && y < one => T::from_f64(1.0 / 6.0),
            Self::HardSigmoid => T::ZERO,
            Self::Identity | Self::Silu | Self::HardSwish | Self::Gelu | Self::GeluTanh => one,
        }
    }

    /// Whether the derivative in output channel `channel` can be told from the activation's value.
    pub(crate) fn output_tells(&self, channel: usize) -> bool {
        match self {
            Self::LeakyRelu { slope } => *slope > T::ZERO,
            Self::Prelu { slopes } => slopes[channel] > T::ZERO,
            Self::Silu | Self::HardSwish | Self::Gelu | Self::GeluTanh => false,
            _ => true,
        }
    }

    /// Whether every fused instruction set gives the bytes of [`Activation::apply`] (in `f64` all activations do). Where a
    /// multiply-add rounds twice, HardSigmoid and HardSwish differ by that rounding.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let transcendental =
            matches!(self, Self::Sigmoid | Self::Tanh | Self::Silu | Self::Gelu | Self::GeluTanh);
        !transcendental || T::NAME == "f64"
    }

    /// Lower and upper bound, where that is all that the activation does.
    pub(crate) fn clamp(&self) -> Option<(T, T)> {
        match self {
            Self::Identity => Some((T::NEG_INFINITY, T::INFINITY)),
            Self::Relu => Some((T::ZERO, T::INFINITY)),
            Self::Relu6 => Some((T::ZERO, T::from_f64(6.0))),
            Self::Clamp { lo, hi } => Some((*lo, *hi)),
            _ => None,
        }
    }

    /// # Errors
    /// A clamp whose bounds are out of order or NaN; slopes that are not one for each output channel.
    pub(crate) fn validate(&self, out_channels: usize) -> Result<()> {
        match self {
            // Written so that a NaN in either fails.
            Self::Clamp { lo, hi } if !matches!(lo.partial_cmp(hi), Some(order) if order.is_le()) => {
                Err(Error::InvalidClamp { lo: lo.to_f64(), hi: hi.to_f64() })
            }
            Self::Prelu { slopes } => check_len(Argument::Slopes, slopes.len(), out_channels),
            _ => Ok(()),
        }
    }
}

/// Written as comparisons, so that NaN stays NaN and −0 stays −0.
fn clamp<T: Element>(x: T, lo: T, hi: T) -> T {
    let x = if lo > x { lo } else { x };
    if hi < x { hi } else { x }
}

fn leaky<T: Element>(x: T, slope: T) -> T {
    if x < T::ZERO { slope.times(x) } else { x }
}

fn leaky_slope<T: Element>(x: T, slope: T) -> T {
    if x > T::ZERO { T::from_f64(1.0) } else { slope }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn hard_sigmoid<T: Element>(x: T) -> T {
    let half = T::from_f64(0.5);
    clamp(x.mul_add(T::from_f64(1.0 / 6.0), half), T::ZERO, T::from_f64(1.0))
}

fn gelu_tanh(x: f64) -> f64 {
    const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
    if x < -50.0 {
        return -0.0;
    }
    // ½(1 + tanh u) = 1 / (1 + e⁻²ᵘ) does not cancel on the left.
    let u = SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x);
    x / (1.0 + libm::exp(-2.0 * u))
}

/// `bias + 0.0`: no bias and a bias of −0 give the same bytes.
pub(crate) fn normalise_bias<T: Element>(bias: Option<&[T]>, out_channels: usize) -> Result<Vec<T>> {
    match bias {
        None => Ok(vec![T::ZERO; out_channels]),
        Some(bias) => {
            check_len(Argument::Bias, bias.len(), out_channels)?;
            Ok(bias.iter().map(|b| b.plus(T::ZERO)).collect())
        }
    }
}

/// Bias, normalised, and activation: what a layer does to each finished sum.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Epilogue<T> {
    /// One value for each output channel.
    pub(crate) bias: Vec<T>,
    pub(crate) activation: Activation<T>,
}

impl<T: Element> Epilogue<T> {
    /// # Errors
    /// A bias or slopes that are not one for each output channel; a clamp out of order.
    pub(crate) fn new(bias: Option<&[T]>, activation: Activation<T>, out_channels: usize) -> Result<Self> {
        activation.validate(out_channels)?;
        Ok(Self { bias: normalise_bias(bias, out_channels)?, activation })
    }

    /// Replaces the bias by one of the same length.
    pub(crate) fn update_bias(&mut self, bias: &[T]) {
        self.bias.iter_mut().zip(bias).for_each(|(to, bias)| *to = bias.plus(T::ZERO));
    }
}
