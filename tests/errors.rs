//! Every broken precondition: its variant, both its numbers, its text, and that nothing was written.

mod common;

use std::mem::MaybeUninit;

use common::{announce, this_binary};
use convgemm::reference::{Oracle, corr2d, true_conv2d};
use convgemm::{
    Activation, Algorithm, Argument, BackwardOptions, Channels, Conv, Conv1d, Conv2d, Conv3d, ConvBuilder,
    ConvTranspose1d, ConvTranspose3d, Element, Error, ForwardOptions, ISA_VARIABLE, Isa, Lowering,
    Orientation, Padding, Parallelism, Params, Tuning, Workspace, conv1d, conv2d, conv3d, kernel_names,
    output_extents, receptive_field,
};

const HALF: usize = isize::MAX as usize;
const WINDOW: &str = "dilation·(kernel−1)+1";
const PADDED: &str = "the padded input";

fn layer() -> Params<2> {
    Params::new(4, 6, [3, 3])
}

/// Whether `text` holds all of `parts`.
fn assert_says(error: &Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    assert!(!text.ends_with('.') && !text.contains('\n'), "{text:?}");
}

#[test]
fn params_that_describe_no_convolution() {
    let zero = |channels| Error::ZeroChannels { channels };
    let undivided = |channels, actual, groups| Error::GroupsDoNotDivide { channels, actual, groups };
    let table: Vec<(Params<2>, Error, &[&str])> = vec![
        (Params::new(0, 6, [3, 3]), zero(Channels::In), &["in_channels is 0", "at least 1"]),
        (Params::new(4, 0, [3, 3]), zero(Channels::Out), &["out_channels is 0", "at least 1"]),
        (layer().groups(0), Error::ZeroGroups, &["groups is 0", "at least 1"]),
        (layer().groups(3), undivided(Channels::In, 4, 3), &["in_channels is 4", "multiple of groups, 3"]),
        (layer().groups(4), undivided(Channels::Out, 6, 4), &["out_channels is 6", "multiple of groups, 4"]),
        (Params::new(4, 6, [0, 3]), Error::ZeroKernel { axis: 0 }, &["kernel[0] is 0", "at least 1"]),
        (Params::new(4, 6, [3, 0]), Error::ZeroKernel { axis: 1 }, &["kernel[1] is 0"]),
        (layer().stride([0, 1]), Error::ZeroStride { axis: 0 }, &["stride[0] is 0", "at least 1"]),
        (layer().stride([1, 0]), Error::ZeroStride { axis: 1 }, &["stride[1] is 0"]),
        (layer().dilation([0, 1]), Error::ZeroDilation { axis: 0 }, &["dilation[0] is 0", "at least 1"]),
        (layer().dilation([1, 0]), Error::ZeroDilation { axis: 1 }, &["dilation[1] is 0"]),
        (
            layer().dilation([1, HALF]),
            Error::AxisTooLarge { axis: 1, what: WINDOW },
            &[WINDOW, "axis 1", "over 9223372036854775807"],
        ),
        (
            Params::new(HALF, 1, [3, 3]),
            Error::TensorTooLarge { argument: Argument::Weight },
            &["the weight", "over 9223372036854775807 bytes"],
        ),
    ];
    for (params, error, parts) in table {
        assert_eq!(params.validate(), Err(error.clone()), "{params:?}");
        assert_eq!(params.output_extent([8, 8]), Err(error.clone()));
        assert_eq!(params.geometry(1, [8, 8]).map(drop), Err(error.clone()));
        assert_eq!(receptive_field(&[layer(), params]), Err(error.clone()));
        assert_eq!(output_extents(&[layer(), params], [8, 8]), Err(error.clone()));
        assert_eq!(Conv2d::with_params(params).build(&[]).map(drop), Err(error.clone()));
        assert_eq!(Oracle::<f32, 2>::new(&params, 1, [8, 8], &[], &[]).map(drop), Err(error.clone()));
        let called = conv2d::<f32>(&params, &[], 1, [8, 8], &[], None, &mut Workspace::new());
        assert_eq!(called, Err(error.clone()));
        assert_says(&error, parts);
    }
    assert_eq!(Params::<2>::new(4, 6, [3, 3]).groups(0).weight_len(), Err(Error::ZeroGroups));
}

