//! The gradients and the transposed convolution against their oracles, and against each other.

mod common;

use std::mem::MaybeUninit;

use approx::{assert_abs_diff_eq, assert_relative_eq};
use common::{Problem, Random, announce, assert_same_bits, for_all, problems, reduced};
use convgemm::reference::{Expected, GradientOracle, Oracle, TransposeOracle};
use convgemm::{
    Activation, ActivationAt, BackwardOptions, Conv, ConvTranspose, Element, Error, Geometry, Gradients, Isa,
    Padding, Parallelism, Params, Workspace, backward, backward_activation, backward_bias, backward_input,
    backward_weight,
};

/// Everything that a convolution's gradients are made of.
struct Data<T> {
    x: Vec<T>,
    weight: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Data<T> {
    fn new<const D: usize>(geometry: &Geometry<D>, mut draw: impl FnMut() -> f64) -> Self {
        let mut vector = |len| (0..len).map(|_| T::from_f64(draw())).collect();
        let lens = [geometry.input_len(), geometry.weight_len(), geometry.output_len()];
        let [x, weight, dy] = lens.map(&mut vector);
        Self { x, weight, dy }
    }

    fn reals<const D: usize>(geometry: &Geometry<D>) -> Self {
        let mut random = Random(5);
        Self::new(geometry, || random.real())
    }

    fn oracle<const D: usize>(&self, geometry: &Geometry<D>) -> GradientOracle<'_, T, D> {
        GradientOracle::new(geometry, &self.x, &self.weight, &self.dy).unwrap()
    }
}

/// The same bytes where multiply-adds are fused, else no further from the exact value than rounding allows.
fn compare<T: Element>(isa: Isa, what: &str, y: &[T], exact: &[T], bound: impl Fn(usize) -> Expected) {
    assert_eq!(y.len(), exact.len());
    for (i, (&y, &exact)) in y.iter().zip(exact).enumerate() {
        if isa.is_fused() {
            assert_eq!(y.to_f64().to_bits(), exact.to_f64().to_bits(), "{what} [{i}]: {y:?}, {exact:?}");
        } else {
            let expected = bound(i);
            assert_abs_diff_eq!(y.to_f64(), expected.value, epsilon = expected.bound);
        }
    }
}

fn input_gradient<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    data: &Data<T>,
    options: &BackwardOptions,
    given: T,
    workspace: &mut Workspace,
) -> Vec<T> {
    let mut gradient = vec![given; geometry.input_len()];
    backward_input(geometry, &data.dy, &data.weight, options, &mut gradient, workspace).unwrap();
    gradient
}

fn weight_gradient<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    data: &Data<T>,
    options: &BackwardOptions,
    given: T,
    workspace: &mut Workspace,
) -> Vec<T> {
    let mut gradient = vec![given; geometry.weight_len()];
    backward_weight(geometry, &data.x, &data.dy, options, &mut gradient, workspace).unwrap();
    gradient
}

/// Both gradients on every instruction set, overwriting NaNs and added to something, serial and in parts.
fn check<T: Element, const D: usize>(
    params: &Params<D>,
    batch: usize,
    extent: [usize; D],
    workspace: &mut Workspace,
) {
    let Ok(geometry) = params.geometry(batch, extent) else { return };
    let data = Data::<T>::reals(&geometry);
    let oracle = data.oracle(&geometry);
    let exact = [oracle.input_gradient(), oracle.weight_gradient()];
    type Gradient<T, const D: usize> =
        fn(&Geometry<D>, &Data<T>, &BackwardOptions, T, &mut Workspace) -> Vec<T>;
    let gradients: [Gradient<T, D>; 2] = [input_gradient, weight_gradient];
    for isa in Isa::available() {
        for (which, compute) in gradients.iter().enumerate() {
            let what = format!("{params:?} {batch} × {extent:?} {isa} {} {which}", T::NAME);
            let options = BackwardOptions::new().isa(isa);
            let nan = T::from_f64(f64::NAN);
            let gradient = compute(&geometry, &data, &options, nan, workspace);
            compare(isa, &what, &gradient, &exact[which], |i| match which {
                0 => oracle.input_expected_at(i),
                _ => oracle.weight_expected_at(i),
            });
            let serial = options.parallelism(Parallelism::Serial);
            let same = compute(&geometry, &data, &serial, nan, workspace);
            let bytes = |y: &[T]| y.iter().map(|y| y.to_f64().to_bits()).collect::<Vec<_>>();
            assert!(bytes(&same) == bytes(&gradient), "{what} serial");
            let (three, add) = (T::from_f64(3.0), options.accumulate(true));
            let added = compute(&geometry, &data, &add, three, workspace);
            let both: Vec<T> = gradient.iter().map(|g| T::from_f64(g.to_f64() + 3.0)).collect();
            assert!(bytes(&added) == bytes(&both), "{what} accumulated");
        }
    }
}

