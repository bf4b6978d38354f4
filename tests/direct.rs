//! The direct tiles against the oracle: every kernel, stride and edge that they are made for, on every instruction set.

mod common;

use common::{Expected, Extras, Problem, announce, direct_ways, reduced};
use convgemm::{
    Activation, Algorithm, Conv2d, Element, Error, Isa, Lowering, Orientation, Params, Tuning, Workspace,
    kernel_names,
};

/// One problem with every direct tile that applies; where a group has one output channel, fewer than any vector has lanes, there has to
/// be one for each instruction set.
fn check<T: Element, const D: usize>(
    params: Params<D>,
    batch: usize,
    extent: [usize; D],
    extras: &Extras<T>,
) {
    let problem = Problem::new(params, batch, extent);
    let data = problem.reals::<T>(11);
    let oracle = Expected::new(&problem.oracle_of(&data, extras), &extras.activation);
    let ways = direct_ways::<T, D>(&problem);
    let ran = |isa| ways.iter().any(|way| way.isa == isa);
    let all_ran = Isa::available().into_iter().all(ran);
    // Of more output channels in a group than a vector has lanes, short vectors compute none directly.
    let expected = match params.out_channels / params.groups {
        1 => all_ran,
        2..4 => !ways.is_empty(),
        _ => true,
    };
    assert!(expected, "{problem:?}");
    let mut workspace = Workspace::new();
    for way in ways {
        let y = problem.run_with(&data, way, extras, &mut workspace);
        oracle.check(&y, &way, &problem);
    }
}

/// Kernels, strides, dilations and numbers of axes for which no tile is made.
#[test]
fn any_kernel_on_every_isa() {
    announce("any_kernel");
    for (kernel, stride, dilation, padding) in [
        ([1, 1], [1, 1], [1, 1], [0, 0]),
        ([1, 31], [1, 1], [1, 1], [0, 15]),
        ([31, 1], [1, 1], [1, 1], [15, 0]),
        ([3, 3], [3, 3], [1, 1], [1, 1]),
        ([3, 3], [1, 1], [2, 2], [2, 2]),
        ([3, 5], [5, 2], [2, 3], [7, 1]),
        ([9, 9], [1, 1], [1, 1], [4, 4]),
        ([9, 4], [1, 1], [1, 1], [8, 3]),
        ([2, 65], [1, 1], [1, 1], [1, 40]),
        ([5, 3], [1, 1], [3, 5], [6, 5]),
        ([3, 3], [1, 1], [12, 9], [12, 9]),
        ([5, 5], [1, 1], [2, 1], [4, 2]),
        ([7, 7], [1, 1], [3, 3], [9, 9]),
        ([2, 4], [7, 9], [1, 1], [0, 3]),
    ] {
        for (c_in, c_out, groups) in [(3, 3, 3), (4, 2, 2), (2, 6, 2)] {
            let params = Params::new(c_in, c_out, kernel).groups(groups);
            let params = params.stride(stride).dilation(dilation).padding(padding);
            let extents: &[_] = if reduced() { &[[33, 40]] } else { &[[33, 40], [32, 31], [40, 67]] };
            for &extent in extents {
                check::<f32, 2>(params, if reduced() { 1 } else { 2 }, extent, &Extras::none());
                check::<f64, 2>(params, 1, extent, &Extras::none());
            }
        }
    }
}

#[test]
fn one_and_three_axes_on_every_isa() {
    announce("one_and_three_axes");
    for (kernel, stride, dilation, padding) in [(3, 1, 1, 1), (31, 1, 1, 15), (4, 2, 3, 0), (5, 6, 1, 2)] {
        let params = Params::<1>::new(6, 6, [kernel]).groups(6);
        let params = params.stride([stride]).dilation([dilation]).padding([padding]);
        for extent in [33, 500] {
            check::<f32, 1>(params, 2, [extent], &Extras::all());
        }
    }
    for (kernel, stride, dilation, padding) in
        [(3, 1, 1, 1), (5, 1, 1, 2), (3, 2, 1, 1), (2, 3, 2, 0), (3, 1, 2, 2), (4, 1, 1, 3)]
    {
        for (c_in, groups) in [(4, 4), (6, 2)] {
            let params = Params::<3>::new(c_in, groups, [kernel; 3]).groups(groups);
            let params = params.stride([stride; 3]).dilation([dilation; 3]).padding([padding; 3]);
            for extent in [[5, 9, 12], [8, 7, 35]] {
                check::<f32, 3>(params, 1, extent, &Extras::all());
            }
        }
    }
}

