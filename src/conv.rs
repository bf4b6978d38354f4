//! The public face: [`Conv`] and its builder.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use crate::element::Element;
use crate::engine::{Engine, pack};
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Argument, Result, check_len};
use crate::forward::{self, Call, Weights};
use crate::gemm::tiles::{Output, collect};
use crate::geometry::{Geometry, Padding, Params};
use crate::isa::{Available, Isa};
use crate::kernel::{self, KernelSet};
use crate::pack::buffer::Scratch;
use crate::pack::transformed::TransformedWeights;
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::{Accuracy, Algorithm, Given, Plan, Tuning};
use crate::workspace::{Key, NEXT_LAYER, Workspace};

/// A convolution layer over `D` spatial axes: weights packed for this machine, ready for images of any size and
/// batches of any number.
///
/// The result has the same bytes whatever the batch, the tiles, the algorithm (of the exact family) and the
/// instruction set (of those with fused multiply-add), and is that of [`crate::reference::Oracle`]. It can be shared
/// between threads; each call works in a [`Workspace`] of its own.
///
/// ```
/// use convgemm::{Activation, Conv2d};
/// let (weight, bias) = (vec![0.1; 8 * 3 * 3 * 3], vec![0.5; 8]);
/// let conv = Conv2d::builder(3, 8, [3, 3])
///     .padding([1, 1])
///     .bias(&bias)
///     .activation(Activation::Relu)
///     .build(&weight)?;
/// let x = vec![1.0; 2 * 3 * 5 * 5];
/// let y = conv.forward(&x, 2, [5, 5])?;
/// assert_eq!(y.len(), 2 * 8 * 5 * 5);
/// # Ok::<(), convgemm::Error>(())
/// ```
pub struct Conv<T: Element, const D: usize> {
    params: Params<D>,
    set: &'static KernelSet<T>,
    algorithm: Algorithm,
    accuracy: Accuracy,
    tuning: Tuning,
    epilogue: Epilogue<T>,
    weights: Stored<T>,
    /// What a workspace knows the layer's plans by.
    id: u64,
}

/// Convolution over one axis, in `f32`: `[N, C, length]`.
pub type Conv1d = Conv<f32, 1>;
/// Convolution over two axes, in `f32`: `[N, C, height, width]`.
pub type Conv2d = Conv<f32, 2>;
/// Convolution over three axes, in `f32`: `[N, C, depth, height, width]`.
pub type Conv3d = Conv<f32, 3>;

/// Weights in the form that the layer's algorithm reads.
enum Stored<T> {
    Raw(Vec<T>),
    Packed {
        packed: PackedWeights<T>,
        /// For Winograd's tiles of 2, 4 and 6, made when the first plan asks for them.
        transformed: Box<[OnceLock<TransformedWeights<T>>; 3]>,
    },
}

impl<T: Element> Stored<T> {
    /// What `plan` reads.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn of(&self, plan: &Plan, set: &'static KernelSet<T>) -> Result<Weights<'_, T>> {
        let (packed, transformed) = match self {
            Self::Raw(raw) => return Ok(Weights::Raw(raw)),
            Self::Packed { packed, transformed } => (packed, transformed),
        };
        let Some(winograd) = &plan.winograd else { return Ok(Weights::Packed(packed, None)) };
        let known = &transformed[winograd.tile() / 2 - 1];
        let weights = if let Some(weights) = known.get() {
            weights
        } else {
            let mut weights = TransformedWeights::new();
            (Engine::get().transform)(&mut weights, &plan.shape, winograd.filters, packed, set)?;
            known.get_or_init(|| weights)
        };
        Ok(Weights::Packed(packed, Some(weights)))
    }
}

impl<T: Element, const D: usize> Conv<T, D> {
    /// Starts describing a layer with stride 1, dilation 1, no padding, one group, no bias and no activation.
    pub fn builder(in_channels: usize, out_channels: usize, kernel: [usize; D]) -> ConvBuilder<T, D> {
        Self::with_params(Params::new(in_channels, out_channels, kernel))
    }

    /// Starts describing a layer with the given parameters.
    pub fn with_params(params: Params<D>) -> ConvBuilder<T, D> {
        ConvBuilder {
            params,
            bias: None,
            activation: Activation::Identity,
            isa: None,
            algorithm: Algorithm::Auto,
            accuracy: Accuracy::Exact,
            tuning: Tuning::default(),
        }
    }

