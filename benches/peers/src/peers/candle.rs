//! Takes the weights with each call; computes in rayon's current pool, in as many parts as `RAYON_NUM_THREADS` says, which `main`
//! sets. Layers of one row are computed as one-dimensional.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};

use super::{Peer, Run};
use crate::problem::Problem;

pub(crate) struct Candle;

fn is_one_row(problem: &Problem) -> bool {
    let [pad_h, _] = problem.padding();
    [problem.geometry.input_extent()[0], problem.params().kernel[0]] == [1, 1] && pad_h == 0
}

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
        // One number for both axes is all that its convolution in two dimensions takes.
        if !is_one_row(problem) && axes.iter().any(|[h, w]| h != w) {
            return Ok(None);
        }
        let tensor = |values, [n, c, h, w]: [usize; 4]| match is_one_row(problem) {
            true => Tensor::from_slice(values, &[n, c, w], &Device::Cpu),
            false => Tensor::from_slice(values, &[n, c, h, w], &Device::Cpu),
        };
        let x = tensor(&problem.x, problem.input_shape())?;
        let weight = tensor(&problem.weight, problem.weight_shape())?;
        Ok(Some(Box::new(Prepared { problem, x, weight, y: None })))
    }
}

impl Run for Prepared<'_> {
    fn run(&mut self) -> Result<()> {
        let (params, [_, padding]) = (self.problem.params(), self.problem.padding());
        let ([_, stride], [_, dilation], groups) = (params.stride, params.dilation, params.groups);
        let (x, weight) = (&self.x, &self.weight);
        self.y = Some(match is_one_row(self.problem) {
            true => x.conv1d(weight, padding, stride, dilation, groups)?,
            false => x.conv2d(weight, padding, stride, dilation, groups)?,
        });
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.y.as_ref().context("nothing has run")?.flatten_all()?.to_vec1()?)
    }
}
