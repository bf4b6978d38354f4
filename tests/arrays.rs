//! Arrays in and out: views of any layout give the bytes of the slice interface, which are the oracle's.

mod common;

use common::{Data, Extras, Problem, Way, announce, assert_agrees, assert_same_bits};
use convgemm::reference::{GradientOracle, TransposeOracle};
use convgemm::{
    Activation, Argument, BackwardOptions, Conv, Conv2d, ConvTranspose, ConvTranspose2d, Element, Error,
    Geometry, Isa, Padding, Parallelism, Params, Workspace, backward_bias, backward_input, backward_weight,
};
use ndarray::{
    Array, Array1, Array4, ArrayD, ArrayView, ArrayView4, Axis, Dimension, Ix3, Ix4, Ix5, IxDyn, Slice, s,
};

fn array<T: Element, I: Dimension>(outer: [usize; 2], inner: &[usize], elements: &[T]) -> Array<T, I> {
    let shape: Vec<_> = outer.iter().chain(inner).copied().collect();
    let array = ArrayD::from_shape_vec(IxDyn(&shape), elements.to_vec()).unwrap();
    array.into_dimensionality().unwrap()
}

/// Calls `check` with views of the same elements that lie in memory in different ways.
fn in_every_layout<T: Element, I: Dimension>(
    array: &Array<T, I>,
    mut check: impl FnMut(&str, ArrayView<'_, T, I>),
) {
    let nan = T::from_f64(f64::NAN);
    check("contiguous", array.view());

    let turned = array.t().as_standard_layout().into_owned();
    check("transposed", turned.t());

    let mut reversed = array.clone();
    (0..array.ndim()).for_each(|axis| reversed.invert_axis(Axis(axis)));
    let mut reversed = reversed.as_standard_layout().into_owned();
    (0..array.ndim()).for_each(|axis| reversed.invert_axis(Axis(axis)));
    assert!(array.len() < 2 || reversed.strides().iter().any(|&stride| stride < 0));
    check("reversed", reversed.view());

    // Inside a larger array, every second element of the last axis.
    let mut shape = array.raw_dim();
    shape.slice_mut().iter_mut().for_each(|extent| *extent = 2 * *extent + 3);
    let mut larger = Array::from_elem(shape, nan);
    let inside = |axis: usize, extent: usize| {
        let step = if axis + 1 == array.ndim() { 2 } else { 1 };
        Slice::new(1, Some((1 + extent * step) as isize), step as isize)
    };
    let slice = |axis: ndarray::AxisDescription| inside(axis.axis.index(), array.len_of(axis.axis));
    larger.slice_each_axis_mut(slice).assign(array);
    check("sliced", larger.slice_each_axis(slice));
}

fn problems_2d() -> Vec<Problem<2>> {
    let layer = |i, o, kernel| Params::new(i, o, kernel);
    vec![
        Problem::new(layer(3, 20, [3, 3]).padding([1, 1]), 2, [6, 7]),
        Problem::new(layer(16, 33, [1, 1]), 1, [5, 5]),
        Problem::new(layer(6, 12, [3, 2]).stride([2, 1]).groups(3).padding(Padding::SameUpper), 2, [7, 5]),
        Problem::new(layer(5, 5, [3, 3]).dilation([1, 2]).groups(5), 1, [8, 9]),
        Problem::new(layer(2, 3, [3, 3]).padding([1, 1]), 0, [4, 4]),
        // Nothing but padding.
        Problem::new(layer(2, 3, [1, 2]).padding([1, 1]), 2, [0, 3]),
    ]
}

fn problems_1d() -> Vec<Problem<1>> {
    vec![Problem::new(Params::new(4, 6, [5]).stride([2]).padding([2]), 3, [19])]
}

fn problems_3d() -> Vec<Problem<3>> {
    vec![Problem::new(Params::new(2, 9, [2, 3, 1]).padding([1, 0, 0]), 2, [3, 4, 5])]
}

/// A problem's tensors.
struct Arrays<T, I: Dimension> {
    x: Array<T, I>,
    weight: Array<T, I>,
    bias: Array1<T>,
    /// Shaped like the output: a residual, or a gradient.
    y: Array<T, I>,
}

impl<T: Element, I: Dimension> Arrays<T, I> {
    fn new<const D: usize>(geometry: &Geometry<D>, data: &Data<T>) -> Self {
        let params = geometry.params();
        let (batch, c_in, c_out) = (geometry.batch(), params.in_channels, params.out_channels);
        Self {
            x: array([batch, c_in], &geometry.input_extent(), &data.x),
            weight: array([c_out, c_in / params.groups], &params.kernel, &data.weight),
            bias: Array1::from_vec(data.bias.clone()),
            y: array([batch, c_out], &geometry.output_extent(), &data.residual),
        }
    }
}

fn assert_is<T: Element, I: Dimension>(actual: &Array<T, I>, expected: &[T], shape: &[usize], context: &str) {
    assert_eq!(actual.shape(), shape, "{context}");
    assert_same_bits(actual.as_slice().expect("C order"), expected, &context);
}

fn forward<T: Element, I: Dimension, const D: usize>(
    conv: &Conv<T, D>,
    x: ArrayView<'_, T, I>,
    residual: ArrayView<'_, T, I>,
) -> Array<T, I> {
    conv.forward_array_with(x, Some(residual), Parallelism::default(), &mut Workspace::new()).unwrap()
}

fn check_forward<T: Element, I: Dimension, const D: usize>(problem: &Problem<D>) {
    let data = problem.reals::<T>(3);
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let arrays = Arrays::<T, I>::new(&geometry, &data);
    for isa in Isa::available() {
        let (way, extras) = (Way::auto(isa), Extras::all());
        let expected = problem.run_with(&data, way, &extras, &mut Workspace::new());
        assert_agrees(&problem.oracle_of(&data, &extras), &expected, way);
        let builder =
            || Conv::<T, D>::with_params(problem.params).isa(isa).activation(extras.activation.clone());
        let conv = builder().build_array(arrays.weight.view(), Some(arrays.bias.view())).unwrap();
        in_every_layout(&arrays.x, |layout, x| {
            let y = forward(&conv, x, arrays.y.view());
            assert_is(&y, &expected, arrays.y.shape(), &format!("x {layout} {problem:?}"));
        });
        in_every_layout(&arrays.y, |layout, residual| {
            let y = forward(&conv, arrays.x.view(), residual);
            assert_is(&y, &expected, arrays.y.shape(), &format!("residual {layout} {problem:?}"));
        });
        in_every_layout(&arrays.weight, |layout, weight| {
            in_every_layout(&arrays.bias, |of_bias, bias| {
                let context = format!("weight {layout}, bias {of_bias} {problem:?}");
                let mut conv = builder().build_array(weight.view(), Some(bias.view())).unwrap();
                let y = forward(&conv, arrays.x.view(), arrays.y.view());
                assert_is(&y, &expected, arrays.y.shape(), &context);
                conv.update_weight(&vec![T::ZERO; data.weight.len()]).unwrap();
                conv.update_bias(&vec![T::ZERO; data.bias.len()]).unwrap();
                conv.update_weight_array(weight.view()).unwrap();
                conv.update_bias_array(bias).unwrap();
                let y = forward(&conv, arrays.x.view(), arrays.y.view());
                assert_is(&y, &expected, arrays.y.shape(), &context);
            });
        });
        let plain = Conv::<T, D>::with_params(problem.params).isa(isa);
        let plain = plain.build_array(arrays.weight.view(), None).unwrap();
        let expected = plain.forward(&data.x, problem.batch, problem.extent).unwrap();
        let y = plain.forward_array(arrays.x.view()).unwrap();
        assert_is(&y, &expected, arrays.y.shape(), &format!("plain {problem:?}"));
    }
}

#[test]
fn layers_of_views_on_every_isa() {
    announce("layers_of_views");
    problems_1d().iter().for_each(check_forward::<f32, Ix3, 1>);
    problems_2d().iter().for_each(check_forward::<f32, Ix4, 2>);
    problems_2d().iter().for_each(check_forward::<f64, IxDyn, 2>);
    problems_3d().iter().for_each(check_forward::<f64, Ix5, 3>);
}

fn check_gradients<T: Element, I: Dimension, const D: usize>(problem: &Problem<D>) {
    let data = problem.reals::<T>(4);
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let arrays = Arrays::<T, I>::new(&geometry, &data);
    let oracle = GradientOracle::new(&geometry, &data.x, &data.weight, &data.residual).unwrap();
    let workspace = &mut Workspace::new();
    for isa in Isa::available() {
        // Added to what a fresh array holds: the same.
        let options = BackwardOptions::new().isa(isa).accumulate(true);
        let (x, weight, dy) = (&data.x, &data.weight, &data.residual);
        let mut dx = vec![T::ZERO; x.len()];
        let mut dw = vec![T::ZERO; weight.len()];
        let mut db = vec![T::ZERO; data.bias.len()];
        backward_input(&geometry, dy, weight, &options, &mut dx, workspace).unwrap();
        backward_weight(&geometry, x, dy, &options, &mut dw, workspace).unwrap();
        backward_bias(&geometry, dy, &options, &mut db).unwrap();
        if isa.is_fused() {
            assert_same_bits(&dx, &oracle.input_gradient(), problem);
            assert_same_bits(&dw, &oracle.weight_gradient(), problem);
            assert_same_bits(&db, &oracle.bias_gradient(), problem);
        }
        let options = BackwardOptions::new().isa(isa);
        in_every_layout(&arrays.y, |layout, dy| {
            let context = format!("dy {layout} {problem:?}");
            let dy = || dy.view();
            let got = geometry.backward_input_array(dy(), arrays.weight.view(), &options, workspace).unwrap();
            assert_is(&got, &dx, arrays.x.shape(), &context);
            let got = geometry.backward_weight_array(arrays.x.view(), dy(), &options, workspace).unwrap();
            assert_is(&got, &dw, arrays.weight.shape(), &context);
            let got = geometry.backward_bias_array(dy(), &options).unwrap();
            assert_is(&got, &db, arrays.bias.shape(), &context);
        });
        let options = options.accumulate(true);
        in_every_layout(&arrays.weight, |layout, weight| {
            let got = geometry.backward_input_array(arrays.y.view(), weight, &options, workspace).unwrap();
            assert_is(&got, &dx, arrays.x.shape(), &format!("weight {layout} {problem:?}"));
        });
        in_every_layout(&arrays.x, |layout, x| {
            let got = geometry.backward_weight_array(x, arrays.y.view(), &options, workspace).unwrap();
            assert_is(&got, &dw, arrays.weight.shape(), &format!("x {layout} {problem:?}"));
        });
    }
}

#[test]
fn gradients_of_views_on_every_isa() {
    announce("gradients_of_views");
    problems_1d().iter().for_each(check_gradients::<f64, Ix3, 1>);
    problems_2d().iter().for_each(check_gradients::<f32, Ix4, 2>);
    problems_3d().iter().for_each(check_gradients::<f32, IxDyn, 3>);
}

#[test]
fn transposed_layers_of_views_on_every_isa() {
    announce("transposed_layers_of_views");
    type Layer = ConvTranspose<f32, 2>;
    let builder =
        || Layer::builder(6, 10, [3, 2]).stride([2, 3]).padding([1, 0]).output_padding([1, 0]).groups(2);
    let activation = Activation::LeakyRelu { slope: 0.25 };
    for isa in Isa::available() {
        let (batch, extent) = (2, [4, 3]);
        let params = *builder().build(&[0.5; 6 * 5 * 6]).unwrap().params();
        let geometry = params.convolution(batch, extent).unwrap();
        let problem = Problem::new(*geometry.params(), batch, geometry.input_extent());
        // The convolution's input is what is transposed into, and the other way round.
        let data = problem.reals::<f32>(5);
        let (x, bias) = (&data.residual, &data.x[..10]);
        let arrays = Arrays::<f32, Ix4>::new(&geometry, &data);
        let bias_array = Array1::from_vec(bias.to_vec());

        let layer = builder().isa(isa).bias(bias).activation(activation.clone()).build(&data.weight).unwrap();
        let expected = layer.forward(x, batch, extent).unwrap();
        if isa.is_fused() {
            let oracle = TransposeOracle::new(&geometry, x, &data.weight).unwrap();
            let oracle = oracle.bias(bias).unwrap().activation(activation.clone()).unwrap();
            assert_same_bits(&expected, &oracle.output(), &isa);
        }
        in_every_layout(&arrays.y, |layout, x| {
            let y = layer.forward_array(x).unwrap();
            assert_is(&y, &expected, arrays.x.shape(), &format!("x {layout} {isa}"));
        });
        in_every_layout(&arrays.weight, |layout, weight| {
            let builder = builder().isa(isa).activation(activation.clone());
            let mut layer = builder.build_array(weight.view(), Some(bias_array.view())).unwrap();
            let y = layer.forward_array(arrays.y.view()).unwrap();
            assert_is(&y, &expected, arrays.x.shape(), &format!("weight {layout} {isa}"));
            layer.update_weight(&vec![0.0; data.weight.len()]).unwrap();
            layer.update_weight_array(weight).unwrap();
            let y = layer.forward_array(arrays.y.view()).unwrap();
            assert_is(&y, &expected, arrays.x.shape(), &format!("weight {layout} {isa}"));
        });

        let (options, workspace) = (BackwardOptions::new().isa(isa), &mut Workspace::new());
        let (dy, weight) = (&data.x, &data.weight);
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; 10]);
        params.backward_input(batch, extent, dy, weight, &options, &mut dx, workspace).unwrap();
        params.backward_weight(batch, extent, x, dy, &options, &mut dw, workspace).unwrap();
        params.backward_bias(batch, extent, dy, &options, &mut db).unwrap();
        in_every_layout(&arrays.x, |layout, dy| {
            let context = format!("dy {layout} {isa}");
            let (dy, weight) = (|| dy.view(), arrays.weight.view());
            let got = params.backward_input_array(batch, extent, dy(), weight, &options, workspace).unwrap();
            assert_is(&got, &dx, arrays.y.shape(), &context);
            let x = arrays.y.view();
            let got = params.backward_weight_array(batch, extent, x, dy(), &options, workspace).unwrap();
            assert_is(&got, &dw, arrays.weight.shape(), &context);
            let got = params.backward_bias_array(batch, extent, dy(), &options).unwrap();
            assert_is(&got, &db, &[10], &context);
        });
    }
}

