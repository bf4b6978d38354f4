//! The result has the same bytes whatever the threads, the parts and the batch.
#![cfg(feature = "rayon")]

mod common;

use common::{Data, Extras, Problem, Way, announce, assert_same_bits, reduced};
use convgemm::{Algorithm, Conv, Element, ForwardOptions, Isa, Parallelism, Params, Tuning, Workspace};
use rayon::ThreadPool;
use rayon::prelude::*;

fn pool(threads: usize) -> ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn forward<T: Element, const D: usize>(
    problem: &Problem<D>,
    conv: &Conv<T, D>,
    data: &Data<T>,
    parallelism: Parallelism,
    workspace: &mut Workspace,
) -> Vec<T> {
    let mut y = vec![T::from_f64(f64::NAN); data.residual.len()];
    let options = ForwardOptions::new().residual(&data.residual).parallelism(parallelism);
    conv.forward_with(&data.x, problem.batch, problem.extent, &options, &mut y, workspace).unwrap();
    y
}

/// Large enough to be shared between threads without being forced to.
fn shared_problems(batch: usize) -> Vec<Problem<2>> {
    let scale = if reduced() { 1 } else { 2 };
    let c = 16 * scale;
    vec![
        Problem::new(Params::new(c, 80, [3, 3]).padding([1, 1]), batch, [19, 23]),
        Problem::new(Params::new(c, 5, [5, 3]).padding([2, 1]).stride([2, 1]), batch, [40, 41]),
        Problem::new(Params::new(4 * c, 96, [1, 1]), batch, [17, 19]),
        Problem::new(Params::new(3 * c, 3 * c, [3, 3]).groups(3), batch, [20, 21]),
        Problem::new(Params::new(2 * c, 2 * c, [3, 3]).groups(2 * c).padding([1, 1]), batch, [30, 31]),
    ]
}

/// Each image of the batch is what it is alone, and each way of sharing the work gives the same bytes.
fn check_shared<T: Element>() {
    let pools = [1, 2, 3, 8].map(pool);
    for problem in shared_problems(5) {
        let data = problem.reals::<T>(3);
        for isa in Isa::available() {
            let conv = Way::auto(isa).build_with(&problem, &data, &Extras::all());
            let plan = conv.plan(5, problem.extent).unwrap();
            assert!(plan.parts(2) > 1, "{plan}");
            let mut workspace = Workspace::new();
            let serial = forward(&problem, &conv, &data, Parallelism::Serial, &mut workspace);
            for pool in &pools {
                let workspace = &mut workspace;
                let y = pool.install(|| forward(&problem, &conv, &data, Parallelism::Rayon, workspace));
                assert_same_bits(&y, &serial, &(&problem, isa, pool));
            }
            let single = Problem { batch: 1, ..problem.clone() };
            for (image, expected) in serial.chunks_exact(serial.len() / 5).enumerate() {
                let piece = |all: &[T]| all[image * (all.len() / 5)..][..all.len() / 5].to_vec();
                let data = Data { x: piece(&data.x), residual: piece(&data.residual), ..data.clone() };
                let workspace = &mut workspace;
                let y = pools[1].install(|| forward(&single, &conv, &data, Parallelism::Rayon, workspace));
                assert_same_bits(&y, expected, &(&single, isa, image));
            }
        }
    }
}

#[test]
fn threads_and_batches_have_the_same_bytes_f32_on_every_isa() {
    announce("threads_and_batches_have_the_same_bytes_f32");
    check_shared::<f32>();
}

#[test]
fn threads_and_batches_have_the_same_bytes_f64_on_every_isa() {
    announce("threads_and_batches_have_the_same_bytes_f64");
    check_shared::<f64>();
}

