//! Properties over all parameters at once: random layers, images, blocks and epilogues.

mod common;

use std::mem::MaybeUninit;

use common::{
    Data, Expected, Extras, Problem, Random, Way, announce, assert_same_bits, exact_activations, for_all,
    holds_positions, problems, ways,
};
use convgemm::{
    Activation, Conv, Element, ForwardOptions, Lowering, Params, Result, Workspace, conv1d, conv2d, conv3d,
};
use proptest::prelude::*;

const REGRESSIONS: &str = "proptest-regressions/properties.txt";

/// A problem, what is done to its sums, and how its sums are cut.
#[derive(Debug, Clone)]
struct Case<const D: usize> {
    problem: Problem<D>,
    bias: bool,
    residual: bool,
    activation: usize,
    k_block: Option<usize>,
    tap_block: Option<usize>,
    band: Option<[usize; 2]>,
    /// Whether images that are their own im2col matrix are packed all the same.
    packed: bool,
    seed: u64,
}

fn cases<const D: usize>() -> impl Strategy<Value = Case<D>> {
    let blocks = (proptest::option::of(1..=24_usize), proptest::option::weighted(0.3, 1..=6_usize));
    let band = proptest::option::of((1..=6_usize, 1..=40_usize).prop_map(|(rows, cols)| [rows, cols]));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (problems(), flags, 0..64_usize, blocks, band, any::<u64>()).prop_map(
        |(problem, (bias, residual, packed), activation, (k_block, tap_block), band, seed)| Case {
            problem,
            bias,
            residual,
            activation,
            k_block,
            tap_block,
            band,
            packed,
            seed,
        },
    )
}

impl<const D: usize> Case<D> {
    fn extras<T: Element>(&self, activations: &[Activation<T>]) -> Extras<T> {
        let activation = activations[self.activation % activations.len()].clone();
        Extras { bias: self.bias, residual: self.residual, activation }
    }

    /// Every kernel, with this case's blocks where it has some.
    fn ways<T: Element>(&self) -> Vec<Way> {
        ways::<T>().into_iter().map(|way| self.tuned(way)).collect()
    }

    fn tuned(&self, mut way: Way) -> Way {
        way.tuning.k_block = self.k_block.or(way.tuning.k_block);
        way.tuning.tap_block = self.tap_block.or(way.tuning.tap_block);
        way.tuning.band = self.band.or(way.tuning.band);
        if self.packed && way.tuning.kernel.is_some_and(holds_positions) {
            way.tuning.lowering = Some(Lowering::Packed);
        }
        way
    }
}

/// Random numbers: the oracle's bytes.
fn check_reals<T: Element, const D: usize>(case: &Case<D>) {
    let data = case.problem.reals::<T>(case.seed);
    let extras = case.extras(&exact_activations(case.problem.params.out_channels));
    let expected = Expected::new(&case.problem.oracle_of(&data, &extras), &extras.activation);
    let mut workspace = Workspace::new();
    for way in case.ways::<T>() {
        let y = case.problem.run_with(&data, way, &extras, &mut workspace);
        expected.check(&y, &way, case);
    }
}

/// Zeros of both signs, numbers whose products underflow and overflow, and NaN and ∞ in the image: the oracle's bytes.
fn check_extremes<T: Element, const D: usize>(case: &Case<D>) {
    let (tiny, huge) = if T::NAME == "f32" { (1e-23, 3e37) } else { (1e-162, 3e307) };
    let finite = [0.0, -0.0, tiny, -tiny, tiny * tiny, 1.0, -1.0, 0.5, huge, -huge];
    let mut random = Random(case.seed);
    let mut fill = |values: &mut [T], from: &[f64]| {
        values.iter_mut().for_each(|v| *v = T::from_f64(from[random.next() as usize % from.len()]));
    };
    let mut data = case.problem.reals::<T>(case.seed);
    fill(&mut data.weight, &finite);
    fill(&mut data.bias, &finite[..7]);
    fill(&mut data.residual, &finite[..7]);
    // Up to how far down the list says what the image is of: tiny numbers, ordinary ones, and what is not finite.
    let image = [&finite[..], &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]].concat();
    fill(&mut data.x, &image[..[5, 8, 10, 13][case.seed as usize % 4]]);
    let extras = case.extras(&exact_activations(case.problem.params.out_channels));
    let expected = Expected::new(&case.problem.oracle_of(&data, &extras), &extras.activation);
    let mut workspace = Workspace::new();
    for way in case.ways::<T>().into_iter().filter(Way::is_exact) {
        let y = case.problem.run_with(&data, way, &extras, &mut workspace);
        expected.check(&y, &way, case);
    }
}

/// Small integers: equal in any order of summation.
fn check_integers<T: Element, const D: usize>(case: &Case<D>) {
    let data = case.problem.integers::<T>(case.seed);
    let activations = exact_activations(case.problem.params.out_channels);
    // Up to PReLU: the others are not exact on an instruction set that is not fused.
    let extras = case.extras(&activations[..6]);
    let expected = Expected::new(&case.problem.oracle_of(&data, &extras), &extras.activation);
    let mut workspace = Workspace::new();
    for way in case.ways::<T>() {
        let y = case.problem.run_with(&data, way, &extras, &mut workspace);
        expected.check_equal(&y, &way, case);
    }
}

