//! Cases of transposed convolution, and their gradients.

use anyhow::{Context, Result, bail, ensure};
use convgemm::reference::{GradientOracle, Oracle, TransposeOracle};
use convgemm::{BackwardOptions, ConvTranspose, Element, Isa, Padding, Parallelism, Workspace};

use crate::case::Case;
use crate::gradient_case::sum_of;
use crate::tally::Tally;
use crate::way::axes;

/// Checks the output and the gradients that there are, in each element type that there are files for.
pub(crate) fn check(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    let roles = ["input", "weight"];
    let (single, double) = (case.has(&roles, "f32"), case.has(&roles, "f64"));
    ensure!(
        case.shape_only || single || double,
        "{roles:?} have no files of the same element type, f32 or f64"
    );
    if single || case.shape_only {
        check_type::<f32>(case, isas, tally)?;
    }
    if double {
        check_type::<f64>(case, isas, tally)?;
    }
    Ok(())
}

fn check_type<T: Element>(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    match case.spatial_rank {
        1 => check_rank::<T, 1>(case, isas, tally),
        2 => check_rank::<T, 2>(case, isas, tally),
        3 => check_rank::<T, 3>(case, isas, tally),
        rank => bail!("spatial_rank is {rank}, it has to be 1, 2 or 3"),
    }
}

fn check_rank<T: Element, const D: usize>(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    let [&[batch, in_channels, ref extent @ ..], &[_, out_channels, ..]] =
        [case.tensor("input")?.shape.as_slice(), case.tensor("weight")?.shape.as_slice()]
    else {
        bail!("input and weight have to have at least two axes");
    };
    let (resolved, extent) = (&case.resolved, axes::<usize, D>(extent)?);
    let out_channels = out_channels * resolved.groups;
    let (begin, end) = resolved.pads.split_at_checked(D).context("pads are too few")?;
    let output_padding =
        if resolved.output_padding.is_empty() { [0; D] } else { axes(&resolved.output_padding)? };
    let mut builder = ConvTranspose::<T, D>::builder(in_channels, out_channels, axes(&resolved.kernel)?)
        .stride(axes(&resolved.strides)?)
        .dilation(axes(&resolved.dilations)?)
        .padding(Padding::Explicit { begin: axes(begin)?, end: axes(end)? })
        .output_padding(output_padding)
        .groups(resolved.groups);
    let weight_len = case.tensor("weight")?.shape.iter().product();
    let (weight, bias) = if case.shape_only {
        (vec![T::ZERO; weight_len], None)
    } else {
        let bias = case.find_tensor("bias").map(|_| case.data::<T>("bias")).transpose()?;
        (case.data::<T>("weight")?, bias)
    };
    if let Some(bias) = &bias {
        builder = builder.bias(bias);
    }
    let output = builder.clone().build(&weight)?.output_extent(extent)?;
    let actual = [&[batch, out_channels], output.as_slice()].concat();
    let expected = &case.tensor("output")?.shape;
    ensure!(actual == *expected, "the output's shape is {actual:?}, expected {expected:?}");
    if case.shape_only {
        return Ok(());
    }
    let x = case.data::<T>("input")?;
    let mut workspace = Workspace::new();
    for &isa in isas {
        let layer = builder.clone().isa(isa).build(&weight)?;
        let convolution = layer.params().convolution(batch, extent)?;
        let mut oracle = TransposeOracle::new(&convolution, &x, &weight)?;
        if let Some(bias) = &bias {
            oracle = oracle.bias(bias)?;
        }
        let nan = T::from_f64(f64::NAN);
        let mut y = vec![nan; convolution.input_len()];
        layer.forward_into(&x, batch, extent, Parallelism::default(), &mut y, &mut workspace)?;
        case.compare("output", isa, &y, |i| (oracle.at(i), oracle.expected_at(i)))?;
        tally.runs += 1;
        if case.find_tensor("grad_output").is_none() {
            continue;
        }
        let (params, options) = (layer.params(), BackwardOptions::new().isa(isa));
        let dy = case.data::<T>("grad_output")?;
        if case.find_tensor("grad_input").is_some() {
            let mut gradient = vec![nan; x.len()];
            params.backward_input(batch, extent, &dy, &weight, &options, &mut gradient, &mut workspace)?;
            let oracle = Oracle::new(convolution.params(), batch, output, &dy, &weight)?;
            case.compare("grad_input", isa, &gradient, |i| (oracle.at(i), oracle.expected_at(i)))?;
            tally.runs += 1;
        }
        if case.find_tensor("grad_weight").is_some() {
            let mut gradient = vec![nan; weight.len()];
            params.backward_weight(batch, extent, &x, &dy, &options, &mut gradient, &mut workspace)?;
            let oracle = GradientOracle::new(&convolution, &dy, &weight, &x)?;
            case.compare("grad_weight", isa, &gradient, |i| {
                (oracle.weight_at(i), oracle.weight_expected_at(i))
            })?;
            tally.runs += 1;
        }
        if case.find_tensor("grad_bias").is_some() {
            let mut gradient = vec![nan; out_channels];
            params.backward_bias(batch, extent, &dy, &options, &mut gradient)?;
            let plane = output.iter().product();
            case.compare("grad_bias", isa, &gradient, |c| {
                (gradient[c], sum_of(&dy, plane, out_channels, c))
            })?;
            tally.runs += 1;
        }
    }
    Ok(())
}
