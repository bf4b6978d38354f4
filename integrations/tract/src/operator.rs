//! The operator that convolutions become.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

use convgemm::{Conv, ForwardOptions, Parallelism, Workspace};
use tract_core::internal::*;
use tract_core::ops::cnn::PoolSpec;
use tract_linalg::multithread::{Executor, current_tract_executor};

/// A convolution whose weights are packed, with the activation and, as its second input, the residual that stood behind it.
#[derive(Clone)]
pub(crate) struct Convolution<const D: usize>(Arc<Inner<D>>);

struct Inner<const D: usize> {
    layer: Conv<f32, D>,
    pool: PoolSpec,
    /// As many as there were calls at a time. They belong to the operator because a workspace keeps the plan of one layer only.
    workspaces: Mutex<Vec<Workspace>>,
}

impl<const D: usize> Convolution<D> {
    pub(crate) fn new(layer: Conv<f32, D>, pool: PoolSpec) -> Self {
        Self(Arc::new(Inner { layer, pool, workspaces: Mutex::default() }))
    }
}

impl<const D: usize> Inner<D> {
    /// # Errors
    /// Those of the convolution.
    fn forward(&self, x: &Tensor, residual: Option<&Tensor>, y: &mut [MaybeUninit<f32>]) -> TractResult<()> {
        let (batch, extent) = (x.shape()[0], std::array::from_fn(|axis| x.shape()[2 + axis]));
        let (x, residual) = (x.try_as_plain_ram()?, residual.map(Tensor::try_as_plain_ram).transpose()?);
        let (x, mut options) = (x.as_slice::<f32>()?, ForwardOptions::new());
        options.residual = residual.as_ref().map(|residual| residual.as_slice::<f32>()).transpose()?;
        let mut run = |parallelism| {
            let lock = || self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
            let mut workspace = lock().pop().unwrap_or_default();
            options.parallelism = parallelism;
            let result = self.layer.forward_uninit(x, batch, extent, &options, y, &mut workspace);
            lock().push(workspace);
            result
        };
        match current_tract_executor() {
            Executor::SingleThread => run(Parallelism::Serial),
            Executor::MultiThread(pool) => pool.install(|| run(Parallelism::Rayon)),
            Executor::RayonGlobal => run(Parallelism::Rayon),
        }?;
        Ok(())
    }
}

impl<const D: usize> fmt::Debug for Convolution<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.layer.fmt(f)
    }
}

/// The same packed weights.
impl<const D: usize> PartialEq for Convolution<D> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<const D: usize> Eq for Convolution<D> {}

impl<const D: usize> Op for Convolution<D> {
    fn name(&self) -> StaticName {
        "Convgemm".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.0.layer)])
    }

    op_as_typed_op!();
}

impl<const D: usize> EvalOp for Convolution<D> {
    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = &inputs[0];
        let shape = self.0.pool.output_shape(x.shape())?.shape;
        // SAFETY: nothing reads it before the convolution has written all of it; it is dropped where that fails.
        let mut y = unsafe { Tensor::uninitialized::<f32>(&shape)? };
        let (len, elements) = (y.len(), y.as_ptr_mut::<f32>()?.cast::<MaybeUninit<f32>>());
        let elements = match len {
            0 => &mut [],
            // SAFETY: the tensor has room for `len` elements there, which nobody else uses while the slice lives.
            _ => unsafe { std::slice::from_raw_parts_mut(elements, len) },
        };
        self.0.forward(x, inputs.get(1).map(|residual| &**residual), elements)?;
        Ok(tvec!(y.into_tvalue()))
    }

    op_out_of_plan!();
}

impl<const D: usize> TypedOp for Convolution<D> {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = self.0.pool.output_shape(&inputs[0].shape)?.shape;
        Ok(tvec!(f32::fact(shape)))
    }

    as_op!();
}
