//! Winograd's algorithm: within its error of the oracle, with the same bytes on every instruction set with fused multiply-add, in any
//! number of threads and any batch.

mod common;

use common::{Data, Extras, Problem, announce, assert_same_bits, emulated, reduced};
use convgemm::{
    Accuracy, Activation, Algorithm, BackwardOptions, Conv, ConvBuilder, Element, Error, ForwardOptions, Isa,
    Params, Tuning, Workspace, backward_input,
};

/// Largest error over largest output, or what one may well be, that a plan may have here, in units of the last place, by the larger number of points along an axis:
/// twice what was measured of so few channels.
fn tolerance<T: Element>(points: usize) -> f64 {
    let units = match points {
        4 => 12.0,
        6 => 24.0,
        _ => 120.0,
    };
    units * T::EPSILON.to_f64()
}

/// The same in double precision.
fn doubled<T: Element, const D: usize>(
    problem: &Problem<D>,
    data: &Data<T>,
    activation: &Activation<T>,
) -> Vec<f64> {
    let convert = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
    let data = Data {
        x: convert(&data.x),
        weight: convert(&data.weight),
        bias: convert(&data.bias),
        residual: convert(&data.residual),
    };
    let activation = match activation {
        Activation::Relu => Activation::Relu,
        Activation::Prelu { slopes } => Activation::Prelu { slopes: convert(slopes) },
        _ => Activation::Identity,
    };
    problem.oracle_of(&data, &Extras { bias: true, residual: true, activation }).output()
}

fn builder<T: Element, const D: usize>(
    problem: &Problem<D>,
    data: &Data<T>,
    activation: &Activation<T>,
    isa: Isa,
) -> ConvBuilder<T, D> {
    Conv::with_params(problem.params).bias(&data.bias).activation(activation.clone()).isa(isa)
}

fn forward<T: Element, const D: usize>(
    problem: &Problem<D>,
    conv: &Conv<T, D>,
    data: &Data<T>,
    options: &ForwardOptions<'_, T>,
    workspace: &mut Workspace,
) -> Vec<T> {
    let mut y = vec![T::from_f64(f64::NAN); data.residual.len()];
    conv.forward_with(&data.x, problem.batch, problem.extent, options, &mut y, workspace).unwrap();
    y
}

/// Every tile on every instruction set, with bias, residual and activation.
fn check<T: Element, const D: usize>(problem: &Problem<D>, tiles: &[usize], activation: &Activation<T>) {
    let data = problem.reals::<T>(7);
    let exact = doubled(problem, &data, activation);
    // Where there are few outputs, none need be large.
    let terms = data.weight.len() / problem.params.out_channels;
    let scale = exact.iter().fold((terms as f64).sqrt(), |largest, y| largest.max(y.abs()));
    let taps = problem.params.kernel.into_iter().max().unwrap();
    let mut workspace = Workspace::new();
    for &tile in tiles {
        let mut fused: Option<Vec<T>> = None;
        for isa in Isa::available() {
            let algorithm = Algorithm::Winograd { tile };
            let conv =
                builder(problem, &data, activation, isa).algorithm(algorithm).build(&data.weight).unwrap();
            let plan = conv.plan(problem.batch, problem.extent).unwrap();
            assert_eq!(plan.algorithm(), algorithm);
            let y = problem.run_conv(&conv, &data, true, &mut workspace);
            for (i, (y, exact)) in y.iter().zip(&exact).enumerate() {
                let off = (y.to_f64() - exact).abs() / scale;
                assert!(
                    off <= tolerance::<T>(tile + taps - 1),
                    "{i} of {problem:?} on {isa}: {y}, off by {off}\n{plan}"
                );
            }
            if isa.is_fused() {
                let known = fused.get_or_insert_with(|| y.clone());
                assert_same_bits(&y, known, &(problem, tile, isa));
            }
        }
    }
}

fn squares<T: Element>() {
    let sizes: &[[usize; 2]] =
        if reduced() { &[[7, 9], [1, 1]] } else { &[[1, 1], [2, 3], [7, 7], [13, 5], [14, 31], [30, 62]] };
    for (kernel, tiles) in [(3, &[2, 4, 6][..]), (5, &[2, 4])] {
        for (i, &[h, w]) in sizes.iter().enumerate() {
            let channels = [(16, 16), (3, 5), (17, 33), (40, 8), (1, 1), (64, 64)][i];
            for pad in [kernel / 2, 0, 3] {
                let extent = [h, w].map(|n| if pad == 0 { n + kernel - 1 } else { n + kernel / 2 });
                let params = Params::new(channels.0, channels.1, [kernel, kernel]).padding([pad, pad]);
                check::<T, 2>(&Problem::new(params, 2, extent), tiles, &Activation::Relu);
            }
        }
    }
}