#[test]
fn axes_are_counted_from_the_outermost() {
    for axis in 0..3 {
        let with = |value: usize, at: usize| std::array::from_fn(|a| if a == at { value } else { 1 });
        let params = Params::<3>::new(1, 1, [2; 3]);
        assert_eq!(params.stride(with(0, axis)).validate(), Err(Error::ZeroStride { axis }));
        assert_eq!(params.dilation(with(0, axis)).validate(), Err(Error::ZeroDilation { axis }));
        assert_eq!(Params::<3>::new(1, 1, with(0, axis)).validate(), Err(Error::ZeroKernel { axis }));
        let unfit = Error::WindowDoesNotFit { axis, window: 6, padded: 5 };
        assert_eq!(params.dilation(with(5, axis)).output_extent([5; 3]), Err(unfit));
        let long = Error::AxisTooLarge { axis, what: PADDED };
        assert_eq!(params.output_extent(with(HALF + 1, axis).map(|e| e + 1)), Err(long));
    }
    assert_eq!(Params::<1>::new(1, 1, [1]).stride([0]).validate(), Err(Error::ZeroStride { axis: 0 }));
}

#[test]
fn windows_that_do_not_fit() {
    let table = [
        (layer(), [2, 8], 0, 3, 2),
        (layer(), [8, 0], 1, 3, 0),
        (layer().dilation([1, 4]), [8, 8], 1, 9, 8),
        (layer().pad_begin([-3, 0]), [5, 8], 0, 3, 2),
        (layer().pad_end([0, -9]), [5, 8], 1, 3, -1),
        (layer().pad_begin([1, -40]).pad_end([0, -60]), [2, 8], 1, 3, -92),
        (layer().padding(Padding::SameUpper), [0, 8], 0, 3, 2),
        (layer().padding(Padding::SameLower), [8, 0], 1, 3, 2),
    ];
    for (params, extent, axis, window, padded) in table {
        let error = Error::WindowDoesNotFit { axis, window, padded };
        assert_eq!(params.output_extent(extent), Err(error.clone()), "{params:?}");
        assert_eq!(params.geometry(1, extent).map(drop), Err(error.clone()));
        assert_eq!(params.geometry(0, extent).map(drop), Err(error.clone()));
        let (window, padded) = (window.to_string(), padded.to_string());
        assert_says(&error, &[&format!("axis {axis}"), &window, &padded, "fit into the padded input"]);
    }
}

#[test]
fn sizes_near_the_largest() {
    let axis = |what| Error::AxisTooLarge { axis: 0, what };
    let tensor = |argument| Error::TensorTooLarge { argument };
    let one = Params::<1>::new(1, 1, [1]);
    let (most, least) = (isize::MAX, isize::MIN);
    let table = [
        (one, 1, usize::MAX, axis(PADDED)),
        (one, 0, HALF + 1, axis(PADDED)),
        (one, 0, HALF, tensor(Argument::Input)),
        (one, 1, HALF / 8 + 1, tensor(Argument::Input)),
        (one.padding([usize::MAX]), 1, 1, axis(PADDED)),
        (one.padding([HALF]), 1, 0, axis(PADDED)),
        (one.pad_begin([most]), 1, 1, axis(PADDED)),
        (one.pad_end([most]), 1, 1, axis(PADDED)),
        (one.pad_begin([least]), 1, 1, axis(PADDED)),
        (one.pad_begin([least]).pad_end([most]), 1, 4, axis(PADDED)),
        (one.pad_begin([most]), 1, 0, tensor(Argument::Output)),
        (one.pad_begin([most - 1]), 0, 1, tensor(Argument::Output)),
        (one.stride([usize::MAX]), usize::MAX, 2, tensor(Argument::Input)),
        (one, usize::MAX, 2, tensor(Argument::Input)),
        (one, usize::MAX, 1, tensor(Argument::Input)),
        (one.pad_begin([1]), HALF / 8, 1, tensor(Argument::Output)),
        (Params::new(1, HALF / 8, [1]), 1, 2, tensor(Argument::Output)),
        (Params::new(1, HALF / 8, [1]), 0, 2, tensor(Argument::Output)),
        (Params::new(HALF / 8, 1, [1]), 1, 2, tensor(Argument::Input)),
        (Params::new(1, 1, [2]).dilation([HALF]), 1, 1, axis(WINDOW)),
        (Params::new(1, 1, [2]).dilation([usize::MAX]), 1, 1, axis(WINDOW)),
        (Params::new(1, 1, [usize::MAX]), 1, 1, axis(WINDOW)),
        (Params::new(1, 1, [usize::MAX]).dilation([usize::MAX]), 1, 1, axis(WINDOW)),
        (one.stride([usize::MAX]).padding(Padding::SameUpper), 1, usize::MAX, axis(PADDED)),
        (one.stride([HALF]).padding(Padding::SameLower), 1, usize::MAX, axis(PADDED)),
        (Params::new(1, 1, [HALF]), 1, 1, tensor(Argument::Weight)),
        (Params::new(usize::MAX, usize::MAX, [1]), 1, 1, tensor(Argument::Weight)),
        (Params::new(1, 1, [2]).dilation([HALF - 1]).padding(Padding::SameUpper), 1, HALF, axis(PADDED)),
    ];
    for (params, batch, extent, error) in table {
        assert_eq!(params.geometry(batch, [extent]).map(drop), Err(error), "{params:?} {batch} {extent}");
    }
    // Products over the axes, and the largest that are allowed.
    let wide = Params::<3>::new(1, 1, [1; 3]);
    assert_eq!(wide.geometry(1, [1 << 21; 3]).map(drop), Err(tensor(Argument::Input)));
    assert_eq!(wide.geometry(1, [1 << 20; 3]).map(|g| g.output_len()), Err(tensor(Argument::Input)));
    assert_eq!(wide.geometry(1, [1 << 20, 1 << 20, 1 << 19]).map(|g| g.output_len()), Ok(1 << 59));
    assert_eq!(one.geometry(1, [HALF / 8]).map(|g| g.input_len()), Ok(HALF / 8));
    assert_eq!(one.stride([usize::MAX]).output_extent([9]), Ok([1]));
    let cropped = one.pad_begin([-most]).pad_end([most]);
    assert_eq!(cropped.output_extent([1]), Err(axis(PADDED)));
    assert_eq!(cropped.output_extent([0]), Err(Error::WindowDoesNotFit { axis: 0, window: 1, padded: 0 }));
    let long = Params::<1>::new(1, 1, [3]).dilation([1 << 40]).stride([1 << 40]);
    assert_eq!(receptive_field(&[long, long]), Err(axis("the receptive field")));
    let strided = Params::<1>::new(1, 1, [1]).stride([1 << 40]);
    assert_eq!(receptive_field(&[strided, strided]), Err(axis("the receptive field")));
    assert_says(&axis("the receptive field"), &["the receptive field on axis 0", "9223372036854775807"]);
}

