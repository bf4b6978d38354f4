//! What a layer is, as C describes it.

use convgemm::{Accuracy, Activation, Algorithm, Element, Padding};

use crate::memory::slice;
use crate::status::{CONVGEMM_BAD_ARGUMENT, Failure, Result};

/// `pad_begin` and `pad_end` are used.
pub const CONVGEMM_PADDING_EXPLICIT: u32 = 0;
/// As much padding as makes the output `ceil(input / stride)` long, an odd one at the end; ONNX's SAME_UPPER.
pub const CONVGEMM_PADDING_SAME_UPPER: u32 = 1;
/// The same with an odd one at the beginning; ONNX's SAME_LOWER.
pub const CONVGEMM_PADDING_SAME_LOWER: u32 = 2;

/// x.
pub const CONVGEMM_IDENTITY: u32 = 0;
/// max(0, x).
pub const CONVGEMM_RELU: u32 = 1;
/// min(max(0, x), 6).
pub const CONVGEMM_RELU6: u32 = 2;
/// min(max(`activation_a`, x), `activation_b`).
pub const CONVGEMM_CLAMP: u32 = 3;
/// x where x >= 0, else `activation_a` x.
pub const CONVGEMM_LEAKY_RELU: u32 = 4;
/// 1 / (1 + exp(-x)).
pub const CONVGEMM_SIGMOID: u32 = 5;
/// tanh(x).
pub const CONVGEMM_TANH: u32 = 6;
/// x / (1 + exp(-x)), also called swish.
pub const CONVGEMM_SILU: u32 = 7;
/// x min(max(x / 6 + 1/2, 0), 1).
pub const CONVGEMM_HARD_SWISH: u32 = 8;
/// min(max(x / 6 + 1/2, 0), 1).
pub const CONVGEMM_HARD_SIGMOID: u32 = 9;
/// x/2 (1 + erf(x / sqrt(2))).
pub const CONVGEMM_GELU: u32 = 10;
/// Its approximation by tanh.
pub const CONVGEMM_GELU_TANH: u32 = 11;
/// x where x >= 0, else `activation_slopes[output channel]` x.
pub const CONVGEMM_PRELU: u32 = 12;

/// Whichever algorithm of the descriptor's accuracy is estimated to be fastest.
pub const CONVGEMM_ALGORITHM_AUTO: u32 = 0;
/// A matrix product whose im2col matrix is never written; exact.
pub const CONVGEMM_ALGORITHM_GEMM: u32 = 1;
/// Sums over windows, for few output channels in a group; exact.
pub const CONVGEMM_ALGORITHM_DIRECT: u32 = 2;
/// The im2col matrix in memory and another library's matrix product, which sums in another order.
pub const CONVGEMM_ALGORITHM_IM2COL: u32 = 3;
/// Winograd's tiles of 2 outputs along each axis, of kernels of 3 or 5 taps at a stride of 1.
pub const CONVGEMM_ALGORITHM_WINOGRAD_2: u32 = 4;
/// Those of 4.
pub const CONVGEMM_ALGORITHM_WINOGRAD_4: u32 = 5;
/// Those of 6, of 3 taps.
pub const CONVGEMM_ALGORITHM_WINOGRAD_6: u32 = 6;

/// Each output is one sum in a known order.
pub const CONVGEMM_EXACT: u32 = 0;
/// Whatever is fastest with an error of at most 1e-5 of the largest output in single precision, Winograd's tiles too; NaN and infinity
/// may spread across a tile. Gradients stay exact.
pub const CONVGEMM_FAST: u32 = 1;

/// What a layer is, but for its weights and the size of images. Of each array the first `rank` elements are used, the outermost
/// axis first. `convgemm_descriptor_init` sets all of it; set what differs afterwards.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// Spatial axes: 1, 2 or 3.
    pub rank: usize,
    /// Over all groups.
    pub in_channels: usize,
    /// Over all groups.
    pub out_channels: usize,
    /// Into how many contiguous runs both channel axes are split; `in_channels` of them is depthwise.
    pub groups: usize,
    /// Taps.
    pub kernel: [usize; 3],
    /// Distance between windows; of a transposed convolution between the kernels that are added to the output.
    pub stride: [usize; 3],
    /// Distance between taps; 1 is a dense kernel.
    pub dilation: [usize; 3],
    /// One of `CONVGEMM_PADDING_...`.
    pub padding: u32,
    /// One of `CONVGEMM_IDENTITY` to `CONVGEMM_PRELU`: what is applied to sum + bias + residual.
    pub activation: u32,
    /// Zeros before the first element; negative crops. A transposed convolution cuts as much from its output.
    pub pad_begin: [isize; 3],
    /// Zeros behind the last element.
    pub pad_end: [isize; 3],
    /// Of an activation that has parameters.
    pub activation_a: f64,
    /// Of an activation that has two parameters.
    pub activation_b: f64,
    /// Whether the layer is a transposed convolution.
    pub transposed: bool,
    /// What is added to a transposed convolution's output at its end; 0 for others.
    pub output_padding: [usize; 3],
    /// Of `CONVGEMM_PRELU`: one for each output channel. Copied when a layer is created.
    pub activation_slopes: *const f64,
    /// How many those are.
    pub activation_slopes_len: usize,
    /// One of `CONVGEMM_ALGORITHM_...`; that of a transposed convolution is `CONVGEMM_ALGORITHM_AUTO`.
    pub algorithm: u32,
    /// `CONVGEMM_EXACT` or `CONVGEMM_FAST`; that of a transposed convolution is `CONVGEMM_EXACT`.
    pub accuracy: u32,
}

