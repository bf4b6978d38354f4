//! The backend "flex", burn's present one for the CPU; takes the weights with each call, computes in rayon's current pool.

use anyhow::{Context, Result, anyhow};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::{Peer, Run};
use crate::problem::Problem;

pub(crate) struct Burn;

struct Prepared {
    options: ConvOptions<2>,
    x: Tensor<4>,
    weight: Tensor<4>,
    y: Option<Tensor<4>>,
}

impl Peer for Burn {
    fn name(&self) -> &'static str {
        "burn"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        let device = Device::flex();
        let tensor = |values: &[f32], shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values.to_vec(), shape), &device)
        };
        let params = problem.params();
        Ok(Some(Box::new(Prepared {
            options: ConvOptions::new(params.stride, problem.padding(), params.dilation, params.groups),
            x: tensor(&problem.x, problem.input_shape()),
            weight: tensor(&problem.weight, problem.weight_shape()),
            y: None,
        })))
    }
}

impl Run for Prepared {
    fn run(&mut self) -> Result<()> {
        // Clones share the data.
        self.y = Some(conv2d(self.x.clone(), self.weight.clone(), None, self.options.clone()));
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let data = self.y.clone().context("nothing has run")?.into_data();
        data.try_to_vec().map_err(|error| anyhow!("{error:?}"))
    }
}