/// Vectors of channels that are not full, several output channels of one, planes larger than what is transposed at a time: several bands of
/// rows, and rows in several parts.
#[test]
fn channels_in_lanes_on_every_isa() {
    announce("channels_in_lanes");
    let extras = Extras { activation: Activation::Relu, ..Extras::all() };
    for (c_in, c_out) in [(17, 17), (5, 15), (3, 21)] {
        for (kernel, stride, dilation) in [(7, 1, 1), (5, 2, 1), (4, 3, 1), (3, 1, 4), (9, 2, 1)] {
            let layer =
                Params::<1>::new(c_in, c_out, [kernel]).groups(c_in).stride([stride]).dilation([dilation]);
            check::<f32, 1>(layer.padding([kernel / 2]), 1, [if reduced() { 4200 } else { 9001 }], &extras);
            let layer = Params::<2>::new(c_in, c_out, [kernel; 2]).groups(c_in);
            let layer = layer.stride([stride; 2]).dilation([dilation; 2]).padding([kernel / 2, kernel / 2]);
            let extents: &[_] = if reduced() { &[[7, 7]] } else { &[[7, 7], [14, 15], [130, 40]] };
            for &extent in extents {
                check::<f32, 2>(layer, 1, extent, &extras);
                check::<f64, 2>(layer, 1, extent, &Extras::none());
            }
        }
    }
}

/// Widths around one and two vectors of outputs, heights around the rows of a tile.
fn check_extents<T: Element>() {
    let widths =
        if reduced() { vec![1, 7, 33] } else { vec![1, 2, 7, 8, 9, 14, 15, 16, 17, 31, 32, 33, 50, 113] };
    for (kernel, strides) in [(2, 2..=2), (3, 1..=3), (4, 2..=2), (5, 1..=2), (7, 1..=2)] {
        for stride in strides {
            for &width in &widths {
                for height in [1, 4, 7, 9] {
                    let params = Params::new(2, 2, [kernel, kernel])
                        .stride([stride, stride])
                        .padding([kernel / 2, kernel / 2])
                        .groups(2);
                    check::<T, 2>(params, 1, [height * stride, width * stride], &Extras::none());
                }
            }
        }
    }
}

#[test]
fn extents_f32_on_every_isa() {
    announce("extents_f32");
    check_extents::<f32>();
}

#[test]
fn extents_f64_on_every_isa() {
    announce("extents_f64");
    check_extents::<f64>();
}

/// Padding on each side by itself, more than the kernel, none, and cropping.
fn check_padding<T: Element>() {
    for kernel in [3, 5] {
        for stride in [1, 2] {
            for [top, left, bottom, right] in
                [[0, 0, 0, 0], [1, 0, 0, 4], [0, 9, 0, 0], [0, 0, 9, 0], [-2, -1, 3, 2], [1, 2, -3, -4]]
            {
                let params = Params::new(3, 3, [kernel, kernel]).stride([stride, stride]).groups(3);
                let params = params.pad_begin([top, left]).pad_end([bottom, right]);
                for extent in [[12, 13], [10, 41]] {
                    check::<T, 2>(params, 2, extent, &Extras::none());
                }
            }
        }
    }
}

#[test]
fn padding_f32_on_every_isa() {
    announce("padding_f32");
    check_padding::<f32>();
}

#[test]
fn padding_f64_on_every_isa() {
    announce("padding_f64");
    check_padding::<f64>();
}

/// Rows are loaded in a way of their own where windows begin beside the cache lines that their centers begin with.
fn check_beginnings<T: Element>() {
    for (stride, padding, extent) in [(2, 1, [9, 96]), (2, 1, [6, 70]), (2, 0, [7, 67]), (1, 1, [8, 33])] {
        let params = Params::new(3, 3, [3, 3]).stride([stride; 2]).padding([padding; 2]).groups(3);
        let problem = Problem::new(params, 1, extent);
        let data = problem.reals::<T>(5);
        let extras = Extras::none();
        let oracle = Expected::new(&problem.oracle_of(&data, &extras), &extras.activation);
        let line = 64 / size_of::<T>();
        let mut padded = vec![T::ZERO; data.x.len() + 2 * line];
        let first = padded.as_ptr().align_offset(64);
        let mut workspace = Workspace::new();
        for way in direct_ways::<T, 2>(&problem) {
            let conv = way.build_with(&problem, &data, &extras);
            let mut y = vec![T::ZERO; conv.geometry(1, extent).unwrap().output_len()];
            for ahead in 0..line {
                let x = &mut padded[first + ahead..][..data.x.len()];
                x.copy_from_slice(&data.x);
                y.fill(T::from_f64(f64::NAN));
                conv.forward_into(x, 1, extent, &mut y, &mut workspace).unwrap();
                oracle.check(&y, &way, &(&problem, ahead));
            }
        }
    }
}

#[test]
fn wherever_the_image_begins_on_every_isa() {
    announce("wherever_the_image_begins");
    check_beginnings::<f32>();
    check_beginnings::<f64>();
}