#[test]
fn squares_f32() {
    announce("winograd squares f32");
    squares::<f32>();
}

#[test]
fn squares_f64() {
    announce("winograd squares f64");
    squares::<f64>();
}

#[test]
fn other_shapes() {
    announce("winograd other shapes");
    let identity = Activation::<f32>::Identity;
    let relu = Activation::<f32>::Relu;
    let slopes =
        |n: usize| Activation::Prelu { slopes: (0..n).map(|i| i as f32 / n as f32).collect::<Vec<f32>>() };
    // One axis; one tap along the other; both kernels; uneven and negative padding; groups; a depth; many channels in chunks.
    check(&Problem::new(Params::new(20, 24, [3]).padding([1]), 3, [101]), &[2, 4, 6], &identity);
    check(&Problem::new(Params::new(8, 9, [5]).padding([4]), 1, [50]), &[2, 4], &slopes(9));
    check(&Problem::new(Params::new(18, 20, [3, 1]), 1, [23, 19]), &[2, 4, 6], &slopes(20));
    check(&Problem::new(Params::new(18, 20, [1, 3]).padding([0, 1]), 2, [9, 60]), &[2, 4, 6], &identity);
    check(&Problem::new(Params::new(18, 20, [1, 5]).padding([2, 2]), 2, [9, 23]), &[2, 4], &identity);
    check(&Problem::new(Params::new(9, 10, [3, 5]).padding([1, 2]), 1, [20, 21]), &[2, 4], &identity);
    let uneven = Params::new(12, 12, [3, 3]).pad_begin([-1, 2]).pad_end([4, -2]);
    check(&Problem::new(uneven, 2, [15, 26]), &[2, 4, 6], &relu);
    check(
        &Problem::new(Params::new(60, 51, [3, 3]).padding([1, 1]).groups(3), 2, [12, 13]),
        &[2, 4, 6],
        &relu,
    );
    check(&Problem::new(Params::new(6, 7, [1, 3, 3]).padding([0, 1, 1]), 2, [4, 9, 11]), &[2, 4, 6], &relu);
    let many = if reduced() { 530 } else { 1100 };
    check(&Problem::new(Params::new(many, 40, [3, 3]).padding([1, 1]), 1, [9, 8]), &[2, 4, 6], &relu);
    check(&Problem::new(Params::new(4, 4, [3, 3]).padding([1, 1]), 0, [9, 8]), &[4], &relu);
}

#[test]
#[cfg(feature = "rayon")]
fn threads_and_batches_do_not_change_a_byte() {
    let pools = [1, 2, 3, 8].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    let sizes = if reduced() { [(16, [13, 12]), (40, [5, 4])] } else { [(32, [30, 29]), (96, [8, 7])] };
    for (c, extent) in sizes {
        let problem = Problem::new(Params::new(c, 80, [3, 3]).padding([1, 1]), 4, extent);
        let data = problem.reals::<f32>(3);
        for (isa, tile) in Isa::available().into_iter().flat_map(|isa| [2, 4, 6].map(|tile| (isa, tile))) {
            let of = |parts: usize| {
                let tuning = if parts == 0 { Tuning::default() } else { Tuning::default().parts(parts) };
                let builder = builder(&problem, &data, &Activation::Relu, isa).tuning(tuning);
                builder.algorithm(Algorithm::Winograd { tile }).build(&data.weight).unwrap()
            };
            let (conv, mut workspace) = (of(0), Workspace::new());
            let options = ForwardOptions::new().residual(&data.residual);
            let serial = options.parallelism(convgemm::Parallelism::Serial);
            let alone = forward(&problem, &conv, &data, &serial, &mut workspace);
            for (pool, parts) in pools.iter().zip([0, 0, 5, 7]) {
                let run = || forward(&problem, &of(parts), &data, &options, &mut Workspace::new());
                assert_same_bits(&pool.install(run), &alone, &(&problem, isa, tile, parts));
            }
            let single = Problem { batch: 1, ..problem.clone() };
            for (image, expected) in alone.chunks_exact(alone.len() / 4).enumerate() {
                let piece = |all: &[f32]| all[image * (all.len() / 4)..][..all.len() / 4].to_vec();
                let data = Data { x: piece(&data.x), residual: piece(&data.residual), ..data.clone() };
                let options = ForwardOptions::new().residual(&data.residual);
                let y = forward(&single, &conv, &data, &options, &mut workspace);
                assert_same_bits(&y, expected, &(&problem, isa, tile, image));
            }
        }
    }
}