#[test]
fn gradients_in_two_dimensions() {
    announce("gradients_in_two_dimensions");
    let mut workspace = Workspace::new();
    for (c_in, c_out, groups) in [(1, 1, 1), (3, 8, 1), (20, 17, 1), (6, 6, 6), (4, 8, 4), (40, 36, 2)] {
        for (kernel, stride, dilation) in [
            ([1, 1], [1, 1], [1, 1]),
            ([3, 3], [1, 1], [1, 1]),
            ([5, 2], [1, 1], [1, 3]),
            ([1, 1], [2, 2], [1, 1]),
            ([3, 3], [2, 2], [1, 1]),
            ([2, 2], [2, 2], [1, 1]),
            ([3, 4], [2, 3], [2, 1]),
            ([3, 3], [4, 1], [1, 2]),
            ([2, 3], [5, 4], [5, 6]),
        ] {
            for ([top, left], [bottom, right]) in
                [([0, 0], [0, 0]), ([1, 1], [1, 1]), ([2, 0], [0, 3]), ([-1, 2], [1, -2])]
            {
                if reduced() && top != 1 {
                    continue;
                }
                let params =
                    Params::new(c_in, c_out, kernel).stride(stride).dilation(dilation).groups(groups);
                let params = params.pad_begin([top, left]).pad_end([bottom, right]);
                for (batch, extent) in [(1, [9, 10]), (2, [16, 7])] {
                    check::<f32, 2>(&params, batch, extent, &mut workspace);
                }
                check::<f64, 2>(&params, 1, [8, 11], &mut workspace);
            }
        }
    }
}

#[test]
fn gradients_in_one_and_three_dimensions() {
    announce("gradients_in_one_and_three_dimensions");
    let mut workspace = Workspace::new();
    for (kernel, stride, dilation, padding) in
        [(3, 1, 1, 1), (3, 2, 1, 1), (4, 3, 2, 2), (1, 7, 1, 0), (9, 2, 1, 12), (2, 100, 1, 0), (2, 2, 40, 3)]
    {
        for (c_in, c_out, groups) in [(2, 3, 1), (18, 34, 2), (5, 5, 5)] {
            let params = Params::<1>::new(c_in, c_out, [kernel]).groups(groups);
            let params = params.stride([stride]).dilation([dilation]).padding([padding]);
            for length in if reduced() { [1, 2, 3, 70] } else { [1, 2, 50, 333] } {
                check::<f32, 1>(&params, 2, [length], &mut workspace);
            }
            let params = Params::<3>::new(c_in, c_out, [kernel.min(4), 1, kernel.min(3)]).groups(groups);
            let params = params.stride([stride, 2, stride]).dilation([dilation, 1, 1]).padding([padding; 3]);
            check::<f32, 3>(&params, 1, [5, 4, 9], &mut workspace);
        }
    }
}

/// One window on an axis, whose step would leave every address; found by fuzzing.
#[test]
fn gradients_at_the_largest_strides() {
    announce("gradients_at_the_largest_strides");
    let mut workspace = Workspace::new();
    for stride in [[usize::MAX, 1], [1, usize::MAX], [usize::MAX; 2]] {
        for kernel in [[2, 2], [3, 1], [1, 3]] {
            let params = Params::new(3, 17, kernel).stride(stride).padding([0, 1]);
            check::<f32, 2>(&params, 2, [6, 9], &mut workspace);
            check::<f64, 2>(&params, 1, [3, 4], &mut workspace);
        }
    }
}

/// More terms than are summed at a time, so that partial sums are stored before the rest, whether something is to be added to or not.
#[test]
fn input_gradients_in_blocks_of_terms() {
    announce("input_gradients_in_blocks_of_terms");
    let mut workspace = Workspace::new();
    for (c_in, c_out, kernel, extent) in [(20, 1700, 3, [5, 7]), (2, 20, 25, [12, 13]), (40, 9000, 1, [3, 4])]
    {
        let params = Params::new(c_in, c_out, [kernel; 2]).padding([kernel / 2; 2]);
        check::<f32, 2>(&params, 1, extent, &mut workspace);
        check::<f64, 2>(&params, 1, extent, &mut workspace);
    }
    // The same engine computes the input gradient of a transposed convolution.
    let layer = ConvTranspose::<f32, 2>::builder(20, 1700, [3, 3]).padding([1, 1]);
    for isa in Isa::available() {
        let layer = layer.clone().isa(isa).build(&vec![0.0; 20 * 1700 * 9]).unwrap();
        let data = Data::<f32>::reals(&layer.params().convolution(1, [5, 6]).unwrap());
        let gradient = |options: BackwardOptions, workspace: &mut Workspace| {
            let mut gradient = vec![3.0; 20 * 5 * 6];
            let (x, weight, options) = (&data.x, &data.weight, options.isa(isa));
            let params = layer.params();
            params.backward_input(1, [5, 6], x, weight, &options, &mut gradient, workspace).unwrap();
            gradient
        };
        let overwritten = gradient(BackwardOptions::new(), &mut workspace);
        let added = gradient(BackwardOptions::new().accumulate(true), &mut workspace);
        assert!(overwritten.iter().zip(&added).all(|(a, b)| a + 3.0 == *b), "{isa}");
    }
}

