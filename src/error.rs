//! What can be wrong with a request: one variant for each broken precondition.

use std::fmt;

/// `Result` with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The argument that a message speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Argument {
    /// The image, `[N, C_in, spatial…]`.
    Input,
    /// The kernels, `[C_out, C_in / groups, kernel…]`.
    Weight,
    /// One value for each output channel.
    Bias,
    /// The result, `[N, C_out, spatial…]`.
    Output,
    /// What is added before the activation, shaped like the output.
    Residual,
    /// PReLU's slopes, one for each output channel.
    Slopes,
    /// The im2col matrix, `[N, C_in · kernel, positions]`.
    Columns,
    /// The gradient with respect to the input, shaped like it.
    InputGradient,
    /// The gradient with respect to the weights, shaped like them.
    WeightGradient,
    /// The gradient with respect to the bias, shaped like it.
    BiasGradient,
    /// The gradient with respect to the output, shaped like it.
    OutputGradient,
    /// What an activation was applied to, shaped like the output.
    PreActivation,
    /// The gradient with respect to that, shaped like it.
    PreActivationGradient,
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input => "input",
            Self::Weight => "weight",
            Self::Bias => "bias",
            Self::Output => "output",
            Self::Residual => "residual",
            Self::Slopes => "slopes",
            Self::Columns => "columns",
            Self::InputGradient => "input gradient",
            Self::WeightGradient => "weight gradient",
            Self::BiasGradient => "bias gradient",
            Self::OutputGradient => "output gradient",
            Self::PreActivation => "pre-activation",
            Self::PreActivationGradient => "pre-activation gradient",
        })
    }
}

/// Input or output channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Channels {
    /// `in_channels`.
    In,
    /// `out_channels`.
    Out,
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in_channels",
            Self::Out => "out_channels",
        })
    }
}

