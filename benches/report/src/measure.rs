//! Times every layer in each number of threads, after its result was checked against the oracle.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result};
use convgemm::reference::Oracle;
use convgemm::{Algorithm, Conv, Geometry, Isa, Workspace};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::bandwidth;
use crate::common::data::{check, random};
use crate::common::layer::Layer;
use crate::common::run::cpu;
use crate::common::{peak, timing};
use crate::results::{LayerResult, Machine, OWN, Run, Session};

/// The baseline: the im2col matrix in memory, and a general GEMM.
const BASELINE: &str = "im2col-gemm";

pub(crate) struct Measurement {
    pub(crate) isa: Isa,
    /// Seconds to time each layer for, at least.
    pub(crate) min_time: Duration,
}

impl Measurement {
    pub(crate) fn session(&self, threads: &[usize], layers: &[Layer]) -> Result<Session> {
        let isa = self.isa.name().to_owned();
        let mut machine = Machine { cpu: cpu(), isa, bandwidths: Vec::new() };
        let mut runs = Vec::new();
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {wide_msg}")?;
        let bar = ProgressBar::new((threads.len() * layers.len()) as u64).with_style(style);
        for &threads in threads {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
            bar.set_message(format!("{threads} threads: the bandwidth of memory and caches"));
            let mut peak_gflops: f64 = 0.0;
            machine.bandwidths.push(bandwidth::measure(self.isa, &pool));
            let mut results = Vec::new();
            for layer in layers {
                bar.set_message(format!("{threads} threads: {}", layer.name));
                // Again and again: what else runs on the machine lowers it for a while.
                peak_gflops = peak_gflops.max(peak::single_precision(self.isa, &pool));
                let result = match layer.rank() {
                    1 => self.layer::<1>(layer, &pool),
                    2 => self.layer::<2>(layer, &pool),
                    _ => self.layer::<3>(layer, &pool),
                };
                results.push(result.with_context(|| format!("layer {}", layer.name))?);
                bar.inc(1);
            }
            let (cpu, isa) = (machine.cpu.clone(), machine.isa.clone());
            runs.push(Run { cpu, isa, threads, peak_gflops, layers: results });
        }
        bar.finish_and_clear();
        Ok(Session { machine, runs })
    }

    fn layer<const D: usize>(&self, layer: &Layer, pool: &ThreadPool) -> Result<LayerResult> {
        let geometry = layer.params::<D>().geometry(layer.n, layer.extent())?;
        let x: Vec<f32> = random(geometry.input_len(), 1);
        let weight: Vec<f32> = random(geometry.weight_len(), 2);
        let threads = pool.current_num_threads();
        let mut seconds = BTreeMap::new();
        seconds.insert(OWN.to_owned(), self.seconds(&geometry, Algorithm::Auto, &x, &weight, pool)?);
        // It computes in one thread.
        if threads == 1 {
            seconds
                .insert(BASELINE.to_owned(), self.seconds(&geometry, Algorithm::Im2col, &x, &weight, pool)?);
        }
        let plan = Conv::<f32, D>::with_params(layer.params())
            .isa(self.isa)
            .build(&weight)?
            .plan(layer.n, layer.extent())?;
        LayerResult::new(layer, &geometry, &plan, threads, seconds)
    }

    /// Of the fastest call.
    fn seconds<const D: usize>(
        &self,
        geometry: &Geometry<D>,
        algorithm: Algorithm,
        x: &[f32],
        weight: &[f32],
        pool: &ThreadPool,
    ) -> Result<f64> {
        let (params, batch, extent) = (*geometry.params(), geometry.batch(), geometry.input_extent());
        let conv = Conv::<f32, D>::with_params(params).isa(self.isa).algorithm(algorithm).build(weight)?;
        let mut y = vec![f32::NAN; geometry.output_len()];
        let mut workspace = Workspace::new();
        pool.install(|| conv.forward_into(x, batch, extent, &mut y, &mut workspace))?;
        check(&Oracle::new(&params, batch, extent, x, weight)?, &y)?;
        let call = || conv.forward_into(black_box(x), batch, extent, black_box(&mut y), &mut workspace);
        let times = pool.install(|| timing::measure(call, self.min_time))?;
        Ok(times[0])
    }
}
