//! Gradients and transposed convolutions of shape lists, with data whose sums are exact: every element, in both element types,
//! on every instruction set, has to be the oracle's. Shapes of more than `--max-macs` multiplications are skipped.

use anyhow::{Result, bail, ensure};
use convgemm::reference::GradientOracle;
use convgemm::{
    BackwardOptions, ConvTranspose, Element, Geometry, Isa, Padding, Parallelism, Workspace, backward_bias,
    backward_input, backward_weight,
};

use crate::shapes::{Shape, amplitude, integers, last};
use crate::tally::{Outcome, Tally};

/// Checks one shape of a convolution or, with `transposed`, of a transposed one.
pub(crate) fn check(
    shape: &Shape,
    transposed: bool,
    isas: &[Isa],
    max_macs: u64,
    tally: &mut Tally,
) -> Result<Outcome> {
    match shape.ndims {
        3 => check_rank::<1>(shape, transposed, isas, max_macs, tally),
        4 => check_rank::<2>(shape, transposed, isas, max_macs, tally),
        5 => check_rank::<3>(shape, transposed, isas, max_macs, tally),
        ndims => bail!("ndims is {ndims}, it has to be 3, 4 or 5"),
    }
}

fn check_rank<const D: usize>(
    shape: &Shape,
    transposed: bool,
    isas: &[Isa],
    max_macs: u64,
    tally: &mut Tally,
) -> Result<Outcome> {
    let geometry = if transposed { shape.exchanged()?.geometry::<D>()? } else { shape.geometry::<D>()? };
    if geometry.macs() > max_macs.into() {
        return Ok(Outcome::Skipped("gradients of over --max-macs multiplications".to_owned()));
    }
    let params = geometry.params();
    let of_input = geometry.weight_len() / params.in_channels * params.groups;
    let of_weight = geometry.output_len() / params.out_channels;
    let Some(amplitude) = amplitude(of_input.max(of_weight)) else {
        return Ok(Outcome::Skipped("over 2²⁴ terms in a sum".to_owned()));
    };
    let data = |seed, len| integers(seed, amplitude, len);
    let x = data(1, geometry.input_len());
    let weight = data(2, geometry.weight_len());
    let dy = data(3, geometry.output_len());
    let oracle = GradientOracle::new(&geometry, &x, &weight, &dy)?;
    let expected = [oracle.input_gradient(), oracle.weight_gradient(), oracle.bias_gradient()];
    let double = |values: &Vec<f32>| -> Vec<f64> { values.iter().copied().map(f64::from).collect() };
    let doubles = expected.each_ref().map(double);
    let (x64, weight64, dy64) = (double(&x), double(&weight), double(&dy));
    for &isa in isas {
        check_gradients(&geometry, isa, [&x, &weight, &dy], &expected, tally)?;
        check_gradients(&geometry, isa, [&x64, &weight64, &dy64], &doubles, tally)?;
        if transposed {
            check_layer(shape, isa, &dy, &weight, &expected[0], tally)?;
        }
    }
    Ok(Outcome::Passed)
}

fn check_gradients<T: Element, const D: usize>(
    geometry: &Geometry<D>,
    isa: Isa,
    [x, weight, dy]: [&[T]; 3],
    [input, weights, bias]: &[Vec<T>; 3],
    tally: &mut Tally,
) -> Result<()> {
    let options = BackwardOptions::new().isa(isa);
    let mut workspace = Workspace::new();
    let nan = T::from_f64(f64::NAN);
    let mut gradient = vec![nan; input.len()];
    backward_input(geometry, dy, weight, &options, &mut gradient, &mut workspace)?;
    check_equal("input gradient", isa, &gradient, input)?;
    let mut gradient = vec![nan; weights.len()];
    backward_weight(geometry, x, dy, &options, &mut gradient, &mut workspace)?;
    check_equal("weight gradient", isa, &gradient, weights)?;
    let mut gradient = vec![nan; bias.len()];
    backward_bias(geometry, dy, &options, &mut gradient)?;
    check_equal("bias gradient", isa, &gradient, bias)?;
    tally.runs += 3;
    Ok(())
}

/// A transposed convolution as a layer.
fn check_layer(
    shape: &Shape,
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    expected: &[f32],
    tally: &mut Tally,
) -> Result<()> {
    let begin = last([shape.pad_front, shape.pad_top, shape.pad_left])?;
    let end = last([shape.pad_back, shape.pad_bottom, shape.pad_right])?;
    let layer =
        ConvTranspose::<f32, 3>::builder(shape.c_in, shape.c_out, last([shape.kd, shape.kh, shape.kw])?)
            .stride(last([shape.sd, shape.sh, shape.sw])?)
            .dilation(last([shape.dd, shape.dh, shape.dw])?)
            .padding(Padding::Explicit { begin, end })
            .groups(shape.groups)
            .isa(isa)
            .build(weight)?;
    let extent = [shape.d, shape.h, shape.w];
    let output = layer.output_extent(extent)?;
    ensure!(
        output == [shape.od, shape.oh, shape.ow],
        "the output's extents are {output:?}, expected {:?}",
        [shape.od, shape.oh, shape.ow]
    );
    let mut y = vec![f32::NAN; expected.len()];
    layer.forward_into(x, shape.n, extent, Parallelism::default(), &mut y, &mut Workspace::new())?;
    tally.runs += 1;
    check_equal("transposed convolution", isa, &y, expected)
}

fn check_equal<T: Element>(what: &str, isa: Isa, result: &[T], expected: &[T]) -> Result<()> {
    ensure!(result.len() == expected.len(), "{what}: {} elements, expected {}", result.len(), expected.len());
    let Some(i) = result.iter().zip(expected).position(|(y, expected)| y != expected) else { return Ok(()) };
    bail!("{what} [{i}] is {} on {isa}, expected {}", result[i], expected[i])
}
