//! Throughput of one thread by class of layer: this crate's choice beside `Algorithm::Im2col`, im2col into a general GEMM.
//!
//! Criterion's elements are floating-point operations, so that its Gelem/s are GFLOP/s; its plots stand in
//! `target/criterion/report/index.html`. The table at the end has shares of the FMA peak, which is measured in the same run. Each result is
//! checked against the oracle before it is timed. `cargo bench -- pointwise` runs one class. For several threads see the example
//! `bench_layers`.

#[path = "../../examples/common/mod.rs"]
mod common;
mod table;

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::data::{check, random};
use common::layer::{self, Layer};
use common::peak;
use convgemm::reference::Oracle;
use convgemm::{
    Algorithm, BackwardOptions, Conv, Element, ForwardOptions, Gradients, Isa, Parallelism, Params,
    Workspace, backward,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};
use table::{Column, DOUBLE, Table};

const CLASSES: [&str; 8] = ["dense", "pointwise", "first", "depthwise", "grouped", "thin", "tiny", "3-D"];
/// The classes whose layers the group f64 repeats.
const IN_DOUBLE: [&str; 2] = ["dense", "pointwise"];
/// Multiply-adds, at most, of the layers that the group f64 repeats.
const MOST_IN_DOUBLE: u128 = 150_000_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn layers() -> Vec<Layer> {
    let more = layer::parse(include_str!("../layers_more.json")).expect("a list of layers");
    layer::read(None).expect("a list of layers").into_iter().chain(more).collect()
}