/// Channels in lanes on either side or both, several blocks of each, of taps and of positions, and weights that are written directly.
#[test]
fn weight_gradients_in_all_ways() {
    announce("weight_gradients_in_all_ways");
    let mut workspace = Workspace::new();
    // Channels in and out, groups, kernel, stride, dilation, padding, batch and extent.
    for (c_in, c_out, groups, kernel, stride, dilation, pad, batch, extent) in [
        (64, 37, 1, [1, 1], [1, 1], [1, 1], 0, 1, [7, 7]),
        (50, 37, 1, [1, 1], [1, 1], [1, 1], 0, 3, [21, 20]),
        (33, 90, 1, [1, 1], [2, 2], [1, 1], 0, 2, [15, 8]),
        (40, 70, 1, [3, 3], [1, 1], [1, 1], 1, 1, [7, 7]),
        (3, 40, 1, [7, 7], [2, 2], [1, 1], 3, 1, [40, 38]),
        (18, 5, 1, [5, 5], [1, 1], [3, 3], 6, 2, [9, 30]),
        (2, 20, 1, [21, 23], [1, 1], [1, 1], 11, 1, [12, 13]),
        (40, 40, 40, [3, 3], [1, 1], [1, 1], 1, 2, [24, 23]),
        (34, 68, 34, [5, 5], [2, 2], [1, 1], 2, 1, [13, 14]),
        (36, 24, 12, [3, 3], [1, 1], [2, 2], 2, 1, [14, 9]),
        (17, 17, 17, [1, 31], [1, 1], [1, 1], 15, 1, [2, 60]),
        (20, 3, 1, [3, 3], [1, 1], [1, 1], 1, 1, [4, 700]),
        (9, 9, 9, [2, 2], [1, 1], [300, 1], 150, 1, [301, 3]),
    ] {
        if reduced() && (batch > 1 || kernel[1] > 7) {
            continue;
        }
        let params = Params::new(c_in, c_out, kernel).stride(stride).dilation(dilation).groups(groups);
        let params = params.padding([pad, pad]);
        check::<f32, 2>(&params, batch, extent, &mut workspace);
        if !reduced() {
            check::<f64, 2>(&params, batch, extent, &mut workspace);
        }
    }
}

/// Where the image is its own im2col matrix it is read as if its rows, or planes, were one, but pieces are rows of the shape as given. Values
/// of the image are powers of two, so that instruction sets which round twice have the same bytes too.
fn check_pieces<T: Element, const D: usize>(
    channels: (usize, usize, usize),
    batch: usize,
    extent: [usize; D],
    workspace: &mut Workspace,
) {
    let (c_in, c_out, groups) = channels;
    let geometry = Params::new(c_in, c_out, [1; D]).groups(groups).geometry(batch, extent).unwrap();
    let mut data = Data::<T>::reals(&geometry);
    for (i, x) in data.x.iter_mut().enumerate() {
        *x = T::from_f64([1.0, -2.0, 0.5][i % 3]);
    }
    let exact = data.oracle(&geometry).weight_gradient();
    for isa in Isa::available() {
        let options = BackwardOptions::new().isa(isa);
        let gradient = weight_gradient(&geometry, &data, &options, T::from_f64(f64::NAN), workspace);
        let what = format!("{channels:?} {batch} × {extent:?} {isa} {}", T::NAME);
        for (i, (y, exact)) in gradient.iter().zip(&exact).enumerate() {
            assert_eq!(y.to_f64().to_bits(), exact.to_f64().to_bits(), "{what} [{i}]: {y}, not {exact}");
        }
    }
}

