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

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use convgemm::{Conv as Layer, Padding, Params, Workspace};
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::nn::DataFormat;

/// Replaces the convolutions of `model` that `convgemm` can compute, and says how many those were: `f32`, NCHW, one to three axes, weights
/// and bias constant. To be called on a typed model before it is decluttered or optimised, which makes other operators of convolutions.
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
    let layer = Layer::with_params(params).bias(&bias).build(weight.as_slice::<f32>()?)?;
    let op = Convolution { layer: Arc::new(layer), pool: pool.clone() };
    TypedModelPatch::replace_single_op(model, node, &node.inputs[..1], op).map(Some)
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

/// A convolution whose weights are packed.
#[derive(Clone)]
struct Convolution<const D: usize> {
    layer: Arc<Layer<f32, D>>,
    pool: PoolSpec,
}

impl<const D: usize> fmt::Debug for Convolution<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layer.fmt(f)
    }
}

/// The same packed weights.
impl<const D: usize> PartialEq for Convolution<D> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layer, &other.layer)
    }
}

impl<const D: usize> Eq for Convolution<D> {}

impl<const D: usize> Op for Convolution<D> {
    fn name(&self) -> StaticName {
        "Convgemm".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.layer.params())])
    }

    op_as_typed_op!();
}

impl<const D: usize> EvalOp for Convolution<D> {
    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let shape = self.pool.output_shape(x.shape())?.shape;
        let mut y = Tensor::zero::<f32>(&shape)?;
        let extent = std::array::from_fn(|axis| x.shape()[2 + axis]);
        with_workspace(|workspace| {
            let x_elements = x.try_as_plain_ram()?.as_slice::<f32>()?;
            let mut y = y.try_as_plain_ram_mut()?;
            self.layer.forward_into(x_elements, x.shape()[0], extent, y.as_slice_mut::<f32>()?, workspace)?;
            Ok::<_, TractError>(())
        })?;
        Ok(tvec!(y.into_tvalue()))
    }

    op_out_of_plan!();
}

impl<const D: usize> TypedOp for Convolution<D> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = self.pool.output_shape(&inputs[0].shape)?.shape;
        Ok(tvec!(f32::fact(shape)))
    }

    as_op!();
}

/// Calls `work` with this thread's workspace.
fn with_workspace<R>(work: impl FnOnce(&mut Workspace) -> R) -> R {
    thread_local! {
        static WORKSPACE: Cell<Workspace> = Cell::default();
    }
    // Taken out meanwhile, for a thread of a pool that waits in a call may begin another one.
    let mut workspace = WORKSPACE.take();
    let result = work(&mut workspace);
    WORKSPACE.set(workspace);
    result
}
