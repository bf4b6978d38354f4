//! Takes the weights with each call; its pools are as large as `RAYON_NUM_THREADS`, which `main` sets.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use super::{Peer, Run};
use crate::problem::Problem;

pub(crate) struct Candle;

struct Prepared<'a> {
    problem: &'a Problem,
    x: Tensor,
    weight: Tensor,
    y: Option<Tensor>,
}

impl Peer for Candle {
    fn name(&self) -> &'static str {
        "candle"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        let axes = [problem.params().stride, problem.params().dilation, problem.padding()];
        // One number for both axes is all that its convolution takes.
        if axes.iter().any(|[h, w]| h != w) {
            return Ok(None);
        }
        let x = Tensor::from_slice(&problem.x, &problem.input_shape(), &Device::Cpu)?;
        let weight = Tensor::from_slice(&problem.weight, &problem.weight_shape(), &Device::Cpu)?;
        Ok(Some(Box::new(Prepared { problem, x, weight, y: None })))
    }
}

impl Run for Prepared<'_> {
    fn run(&mut self) -> Result<()> {
        let (params, [padding, _]) = (self.problem.params(), self.problem.padding());
        let ([stride, _], [dilation, _]) = (params.stride, params.dilation);
        self.y = Some(self.x.conv2d(&self.weight, padding, stride, dilation, params.groups)?);
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.y.as_ref().context("nothing has run")?.flatten_all()?.to_vec1()?)
    }
}