#[test]
fn what_does_not_apply_is_an_error() {
    let refused = |params: Params<2>, tile: usize| {
        let weight = vec![0.5_f32; params.weight_len().unwrap()];
        let conv = Conv::with_params(params).algorithm(Algorithm::Winograd { tile }).build(&weight).unwrap();
        let mut y = [7.0; 4096];
        let len = conv.geometry(1, [12, 12]).unwrap();
        let (x, y) = (vec![1.0; len.input_len()], &mut y[..len.output_len()]);
        let error = conv.forward_into(&x, 1, [12, 12], y, &mut Workspace::new());
        assert!(matches!(error, Err(Error::NotApplicable { .. })), "{error:?}");
        assert!(y.iter().all(|&y| y == 7.0), "written in spite of an error");
        assert!(conv.plan(1, [12, 12]).is_err());
    };
    let plain = |kernel| Params::new(4, 4, [kernel, kernel]);
    refused(plain(3).stride([2, 1]), 4);
    refused(plain(3).dilation([1, 2]), 4);
    refused(plain(1), 4);
    refused(plain(7), 2);
    refused(plain(5), 6);
    refused(plain(3), 3);
    refused(plain(3), 0);
    refused(plain(3), usize::MAX);
    refused(Params::new(4, 4, [2, 3]), 2);
    let weight = [0.5_f32; 4 * 4 * 9];
    let conv = Conv::with_params(plain(3)).algorithm(Algorithm::Winograd { tile: 2 });
    let conv = conv.tuning(Tuning::default().k_block(8)).build(&weight).unwrap();
    assert!(matches!(conv.plan(1, [12, 12]), Err(Error::NotApplicable { .. })));
}

#[test]
fn fast_is_asked_for_by_name() {
    let problem = Problem::new(Params::new(64, 64, [3, 3]).padding([1, 1]), 1, [56, 56]);
    let data = problem.reals::<f32>(5);
    let build = |accuracy| {
        let conv = Conv::with_params(problem.params).accuracy(accuracy);
        conv.build(&data.weight).unwrap().plan(problem.batch, problem.extent).unwrap()
    };
    assert!(!matches!(build(Accuracy::Exact).algorithm(), Algorithm::Winograd { .. }));
    let fast = build(Accuracy::Fast);
    assert!(matches!(fast.algorithm(), Algorithm::Winograd { .. }), "{fast}");
    assert!(fast.to_string().contains("products for"), "{fast}");
    assert_eq!(Accuracy::default(), Accuracy::Exact);
    // Where it does not apply, the exact family computes.
    let strided = Conv::<f32, 2>::with_params(problem.params.stride([2, 2])).accuracy(Accuracy::Fast);
    let strided = strided.build(&data.weight).unwrap();
    assert!(!matches!(strided.plan(1, [56, 56]).unwrap().algorithm(), Algorithm::Winograd { .. }));
}

#[test]
fn the_choice_does_not_depend_on_the_batch() {
    let channels: &[usize] = if reduced() { &[8, 64] } else { &[4, 6, 8, 10, 12, 16, 24, 64, 512] };
    for (isa, &c) in Isa::available().into_iter().flat_map(|isa| channels.iter().map(move |c| (isa, c))) {
        for extent in [[7, 7], [9, 9], [14, 14], [20, 20], [56, 56]] {
            let params = Params::new(c, c, [3, 3]).padding([1, 1]);
            let weight = vec![0.5_f32; params.weight_len().unwrap()];
            let conv = Conv::with_params(params).isa(isa).accuracy(Accuracy::Fast).build(&weight).unwrap();
            // Of the exact family each gives the same bytes.
            let chosen = [1, 2, 7, 32].map(|batch| {
                let algorithm = conv.plan(batch, extent).unwrap().algorithm();
                matches!(algorithm, Algorithm::Winograd { .. }).then_some(algorithm)
            });
            assert!(chosen.iter().all(|a| *a == chosen[0]), "{isa} {c} {extent:?}: {chosen:?}");
        }
    }
}

/// The input gradient is a convolution by the same tiles where that is asked for; the weight gradient stays exact.
#[test]
fn fast_input_gradients() {
    let problem = Problem::new(Params::new(48, 64, [3, 3]).padding([1, 1]), 2, [40, 41]);
    let data = problem.reals::<f32>(11);
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let mut workspace = Workspace::new();
    let mut gradient = |options: &BackwardOptions, fill: f32| {
        let mut dx = vec![fill; data.x.len()];
        backward_input(&geometry, &data.residual, &data.weight, options, &mut dx, &mut workspace).unwrap();
        dx
    };
    for isa in Isa::available().into_iter().filter(|isa| isa.is_fused()) {
        let options = BackwardOptions::new().isa(isa);
        let exact = gradient(&options, f32::NAN);
        let fast = gradient(&options.accuracy(Accuracy::Fast), f32::NAN);
        let added = gradient(&options.accuracy(Accuracy::Fast).accumulate(true), 2.0);
        let scale = exact.iter().fold(0.0, |largest: f32, y| largest.max(y.abs()));
        for (i, (fast, exact)) in fast.iter().zip(&exact).enumerate() {
            assert!((fast - exact).abs() <= 2e-5 * scale, "{i} on {isa}: {fast}, not {exact}");
            assert_eq!(added[i].to_bits(), (fast + 2.0).to_bits(), "{i} on {isa}");
        }
        assert_ne!(fast, exact, "the same bytes on {isa}: Winograd's tiles were not used");
    }
}