/// Extents of transposed convolutions are products: of a stride of 2⁶⁴ and as many inputs, for one.
#[test]
fn transposed_sizes_near_the_largest() {
    const MOST: usize = usize::MAX;
    let large = |axis| Error::AxisTooLarge { axis, what: "the output" };
    let padded = Error::AxisTooLarge { axis: 0, what: PADDED };
    let tensor = |argument| Error::TensorTooLarge { argument };
    let none = |input, output| Error::NoOutput { axis: 0, input, output };
    let explicit = |begin, end| Padding::Explicit { begin: [begin], end: [end] };
    let (most, least, half) = (isize::MAX, isize::MIN, HALF as i128);
    /// Stride, dilation, padding, output padding and input of a kernel of 2; the output's extent, and the geometry's error where it is
    /// another.
    type Row = (usize, usize, Padding<1>, usize, usize, std::result::Result<usize, Error>, Option<Error>);
    let table: [Row; 20] = [
        (MOST, 1, Padding::Valid, 0, MOST, Err(large(0)), None),
        (MOST, 1, Padding::Valid, MOST - 1, MOST, Err(large(0)), None),
        (MOST, 1, Padding::SameUpper, 0, MOST, Err(large(0)), None),
        (MOST, 1, Padding::SameLower, MOST - 1, MOST, Err(large(0)), None),
        (MOST, HALF - 1, explicit(least, least), MOST - 1, MOST, Err(large(0)), None),
        (MOST, 1, explicit(most, most), 0, MOST, Err(large(0)), None),
        (1 << 63, 1, Padding::Valid, 0, MOST, Err(large(0)), None),
        (MOST, 1, Padding::Valid, 0, 2, Err(large(0)), None),
        (MOST, 1, explicit(most, most), 0, 2, Ok(3), Some(padded.clone())),
        (1, 1, Padding::Valid, 0, MOST, Err(large(0)), None),
        (1, 1, Padding::Valid, 0, HALF, Err(large(0)), None),
        (1, 1, Padding::Valid, 0, HALF - 1, Ok(HALF), Some(tensor(Argument::Input))),
        (HALF, 1, Padding::SameUpper, 0, 1, Ok(HALF), Some(tensor(Argument::Input))),
        (MOST, 1, Padding::SameUpper, 0, 1, Err(large(0)), None),
        (1, HALF - 1, Padding::Valid, 0, 1, Ok(HALF), Some(tensor(Argument::Input))),
        (1, HALF - 1, Padding::Valid, 0, 2, Err(large(0)), None),
        (1, 1, explicit(most, most), 0, 5, Err(none(5, 6 - 2 * half)), None),
        (1, 1, explicit(least, 0), 0, 5, Err(large(0)), None),
        (MOST, 1, Padding::Valid, 0, 0, Err(none(0, 2 - MOST as i128)), None),
        (MOST, 1, Padding::Valid, MOST - 1, 1, Err(large(0)), None),
    ];
    for (stride, dilation, padding, output_padding, input, extent, error) in table {
        let layer =
            ConvTranspose1d::builder(1, 1, [2]).stride([stride]).dilation([dilation]).padding(padding);
        let layer = layer.output_padding([output_padding]).build(&[1.0, 2.0]).unwrap();
        assert_eq!(layer.output_extent([input]), extent.clone().map(|extent| [extent]), "{layer:?} {input}");
        let error = error.or(extent.err()).unwrap();
        let params = layer.params();
        let (mut gradient, mut workspace) = ([7.0], Workspace::new());
        for batch in [0, 1, MOST] {
            assert_eq!(params.convolution(batch, [input]).map(drop), Err(error.clone()), "{layer:?} {input}");
            assert_eq!(layer.forward(&[], batch, [input]), Err(error.clone()));
            let parallelism = Parallelism::default();
            let result = layer.forward_into(&[], batch, [input], parallelism, &mut gradient, &mut workspace);
            assert_eq!(result, Err(error.clone()));
            let options = BackwardOptions::new();
            let (input, refused) = ([input], Err(error.clone()));
            let (y, workspace) = (&mut gradient[..], &mut workspace);
            assert_eq!(params.backward_input(batch, input, &[], &[1.0; 2], &options, y, workspace), refused);
            assert_eq!(params.backward_weight(batch, input, &[], &[], &options, y, workspace), refused);
            assert_eq!(params.backward_bias(batch, input, &[], &options, y), refused);
        }
        assert_eq!(gradient, [7.0]);
    }
    let layer = ConvTranspose3d::builder(1, 1, [1; 3]).stride([1, MOST, 2]).build(&[1.0]).unwrap();
    assert_eq!(layer.output_extent([9, MOST, 9]), Err(large(1)));
    assert_says(&large(1), &["the output on axis 1", "over 9223372036854775807"]);
    let batches = ConvTranspose1d::builder(1, 1, [1]).build(&[1.0]).unwrap();
    assert_eq!(batches.forward(&[], MOST, [1]), Err(tensor(Argument::Input)));
}

