//! Layers of any rank, of either kind, behind one interface.

use std::mem::MaybeUninit;

use convgemm::{
    Accuracy, Activation, ActivationAt, Algorithm, BackwardOptions, Conv, ConvTranspose, Element,
    ForwardOptions, Parallelism, Params, Plan, Workspace, backward_activation, backward_bias, backward_input,
    backward_weight,
};

use crate::descriptor::{Descriptor, first};
use crate::status::{CONVGEMM_BAD_ARGUMENT, Failure, Result};

/// A batch of images: `extent` has as many elements as the layer has spatial axes.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub(crate) batch: usize,
    pub(crate) extent: &'a [usize],
}

impl Images<'_> {
    fn extent<const D: usize>(&self) -> [usize; D] {
        std::array::from_fn(|axis| self.extent[axis])
    }
}

/// A layer of elements `T`. Extents and images are of its rank.
pub(crate) trait Operation<T>: Send + Sync {
    fn rank(&self) -> usize;
    fn output_extent(&self, extent: &[usize], output: &mut [usize]) -> Result<()>;
    fn forward(
        &self,
        of: Images<'_>,
        x: &[T],
        residual: Option<&[T]>,
        parallelism: Parallelism,
        y: &mut [MaybeUninit<T>],
        workspace: &mut Workspace,
    ) -> Result<()>;
    fn backward_input(
        &self,
        of: Images<'_>,
        dy: &[T],
        weight: &[T],
        options: &BackwardOptions,
        dx: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()>;
    fn backward_weight(
        &self,
        of: Images<'_>,
        x: &[T],
        dy: &[T],
        options: &BackwardOptions,
        dw: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()>;
    fn backward_bias(&self, of: Images<'_>, dy: &[T], options: &BackwardOptions, db: &mut [T]) -> Result<()>;
    fn backward_activation(
        &self,
        of: Images<'_>,
        activation: &Activation<T>,
        at: ActivationAt<'_, T>,
        dy: &[T],
        dz: &mut [T],
    ) -> Result<()>;
    fn update_weight(&mut self, weight: &[T]) -> Result<()>;
    fn update_bias(&mut self, bias: &[T]) -> Result<()>;
    fn plan(&self, of: Images<'_>) -> Result<Plan>;
}

/// The layer that `descriptor` describes.
///
/// # Errors
/// A descriptor of no layer, slices of the wrong length, no memory.
pub(crate) fn build<T: Element>(
    descriptor: &Descriptor,
    activation: Activation<T>,
    weight: &[T],
    bias: Option<&[T]>,
) -> Result<Box<dyn Operation<T>>> {
    match descriptor.rank {
        1 => build_rank::<T, 1>(descriptor, activation, weight, bias),
        2 => build_rank::<T, 2>(descriptor, activation, weight, bias),
        3 => build_rank::<T, 3>(descriptor, activation, weight, bias),
        rank => Err(Failure::new(CONVGEMM_BAD_ARGUMENT, format!("rank is {rank}, it has to be 1, 2 or 3"))),
    }
}

fn build_rank<T: Element, const D: usize>(
    of: &Descriptor,
    activation: Activation<T>,
    weight: &[T],
    bias: Option<&[T]>,
) -> Result<Box<dyn Operation<T>>> {
    let (padding, algorithm, accuracy) = (of.padding()?, of.algorithm()?, of.accuracy()?);
    let (kernel, stride, dilation) = (first(of.kernel), first(of.stride), first(of.dilation));
    let output_padding: [usize; D] = first(of.output_padding);
    if of.transposed {
        if algorithm != Algorithm::Auto {
            let message = "algorithm has to be CONVGEMM_ALGORITHM_AUTO for a transposed convolution";
            return Err(Failure::new(CONVGEMM_BAD_ARGUMENT, message));
        }
        if accuracy != Accuracy::Exact {
            let message = "accuracy has to be CONVGEMM_EXACT for a transposed convolution";
            return Err(Failure::new(CONVGEMM_BAD_ARGUMENT, message));
        }
        let mut builder = ConvTranspose::<T, D>::builder(of.in_channels, of.out_channels, kernel);
        builder = builder.stride(stride).dilation(dilation).groups(of.groups).padding(padding);
        builder = builder.output_padding(output_padding).activation(activation);
        builder = bias.into_iter().fold(builder, |builder, bias| builder.bias(bias));
        return Ok(Box::new(builder.build(weight)?));
    }
    if let Some(axis) = output_padding.iter().position(|&more| more != 0) {
        let message = format!(
            "output_padding[{axis}] is {}, it has to be 0 where the convolution is not transposed",
            output_padding[axis]
        );
        return Err(Failure::new(CONVGEMM_BAD_ARGUMENT, message));
    }
    let mut builder = Conv::<T, D>::builder(of.in_channels, of.out_channels, kernel);
    builder = builder.stride(stride).dilation(dilation).groups(of.groups).padding(padding);
    builder = builder.activation(activation).algorithm(algorithm).accuracy(accuracy);
    builder = bias.into_iter().fold(builder, |builder, bias| builder.bias(bias));
    Ok(Box::new(builder.build(weight)?))
}

impl<T: Element, const D: usize> Operation<T> for Conv<T, D> {
    fn rank(&self) -> usize {
        D
    }

    fn output_extent(&self, extent: &[usize], output: &mut [usize]) -> Result<()> {
        let extent = Images { batch: 1, extent }.extent();
        output.copy_from_slice(&Conv::output_extent(self, extent)?);
        Ok(())
    }

    fn forward(
        &self,
        of: Images<'_>,
        x: &[T],
        residual: Option<&[T]>,
        parallelism: Parallelism,
        y: &mut [MaybeUninit<T>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        let mut options = ForwardOptions::new().parallelism(parallelism);
        options.residual = residual;
        Ok(self.forward_uninit(x, of.batch, of.extent(), &options, y, workspace)?)
    }

    fn backward_input(
        &self,
        of: Images<'_>,
        dy: &[T],
        weight: &[T],
        options: &BackwardOptions,
        dx: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        Ok(backward_input(&self.geometry(of.batch, of.extent())?, dy, weight, options, dx, workspace)?)
    }

    fn backward_weight(
        &self,
        of: Images<'_>,
        x: &[T],
        dy: &[T],
        options: &BackwardOptions,
        dw: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        Ok(backward_weight(&self.geometry(of.batch, of.extent())?, x, dy, options, dw, workspace)?)
    }

    fn backward_bias(&self, of: Images<'_>, dy: &[T], options: &BackwardOptions, db: &mut [T]) -> Result<()> {
        Ok(backward_bias(&self.geometry(of.batch, of.extent())?, dy, options, db)?)
    }

    fn backward_activation(
        &self,
        of: Images<'_>,
        activation: &Activation<T>,
        at: ActivationAt<'_, T>,
        dy: &[T],
        dz: &mut [T],
    ) -> Result<()> {
        Ok(backward_activation(&self.geometry(of.batch, of.extent())?, activation, at, dy, dz)?)
    }

    fn update_weight(&mut self, weight: &[T]) -> Result<()> {
        Ok(Conv::update_weight(self, weight)?)
    }

    fn update_bias(&mut self, bias: &[T]) -> Result<()> {
        Ok(Conv::update_bias(self, bias)?)
    }

    fn plan(&self, of: Images<'_>) -> Result<Plan> {
        Ok(Conv::plan(self, of.batch, of.extent())?)
    }
}

impl<T: Element, const D: usize> Operation<T> for ConvTranspose<T, D> {
    fn rank(&self) -> usize {
        D
    }

    fn output_extent(&self, extent: &[usize], output: &mut [usize]) -> Result<()> {
        let extent = Images { batch: 1, extent }.extent();
        output.copy_from_slice(&ConvTranspose::output_extent(self, extent)?);
        Ok(())
    }

    fn forward(
        &self,
        of: Images<'_>,
        x: &[T],
        residual: Option<&[T]>,
        parallelism: Parallelism,
        y: &mut [MaybeUninit<T>],
        workspace: &mut Workspace,
    ) -> Result<()> {
        if residual.is_some() {
            let message = "a residual is given, it has to be null for a transposed convolution";
            return Err(Failure::new(CONVGEMM_BAD_ARGUMENT, message));
        }
        Ok(self.forward_uninit(x, of.batch, of.extent(), parallelism, y, workspace)?)
    }

    fn backward_input(
        &self,
        of: Images<'_>,
        dy: &[T],
        weight: &[T],
        options: &BackwardOptions,
        dx: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        Ok(self.params().backward_input(of.batch, of.extent(), dy, weight, options, dx, workspace)?)
    }

    fn backward_weight(
        &self,
        of: Images<'_>,
        x: &[T],
        dy: &[T],
        options: &BackwardOptions,
        dw: &mut [T],
        workspace: &mut Workspace,
    ) -> Result<()> {
        Ok(self.params().backward_weight(of.batch, of.extent(), x, dy, options, dw, workspace)?)
    }

    fn backward_bias(&self, of: Images<'_>, dy: &[T], options: &BackwardOptions, db: &mut [T]) -> Result<()> {
        Ok(self.params().backward_bias(of.batch, of.extent(), dy, options, db)?)
    }

    fn backward_activation(
        &self,
        of: Images<'_>,
        activation: &Activation<T>,
        at: ActivationAt<'_, T>,
        dy: &[T],
        dz: &mut [T],
    ) -> Result<()> {
        // The convolution that this one is the transpose of goes from the output to the input.
        let transposed = self.params().convolution(of.batch, of.extent())?;
        let channels = transposed.params().in_channels;
        let output = Params::new(channels, channels, [1; D]).groups(channels);
        let output = output.geometry(of.batch, transposed.input_extent())?;
        Ok(backward_activation(&output, activation, at, dy, dz)?)
    }

    fn update_weight(&mut self, weight: &[T]) -> Result<()> {
        Ok(ConvTranspose::update_weight(self, weight)?)
    }

    fn update_bias(&mut self, bias: &[T]) -> Result<()> {
        Ok(ConvTranspose::update_bias(self, bias)?)
    }

    fn plan(&self, _: Images<'_>) -> Result<Plan> {
        let message = "the layer is a transposed convolution, only others have a plan";
        Err(Failure::new(CONVGEMM_BAD_ARGUMENT, message))
    }
}