#[test]
fn new_weights_are_transformed_again() {
    let problem = Problem::new(Params::new(16, 24, [3, 3]).padding([1, 1]), 1, [13, 14]);
    let (old, new) = (problem.reals::<f32>(1), problem.reals::<f32>(2));
    let build = |weight: &[f32]| {
        let conv = builder(&problem, &new, &Activation::Identity, Isa::available()[0]);
        conv.algorithm(Algorithm::Winograd { tile: 4 }).build(weight).unwrap()
    };
    let options = ForwardOptions::new();
    let mut conv = build(&old.weight);
    forward(&problem, &conv, &new, &options, &mut Workspace::new());
    conv.update_weight(&new.weight).unwrap();
    let y = forward(&problem, &conv, &new, &options, &mut Workspace::new());
    let expected = forward(&problem, &build(&new.weight), &new, &options, &mut Workspace::new());
    assert_same_bits(&y, &expected, &"updated");
}

#[test]
fn scratch_does_not_grow_with_the_image() {
    for (c, tile) in [16, 64, 512, 2048].into_iter().flat_map(|c| [2, 4, 6].map(|tile| (c, tile))) {
        let params = Params::new(c, 32, [3, 3]).padding([1, 1]);
        let weight = vec![0.5_f32; params.weight_len().unwrap()];
        let conv = Conv::with_params(params).algorithm(Algorithm::Winograd { tile }).build(&weight).unwrap();
        for extent in [[8, 8], [100, 100], [3000, 2000]] {
            let plan = conv.plan(8, extent).unwrap();
            assert!(plan.scratch_bytes() <= 2 << 20, "{plan}");
        }
    }
}

/// More transformed weights than caches hold: other blocks, and threads share channels.
#[test]
fn weights_that_come_from_memory() {
    if emulated() {
        return;
    }
    let problem = Problem::new(Params::new(256, 240, [3, 3]).padding([1, 1]), 1, [24, 48]);
    let data = problem.reals::<f32>(5);
    let options = ForwardOptions::new().residual(&data.residual);
    let of = |isa: Isa, algorithm: Algorithm, parts: usize| {
        let builder = builder(&problem, &data, &Activation::Relu, isa).tuning(Tuning::default().parts(parts));
        let conv = builder.algorithm(algorithm).build(&data.weight).unwrap();
        forward(&problem, &conv, &data, &options, &mut Workspace::new())
    };
    let exact = of(Isa::available()[0], Algorithm::Gemm, 1);
    let largest = exact.iter().fold(0.0_f32, |largest, y| largest.max(y.abs()));
    for tile in [4, 6] {
        let algorithm = Algorithm::Winograd { tile };
        let known = of(Isa::available()[0], algorithm, 1);
        for (i, (y, exact)) in known.iter().zip(&exact).enumerate() {
            assert!((y - exact).abs() <= 2e-5 * largest, "{i}, tiles of {tile}: {y}, not {exact}");
        }
        for isa in Isa::available().into_iter().filter(|isa| isa.is_fused()) {
            for parts in [1, 2, 7] {
                assert_same_bits(&of(isa, algorithm, parts), &known, &(isa, tile, parts));
            }
        }
    }
}

#[test]
fn infinities_spread_over_their_tile_alone() {
    if emulated() {
        return;
    }
    let problem = Problem::new(Params::new(4, 3, [3, 3]).padding([1, 1]), 1, [32, 32]);
    let mut data = problem.reals::<f32>(9);
    data.x[10 * 32 + 10] = f32::NAN;
    for tile in [2_usize, 4, 6] {
        let conv = builder(&problem, &data, &Activation::Identity, Isa::available()[0]);
        let conv = conv.algorithm(Algorithm::Winograd { tile }).build(&data.weight).unwrap();
        let y = forward(&problem, &conv, &data, &ForwardOptions::new(), &mut Workspace::new());
        for (i, y) in y.iter().enumerate() {
            let [h, w] = [i / 32 % 32, i % 32];
            // Tiles whose inputs, one to the left and to the right of the outputs, have it.
            let touched =
                [h, w].iter().all(|at| (at / tile * tile..=at / tile * tile + tile + 1).contains(&11));
            assert!(touched || !y.is_nan(), "{tile}: {h}, {w}");
            let exact = [h, w].iter().all(|at| at.abs_diff(10) <= 1);
            assert!(!exact || y.is_nan(), "{tile}: {h}, {w}");
        }
    }
}
