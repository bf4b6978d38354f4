//! Times layers: GFLOP/s and the share of the FMA peak that is measured in the same run, over all threads.
//!
//! Each result is checked against the oracle before it is timed: every element up to 50 million multiply-adds, 1 000 of
//! them above.

#[path = "../common/mod.rs"]
mod common;
mod row;
mod tensor;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use common::chosen::Chosen;
use common::data::{check, check_error, check_some, random};
use common::layer::Layer;
use common::{peak, timing};
use convgemm::reference::{GradientOracle, Oracle};
use convgemm::{
    Accuracy, Algorithm, BackwardOptions, Conv, Element, Isa, Tuning, Workspace, backward_input,
    backward_weight, kernel_names,
};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;
use row::Row;
use tensor::Tensor;

/// Times convolution layers.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Threads to compute in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Seconds to time each layer for, at least.
    #[arg(long, default_value_t = 0.2)]
    min_time: f64,
    /// Elements that tensors lie behind the beginning of a cache line, where those of inference engines begin.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// The register tile, such as avx512_f32_positions_8x48, in place of the one that costs least; layers that it does not apply to are
    /// left out.
    #[arg(long)]
    kernel: Option<String>,
    /// auto, gemm, direct or winograd-2, winograd-4 or winograd-6 where it applies, or im2col for the baseline, which computes in one thread.
    #[arg(long, default_value = "auto")]
    algorithm: Which,
    /// exact, or fast: Winograd's algorithm where it is faster.
    #[arg(long, default_value = "exact")]
    accuracy: HowExact,
    /// portable, avx2, avx512 or neon; the best unless given.
    #[arg(long, env = convgemm::ISA_VARIABLE)]
    isa: Option<Isa>,
    /// The element type.
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    /// The convolution, or one of its gradients.
    #[arg(long, default_value = "forward")]
    pass: Pass,
    /// Reads each layer's input and weights from NAME.x.f32 and NAME.w.f32 in this folder, raw little-endian in NCHW and
    /// OIHW, and writes its output to NAME.y.f32.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Writes the rows to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Pass {
    Forward,
    BackwardInput,
    BackwardWeight,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    Auto,
    Gemm,
    Direct,
    Im2col,
    #[value(name = "winograd-2")]
    Winograd2,
    #[value(name = "winograd-4")]
    Winograd4,
    #[value(name = "winograd-6")]
    Winograd6,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum HowExact {
    Exact,
    Fast,
}

impl From<HowExact> for Accuracy {
    fn from(how: HowExact) -> Self {
        match how {
            HowExact::Exact => Self::Exact,
            HowExact::Fast => Self::Fast,
        }
    }
}