/// One plane to several, several to one, several groups of each, with every part of an epilogue.
#[test]
fn channels_and_epilogues_on_every_isa() {
    announce("channels_and_epilogues");
    for (c_in, c_out, groups) in [(1, 1, 1), (1, 3, 1), (5, 1, 1), (4, 4, 2), (3, 6, 3), (6, 3, 3)] {
        for stride in [1, 2] {
            let params =
                Params::new(c_in, c_out, [3, 3]).stride([stride, stride]).padding([1, 1]).groups(groups);
            for activation in [Activation::Identity, Activation::Relu6, Activation::Silu] {
                check::<f32, 2>(params, 2, [9, 21], &Extras { activation, ..Extras::all() });
            }
        }
    }
}

#[test]
fn it_is_chosen_for_depthwise_layers_and_refused_where_it_does_not_apply() {
    let isa = Isa::available()[0];
    let depthwise = |stride| {
        let builder = Conv2d::builder(32, 32, [3, 3]).stride(stride).padding([1, 1]).groups(32).isa(isa);
        builder.build(&[0.5; 32 * 9]).unwrap()
    };
    let plan = depthwise([1, 1]).plan(1, [112, 112]).unwrap();
    assert_eq!(plan.algorithm(), Algorithm::Direct, "{plan}");
    assert_eq!(plan.scratch_bytes() == 0, plan.lowering() == Lowering::InPlace, "{plan}");
    let large = Conv2d::builder(96, 96, [7, 7]).padding([3, 3]).groups(96).isa(isa);
    let plan = large.build(&[0.5; 96 * 49]).unwrap().plan(1, [56, 56]).unwrap();
    assert_eq!(plan.orientation(), Some(Orientation::ChannelsInLanes), "{plan}");
    // No tile is made for this one, which reads copied rows.
    let plan = depthwise([2, 1]).plan(1, [112, 112]).unwrap();
    assert_eq!((plan.algorithm(), plan.lowering()), (Algorithm::Direct, Lowering::Packed), "{plan}");
    let wide = Conv2d::builder(3, 64, [3, 3]).algorithm(Algorithm::Direct).isa(isa);
    let wide = wide.build(&[0.5; 64 * 27]).unwrap();
    let refused = wide.forward(&[1.0; 3 * 64], 1, [8, 8]).unwrap_err();
    assert!(matches!(&refused, Error::NotApplicable { what, .. } if what.contains("Direct")), "{refused}");
}

/// Padding that is far wider than the image does not make scratch larger.
#[test]
fn scratch_stays_small_on_every_isa() {
    announce("scratch_stays_small");
    for isa in Isa::available() {
        for (kernel, padding, extent) in
            [([3, 3], [1, 1], [2000, 3000]), ([5, 1], [2, 90_000], [9, 9]), ([1, 999], [0, 499], [2, 70_000])]
        {
            let conv = Conv2d::builder(20, 20, kernel)
                .padding(padding)
                .groups(20)
                .isa(isa)
                .algorithm(Algorithm::Direct);
            let conv = conv.build(&vec![0.5; 20 * kernel[0] * kernel[1]]).unwrap();
            let plan = conv.plan(1, extent).unwrap();
            assert!(plan.scratch_bytes() <= 1 << 20, "{plan}");
            for name in
                kernel_names::<f32>(isa).unwrap().into_iter().filter(|name| name.contains("_depthwise_"))
            {
                let conv = Conv2d::builder(20, 20, kernel).padding(padding).groups(20).isa(isa);
                let conv = conv
                    .tuning(Tuning::default().kernel(name))
                    .build(&vec![0.5; 20 * kernel[0] * kernel[1]])
                    .unwrap();
                let plan = conv.plan(1, extent).unwrap();
                assert!(plan.scratch_bytes() <= 1 << 20, "{plan}");
            }
        }
    }
}

/// Windows and taps so far apart that multiples of the distance are no address.
#[test]
fn far_apart_on_every_isa() {
    announce("far_apart");
    let far = isize::MAX as usize / 2;
    for (kernel, stride, dilation, padding) in [(3, far, 1, 1), (1, far, 1, 0), (2, far, far / 4, far / 8)] {
        let params = Params::<1>::new(3, 3, [kernel])
            .groups(3)
            .stride([stride])
            .dilation([dilation])
            .padding([padding]);
        check::<f32, 1>(params, 1, [9], &Extras::none());
        let params = Params::<2>::new(3, 3, [kernel; 2]).groups(3);
        let params = params.stride([stride; 2]).dilation([dilation; 2]).padding([padding; 2]);
        check::<f64, 2>(params, 1, [9, 7], &Extras::none());
    }
}
