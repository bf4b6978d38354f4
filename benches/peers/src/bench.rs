//! Compares the libraries' results on a layer, then times them in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use convgemm::reference::Oracle;

use crate::common::data::check;
use crate::common::layer::Layer;
use crate::common::run::LayerResult;
use crate::common::timing;
use crate::peers::{Convgemm, Peer, Run};
use crate::problem::Problem;

/// Another library's error, of the largest value: roundings of another order of summation are far below.
const TOLERANCE: f32 = 1e-4;

/// How to time.
pub(crate) struct Bench<'a> {
    pub(crate) peers: &'a [&'static dyn Peer],
    pub(crate) threads: usize,
    pub(crate) rounds: usize,
    /// For each library and round, at least.
    pub(crate) min_time: Duration,
}

impl Bench<'_> {
    /// # Errors
    /// convgemm's result is not the oracle's. What other libraries can't do is reported and left out.
    pub(crate) fn layer(&self, layer: &Layer) -> Result<LayerResult> {
        let problem = Problem::new(layer, self.threads)?;
        let expected = expected(&problem)?;
        let mut prepared: Vec<(&'static str, Box<dyn Run + '_>)> = vec![];
        for peer in self.peers {
            match verified(*peer, &problem, &expected) {
                Ok(Some(run)) => prepared.push((peer.name(), run)),
                Ok(None) => eprintln!("{}: {} has no such convolution", layer.name, peer.name()),
                Err(error) => eprintln!("{}: {} is not timed: {error:#}", layer.name, peer.name()),
            }
        }
        let seconds = self.in_turn(&mut prepared)?;
        let seconds = seconds.into_iter().map(|(name, seconds)| (name.to_owned(), seconds)).collect();
        LayerResult::new(layer, &problem.geometry, &Convgemm::plan(&problem)?, self.threads, seconds)
    }

    /// Seconds of each library for all layers one after the other, as a network computes them: weights and images come from where
    /// the other layers have left them. A library that lacks a layer is left out.
    pub(crate) fn pass(&self, layers: &[Layer]) -> Result<BTreeMap<&'static str, f64>> {
        let problems: Vec<_> =
            layers.iter().map(|layer| Problem::new(layer, self.threads)).collect::<Result<_>>()?;
        let outputs: Vec<_> = problems.iter().map(expected).collect::<Result<_>>()?;
        let mut passes: Vec<(&'static str, Box<dyn Run + '_>)> = vec![];
        for peer in self.peers {
            let verified = |(problem, expected): (_, &Vec<f32>)| {
                verified(*peer, problem, expected)?.context("it has no such convolution")
            };
            match problems.iter().zip(&outputs).map(verified).collect::<Result<Vec<_>>>() {
                Ok(runs) => passes.push((peer.name(), Box::new(Pass(runs)))),
                Err(error) => eprintln!("{} is not timed: {error:#}", peer.name()),
            }
        }
        self.in_turn(&mut passes)
    }

    /// Seconds of the fastest call of each.
    fn in_turn(&self, runs: &mut [(&'static str, Box<dyn Run + '_>)]) -> Result<BTreeMap<&'static str, f64>> {
        let mut seconds = BTreeMap::new();
        for _ in 0..self.rounds {
            for (name, run) in &mut *runs {
                let round = timing::measure(|| run.run(), self.min_time)?[0];
                let best = seconds.entry(*name).or_insert(f64::INFINITY);
                *best = round.min(*best);
            }
        }
        Ok(seconds)
    }
}

/// Convolutions, one after the other.
struct Pass<'a>(Vec<Box<dyn Run + 'a>>);

impl Run for Pass<'_> {
    fn run(&mut self) -> Result<()> {
        self.0.iter_mut().try_for_each(|run| run.run())
    }

    fn output(&self) -> Result<Vec<f32>> {
        let outputs: Vec<_> = self.0.iter().map(|run| run.output()).collect::<Result<_>>()?;
        Ok(outputs.concat())
    }
}

/// convgemm's output, checked against the oracle.
fn expected(problem: &Problem) -> Result<Vec<f32>> {
    let Problem { geometry, x, weight, .. } = problem;
    let mut run = Convgemm.prepare(problem)?.context("convgemm computes every layer")?;
    run.run()?;
    let y = run.output()?;
    check(&Oracle::new(geometry.params(), geometry.batch(), geometry.input_extent(), x, weight)?, &y)?;
    Ok(y)
}

/// What a library has prepared, if it gives what is expected.
fn verified<'a>(
    peer: &dyn Peer,
    problem: &'a Problem,
    expected: &[f32],
) -> Result<Option<Box<dyn Run + 'a>>> {
    let Some(mut run) = peer.prepare(problem)? else { return Ok(None) };
    run.run()?;
    let y = run.output()?;
    ensure!(y.len() == expected.len(), "{} values, not {}", y.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    // NaN is not.
    let is_close = |y: f32, expected: f32| (y - expected).abs() <= TOLERANCE * largest;
    let wrong = y.iter().zip(expected).position(|(&y, &expected)| !is_close(y, expected));
    if let Some(at) = wrong {
        bail!("value {at} is {}, not {}", y[at], expected[at]);
    }
    Ok(Some(run))
}