    /// The convolution of `batch` images of the extents `extent`, `[batch, C_in, extent…]`, as a new
    /// `[batch, C_out, output extent…]`.
    ///
    /// # Errors
    /// A window that does not fit, sizes that overflow, an `x` of the wrong length, no memory.
    pub fn forward(&self, x: &[T], batch: usize, extent: [usize; D]) -> Result<Vec<T>> {
        let len = self.geometry(batch, extent)?.output_len();
        check_len(Argument::Input, x.len(), self.geometry(batch, extent)?.input_len())?;
        collect(len, |y| self.run(x, batch, extent, &ForwardOptions::new(), y, &mut Workspace::new()))
    }

    /// [`Conv::forward`] into `y`. Allocates nothing once `workspace` has seen these extents.
    ///
    /// # Errors
    /// Those of [`Conv::forward`], and a `y` of the wrong length. Nothing has been written then.
    pub fn forward_into(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        y: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.forward_with(x, batch, extent, &ForwardOptions::new(), y, workspace)
    }

    /// [`Conv::forward_into`] with options.
    ///
    /// # Errors
    /// Those of [`Conv::forward_into`], and a residual of the wrong length.
    pub fn forward_with(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        options: &ForwardOptions<'_, T>,
        y: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.run(x, batch, extent, options, Output::new(y), workspace)
    }

    /// [`Conv::forward_with`] into memory that need not be initialised. Where it succeeds, all of `y` is.
    ///
    /// # Errors
    /// Those of [`Conv::forward_with`].
    pub fn forward_uninit(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        options: &ForwardOptions<'_, T>,
        y: &mut [MaybeUninit<T>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.run(x, batch, extent, options, Output::uninit(y), workspace)
    }

    /// The extents of the output for images of the extents `extent`.
    ///
    /// # Errors
    /// A window that does not fit, sizes that overflow.
    pub fn output_extent(&self, extent: [usize; D]) -> Result<[usize; D]> {
        self.params.output_extent(extent)
    }

    /// All sizes for `batch` images of the extents `extent`.
    ///
    /// # Errors
    /// A window that does not fit, sizes that overflow.
    pub fn geometry(&self, batch: usize, extent: [usize; D]) -> Result<Geometry<D>> {
        self.params.geometry(batch, extent)
    }

    /// What would run for `batch` images of the extents `extent`, and why. Computes nothing.
    ///
    /// # Errors
    /// Those of [`Conv::geometry`]; a tuning that does not apply to these extents.
    pub fn plan(&self, batch: usize, extent: [usize; D]) -> Result<Plan> {
        let shape = self.geometry(batch, extent)?.shape;
        let allowed = (self.algorithm, self.accuracy);
        (Engine::get().plan)(shape, self.set, allowed, self.tuning, Given::Once)
    }

    /// What this layer computes.
    #[must_use]
    pub fn params(&self) -> &Params<D> {
        &self.params
    }

    /// The instruction set that it runs on.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.set.isa
    }

    /// Replaces the weights, `[C_out, C_in / groups, kernel…]`, reusing the packed ones' memory.
    ///
    /// # Errors
    /// A slice of the wrong length; the old weights stay then.
    pub fn update_weight(&mut self, weight: &[T]) -> Result<()> {
        check_len(Argument::Weight, weight.len(), self.params.weight_len()?)?;
        match &mut self.weights {
            Stored::Raw(raw) => raw.copy_from_slice(weight),
            Stored::Packed { packed, transformed } => {
                pack(&self.params, weight, self.set.lanes, packed)?;
                for known in transformed.iter_mut().filter_map(OnceLock::get_mut) {
                    (Engine::get().transform_again)(known, packed, self.set)?;
                }
            }
        }
        Ok(())
    }

    /// Replaces the bias, `[C_out]`.
    ///
    /// # Errors
    /// A slice of the wrong length; the old bias stays then.
    pub fn update_bias(&mut self, bias: &[T]) -> Result<()> {
        check_len(Argument::Bias, bias.len(), self.params.out_channels)?;
        self.epilogue.update_bias(bias);
        Ok(())
    }

    /// [`Conv::forward_with`] into any kind of output.
    pub(crate) fn run(
        &self,
        x: &[T],
        batch: usize,
        extent: [usize; D],
        options: &ForwardOptions<'_, T>,
        y: Output<'_, T>,
        workspace: &mut Workspace,
    ) -> Result<()> {
        let key = Key::new(self.id, batch, extent);
        let Workspace { scratch, plan, .. } = workspace;
        let plan = plan.get(key, || self.plan(batch, extent))?;
        let weights = self.weights.of(plan, self.set)?;
        let call = Call {
            plan,
            set: self.set,
            weights,
            x,
            residual: options.residual,
            epilogue: &self.epilogue,
            parallelism: options.parallelism,
        };
        checked(&call, scratch, y)
    }
}

