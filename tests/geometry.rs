//! Output extents, padding, receptive fields and chains of layers against counting.

mod common;

use common::{for_all, problems};
use convgemm::{Geometry, Padding, Params, ReceptiveField, output_extents, receptive_field};
use proptest::prelude::*;

const REGRESSIONS: &str = "proptest-regressions/geometry.txt";

/// Windows, one after the other, until one does not fit into `padded`.
fn count_windows(padded: i64, kernel: i64, stride: i64, dilation: i64) -> usize {
    (0..).take_while(|p| p * stride + (kernel - 1) * dilation < padded).count()
}

/// ONNX, operator Conv, attribute auto_pad: (output extent, padding before, padding behind).
fn onnx_same(input: i64, kernel: i64, stride: i64, dilation: i64, upper: bool) -> (i64, i64, i64) {
    let output = (input as f64 / stride as f64).ceil() as i64;
    let total = ((output - 1) * stride + ((kernel - 1) * dilation + 1) - input).max(0);
    let (less, more) = (total / 2, total - total / 2);
    if upper { (output, less, more) } else { (output, more, less) }
}

#[test]
fn output_extents_count_the_windows() {
    let pads = [-3, -1, 0, 1, 2, 7];
    for kernel in 1..=5 {
        for stride in 1..=4 {
            for dilation in 1..=3 {
                for (begin, end) in pads.iter().flat_map(|&b| pads.map(|e| (b, e))) {
                    for input in 0..=14 {
                        let params = Params::<1>::new(1, 1, [kernel])
                            .stride([stride])
                            .dilation([dilation])
                            .pad_begin([begin])
                            .pad_end([end]);
                        let padded = input as i64 + begin as i64 + end as i64;
                        let count = count_windows(padded, kernel as i64, stride as i64, dilation as i64);
                        let output = params.output_extent([input]);
                        // No window at all is an error.
                        assert_eq!(output.unwrap_or([0]), [count], "{params:?} {input}");
                    }
                }
            }
        }
    }
}

#[test]
fn same_padding_is_onnxs() {
    for kernel in 1..=6 {
        for stride in 1..=5 {
            for dilation in 1..=3 {
                for input in 1..=17 {
                    for (padding, upper) in [(Padding::SameUpper, true), (Padding::SameLower, false)] {
                        let params = Params::<1>::new(1, 1, [kernel]);
                        let params = params.stride([stride]).dilation([dilation]).padding(padding);
                        let geometry = params.geometry(1, [input]).unwrap();
                        let (output, begin, end) =
                            onnx_same(input as i64, kernel as i64, stride as i64, dilation as i64, upper);
                        assert_eq!(geometry.output_extent(), [output as usize], "{params:?} {input}");
                        assert_eq!(geometry.pad_begin(), [begin as isize], "{params:?} {input}");
                        let explicit = params.pad_begin([begin as isize]).pad_end([end as isize]);
                        assert_eq!(explicit.output_extent([input]), Ok([output as usize]));
                    }
                }
            }
        }
    }
}

#[test]
fn same_padding_is_per_axis() {
    let params = Params::<3>::new(1, 1, [2, 3, 4]).stride([1, 2, 3]).dilation([3, 1, 2]);
    let upper = params.padding(Padding::SameUpper).geometry(1, [5, 6, 7]).unwrap();
    assert_eq!((upper.output_extent(), upper.pad_begin()), ([5, 3, 3], [1, 0, 3]));
    let lower = params.padding(Padding::SameLower).geometry(1, [5, 6, 7]).unwrap();
    assert_eq!((lower.output_extent(), lower.pad_begin()), ([5, 3, 3], [2, 1, 3]));
}

#[test]
fn padding_setters_keep_the_other_side() {
    let params = Params::<2>::new(1, 1, [3, 3]).padding([1, 2]);
    let explicit = |begin, end| Padding::Explicit { begin, end };
    assert_eq!(params.padding, explicit([1, 2], [1, 2]));
    assert_eq!(params.pad_begin([5, -6]).padding, explicit([5, -6], [1, 2]));
    assert_eq!(params.pad_end([5, -6]).padding, explicit([1, 2], [5, -6]));
    assert_eq!(params.padding(Padding::SameLower).pad_end([5, 6]).padding, explicit([0, 0], [5, 6]));
    assert_eq!(params.padding(Padding::Valid).pad_begin([5, 6]).padding, explicit([5, 6], [0, 0]));
    assert_eq!(Padding::from([usize::MAX]), Padding::Explicit { begin: [isize::MAX], end: [isize::MAX] });
}

#[test]
fn textbook_shapes() {
    // Zhang, Lipton, Li, Smola, "Dive into Deep Learning", 2023, sections 7.2 and 7.3.
    let layer = |kernel| Params::<2>::new(1, 1, kernel);
    assert_eq!(layer([1, 2]).output_extent([6, 8]), Ok([6, 7]));
    assert_eq!(layer([3, 3]).padding([1, 1]).output_extent([8, 8]), Ok([8, 8]));
    assert_eq!(layer([5, 3]).padding([2, 1]).output_extent([8, 8]), Ok([8, 8]));
    assert_eq!(layer([3, 3]).padding([1, 1]).stride([2, 2]).output_extent([8, 8]), Ok([4, 4]));
    assert_eq!(layer([3, 5]).padding([0, 1]).stride([3, 4]).output_extent([8, 8]), Ok([2, 2]));
}