/// One image for the whole batch, one row for the whole image, one value for everything.
#[test]
fn broadcast_views() {
    let problem = Problem::new(Params::<2>::new(3, 7, [3, 3]).padding([1, 1]), 4, [5, 6]);
    let conv = Conv2d::with_params(problem.params).build(&problem.reals::<f32>(6).weight).unwrap();
    let values = Array4::from_shape_fn((1, 3, 5, 6), |(_, c, h, w)| (c * 30 + h * 6 + w) as f32 / 7.0);
    for source in [values.view(), values.slice(s![.., ..1, ..1, ..]), values.slice(s![.., ..1, ..1, 3..4])] {
        let x = source.broadcast((4, 3, 5, 6)).unwrap();
        assert!(x.strides().contains(&0));
        let expected = conv.forward(x.as_standard_layout().as_slice().unwrap(), 4, [5, 6]).unwrap();
        assert_is(&conv.forward_array(x).unwrap(), &expected, &[4, 7, 5, 6], "broadcast");
    }
}

/// A view of one number can be larger than any memory.
#[test]
fn a_view_that_no_copy_has_room_for() {
    let one = Array4::<f32>::ones((1, 1, 1, 1));
    let x = one.broadcast((1, 1, 1 << 30, 1 << 29)).unwrap();
    let conv = Conv2d::builder(1, 1, [1, 1]).stride([1 << 30, 1 << 29]).build(&[1.0]).unwrap();
    assert_eq!(conv.forward_array(x), Err(Error::OutOfMemory { bytes: 1 << 61 }));
}

