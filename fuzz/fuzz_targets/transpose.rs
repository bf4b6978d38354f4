//! Transposed convolutions: their extents against a model that knows when it overflows, their outputs and gradients against the oracles.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::reference::{Expected, GradientOracle, Oracle, TransposeOracle};
use convgemm::{
    BackwardOptions, ConvTranspose, Element, Geometry, Isa, Padding, Parallelism, Params, Result,
};
use convgemm_fuzz::{
    Kind, Numbers, Shape, Signed, Size, assert_same_bytes, between_canaries, dispatch, isa, with_workspace,
};
use libfuzzer_sys::fuzz_target;

/// Terms and elements of a problem that is computed, at most.
const MOST: usize = 1 << 15;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    output_padding: [u8; 3],
    seed: u64,
    isa: u8,
    bias: bool,
    accumulate: bool,
    serial: bool,
    /// In place of the shape's, on some axes.
    huge: [Option<Huge>; 3],
}

#[derive(Debug, Arbitrary)]
struct Huge {
    input: Size,
    stride: Size,
    dilation: Size,
    pad: [Signed; 2],
    output_padding: Size,
}

/// A layer and the extents of an input.
struct Problem<const D: usize> {
    conv: Params<D>,
    output_padding: [usize; D],
    batch: usize,
    extent: [usize; D],
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

fn check<T: Element, const D: usize>(input: &Input) {
    let problem = Problem::<D>::new(input);
    let conv = problem.conv;
    let mut numbers = Numbers { state: input.seed, kind: Kind::Reals };
    let weight =
        numbers.weights::<T>(conv.in_channels / conv.groups * conv.out_channels * product(conv.kernel));
    let bias = numbers.weights::<T>(conv.in_channels);
    let isa = isa(input.isa);
    let mut builder = ConvTranspose::<T, D>::builder(conv.out_channels, conv.in_channels, conv.kernel)
        .stride(conv.stride)
        .dilation(conv.dilation)
        .padding(conv.padding)
        .output_padding(problem.output_padding)
        .groups(conv.groups)
        .isa(isa);
    if input.bias {
        builder = builder.bias(&bias);
    }
    let built = shown(builder.build(&weight));
    assert_eq!(built.is_some(), problem.is_valid());
    let Some(layer) = built else { return };
    let output = shown(layer.output_extent(problem.extent));
    assert_eq!(output, problem.output());
    let Some(geometry) = shown(layer.params().convolution(problem.batch, problem.extent)) else { return };
    assert_eq!((Some(geometry.input_extent()), geometry.output_extent()), (output, problem.extent));
    let few = [geometry.input_len(), geometry.output_len()].iter().all(|&len| len <= MOST);
    if few && geometry.macs() <= MOST as u128 {
        let bias = input.bias.then_some(&bias[..]);
        Run { input, layer, geometry, isa, weight, bias, numbers }.check();
    }
}

struct Run<'a, T: Element, const D: usize> {
    input: &'a Input,
    layer: ConvTranspose<T, D>,
    geometry: Geometry<D>,
    isa: Isa,
    weight: Vec<T>,
    bias: Option<&'a [T]>,
    numbers: Numbers,
}

