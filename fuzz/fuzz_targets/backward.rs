//! Small problems: the gradients against the oracle, its bytes where multiply-adds are fused, else within its bound.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::reference::{Expected, GradientOracle};
use convgemm::{BackwardOptions, Element, Isa, Parallelism, backward_bias, backward_input, backward_weight};
use convgemm_fuzz::{Kind, Numbers, Shape, between_canaries, dispatch, isa, with_workspace};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most: an execution takes some milliseconds under the sanitizer.
const MOST_MACS: usize = 1 << 16;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    seed: u64,
    isa: u8,
    accumulate: bool,
    serial: bool,
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

fn check<T: Element, const D: usize>(input: &Input) {
    let Some(geometry) = input.shape.geometry::<D>(MOST_MACS) else { return };
    let mut random = Numbers { state: input.seed, kind: Kind::Reals };
    // Of one size, or of very different ones, so that products vanish.
    let spread = if input.seed.is_multiple_of(4) { 40.0 } else { 0.0 };
    let mut numbers = |len: usize| -> Vec<T> {
        let number = |_| random.real() * 10_f64.powf(spread * (random.real() - 1.0));
        (0..len).map(number).map(T::from_f64).collect()
    };
    let x = numbers(geometry.input_len());
    let weight = numbers(geometry.weight_len());
    let dy = numbers(geometry.output_len());
    let isa = isa(input.isa);
    let mut options = BackwardOptions::new().isa(isa).accumulate(input.accumulate);
    if input.serial {
        options = options.parallelism(Parallelism::Serial);
    }
    let oracle = GradientOracle::new(&geometry, &x, &weight, &dy).unwrap();
    let fill = T::from_f64(if input.accumulate { 1.0 } else { f64::NAN });
    with_workspace(|workspace| {
        let run = |y: &mut [T]| backward_input(&geometry, &dy, &weight, &options, y, workspace).unwrap();
        let (gradient, ()) = between_canaries(x.len(), fill, run);
        let of = |i| (oracle.input_at(i), oracle.input_expected_at(i));
        compare(isa, input.accumulate, &gradient, of);
        let run = |y: &mut [T]| backward_weight(&geometry, &x, &dy, &options, y, workspace).unwrap();
        let (gradient, ()) = between_canaries(weight.len(), fill, run);
        let of = |i| (oracle.weight_at(i), oracle.weight_expected_at(i));
        compare(isa, input.accumulate, &gradient, of);
    });
    let run = |y: &mut [T]| backward_bias(&geometry, &dy, &options, y).unwrap();
    let channels = geometry.params().out_channels;
    let (gradient, ()) = between_canaries(channels, fill, run);
    for (channel, gradient) in gradient.iter().enumerate() {
        let given = if input.accumulate { 1.0 } else { 0.0 };
        let expected = T::from_f64(given + oracle.bias_at(channel).to_f64());
        assert_eq!(gradient.to_f64(), expected.to_f64(), "bias {channel}");
    }
}

fn compare<T: Element>(isa: Isa, add: bool, gradient: &[T], oracle: impl Fn(usize) -> (T, Expected)) {
    for (i, y) in gradient.iter().enumerate() {
        let (exact, expected) = oracle(i);
        let given = if add { 1.0 } else { 0.0 };
        if isa.is_fused() {
            let exact = if add { T::from_f64(exact.to_f64() + given) } else { exact };
            assert_eq!(y.to_f64().to_bits(), exact.to_f64().to_bits(), "{i} on {isa}: {y}, not {exact}");
        } else {
            let (off, bound) = (y.to_f64() - expected.value - given, expected.bound + T::EPSILON.to_f64());
            assert!(off.abs() <= 2.0 * bound, "{i} on {isa}: {y}, not {expected:?}");
        }
    }
}