/// What a call does not touch where it fails.
struct Untouched<T> {
    y: Vec<T>,
    bits: u64,
}

impl<T: Element> Untouched<T> {
    fn new(len: usize) -> Self {
        let y = vec![T::from_f64(f64::NAN); len];
        Self { bits: f64::NAN.to_bits(), y }
    }

    fn check(&self, context: &str) {
        assert!(self.y.iter().all(|y| y.to_f64().to_bits() == self.bits), "{context}");
    }
}

fn wrong(argument: Argument, actual: usize, required: usize) -> Error {
    Error::WrongLength { argument, actual, required }
}

#[test]
fn slices_of_the_wrong_length_at_build() {
    let required = 6 * 4 * 9;
    for actual in [0, 1, required - 1, required + 1] {
        let weight = vec![0.0; actual];
        let error = wrong(Argument::Weight, actual, required);
        assert_eq!(Conv2d::with_params(layer()).build(&weight).map(drop), Err(error.clone()));
        let mut conv = Conv2d::with_params(layer()).build(&vec![1.0; required]).unwrap();
        assert_eq!(conv.update_weight(&weight), Err(error.clone()));
        let y = conv.forward(&[1.0; 36], 1, [3, 3]).unwrap();
        assert_eq!(y, [36.0; 6], "the old weights stay");
        assert_says(&error, &["weight has", &actual.to_string(), "has to have 216"]);
    }
    let weight = vec![0.0; required];
    for actual in [0, 5, 7] {
        let values = vec![0.0; actual];
        let bias = Conv2d::with_params(layer()).bias(&values).build(&weight).map(drop);
        assert_eq!(bias, Err(wrong(Argument::Bias, actual, 6)));
        let prelu = Activation::Prelu { slopes: values };
        let slopes = Conv2d::with_params(layer()).activation(prelu).build(&weight).map(drop);
        assert_eq!(slopes, Err(wrong(Argument::Slopes, actual, 6)));
    }
    assert_says(&wrong(Argument::Bias, 5, 6), &["bias has 5 elements", "has to have 6"]);
    assert_says(&wrong(Argument::Slopes, 5, 6), &["slopes has 5 elements", "has to have 6"]);
}