#[test]
fn arrays_of_another_rank() {
    let rank = |argument, actual| Error::WrongRank { argument, actual, required: 4 };
    let conv = Conv2d::builder(1, 1, [1, 1]).build(&[1.0]).unwrap();
    let three = Array::<f32, Ix3>::zeros((1, 1, 4));
    let five = ArrayD::<f32>::zeros(vec![1; 5]);
    assert_eq!(conv.forward_array(three.view()), Err(rank(Argument::Input, 3)));
    assert_eq!(conv.forward_array(five.view()), Err(rank(Argument::Input, 5)));
    let none = ArrayD::<f32>::zeros(vec![]);
    assert_eq!(conv.forward_array(none.view()), Err(rank(Argument::Input, 0)));
    let layer = ConvTranspose2d::builder(1, 1, [1, 1]).build(&[1.0]).unwrap();
    assert_eq!(layer.forward_array(three.view()), Err(rank(Argument::Input, 3)));
    let built = Conv2d::builder(1, 1, [1, 1]).build_array(three.view(), None).map(drop);
    assert_eq!(built, Err(rank(Argument::Weight, 3)));
    let geometry = Params::<2>::new(1, 1, [1, 1]).geometry(1, [1, 1]).unwrap();
    let (options, workspace) = (BackwardOptions::new(), &mut Workspace::new());
    let got = geometry.backward_input_array(five.view(), five.view(), &options, workspace);
    assert_eq!(got, Err(rank(Argument::OutputGradient, 5)));
    let got = geometry.backward_bias_array(five.view(), &options);
    assert_eq!(got, Err(rank(Argument::OutputGradient, 5)));
    assert_eq!(rank(Argument::Input, 3).to_string(), "input has 3 axes, it has to have 4");
}

