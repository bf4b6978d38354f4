//! A model of one node, optimised in advance; computes in one thread, or in rayon's current pool.

use std::sync::Arc;

use anyhow::{Context, Result};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

use super::{Peer, Run, onnx};
use crate::problem::Problem;

pub(crate) struct Tract;

struct Prepared {
    model: Arc<TypedRunnableModel>,
    x: TValue,
    y: Option<TValue>,
}

impl Peer for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        if problem.threads > 1 {
            set_default_executor(Executor::RayonGlobal);
        }
        let model = onnx::model(problem);
        let model = tract_onnx::onnx().model_for_read(&mut &model[..])?.into_optimized()?.into_runnable()?;
        let x = Tensor::from_shape(&problem.input_shape(), &problem.x)?.into();
        Ok(Some(Box::new(Prepared { model, x, y: None })))
    }
}

impl Run for Prepared {
    fn run(&mut self) -> Result<()> {
        self.y = self.model.run(tvec!(self.x.clone()))?.pop();
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let y = self.y.as_ref().context("nothing has run")?;
        Ok(y.to_plain_array_view::<f32>()?.iter().copied().collect())
    }
}