impl From<Which> for Algorithm {
    fn from(which: Which) -> Self {
        match which {
            Which::Auto => Self::Auto,
            Which::Gemm => Self::Gemm,
            Which::Direct => Self::Direct,
            Which::Im2col => Self::Im2col,
            Which::Winograd2 => Self::Winograd { tile: 2 },
            Which::Winograd4 => Self::Winograd { tile: 4 },
            Which::Winograd6 => Self::Winograd { tile: 6 },
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(arguments.data.is_none() || arguments.dtype == Dtype::F32, "--data holds f32, --dtype is f64");
    ensure!(arguments.data.is_none() || arguments.pass == Pass::Forward, "--data is for --pass forward");
    let layers = arguments.chosen.read()?;
    let isa = arguments.isa.unwrap_or_else(|| Isa::available()[0]);
    ensure!(isa.is_available(), "instruction set {isa} is not available on this CPU");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.into()).build()?;
    let width = match arguments.dtype {
        Dtype::F32 => 1.0,
        Dtype::F64 => 0.5,
    };
    let peak = width * peak::single_precision(isa, &pool);
    ensure!(
        arguments.kernel.is_none() || arguments.pass == Pass::Forward,
        "--kernel is for the convolution itself, not for its gradients"
    );
    let min_time = Duration::try_from_secs_f64(arguments.min_time)?;
    let bench = Bench { isa, peak, pool, min_time, arguments };
    println!(
        "FMA peak {:.1} GFLOP/s ({:?}, {isa}, {} threads)",
        bench.peak, bench.arguments.dtype, bench.arguments.threads
    );
    println!("{}", row::HEAD);
    let rows = bench.rows(&layers)?;
    print!("{}", row::means(&rows));
    if let Some(path) = &bench.arguments.json {
        fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// What all layers are timed with.
struct Bench {
    arguments: Arguments,
    isa: Isa,
    pool: ThreadPool,
    peak: f64,
    min_time: Duration,
}

impl Bench {
    /// Times the layers, printing as it goes.
    fn rows(&self, layers: &[Layer]) -> Result<Vec<Row>> {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {wide_msg}")?;
        let bar = ProgressBar::new(layers.len() as u64).with_style(style);
        let mut rows = Vec::new();
        for layer in layers {
            bar.set_message(layer.name.clone());
            let row = match self.arguments.dtype {
                Dtype::F32 => self.row::<f32>(layer),
                Dtype::F64 => self.row::<f64>(layer),
            };
            bar.inc(1);
            let not_applicable = |error: &anyhow::Error| {
                matches!(error.downcast_ref(), Some(convgemm::Error::NotApplicable { .. }))
            };
            match row {
                Err(error) if self.arguments.kernel.is_some() && not_applicable(&error) => {}
                row => {
                    let row = row.with_context(|| format!("layer {}", layer.name))?;
                    bar.suspend(|| println!("{row}"));
                    rows.push(row);
                }
            }
        }
        bar.finish_and_clear();
        Ok(rows)
    }

    fn row<T: Element>(&self, layer: &Layer) -> Result<Row> {
        match layer.rank() {
            1 => self.row_of::<T, 1>(layer),
            2 => self.row_of::<T, 2>(layer),
            _ => self.row_of::<T, 3>(layer),
        }
    }

    fn tensor<T: Element>(&self, elements: Vec<T>) -> Tensor<T> {
        Tensor::new(self.arguments.offset, elements)
    }

    /// Checks a gradient of one layer, then times it.
    fn gradient_row<T: Element, const D: usize>(&self, layer: &Layer) -> Result<Row> {
        let geometry = layer.params::<D>().geometry(layer.n, layer.extent())?;
        let x: Tensor<T> = self.tensor(random(geometry.input_len(), 1));
        let weight: Tensor<T> = self.tensor(random(geometry.weight_len(), 2));
        let dy: Tensor<T> = self.tensor(random(geometry.output_len(), 3));
        let options = BackwardOptions::new().isa(self.isa);
        let oracle = GradientOracle::new(&geometry, &x, &weight, &dy)?;
        let mut workspace = Workspace::new();
        let input = self.arguments.pass == Pass::BackwardInput;
        let len = if input { x.len() } else { weight.len() };
        let mut gradient = self.tensor(vec![T::from_f64(f64::NAN); len]);
        let mut call = || {
            let (x, dy, gradient) = (black_box(&*x), black_box(&*dy), black_box(&mut *gradient));
            if input {
                backward_input(&geometry, dy, &weight, &options, gradient, &mut workspace)
            } else {
                backward_weight(&geometry, x, dy, &options, gradient, &mut workspace)
            }
        };
        self.pool.install(&mut call)?;
        let times = self.pool.install(|| timing::measure(call, self.min_time))?;
        check_some(&gradient, geometry.macs(), |index| match input {
            true => oracle.input_expected_at(index),
            false => oracle.weight_expected_at(index),
        })?;
        Ok(Row {
            name: layer.name.clone(),
            class: layer.class(),
            threads: usize::from(self.arguments.threads),
            min_s: times[0],
            median_s: times[times.len() / 2],
            gflops: 2.0 * geometry.macs() as f64 / times[0] / 1e9,
            peak_gflops: self.peak,
            algorithm: format!("{:?}", self.arguments.pass),
            lowering: "-".to_owned(),
            kernel: "-".to_owned(),
            isa: self.isa.name(),
            scratch_bytes: 0,
        })
    }

    /// Checks one layer, then times it.
    fn row_of<T: Element, const D: usize>(&self, layer: &Layer) -> Result<Row> {
        if self.arguments.pass != Pass::Forward {
            return self.gradient_row::<T, D>(layer);
        }
        let (params, extent) = (layer.params::<D>(), layer.extent());
        let geometry = params.geometry(layer.n, extent)?;
        let (x, weight): (_, Vec<T>) = match &self.arguments.data {
            Some(folder) => (read(&file(folder, layer, "x"))?, read(&file(folder, layer, "w"))?),
            None => (random(geometry.input_len(), 1), random(geometry.weight_len(), 2)),
        };
        let x = self.tensor(x);
        let algorithm = self.arguments.algorithm.into();
        let accuracy = self.arguments.accuracy.into();
        let mut conv =
            Conv::<T, D>::with_params(params).isa(self.isa).algorithm(algorithm).accuracy(accuracy);
        if let Some(kernel) = &self.arguments.kernel {
            let names = kernel_names::<T>(self.isa)?;
            let name = names.into_iter().find(|name| name == kernel);
            let name = name.with_context(|| format!("{kernel} is no kernel of {}", self.isa))?;
            conv = conv.tuning(Tuning::default().kernel(name));
        }
        let conv = conv.build(&weight)?;
        let mut y = self.tensor(vec![T::from_f64(f64::NAN); geometry.output_len()]);
        let mut workspace = Workspace::new();
        self.pool.install(|| conv.forward_into(&x, layer.n, extent, &mut y, &mut workspace))?;
        let oracle = Oracle::new(&params, layer.n, extent, &x, &weight)?;
        match conv.plan(layer.n, extent)?.relative_error() {
            None => check(&oracle, &y)?,
            Some(error) => check_error(&oracle, &y, error)?,
        }
        if let Some(folder) = &self.arguments.data {
            write(&file(folder, layer, "y"), &y)?;
        }
        let call = || conv.forward_into(black_box(&*x), layer.n, extent, black_box(&mut *y), &mut workspace);
        let times = self.pool.install(|| timing::measure(call, self.min_time))?;
        let plan = conv.plan(layer.n, extent)?;
        let threads = usize::from(self.arguments.threads);
        Ok(Row {
            name: layer.name.clone(),
            class: layer.class(),
            threads,
            min_s: times[0],
            median_s: times[times.len() / 2],
            gflops: plan.flops() as f64 / times[0] / 1e9,
            peak_gflops: self.peak,
            algorithm: format!("{:?}", plan.algorithm()),
            lowering: format!("{:?}", plan.lowering()),
            kernel: plan.kernel().to_owned(),
            isa: self.isa.name(),
            scratch_bytes: plan.parts(threads) * plan.scratch_bytes(),
        })
    }
}

fn file(folder: &Path, layer: &Layer, tensor: &str) -> PathBuf {
    folder.join(format!("{}.{tensor}.f32", layer.name))
}

fn read<T: Element>(path: &Path) -> Result<Vec<T>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let (numbers, rest) = bytes.as_chunks();
    ensure!(rest.is_empty(), "{} has {} bytes, which is no multiple of 4", path.display(), bytes.len());
    Ok(numbers.iter().map(|&bytes| T::from_f64(f32::from_le_bytes(bytes).into())).collect())
}

fn write<T: Element>(path: &Path, values: &[T]) -> Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| (v.to_f64() as f32).to_le_bytes()).collect();
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
