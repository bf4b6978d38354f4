//! What nobody should ask for: every error there is, numbers that are none in every position, panics in the caller's threads.

mod common;

use std::collections::BTreeSet;

use common::{Data, Expected, Extras, Problem, Way, announce, direct_ways, reduced, same_bytes, ways};
use convgemm::reference::GradientOracle;
use convgemm::{
    Activation, ActivationAt, Argument, BackwardOptions, Channels, Conv1d, Conv2d, ConvBuilder,
    ConvTranspose1d, Element, Error, ForwardOptions, Isa, Params, Result, Workspace, backward_activation,
    backward_bias, backward_input, backward_weight, im2col,
};

/// The names of the variants of an enum of `src/error.rs`.
fn variants(name: &str) -> BTreeSet<&'static str> {
    let source = include_str!("../src/error.rs");
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let items = body.lines().filter_map(|line| line.strip_prefix("    "));
    let named = items.filter(|item| item.starts_with(|c: char| c.is_ascii_uppercase()));
    named.map(|item| item.split(|c: char| !c.is_alphanumeric()).next().unwrap()).collect()
}

fn error<T>(result: Result<T>) -> Error {
    result.map(drop).expect_err("this is not to be asked for")
}

fn layer() -> ConvBuilder<f32, 2> {
    Conv2d::builder(4, 6, [3, 3])
}

fn at_build(builder: ConvBuilder<f32, 2>) -> Error {
    error(builder.build(&[0.0; 216]))
}

/// A call for each of the errors, with what its text has to say: what is wrong, what it is, what it had to be.
fn errors() -> Vec<(Error, Vec<&'static str>)> {
    let transposed = || ConvTranspose1d::builder(1, 1, [3]).stride([2]);
    let huge = Params::<1>::new(1, 1, [1]).padding([1 << 57]);
    let absent = [Isa::Avx2, Isa::Neon].into_iter().find(|isa| !isa.is_available()).unwrap();
    let clamp = Activation::Clamp { lo: 2.0, hi: -1.0 };
    let size = "over 9223372036854775807";
    let mut table = vec![
        (at_build(Conv2d::builder(0, 6, [3, 3])), vec!["in_channels is 0", "at least 1"]),
        (at_build(Conv2d::builder(4, 0, [3, 3])), vec!["out_channels is 0", "at least 1"]),
        (at_build(layer().groups(0)), vec!["groups is 0", "at least 1"]),
        (at_build(Conv2d::builder(4, 6, [3, 0])), vec!["kernel[1] is 0", "at least 1"]),
        (at_build(layer().stride([0, 1])), vec!["stride[0] is 0", "at least 1"]),
        (at_build(layer().dilation([1, 0])), vec!["dilation[1] is 0", "at least 1"]),
        (at_build(layer().groups(3)), vec!["in_channels is 4", "multiple of groups, 3"]),
        (at_build(layer().groups(4)), vec!["out_channels is 6", "multiple of groups, 4"]),
        (
            error(layer().build(&[0.0; 216]).unwrap().forward(&[0.0; 64], 1, [2, 8])),
            vec!["axis 0", "dilation·(kernel−1)+1 = 3", "fit into the padded input, 2"],
        ),
        (
            error(transposed().padding([9]).build(&[0.0; 3]).unwrap().forward(&[0.0; 5], 1, [5])),
            vec!["the output on axis 0 would be -7", "an input of 5", "at least 1"],
        ),
        (
            error(transposed().output_padding([2]).build(&[0.0; 3])),
            vec!["output_padding[0] is 2", "at most 1"],
        ),
        (at_build(layer().dilation([isize::MAX as usize, 1])), vec!["dilation·(kernel−1)+1 on axis 0", size]),
        (error(huge.weight_len().and(huge.geometry(1 << 40, [1]))), vec!["the output", size, "bytes"]),
        (
            error(Conv1d::with_params(huge).build(&[1.0]).unwrap().forward(&[1.0], 1, [1])),
            vec!["no memory for 1152921504606846980 bytes"],
        ),
        (at_build(layer().activation(clamp)), vec!["clamp is from 2 to -1", "at most the second"]),
        (at_build(layer().isa(absent)), vec![absent.name(), "not available on this CPU"]),
        (
            error("avx3".parse::<Isa>()),
            vec!["CONVGEMM_ISA is \"avx3\"", "has to be portable, avx2, avx512 or neon"],
        ),
        (at_gelus_output(), vec!["Gelu at its output does not apply", "the values before the activation"]),
    ];
    table.extend(wrong_lengths());
    #[cfg(feature = "ndarray")]
    table.extend(wrong_arrays());
    table
}

