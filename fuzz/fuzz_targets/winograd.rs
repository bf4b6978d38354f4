//! Winograd's algorithm: the same bytes on every instruction set with fused multiply-adds, however the work is cut; within its error of the
//! oracle.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::reference::Oracle;
use convgemm::{Activation, Algorithm, Conv, Element, ForwardOptions, Isa, Params, Tuning};
use convgemm_fuzz::{Kind, Numbers, Shape, assert_same_bytes, between_canaries, dispatch, with_workspace};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most.
const MOST_MACS: usize = 1 << 16;

/// What a transform with 8 points makes of roundings, at most: the products of the sums of its matrices' rows, about.
const AMPLIFIED: f64 = 4000.0;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    taps: [u8; 2],
    tile: u8,
    seed: u64,
    parts: u8,
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

/// The problem with a kernel and a stride that there are tiles for.
fn params<const D: usize>(input: &Input) -> Option<(Params<D>, usize, [usize; D])> {
    let geometry = input.shape.geometry::<D>(MOST_MACS / 16)?;
    let mut params = *geometry.params();
    (params.stride, params.dilation) = ([1; D], [1; D]);
    for (axis, taps) in params.kernel.iter_mut().rev().zip(input.taps) {
        *axis = [3, 5, 1][usize::from(taps) % 3];
    }
    if D == 3 {
        params.kernel[0] = 1;
    }
    let whole = params.geometry(geometry.batch(), geometry.input_extent()).ok()?;
    (whole.macs() <= MOST_MACS as u128).then_some((params, geometry.batch(), geometry.input_extent()))
}

fn check<T: Element, const D: usize>(input: &Input) {
    let Some((params, batch, extent)) = params::<D>(input) else { return };
    let algorithm = Algorithm::Winograd { tile: 2 + 2 * usize::from(input.tile % 3) };
    let geometry = params.geometry(batch, extent).unwrap();
    let mut numbers = Numbers { state: input.seed, kind: Kind::Reals };
    let x: Vec<T> = numbers.image(geometry.input_len());
    let weight: Vec<T> = numbers.weights(geometry.weight_len());
    let residual: Vec<T> = numbers.image(geometry.output_len());
    let options = ForwardOptions::new().residual(&residual);
    let run = |isa: Isa, tuning: Tuning| -> Option<Vec<T>> {
        let conv = Conv::with_params(params).activation(Activation::Relu).isa(isa).algorithm(algorithm);
        let conv = conv.tuning(tuning).build(&weight).unwrap();
        let applies = conv.plan(batch, extent).is_ok();
        let (y, result) = between_canaries(residual.len(), T::from_f64(f64::NAN), |y| {
            with_workspace(|workspace| conv.forward_with(&x, batch, extent, &options, y, workspace))
        });
        assert_eq!(result.is_ok(), applies);
        applies.then_some(y)
    };
    let Some(alone) = run(Isa::available()[0], Tuning::default()) else { return };
    let oracle = Oracle::new(&params, batch, extent, &x, &weight).unwrap();
    let exact = oracle.residual(&residual).unwrap().activation(Activation::Relu).unwrap().output();
    // Every number is at most 1.
    let bound = AMPLIFIED * T::EPSILON.to_f64() * (geometry.weight_len() / params.out_channels) as f64;
    for isa in Isa::available() {
        let y = run(isa, Tuning::default().parts(usize::from(input.parts % 9))).unwrap();
        if isa.is_fused() && Isa::available()[0].is_fused() {
            assert_same_bytes(&y, &alone, &(isa, params, batch, extent, algorithm));
        }
        for (i, (y, exact)) in y.iter().zip(&exact).enumerate() {
            let off = (y.to_f64() - exact.to_f64()).abs();
            assert!(
                off <= bound,
                "{i}: {y}, not {exact}, on {isa}: {params:?} {batch} {extent:?} {algorithm:?}"
            );
        }
    }
}
