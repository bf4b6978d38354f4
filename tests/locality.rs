//! What an output depends on: its own window and nothing else.

mod common;

use common::{Extras, Problem, Random, Way, announce, assert_same_bits, for_all, problems, reduced, ways};
use convgemm::{Conv, Element, Padding, Params, Workspace};
use proptest::prelude::*;

const REGRESSIONS: &str = "proptest-regressions/locality.txt";

/// A problem with an image, a seed for data, and one for the choice of an input element.
fn cases<const D: usize>() -> impl Strategy<Value = (Problem<D>, u64, usize)> {
    let with_input = |p: &Problem<D>| p.params.geometry(p.batch, p.extent).unwrap().input_len() > 0;
    (problems().prop_filter("an empty input", with_input), any::<u64>(), any::<usize>())
}

/// Another value at one place of the input changes exactly the outputs whose windows read it.
fn check_changes<T: Element, const D: usize>((problem, seed, choice): &(Problem<D>, u64, usize)) {
    let data = problem.reals::<T>(*seed);
    let changed_at = choice % data.x.len();
    let mut changed = data.clone();
    // Far from what was there, so that no weight is small enough to hide it.
    changed.x[changed_at] = T::from_f64(1e6);
    let mut workspace = Workspace::new();
    for way in ways::<T>() {
        let conv = way.build_with(problem, &data, &Extras::none());
        let before = problem.run_conv(&conv, &data, false, &mut workspace);
        let after = problem.run_conv(&conv, &changed, false, &mut workspace);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let same = before.to_f64().to_bits() == after.to_f64().to_bits();
            assert_eq!(same, !problem.reads(index, changed_at), "{way:?}\n{problem:?}\nat {index}");
        }
    }
}

/// NaN and ∞ at one place of the input reach exactly the outputs whose windows read it.
fn check_not_finite<T: Element, const D: usize>((problem, seed, choice): &(Problem<D>, u64, usize)) {
    let mut data = problem.reals::<T>(*seed);
    let at = choice % data.x.len();
    let values = [T::from_f64(f64::NAN), T::INFINITY, T::NEG_INFINITY];
    data.x[at] = values[(*seed % 3) as usize];
    let mut workspace = Workspace::new();
    for way in ways::<T>() {
        let y = problem.run_with(&data, way, &Extras { bias: true, ..Extras::none() }, &mut workspace);
        for (index, y) in y.iter().enumerate() {
            let y = y.to_f64();
            let arrived = if data.x[at].to_f64().is_nan() { y.is_nan() } else { y.is_infinite() };
            assert_eq!(arrived, problem.reads(index, at), "{way:?}\n{problem:?}\nat {index}: {y}");
            assert!(arrived || y.is_finite(), "{way:?}\n{problem:?}\nat {index}: {y}");
        }
    }
}

macro_rules! localities {
    ($module:ident, $elem:ident, $axes:literal, $cases:literal) => {
        mod $module {
            use super::*;

            #[test]
            fn a_change_reaches_exactly_its_windows_on_every_isa() {
                announce(concat!(stringify!($module), " change"));
                for_all($cases, REGRESSIONS, cases(), check_changes::<$elem, $axes>);
            }

            #[test]
            fn nan_and_infinity_reach_exactly_their_windows_on_every_isa() {
                announce(concat!(stringify!($module), " NaN and infinity"));
                for_all($cases, REGRESSIONS, cases(), check_not_finite::<$elem, $axes>);
            }
        }
    };
}

localities!(one_axis_f32, f32, 1, 48);
localities!(two_axes_f32, f32, 2, 48);
localities!(three_axes_f32, f32, 3, 32);
localities!(two_axes_f64, f64, 2, 32);

/// A NaN in every image element that no window reads leaves the output as it is.
#[test]
fn what_no_window_reads_is_not_seen_on_every_isa() {
    announce("what_no_window_reads_is_not_seen");
    // Cropped, dilated and strided past: most of the image is skipped.
    let params = Params::<2>::new(3, 17, [2, 2]).stride([5, 4]).dilation([2, 2]).pad_begin([-1, -2]);
    let problem = Problem::new(params.pad_end([-1, -3]), 2, [17, 40]);
    let clean = problem.reals::<f32>(5);
    let mut dirty = clean.clone();
    let outputs = problem.params.geometry(2, problem.extent).unwrap().output_len();
    for (index, x) in dirty.x.iter_mut().enumerate() {
        if !(0..outputs).any(|output| problem.reads(output, index)) {
            *x = f32::NAN;
        }
    }
    assert!(dirty.x.iter().filter(|x| x.is_nan()).count() > dirty.x.len() / 2);
    let mut workspace = Workspace::new();
    for way in ways::<f32>() {
        let conv = way.build_with(&problem, &clean, &Extras::none());
        let expected = problem.run_conv(&conv, &clean, false, &mut workspace);
        assert_same_bits(&problem.run_conv(&conv, &dirty, false, &mut workspace), &expected, &way);
    }
}