impl<T: Element, const D: usize> Run<'_, T, D> {
    fn check(mut self) {
        let (geometry, batch) = (self.geometry, self.geometry.batch());
        let extent = geometry.output_extent();
        let x: Vec<T> = self.numbers.weights(geometry.output_len());
        let dy: Vec<T> = self.numbers.weights(geometry.input_len());
        let (layer, weight) = (&self.layer, &self.weight);
        let parallelism = if self.input.serial { Parallelism::Serial } else { Parallelism::default() };
        let add = self.input.accumulate;
        let options = BackwardOptions::new().isa(self.isa).accumulate(add).parallelism(parallelism);
        let nan = T::from_f64(f64::NAN);
        let given = if add { T::from_f64(1.0) } else { nan };

        let mut oracle = TransposeOracle::new(&geometry, &x, weight).unwrap();
        if let Some(bias) = self.bias {
            oracle = oracle.bias(bias).unwrap();
        }
        let (y, result) = with_workspace(|workspace| {
            between_canaries(dy.len(), nan, |y| {
                layer.forward_into(&x, batch, extent, parallelism, y, workspace)
            })
        });
        result.unwrap();
        self.compare("output", false, &y, &oracle.output(), |i| oracle.expected_at(i));

        let params = layer.params();
        let (dx, result) = with_workspace(|workspace| {
            between_canaries(x.len(), given, |dx| {
                params.backward_input(batch, extent, &dy, weight, &options, dx, workspace)
            })
        });
        result.unwrap();
        let oracle = Oracle::new(geometry.params(), batch, geometry.input_extent(), &dy, weight).unwrap();
        self.compare("input gradient", add, &dx, &oracle.output(), |i| oracle.expected_at(i));

        let (dw, result) = with_workspace(|workspace| {
            between_canaries(weight.len(), given, |dw| {
                params.backward_weight(batch, extent, &x, &dy, &options, dw, workspace)
            })
        });
        result.unwrap();
        let oracle = GradientOracle::new(&geometry, &dy, weight, &x).unwrap();
        self.compare("weight gradient", add, &dw, &oracle.weight_gradient(), |i| {
            oracle.weight_expected_at(i)
        });
    }

    fn compare(&self, what: &str, add: bool, y: &[T], exact: &[T], bound: impl Fn(usize) -> Expected) {
        let given = if add { 1.0 } else { 0.0 };
        let exact: Vec<T> =
            exact.iter().map(|e| T::from_f64(if add { e.to_f64() + given } else { e.to_f64() })).collect();
        if self.isa.is_fused() {
            return assert_same_bytes(y, &exact, &(what, &self.layer, self.geometry));
        }
        for (i, y) in y.iter().enumerate() {
            let (expected, off) = (bound(i), y.to_f64() - given);
            let most = 2.0 * (expected.bound + T::EPSILON.to_f64());
            assert!(
                (off - expected.value).abs() <= most,
                "{what} {:?} at {i}: {y}, not {expected:?}",
                self.layer
            );
        }
    }
}

/// What there is, once its error, if it is one, has been seen to have a message.
fn shown<R>(result: Result<R>) -> Option<R> {
    result.inspect_err(|error| assert!(!error.to_string().is_empty())).ok()
}

fn product<const D: usize>(extents: [usize; D]) -> usize {
    extents.iter().product()
}

impl<const D: usize> Problem<D> {
    fn new(input: &Input) -> Self {
        let (mut conv, mut extent) = (input.shape.transposed::<D>(MOST), input.shape.extent());
        let mut output_padding = std::array::from_fn(|axis| usize::from(input.output_padding[axis] % 6));
        for axis in 0..D {
            let Some(huge) = &input.huge[axis] else { continue };
            extent[axis] = huge.input.0;
            conv.stride[axis] = huge.stride.0;
            conv.dilation[axis] = huge.dilation.0;
            output_padding[axis] = huge.output_padding.0;
            if let Padding::Explicit { begin, end } = &mut conv.padding {
                [begin[axis], end[axis]] = huge.pad.map(Signed::get);
            }
        }
        Self { conv, output_padding, batch: input.shape.batch(), extent }
    }

    fn is_valid(&self) -> bool {
        (0..D).all(|axis| {
            let (stride, dilation) = (self.conv.stride[axis], self.conv.dilation[axis]);
            stride > 0
                && dilation > 0
                && self.output_padding[axis] < stride.max(dilation)
                && self.window(axis) <= isize::MAX as i128
        })
    }

    fn window(&self, axis: usize) -> i128 {
        self.conv.dilation[axis] as i128 * (self.conv.kernel[axis] as i128 - 1) + 1
    }

    fn output(&self) -> Option<[usize; D]> {
        let mut output = [0; D];
        for axis in 0..D {
            output[axis] = self.axis(axis)?;
        }
        Some(output)
    }

    fn axis(&self, axis: usize) -> Option<usize> {
        let (input, stride) = (self.extent[axis] as i128, self.conv.stride[axis] as i128);
        let more = self.output_padding[axis] as i128;
        // The last place that a kernel is put, and what it covers from there on.
        let (last, window) = ((input - 1).checked_mul(stride)?, self.window(axis));
        let halves = |total: i128| (total.div_euclid(2), total - total.div_euclid(2));
        let (begin, end) = match self.conv.padding {
            Padding::SameUpper => halves(window + more - stride),
            Padding::SameLower => {
                let (less, most) = halves(window + more - stride);
                (most, less)
            }
            Padding::Explicit { begin, end } => (begin[axis] as i128, end[axis] as i128),
            _ => (0, 0),
        };
        let output = last.checked_add(window + more - begin - end)?;
        let fits = |extent: i128| isize::try_from(extent).is_ok();
        let all_fit = fits(output) && fits(begin) && fits(end - more);
        (input > 0 && output > 0 && all_fit).then_some(output as usize)
    }
}
