//! `im2col` and `col2im` against a naive index formula, against each other and against the oracle.

mod common;

use common::{Problem, Random, assert_same_bits, coordinates, for_all, problems};
use convgemm::reference::Oracle;
use convgemm::{Argument, Element, Error, Geometry, Params, col2im, im2col};
use proptest::prelude::*;

const REGRESSIONS: &str = "proptest-regressions/lowering.txt";

fn cases<const D: usize>() -> impl Strategy<Value = (Problem<D>, u64)> {
    (problems(), any::<u64>())
}

fn geometry<const D: usize>(problem: &Problem<D>) -> Geometry<D> {
    problem.params.geometry(problem.batch, problem.extent).unwrap()
}

fn nans<T: Element>(len: usize) -> Vec<T> {
    vec![T::from_f64(f64::NAN); len]
}

/// Index of the input element that each element of the columns copies, none on padding.
fn sources<const D: usize>(problem: &Problem<D>) -> Vec<Option<usize>> {
    let geometry = geometry(problem);
    let Params { in_channels, kernel, stride, dilation, .. } = problem.params;
    let (out, begin) = (geometry.output_extent(), geometry.pad_begin());
    let (taps, positions): (usize, usize) = (kernel.iter().product(), out.iter().product());
    let source = |index: usize| {
        let (plane, tap) = (index / positions / taps, index / positions % taps);
        let (p, k) = (coordinates(index % positions, out), coordinates(tap, kernel));
        (0..D).try_fold(plane, |at, a| {
            let x = (p[a] * stride[a] + k[a] * dilation[a]) as isize - begin[a];
            let inside = 0 <= x && x < problem.extent[a] as isize;
            inside.then(|| at * problem.extent[a] + x as usize)
        })
    };
    (0..problem.batch * in_channels * taps * positions).map(source).collect()
}

/// Both directions by the formula; reals, so that the order of `col2im`'s sums counts too.
fn check_formula<T: Element, const D: usize>((problem, seed): &(Problem<D>, u64)) {
    let geometry = geometry(problem);
    let sources = sources(problem);
    assert_eq!(geometry.columns_len(), Ok(sources.len()));
    let mut random = Random(*seed);
    let mut draw = |len| (0..len).map(|_| T::from_f64(random.real())).collect::<Vec<T>>();
    let (x, columns) = (draw(geometry.input_len()), draw(sources.len()));

    let mut unfolded = nans(sources.len());
    im2col(&geometry, &x, &mut unfolded).unwrap();
    let expected: Vec<T> = sources.iter().map(|s| s.map_or(T::ZERO, |s| x[s])).collect();
    assert_same_bits(&unfolded, &expected, problem);

    let mut folded = nans(x.len());
    col2im(&geometry, &columns, &mut folded).unwrap();
    let mut expected = vec![T::ZERO; x.len()];
    for (source, column) in sources.iter().zip(&columns) {
        if let Some(source) = *source {
            expected[source] = expected[source].plus(*column);
        }
    }
    assert_same_bits(&folded, &expected, problem);
}

/// ⟨im2col x, c⟩ = ⟨x, col2im c⟩.
fn check_adjoint<T: Element, const D: usize>((problem, seed): &(Problem<D>, u64)) {
    let geometry = geometry(problem);
    let mut random = Random(*seed);
    let mut draw = |len| (0..len).map(|_| T::from_f64(random.integer(3))).collect::<Vec<T>>();
    let (x, columns) = (draw(geometry.input_len()), draw(geometry.columns_len().unwrap()));
    let (mut unfolded, mut folded) = (nans(columns.len()), nans(x.len()));
    im2col(&geometry, &x, &mut unfolded).unwrap();
    col2im(&geometry, &columns, &mut folded).unwrap();
    let dot = |a: &[T], b: &[T]| -> f64 { a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum() };
    assert_eq!(dot(&unfolded, &columns), dot(&x, &folded), "{problem:?}");
}

/// Weights times columns are the convolution.
fn check_product<T: Element, const D: usize>((problem, seed): &(Problem<D>, u64)) {
    let geometry = geometry(problem);
    let data = problem.integers::<T>(*seed);
    let mut columns = nans(geometry.columns_len().unwrap());
    im2col(&geometry, &data.x, &mut columns).unwrap();
    let Params { out_channels, groups, .. } = problem.params;
    let positions: usize = geometry.output_extent().iter().product();
    let k = data.weight.len() / out_channels;
    let mut y = vec![0.0; geometry.output_len()];
    for (row, y) in y.chunks_exact_mut(positions).enumerate() {
        let (image, channel) = (row / out_channels, row % out_channels);
        let group = image * groups + channel / (out_channels / groups);
        for (position, y) in y.iter_mut().enumerate() {
            for i in 0..k {
                let column = columns[(group * k + i) * positions + position];
                *y += data.weight[channel * k + i].to_f64() * column.to_f64();
            }
        }
    }
    let oracle = Oracle::new(&problem.params, problem.batch, problem.extent, &data.x, &data.weight).unwrap();
    assert!(oracle.output().iter().map(|y| y.to_f64()).eq(y), "{problem:?}");
}