/// Forced parts, so that odd shapes and blocks of k are cut wherever they can be.
#[test]
fn parts_have_the_same_bytes_on_every_isa() {
    announce("parts_have_the_same_bytes");
    let pool = pool(3);
    let problems = [
        Problem::new(Params::<2>::new(5, 37, [3, 3]).padding([1, 1]), 2, [7, 9]),
        Problem::new(Params::<2>::new(6, 50, [1, 1]), 1, [7, 15]),
        Problem::new(Params::<2>::new(6, 18, [3, 2]).groups(3).stride([2, 1]), 3, [9, 8]),
        Problem::new(Params::<2>::new(1, 1, [2, 2]), 1, [3, 3]),
        Problem::new(Params::<2>::new(3, 4, [3, 3]), 0, [5, 5]),
    ];
    for problem in problems {
        let data = problem.reals::<f32>(9);
        for way in common::ways::<f32>().into_iter().filter(|way| way.algorithm != Algorithm::Im2col) {
            let mut expected = None;
            for parts in [1, 2, 3, 7, 64, usize::MAX] {
                let way = Way { tuning: way.tuning.parts(parts), ..way };
                let conv = way.build_with(&problem, &data, &Extras::all());
                let plan = conv.plan(problem.batch, problem.extent).unwrap();
                assert!(plan.parts(8) <= parts);
                let mut workspace = Workspace::new();
                let y = pool.install(|| forward(&problem, &conv, &data, Parallelism::Rayon, &mut workspace));
                let serial = forward(&problem, &conv, &data, Parallelism::Serial, &mut workspace);
                assert_same_bits(&y, &serial, &(&problem, way));
                assert_same_bits(&y, expected.get_or_insert_with(|| y.clone()), &(&problem, way));
            }
        }
    }
}

/// One layer, many threads, each with a workspace of its own, calls within calls.
#[test]
fn a_layer_is_shared_between_threads() {
    let problem = &shared_problems(1)[0];
    let data = problem.reals::<f32>(4);
    let conv = problem_conv(problem, &data);
    let expected = forward(problem, &conv, &data, Parallelism::Serial, &mut Workspace::new());
    for pool in [1, 2, 8].map(pool) {
        pool.install(|| {
            (0..40).into_par_iter().for_each_init(Workspace::new, |workspace, i| {
                let parallelism = [Parallelism::Serial, Parallelism::Rayon][i % 2];
                let y = forward(problem, &conv, &data, parallelism, workspace);
                assert_same_bits(&y, &expected, &i);
            });
        });
    }
}

/// Without a pool of the callers', they share their work with the global one.
#[test]
fn callers_outside_of_any_pool_share_work_with_the_global_one() {
    assert_eq!(Parallelism::default(), Parallelism::Rayon);
    assert_eq!(ForwardOptions::<f32>::new().parallelism, Parallelism::Rayon);
    // Fails where another test was first, whose pool does as well unless this is a machine of one core.
    rayon::ThreadPoolBuilder::new().num_threads(3).build_global().ok();
    for problem in &shared_problems(2) {
        let data = problem.reals::<f32>(5);
        for parts in [None, Some(2), Some(7), Some(64)] {
            let mut way = Way::auto(Isa::available()[0]);
            way.tuning.parts = parts;
            let conv = way.build_with(problem, &data, &Extras::all());
            let expected = forward(problem, &conv, &data, Parallelism::Serial, &mut Workspace::new());
            std::thread::scope(|scope| {
                let call = || {
                    let mut workspace = Workspace::new();
                    for _ in 0..4 {
                        let y = forward(problem, &conv, &data, Parallelism::Rayon, &mut workspace);
                        assert_same_bits(&y, &expected, &(problem, parts));
                    }
                };
                for _ in 0..3 {
                    scope.spawn(call);
                }
            });
        }
    }
}

fn problem_conv(problem: &Problem<2>, data: &Data<f32>) -> Conv<f32, 2> {
    let way = Way { tuning: Tuning::default(), ..Way::auto(Isa::available()[0]) };
    way.build_with(problem, data, &Extras::all())
}
