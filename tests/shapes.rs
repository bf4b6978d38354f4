//! Sizes below, at and above every constant: extents of register tiles, blocks of k, tables of taps, caches.

mod common;

use common::{
    Expected, Extras, Problem, Way, announce, exact_activations, gemm_kernels, holds_positions, reduced,
    tile_extents, ways,
};
use convgemm::{Activation, Algorithm, Element, Isa, Lowering, Padding, Params, Tuning, Workspace};

/// Every kernel of every instruction set, without blocks.
fn kernels<T: Element>() -> Vec<(Way, &'static str)> {
    let of = |isa| gemm_kernels::<T>(isa).map(move |name| (isa, name));
    let way = |(isa, name)| (Way { tuning: Tuning::default().kernel(name), ..Way::auto(isa) }, name);
    Isa::available().into_iter().flat_map(of).map(way).collect()
}

fn check<T: Element, const D: usize>(problem: &Problem<D>, extras: &Extras<T>, ways: &[Way]) {
    let data = problem.reals::<T>(3);
    let expected = Expected::new(&problem.oracle_of(&data, extras), &extras.activation);
    let mut workspace = Workspace::new();
    for way in ways {
        let y = problem.run_with(&data, *way, extras, &mut workspace);
        expected.check(&y, way, problem);
    }
}

/// One problem in every way.
fn check_all<T: Element, const D: usize>(params: Params<D>, batch: usize, extent: [usize; D]) {
    check(&Problem::new(params, batch, extent), &Extras::<T>::none(), &ways::<T>());
}

/// The way as it is, and cut into small blocks, so that partial sums go through memory.
fn whole_and_cut(way: Way) -> [Way; 2] {
    [way, Way { tuning: way.tuning.k_block(4).tap_block(2), ..way }]
}

fn around(size: usize) -> Vec<usize> {
    let sizes = [1, size.saturating_sub(1), size, size + 1, 2 * size + 1];
    let mut sizes: Vec<_> = sizes.into_iter().filter(|&size| size > 0).collect();
    sizes.dedup();
    if reduced() { sizes.into_iter().step_by(2).collect() } else { sizes }
}

/// Channels and positions around each tile's, in one row and over several.
fn check_tiles<T: Element>() {
    for (way, name) in kernels::<T>() {
        let [most_channels, most_positions] = tile_extents(name);
        for channels in around(most_channels) {
            for positions in around(most_positions) {
                let row = Params::<1>::new(2, channels, [3]).padding([1]);
                let extras = Extras { activation: Activation::Relu, ..Extras::all() };
                check::<T, 1>(&Problem::new(row, 1, [positions]), &extras, &whole_and_cut(way));
                let plain = Extras { bias: true, ..Extras::none() };
                check::<T, 1>(&Problem::new(row, 1, [positions]), &plain, &whole_and_cut(way));
                let map = Params::<2>::new(1, channels, [2, 3]).padding([1, 1]).stride([1, 2]);
                check::<T, 2>(&Problem::new(map, 1, [2, 2 * positions]), &Extras::all(), &whole_and_cut(way));
            }
        }
    }
}

#[test]
fn tiles_f32_on_every_isa() {
    announce("tiles_f32");
    check_tiles::<f32>();
}

#[test]
fn tiles_f64_on_every_isa() {
    announce("tiles_f64");
    check_tiles::<f64>();
}

/// Every activation at the edges of the tiles of every kernel.
fn check_epilogues<T: Element>() {
    for (way, name) in kernels::<T>() {
        let [most_channels, most_positions] = tile_extents(name);
        let (channels, positions) = (most_channels + 1, most_positions + 1);
        let problem =
            Problem::new(Params::<2>::new(2 * 3, 2 * channels, [1, 3]).groups(2), 2, [1, positions + 2]);
        for activation in exact_activations::<T>(2 * channels) {
            for residual in [false, true] {
                let extras = Extras { bias: true, residual, activation: activation.clone() };
                check(&problem, &extras, &[way]);
            }
        }
    }
}