#[test]
fn weight_gradients_of_pieces_that_are_read_as_one_row() {
    announce("weight_gradients_of_pieces_that_are_read_as_one_row");
    let mut workspace = Workspace::new();
    // One channel; output, input, and both kinds of channels in lanes.
    for channels in [(1, 1, 1), (3, 40, 1), (40, 5, 1), (36, 36, 36), (34, 51, 17)] {
        for (batch, extent) in [(2, [9, 63]), (1, [24, 43]), (1, [3, 300]), (3, [2, 600]), (1, [50, 30])] {
            if reduced() && extent[0] > 3 {
                continue;
            }
            check_pieces::<f32, 2>(channels, batch, extent, &mut workspace);
            check_pieces::<f64, 2>(channels, batch, extent, &mut workspace);
        }
        // Chunks that go on in the next image, are whole images, parts of one, parts of planes.
        for (batch, extent) in [
            (3, [2, 13, 13]),
            (5, [3, 9, 9]),
            (2, [8, 11, 11]),
            (2, [9, 9, 9]),
            (2, [3, 5, 201]),
            (10, [2, 7, 7]),
        ] {
            if reduced() && extent[2] > 13 {
                continue;
            }
            check_pieces::<f32, 3>(channels, batch, extent, &mut workspace);
            check_pieces::<f64, 3>(channels, batch, extent, &mut workspace);
        }
    }
}

/// A sum that underflows is +0.0 before it is added to −0.0, however many channels make whole vectors.
#[test]
fn weight_gradients_that_underflow() {
    announce("weight_gradients_that_underflow");
    for channels in [1, 15, 16, 64, 65] {
        let geometry = Params::new(channels, 9, [1, 1]).geometry(1, [1, 1]).unwrap();
        let (x, dy) = (vec![1e-30_f32; channels], [-1e-30; 9]);
        for isa in Isa::available() {
            let options = BackwardOptions::new().isa(isa).accumulate(true);
            let mut gradient = vec![-0.0; 9 * channels];
            backward_weight(&geometry, &x, &dy, &options, &mut gradient, &mut Workspace::new()).unwrap();
            assert!(gradient.iter().all(|g| g.to_bits() == 0), "{channels} {isa}: {gradient:?}");
        }
    }
}

/// Rows of which fewer channels are computed at a time than a vector has lanes, or no multiple of that.
#[test]
fn input_gradients_of_rows_that_leave_room_for_few_channels() {
    announce("input_gradients_of_rows_that_leave_room_for_few_channels");
    let mut workspace = Workspace::new();
    for (c_out, width) in [(64, 6399), (4, 6399), (48, 3000), (20, 40_000)] {
        if reduced() && width != 3000 {
            continue;
        }
        let params = Params::new(37, c_out, [3]).stride([2]);
        let geometry = params.geometry(1, [width]).unwrap();
        let data = Data::<f32>::reals(&geometry);
        let oracle = data.oracle(&geometry);
        for isa in Isa::available() {
            let options = BackwardOptions::new().isa(isa);
            let gradient = input_gradient(&geometry, &data, &options, f32::NAN, &mut workspace);
            for index in (0..gradient.len()).step_by(211) {
                let what = format!("{params:?} {width} {isa} at {index}");
                let exact = [oracle.input_at(index)];
                compare(isa, &what, &gradient[index..=index], &exact, |_| oracle.input_expected_at(index));
            }
        }
    }
}

/// Rows that are longer than what is computed at a time, and channels that are more.
#[test]
fn gradients_of_long_rows_and_many_channels() {
    announce("gradients_of_long_rows_and_many_channels");
    let mut workspace = Workspace::new();
    let params = Params::<1>::new(2, 3, [3]).stride([2]).padding([1]);
    // The last column is a block of its own in some of these.
    for length in if reduced() { [70_001, 9] } else { [70_001, 100_003] } {
        check::<f32, 1>(&params, 1, [length], &mut workspace);
    }
    let params = Params::new(150, 20, [3, 3]).stride([2, 2]).padding([1, 1]);
    check::<f32, 2>(&params, 1, [33, 40], &mut workspace);
    for kernel in [3, 7] {
        let params = Params::new(70, 70, [kernel; 2]).stride([2, 2]).padding([kernel / 2; 2]).groups(70);
        check::<f32, 2>(&params, 2, [64, 61], &mut workspace);
    }
}

const REGRESSIONS: &str = "proptest-regressions/gradients.txt";

/// Any problem: the oracles' bytes.
fn check_any<T: Element, const D: usize>(problem: &Problem<D>) {
    check::<T, D>(&problem.params, problem.batch, problem.extent, &mut Workspace::new());
}

