//! The engine against the oracle: every kernel of every instruction set, over shapes around every constant.

mod common;

use common::{Expected, Problem, announce, ways};
use convgemm::{Activation, Conv2d, ConvTranspose2d, Element, Padding, Params, Workspace};

fn check<T: Element, const D: usize>(params: Params<D>, batch: usize, extent: [usize; D]) {
    let problem = Problem::new(params, batch, extent);
    let data = problem.reals::<T>(7);
    let expected = Expected::new(&problem.oracle(&data, &Activation::Identity), &Activation::Identity);
    let mut workspace = Workspace::new();
    for way in ways::<T>() {
        let y = problem.run(&data, way, &Activation::Identity, false, &mut workspace);
        expected.check(&y, &way, &problem);
    }
}

/// The geometry that every feature meets in some way.
fn check_two_axes<T: Element>() {
    let p = |i, o, k| Params::<2>::new(i, o, k);
    check::<T, 2>(p(1, 1, [1, 1]), 1, [1, 1]);
    check::<T, 2>(p(3, 5, [3, 3]).padding([1, 1]), 2, [7, 9]);
    check::<T, 2>(p(4, 17, [3, 3]).padding([1, 1]), 1, [14, 14]);
    check::<T, 2>(p(2, 33, [3, 3]).padding([1, 1]).stride([2, 2]), 1, [15, 17]);
    check::<T, 2>(p(5, 70, [1, 1]), 2, [5, 11]);
    check::<T, 2>(p(5, 9, [1, 1]).stride([2, 3]), 1, [9, 10]);
    check::<T, 2>(p(3, 8, [7, 7]).padding([3, 3]).stride([2, 2]), 1, [20, 21]);
    check::<T, 2>(p(2, 6, [3, 3]).padding([4, 4]).dilation([4, 4]), 1, [9, 9]);
    check::<T, 2>(p(2, 4, [2, 5]).pad_begin([0, 3]).pad_end([2, -1]), 1, [6, 33]);
    check::<T, 2>(p(2, 4, [3, 2]).pad_begin([-1, -2]).pad_end([-2, 1]), 1, [11, 12]);
    check::<T, 2>(p(6, 8, [3, 3]).padding([1, 1]).groups(2), 2, [6, 5]);
    check::<T, 2>(p(5, 10, [3, 3]).padding(Padding::SameUpper).groups(5), 1, [6, 50]);
    check::<T, 2>(p(3, 2, [4, 4]).padding(Padding::SameLower).stride([3, 2]), 1, [10, 11]);
    check::<T, 2>(p(1, 3, [5, 5]).padding([9, 9]), 1, [1, 1]);
    check::<T, 2>(p(3, 3, [3, 3]).padding([2, 2]), 0, [4, 4]);
    check::<T, 2>(p(2, 3, [3, 3]).padding([3, 3]), 1, [0, 2]);
    // Found by fuzzing: one window, so that a stride can be as large as can be.
    check::<T, 2>(p(8, 8, [3, 3]).padding(Padding::SameUpper).stride([1 << 62, 1 << 62]), 2, [8, 8]);
    check::<T, 2>(p(2, 5, [1, 2]).stride([usize::MAX, usize::MAX]), 2, [3, 4]);
    check::<T, 2>(p(2, 5, [1, 1]).stride([1, usize::MAX]), 1, [20, 4]);
    check::<T, 2>(p(1, 6, [1, 1]).stride([1, 1 << 62]).pad_begin([0, 7 << 60]), 3, [1, 11]);
}

#[test]
fn two_axes_f32_on_every_isa() {
    announce("two_axes_f32");
    check_two_axes::<f32>();
}

#[test]
fn two_axes_f64_on_every_isa() {
    announce("two_axes_f64");
    check_two_axes::<f64>();
}

#[test]
fn an_updated_bias_is_that_of_a_new_layer() {
    let (weight, x) = (vec![0.5_f32; 3 * 4], vec![1.0; 4 * 9]);
    let mut conv = Conv2d::builder(4, 3, [1, 1]).bias(&[9.0; 3]).build(&weight).unwrap();
    conv.update_bias(&[1.0, -0.0, -2.0]).unwrap();
    let new = Conv2d::builder(4, 3, [1, 1]).bias(&[1.0, -0.0, -2.0]).build(&weight).unwrap();
    let expected = new.forward(&x, 1, [3, 3]).unwrap();
    assert_eq!(conv.forward(&x, 1, [3, 3]).unwrap(), expected);
    let error = conv.update_bias(&[1.0; 2]).unwrap_err();
    assert!(error.to_string().contains("bias"), "{error}");
    assert_eq!(conv.forward(&x, 1, [3, 3]).unwrap(), expected);
}

#[test]
fn an_updated_bias_of_a_transposed_layer_is_that_of_a_new_one() {
    let (weight, x) = (vec![0.5_f32; 4 * 3 * 4], vec![1.0; 4 * 9]);
    let builder = || ConvTranspose2d::builder(4, 3, [2, 2]).stride([2, 2]);
    let mut layer = builder().build(&weight).unwrap();
    layer.update_bias(&[1.0, -0.0, -2.0]).unwrap();
    let new = builder().bias(&[1.0, -0.0, -2.0]).build(&weight).unwrap();
    let expected = new.forward(&x, 1, [3, 3]).unwrap();
    assert_eq!(layer.forward(&x, 1, [3, 3]).unwrap(), expected);
    let error = layer.update_bias(&[1.0; 4]).unwrap_err();
    assert!(error.to_string().contains("bias"), "{error}");
    assert_eq!(layer.forward(&x, 1, [3, 3]).unwrap(), expected);
}