macro_rules! lowerings {
    ($module:ident, $elem:ident, $axes:literal, $cases:literal) => {
        mod $module {
            use super::*;

            #[test]
            fn both_directions_are_the_formula() {
                for_all($cases, REGRESSIONS, cases(), check_formula::<$elem, $axes>);
            }

            #[test]
            fn col2im_is_the_adjoint_of_im2col() {
                for_all($cases, REGRESSIONS, cases(), check_adjoint::<$elem, $axes>);
            }

            #[test]
            fn weights_times_columns_are_the_convolution() {
                for_all($cases, REGRESSIONS, cases(), check_product::<$elem, $axes>);
            }
        }
    };
}

lowerings!(one_axis_f32, f32, 1, 256);
lowerings!(two_axes_f32, f32, 2, 256);
lowerings!(three_axes_f32, f32, 3, 128);
lowerings!(one_axis_f64, f64, 1, 128);
lowerings!(two_axes_f64, f64, 2, 128);
lowerings!(three_axes_f64, f64, 3, 64);

#[test]
fn wrong_lengths_are_errors_and_nothing_is_written() {
    let geometry = Params::<2>::new(2, 4, [2, 3]).padding([1, 0]).geometry(2, [4, 5]).unwrap();
    let (input, columns) = (2 * 2 * 4 * 5, 2 * (2 * 6) * (5 * 3));
    assert_eq!((geometry.input_len(), geometry.columns_len()), (input, Ok(columns)));
    let wrong = |argument, actual, required| Err(Error::WrongLength { argument, actual, required });
    for (wrong_input, wrong_columns) in [(input - 1, columns - 1), (input + 1, columns + 1), (0, 0)] {
        for (x, c, expected) in [
            (wrong_input, columns, wrong(Argument::Input, wrong_input, input)),
            (input, wrong_columns, wrong(Argument::Columns, wrong_columns, columns)),
        ] {
            let mut to = nans::<f32>(c);
            assert_eq!(im2col(&geometry, &vec![1.0; x], &mut to), expected);
            assert!(to.iter().all(|v| v.is_nan()));
            let mut to = nans::<f32>(x);
            assert_eq!(col2im(&geometry, &vec![1.0; c], &mut to), expected);
            assert!(to.iter().all(|v| v.is_nan()));
        }
    }
}

#[test]
fn a_matrix_that_is_too_large_is_an_error() {
    let geometry = Params::<1>::new(1, 1, [1 << 31]).geometry(1, [1 << 32]).unwrap();
    let too_large = Error::TensorTooLarge { argument: Argument::Columns };
    assert_eq!(geometry.columns_len(), Err(too_large.clone()));
    // The empty input would do.
    let geometry = Params::<1>::new(1, 1, [1 << 31]).padding([1 << 31]).geometry(1, [0]).unwrap();
    assert_eq!(im2col::<f32, 1>(&geometry, &[], &mut []), Err(too_large));
}

#[test]
fn an_empty_batch_and_an_empty_image_are_fine() {
    let empty = Params::<2>::new(3, 1, [2, 2]).geometry(0, [4, 5]).unwrap();
    assert_eq!(im2col::<f32, 2>(&empty, &[], &mut []), Ok(()));
    assert_eq!(col2im::<f32, 2>(&empty, &[], &mut []), Ok(()));
    // The products of what there would be of each overflow.
    let huge =
        Params::<2>::new(1, 1, [1 << 30, 1 << 24]).geometry(0, [(1 << 30) + (1 << 10), 1 << 29]).unwrap();
    assert_eq!(im2col::<f32, 2>(&huge, &[], &mut []), Ok(()));
    assert_eq!(col2im::<f32, 2>(&huge, &[], &mut []), Ok(()));
    let no_columns = Params::<2>::new(1, 1, [2, 2]).padding([1, 1]).geometry(1, [0, 3]).unwrap();
    let mut columns = nans::<f64>(no_columns.columns_len().unwrap());
    assert_eq!(im2col(&no_columns, &[], &mut columns), Ok(()));
    assert!(!columns.is_empty() && columns.iter().all(|&c| c == 0.0));
    assert_eq!(col2im(&no_columns, &columns, &mut []), Ok(()));
}