/// A kernel that is 1 in its centre, from each channel to itself, gives the image.
fn check_identity<T: Element, const D: usize>(channels: usize, kernel: [usize; D], extent: [usize; D]) {
    for groups in [1, channels] {
        for dilation in [1, 2] {
            let params = Params::new(channels, channels, kernel)
                .padding(kernel.map(|k| dilation * (k / 2)))
                .dilation([dilation; D])
                .groups(groups);
            let problem = Problem::new(params, 2, extent);
            let mut data = problem.reals::<T>(9);
            data.weight.fill(T::ZERO);
            let taps: usize = kernel.iter().product();
            let per_group = channels / groups;
            for channel in 0..channels {
                let row = channel * per_group + channel % per_group;
                data.weight[row * taps + taps / 2] = T::from_f64(1.0);
            }
            let mut workspace = Workspace::new();
            for way in ways::<T>() {
                let y = problem.run_with(&data, way, &Extras::none(), &mut workspace);
                assert_same_bits(&y, &data.x, &(way, &problem));
            }
        }
    }
}

#[test]
fn a_centred_delta_is_the_identity_on_every_isa() {
    announce("a_centred_delta_is_the_identity");
    check_identity::<f32, 1>(5, [7], [37]);
    check_identity::<f32, 2>(3, [3, 5], [9, 11]);
    check_identity::<f32, 2>(17, [3, 3], [5, 18]);
    check_identity::<f32, 2>(33, [1, 1], [7, 7]);
    check_identity::<f32, 3>(2, [3, 1, 3], [3, 4, 9]);
    check_identity::<f64, 1>(3, [5], [29]);
    check_identity::<f64, 2>(9, [3, 3], [5, 10]);
    check_identity::<f64, 3>(2, [1, 3, 3], [3, 4, 5]);
}

/// Two parts of one larger picture: where windows see the same values, outputs have the same bytes.
fn check_shift<T: Element>(way: Way, stride: [usize; 2], shift: [usize; 2], seed: u64) {
    const PICTURE: [usize; 2] = [33, 61];
    let extent = [21, 40];
    let params = Params::<2>::new(2, 9, [3, 4]).padding([1, 2]).stride(stride).dilation([2, 1]);
    let problem = Problem::new(params, 1, extent);
    let mut data = problem.reals::<T>(seed);
    let mut random = Random(seed);
    let picture: Vec<T> = (0..2 * PICTURE[0] * PICTURE[1]).map(|_| T::from_f64(random.integer(5))).collect();
    let mut part = |from: [usize; 2]| {
        for c in 0..2 {
            for h in 0..extent[0] {
                for w in 0..extent[1] {
                    data.x[(c * extent[0] + h) * extent[1] + w] =
                        picture[(c * PICTURE[0] + from[0] + h) * PICTURE[1] + from[1] + w];
                }
            }
        }
        let integers = problem.integers::<T>(seed);
        data.weight.copy_from_slice(&integers.weight);
        problem.run_with(&data, way, &Extras::none(), &mut Workspace::new())
    };
    let moved = [0, 1].map(|a| shift[a] * stride[a]);
    let (y, shifted) = (part([0, 0]), part(moved));
    let [height, width] = problem.params.output_extent(extent).unwrap();
    // Outputs whose windows lie inside the image on both sides.
    let inside = |at: usize, a: usize, begin: usize, window: usize| {
        at * stride[a] >= begin && at * stride[a] - begin + window <= extent[a]
    };
    let mut compared = 0;
    for c in 0..9 {
        for h in 0..height - shift[0] {
            for w in 0..width - shift[1] {
                let rows = inside(h, 0, 1, 5) && inside(h + shift[0], 0, 1, 5);
                if rows && inside(w, 1, 2, 4) && inside(w + shift[1], 1, 2, 4) {
                    let from = (c * height + h + shift[0]) * width + w + shift[1];
                    let (a, b) = (y[from], shifted[(c * height + h) * width + w]);
                    assert!(a == b, "{way:?} {stride:?} {shift:?} at {c} {h} {w}: {a}, not {b}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 0);
}

#[test]
fn a_shifted_input_shifts_the_output_on_every_isa() {
    announce("a_shifted_input_shifts_the_output");
    let shifts: &[[usize; 2]] = if reduced() { &[[1, 1]] } else { &[[0, 1], [1, 0], [1, 1], [2, 3], [3, 5]] };
    for stride in [[1, 1], [2, 1], [1, 2], [2, 3]] {
        for &shift in shifts {
            ways::<f32>().into_iter().for_each(|way| check_shift::<f32>(way, stride, shift, 1));
            ways::<f64>().into_iter().for_each(|way| check_shift::<f64>(way, stride, shift, 2));
        }
    }
}

/// One row of reals, periodic: every window away from the edges gives the bytes of the one a period on, whichever
/// tile and lane computes it.
#[test]
fn a_periodic_input_gives_a_periodic_output_on_every_isa() {
    announce("a_periodic_input_gives_a_periodic_output");
    const PERIOD: usize = 7;
    let mut random = Random(3);
    let period: Vec<f32> = (0..PERIOD).map(|_| random.real() as f32).collect();
    let weight: Vec<f32> = (0..17 * 5).map(|_| random.real() as f32).collect();
    let x: Vec<f32> = period.iter().copied().cycle().take(300).collect();
    for padding in [Padding::Valid, Padding::SameUpper] {
        for way in ways::<f32>() {
            let params = Params::<1>::new(1, 17, [5]).padding(padding);
            let conv: Conv<f32, 1> = way.builder(params).build(&weight).unwrap();
            let y = conv.forward(&x, 1, [300]).unwrap();
            for row in y.chunks_exact(y.len() / 17) {
                let inside = &row[2..row.len() - 2];
                assert_same_bits(&inside[PERIOD..], &inside[..inside.len() - PERIOD], &way);
            }
        }
    }
}