/// Every error of a call, from every way to call, on every instruction set and algorithm.
fn check_calls<T: Element>(isa: Isa, algorithm: Algorithm) {
    let builder = || Conv::<T, 2>::with_params(layer().padding([1, 1])).isa(isa).algorithm(algorithm);
    let conv = builder().build(&[T::ZERO; 6 * 4 * 9]).unwrap();
    let (batch, extent, x_len, y_len) = (2, [5, 7], 2 * 4 * 35, 2 * 6 * 35);
    let unfit = |axis, padded| Error::WindowDoesNotFit { axis, window: 3, padded };
    let large = Error::TensorTooLarge { argument: Argument::Input };
    let table = [
        (batch, extent, x_len - 1, y_len, y_len, wrong(Argument::Input, x_len - 1, x_len)),
        (batch, extent, x_len + 1, y_len, y_len, wrong(Argument::Input, x_len + 1, x_len)),
        (batch, extent, 0, y_len, y_len, wrong(Argument::Input, 0, x_len)),
        (batch, extent, x_len, y_len - 1, y_len, wrong(Argument::Output, y_len - 1, y_len)),
        (batch, extent, x_len, y_len + 1, y_len, wrong(Argument::Output, y_len + 1, y_len)),
        (batch, extent, x_len, 0, y_len, wrong(Argument::Output, 0, y_len)),
        (batch, extent, x_len, y_len, y_len - 1, wrong(Argument::Residual, y_len - 1, y_len)),
        (batch, extent, x_len, y_len, y_len + 1, wrong(Argument::Residual, y_len + 1, y_len)),
        (batch, extent, x_len, y_len, 0, wrong(Argument::Residual, 0, y_len)),
        (1, extent, x_len, y_len, y_len, wrong(Argument::Input, x_len, x_len / 2)),
        (0, extent, x_len, y_len, y_len, wrong(Argument::Input, x_len, 0)),
        (0, extent, 0, y_len, y_len, wrong(Argument::Output, y_len, 0)),
        (batch, [0, 7], x_len, y_len, y_len, unfit(0, 2)),
        (batch, [5, 0], x_len, y_len, y_len, unfit(1, 2)),
        (HALF, extent, x_len, y_len, y_len, large),
    ];
    let mut workspace = Workspace::new();
    for (batch, extent, x, y, r, error) in table {
        let context = format!("{isa} {algorithm:?} {error}");
        let (x, residual) = (vec![T::ZERO; x], vec![T::ZERO; r]);
        let mut y = Untouched::<T>::new(y);
        let options = ForwardOptions::new().residual(&residual);
        let result = conv.forward_with(&x, batch, extent, &options, &mut y.y, &mut workspace);
        assert_eq!(result, Err(error.clone()), "{context}");
        y.check(&context);
        let residual_is_wrong = matches!(error, Error::WrongLength { argument: Argument::Residual, .. });
        if !residual_is_wrong {
            let result = conv.forward_into(&x, batch, extent, &mut y.y, &mut workspace);
            assert_eq!(result, Err(error.clone()), "{context}");
            y.check(&context);
        }
        // Initialised only so that it can be seen to stay.
        let mut uninit = vec![MaybeUninit::new(T::from_f64(f64::NAN)); y.y.len()];
        let result = conv.forward_uninit(&x, batch, extent, &options, &mut uninit, &mut workspace);
        assert_eq!(result, Err(error.clone()), "{context}");
        // SAFETY: every element was initialised when the vector was made.
        assert!(uninit.iter().all(|y| unsafe { y.assume_init() }.to_f64().is_nan()), "{context}");
        if !residual_is_wrong && !matches!(error, Error::WrongLength { argument: Argument::Output, .. }) {
            assert_eq!(conv.forward(&x, batch, extent), Err(error), "{context}");
        }
    }
    // The workspace of failed calls still works.
    let (x, mut y) = (vec![T::ZERO; x_len], vec![T::from_f64(f64::NAN); y_len]);
    conv.forward_into(&x, batch, extent, &mut y, &mut workspace).unwrap();
    assert!(y.iter().all(|&y| y == T::ZERO));
}

