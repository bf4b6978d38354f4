//! Writes into an output that it is given.

use std::hint::black_box;

use anyhow::Result;
use convgemm::{Conv2d, Isa, Plan, Workspace};

use super::{Peer, Run};
use crate::problem::Problem;

pub(crate) struct Convgemm;

impl Convgemm {
    /// What will run.
    pub(crate) fn plan(problem: &Problem) -> Result<Plan> {
        Ok(build(problem)?.plan(problem.geometry.batch(), problem.geometry.input_extent())?)
    }
}

fn build(problem: &Problem) -> Result<Conv2d> {
    let builder = Conv2d::with_params(*problem.params()).isa(Isa::available()[0]);
    Ok(builder.build(&problem.weight)?)
}

struct Prepared<'a> {
    conv: Conv2d,
    problem: &'a Problem,
    y: Vec<f32>,
    workspace: Workspace,
}

impl Peer for Convgemm {
    fn name(&self) -> &'static str {
        "convgemm"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        let (conv, y) = (build(problem)?, vec![f32::NAN; problem.geometry.output_len()]);
        Ok(Some(Box::new(Prepared { conv, problem, y, workspace: Workspace::new() })))
    }
}

impl Run for Prepared<'_> {
    fn run(&mut self) -> Result<()> {
        let Problem { geometry, x, .. } = self.problem;
        let (x, y) = (black_box(x), black_box(&mut self.y));
        Ok(self.conv.forward_into(x, geometry.batch(), geometry.input_extent(), y, &mut self.workspace)?)
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.y.clone())
    }
}
