//! A layer for inference.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Module, Result, Shape, Tensor};
use convgemm::{Activation, Conv, Conv2d, ForwardOptions, Params};

use crate::storage::{check_shape, elements, geometry, output_shape, tensor, weight_shape, with_workspace};

/// A convolution layer in `f32` whose weights are packed once; bias, residual and activation are applied before the result is stored.
/// Not differentiable: see [`conv2d`](crate::conv2d).
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use convgemm::{Activation, Params};
/// use convgemm_candle::Layer;
/// let kernel = Tensor::new(&[[[[1.0_f32, -1.0]]]], &Device::Cpu)?;
/// let layer = Layer::new(&kernel, None, &Params::new(1, 1, [1, 2]), Activation::Relu)?;
/// let x = Tensor::new(&[[[[0.0_f32, 1.0, 0.0]]]], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x)?.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Layer(Conv2d);

impl Layer {
    /// Packs `weight`, `[C_out, C_in / groups, height, width]`; `bias` is `[C_out]`.
    ///
    /// # Errors
    /// Parameters that describe no convolution, tensors of another shape or type.
    pub fn new(
        weight: &Tensor,
        bias: Option<&Tensor>,
        params: &Params<2>,
        activation: Activation<f32>,
    ) -> Result<Self> {
        params.validate().map_err(Error::wrap)?;
        check_shape("weight", weight.shape(), &weight_shape(params))?;
        let mut builder = Conv::with_params(*params).activation(activation);
        if let Some(bias) = bias {
            builder = builder.bias(&bias.to_vec1::<f32>()?);
        }
        builder.build(&weight.flatten_all()?.to_vec1()?).map(Self).map_err(Error::wrap)
    }

    /// The layer's output with `residual`, shaped like it, added before the activation.
    ///
    /// # Errors
    /// Tensors of another shape or type, a window that does not fit.
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op2_no_bwd(&residual.contiguous()?, self)
    }

    fn run(
        &self,
        (x, x_layout): (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = geometry(self.0.params(), x_layout.shape())?;
        let shape = output_shape(&geometry);
        let x = elements::<f32>(x, x_layout)?;
        let residual = match residual {
            None => None,
            Some((residual, layout)) => {
                check_shape("residual", layout.shape(), &shape)?;
                Some(elements::<f32>(residual, layout)?)
            }
        };
        let mut options = ForwardOptions::new();
        options.residual = residual;
        let mut y = vec![0.0; geometry.output_len()];
        let (batch, extent) = (geometry.batch(), geometry.input_extent());
        with_workspace(|workspace| self.0.forward_with(x, batch, extent, &options, &mut y, workspace))
            .map_err(Error::wrap)?;
        Ok(tensor(y, shape))
    }
}

impl Module for Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(self)
    }
}

const LAYER: &str = "convgemm-layer";

impl CustomOp1 for Layer {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, layout), None)
    }
}

impl CustomOp2 for Layer {
    fn name(&self) -> &'static str {
        LAYER
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), Some((residual, residual_layout)))
    }
}
