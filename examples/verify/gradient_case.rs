//! The gradients of cases of forward convolution.

use anyhow::{Result, bail, ensure};
use convgemm::reference::{Expected, GradientOracle};
use convgemm::{BackwardOptions, Element, Isa, Workspace, backward_bias, backward_input, backward_weight};

use crate::case::Case;
use crate::conv_case::Sizes;
use crate::tally::Tally;

/// Checks the gradients that there are, in each element type that there are files for.
pub(crate) fn check(case: &Case, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    if case.find_tensor("grad_output").is_none() {
        return Ok(());
    }
    let roles = ["input", "weight", "grad_output"];
    let (single, double) = (case.has(&roles, "f32"), case.has(&roles, "f64"));
    ensure!(single || double, "{roles:?} have no files of the same element type, f32 or f64");
    if single {
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
    let Sizes { params, batch, extent } = Sizes::<D>::of(case)?;
    let geometry = params.geometry(batch, extent)?;
    let (x, weight, dy) = (case.data::<T>("input")?, case.data("weight")?, case.data("grad_output")?);
    let oracle = GradientOracle::new(&geometry, &x, &weight, &dy)?;
    let mut workspace = Workspace::new();
    for &isa in isas {
        let options = BackwardOptions::new().isa(isa);
        let nan = T::from_f64(f64::NAN);
        if case.find_tensor("grad_input").is_some() {
            let mut gradient = vec![nan; x.len()];
            backward_input(&geometry, &dy, &weight, &options, &mut gradient, &mut workspace)?;
            case.compare("grad_input", isa, &gradient, |i| {
                (oracle.input_at(i), oracle.input_expected_at(i))
            })?;
            tally.runs += 1;
        }
        if case.find_tensor("grad_weight").is_some() {
            let mut gradient = vec![nan; weight.len()];
            backward_weight(&geometry, &x, &dy, &options, &mut gradient, &mut workspace)?;
            case.compare("grad_weight", isa, &gradient, |i| {
                (oracle.weight_at(i), oracle.weight_expected_at(i))
            })?;
            tally.runs += 1;
        }
        if case.find_tensor("grad_bias").is_some() {
            let mut gradient = vec![nan; params.out_channels];
            backward_bias(&geometry, &dy, &options, &mut gradient)?;
            let plane = geometry.output_len() / batch / params.out_channels;
            case.compare("grad_bias", isa, &gradient, |c| {
                (oracle.bias_at(c), sum_of(&dy, plane, params.out_channels, c))
            })?;
            tally.runs += 1;
        }
    }
    Ok(())
}

/// The sum of channel `channel` of `values`, `[batch, channels, plane]`.
pub(crate) fn sum_of<T: Element>(values: &[T], plane: usize, channels: usize, channel: usize) -> Expected {
    let of_channel = values.chunks_exact(plane).skip(channel).step_by(channels).flatten();
    Expected::of_terms(of_channel.map(|&value| (T::from_f64(1.0), value)))
}