/// Those that arrays alone can bring about.
#[cfg(feature = "ndarray")]
fn wrong_arrays() -> Vec<(Error, Vec<&'static str>)> {
    let layer = layer().build(&[0.0; 216]).unwrap();
    let [flat, deep] = [vec![4, 5, 5], vec![1, 3, 5, 5]].map(ndarray::ArrayD::<f32>::zeros);
    vec![
        (error(layer.forward_array(flat.view())), vec!["input has 3 axes", "has to have 4"]),
        (error(layer.forward_array(deep.view())), vec!["input is 3 long on axis 1", "has to be 4"]),
    ]
}

fn at_gelus_output() -> Error {
    let geometry = Params::new(1, 1, [1]).geometry(1, [1]).unwrap();
    let at = ActivationAt::Output(&[1.0_f32]);
    error(backward_activation(&geometry, &Activation::Gelu, at, &[1.0], &mut [1.0]))
}

/// Each of the slices there are, one element too long.
fn wrong_lengths() -> Vec<(Error, Vec<&'static str>)> {
    let geometry = Params::new(2, 3, [2]).geometry(1, [4]).unwrap();
    let (x, w, y) = ([0.0_f32; 8], [0.0_f32; 12], [0.0_f32; 9]);
    let (mut x1, mut w1, mut y1, mut bias1) = ([0.0_f32; 9], [0.0_f32; 13], [0.0_f32; 10], [0.0_f32; 4]);
    let builder = || Conv1d::builder(2, 3, [2]);
    let conv = builder().build(&w).unwrap();
    let (options, workspace) = (BackwardOptions::new(), &mut Workspace::new());
    let relu = Activation::Relu;
    let slopes = Activation::Prelu { slopes: vec![0.0; 4] };
    let residual = ForwardOptions::new().residual(&y1);
    let residual = error(conv.forward_with(&x, 1, [4], &residual, &mut y.clone(), workspace));
    let derivative =
        |at, dy: &[f32], to: &mut [f32]| error(backward_activation(&geometry, &relu, at, dy, to));
    let at = ActivationAt::PreActivation;
    vec![
        (error(conv.forward(&x1, 1, [4])), vec!["input has 9 elements", "has to have 8"]),
        (error(builder().build(&w1)), vec!["weight has 13 elements", "has to have 12"]),
        (error(builder().bias(&bias1).build(&w)), vec!["bias has 4 elements", "has to have 3"]),
        (error(builder().activation(slopes).build(&w)), vec!["slopes has 4 elements", "has to have 3"]),
        (residual, vec!["residual has 10 elements", "has to have 9"]),
        (derivative(at(&y1), &y, &mut y.clone()), vec!["pre-activation has 10 elements", "has to have 9"]),
        (derivative(at(&y), &y1, &mut y.clone()), vec!["output gradient has 10 elements", "has to have 9"]),
        (
            derivative(at(&y), &y, &mut y1.clone()),
            vec!["pre-activation gradient has 10 elements", "has to have 9"],
        ),
        (
            error(conv.forward_into(&x, 1, [4], &mut y1, workspace)),
            vec!["output has 10 elements", "has to have 9"],
        ),
        (error(im2col(&geometry, &x, &mut w1)), vec!["columns has 13 elements", "has to have 12"]),
        (
            error(backward_input(&geometry, &y, &w, &options, &mut x1, workspace)),
            vec!["input gradient has 9 elements", "has to have 8"],
        ),
        (
            error(backward_weight(&geometry, &x, &y, &options, &mut w1, workspace)),
            vec!["weight gradient has 13 elements", "has to have 12"],
        ),
        (
            error(backward_bias(&geometry, &y, &options, &mut bias1)),
            vec!["bias gradient has 4 elements", "has to have 3"],
        ),
    ]
}

#[test]
fn every_error_says_what_is_wrong() {
    let (mut seen, mut arguments) = (BTreeSet::new(), BTreeSet::new());
    for (error, parts) in errors() {
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{error:?}: {text:?} does not say {part:?}");
        }
        assert!(!text.ends_with('.') && !text.contains('\n'), "{text:?}");
        let debug = format!("{error:?}");
        seen.insert(debug.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned());
        if let Error::WrongLength { argument, actual, required } = error {
            assert_eq!(actual, required + 1);
            arguments.insert(format!("{argument:?}"));
        }
    }
    if cfg!(not(feature = "ndarray")) {
        seen.extend(["WrongRank", "WrongShape"].map(str::to_owned));
    }
    assert!(seen.iter().eq(&variants("Error")), "{seen:?}");
    assert!(arguments.iter().eq(&variants("Argument")), "{arguments:?}");
    assert_eq!([Channels::In, Channels::Out].map(|c| c.to_string()), ["in_channels", "out_channels"]);
    assert_ne!(Argument::Input.to_string(), Argument::InputGradient.to_string());
}

