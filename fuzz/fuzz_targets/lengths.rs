//! Calls with slices of wrong lengths: an error that names one of them, and nothing written.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::{
    Activation, ActivationAt, Argument, BackwardOptions, ConvTranspose, Element, Error, ForwardOptions,
    Geometry, Gradients, Parallelism, Result, Workspace, backward, backward_activation, backward_bias,
    backward_input, backward_weight, col2im, im2col,
};
use convgemm_fuzz::{Shape, WayInput, assert_same_bytes, dispatch, with_workspace};
use libfuzzer_sys::fuzz_target;

const MOST_MACS: usize = 1 << 12;

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    way: WayInput,
    call: u8,
    /// By how much each slice's length is off, and whether it is less.
    off: [Off; 6],
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Off {
    is: u8,
    by: u8,
    less: bool,
}

impl Off {
    /// Mostly the right length.
    fn apply(self, len: usize) -> usize {
        match self.is % 8 {
            0 if self.less => len.saturating_sub(usize::from(self.by)),
            0 => len + usize::from(self.by),
            1 => 0,
            2 if self.less => len - len.min(1),
            2 => len + 1,
            _ => len,
        }
    }
}

fuzz_target!(|input: Input| dispatch!(input.shape, check(&input)));

/// A call: its slices, what they have to be, and what it does with them.
struct Call<'a, T> {
    slices: Vec<(Argument, usize)>,
    run: Box<dyn Fn(&mut [Vec<T>], &mut Workspace) -> Result<()> + 'a>,
}

fn check<T: Element, const D: usize>(input: &Input) {
    let Some(geometry) = input.shape.geometry::<D>(MOST_MACS) else { return };
    let Call { slices, run } = call::<T, D>(input, &geometry);
    let lens: Vec<_> = slices.iter().zip(input.off).map(|(&(_, len), off)| off.apply(len)).collect();
    let filled = |lens: &[usize]| lens.iter().map(|&len| vec![T::from_f64(7.0); len]).collect::<Vec<_>>();
    let (mut given, before) = (filled(&lens), filled(&lens));
    let result = with_workspace(|workspace| run(&mut given, workspace));
    let wrong: Vec<_> = slices
        .iter()
        .zip(lens)
        .filter(|((_, required), actual)| actual != required)
        .map(|(&(argument, required), actual)| Error::WrongLength { argument, actual, required })
        .collect();
    if let Err(Error::NotApplicable { .. }) = &result {
        // Found before or behind the lengths, either of which is fine.
    } else if wrong.is_empty() {
        return result.unwrap();
    } else {
        let error = result.expect_err("there are wrong lengths");
        assert!(wrong.contains(&error), "{error}, not one of {wrong:?}");
    }
    for (given, before) in given.iter().zip(&before) {
        assert_same_bytes(given, before, &"written before an error");
    }
    // The workspace of a failed call still works.
    let right: Vec<_> = slices.iter().map(|&(_, len)| len).collect();
    match with_workspace(|workspace| run(&mut filled(&right), workspace)) {
        Err(Error::NotApplicable { .. }) => {}
        result => result.unwrap(),
    }
}

