//! Every register tile of an instruction set against the portable ones: equal numbers where every sum is exact, and the bytes of one another
//! where multiply-adds are fused.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::{
    Activation, Algorithm, Conv, Element, Error, ForwardOptions, Geometry, Isa, Tuning, kernel_names,
};
use convgemm_fuzz::{
    Blocks, Kind, Numbers, Shape, assert_same_bytes, between_canaries, dispatch, isa, with_workspace,
};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most: there are some dozens of tiles.
const MOST_MACS: usize = 1 << 14;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    seed: u64,
    isa: u8,
    reals: bool,
    activation: u8,
    residual: bool,
    blocks: Blocks,
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

struct Problem<T, const D: usize> {
    geometry: Geometry<D>,
    x: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    residual: Option<Vec<T>>,
    activation: Activation<T>,
    tuning: Tuning,
}

fn check<T: Element, const D: usize>(input: &Input) {
    let Some(geometry) = input.shape.geometry::<D>(MOST_MACS) else { return };
    let kind = if input.reals { Kind::Reals } else { Kind::Integers };
    let mut numbers = Numbers { state: input.seed, kind };
    let problem = Problem {
        geometry,
        x: numbers.weights(geometry.input_len()),
        weight: numbers.weights(geometry.weight_len()),
        bias: numbers.weights::<T>(geometry.params().out_channels),
        residual: input.residual.then(|| numbers.weights(geometry.output_len())),
        // Exact on integers.
        activation: match input.activation % 4 {
            0 => Activation::Identity,
            1 => Activation::Relu,
            2 => Activation::Clamp { lo: T::from_f64(-3.0), hi: T::from_f64(9.5) },
            _ => Activation::LeakyRelu { slope: T::from_f64(0.5) },
        },
        tuning: input.blocks.tuning(),
    };
    let isa = isa(input.isa);
    if input.reals && !isa.is_fused() {
        return;
    }
    let mut expected = (!input.reals).then(|| problem.run(Isa::Portable, None).unwrap());
    for name in kernel_names::<T>(isa).unwrap() {
        let Some(y) = problem.run(isa, Some(name)) else { continue };
        let expected = expected.get_or_insert_with(|| y.clone());
        assert_same_bytes(&y, expected, &(name, problem.geometry, problem.tuning, &problem.activation));
    }
}

impl<T: Element, const D: usize> Problem<T, D> {
    /// The output; none where the tile does not apply.
    fn run(&self, isa: Isa, name: Option<&'static str>) -> Option<Vec<T>> {
        let mut tuning = self.tuning;
        tuning.kernel = name;
        let builder = Conv::<T, D>::with_params(*self.geometry.params()).isa(isa).bias(&self.bias);
        let builder = builder.activation(self.activation.clone());
        let builder = match name {
            Some(name) if name.contains("_direct_") => builder.algorithm(Algorithm::Direct),
            Some(_) => builder,
            None => builder.algorithm(Algorithm::Gemm),
        };
        let conv = builder.tuning(tuning).build(&self.weight).unwrap();
        let mut options = ForwardOptions::new();
        options.residual = self.residual.as_deref();
        let (batch, extent) = (self.geometry.batch(), self.geometry.input_extent());
        let nan = T::from_f64(f64::NAN);
        let (y, result) = with_workspace(|workspace| {
            between_canaries(self.geometry.output_len(), nan, |y| {
                conv.forward_with(&self.x, batch, extent, &options, y, workspace)
            })
        });
        match result {
            // A direct tile that was made for other kernels, or takes no blocks.
            Err(Error::NotApplicable { .. }) if name.is_some_and(|name| name.contains("_direct_")) => None,
            result => result.map(|()| Some(y)).unwrap(),
        }
    }
}
