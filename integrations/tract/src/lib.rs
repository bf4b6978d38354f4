//! [tract](https://github.com/sonos/tract)'s convolutions by `convgemm`: [`replace_convolutions`] rewrites a model.
//!
//! ```
//! use tract_core::internal::*;
//! use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
//! use tract_core::ops::nn::DataFormat;
//! let mut model = TypedModel::default();
//! let x = model.add_source("x", f32::fact([1, 1, 1, 4]))?;
//! let kernel = model.add_const("kernel", Tensor::from_shape(&[1, 1, 1, 2], &[1.0_f32, -1.0])?)?;
//! let bias = model.add_const("bias", tensor0(0.0_f32))?;
//! let pool = PoolSpec::new(DataFormat::NCHW, tvec![1, 2], PaddingSpec::Valid, None, None, 1, 1);
//! let y = model.wire_node("conv", Conv::new(pool, KernelFormat::OIHW, 1, None), &[x, kernel, bias])?;
//! model.select_output_outlets(&y)?;
//!
//! assert_eq!(convgemm_tract::replace_convolutions(&mut model)?, 1);
//! let x = Tensor::from_shape(&[1, 1, 1, 4], &[1.0_f32, 1.0, 0.0, 0.0])?;
//! let y = model.into_optimized()?.into_runnable()?.run(tvec![x.into()])?;
//! assert_eq!(*y[0], Tensor::from_shape(&[1, 1, 1, 3], &[0.0_f32, 1.0, 0.0])?);
//! # Ok::<(), tract_core::internal::TractError>(())
//! ```

mod follow;
mod operator;

use convgemm::{Conv as Layer, Padding, Params};
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_core::ops::nn::DataFormat;

use follow::Followers;
use operator::Convolution;

/// Replaces the convolutions of `model` that `convgemm` can compute, and says how many those were: `f32`, NCHW, one to three axes, weights
/// and bias constant. To be called on a typed model before it is decluttered or optimised, which makes other operators of convolutions.
///
/// An addition of a tensor of the same shape and the activation that stand behind a convolution, and alone use what it computes, become part
/// of it: maximum and minimum with a constant (ReLU, ReLU6, clamps), LeakyReLU, sigmoid, tanh, SiLU, HardSwish, GELU.
///
/// Calls compute in the threads of tract's executor, which is one thread unless `tract_linalg::multithread` or `RunOptions` say otherwise.
///
/// # Errors
/// A model that is not consistent.
pub fn replace_convolutions(model: &mut TypedModel) -> TractResult<usize> {
    let before = count(model);
    Rewriter::default().with_rule_for::<Conv>("convgemm", replace).rewrite(&(), model)?;
    Ok(before - count(model))
}

fn count(model: &TypedModel) -> usize {
    model.nodes().iter().filter(|node| node.op_is::<Conv>()).count()
}

fn replace(
    _: &(),
    model: &TypedModel,
    node: &TypedNode,
    _name: &str,
    conv: &Conv,
) -> TractResult<Option<TypedModelPatch>> {
    match conv.pool_spec.kernel_shape.len() {
        1 => replace_rank::<1>(model, node, conv),
        2 => replace_rank::<2>(model, node, conv),
        3 => replace_rank::<3>(model, node, conv),
        _ => Ok(None),
    }
}

fn replace_rank<const D: usize>(
    model: &TypedModel,
    node: &TypedNode,
    conv: &Conv,
) -> TractResult<Option<TypedModelPatch>> {
    let pool = &conv.pool_spec;
    let facts = model.node_input_facts(node.id)?;
    let plain = conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && pool.data_format == DataFormat::NCHW
        && facts.iter().all(|fact| fact.datum_type == f32::datum_type());
    let (Some(weight), Some(bias), true) = (&facts[1].konst, &facts[2].konst, plain) else { return Ok(None) };
    let Some(params) = params::<D>(conv) else { return Ok(None) };
    let (weight, bias) = (weight.try_as_plain_ram()?, bias.try_as_plain_ram()?);
    // tract's bias is a number for all channels where it has no axis.
    let bias = match bias.as_slice::<f32>()? {
        [all] => vec![*all; params.out_channels],
        each => each.to_vec(),
    };
    let Followers { residual, activation, last } = Followers::of(model, node)?;
    let layer = Layer::with_params(params).bias(&bias).activation(activation);
    let op = Convolution::new(layer.build(weight.as_slice::<f32>()?)?, pool.clone());
    let mut patch = TypedModelPatch::default();
    let inputs = patch.taps(model, node.inputs[..1].iter().chain(&residual))?;
    let y = patch.wire_node(&node.name, op, &inputs)?;
    patch.shunt_outside(model, last.into(), y[0])?;
    Ok(Some(patch))
}

/// None where `convgemm` has no such padding.
fn params<const D: usize>(conv: &Conv) -> Option<Params<D>> {
    let pool = &conv.pool_spec;
    let axes = |values: &[usize]| <[usize; D]>::try_from(values).ok();
    let or_ones = |values: &Option<TVec<usize>>| values.as_ref().map_or(Some([1; D]), |values| axes(values));
    let padding = match &pool.padding {
        PaddingSpec::Valid => Padding::Valid,
        PaddingSpec::SameUpper => Padding::SameUpper,
        PaddingSpec::SameLower => Padding::SameLower,
        PaddingSpec::Explicit(begin, end) | PaddingSpec::ExplicitOnnxPool(begin, end, false) => {
            let signed = |pads: &[usize]| Some(axes(pads)?.map(|pad| pad as isize));
            Padding::Explicit { begin: signed(begin)?, end: signed(end)? }
        }
        PaddingSpec::ExplicitOnnxPool(..) => return None,
    };
    let params = Params::new(pool.input_channels, pool.output_channels, axes(&pool.kernel_shape)?);
    let params = params.stride(or_ones(&pool.strides)?).dilation(or_ones(&pool.dilations)?);
    Some(params.padding(padding).groups(conv.group))
}
