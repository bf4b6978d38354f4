//! Times layers: GFLOP/s and the share of the FMA peak that is measured in the same run. One thread.
//!
//! Each result is checked against the oracle before it is timed: every element up to 50 million multiply-adds, 1 000 of
//! them above.

mod layer;
mod peak;

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use convgemm::reference::Oracle;
use convgemm::{Algorithm, Conv, Element, Isa, Workspace};
use layer::{Layer, Row};

/// Times convolution layers.
#[derive(Debug, Parser)]
struct Arguments {
    /// A list of layers in the format of benches/layers.json, which is the default.
    #[arg(long)]
    layers: Option<PathBuf>,
    /// Only layers whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Seconds to time each layer for, at least.
    #[arg(long, default_value_t = 0.2)]
    min_time: f64,
    /// portable, avx2, avx512 or neon; the best unless given.
    #[arg(long)]
    isa: Option<Isa>,
    /// The element type.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// gemm, or im2col for the baseline.
    #[arg(long, default_value = "gemm")]
    algorithm: Which,
    /// Writes the rows to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Gemm,
    Im2col,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let layers = layer::read(arguments.layers.as_deref())?;
    let isa = arguments.isa.unwrap_or_else(|| Isa::available()[0]);
    ensure!(isa.is_available(), "instruction set {isa} is not available on this CPU");
    let width = match arguments.dtype {
        Dtype::F32 => 1.0,
        Dtype::F64 => 0.5,
    };
    let peak = width * peak::single_precision(isa);
    println!("FMA peak {peak:.1} GFLOP/s ({:?}, {isa}, 1 thread)", arguments.dtype);
    println!("{:28} {:9} {:>8} {:>6}  kernel, im2col matrix, scratch", "layer", "class", "GFLOP/s", "peak");
    let mut rows = Vec::new();
    for layer in layers.iter().filter(|layer| layer.name.contains(&arguments.only)) {
        let row = match arguments.dtype {
            Dtype::F32 => time::<f32>(layer, &arguments, isa, peak),
            Dtype::F64 => time::<f64>(layer, &arguments, isa, peak),
        };
        let row = row.with_context(|| format!("layer {}", layer.name))?;
        println!("{row}");
        rows.push(row);
    }
    print_means(&rows);
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Checks one layer, then times it.
fn time<T: Element>(layer: &Layer, arguments: &Arguments, isa: Isa, peak: f64) -> Result<Row> {
    let params = layer.params();
    let extent = [layer.h, layer.w];
    let geometry = params.geometry(layer.n, extent)?;
    let (x, weight) = (random::<T>(geometry.input_len(), 1), random::<T>(geometry.weight_len(), 2));
    let algorithm = match arguments.algorithm {
        Which::Gemm => Algorithm::Gemm,
        Which::Im2col => Algorithm::Im2col,
    };
    let conv = Conv::with_params(params).isa(isa).algorithm(algorithm).build(&weight)?;
    let mut y = vec![T::from_f64(f64::NAN); geometry.output_len()];
    let mut workspace = Workspace::new();
    conv.forward_into(&x, layer.n, extent, &mut y, &mut workspace)?;
    check(&Oracle::new(&params, layer.n, extent, &x, &weight)?, &y, geometry.macs())?;
    let call = || conv.forward_into(black_box(&x), layer.n, extent, black_box(&mut y), &mut workspace);
    let times = measure(call, arguments.min_time)?;
    let plan = conv.plan(layer.n, extent)?;
    let min_s = times[0];
    let gflops = plan.flops() as f64 / min_s / 1e9;
    Ok(Row {
        name: layer.name.clone(),
        class: layer.class(),
        threads: 1,
        min_s,
        median_s: times[times.len() / 2],
        gflops,
        peak_gflops: peak,
        algorithm: format!("{:?}", plan.algorithm()),
        lowering: format!("{:?}", plan.lowering()),
        kernel: plan.kernel().to_owned(),
        isa: isa.name(),
        scratch_bytes: plan.scratch_bytes(),
    })
}

/// The oracle's value, within its bound, at every element or at 1 000.
fn check<T: Element>(oracle: &Oracle<'_, T, 2>, y: &[T], macs: u128) -> Result<()> {
    let step = if macs <= 50_000_000 { 1 } else { (y.len() / 1000).max(1) };
    for index in (0..y.len()).step_by(step).chain([y.len() - 1]) {
        let error = (y[index].to_f64() - oracle.at_f64(index)).abs();
        ensure!(error <= oracle.bound_at(index), "element {index} is {}, not {}", y[index], oracle.at(index));
    }
    Ok(())
}

/// Seconds of a call, ascending. Calls under 10 µs are timed in batches.
fn measure(mut call: impl FnMut() -> convgemm::Result<()>, min_time: f64) -> Result<Vec<f64>> {
    let started = Instant::now();
    call()?;
    let batch = (10e-6 / started.elapsed().as_secs_f64().max(1e-9)).ceil().max(1.0) as usize;
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 5 || begun.elapsed() < Duration::from_secs_f64(min_time) {
        let started = Instant::now();
        for _ in 0..batch {
            call()?;
        }
        times.push(started.elapsed().as_secs_f64() / batch as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// Evenly from −1 to 1; a linear congruential generator, the same on every machine.
fn random<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 40) as f64 / f64::from(1 << 23) - 1.0)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Geometric means of each class.
fn print_means(rows: &[Row]) {
    let mut classes: Vec<_> = rows.iter().map(|row| row.class).collect();
    classes.dedup();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        let shares: Vec<_> = rows.iter().filter(|r| r.class == class).map(Row::share).collect();
        let mean = (shares.iter().map(|s| s.ln()).sum::<f64>() / shares.len() as f64).exp();
        let average = shares.iter().sum::<f64>() / shares.len() as f64;
        println!(
            "{class:9} {:2} layers: {:5.1} % of the FMA peak on average, geometric mean {:5.1} %",
            shares.len(),
            100.0 * average,
            100.0 * mean
        );
    }
}