fn bench(criterion: &mut Criterion, table: &mut Table) {
    let layers = layers();
    let (isa, thread) = (isa(), rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread"));
    for class in CLASSES {
        table.record_peak(peak::single_precision(isa, &thread));
        let mut group = criterion.benchmark_group(class);
        for layer in layers.iter().filter(|layer| layer.class() == class) {
            bench_layer::<f32>(&mut group, layer, class, table);
        }
        if class == "tiny" {
            bench_loops::<3, 3, 2, 2>(&mut group, "tiny.3x3x2x2");
            bench_loops::<6, 8, 1, 2>(&mut group, "tiny.edge.6x8");
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group(DOUBLE);
    let chosen = |layer: &&Layer| IN_DOUBLE.contains(&layer.class()) && layer.macs() <= MOST_IN_DOUBLE;
    for layer in layers.iter().filter(chosen) {
        bench_layer::<f64>(&mut group, layer, DOUBLE, table);
    }
    group.finish();
    bench_denormals(criterion);
}

/// Calls whose scratch held zeros before, beside some whose scratch held denormals: where the data holds none, lanes that stand for no data
/// must not cost what arithmetic with denormals does, up to 14 times the time.
fn bench_denormals(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("denormals");
    let layer = |c_in, c_out, kernel: [usize; 2]| Params::new(c_in, c_out, kernel).padding([1, 1]);
    for (name, params, extent) in [
        ("dense", layer(17, 21, [3, 3]), [13, 13]),
        ("strided", layer(17, 21, [3, 3]).stride([2, 2]), [27, 25]),
        ("pointwise", layer(37, 5, [1, 1]), [13, 13]),
        ("depthwise", layer(19, 19, [5, 5]).groups(19), [13, 11]),
        ("thin", layer(19, 3, [3, 3]), [21, 37]),
    ] {
        // What such arithmetic costs on this machine: all but the weights.
        let denormal = |len, seed| if seed == 2 { random(len, seed) } else { vec![1e-40; len] };
        let mut denormal = all_passes(params, extent, denormal);
        group.bench_function(BenchmarkId::new("data of denormals", name), |bencher| {
            let mut workspace = Workspace::new();
            bencher.iter(|| denormal(&mut workspace));
        });
        for (before, fill) in [("behind zeros", 0.0_f32), ("behind denormals", 1e-40)] {
            let mut workspace = Workspace::new();
            // Larger, so that what is not overwritten stays everywhere.
            let mut larger = all_passes(params, extent.map(|extent| 2 * extent), |len, _| vec![fill; len]);
            larger(&mut workspace);
            let mut passes = all_passes(params, extent, random);
            group.bench_function(BenchmarkId::new(before, name), |bencher| {
                bencher.iter(|| passes(&mut workspace));
            });
        }
    }
    group.finish();
}

/// The layer forward, and its gradients, of tensors that `fill` makes.
fn all_passes(
    params: Params<2>,
    extent: [usize; 2],
    fill: impl Fn(usize, u64) -> Vec<f32>,
) -> impl FnMut(&mut Workspace) {
    let geometry = params.geometry(1, extent).expect("a valid layer");
    let (x, weight) = (fill(geometry.input_len(), 1), fill(geometry.weight_len(), 2));
    let dy = fill(geometry.output_len(), 3);
    let conv = Conv::with_params(params).build(&weight).expect("a valid layer");
    let (mut y, mut dx, mut dw) = (dy.clone(), x.clone(), weight.clone());
    move |workspace| {
        let forward = ForwardOptions::new().parallelism(Parallelism::Serial);
        conv.forward_with(black_box(&x), 1, extent, &forward, &mut y, workspace).expect("valid slices");
        let options = BackwardOptions::new().parallelism(Parallelism::Serial);
        let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: None };
        backward(&geometry, &x, &weight, black_box(&dy), &options, gradients, workspace)
            .expect("valid slices");
    }
}

fn bench_layer<T: Element>(group: &mut Group<'_>, layer: &Layer, class: &str, table: &mut Table) {
    let flops = 2 * layer.macs() as u64;
    group.throughput(Throughput::Elements(flops)).sampling_mode(SamplingMode::Flat);
    for (name, algorithm, column) in
        [("convgemm", Algorithm::Auto, Column::Own), ("im2col", Algorithm::Im2col, Column::Baseline)]
    {
        let id = BenchmarkId::new(name, &layer.name);
        let seconds = match layer.rank() {
            1 => bench_of::<T, 1>(group, id, layer, algorithm),
            2 => bench_of::<T, 2>(group, id, layer, algorithm),
            _ => bench_of::<T, 3>(group, id, layer, algorithm),
        };
        if let Some(seconds) = seconds {
            table.record(class, &layer.name, column, flops as f64 / seconds / 1e9);
        }
    }
}

/// Loops as one would write them for an image of `H` × `W` and a kernel of `R` × `S`: what a call costs beyond the arithmetic.
fn bench_loops<const H: usize, const W: usize, const R: usize, const S: usize>(
    group: &mut Group<'_>,
    name: &str,
) {
    let (x, weight) = (random::<f32>(H * W, 1), random::<f32>(R * S, 2));
    let mut y = vec![f32::NAN; (H - R + 1) * (W - S + 1)];
    loops::<H, W, R, S>(&x, &weight, &mut y);
    let oracle = Oracle::new(&Params::new(1, 1, [R, S]), 1, [H, W], &x, &weight).expect("a valid layer");
    assert!(y.iter().zip(oracle.output()).all(|(y, right)| (y - right).abs() < 1e-5), "{name}");
    group.throughput(Throughput::Elements(2 * (y.len() * R * S) as u64));
    group.bench_function(BenchmarkId::new("loops", name), |bencher| {
        bencher.iter(|| loops::<H, W, R, S>(black_box(&x), black_box(&weight), black_box(&mut y)));
    });
}

fn loops<const H: usize, const W: usize, const R: usize, const S: usize>(
    x: &[f32],
    weight: &[f32],
    y: &mut [f32],
) {
    for row in 0..=H - R {
        for col in 0..=W - S {
            let mut sum = 0.0;
            for r in 0..R {
                for s in 0..S {
                    sum += x[(row + r) * W + col + s] * weight[r * S + s];
                }
            }
            y[row * (W - S + 1) + col] = sum;
        }
    }
}

/// Seconds of a call in the fastest sample; none where the filter leaves it out, or it is only tried.
fn bench_of<T: Element, const D: usize>(
    group: &mut Group<'_>,
    id: BenchmarkId,
    layer: &Layer,
    algorithm: Algorithm,
) -> Option<f64> {
    // Made when it is first run, so that what the filter leaves out costs nothing.
    let mut call = None;
    let (mut fastest, mut samples) = (f64::INFINITY, 0);
    group.bench_function(id, |bencher| {
        let call = call.get_or_insert_with(|| checked_call::<T, D>(layer, algorithm));
        bencher.iter_custom(|calls| {
            let started = Instant::now();
            for _ in 0..calls {
                call();
            }
            let elapsed = started.elapsed();
            fastest = fastest.min(elapsed.as_secs_f64() / calls as f64);
            samples += 1;
            elapsed
        });
    });
    (samples > 1).then_some(fastest)
}

/// A call of the layer on random data, whose result is right.
fn checked_call<T: Element, const D: usize>(layer: &Layer, algorithm: Algorithm) -> impl FnMut() + use<T, D> {
    let (params, batch, extent) = (layer.params::<D>(), layer.n, layer.extent());
    let geometry = params.geometry(batch, extent).expect("a valid layer");
    let (x, weight) = (random::<T>(geometry.input_len(), 1), random::<T>(geometry.weight_len(), 2));
    let conv = Conv::with_params(params).algorithm(algorithm).build(&weight).expect("a valid layer");
    let mut y = vec![T::from_f64(f64::NAN); geometry.output_len()];
    let mut workspace = Workspace::new();
    let options = ForwardOptions::new().parallelism(Parallelism::Serial);
    conv.forward_with(&x, batch, extent, &options, &mut y, &mut workspace).expect("valid slices");
    let oracle = Oracle::new(&params, batch, extent, &x, &weight).expect("a valid layer");
    check(&oracle, &y).unwrap_or_else(|error| panic!("{}: {error}", layer.name));
    move || {
        let options = ForwardOptions::new().parallelism(Parallelism::Serial);
        conv.forward_with(black_box(&x), batch, extent, &options, black_box(&mut y), &mut workspace)
            .expect("valid slices");
    }
}

/// The instruction set that layers are computed with where none is given.
fn isa() -> Isa {
    let forced = std::env::var(convgemm::ISA_VARIABLE).ok();
    forced.map_or(Isa::available()[0], |name| name.parse().expect("the name of an instruction set"))
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut table = Table::default();
    bench(&mut criterion, &mut table);
    criterion.final_summary();
    if !table.is_empty() {
        println!("GFLOP/s of the fastest sample in one thread ({}), nominal: taps on padding count.", isa());
        println!("im2col: the baseline, into a general GEMM; times: how many times its throughput.");
        print!("{table}");
    }
}
