//! The transposed convolution: what the input gradient of a convolution computes, as a layer.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use crate::backward::BackwardOptions;
use crate::backward::bias::sum_channels;
use crate::backward::input::{InputCall, convolve, pack_phases};
use crate::backward::weight::backward_weight;
use crate::element::Element;
use crate::engine::Engine;
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Argument, Error, Result, check_len};
use crate::gemm::tiles::{Output, collect};
use crate::geometry::{Geometry, Padding, Params};
use crate::isa::{Available, Isa};
use crate::kernel::{self, KernelSet};
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::Manner;
use crate::workspace::{Key, NEXT_LAYER, Workspace};

/// A transposed convolution over `D` spatial axes: each element of the input adds the kernel, scaled, to the output, a stride
/// apart. It is the input gradient of the convolution from its output to its input, and that one's weights are its own.
///
/// Each element of the output is one chain of fused multiply-adds from +0.0 over (input channel, position in the input)
/// ascending, then + bias, then the activation: see [`crate::reference::TransposeOracle`].
///
/// ```
/// use convgemm::ConvTranspose2d;
/// // Twice as high and wide.
/// let up = ConvTranspose2d::builder(1, 1, [2, 2]).stride([2, 2]).build(&[1.0, 2.0, 3.0, 4.0])?;
/// assert_eq!(up.output_extent([1, 2])?, [2, 4]);
/// assert_eq!(up.forward(&[1.0, 10.0], 1, [1, 2])?, [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
/// # Ok::<(), convgemm::Error>(())
/// ```
pub struct ConvTranspose<T: Element, const D: usize> {
    params: TransposeParams<D>,
    set: &'static KernelSet<T>,
    epilogue: Epilogue<T>,
    /// Of each phase.
    weights: Vec<PackedWeights<T>>,
    id: u64,
}

/// Transposed convolution over one axis, in `f32`: `[N, C, length]`.
pub type ConvTranspose1d = ConvTranspose<f32, 1>;
/// Transposed convolution over two axes, in `f32`: `[N, C, height, width]`.
pub type ConvTranspose2d = ConvTranspose<f32, 2>;
/// Transposed convolution over three axes, in `f32`: `[N, C, depth, height, width]`.
pub type ConvTranspose3d = ConvTranspose<f32, 3>;

/// What a transposed convolution over `D` spatial axes is, without the sizes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TransposeParams<const D: usize> {
    /// The convolution from the output to the input; its padding is cut from the output.
    pub(crate) conv: Params<D>,
    /// What is added to the output's extents at their ends, in elements.
    output_padding: [usize; D],
}

impl<const D: usize> TransposeParams<D> {
    /// The extents of the output for an input of the extents `input`:
    /// `(input − 1)·stride + dilation·(kernel − 1) + 1 + output_padding − pad_begin − pad_end`; `input · stride` with
    /// [`Padding::SameUpper`] and [`Padding::SameLower`].
    ///
    /// # Errors
    /// An axis without elements, before or behind, and sizes that overflow.
    pub fn output_extent(&self, input: [usize; D]) -> Result<[usize; D]> {
        let mut output = [0; D];
        for (axis, output) in output.iter_mut().enumerate() {
            *output = self.axis(axis, input[axis])?.0;
        }
        Ok(output)
    }

    /// The gradient with respect to the input, `[batch, C_in, extent…]`, from `output_gradient`, `[batch, C_out, output extent…]`: a
    /// convolution with `weight`, `[C_in, C_out / groups, kernel…]`.
    ///
    /// # Errors
    /// Those of [`TransposeParams::convolution`], a slice of the wrong length, an unknown or unavailable instruction set, no memory.
    /// Nothing has been written then.
    #[expect(clippy::too_many_arguments, reason = "a shape, three tensors, how and where")]
    pub fn backward_input<T: Element>(
        &self,
        batch: usize,
        extent: [usize; D],
        output_gradient: &[T],
        weight: &[T],
        options: &BackwardOptions,
        input_gradient: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let geometry = self.convolution(batch, extent)?;
        check_len(Argument::OutputGradient, output_gradient.len(), geometry.input_len())?;
        check_len(Argument::Weight, weight.len(), geometry.weight_len())?;
        check_len(Argument::InputGradient, input_gradient.len(), geometry.output_len())?;
        convolve(&geometry, output_gradient, weight, options, input_gradient, workspace)
    }