impl<T: Element, const D: usize> fmt::Debug for Conv<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conv")
            .field("params", &self.params)
            .field("dtype", &T::NAME)
            .field("isa", &self.set.isa)
            .field("algorithm", &self.algorithm)
            .field("activation", &self.epilogue.activation)
            .finish_non_exhaustive()
    }
}

/// Checks the lengths, then computes.
pub(crate) fn checked<T: Element>(call: &Call<'_, T>, scratch: &mut Scratch, y: Output<'_, T>) -> Result<()> {
    let shape = &call.plan.shape;
    check_len(Argument::Input, call.x.len(), shape.input_len())?;
    check_len(Argument::Output, y.len(), shape.output_len())?;
    if let Some(residual) = call.residual {
        check_len(Argument::Residual, residual.len(), shape.output_len())?;
    }
    forward::run(call, scratch, y)
}

/// Describes a [`Conv`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvBuilder<T, const D: usize> {
    pub(crate) params: Params<D>,
    bias: Option<Vec<T>>,
    activation: Activation<T>,
    isa: Option<Isa>,
    algorithm: Algorithm,
    accuracy: Accuracy,
    tuning: Tuning,
}

impl<T: Element, const D: usize> ConvBuilder<T, D> {
    /// Sets the distance between windows; 1 unless set.
    pub fn stride(mut self, stride: [usize; D]) -> Self {
        self.params = self.params.stride(stride);
        self
    }

    /// Sets the distance between taps; 1, a dense kernel, unless set.
    pub fn dilation(mut self, dilation: [usize; D]) -> Self {
        self.params = self.params.dilation(dilation);
        self
    }

    /// Sets the padding: an array for the same on both sides, or a [`Padding`]; none unless set.
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> Self {
        self.params = self.params.padding(padding);
        self
    }

    /// Sets the padding before the first element of each axis and leaves the one behind (none, where that was set by
    /// [`Padding`]'s names); negative crops.
    pub fn pad_begin(mut self, begin: [isize; D]) -> Self {
        self.params = self.params.pad_begin(begin);
        self
    }

    /// Sets the padding behind the last element of each axis and leaves the one before (none, where that was set by
    /// [`Padding`]'s names); negative crops.
    pub fn pad_end(mut self, end: [isize; D]) -> Self {
        self.params = self.params.pad_end(end);
        self
    }

    /// Sets the number of groups; 1 unless set.
    pub fn groups(mut self, groups: usize) -> Self {
        self.params = self.params.groups(groups);
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

    /// Forces an algorithm.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets how exact the result has to be; [`Accuracy::Exact`] unless set.
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// Forces choices that change no result.
    pub fn tuning(mut self, tuning: Tuning) -> Self {
        self.tuning = tuning;
        self
    }

    /// Validates all of it and packs `weight`, `[C_out, C_in / groups, kernel…]`.
    ///
    /// # Errors
    /// Those of [`Params::validate`]; a weight, bias or slopes of the wrong length; a clamp out of order; an
    /// instruction set that is not available or not known.
    pub fn build(self, weight: &[T]) -> Result<Conv<T, D>> {
        let Self { params, bias, activation, isa, algorithm, accuracy, tuning } = self;
        params.validate()?;
        check_len(Argument::Weight, weight.len(), params.weight_len()?)?;
        let epilogue = Epilogue::new(bias.as_deref(), activation, params.out_channels)?;
        let set = kernel::set(Available::choose(isa)?);
        let weights = if algorithm == Algorithm::Im2col {
            Stored::Raw(weight.to_vec())
        } else {
            let mut packed = PackedWeights::reusing(Vec::new());
            pack(&params, weight, set.lanes, &mut packed)?;
            Stored::Packed { packed, transformed: Box::new([const { OnceLock::new() }; 3]) }
        };
        let id = NEXT_LAYER.fetch_add(1, Ordering::Relaxed);
        Ok(Conv { params, set, algorithm, accuracy, tuning, epilogue, weights, id })
    }
}

/// What can differ from call to call.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ForwardOptions<'a, T> {
    /// A tensor, shaped like the output, that is added before the activation.
    pub residual: Option<&'a [T]>,
    /// In which threads the call computes.
    pub parallelism: Parallelism,
}

impl<'a, T: Element> ForwardOptions<'a, T> {
    /// No residual, the default parallelism.
    #[must_use]
    pub fn new() -> Self {
        Self { residual: None, parallelism: Parallelism::default() }
    }

    /// Adds `residual`, shaped like the output, before the activation.
    #[must_use]
    pub const fn residual(mut self, residual: &'a [T]) -> Self {
        self.residual = Some(residual);
        self
    }

    /// Sets in which threads the call computes.
    #[must_use]
    pub const fn parallelism(mut self, parallelism: Parallelism) -> Self {
        self.parallelism = parallelism;
        self
    }
}