#[test]
fn epilogues_f32_on_every_isa() {
    announce("epilogues_f32");
    check_epilogues::<f32>();
}

#[test]
fn epilogues_f64_on_every_isa() {
    announce("epilogues_f64");
    check_epilogues::<f64>();
}

/// k around forced blocks: as channels, as taps of one channel, as both.
fn check_blocks<T: Element>() {
    for k_block in [1, 2, 7, 16, 30] {
        for k in around(k_block) {
            for tap_block in [None, Some(1), Some(4)] {
                let cut = |(mut way, _): (Way, &str)| {
                    way.tuning.k_block = Some(k_block);
                    way.tuning.tap_block = tap_block;
                    way
                };
                let ways: Vec<_> = kernels::<T>().into_iter().map(cut).collect();
                let plain = Extras { bias: true, ..Extras::none() };
                check::<T, 2>(&Problem::new(Params::new(k, 9, [1, 1]), 1, [3, 7]), &plain, &ways);
                check::<T, 1>(&Problem::new(Params::new(1, 9, [k]), 1, [k + 18]), &Extras::all(), &ways);
                let both = Params::new(k.div_ceil(6), 9, [2, 3]).padding([1, 2]);
                check::<T, 2>(&Problem::new(both, 1, [3, 7]), &plain, &ways);
            }
        }
    }
}

#[test]
fn blocks_of_k_f32_on_every_isa() {
    announce("blocks_of_k_f32");
    check_blocks::<f32>();
}

#[test]
fn blocks_of_k_f64_on_every_isa() {
    announce("blocks_of_k_f64");
    check_blocks::<f64>();
}

/// The smallest and the largest blocks that can be asked for.
#[test]
fn extreme_blocks_on_every_isa() {
    announce("extreme_blocks");
    let problem = Problem::new(Params::<2>::new(5, 18, [3, 2]).padding([1, 1]), 1, [5, 9]);
    for k_block in [0, usize::MAX] {
        for tap_block in [0, usize::MAX] {
            let tuning = |way: Way| way.tuning.k_block(k_block).tap_block(tap_block);
            let ways: Vec<_> =
                kernels::<f32>().into_iter().map(|(way, _)| Way { tuning: tuning(way), ..way }).collect();
            check(&problem, &Extras::<f32>::all(), &ways);
        }
    }
}

/// Blocks as the caches set them: prime numbers of channels that need several.
#[test]
fn natural_blocks_of_k_on_every_isa() {
    announce("natural_blocks_of_k");
    for channels in [509, 2053, 4099] {
        let problem = Problem::new(Params::<1>::new(channels, 5, [1]), 1, [19]);
        check::<f32, 1>(&problem, &Extras::none(), &ways::<f32>());
        check::<f64, 1>(&problem, &Extras::none(), &ways::<f64>());
    }
    // Not a multiple of the taps of a channel.
    let problem = Problem::new(Params::<1>::new(331, 5, [13]).padding([6]), 1, [19]);
    check::<f32, 1>(&problem, &Extras::none(), &ways::<f32>());
}

/// Kernels with more taps than a table holds, inside the image and over its edges.
#[test]
fn huge_kernels_on_every_isa() {
    announce("huge_kernels");
    check_all::<f32, 1>(Params::new(2, 3, [3000]), 1, [3020]);
    check_all::<f32, 1>(Params::new(1, 17, [3000]).padding([1500]), 1, [20]);
    check_all::<f64, 1>(Params::new(1, 3, [3001]).pad_begin([2990]).pad_end([7]), 1, [31]);
    check_all::<f32, 2>(Params::new(1, 3, [40, 40]).padding([20, 20]), 1, [9, 11]);
    check_all::<f32, 2>(Params::new(2, 2, [40, 41]).stride([3, 2]), 1, [47, 49]);
    check_all::<f64, 3>(Params::new(1, 2, [11, 12, 13]).padding([5, 6, 6]), 1, [2, 3, 4]);
}