    /// The gradient with respect to the weights, `[C_in, C_out / groups, kernel…]`, from `input`, `[batch, C_in, extent…]`, and
    /// `output_gradient`, `[batch, C_out, output extent…]`: that of [`TransposeParams::convolution`], with both exchanged.
    ///
    /// # Errors
    /// As [`TransposeParams::backward_input`].
    #[expect(clippy::too_many_arguments, reason = "a shape, three tensors, how and where")]
    pub fn backward_weight<T: Element>(
        &self,
        batch: usize,
        extent: [usize; D],
        input: &[T],
        output_gradient: &[T],
        options: &BackwardOptions,
        weight_gradient: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let geometry = self.convolution(batch, extent)?;
        check_len(Argument::Input, input.len(), geometry.output_len())?;
        check_len(Argument::OutputGradient, output_gradient.len(), geometry.input_len())?;
        backward_weight(&geometry, output_gradient, input, options, weight_gradient, workspace)
    }

    /// The gradient with respect to the bias, `[C_out]`: for each output channel the sum of `output_gradient` over images and
    /// positions, in the order of [`crate::reference::GradientOracle::bias_at`].
    ///
    /// # Errors
    /// As [`TransposeParams::backward_input`].
    pub fn backward_bias<T: Element>(
        &self,
        batch: usize,
        extent: [usize; D],
        output_gradient: &[T],
        options: &BackwardOptions,
        bias_gradient: &mut [T],
    ) -> Result<()> {
        let channels = self.conv.in_channels;
        let output = self.convolution(batch, extent)?.input_extent();
        let each = Params::new(channels, channels, [1; D]).groups(channels).geometry(batch, output)?;
        check_len(Argument::OutputGradient, output_gradient.len(), each.output_len())?;
        check_len(Argument::BiasGradient, bias_gradient.len(), channels)?;
        sum_channels(&each.shape, output_gradient, options.accumulate, bias_gradient);
        Ok(())
    }

    /// The convolution from an output to `batch` inputs of the extents `input`: its input gradient is this transposed convolution, this
    /// one's input gradient is it, and the gradients of the weights are the same, with input and output's gradient exchanged.
    ///
    /// # Errors
    /// Those of [`TransposeParams::output_extent`], and a tensor over `isize::MAX` bytes (at 8 bytes an element).
    pub fn convolution(&self, batch: usize, input: [usize; D]) -> Result<Geometry<D>> {
        let (mut output, mut begin, mut end) = ([0; D], [0; D], [0; D]);
        for axis in 0..D {
            (output[axis], begin[axis], end[axis]) = self.axis(axis, input[axis])?;
        }
        let geometry = self.conv.padding(Padding::Explicit { begin, end }).geometry(batch, output)?;
        debug_assert_eq!(geometry.output_extent(), input);
        Ok(geometry)
    }

    /// The output's extent, and the convolution's padding before it and behind, for which its windows end with its image.
    fn axis(&self, axis: usize, input: usize) -> Result<(usize, isize, isize)> {
        let too_large = || Error::AxisTooLarge { axis, what: "the output" };
        let extent = |extent: i128| isize::try_from(extent).map_err(|_| too_large());
        let (stride, more) = (self.conv.stride[axis] as i128, self.output_padding[axis] as i128);
        let window = self.conv.window(axis)? as i128;
        // The one product, which 128 bits need not hold. All that is added to it is below 2⁶⁷.
        let strides = (input as i128).checked_mul(stride).filter(|&strides| strides < i128::MAX / 2);
        let strides = strides.ok_or_else(too_large)?;
        let windows = strides - stride + window;
        let same = || {
            let total = windows + more - strides;
            (total.div_euclid(2), total - total.div_euclid(2))
        };
        let (begin, end) = match self.conv.padding {
            Padding::Valid => (0, 0),
            Padding::SameUpper => same(),
            Padding::SameLower => (same().1, same().0),
            Padding::Explicit { begin, end } => (begin[axis] as i128, end[axis] as i128),
        };
        let output = windows + more - begin - end;
        if input == 0 || output < 1 {
            return Err(Error::NoOutput { axis, input, output });
        }
        Ok((extent(output)? as usize, extent(begin)?, extent(end - more)?))
    }