fn call<'a, T: Element, const D: usize>(input: &'a Input, geometry: &'a Geometry<D>) -> Call<'a, T> {
    use Argument::*;
    let (params, batch, extent) = (*geometry.params(), geometry.batch(), geometry.input_extent());
    let (x, w, y, b) =
        (geometry.input_len(), geometry.weight_len(), geometry.output_len(), params.out_channels);
    let options = BackwardOptions::new().accumulate(input.way.algorithm % 2 == 0);
    let way = move || input.way.way::<T>();
    let build = move |weight: &[T], bias: &[T]| way().builder::<T, D>(params).bias(bias).build(weight);
    let call = |slices: &[(Argument, usize)],
                run: Box<dyn Fn(&mut [Vec<T>], &mut Workspace) -> Result<()> + 'a>| {
        Call { slices: slices.to_vec(), run }
    };
    match input.call % 10 {
        0 => call(
            &[(Weight, w), (Bias, b), (Slopes, b)],
            Box::new(move |s, _| {
                let builder = way().builder::<T, D>(params).bias(&s[1]);
                builder.activation(Activation::Prelu { slopes: s[2].clone() }).build(&s[0]).map(drop)
            }),
        ),
        1 => call(
            &[(Weight, w)],
            Box::new(move |s, _| build(&vec![T::ZERO; w], &vec![T::ZERO; b])?.update_weight(&s[0])),
        ),
        2 => call(
            &[(Input, x), (Residual, y), (Output, y)],
            Box::new(move |s, workspace| {
                let conv = build(&vec![T::ZERO; w], &vec![T::ZERO; b])?;
                let [x, residual, y] = s else { unreachable!() };
                conv.forward_with(x, batch, extent, &ForwardOptions::new().residual(residual), y, workspace)
            }),
        ),
        3 => call(
            &[(OutputGradient, y), (Weight, w), (InputGradient, x)],
            Box::new(move |s, workspace| {
                let [dy, w, dx] = s else { unreachable!() };
                backward_input(geometry, dy, w, &options, dx, workspace)
            }),
        ),
        4 => call(
            &[(Input, x), (OutputGradient, y), (WeightGradient, w)],
            Box::new(move |s, workspace| {
                let [x, dy, dw] = s else { unreachable!() };
                backward_weight(geometry, x, dy, &options, dw, workspace)
            }),
        ),
        5 => call(
            &[(OutputGradient, y), (BiasGradient, b)],
            Box::new(move |s, _| {
                let [dy, db] = s else { unreachable!() };
                backward_bias(geometry, dy, &options, db)
            }),
        ),
        6 => {
            let slices = [
                (Input, x),
                (Weight, w),
                (OutputGradient, y),
                (InputGradient, x),
                (WeightGradient, w),
                (BiasGradient, b),
            ];
            call(
                &slices,
                Box::new(move |s, workspace| {
                    let [x, w, dy, dx, dw, db] = s else { unreachable!() };
                    let gradients = Gradients { input: Some(dx), weight: Some(dw), bias: Some(db) };
                    backward(geometry, x, w, dy, &options, gradients, workspace)
                }),
            )
        }
        7 => call(
            &[(PreActivation, y), (OutputGradient, y), (PreActivationGradient, y)],
            Box::new(move |s, _| {
                let [at, dy, gradient] = s else { unreachable!() };
                backward_activation(
                    geometry,
                    &Activation::Gelu,
                    ActivationAt::PreActivation(at),
                    dy,
                    gradient,
                )
            }),
        ),
        8 => call(
            &[(Input, x), (Columns, geometry.columns_len().unwrap())],
            Box::new(move |s, _| {
                let [x, columns] = s else { unreachable!() };
                im2col(geometry, x, columns)?;
                col2im(geometry, columns, x)
            }),
        ),
        _ => transposed(geometry),
    }
}

/// A transposed convolution and its gradients, as far as lengths are right: from this convolution's output back to an input.
fn transposed<'a, T: Element, const D: usize>(geometry: &'a Geometry<D>) -> Call<'a, T> {
    let (params, batch, extent) = (*geometry.params(), geometry.batch(), geometry.output_extent());
    let builder = ConvTranspose::<T, D>::builder(params.out_channels, params.in_channels, params.kernel)
        .stride(params.stride)
        .dilation(params.dilation)
        .groups(params.groups);
    let layer = builder.build(&vec![T::ZERO; geometry.weight_len()]).unwrap();
    let whole = layer.params().convolution(batch, extent).unwrap();
    let slices = vec![(Argument::Input, whole.output_len()), (Argument::Output, whole.input_len())];
    let run = move |s: &mut [Vec<T>], workspace: &mut Workspace| {
        let [x, y] = s else { unreachable!() };
        layer.forward_into(x, batch, extent, Parallelism::default(), y, workspace)
    };
    Call { slices, run: Box::new(run) }
}