#[test]
fn one_and_three_axes_on_every_isa() {
    announce("one_and_three_axes");
    check_all::<f32, 1>(Params::new(1, 1, [1]), 1, [1]);
    check_all::<f32, 1>(Params::new(13, 31, [5]).padding([2]), 3, [127]);
    check_all::<f32, 1>(Params::new(8, 16, [10]).stride([5]), 1, [211]);
    check_all::<f64, 1>(Params::new(12, 18, [3]).padding([1]).stride([2]).groups(3), 2, [61]);
    check_all::<f32, 3>(Params::new(3, 19, [3, 3, 3]).padding([1, 1, 1]), 2, [5, 6, 7]);
    check_all::<f32, 3>(Params::new(4, 6, [2, 1, 3]).stride([2, 3, 1]).dilation([1, 2, 3]), 1, [5, 7, 17]);
    check_all::<f64, 3>(Params::new(4, 8, [3, 2, 2]).padding([2, 0, 1]).groups(4), 1, [3, 4, 18]);
    check_all::<f32, 3>(Params::new(7, 33, [1, 1, 1]), 1, [3, 5, 7]);
    check_all::<f64, 3>(Params::new(2, 5, [3, 1, 1]).pad_begin([-1, 2, 1]).pad_end([1, 0, -2]), 1, [6, 3, 9]);
}

#[test]
fn primes_and_empty_on_every_isa() {
    announce("primes_and_empty");
    check_all::<f32, 2>(Params::new(13, 37, [3, 5]).padding([1, 2]), 1, [17, 23]);
    check_all::<f64, 2>(Params::new(7, 29, [5, 3]).stride([3, 2]), 2, [19, 31]);
    check_all::<f32, 2>(Params::new(3, 5, [1, 1]), 0, [3, 3]);
    check_all::<f64, 1>(Params::new(3, 5, [3]), 0, [3]);
    check_all::<f32, 2>(Params::new(3, 17, [2, 2]).padding([1, 1]), 2, [0, 5]);
    check_all::<f32, 2>(Params::new(3, 17, [2, 2]).padding([1, 1]), 2, [5, 0]);
    check_all::<f32, 3>(Params::new(1, 2, [2, 2, 2]).padding([1, 2, 3]), 1, [0, 0, 0]);
}

#[test]
fn large_dilation_on_every_isa() {
    announce("large_dilation");
    check_all::<f32, 2>(Params::new(3, 18, [3, 3]).padding([12, 12]).dilation([12, 12]), 1, [33, 33]);
    check_all::<f32, 1>(Params::new(2, 17, [3]).padding([100]).dilation([100]), 1, [128]);
    check_all::<f64, 1>(Params::new(2, 9, [4]).padding([60]).dilation([100]).stride([7]), 1, [401]);
    check_all::<f32, 2>(Params::new(2, 5, [2, 3]).padding([0, 40]).dilation([31, 40]), 1, [32, 7]);
}

#[test]
fn pads_larger_than_kernels_on_every_isa() {
    announce("pads_larger_than_kernels");
    check_all::<f32, 2>(Params::new(2, 17, [3, 3]).padding([7, 20]), 1, [4, 5]);
    check_all::<f32, 1>(Params::new(1, 3, [1]).padding([50]), 2, [3]);
    check_all::<f64, 2>(
        Params::new(3, 9, [1, 2]).pad_begin([0, 33]).pad_end([9, 0]).stride([1, 3]),
        1,
        [5, 4],
    );
    check_all::<f32, 2>(Params::new(2, 4, [1, 1]).pad_begin([3, -2]).pad_end([-3, 2]), 1, [9, 9]);
    // Cropped before and padded behind: no window reads the image.
    check_all::<f32, 1>(Params::new(2, 4, [2]).pad_begin([-5]).pad_end([25]), 1, [5]);
}

