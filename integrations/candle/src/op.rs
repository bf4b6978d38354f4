//! The convolution as an operation on tensors, with its gradients.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Error, Layout, Result, Shape, Tensor};
use convgemm::{
    BackwardOptions, Geometry, Params, backward_bias, backward_input, backward_weight, conv2d as convolve,
};

use crate::storage::{
    Number, by_type, check_shape, elements, geometry, output_shape, tensor, weight_shape, with_workspace,
};

/// The convolution of `x`, `[batch, C_in, height, width]`, with `weight`, `[C_out, C_in / groups, …]`, plus `bias`, `[C_out]`.
/// Differentiable in all of them.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use convgemm::Params;
/// let x = Tensor::new(&[[[[1.0_f32, 1.0, 0.0, 0.0]]]], &Device::Cpu)?;
/// let kernel = Var::new(&[[[[1.0_f32, -1.0]]]], &Device::Cpu)?;
/// let y = convgemm_candle::conv2d(&x, &kernel, None, &Params::new(1, 1, [1, 2]))?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 0.0]);
/// let gradients = y.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&kernel).unwrap().flatten_all()?.to_vec1::<f32>()?, [2.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Tensors of another shape than `params` says, of different or other types than `f32` and `f64`, a window that does not fit.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, params: &Params<2>) -> Result<Tensor> {
    let (x, weight, op) = (x.contiguous()?, weight.contiguous()?, Convolution(*params));
    match bias {
        None => x.apply_op2(&weight, op),
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op),
    }
}

/// With or without a bias.
struct Convolution(Params<2>);

impl Convolution {
    fn forward<T: Number>(
        &self,
        (x, x_layout): (&CpuStorage, &Layout),
        (weight, weight_layout): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let geometry = geometry(&self.0, x_layout.shape())?;
        check_shape("weight", weight_layout.shape(), &weight_shape(&self.0))?;
        let (x, weight) = (elements::<T>(x, x_layout)?, elements::<T>(weight, weight_layout)?);
        let bias = bias.map(|(bias, layout)| elements::<T>(bias, layout)).transpose()?;
        let (batch, extent) = (geometry.batch(), geometry.input_extent());
        let y = with_workspace(|workspace| convolve(&self.0, x, batch, extent, weight, bias, workspace));
        Ok(tensor(y.map_err(Error::wrap)?, output_shape(&geometry)))
    }

    /// The gradients of `x` and `weight`, where they are needed.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Geometry<2>)> {
        let (geometry, dy) = (geometry(&self.0, x.shape())?, dy.contiguous()?);
        let dx = dy.apply_op2_no_bwd(weight, &InputGradient(geometry))?;
        let dw = x.apply_op2_no_bwd(&dy, &WeightGradient(geometry))?;
        Ok((Some(dx), Some(dw), geometry))
    }
}

const CONVOLUTION: &str = "convgemm-conv2d";

impl CustomOp2 for Convolution {
    fn name(&self) -> &'static str {
        CONVOLUTION
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(CONVOLUTION, x, T => self.forward::<T>((x, x_layout), (weight, weight_layout), None))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, _) = self.backward(x, weight, dy)?;
        Ok((dx, dw))
    }
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        CONVOLUTION
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = ((x, x_layout), (weight, weight_layout), Some((bias, bias_layout)));
        by_type!(CONVOLUTION, x.0, T => self.forward::<T>(x, weight, bias))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, geometry) = self.backward(x, weight, dy)?;
        Ok((dx, dw, Some(dy.contiguous()?.apply_op1_no_bwd(&BiasGradient(geometry))?)))
    }
}

/// Of the output's gradient and the weights.
struct InputGradient(Geometry<2>);

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "convgemm-conv2d-input-gradient"
    }

    fn cpu_fwd(
        &self,
        dy: &CpuStorage,
        dy_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(CustomOp2::name(self), dy, T => {
            let (dy, weight) = (elements::<T>(dy, dy_layout)?, elements::<T>(weight, weight_layout)?);
            let (geometry, mut dx) = (&self.0, vec![T::default(); self.0.input_len()]);
            let options = BackwardOptions::new();
            with_workspace(|workspace| backward_input(geometry, dy, weight, &options, &mut dx, workspace))
                .map_err(Error::wrap)?;
            let [height, width] = geometry.input_extent();
            Ok(tensor(dx, (geometry.batch(), geometry.params().in_channels, height, width)))
        })
    }
}

/// Of the input and the output's gradient.
struct WeightGradient(Geometry<2>);

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "convgemm-conv2d-weight-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        dy: &CpuStorage,
        dy_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(CustomOp2::name(self), x, T => {
            let (x, dy) = (elements::<T>(x, x_layout)?, elements::<T>(dy, dy_layout)?);
            let (geometry, mut dw) = (&self.0, vec![T::default(); self.0.weight_len()]);
            let options = BackwardOptions::new();
            with_workspace(|workspace| backward_weight(geometry, x, dy, &options, &mut dw, workspace))
                .map_err(Error::wrap)?;
            Ok(tensor(dw, weight_shape(geometry.params())))
        })
    }
}

/// Of the output's gradient.
struct BiasGradient(Geometry<2>);

impl CustomOp1 for BiasGradient {
    fn name(&self) -> &'static str {
        "convgemm-conv2d-bias-gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(CustomOp1::name(self), dy, T => {
            let dy = elements::<T>(dy, layout)?;
            let mut db = vec![T::default(); self.0.params().out_channels];
            backward_bias(&self.0, dy, &BackwardOptions::new(), &mut db).map_err(Error::wrap)?;
            let channels = db.len();
            Ok(tensor(db, channels))
        })
    }
}