/// ⟨Cx, y⟩ = ⟨x, Cᵀy⟩ = ⟨w, G(x, y)⟩, exactly on integers, as computed.
fn check_adjoint<const D: usize>(problem: &Problem<D>) {
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let mut random = Random(4);
    let data = Data::<f64>::new(&geometry, || random.integer(5));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut workspace = Workspace::new();
    for isa in Isa::available() {
        let conv = Conv::<f64, D>::with_params(problem.params).isa(isa).build(&data.weight).unwrap();
        let y = conv.forward(&data.x, problem.batch, problem.extent).unwrap();
        let (options, expected) = (BackwardOptions::new().isa(isa), dot(&y, &data.dy));
        let dx = input_gradient(&geometry, &data, &options, f64::NAN, &mut workspace);
        assert_eq!(dot(&data.x, &dx), expected, "{problem:?} {isa}");
        let dw = weight_gradient(&geometry, &data, &options, f64::NAN, &mut workspace);
        assert_eq!(dot(&data.weight, &dw), expected, "{problem:?} {isa}");
    }
}

/// The loss ⟨y, dy⟩ at inputs and weights a little to either side.
fn check_differences<const D: usize>(problem: &Problem<D>) {
    const STEP: f64 = 0.5;
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let data = Data::<f64>::reals(&geometry);
    let (options, mut workspace) = (BackwardOptions::new(), Workspace::new());
    let dx = input_gradient(&geometry, &data, &options, f64::NAN, &mut workspace);
    let dw = weight_gradient(&geometry, &data, &options, f64::NAN, &mut workspace);
    let loss = |x: &[f64], weight: &[f64]| -> f64 {
        let conv = Conv::<f64, D>::with_params(problem.params).build(weight).unwrap();
        let y = conv.forward(x, problem.batch, problem.extent).unwrap();
        y.iter().zip(&data.dy).map(|(y, dy)| y * dy).sum()
    };
    let difference = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
        let at = |step| {
            let mut moved = values.to_vec();
            moved[i] += step;
            loss(&moved)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    };
    let mut random = Random(6);
    for _ in 0..4 {
        if !dx.is_empty() {
            let i = random.next() as usize % dx.len();
            let expected = difference(&data.x, i, &|x| loss(x, &data.weight));
            assert_relative_eq!(dx[i], expected, epsilon = 1e-9, max_relative = 1e-9);
        }
        let i = random.next() as usize % dw.len();
        let expected = difference(&data.weight, i, &|weight| loss(&data.x, weight));
        assert_relative_eq!(dw[i], expected, epsilon = 1e-9, max_relative = 1e-9);
    }
}

macro_rules! gradients {
    ($module:ident, $axes:literal, $cases:literal) => {
        mod $module {
            use super::*;

            #[test]
            fn the_oracles_bytes_on_every_isa() {
                announce(concat!(stringify!($module), " bytes"));
                for_all($cases, REGRESSIONS, problems(), check_any::<f32, $axes>);
                for_all($cases / 2, REGRESSIONS, problems(), check_any::<f64, $axes>);
            }

            #[test]
            fn adjoint_on_every_isa() {
                announce(concat!(stringify!($module), " adjoint"));
                for_all($cases, REGRESSIONS, problems(), check_adjoint::<$axes>);
            }

            #[test]
            fn finite_differences() {
                for_all($cases / 2, REGRESSIONS, problems(), check_differences::<$axes>);
            }
        }
    };
}

gradients!(one_axis, 1, 64);
gradients!(two_axes, 2, 64);
gradients!(three_axes, 3, 48);

/// Large enough to be shared between threads.
#[cfg(feature = "rayon")]
#[test]
fn threads_have_the_same_bytes_on_every_isa() {
    announce("threads_have_the_same_bytes");
    let (threads, batch, extent): (&[usize], _, _) =
        if reduced() { (&[3], 1, [20, 22]) } else { (&[1, 2, 3, 8], 3, [33, 36]) };
    let pool = |&n: &usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let pools: Vec<_> = threads.iter().map(pool).collect();
    let base =
        |c_in, c_out, kernel: [usize; 2]| Params::new(c_in, c_out, kernel).padding(kernel.map(|k| k / 2));
    for params in [
        base(32, 48, [3, 3]),
        base(20, 70, [3, 5]).stride([2, 2]),
        base(64, 96, [1, 1]),
        base(64, 64, [3, 3]).groups(64),
        base(64, 64, [3, 3]).groups(64).stride([2, 2]),
        base(3, 40, [7, 7]).stride([3, 2]),
    ] {
        let geometry = params.geometry(batch, extent).unwrap();
        let data = Data::<f32>::reals(&geometry);
        let mut workspace = Workspace::new();
        for isa in Isa::available() {
            let options = BackwardOptions::new().isa(isa);
            let serial = options.parallelism(Parallelism::Serial);
            let dx = input_gradient(&geometry, &data, &serial, f32::NAN, &mut workspace);
            let dw = weight_gradient(&geometry, &data, &serial, f32::NAN, &mut workspace);
            for pool in &pools {
                let workspace = &mut workspace;
                let bits = |y: &[f32]| y.iter().map(|y| y.to_bits()).collect::<Vec<_>>();
                let y = pool.install(|| input_gradient(&geometry, &data, &options, f32::NAN, workspace));
                assert_eq!(bits(&y), bits(&dx), "{params:?} {isa} {pool:?}");
                let y = pool.install(|| weight_gradient(&geometry, &data, &options, f32::NAN, workspace));
                assert_eq!(bits(&y), bits(&dw), "{params:?} {isa} {pool:?}");
            }
        }
    }
}