#[test]
fn errors_of_a_call_leave_the_output_on_every_isa() {
    announce("errors_of_a_call_leave_the_output");
    for isa in Isa::available() {
        for algorithm in [Algorithm::Auto, Algorithm::Gemm, Algorithm::Im2col] {
            check_calls::<f32>(isa, algorithm);
            check_calls::<f64>(isa, algorithm);
        }
    }
}

#[test]
fn slices_of_the_wrong_length_in_one_call() {
    let workspace = &mut Workspace::new();
    let params = Params::<2>::new(1, 2, [2, 2]);
    let (x, weight, bias) = ([0.0_f32; 9], [0.0_f32; 8], [0.0_f32; 2]);
    let mut call = |x: &[f32], w: &[f32], b: &[f32]| conv2d(&params, x, 1, [3, 3], w, Some(b), workspace);
    assert_eq!(call(&x, &weight, &bias), Ok(vec![0.0; 8]));
    assert_eq!(call(&x[1..], &weight, &bias), Err(wrong(Argument::Input, 8, 9)));
    assert_eq!(call(&x, &weight[1..], &bias), Err(wrong(Argument::Weight, 7, 8)));
    assert_eq!(call(&x, &weight, &bias[1..]), Err(wrong(Argument::Bias, 1, 2)));
    let line = Params::<1>::new(1, 1, [2]);
    assert_eq!(conv1d(&line, &x, 1, [3], &x[..2], None, workspace), Err(wrong(Argument::Input, 9, 3)));
    let block = Params::<3>::new(1, 1, [2; 3]);
    assert_eq!(conv3d(&block, &x, 1, [3, 3, 1], &weight, None, workspace).map(drop), {
        Err(Error::WindowDoesNotFit { axis: 2, window: 2, padded: 1 })
    });
}

#[test]
fn slices_of_the_wrong_length_for_the_oracle() {
    let (x, weight) = ([0.0_f32; 9], [0.0_f32; 8]);
    let params = Params::<2>::new(1, 2, [2, 2]);
    let oracle = |x, w| Oracle::new(&params, 1, [3, 3], x, w);
    assert_eq!(oracle(&x[1..], &weight).map(drop), Err(wrong(Argument::Input, 8, 9)));
    assert_eq!(oracle(&x, &weight[1..]).map(drop), Err(wrong(Argument::Weight, 7, 8)));
    let oracle = oracle(&x, &weight).unwrap();
    assert_eq!(oracle.clone().bias(&[0.0]).map(drop), Err(wrong(Argument::Bias, 1, 2)));
    assert_eq!(oracle.clone().residual(&[0.0]).map(drop), Err(wrong(Argument::Residual, 1, 8)));
    let prelu = Activation::Prelu { slopes: vec![0.0; 3] };
    assert_eq!(oracle.clone().activation(prelu).map(drop), Err(wrong(Argument::Slopes, 3, 2)));
    let clamp = Activation::Clamp { lo: 1.0, hi: 0.0 };
    assert_eq!(oracle.activation(clamp).map(drop), Err(Error::InvalidClamp { lo: 1.0, hi: 0.0 }));
    assert_eq!(corr2d(&x, [3, 3], &weight, [2, 2]), Err(wrong(Argument::Weight, 8, 4)));
    let unfit = Error::WindowDoesNotFit { axis: 0, window: 4, padded: 3 };
    assert_eq!(true_conv2d(&x, [3, 3], &weight, [4, 2]), Err(unfit));
    assert_eq!(corr2d(&x, [3, 3], &[], [2, 0]), Err(Error::ZeroKernel { axis: 1 }));
}

#[test]
fn clamps_out_of_order() {
    let build = |lo, hi| {
        let activation = Activation::Clamp { lo, hi };
        Conv1d::builder(1, 1, [1]).activation(activation).build(&[1.0]).map(drop)
    };
    for (lo, hi) in [(1.0, 0.5), (f32::INFINITY, f32::NEG_INFINITY), (0.0, -1e-30)] {
        let error = Error::InvalidClamp { lo: f64::from(lo), hi: f64::from(hi) };
        assert_eq!(build(lo, hi), Err(error.clone()));
        assert_says(&error, &["clamp", &f64::from(lo).to_string(), &f64::from(hi).to_string()]);
    }
    for (lo, hi) in [(f32::NAN, 1.0), (0.0, f32::NAN), (f32::NAN, f32::NAN)] {
        let Err(Error::InvalidClamp { lo: got_lo, hi: got_hi }) = build(lo, hi) else {
            panic!("a clamp from {lo} to {hi} was built")
        };
        assert_eq!((got_lo.is_nan(), got_hi.is_nan()), (lo.is_nan(), hi.is_nan()));
        assert_says(&Error::InvalidClamp { lo: got_lo, hi: got_hi }, &["NaN"]);
    }
    for (lo, hi) in [(1.0, 1.0), (-0.0, 0.0), (0.0, -0.0), (f32::NEG_INFINITY, f32::INFINITY)] {
        assert_eq!(build(lo, hi), Ok(()));
    }
}

