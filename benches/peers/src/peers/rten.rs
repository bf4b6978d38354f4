//! A model of one node, with its weights packed in advance; computes in its own pool, which `main` makes everyone's.

use anyhow::{Context, Result};
use rten::{Model, ModelOptions, Value};
use rten_tensor::Tensor;
use rten_tensor::prelude::*;

use super::{Peer, Run, onnx};
use crate::problem::Problem;

pub(crate) struct Rten;

struct Prepared {
    model: Model,
    x: Tensor<f32>,
    y: Option<Value>,
}

impl Peer for Rten {
    fn name(&self) -> &'static str {
        "rten"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        let model = ModelOptions::with_all_ops().prepack_weights(true).load(onnx::model(problem))?;
        let x = Tensor::from_data(&problem.input_shape(), problem.x.clone());
        Ok(Some(Box::new(Prepared { model, x, y: None })))
    }
}

impl Run for Prepared {
    fn run(&mut self) -> Result<()> {
        self.y = Some(self.model.run_one(self.x.view().into(), None)?);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let y: Tensor<f32> = self.y.clone().context("nothing has run")?.try_into()?;
        Ok(y.to_vec())
    }
}