#[test]
fn kernels_larger_than_the_image_on_every_isa() {
    announce("kernels_larger_than_the_image");
    check_all::<f32, 2>(Params::new(2, 17, [7, 9]).padding([3, 4]), 1, [2, 3]);
    check_all::<f32, 2>(Params::new(3, 3, [5, 5]).padding([4, 4]).stride([2, 1]), 2, [1, 1]);
    check_all::<f64, 1>(Params::new(1, 5, [33]).padding([16]), 1, [7]);
}

/// 1×1 kernels whose output has the image's extents, but not its elements.
#[test]
fn images_that_look_like_their_own_matrix_on_every_isa() {
    announce("images_that_look_like_their_own_matrix");
    check_all::<f32, 1>(Params::new(3, 17, [1]).stride([2]).pad_end([39]), 1, [40]);
    check_all::<f64, 1>(Params::new(3, 17, [1]).stride([3]).pad_begin([1]).pad_end([57]), 1, [30]);
    check_all::<f32, 2>(Params::new(2, 9, [1, 1]).pad_begin([0, 2]).pad_end([0, -2]), 2, [7, 19]);
    check_all::<f32, 2>(Params::new(2, 9, [1, 1]).pad_begin([-1, 0]).pad_end([1, 0]), 2, [7, 19]);
    check_all::<f32, 2>(Params::new(2, 9, [1, 1]).stride([2, 1]).pad_end([6, 0]), 1, [7, 19]);
    check_all::<f32, 2>(Params::new(2, 9, [3, 1]).padding([1, 0]), 1, [7, 19]);
}

/// Images that are their own matrix, read in place by tiles with positions in the lanes: the last positions of an image, which such a
/// tile would read beyond, with and without the channels cut into parts.
#[test]
fn last_positions_in_place_on_every_isa() {
    fn check_last<T: Element>() {
        let in_place = |(way, _): (Way, &str)| {
            let tuning = way.tuning.lowering(Lowering::InPlace);
            let parts = [1, 3, 7].map(|parts| tuning.parts(parts));
            [tuning.parts(2).k_block(2), parts[0], parts[1], parts[2]].map(|tuning| Way { tuning, ..way })
        };
        let ways: Vec<_> =
            kernels::<T>().into_iter().filter(|(_, name)| holds_positions(name)).flat_map(in_place).collect();
        for positions in [1, 4, 7, 8, 9, 15, 17, 31, 33, 49, 52] {
            for channels in [5, 24, 40, 67] {
                let problem = Problem::new(Params::<1>::new(5, channels, [1]), 2, [positions]);
                check::<T, 1>(&problem, &Extras { bias: true, ..Extras::none() }, &ways);
            }
            let grouped = Problem::new(Params::<1>::new(4, 2 * 19, [1]).groups(2), 1, [positions]);
            check::<T, 1>(&grouped, &Extras { activation: Activation::Relu, ..Extras::all() }, &ways);
        }
    }
    announce("last_positions_in_place");
    check_last::<f32>();
    check_last::<f64>();
}

/// Maps whose rows are shorter than a vector, packed.
#[test]
fn narrow_packed_maps_on_every_isa() {
    fn check_narrow<T: Element>() {
        let packed: Vec<_> = kernels::<T>()
            .into_iter()
            .filter(|(_, name)| holds_positions(name))
            .flat_map(|(way, _)| whole_and_cut(Way { tuning: way.tuning.lowering(Lowering::Packed), ..way }))
            .collect();
        for width in (1..=9).chain([15, 16, 17, 31, 33]) {
            let plain = Extras { bias: true, ..Extras::none() };
            let of = |params, height| Problem::<2>::new(params, 1, [height, width]);
            check::<T, 2>(&of(Params::new(2, 5, [3, 3]).padding([1, 1]), 19), &plain, &packed);
            check::<T, 2>(&of(Params::new(3, 9, [1, 1]), 13), &Extras::all(), &packed);
            let strided = Params::new(2, 5, [3, 2]).padding([1, 1]).stride([2, 2]).dilation([2, 1]);
            check::<T, 2>(&of(strided, 40), &plain, &packed);
        }
        let depth = Params::<3>::new(2, 5, [2, 3, 1]).padding([1, 1, 0]);
        check::<T, 3>(&Problem::new(depth, 2, [5, 4, 1]), &Extras::none(), &packed);
    }
    announce("narrow_packed_maps");
    check_narrow::<f32>();
    check_narrow::<f64>();
}