/// Numbers of chunks for which some slices have none.
#[test]
fn weight_gradients_of_few_and_many_chunks() {
    announce("weight_gradients_of_few_and_many_chunks");
    let mut workspace = Workspace::new();
    for batch in if reduced() { [0..=1, 5..=5, 9..=9] } else { [0..=5, 6..=9, 10..=17] }.into_iter().flatten()
    {
        for (extent, kernel) in [([30, 30], [1, 1]), ([3, 2], [2, 2]), ([29, 31], [2, 3])] {
            let params = Params::new(2, 3, kernel).padding([1, 1]);
            check::<f32, 2>(&params, batch, extent, &mut workspace);
        }
    }
}

#[test]
fn bias_gradients() {
    for (batch, extent) in
        [(1, [1, 1]), (3, [7, 7]), (2, [56, 50]), (1, [1, 3000]), (9, [4, 1030]), (0, [3, 3])]
    {
        let geometry = Params::new(2, 3, [1, 1]).geometry(batch, extent).unwrap();
        let data = Data::<f32>::reals(&geometry);
        let exact = data.oracle(&geometry).bias_gradient();
        let mut gradient = [f32::NAN; 3];
        backward_bias(&geometry, &data.dy, &BackwardOptions::new(), &mut gradient).unwrap();
        assert_eq!(
            gradient.map(f32::to_bits).to_vec(),
            exact.iter().map(|g| g.to_bits()).collect::<Vec<_>>()
        );
        let mut added = [1.0; 3];
        backward_bias(&geometry, &data.dy, &BackwardOptions::new().accumulate(true), &mut added).unwrap();
        assert_eq!(added, gradient.map(|g| g + 1.0));
        let sum: f64 = data.dy.iter().map(|&dy| f64::from(dy)).sum();
        let total: f64 = gradient.iter().map(|&g| f64::from(g)).sum();
        assert_abs_diff_eq!(total, sum, epsilon = 1e-2);
    }
}

/// Derivatives against differences of the definition, and at the output those at what it came from.
#[test]
fn activation_gradients() {
    const STEP: f64 = 1e-5;
    // None of them a kink.
    let x: Vec<f64> = (-90..=90).map(|i| f64::from(i) * 0.11 + 0.007).collect();
    let geometry = Params::new(1, 1, [1]).geometry(1, [x.len()]).unwrap();
    let dy: Vec<f64> = (0..x.len()).map(|i| 1.0 + i as f64 * 0.01).collect();
    for (activation, tells) in [
        (Activation::Identity, true),
        (Activation::Relu, true),
        (Activation::Relu6, true),
        (Activation::Clamp { lo: -1.5, hi: 2.25 }, true),
        (Activation::LeakyRelu { slope: 0.1 }, true),
        (Activation::LeakyRelu { slope: -0.1 }, false),
        (Activation::Prelu { slopes: vec![0.3] }, true),
        (Activation::Prelu { slopes: vec![0.0] }, false),
        (Activation::Sigmoid, true),
        (Activation::Tanh, true),
        (Activation::HardSigmoid, true),
        (Activation::HardSwish, false),
        (Activation::Silu, false),
        (Activation::Gelu, false),
        (Activation::GeluTanh, false),
    ] {
        let mut gradient = vec![f64::NAN; x.len()];
        let at = ActivationAt::PreActivation(&x);
        backward_activation(&geometry, &activation, at, &dy, &mut gradient).unwrap();
        for (i, &x) in x.iter().enumerate() {
            let difference = activation.apply(x + STEP, 0) - activation.apply(x - STEP, 0);
            let expected = dy[i] * difference / (2.0 * STEP);
            assert_abs_diff_eq!(gradient[i], expected, epsilon = 1e-8);
        }
        let y: Vec<f64> = x.iter().map(|&x| activation.apply(x, 0)).collect();
        let mut from_output = vec![f64::NAN; x.len()];
        let at = ActivationAt::Output(&y);
        match backward_activation(&geometry, &activation, at, &dy, &mut from_output) {
            Ok(()) => assert!(tells, "{activation:?}"),
            Err(error) => {
                assert!(
                    !tells && error.to_string().contains("before the activation"),
                    "{activation:?}: {error}"
                );
                assert!(from_output.iter().all(|gradient| gradient.is_nan()));
                continue;
            }
        }
        for (a, b) in gradient.iter().zip(&from_output) {
            assert_abs_diff_eq!(a, b, epsilon = 1e-12);
        }
    }
    for activation in [Activation::Relu, Activation::Relu6, Activation::LeakyRelu { slope: 0.5 }] {
        assert_eq!(activation.derivative(0.0_f32, 0), activation.derivative(-1.0, 0), "{activation:?}");
        assert!(
            activation.derivative(f32::INFINITY, 0).is_finite()
                && activation.derivative(-1e30, 0).is_finite()
        );
    }
    for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::HardSwish] {
        assert_eq!(activation.derivative(f32::INFINITY, 0), 1.0, "{activation:?}");
        assert_eq!(activation.derivative(f32::NEG_INFINITY, 0), 0.0, "{activation:?}");
        assert!(activation.derivative(f32::NAN, 0).is_nan(), "{activation:?}");
    }
}