#[test]
fn an_instruction_set_that_is_not_there() {
    let all = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Neon];
    let available = Isa::available();
    println!("available: {available:?}");
    assert!(!all.iter().all(|isa| available.contains(isa)), "no machine has both x86-64's and AArch64's");
    for isa in all {
        let built = Conv2d::with_params(layer()).isa(isa).build(&[0.0; 216]).map(|conv| conv.isa());
        let names = kernel_names::<f64>(isa);
        if available.contains(&isa) {
            assert_eq!(built, Ok(isa));
            assert!(!names.unwrap().is_empty());
        } else {
            let error = Error::IsaUnavailable { isa: isa.name() };
            assert_eq!((built, names), (Err(error.clone()), Err(error.clone())));
            assert_says(&error, &[isa.name(), "not available"]);
        }
        assert_eq!(isa.name().parse(), Ok(isa));
    }
    for name in ["", "AVX2", "sse", "avx2 "] {
        let error = Error::UnknownIsa { name: name.to_owned() };
        assert_eq!(name.parse::<Isa>(), Err(error.clone()));
        assert_says(&error, &["CONVGEMM_ISA", &format!("{name:?}"), "portable, avx2, avx512 or neon"]);
    }
}

/// Choices that do not exist for a problem, each with what its message has to name.
#[test]
fn forced_choices_that_do_not_apply_on_every_isa() {
    announce("forced_choices_that_do_not_apply");
    let none = Tuning::default;
    let im2col = Algorithm::Im2col;
    let in_lanes = none().orientation(Orientation::ChannelsInLanes);
    let in_positions = none().orientation(Orientation::PositionsInLanes);
    for isa in Isa::available() {
        let names = kernel_names::<f32>(isa).unwrap();
        let channels = names.iter().find(|name| name.contains("_channels_")).unwrap();
        let positions = names.iter().find(|name| name.contains("_positions_")).unwrap();
        let table = [
            (Algorithm::Auto, none().kernel("avx1024_f32_1x1"), "avx1024_f32_1x1"),
            (Algorithm::Auto, none().kernel(kernel_names::<f64>(isa).unwrap()[0]), "_f64_"),
            (Algorithm::Gemm, none().lowering(Lowering::Materialised), "Materialised"),
            (Algorithm::Gemm, in_lanes.lowering(Lowering::Packed), "Packed"),
            (Algorithm::Gemm, in_positions.lowering(Lowering::InPlace), "InPlace"),
            (Algorithm::Gemm, in_lanes.kernel(positions), positions),
            (Algorithm::Gemm, in_positions.kernel(channels), channels),
            (im2col, none().kernel(channels), "Im2col"),
            (im2col, in_lanes, "Im2col"),
            (im2col, none().lowering(Lowering::Packed), "Im2col"),
        ];
        for (algorithm, tuning, part) in table {
            let conv = Conv2d::with_params(layer()).isa(isa).algorithm(algorithm).tuning(tuning);
            let conv = conv.build(&[0.0; 216]).unwrap();
            let mut y = Untouched::<f32>::new(6 * 9);
            let result = conv.forward_into(&[0.0; 100], 1, [5, 5], &mut y.y, &mut Workspace::new());
            let Err(error @ Error::NotApplicable { .. }) = result else { panic!("{tuning:?}: {result:?}") };
            assert_says(&error, &[part, "does not apply", "needs"]);
            y.check(part);
            assert_eq!(conv.plan(1, [5, 5]).map(drop), Err(error.clone()));
            assert_eq!(conv.forward(&[0.0; 100], 1, [5, 5]), Err(error));
        }
    }
}

#[test]
fn outputs_that_memory_cannot_hold() {
    // More bytes than a process can address, from one element of input.
    let pad = 1 << 57;
    let conv = Conv1d::builder(1, 1, [1]).padding([pad]).build(&[1.0]).unwrap();
    let bytes = (2 * pad + 1) * 4;
    let error = Error::OutOfMemory { bytes };
    assert_eq!(conv.forward(&[1.0], 1, [1]), Err(error.clone()));
    let params = *conv.params();
    assert_eq!(conv1d(&params, &[1.0_f32], 1, [1], &[1.0], None, &mut Workspace::new()), Err(error.clone()));
    assert_says(&error, &["no memory", &bytes.to_string()]);
}