/// Image i of a batch has the bytes of the image alone.
fn check_batch<T: Element, const D: usize>(case: &Case<D>, way: Way) {
    let problem = &case.problem;
    let data = problem.reals::<T>(case.seed);
    let conv = way.build_with(problem, &data, &case.extras(&exact_activations(problem.params.out_channels)));
    let mut workspace = Workspace::new();
    let whole = problem.run_conv(&conv, &data, case.residual, &mut workspace);
    let single = Problem { batch: 1, ..problem.clone() };
    let geometry = conv.geometry(1, problem.extent).unwrap();
    let part = |of: &[T], i: usize, len: usize| of[i * len..][..len].to_vec();
    for i in 0..problem.batch {
        let image = Data {
            x: part(&data.x, i, geometry.input_len()),
            residual: part(&data.residual, i, geometry.output_len()),
            ..data.clone()
        };
        let alone = single.run_conv(&conv, &image, case.residual, &mut workspace);
        assert_same_bits(&alone, &part(&whole, i, geometry.output_len()), &(way, case));
    }
}

type OneCall<T, const D: usize> =
    fn(&Params<D>, &[T], usize, [usize; D], &[T], Option<&[T]>, &mut Workspace) -> Result<Vec<T>>;

/// All ways to call give the same bytes.
fn check_calls<T: Element, const D: usize>(case: &Case<D>, one_call: OneCall<T, D>) {
    let Problem { params, batch, extent } = case.problem.clone();
    let data = case.problem.reals::<T>(case.seed);
    let bias = case.bias.then_some(&data.bias[..]);
    let mut builder = Conv::with_params(params);
    if let Some(bias) = bias {
        builder = builder.bias(bias);
    }
    let conv = builder.build(&data.weight).unwrap();
    let mut workspace = Workspace::new();
    let into = case.problem.run_conv(&conv, &data, false, &mut workspace);
    assert_same_bits(&conv.forward(&data.x, batch, extent).unwrap(), &into, case);
    let called = one_call(&params, &data.x, batch, extent, &data.weight, bias, &mut workspace);
    assert_same_bits(&called.unwrap(), &into, case);

    let mut y = vec![MaybeUninit::new(T::from_f64(f64::NAN)); into.len()];
    let options = ForwardOptions::new();
    conv.forward_uninit(&data.x, batch, extent, &options, &mut y, &mut workspace).unwrap();
    // SAFETY: every element was initialised when the vector was made.
    let y: Vec<T> = y.iter().map(|y| unsafe { y.assume_init() }).collect();
    assert_same_bits(&y, &into, case);
}

/// New weights in an old layer are those of a fresh one.
fn check_update<T: Element, const D: usize>(case: &Case<D>, way: Way) {
    let problem = &case.problem;
    let (old, new) = (problem.reals::<T>(case.seed), problem.reals::<T>(!case.seed));
    let extras = Extras::none();
    let mut conv = way.build_with(problem, &old, &extras);
    let mut workspace = Workspace::new();
    problem.run_conv(&conv, &old, false, &mut workspace);
    conv.update_weight(&new.weight).unwrap();
    let updated = problem.run_conv(&conv, &new, false, &mut workspace);
    let fresh = problem.run_with(&new, way, &extras, &mut Workspace::new());
    assert_same_bits(&updated, &fresh, &(way, case));
}

macro_rules! properties {
    ($module:ident, $elem:ident, $axes:literal, $one_call:ident, $cases:literal) => {
        mod $module {
            use super::*;

            /// Announces the test and runs it on random cases.
            fn run(test: &str, share: u32, check: impl Fn(&Case<$axes>)) {
                announce(&format!("{} {test}", stringify!($module)));
                for_all($cases / share, REGRESSIONS, cases(), check);
            }

            #[test]
            fn reals_give_the_oracles_bytes_on_every_isa() {
                run("reals", 1, check_reals::<$elem, $axes>);
            }

            #[test]
            fn extremes_give_the_oracles_bytes_on_every_isa() {
                run("extremes", 2, check_extremes::<$elem, $axes>);
            }

            #[test]
            fn integers_are_equal_in_every_algorithm_on_every_isa() {
                run("integers", 1, check_integers::<$elem, $axes>);
            }

            #[test]
            fn the_batch_changes_no_byte_on_every_isa() {
                run("batch", 2, |case| {
                    case.ways::<$elem>().into_iter().for_each(|way| check_batch::<$elem, $axes>(case, way))
                });
            }

            #[test]
            fn updated_weights_are_fresh_weights_on_every_isa() {
                run("update", 2, |case| {
                    case.ways::<$elem>().into_iter().for_each(|way| check_update::<$elem, $axes>(case, way))
                });
            }

            #[test]
            fn every_call_gives_the_same_bytes() {
                for_all($cases, REGRESSIONS, cases(), |case| check_calls::<$elem, $axes>(case, $one_call));
            }
        }
    };
}

properties!(one_axis_f32, f32, 1, conv1d, 256);
properties!(two_axes_f32, f32, 2, conv2d, 320);
properties!(three_axes_f32, f32, 3, conv3d, 128);
properties!(one_axis_f64, f64, 1, conv1d, 160);
properties!(two_axes_f64, f64, 2, conv2d, 256);
properties!(three_axes_f64, f64, 3, conv3d, 128);