/// One of a problem's tensors.
type Tensor<T> = fn(&mut Data<T>) -> &mut Vec<T>;

/// Numbers that are none, of both signs of zero, and too small for a full mantissa.
fn specials<T: Element>() -> [T; 7] {
    let tiny = if T::NAME == "f32" { 1e-45 } else { 5e-324 };
    [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, tiny, -tiny].map(T::from_f64)
}

/// Small problems with windows inside the image and over its edges.
fn problems() -> Vec<Problem<2>> {
    vec![
        Problem::new(Params::new(2, 3, [2, 2]).padding([1, 1]), 1, [3, 4]),
        Problem::new(Params::new(2, 17, [2, 1]).stride([1, 2]), 1, [3, 5]),
        Problem::new(Params::new(3, 3, [3, 3]).padding([1, 1]).groups(3), 1, [3, 6]),
        Problem::new(Params::new(5, 18, [1, 1]), 2, [1, 3]),
    ]
}

/// One special number at each place of each tensor: the oracle's bytes, but NaN, too, where a window with a weight that is none reaches
/// over the edge.
fn check_specials<T: Element>(problem: &Problem<2>, extras: &Extras<T>) {
    let clean = problem.reals::<T>(2);
    let mut ways = [ways::<T>(), direct_ways::<T, 2>(problem)].concat();
    ways.retain(|way| way.is_exact() && (!reduced() || way.tuning.kernel.is_none()));
    let mut workspace = Workspace::new();
    let tensors: [Tensor<T>; 4] = [|d| &mut d.x, |d| &mut d.weight, |d| &mut d.bias, |d| &mut d.residual];
    for (which, tensor) in tensors.into_iter().enumerate() {
        for index in 0..tensor(&mut clean.clone()).len() {
            for special in specials::<T>() {
                let mut data = clean.clone();
                tensor(&mut data)[index] = special;
                let oracle = problem.oracle_of(&data, extras);
                let expected = Expected::new(&oracle, &extras.activation);
                let k = problem.params.weight_len().unwrap() / problem.params.out_channels;
                for way in &ways {
                    let mut y = problem.run_with(&data, *way, extras, &mut workspace);
                    if which == 1 && !special.to_f64().is_finite() {
                        for (i, y) in y.iter_mut().enumerate().filter(|(i, _)| oracle.terms_at(*i) < k) {
                            *y = if y.to_f64().is_nan() { oracle.at(i) } else { *y };
                        }
                    }
                    expected.check(&y, way, &(problem, which, index, special));
                }
            }
        }
    }
}

#[test]
fn specials_in_every_position_on_every_isa() {
    announce("specials_in_every_position");
    for problem in problems() {
        check_specials(&problem, &Extras::<f32>::all());
        check_specials(&problem, &Extras::<f64> { bias: true, ..Extras::none() });
    }
}

/// The same for gradients, where it is the weights of the input's and the output's gradient of the weights' that padding is multiplied by.
fn check_gradients<T: Element>(problem: &Problem<2>) {
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let clean = problem.reals::<T>(6);
    let (mut workspace, nan) = (Workspace::new(), T::from_f64(f64::NAN));
    // The residual is the output's gradient here.
    let tensors: [Tensor<T>; 3] = [|d| &mut d.x, |d| &mut d.weight, |d| &mut d.residual];
    for (which, tensor) in tensors.into_iter().enumerate() {
        for index in 0..tensor(&mut clean.clone()).len() {
            for special in specials::<T>() {
                let mut data = clean.clone();
                tensor(&mut data)[index] = special;
                let Data { x, weight, residual: dy, .. } = &data;
                let oracle = GradientOracle::new(&geometry, x, weight, dy).unwrap();
                let excused = |of: usize| which == of && !special.to_f64().is_finite();
                for isa in Isa::available().into_iter().filter(|isa| isa.is_fused()) {
                    let options = BackwardOptions::new().isa(isa);
                    let (mut dx, mut dw) = (vec![nan; x.len()], vec![nan; weight.len()]);
                    backward_input(&geometry, dy, weight, &options, &mut dx, &mut workspace).unwrap();
                    backward_weight(&geometry, x, dy, &options, &mut dw, &mut workspace).unwrap();
                    let same = |y: T, exact: T, excused: bool| {
                        same_bytes(y, exact) || excused && y.to_f64().is_nan()
                    };
                    for (i, (&y, exact)) in dx.iter().zip(oracle.input_gradient()).enumerate() {
                        assert!(
                            same(y, exact, excused(1)),
                            "{problem:?} {isa} {which} {index} {special}\ndx[{i}] {y}, {exact}"
                        );
                    }
                    for (i, (&y, exact)) in dw.iter().zip(oracle.weight_gradient()).enumerate() {
                        assert!(
                            same(y, exact, excused(2)),
                            "{problem:?} {isa} {which} {index} {special}\ndw[{i}] {y}, {exact}"
                        );
                    }
                }
                let mut db = vec![nan; geometry.params().out_channels];
                backward_bias(&geometry, dy, &BackwardOptions::new(), &mut db).unwrap();
                assert!(db.iter().zip(oracle.bias_gradient()).all(|(&y, exact)| same_bytes(y, exact)));
            }
        }
    }
}