/// ⟨Cx, y⟩ = ⟨x, Cᵀy⟩ = ⟨w, G(x, y)⟩, exactly on integers.
#[test]
fn the_oracles_are_adjoint() {
    let mut random = Random(3);
    for (kernel, stride, dilation, padding, groups) in [
        ([3, 2], [1, 2], [2, 1], [1, 0], 1),
        ([2, 3], [3, 1], [1, 3], [2, 2], 2),
        ([1, 5], [2, 2], [1, 1], [0, 7], 2),
    ] {
        let params =
            Params::new(4, 6, kernel).stride(stride).dilation(dilation).padding(padding).groups(groups);
        let geometry = params.geometry(2, [9, 8]).unwrap();
        let data = Data::<f64>::new(&geometry, || random.integer(3));
        let y = Oracle::new(&params, 2, [9, 8], &data.x, &data.weight).unwrap().output();
        let oracle = data.oracle(&geometry);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let expected = dot(&y, &data.dy);
        assert_eq!(dot(&data.x, &oracle.input_gradient()), expected);
        assert_eq!(dot(&data.weight, &oracle.weight_gradient()), expected);
    }
}

/// A transposed convolution on every instruction set.
fn check_transpose<T: Element, const D: usize>(
    build: impl Fn(Isa) -> ConvTranspose<T, D>,
    bias: &[T],
    activation: &Activation<T>,
    batch: usize,
    extent: [usize; D],
    weight: &[T],
) {
    let mut workspace = Workspace::new();
    for isa in Isa::available() {
        let layer = build(isa);
        let Ok(geometry) = layer.params().convolution(batch, extent) else { continue };
        let mut random = Random(8);
        let x: Vec<T> = (0..geometry.output_len()).map(|_| T::from_f64(random.real())).collect();
        let oracle = TransposeOracle::new(&geometry, &x, weight).unwrap();
        let oracle = oracle.bias(bias).unwrap().activation(activation.clone()).unwrap();
        let mut y = vec![T::from_f64(f64::NAN); geometry.input_len()];
        layer.forward_into(&x, batch, extent, Parallelism::default(), &mut y, &mut workspace).unwrap();
        let what = format!("{layer:?} {extent:?}");
        let exact = oracle.output();
        match activation {
            Activation::Identity => compare(isa, &what, &y, &exact, |i| oracle.expected_at(i)),
            // Its scalar form is not that of vectors, nor do all instruction sets fuse.
            _ => y.iter().zip(&exact).for_each(|(y, exact)| {
                assert_abs_diff_eq!(y.to_f64(), exact.to_f64(), epsilon = 1e-5);
            }),
        }
        let mut uninit = vec![MaybeUninit::new(T::from_f64(f64::NAN)); y.len()];
        let serial = Parallelism::Serial;
        layer.forward_uninit(&x, batch, extent, serial, &mut uninit, &mut workspace).unwrap();
        // SAFETY: every element was initialised when it was made.
        let written: Vec<T> = uninit.iter().map(|y| unsafe { y.assume_init() }).collect();
        assert_same_bits(&written, &y, &what);
        let again = layer.forward(&x, batch, extent).unwrap();
        assert!(again.iter().zip(&y).all(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits()), "{what}");
    }
}