impl Descriptor {
    pub(crate) fn new(rank: usize, in_channels: usize, out_channels: usize) -> Self {
        Self {
            rank,
            in_channels,
            out_channels,
            groups: 1,
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            padding: CONVGEMM_PADDING_EXPLICIT,
            activation: CONVGEMM_IDENTITY,
            pad_begin: [0; 3],
            pad_end: [0; 3],
            activation_a: 0.0,
            activation_b: 0.0,
            transposed: false,
            output_padding: [0; 3],
            activation_slopes: std::ptr::null(),
            activation_slopes_len: 0,
            algorithm: CONVGEMM_ALGORITHM_AUTO,
            accuracy: CONVGEMM_EXACT,
        }
    }

    pub(crate) fn padding<const D: usize>(&self) -> Result<Padding<D>> {
        match self.padding {
            CONVGEMM_PADDING_EXPLICIT => {
                Ok(Padding::Explicit { begin: first(self.pad_begin), end: first(self.pad_end) })
            }
            CONVGEMM_PADDING_SAME_UPPER => Ok(Padding::SameUpper),
            CONVGEMM_PADDING_SAME_LOWER => Ok(Padding::SameLower),
            other => Err(unknown("padding", other, CONVGEMM_PADDING_SAME_LOWER)),
        }
    }

    pub(crate) fn algorithm(&self) -> Result<Algorithm> {
        match self.algorithm {
            CONVGEMM_ALGORITHM_AUTO => Ok(Algorithm::Auto),
            CONVGEMM_ALGORITHM_GEMM => Ok(Algorithm::Gemm),
            CONVGEMM_ALGORITHM_DIRECT => Ok(Algorithm::Direct),
            CONVGEMM_ALGORITHM_IM2COL => Ok(Algorithm::Im2col),
            CONVGEMM_ALGORITHM_WINOGRAD_2 => Ok(Algorithm::Winograd { tile: 2 }),
            CONVGEMM_ALGORITHM_WINOGRAD_4 => Ok(Algorithm::Winograd { tile: 4 }),
            CONVGEMM_ALGORITHM_WINOGRAD_6 => Ok(Algorithm::Winograd { tile: 6 }),
            other => Err(unknown("algorithm", other, CONVGEMM_ALGORITHM_WINOGRAD_6)),
        }
    }

    pub(crate) fn accuracy(&self) -> Result<Accuracy> {
        match self.accuracy {
            CONVGEMM_EXACT => Ok(Accuracy::Exact),
            CONVGEMM_FAST => Ok(Accuracy::Fast),
            other => Err(unknown("accuracy", other, CONVGEMM_FAST)),
        }
    }

    /// # Safety
    /// `activation_slopes` is null or points to as many as `activation_slopes_len` says.
    pub(crate) unsafe fn activation<T: Element>(&self) -> Result<Activation<T>> {
        let (a, b) = (T::from_f64(self.activation_a), T::from_f64(self.activation_b));
        Ok(match self.activation {
            CONVGEMM_IDENTITY => Activation::Identity,
            CONVGEMM_RELU => Activation::Relu,
            CONVGEMM_RELU6 => Activation::Relu6,
            CONVGEMM_CLAMP => Activation::Clamp { lo: a, hi: b },
            CONVGEMM_LEAKY_RELU => Activation::LeakyRelu { slope: a },
            CONVGEMM_SIGMOID => Activation::Sigmoid,
            CONVGEMM_TANH => Activation::Tanh,
            CONVGEMM_SILU => Activation::Silu,
            CONVGEMM_HARD_SWISH => Activation::HardSwish,
            CONVGEMM_HARD_SIGMOID => Activation::HardSigmoid,
            CONVGEMM_GELU => Activation::Gelu,
            CONVGEMM_GELU_TANH => Activation::GeluTanh,
            CONVGEMM_PRELU => {
                // SAFETY: as the caller vouches.
                let slopes = unsafe {
                    slice("activation_slopes", self.activation_slopes, self.activation_slopes_len)
                }?;
                Activation::Prelu { slopes: slopes.iter().map(|&slope| T::from_f64(slope)).collect() }
            }
            other => return Err(unknown("activation", other, CONVGEMM_PRELU)),
        })
    }
}

/// The first `D` of three.
pub(crate) fn first<N: Copy, const D: usize>(values: [N; 3]) -> [N; D] {
    std::array::from_fn(|axis| values[axis])
}

pub(crate) fn unknown(field: &str, value: u32, most: u32) -> Failure {
    Failure::new(CONVGEMM_BAD_ARGUMENT, format!("{field} is {value}, it has to be from 0 to {most}"))
}
