//! Small problems, computed in any way that there is, against the oracle: its bytes where the way is exact, else
//! within its bound, and equal numbers where every sum is exact.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::reference::Oracle;
use convgemm::{Activation, Algorithm, Conv, Element, ForwardOptions, Workspace};
use convgemm_fuzz::{Kind, Numbers, Shape, WayInput, between_canaries, dispatch, same_bytes, with_workspace};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most: an execution takes some milliseconds under the sanitizer.
const MOST_MACS: usize = 1 << 18;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    data: Kind,
    seed: u64,
    bias: bool,
    residual: bool,
    activation: u8,
    way: WayInput,
    updated: bool,
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

fn check<T: Element, const D: usize>(input: &Input) {
    let Some(geometry) = input.shape.geometry::<D>(MOST_MACS) else { return };
    let (params, batch, extent) = (*geometry.params(), geometry.batch(), geometry.input_extent());
    let mut numbers = Numbers { state: input.seed, kind: input.data };
    let x: Vec<T> = numbers.image(geometry.input_len());
    let weight: Vec<T> = numbers.weights(geometry.weight_len());
    let bias: Vec<T> = numbers.weights(params.out_channels);
    let residual: Vec<T> = numbers.image(geometry.output_len());
    let activation = input.activation(&mut numbers, params.out_channels);
    let way = input.way.way::<T>();

    let mut oracle = Oracle::new(&params, batch, extent, &x, &weight).unwrap();
    let mut builder = way.builder(params).activation(activation.clone());
    let mut options = ForwardOptions::new();
    if input.bias {
        builder = builder.bias(&bias);
        oracle = oracle.bias(&bias).unwrap();
    }
    if input.residual {
        options = options.residual(&residual);
        oracle = oracle.residual(&residual).unwrap();
    }
    let oracle = oracle.activation(activation.clone()).unwrap();
    let conv = if input.updated {
        let mut conv = builder.build(&vec![T::from_f64(f64::NAN); weight.len()]).unwrap();
        conv.update_weight(&weight).unwrap();
        conv
    } else {
        builder.build(&weight).unwrap()
    };
    let run = Run { conv, batch, extent, options };
    let Some(y) = with_workspace(|workspace| run.twice(&x, workspace)) else { return };

    // These round once more, after what the bound and the integers vouch for.
    let rounds = matches!(activation, Activation::HardSigmoid | Activation::HardSwish);
    let agreement = if way.isa.is_fused() && way.algorithm != Algorithm::Im2col {
        Agreement::Bytes
    } else if input.data == Kind::Integers && !rounds {
        Agreement::Numbers
    } else {
        Agreement::Bound
    };
    for (index, &y) in y.iter().enumerate() {
        agreement.check(&oracle, index, y, &run);
    }
}

struct Run<'a, T: Element, const D: usize> {
    conv: Conv<T, D>,
    batch: usize,
    extent: [usize; D],
    options: ForwardOptions<'a, T>,
}

impl<T: Element, const D: usize> Run<'_, T, D> {
    /// The output for `x`, after a run on NaNs in the same scratch; none where the tuning does not apply.
    fn twice(&self, x: &[T], workspace: &mut Workspace) -> Option<Vec<T>> {
        let plan = self.conv.plan(self.batch, self.extent);
        let shown = plan.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        assert!(!shown.is_empty());
        let poisoned = self.once(&vec![T::from_f64(f64::NAN); x.len()], workspace);
        let y = self.once(x, workspace);
        assert_eq!(poisoned.is_some(), plan.is_ok());
        assert_eq!(y.is_some(), plan.is_ok());
        y
    }

    /// The output, computed into NaNs between canaries.
    fn once(&self, x: &[T], workspace: &mut Workspace) -> Option<Vec<T>> {
        let len = self.conv.geometry(self.batch, self.extent).unwrap().output_len();
        let (y, result) = between_canaries(len, T::from_f64(f64::NAN), |y| {
            self.conv.forward_with(x, self.batch, self.extent, &self.options, y, workspace)
        });
        if result.is_err() {
            assert!(y.iter().all(|&y| y.to_f64().is_nan()), "written before an error");
        }
        result.ok().map(|()| y)
    }
}

#[derive(Debug, Clone, Copy)]
enum Agreement {
    Bytes,
    Numbers,
    Bound,
}

impl Agreement {
    fn check<T: Element, const D: usize>(
        self,
        oracle: &Oracle<'_, T, D>,
        index: usize,
        y: T,
        run: &Run<'_, T, D>,
    ) {
        let expected = oracle.at(index);
        let (a, b) = (y.to_f64(), expected.to_f64());
        let agrees = same_bytes(y, expected)
            || match self {
                Self::Bytes => false,
                Self::Numbers => a == b,
                // An activation may round once more, relative to its result.
                Self::Bound => {
                    (a - b).abs() <= 2.0 * (oracle.bound_at(index) + T::EPSILON.to_f64() * b.abs())
                }
            };
        assert!(
            agrees,
            "{self:?} at {index}: {y}, not {expected}\n{:?}\n{}",
            run.conv,
            run.conv.plan(run.batch, run.extent).unwrap()
        );
    }
}

impl Input {
    /// One of which every implementation gives the definition's bytes.
    fn activation<T: Element>(&self, numbers: &mut Numbers, channels: usize) -> Activation<T> {
        match self.activation % 8 {
            0 => Activation::Identity,
            1 => Activation::Relu,
            2 => Activation::Relu6,
            3 => Activation::Clamp { lo: T::from_f64(-1.5), hi: T::from_f64(0.75) },
            4 => Activation::LeakyRelu { slope: T::from_f64(0.01) },
            5 => Activation::Prelu { slopes: (0..channels).map(|_| T::from_f64(numbers.real())).collect() },
            6 => Activation::HardSigmoid,
            _ => Activation::HardSwish,
        }
    }
}