    /// Checks all that can be checked without an image.
    pub(crate) fn validate(&self) -> Result<()> {
        self.conv.validate()?;
        for axis in 0..D {
            let most = self.conv.stride[axis].max(self.conv.dilation[axis]) - 1;
            if self.output_padding[axis] > most {
                return Err(Error::OutputPaddingTooLarge { axis, actual: self.output_padding[axis], most });
            }
        }
        Ok(())
    }
}

impl<T: Element, const D: usize> ConvTranspose<T, D> {
    /// Starts describing a layer with stride 1, dilation 1, no padding, one group, no bias and no activation.
    pub fn builder(
        in_channels: usize,
        out_channels: usize,
        kernel: [usize; D],
    ) -> ConvTransposeBuilder<T, D> {
        ConvTransposeBuilder {
            params: TransposeParams {
                conv: Params::new(out_channels, in_channels, kernel),
                output_padding: [0; D],
            },
            bias: None,
            activation: Activation::Identity,
            isa: None,
        }
    }

    /// The transposed convolution of `batch` images of the extents `extent`, `[batch, C_in, extent…]`, as a new
    /// `[batch, C_out, output extent…]`.
    ///
    /// # Errors
    /// Those of [`TransposeParams::convolution`], an `x` of the wrong length, no memory.
    pub fn forward(&self, x: &[T], batch: usize, extent: [usize; D]) -> Result<Vec<T>> {
        let len = self.params.convolution(batch, extent)?.input_len();
        let parallelism = Parallelism::default();
        collect(len, |y| self.run(x, batch, extent, parallelism, y, &mut Workspace::new()))
    }

    /// [`ConvTranspose::forward`] into `y`. Allocates nothing once `workspace` has seen these extents.
    ///
    /// # Errors
    /// Those of [`ConvTranspose::forward`], and a `y` of the wrong length. Nothing has been written then.
    pub fn forward_into(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        parallelism: Parallelism,
        y: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.run(x, batch, extent, parallelism, Output::new(y), workspace)
    }

    /// [`ConvTranspose::forward_into`] into memory that need not be initialised. Where it succeeds, all of `y` is.
    ///
    /// # Errors
    /// Those of [`ConvTranspose::forward_into`].
    pub fn forward_uninit(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        parallelism: Parallelism,
        y: &mut [MaybeUninit<T>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.run(x, batch, extent, parallelism, Output::uninit(y), workspace)
    }

    /// The extents of the output for images of the extents `extent`.
    ///
    /// # Errors
    /// Those of [`TransposeParams::output_extent`].
    pub fn output_extent(&self, extent: [usize; D]) -> Result<[usize; D]> {
        self.params.output_extent(extent)
    }

    /// What this layer computes.
    #[must_use]
    pub fn params(&self) -> &TransposeParams<D> {
        &self.params
    }

    /// The instruction set that it runs on.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.set.isa
    }

    /// Replaces the weights, `[C_in, C_out / groups, kernel…]`, reusing the packed ones' memory.
    ///
    /// # Errors
    /// A slice of the wrong length; the old weights stay then.
    pub fn update_weight(&mut self, weight: &[T]) -> Result<()> {
        check_len(Argument::Weight, weight.len(), self.params.conv.weight_len()?)?;
        pack_phases(&self.params.conv, weight, self.set, None, &mut self.weights)
    }

    /// Replaces the bias, `[C_out]`.
    ///
    /// # Errors
    /// A slice of the wrong length; the old bias stays then.
    pub fn update_bias(&mut self, bias: &[T]) -> Result<()> {
        check_len(Argument::Bias, bias.len(), self.params.conv.in_channels)?;
        self.epilogue.update_bias(bias);
        Ok(())
    }