#[test]
fn specials_in_every_position_of_gradients_on_every_isa() {
    announce("specials_in_every_position_of_gradients");
    for problem in problems() {
        check_gradients::<f32>(&problem);
        check_gradients::<f64>(&problem);
    }
}

/// Many threads, one layer, workspaces that each thread keeps.
#[test]
fn a_thousand_calls_from_sixteen_threads_have_the_bytes_of_one_alone() {
    let problem = Problem::new(Params::<2>::new(8, 20, [3, 3]).padding([1, 1]), 2, [9, 11]);
    let data = problem.reals::<f32>(3);
    let conv = Way::auto(Isa::available()[0]).build_with(&problem, &data, &Extras::all());
    let alone = problem.run_conv(&conv, &data, true, &mut Workspace::new());
    let calls = if reduced() { 4 } else { 63 };
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let (problem, conv, data, alone) = (&problem, &conv, &data, &alone);
            scope.spawn(move || {
                let mut workspace = Workspace::new();
                for call in 0..calls {
                    let y = problem.run_conv(conv, data, true, &mut workspace);
                    common::assert_same_bits(&y, alone, &(thread, call));
                }
            });
        }
    });
}

#[cfg(feature = "rayon")]
mod panics {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;
    use convgemm::{ConvTranspose, Parallelism};

    /// Panics in jobs of the caller's pool, which run while calls wait for their parts, and in the closure that makes a call: the pool, the
    /// layers and the workspace go on as before.
    #[test]
    fn a_panic_in_the_callers_pool_spoils_nothing() {
        let problem =
            Problem::new(Params::<2>::new(32, 40, [3, 3]).padding([1, 1]).stride([2, 1]), 2, [40, 40]);
        let data = problem.reals::<f32>(3);
        let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
        let conv = Way::auto(Isa::available()[0]).build_with(&problem, &data, &Extras::all());
        let transposed = ConvTranspose::<f32, 2>::builder(40, 32, [3, 3]).padding([1, 1]).stride([2, 1]);
        let transposed = transposed.output_padding([1, 0]).build(&data.weight).unwrap();
        assert!(conv.plan(2, problem.extent).unwrap().parts(3) > 1);
        let all = |workspace: &mut Workspace| {
            let forward = problem.run_conv(&conv, &data, true, workspace);
            let extent = geometry.output_extent();
            let mut up = vec![f32::NAN; 2 * 32 * 40 * 40];
            let parallelism = Parallelism::default();
            transposed.forward_into(&data.residual, 2, extent, parallelism, &mut up, workspace).unwrap();
            let (mut dw, options) = (vec![f32::NAN; data.weight.len()], BackwardOptions::new());
            backward_weight(&geometry, &data.x, &data.residual, &options, &mut dw, workspace).unwrap();
            [forward, up, dw].concat()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let mut workspace = Workspace::new();
        let expected = all(&mut workspace);
        let mut caught = 0;
        for round in 0..20 {
            // Without the message, which would be 180 of them.
            let panic = |what: &'static str| resume_unwind(Box::new(what));
            let calls = || {
                pool.scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(move |_| panic("a job of the caller's"));
                    }
                    all(&mut workspace);
                    if round % 2 == 1 {
                        panic("behind the calls");
                    }
                });
            };
            let result = catch_unwind(AssertUnwindSafe(calls));
            caught += usize::from(result.is_err());
        }
        assert_eq!(caught, 20);
        for workspace in [&mut workspace, &mut Workspace::new()] {
            let y = pool.install(|| all(workspace));
            common::assert_same_bits(&y, &expected, &"behind panics");
        }
    }
}