/// All sizes of a geometry against products of its parts.
fn check_sizes<const D: usize>(geometry: &Geometry<D>) {
    let params = *geometry.params();
    let product = |extents: [usize; D]| extents.iter().product::<usize>();
    let (inputs, outputs) = (product(geometry.input_extent()), product(geometry.output_extent()));
    let k = params.in_channels / params.groups * product(params.kernel);
    assert_eq!(geometry.input_len(), geometry.batch() * params.in_channels * inputs);
    assert_eq!(geometry.output_len(), geometry.batch() * params.out_channels * outputs);
    assert_eq!(geometry.weight_len(), params.out_channels * k);
    assert_eq!(params.weight_len(), Ok(params.out_channels * k));
    assert_eq!(geometry.columns_len(), Ok(geometry.batch() * params.groups * k * outputs));
    assert_eq!(geometry.macs(), (geometry.output_len() * k) as u128);
}

#[test]
fn sizes_are_products() {
    fn check<const D: usize>() {
        for_all(256, REGRESSIONS, problems::<D>(), |problem| {
            let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
            assert_eq!((geometry.batch(), geometry.input_extent()), (problem.batch, problem.extent));
            assert_eq!(problem.params.output_extent(problem.extent), Ok(geometry.output_extent()));
            check_sizes(&geometry);
        });
    }
    check::<1>();
    check::<2>();
    check::<3>();
}

/// (kernel, stride, dilation, padding) of layers over one axis.
type Chain = Vec<(usize, usize, usize, isize)>;

fn chains() -> impl Strategy<Value = Chain> {
    proptest::collection::vec((1..=4_usize, 1..=3_usize, 1..=3_usize, -1..=3_isize), 0..=4)
}

fn layers(chain: &Chain) -> Vec<Params<1>> {
    let layer = |&(kernel, stride, dilation, pad): &(usize, usize, usize, isize)| {
        Params::new(1, 1, [kernel]).stride([stride]).dilation([dilation]).pad_begin([pad]).pad_end([pad])
    };
    chain.iter().map(layer).collect()
}

/// First and last input coordinate that influences output `p` of a chain, by following each tap of each layer back.
fn influences(chain: &Chain, p: i64) -> (i64, i64) {
    let mut seen = std::collections::BTreeSet::from([p]);
    for &(kernel, stride, dilation, pad) in chain.iter().rev() {
        let taps = |at: &i64| {
            let first = at * stride as i64 - pad as i64;
            (0..kernel as i64).map(move |k| first + k * dilation as i64)
        };
        seen = seen.iter().flat_map(taps).collect();
    }
    (*seen.first().unwrap(), *seen.last().unwrap())
}

#[test]
fn receptive_fields_are_what_influences_an_output() {
    for_all(512, REGRESSIONS, chains(), |chain| {
        let (first, last) = influences(chain, 5);
        let (next, _) = influences(chain, 6);
        let expected =
            ReceptiveField { size: [(last - first + 1) as usize], stride: [(next - first) as usize] };
        assert_eq!(receptive_field(&layers(chain)), Ok(expected));
    });
}

#[test]
fn output_extents_of_chains_count_windows_layer_by_layer() {
    for_all(512, REGRESSIONS, (chains(), 0..60_usize), |(chain, input)| {
        let mut expected = Some(vec![]);
        let mut extent = *input as i64;
        for &(kernel, stride, dilation, pad) in chain {
            let padded = extent + 2 * pad as i64;
            extent = count_windows(padded, kernel as i64, stride as i64, dilation as i64) as i64;
            expected = expected.filter(|_| extent > 0);
            expected.iter_mut().for_each(|extents| extents.push([extent as usize]));
        }
        assert_eq!(output_extents(&layers(chain), [*input]).ok(), expected);
    });
}

#[test]
fn axes_of_chains_are_independent() {
    let first = Params::<3>::new(2, 4, [3, 1, 5]).stride([2, 1, 3]).dilation([1, 2, 2]);
    let second = Params::<3>::new(4, 4, [3, 3, 2]).stride([1, 2, 2]).padding([1, 1, 0]);
    let field = receptive_field(&[first, second]).unwrap();
    assert_eq!(field, ReceptiveField { size: [7, 3, 12], stride: [2, 2, 6] });
    assert_eq!(output_extents(&[first, second], [21, 9, 33]), Ok(vec![[10, 9, 9], [10, 5, 4]]));
    assert_eq!(receptive_field::<2>(&[]), Ok(ReceptiveField { size: [1, 1], stride: [1, 1] }));
    assert_eq!(output_extents::<2>(&[], [3, 4]), Ok(vec![]));
}

/// VGG16's thirteen layers and five poolings see 212 pixels, 32 apart.
#[test]
fn a_known_network() {
    let conv = Params::<2>::new(1, 1, [3, 3]).padding([1, 1]);
    let pool = Params::<2>::new(1, 1, [2, 2]).stride([2, 2]);
    let blocks = [2, 2, 3, 3, 3].map(|convs| [vec![conv; convs], vec![pool]].concat());
    let network = blocks.concat();
    assert_eq!(receptive_field(&network), Ok(ReceptiveField { size: [212, 212], stride: [32, 32] }));
    assert_eq!(output_extents(&network, [224, 224]).unwrap().last(), Some(&[7, 7]));
}