    /// [`ConvTranspose::forward_into`] into any kind of output.
    pub(crate) fn run(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        parallelism: Parallelism,
        y: Output<'_, T>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let geometry = self.params.convolution(batch, extent)?;
        check_len(Argument::Input, x.len(), geometry.output_len())?;
        check_len(Argument::Output, y.len(), geometry.input_len())?;
        if x.is_empty() {
            return Ok(());
        }
        let Workspace { scratch, transposed, .. } = workspace;
        let key = Key::new(self.id, batch, extent);
        let plan = transposed
            .get(key, || (Engine::get().input_plan)(geometry.shape, self.set, Manner::default()))?;
        let (set, weights, epilogue) = (self.set, &self.weights[..], &self.epilogue);
        InputCall { plan, set, weights, transformed: None, x, add: false, epilogue, parallelism }
            .run(scratch, y)
    }
}

impl<T: Element, const D: usize> fmt::Debug for ConvTranspose<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvTranspose")
            .field("params", &self.params)
            .field("dtype", &T::NAME)
            .field("isa", &self.set.isa)
            .field("activation", &self.epilogue.activation)
            .finish_non_exhaustive()
    }
}

/// Describes a [`ConvTranspose`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvTransposeBuilder<T, const D: usize> {
    pub(crate) params: TransposeParams<D>,
    bias: Option<Vec<T>>,
    activation: Activation<T>,
    isa: Option<Isa>,
}

impl<T: Element, const D: usize> ConvTransposeBuilder<T, D> {
    /// Sets the distance between the kernels that are added to the output; 1 unless set.
    pub fn stride(mut self, stride: [usize; D]) -> Self {
        self.params.conv = self.params.conv.stride(stride);
        self
    }

    /// Sets the distance between taps; 1, a dense kernel, unless set.
    pub fn dilation(mut self, dilation: [usize; D]) -> Self {
        self.params.conv = self.params.conv.dilation(dilation);
        self
    }

    /// Sets what is cut from the output's beginning and end: an array for the same on both sides, or a [`Padding`]; nothing
    /// unless set.
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> Self {
        self.params.conv = self.params.conv.padding(padding);
        self
    }

    /// Sets what is added to the output's extents at their ends; nothing unless set. It has to be below the stride or the dilation.
    pub fn output_padding(mut self, output_padding: [usize; D]) -> Self {
        self.params.output_padding = output_padding;
        self
    }

    /// Sets the number of groups; 1 unless set.
    pub fn groups(mut self, groups: usize) -> Self {
        self.params.conv = self.params.conv.groups(groups);
        self
    }

    /// Adds `bias[channel]` to each output.
    pub fn bias(mut self, bias: &[T]) -> Self {
        self.bias = Some(bias.to_vec());
        self
    }

    /// Applies `activation` to each output.
    pub fn activation(mut self, activation: Activation<T>) -> Self {
        self.activation = activation;
        self
    }

    /// Forces an instruction set, over `CONVGEMM_ISA`; the best available unless either is set.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Validates all of it and packs `weight`, `[C_in, C_out / groups, kernel…]`.
    ///
    /// # Errors
    /// Those of [`Params::validate`]; an output padding that is neither below the stride nor below the dilation; a weight, bias or slopes
    /// of the wrong length; a clamp out of order; an instruction set that is not available or not known.
    pub fn build(self, weight: &[T]) -> Result<ConvTranspose<T, D>> {
        let Self { params, bias, activation, isa } = self;
        params.validate()?;
        let epilogue = Epilogue::new(bias.as_deref(), activation, params.conv.in_channels)?;
        let set = kernel::set(Available::choose(isa)?);
        let id = NEXT_LAYER.fetch_add(1, Ordering::Relaxed);
        let mut layer = ConvTranspose { params, set, epilogue, weights: Vec::new(), id };
        layer.update_weight(weight)?;
        Ok(layer)
    }
}