#[test]
fn arrays_of_another_shape() {
    fn wrong<A>(argument: Argument, axis: usize, actual: usize, required: usize) -> Result<A, Error> {
        Err(Error::WrongShape { argument, axis, actual, required })
    }
    let params = Params::<2>::new(2, 4, [3, 3]).padding([1, 1]);
    let build = || Conv2d::with_params(params);
    let conv = build().build(&[0.0; 72]).unwrap();
    let zeros = |shape: [usize; 4]| Array4::<f32>::zeros(shape);
    let x = zeros([1, 2, 5, 6]);
    assert_eq!(conv.forward_array(zeros([1, 3, 5, 6]).view()), wrong(Argument::Input, 1, 3, 2));
    assert_eq!(conv.forward_array(zeros([0, 3, 5, 6]).view()), wrong(Argument::Input, 1, 3, 2));
    let residual = |shape| {
        let residual = zeros(shape);
        let workspace = &mut Workspace::new();
        conv.forward_array_with(x.view(), Some(residual.view()), Parallelism::Serial, workspace)
    };
    assert_eq!(residual([2, 4, 5, 6]), wrong(Argument::Residual, 0, 2, 1));
    assert_eq!(residual([1, 2, 5, 6]), wrong(Argument::Residual, 1, 2, 4));
    // As many elements, but not so.
    assert_eq!(residual([1, 4, 6, 5]), wrong(Argument::Residual, 2, 6, 5));
    let weight = |shape| {
        let weight = zeros(shape);
        let mut other = build().build(&[0.0; 72]).unwrap();
        let updated = other.update_weight_array(weight.view());
        let built = build().build_array(weight.view(), None).map(drop);
        assert_eq!(built, updated);
        built
    };
    assert_eq!(weight([2, 4, 3, 3]), wrong(Argument::Weight, 0, 2, 4));
    assert_eq!(weight([4, 1, 3, 3]), wrong(Argument::Weight, 1, 1, 2));
    assert_eq!(weight([4, 2, 3, 9]), wrong(Argument::Weight, 3, 9, 3));
    assert_eq!(weight([4, 2, 3, 3]), Ok(()));
    let groups = build().groups(0).build_array(zeros([4, 2, 3, 3]).view(), None).map(drop);
    assert_eq!(groups, Err(Error::ZeroGroups));

    let length = Err(Error::WrongLength { argument: Argument::Bias, actual: 3, required: 4 });
    let bias = Array1::zeros(3);
    assert_eq!(build().build_array(zeros([4, 2, 3, 3]).view(), Some(bias.view())).map(drop), length);
    assert_eq!(build().build(&[0.0; 72]).unwrap().update_bias_array(bias.view()), length);
    let endless = Array1::<f32>::zeros(1);
    let endless = endless.broadcast(isize::MAX as usize).unwrap();
    assert!(build().build_array(zeros([4, 2, 3, 3]).view(), Some(endless)).is_err());

    let unfit = Error::WindowDoesNotFit { axis: 1, window: 3, padded: 2 };
    assert_eq!(conv.forward_array(zeros([1, 2, 5, 0]).view()), Err(unfit));

    let geometry = params.geometry(1, [5, 6]).unwrap();
    let (options, workspace) = (BackwardOptions::new(), &mut Workspace::new());
    let (good, weight) = (zeros([1, 4, 5, 6]), zeros([4, 2, 3, 3]));
    let bad: ArrayView4<'_, f32> = good.view().permuted_axes([1, 0, 2, 3]);
    let got = geometry.backward_input_array(bad, weight.view(), &options, workspace);
    assert_eq!(got, wrong(Argument::OutputGradient, 0, 4, 1));
    let got = geometry.backward_input_array(good.view(), good.view(), &options, workspace);
    assert_eq!(got, wrong(Argument::Weight, 0, 1, 4));
    let got = geometry.backward_weight_array(good.view(), good.view(), &options, workspace);
    assert_eq!(got, wrong(Argument::Input, 1, 4, 2));
    assert!(geometry.backward_bias_array(bad, &options).is_err());

    let layer = ConvTranspose2d::builder(4, 2, [3, 3]).padding([1, 1]).build(&[0.0; 72]).unwrap();
    assert_eq!(layer.forward_array(x.view()), wrong(Argument::Input, 1, 2, 4));
    let got = layer.params().backward_input_array(1, [5, 6], good.view(), weight.view(), &options, workspace);
    assert_eq!(got, wrong(Argument::OutputGradient, 1, 4, 2));

    let error = Error::WrongShape { argument: Argument::Residual, axis: 2, actual: 6, required: 5 };
    assert_eq!(error.to_string(), "residual is 6 long on axis 2 of its shape, it has to be 5");
}