/// Planes a multiple of 4 KiB apart.
#[test]
fn power_of_two_maps_on_every_isa() {
    announce("power_of_two_maps");
    let sizes: &[usize] = if reduced() { &[32] } else { &[32, 64, 128] };
    for &size in sizes {
        check_all::<f32, 2>(Params::new(2, 17, [3, 3]).padding([1, 1]), 1, [size, size]);
        check_all::<f32, 2>(Params::new(3, 16, [1, 1]), 1, [size, size]);
    }
    check_all::<f64, 2>(Params::new(2, 8, [3, 3]).padding([1, 1]), 1, [32, 32]);
}

/// Strides longer than kernels, and strides that no lane shuffle knows.
#[test]
fn strides_on_every_isa() {
    announce("strides");
    for stride in [2, 3, 4, 5, 17] {
        for begin in 0..stride.min(4) {
            let params = Params::new(2, 17, [2]).stride([stride]).pad_begin([begin as isize]);
            check_all::<f32, 1>(params, 1, [stride * 37 + 1]);
            check_all::<f64, 1>(params, 1, [stride * 19 + 2]);
        }
    }
}

/// Channels of a group around the lanes, so that a group ends inside a panel of weights.
#[test]
fn groups_on_every_isa() {
    announce("groups");
    for per_group in [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33] {
        for groups in [2, 5] {
            let params = Params::new(groups * 2, groups * per_group, [2, 2]).groups(groups);
            let problem = Problem::new(params, 2, [3, 9]);
            check::<f32, 2>(&problem, &Extras::all(), &ways::<f32>());
            check::<f64, 2>(&problem, &Extras { bias: true, ..Extras::none() }, &ways::<f64>());
        }
    }
}

/// What a plan says is what was forced.
#[test]
fn plans_name_what_is_forced_on_every_isa() {
    announce("plans_name_what_is_forced");
    let problem = Problem::new(Params::<2>::new(3, 5, [3, 3]).padding([1, 1]), 1, [8, 8]);
    let data = problem.reals::<f32>(1);
    for (way, name) in kernels::<f32>() {
        let plan = way.build(&problem, &data, &Activation::Identity).plan(1, [8, 8]).unwrap();
        assert_eq!((plan.isa(), plan.kernel(), plan.algorithm()), (way.isa, name, Algorithm::Gemm));
        let lowering = if holds_positions(name) { Lowering::Packed } else { Lowering::InPlace };
        assert_eq!(plan.lowering(), lowering);
    }
}

/// An image without elements whose other extents multiply to more than there is; found by fuzzing.
#[test]
fn an_empty_image_may_be_as_wide_as_can_be_on_every_isa() {
    announce("an_empty_image_may_be_as_wide_as_can_be");
    let large = 1 << 40;
    let params = Params::new(2, 5, [1, 1, 1]).padding([1, 0, 0]).stride([1, 2 * large, 2 * large]);
    let problem = Problem::new(params, 1, [0, large, large]);
    let mut engine = ways::<f32>();
    engine.retain(|way| way.algorithm != Algorithm::Im2col);
    check::<f32, 3>(&problem, &Extras { bias: true, ..Extras::none() }, &engine);
}

