//! Throughput of one thread by class of layer: this crate's choice beside `Algorithm::Im2col`, im2col into a general GEMM.
//!
//! Criterion's elements are floating-point operations, so that its Gelem/s are GFLOP/s. Each result is checked against
//! the oracle before it is timed. `cargo bench -- pointwise` runs one class. For several threads and shares of the
//! machine's peak see the example `bench_layers`.

#[path = "../examples/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Duration;

use common::data::{check, random};
use common::layer::{self, Layer};
use convgemm::reference::Oracle;
use convgemm::{Algorithm, Conv, Element, ForwardOptions, Parallelism, Workspace};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

const CLASSES: [&str; 8] = ["dense", "pointwise", "first", "depthwise", "grouped", "thin", "tiny", "3-D"];
/// The classes whose layers the group f64 repeats.
const IN_DOUBLE: [&str; 2] = ["dense", "pointwise"];
/// Multiply-adds, at most, of the layers that the group f64 repeats.
const MOST_IN_DOUBLE: u128 = 150_000_000;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn layers() -> Vec<Layer> {
    let more = layer::parse(include_str!("layers_more.json")).expect("a list of layers");
    layer::read(None).expect("a list of layers").into_iter().chain(more).collect()
}

fn bench(criterion: &mut Criterion) {
    let layers = layers();
    for class in CLASSES {
        let mut group = criterion.benchmark_group(class);
        for layer in layers.iter().filter(|layer| layer.class() == class) {
            bench_layer::<f32>(&mut group, layer);
        }
        group.finish();
    }
    let mut group = criterion.benchmark_group("f64");
    let chosen = |layer: &&Layer| IN_DOUBLE.contains(&layer.class()) && layer.macs() <= MOST_IN_DOUBLE;
    for layer in layers.iter().filter(chosen) {
        bench_layer::<f64>(&mut group, layer);
    }
    group.finish();
}

fn bench_layer<T: Element>(group: &mut Group<'_>, layer: &Layer) {
    group.throughput(Throughput::Elements(2 * layer.macs() as u64)).sampling_mode(SamplingMode::Flat);
    for (name, algorithm) in [("convgemm", Algorithm::Auto), ("im2col", Algorithm::Im2col)] {
        let id = BenchmarkId::new(name, &layer.name);
        match layer.rank() {
            1 => bench_of::<T, 1>(group, id, layer, algorithm),
            2 => bench_of::<T, 2>(group, id, layer, algorithm),
            _ => bench_of::<T, 3>(group, id, layer, algorithm),
        }
    }
}

fn bench_of<T: Element, const D: usize>(
    group: &mut Group<'_>,
    id: BenchmarkId,
    layer: &Layer,
    algorithm: Algorithm,
) {
    // Made when it is first run, so that what the filter leaves out costs nothing.
    let mut call = None;
    group.bench_function(id, |bencher| {
        let call = call.get_or_insert_with(|| checked_call::<T, D>(layer, algorithm));
        bencher.iter(call);
    });
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

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