#[test]
fn transposed_convolutions() {
    announce("transposed_convolutions");
    for (kernel, stride, dilation, padding, output_padding) in [
        ([2, 2], [2, 2], [1, 1], [0, 0], [0, 0]),
        ([3, 3], [2, 2], [1, 1], [1, 1], [1, 1]),
        ([4, 4], [2, 2], [1, 1], [1, 1], [0, 0]),
        ([3, 3], [1, 1], [1, 1], [1, 1], [0, 0]),
        ([1, 1], [3, 2], [1, 1], [0, 0], [2, 1]),
        ([3, 2], [2, 1], [3, 2], [1, 0], [2, 1]),
        ([2, 5], [4, 3], [1, 2], [0, 3], [3, 0]),
    ] {
        for (c_in, c_out, groups) in [(1, 1, 1), (5, 20, 1), (33, 4, 1), (8, 8, 8), (4, 6, 2)] {
            let mut random = Random(2);
            let mut vector = |len| -> Vec<f32> { (0..len).map(|_| random.real() as f32).collect() };
            let weight = vector(c_in * (c_out / groups) * kernel.iter().product::<usize>());
            let bias = vector(c_out);
            for activation in [Activation::Identity, Activation::Relu, Activation::Silu] {
                if reduced() && activation == Activation::Relu {
                    continue;
                }
                let build = |isa| {
                    ConvTranspose::<f32, 2>::builder(c_in, c_out, kernel)
                        .stride(stride)
                        .dilation(dilation)
                        .padding(padding)
                        .output_padding(output_padding)
                        .groups(groups)
                        .bias(&bias)
                        .activation(activation.clone())
                        .isa(isa)
                        .build(&weight)
                        .unwrap()
                };
                for extent in [[5, 6], [1, 1], [12, 3]] {
                    check_transpose(build, &bias, &activation, 2, extent, &weight);
                }
            }
        }
    }
}

#[test]
fn extents_of_transposed_convolutions() {
    let builder = || ConvTranspose::<f32, 1>::builder(1, 1, [3]);
    let extent = |builder: convgemm::ConvTransposeBuilder<f32, 1>| {
        builder.build(&[1.0; 3]).unwrap().output_extent([5]).map(|[extent]| extent)
    };
    assert_eq!(extent(builder()), Ok(7));
    assert_eq!(extent(builder().stride([2]).padding([1])), Ok(9));
    assert_eq!(extent(builder().stride([2]).padding([1]).output_padding([1])), Ok(10));
    assert_eq!(extent(builder().stride([2]).padding(Padding::SameUpper)), Ok(10));
    assert_eq!(extent(builder().stride([4]).padding(Padding::SameLower)), Ok(20));
    let cut = extent(builder().padding([4])).unwrap_err();
    assert_eq!(cut, Error::NoOutput { axis: 0, input: 5, output: -1 });
    assert_eq!(
        cut.to_string(),
        "the output on axis 0 would be -1 long for an input of 5, both have to be at least 1"
    );
    let padding = builder().stride([2]).output_padding([2]).build(&[1.0; 3]).unwrap_err();
    assert_eq!(padding, Error::OutputPaddingTooLarge { axis: 0, actual: 2, most: 1 });
    assert_eq!(
        padding.to_string(),
        "output_padding[0] is 2, it has to be below the stride or the dilation, at most 1"
    );
}

#[test]
fn slices_of_wrong_lengths_are_refused_before_anything_is_written() {
    let geometry = Params::new(1, 1, [2, 2]).geometry(1, [3, 3]).unwrap();
    let options = BackwardOptions::new();
    let mut gradient = [7.0_f32; 9];
    for (dy, weight, len, argument) in
        [(3, 4, 9, "output gradient"), (4, 3, 9, "weight"), (4, 4, 8, "input gradient")]
    {
        let (dy, weight) = (vec![1.0; dy], vec![1.0; weight]);
        let error =
            backward_input(&geometry, &dy, &weight, &options, &mut gradient[..len], &mut Workspace::new())
                .unwrap_err();
        assert!(error.to_string().contains(argument), "{error}");
    }
    assert_eq!(gradient, [7.0; 9]);
    let error = backward_bias(&geometry, &[1.0; 4], &options, &mut gradient[..2]).unwrap_err();
    assert!(error.to_string().contains("bias gradient"), "{error}");
    let (mut bias, mut workspace) = ([7.0; 2], Workspace::new());
    let gradients = Gradients { input: Some(&mut gradient[..]), weight: None, bias: Some(&mut bias[..]) };
    let error = backward(&geometry, &[1.0; 9], &[1.0; 4], &[1.0; 4], &options, gradients, &mut workspace);
    assert!(error.unwrap_err().to_string().contains("bias gradient"));
    assert_eq!(gradient, [7.0; 9]);
}