#[test]
fn scratch_that_memory_cannot_hold() {
    // 2²³ taps for each of 2²³ positions.
    let len = 1 << 23;
    let builder: ConvBuilder<f32, 1> = Conv1d::builder(1, 1, [len]).pad_begin([2 * len as isize - 2]);
    let conv = builder.algorithm(Algorithm::Im2col).build(&vec![1.0; len]).unwrap();
    let mut y = Untouched::<f32>::new(len);
    let result = conv.forward_into(&[1.0], 1, [1], &mut y.y, &mut Workspace::new());
    assert_eq!(result, Err(Error::OutOfMemory { bytes: len * len * 4 }));
    y.check("scratch");

    let columns = Error::TensorTooLarge { argument: Argument::Columns };
    assert_eq!(conv.plan(1, [1 << 40]).map(drop), Err(columns.clone()));
    assert_says(&columns, &["the columns", "9223372036854775807 bytes"]);
}

/// Empty batches of images that no memory could hold need none.
#[test]
fn empty_batches_of_huge_images_on_every_isa() {
    announce("empty_batches_of_huge_images");
    for isa in Isa::available() {
        let weight = vec![1.0; 1 << 12];
        let conv = Conv1d::builder(1, 1, [1 << 12]).isa(isa).build(&weight).unwrap();
        for extent in [1 << 20, 1 << 40, 1 << 52, 1 << 55] {
            assert_eq!(conv.forward(&[], 0, [extent]), Ok(vec![]), "{isa} {extent}");
        }
    }
}

/// What the child process of [`the_variable_forces_an_instruction_set`] says: what it has, and what it built.
#[test]
#[ignore = "run by the_variable_forces_an_instruction_set as a process of its own"]
fn child_that_reads_the_variable() {
    let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    println!("available={}", names.join(","));
    let builder = || Conv1d::builder(1, 1, [1]);
    println!("built={:?}", builder().build(&[1.0]).map(|conv| conv.isa()));
    println!("forced={:?}", builder().isa(Isa::Portable).build(&[1.0]).map(|conv| conv.isa()));
    let called = conv1d(&Params::new(1, 1, [1]), &[2.0], 1, [1], &[3.0], None, &mut Workspace::new());
    println!("called={called:?}");
    let conv = Conv3d::builder(1, 1, [1; 3]).build(&[1.0]);
    println!("planned={:?}", conv.and_then(|conv| conv.plan(1, [1; 3])).map(|plan| plan.isa()));
}

/// Runs this binary's helper with the variable set, and gives what it said as (name, value).
fn child(variable: Option<&str>) -> Vec<(String, String)> {
    let mut command = this_binary();
    command.args(["--exact", "child_that_reads_the_variable", "--ignored", "--nocapture"]);
    match variable {
        Some(value) => command.env(ISA_VARIABLE, value),
        None => command.env_remove(ISA_VARIABLE),
    };
    let output = command.output().expect("this test starts its own binary");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    // libtest prints the test's name before the first line.
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let last_word = |text: &str| text.rsplit(' ').next().unwrap().to_owned();
    pairs.map(|(name, value)| (last_word(name), value.to_owned())).collect()
}

#[test]
fn the_variable_forces_an_instruction_set_on_every_isa() {
    announce("the_variable_forces_an_instruction_set");
    let values = [None, Some(""), Some("portable"), Some("avx2"), Some("avx512"), Some("neon"), Some("AVX2")];
    for variable in values {
        let said = child(variable);
        let value = |name: &str| &said.iter().find(|(n, _)| n == name).unwrap().1;
        let available: Vec<Isa> = value("available").split(',').map(|name| name.parse().unwrap()).collect();
        let expected = match variable {
            None | Some("") => Ok(available[0]),
            Some(name) => name.parse().and_then(|isa: Isa| {
                let unavailable = Error::IsaUnavailable { isa: isa.name() };
                available.contains(&isa).then_some(isa).ok_or(unavailable)
            }),
        };
        assert_eq!(value("built"), &format!("{expected:?}"), "{variable:?}");
        assert_eq!(value("planned"), &format!("{expected:?}"), "{variable:?}");
        assert_eq!(value("called"), &format!("{:?}", expected.map(|_| [6.0])), "{variable:?}");
        assert_eq!(value("forced"), "Ok(Portable)", "the builder comes before the variable");
    }
}