/// A broken precondition. Nothing has been written when one is returned.
///
/// Axes are counted over the spatial axes from 0, outermost first; those of [`Error::WrongShape`] over all axes of the array.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// `in_channels` or `out_channels` is 0.
    ZeroChannels {
        /// Which of the two.
        channels: Channels,
    },
    /// `groups` is 0.
    ZeroGroups,
    /// The kernel has no taps along an axis.
    ZeroKernel {
        /// The spatial axis.
        axis: usize,
    },
    /// The stride along an axis is 0.
    ZeroStride {
        /// The spatial axis.
        axis: usize,
    },
    /// The dilation along an axis is 0; a dense kernel has dilation 1.
    ZeroDilation {
        /// The spatial axis.
        axis: usize,
    },
    /// `groups` does not divide the channels.
    GroupsDoNotDivide {
        /// Which channels.
        channels: Channels,
        /// Their number.
        actual: usize,
        /// The number of groups that had to divide it.
        groups: usize,
    },
    /// The dilated kernel is longer than the padded input.
    WindowDoesNotFit {
        /// The spatial axis.
        axis: usize,
        /// `dilation · (kernel − 1) + 1`.
        window: usize,
        /// `input + pad_begin + pad_end`; negative where more is cropped than there is.
        padded: isize,
    },
    /// A transposed convolution has nothing to start from along an axis, or cuts all that it makes.
    NoOutput {
        /// The spatial axis.
        axis: usize,
        /// The input's extent.
        input: usize,
        /// What the output's would be.
        output: i128,
    },
    /// The output padding of a transposed convolution is neither below its stride nor below its dilation.
    OutputPaddingTooLarge {
        /// The spatial axis.
        axis: usize,
        /// The output padding.
        actual: usize,
        /// What it may be at most.
        most: usize,
    },
    /// An extent along an axis is over `isize::MAX` once padded or dilated.
    AxisTooLarge {
        /// The spatial axis.
        axis: usize,
        /// What was being computed.
        what: &'static str,
    },
    /// A tensor would have over `isize::MAX` bytes.
    TensorTooLarge {
        /// The tensor.
        argument: Argument,
    },
    /// Memory for a result or for scratch could not be had.
    OutOfMemory {
        /// How much was asked for.
        bytes: usize,
    },
    /// A slice has the wrong number of elements.
    WrongLength {
        /// The slice.
        argument: Argument,
        /// Its elements.
        actual: usize,
        /// The elements that it had to have.
        required: usize,
    },
    /// An array has the wrong number of axes.
    WrongRank {
        /// The array.
        argument: Argument,
        /// Its axes.
        actual: usize,
        /// The axes that it had to have.
        required: usize,
    },
    /// An array has the wrong extent along an axis.
    WrongShape {
        /// The array.
        argument: Argument,
        /// The axis, counted over all of the array's from 0.
        axis: usize,
        /// Its extent.
        actual: usize,
        /// The extent that it had to have.
        required: usize,
    },
    /// A clamp whose lower bound is over its upper bound, or not a number.
    InvalidClamp {
        /// The lower bound.
        lo: f64,
        /// The upper bound.
        hi: f64,
    },
    /// This CPU, or this build, does not have the instruction set.
    IsaUnavailable {
        /// The instruction set that was asked for.
        isa: &'static str,
    },
    /// `CONVGEMM_ISA` is not the name of an instruction set.
    UnknownIsa {
        /// Its value.
        name: String,
    },
    /// The forced algorithm, lowering or tile does not exist for this problem.
    NotApplicable {
        /// What was forced.
        what: String,
        /// What it needs.
        needs: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroChannels { channels } => write!(f, "{channels} is 0, it has to be at least 1"),
            Self::ZeroGroups => write!(f, "groups is 0, it has to be at least 1"),
            Self::ZeroKernel { axis } => write!(f, "kernel[{axis}] is 0, it has to be at least 1"),
            Self::ZeroStride { axis } => write!(f, "stride[{axis}] is 0, it has to be at least 1"),
            Self::ZeroDilation { axis } => {
                write!(f, "dilation[{axis}] is 0, it has to be at least 1 (1 is a dense kernel)")
            }
            Self::GroupsDoNotDivide { channels, actual, groups } => {
                write!(f, "{channels} is {actual}, it has to be a multiple of groups, {groups}")
            }
            Self::WindowDoesNotFit { axis, window, padded } => write!(
                f,
                "the window on axis {axis} is dilation·(kernel−1)+1 = {window} long, \
                 it has to fit into the padded input, {padded}"
            ),
            Self::NoOutput { axis, input, output } => write!(
                f,
                "the output on axis {axis} would be {output} long for an input of {input}, both have to be at least 1"
            ),
            Self::OutputPaddingTooLarge { axis, actual, most } => write!(
                f,
                "output_padding[{axis}] is {actual}, it has to be below the stride or the dilation, at most {most}"
            ),
            Self::AxisTooLarge { axis, what } => {
                write!(f, "{what} on axis {axis} is over {}, the largest extent", isize::MAX)
            }
            Self::TensorTooLarge { argument } => {
                write!(f, "the {argument} would be over {} bytes long", isize::MAX)
            }
            Self::OutOfMemory { bytes } => write!(f, "no memory for {bytes} bytes"),
            Self::WrongLength { argument, actual, required } => {
                write!(f, "{argument} has {actual} elements, it has to have {required}")
            }
            Self::WrongRank { argument, actual, required } => {
                write!(f, "{argument} has {actual} axes, it has to have {required}")
            }
            Self::WrongShape { argument, axis, actual, required } => {
                write!(f, "{argument} is {actual} long on axis {axis} of its shape, it has to be {required}")
            }
            Self::InvalidClamp { lo, hi } => {
                write!(f, "the clamp is from {lo} to {hi}, the first has to be at most the second")
            }
            Self::IsaUnavailable { isa } => {
                write!(f, "instruction set {isa} is not available on this CPU")
            }
            Self::UnknownIsa { name } => {
                write!(f, "CONVGEMM_ISA is {name:?}, it has to be portable, avx2, avx512 or neon")
            }
            Self::NotApplicable { what, needs } => write!(f, "{what} does not apply: it needs {needs}"),
        }
    }
}

impl std::error::Error for Error {}

/// `actual == required`, or the error that says so.
pub(crate) fn check_len(argument: Argument, actual: usize, required: usize) -> Result<()> {
    if actual == required { Ok(()) } else { Err(Error::WrongLength { argument, actual, required }) }
}