/// So large that whole lines go past the caches, and aligned to lines first: rows begin at any offset from one.
#[test]
fn outputs_larger_than_the_caches_on_every_isa() {
    announce("outputs_larger_than_the_caches");
    for (params, extent) in [
        (Params::<2>::new(1, 9, [2, 2]).padding([1, 0]), [480, 513]),
        (Params::<2>::new(2, 9, [1, 1]), [480, 512]),
        (Params::<2>::new(1, 9, [1, 3]).stride([1, 2]), [480, 1025]),
    ] {
        let problem = Problem::new(params, 1, extent);
        let data = problem.reals::<f32>(7);
        let expected = Expected::new(&problem.oracle(&data, &Activation::Relu), &Activation::Relu);
        let mut ways = ways::<f32>();
        ways.retain(|way| way.tuning.kernel.is_none_or(|name| name.contains("positions_8x") && !reduced()));
        for way in ways {
            let y = problem.run(&data, way, &Activation::Relu, false, &mut Workspace::new());
            expected.check(&y, &way, &problem);
        }
    }
}

/// A batch without images, each of which would have a matrix of windows larger than memory; found by fuzzing.
#[test]
fn an_empty_batch_of_images_as_large_as_can_be_on_every_isa() {
    announce("an_empty_batch_of_images_as_large_as_can_be");
    let padding = Padding::Explicit { begin: [0], end: [1 << 60] };
    let problem = Problem::new(Params::new(1, 1, [11]).padding(padding).stride([3]), 0, [9]);
    check::<f32, 1>(&problem, &Extras { bias: true, ..Extras::none() }, &ways::<f32>());
}

/// Bands of copied rows that end in the middle of a row: where a tile does, and elsewhere.
#[test]
fn bands_that_end_in_a_row_on_every_isa() {
    announce("bands_that_end_in_a_row");
    let strided = Params::new(40, 33, [1, 1]).stride([2, 2]);
    let padded = Params::new(5, 33, [3, 3]).padding([1, 1]);
    for (way, name) in kernels::<f32>().into_iter().filter(|(_, name)| holds_positions(name)) {
        let [_, positions] = tile_extents(name);
        for (params, extent) in [(strided, [13, 57]), (padded, [7, 29])] {
            let problem = Problem::new(params, 1, extent);
            let tunings = [2 * positions, positions + 5].map(|most| way.tuning.positions(most));
            let [whole, cut] = [tunings[0], tunings[1].parts(3)].map(|tuning| Way { tuning, ..way });
            let weight = vec![0f32; params.weight_len().unwrap()];
            let plan = whole.builder(params).build(&weight).unwrap().plan(1, extent).unwrap().to_string();
            assert!(plan.contains(&format!("bands      of {} output positions in", 2 * positions)), "{plan}");
            check::<f32, 2>(&problem, &Extras { bias: true, ..Extras::none() }, &[whole, cut]);
        }
    }
}

/// Tiles whose outputs the next one stores: of as many positions, of fewer, in the next row, of other channels and of another block of k.
fn outputs_left_to_the_next_tile<T: Element>(name: &str) {
    announce(name);
    for (way, name) in kernels::<T>().into_iter().filter(|(_, name)| !holds_positions(name)) {
        let [channels, positions] = tile_extents(name);
        let wide = ([3, 3], [1, 1], [2, 4 * positions + 3]);
        for (kernel, padding, extent) in
            [([1, 1], [0, 0], [2, 3 * positions]), ([1, 3], [0, 1], [2, 2 * positions]), wide]
        {
            let params = Params::new(channels + 3, channels + 5, kernel).padding(padding);
            let problem = Problem::new(params, 2, extent);
            let in_blocks = way.tuning.k_block(channels * kernel[0] * kernel[1]);
            let tunings = [way.tuning, in_blocks, way.tuning.parts(3)].map(|tuning| Way { tuning, ..way });
            for activation in [Activation::Identity, Activation::Relu] {
                check::<T, 2>(&problem, &Extras { bias: true, residual: false, activation }, &tunings);
            }
        }
    }
}

#[test]
fn outputs_left_to_the_next_tile_f32_on_every_isa() {
    outputs_left_to_the_next_tile::<f32>("outputs_left_to_the_next_tile_f32");
}

#[test]
fn outputs_left_to_the_next_tile_f64_on_every_isa() {
    outputs_left_to_the_next_tile::<f64>("outputs_left_to_the_next_tile_f64");
}
