//! Shape arithmetic against a model in 128 bits: the same extents where there are some, an error where there are
//! none, never a panic. Problems of huge parameters but few elements are run as well.
#![no_main]

use arbitrary::Arbitrary;
use convgemm::reference::Oracle;
use convgemm::{
    Algorithm, Conv, Error, Geometry, Isa, Padding, Params, Tuning, kernel_names, output_extents,
    receptive_field,
};
use convgemm_fuzz::{Signed, Size};
use libfuzzer_sys::fuzz_target;

const LARGEST: i128 = isize::MAX as i128;

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Pad<const D: usize> {
    Valid,
    SameUpper,
    SameLower,
    Both([Size; D]),
    Explicit([Signed; D], [Signed; D]),
    Begin([Signed; D]),
    End([Signed; D]),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
struct Layer<const D: usize> {
    in_channels: Size,
    out_channels: Size,
    /// Whether the channels above are those of one group.
    grouped: bool,
    groups: Size,
    kernel: [Size; D],
    stride: [Size; D],
    dilation: [Size; D],
    pad: Pad<D>,
}

/// Makes what is rare by chance.
#[derive(Debug, Clone, Copy, Arbitrary)]
enum Along {
    AsGiven,
    /// A stride so large that there is one window.
    OneWindow,
    /// An input extent of 0.
    Empty,
    /// An input extent that padding brings over the limit.
    Longest(u8),
}

#[derive(Debug, Arbitrary)]
struct Case<const D: usize> {
    first: Layer<D>,
    more: Option<[Layer<D>; 2]>,
    batch: Size,
    input: [Size; D],
    along: [Along; D],
    kernel: u8,
}

#[derive(Debug, Arbitrary)]
enum Input {
    One(Case<1>),
    Two(Case<2>),
    Three(Case<3>),
}

fuzz_target!(|input: Input| {
    match input {
        Input::One(case) => case.check(),
        Input::Two(case) => case.check(),
        Input::Three(case) => case.check(),
    }
});

impl<const D: usize> Layer<D> {
    fn params(&self) -> Params<D> {
        let groups = self.groups.0;
        let channels = |c: Size| if self.grouped { c.0.wrapping_mul(groups) } else { c.0 };
        let params = Params::new(channels(self.in_channels), channels(self.out_channels), sizes(self.kernel))
            .groups(groups)
            .stride(sizes(self.stride))
            .dilation(sizes(self.dilation));
        let signed = |pads: [Signed; D]| pads.map(Signed::get);
        match self.pad {
            Pad::Valid => params.padding(Padding::Valid),
            Pad::SameUpper => params.padding(Padding::SameUpper),
            Pad::SameLower => params.padding(Padding::SameLower),
            Pad::Both(both) => params.padding(sizes(both)),
            Pad::Explicit(begin, end) => {
                params.padding(Padding::Explicit { begin: signed(begin), end: signed(end) })
            }
            Pad::Begin(begin) => params.pad_begin(signed(begin)),
            Pad::End(end) => params.pad_end(signed(end)),
        }
    }

    fn model(&self) -> Model<D> {
        Model { params: self.params(), pad: self.pad }
    }
}

impl<const D: usize> Case<D> {
    fn check(mut self) {
        for axis in 0..D {
            match self.along[axis] {
                Along::AsGiven => {}
                Along::OneWindow => self.first.stride[axis] = Size(1 << 62),
                Along::Empty => self.input[axis] = Size(0),
                Along::Longest(less) => self.input[axis] = Size(isize::MAX as usize - usize::from(less)),
            }
        }
        let input = sizes(self.input);
        let layers: Vec<_> = std::iter::once(self.first).chain(self.more.into_iter().flatten()).collect();
        let params: Vec<_> = layers.iter().map(Layer::params).collect();
        let models: Vec<_> = layers.iter().map(Layer::model).collect();
        if let Some(geometry) = check_layer(&params[0], &models[0], self.batch.0, input) {
            run(&geometry, usize::from(self.kernel));
        }

        let field = receptive_field(&params).map_err(shown);
        assert_eq!(field.ok().map(|field| (field.size, field.stride)), model_field(&models));

        let extents = output_extents(&params, input).map_err(shown);
        let expected: Option<Vec<_>> = models
            .iter()
            .scan(Some(input), |extent, model| {
                *extent = extent.and_then(|extent| model.output(extent));
                Some(*extent)
            })
            .collect();
        assert_eq!(extents.ok(), expected);
    }
}

fn check_layer<const D: usize>(
    params: &Params<D>,
    model: &Model<D>,
    batch: usize,
    input: [usize; D],
) -> Option<Geometry<D>> {
    assert_eq!(params.validate().map_err(shown).is_ok(), model.is_valid());
    if params.groups > 0 {
        assert_eq!(params.weight_len().map_err(shown).ok(), model.weight_len());
    }
    let output = params.output_extent(input);
    if let Err(Error::WindowDoesNotFit { axis, window, padded }) = output {
        assert_eq!(Some(window as i128), model.window(axis));
        assert_eq!(Some(padded as i128), model.padded(axis, input[axis]));
        assert!(window as i128 > padded as i128);
    }
    assert_eq!(output.map_err(shown).ok(), model.output(input));
    let geometry = params.geometry(batch, input).map_err(shown).ok();
    let lens = model.lens(batch, input);
    assert_eq!(geometry.map(|g| (g.input_len(), g.output_len())), lens);
    geometry.inspect(|geometry| check_geometry(geometry, model, input))
}

fn check_geometry<const D: usize>(geometry: &Geometry<D>, model: &Model<D>, input: [usize; D]) {
    let params = geometry.params();
    assert_eq!(geometry.input_extent(), input);
    assert_eq!(Some(geometry.output_extent()), model.output(input));
    assert_eq!(Some(geometry.weight_len()), model.weight_len());
    let k = geometry.weight_len() / params.out_channels;
    assert_eq!(geometry.macs(), geometry.output_len() as u128 * k as u128);
    let taps: usize = params.kernel.iter().product();
    let positions: usize = geometry.output_extent().iter().product();
    assert_eq!(
        geometry.columns_len().map_err(shown).ok(),
        len([geometry.batch(), params.in_channels, taps, positions])
    );
}

/// The engine, with any kernel, on problems of few elements, whatever their strides, dilations and paddings.
fn run<const D: usize>(geometry: &Geometry<D>, kernel: usize) {
    const MOST: usize = 1 << 12;
    let lens = [geometry.input_len(), geometry.weight_len(), geometry.output_len()];
    let (params, batch, input) = (*geometry.params(), geometry.batch(), geometry.input_extent());
    if lens.into_iter().any(|len| len > MOST) || geometry.macs() > MOST as u128 {
        return;
    }
    let numbers = |len: usize| (0..len).map(|i| (i % 7) as f32 - 3.0).collect::<Vec<_>>();
    let (x, weight) = (numbers(lens[0]), numbers(lens[1]));
    let isas = Isa::available();
    let isa = isas[kernel % isas.len()];
    let kernels = kernel_names::<f32>(isa).unwrap();
    let builder = Conv::with_params(params).isa(isa);
    let builder = match kernels.get(kernel / isas.len() % (kernels.len() + 2)) {
        Some(kernel) => builder.tuning(Tuning::default().kernel(kernel)),
        None if kernel % 2 == 0 => builder,
        None => builder.algorithm(Algorithm::Im2col),
    };
    let conv = builder.build(&weight).unwrap();
    let plan = match conv.plan(batch, input) {
        Ok(plan) => plan,
        // A direct tile that was made for other kernels.
        Err(Error::NotApplicable { what, .. }) if what.contains("_direct_") => return,
        Err(error) => panic!("{error}"),
    };
    assert!(!plan.to_string().is_empty());
    assert!(plan.scratch_bytes() <= 1 << 20);
    let oracle = Oracle::new(&params, batch, input, &x, &weight).unwrap();
    assert_eq!(conv.forward(&x, batch, input).unwrap(), oracle.output());
}

/// An error whose message can be made.
fn shown(error: Error) -> Error {
    assert!(!error.to_string().is_empty());
    error
}

fn sizes<const D: usize>(sizes: [Size; D]) -> [usize; D] {
    sizes.map(|size| size.0)
}

/// The rules, in integers that do not overflow: every sum below has few terms of at most 64 bits, and products are
/// cut off as soon as they leave the range.
struct Model<const D: usize> {
    params: Params<D>,
    pad: Pad<D>,
}

/// The elements of a tensor of these extents: every product on the way has to be a `usize`, the whole at most
/// `isize::MAX` bytes in elements of 8.
fn len(extents: impl IntoIterator<Item = usize>) -> Option<usize> {
    let mut product = 1_u128;
    for extent in extents {
        product = Some(product * extent as u128).filter(|&p| p <= usize::MAX as u128)?;
    }
    (product * 8 <= LARGEST as u128).then_some(product as usize)
}

impl<const D: usize> Model<D> {
    fn is_valid(&self) -> bool {
        let Params { in_channels, out_channels, kernel, stride, dilation, groups, .. } = self.params;
        [in_channels, out_channels, groups]
            .into_iter()
            .chain(kernel)
            .chain(stride)
            .chain(dilation)
            .all(|n| n > 0)
            && in_channels % groups == 0
            && out_channels % groups == 0
            && (0..D).all(|axis| self.window(axis).is_some_and(|window| window <= LARGEST))
            && self.weight_len().is_some()
    }

    fn weight_len(&self) -> Option<usize> {
        let Params { in_channels, out_channels, kernel, groups, .. } = self.params;
        len([out_channels, in_channels / groups].into_iter().chain(kernel))
    }

    /// From the first to the last tap, both counted; none where the kernel has none.
    fn window(&self, axis: usize) -> Option<i128> {
        let last = self.params.kernel[axis].checked_sub(1)?;
        (self.params.dilation[axis] as i128).checked_mul(last as i128)?.checked_add(1)
    }

    /// Padding before and behind.
    fn pads(&self, axis: usize, input: i128) -> Option<(i128, i128)> {
        let same = |odd_at_begin: bool| {
            let stride = self.params.stride[axis] as i128;
            let output = input / stride + i128::from(input % stride > 0);
            // The last window's end, seen from the first one's start; with no window there is nothing to pad for.
            let span = (output - 1) * stride + self.window(axis)?;
            let (total, odd) = ((span - input).max(0) / 2 * 2, (span - input).max(0) % 2);
            let half = total / 2;
            Some(if odd_at_begin { (half + odd, half) } else { (half, half + odd) })
        };
        match self.pad {
            Pad::Valid => Some((0, 0)),
            Pad::SameUpper => same(false),
            Pad::SameLower => same(true),
            Pad::Both(both) => {
                let pad = (both[axis].0 as i128).min(LARGEST);
                Some((pad, pad))
            }
            Pad::Explicit(begin, end) => Some((begin[axis].get() as i128, end[axis].get() as i128)),
            Pad::Begin(begin) => Some((begin[axis].get() as i128, 0)),
            Pad::End(end) => Some((0, end[axis].get() as i128)),
        }
    }

    fn padded(&self, axis: usize, input: usize) -> Option<i128> {
        let (begin, end) = self.pads(axis, input as i128)?;
        Some(input as i128 + begin + end)
    }

    fn output(&self, input: [usize; D]) -> Option<[usize; D]> {
        if !self.is_valid() {
            return None;
        }
        let mut output = [0; D];
        for axis in 0..D {
            output[axis] = self.axis(axis, input[axis] as i128)?;
        }
        Some(output)
    }

    fn axis(&self, axis: usize, input: i128) -> Option<usize> {
        let (begin, end) = self.pads(axis, input)?;
        let window = self.window(axis)?;
        // Coordinates, of the image's ends and of the padding's, are seen from either end of the other.
        let (first, behind) = (-begin, input + end);
        let distances = [first, behind, behind - first, input, input - first];
        if distances.into_iter().any(|d| d < -LARGEST - 1 || d > LARGEST) {
            return None;
        }
        // One window for each start, from `first` in steps of the stride, whose last tap lies before `behind`.
        let room = behind - first - window;
        let count = (room >= 0).then(|| room / self.params.stride[axis] as i128 + 1)?;
        if let Pad::SameUpper | Pad::SameLower = self.pad {
            assert_eq!(
                count,
                (input + self.params.stride[axis] as i128 - 1) / self.params.stride[axis] as i128
            );
        }
        Some(count as usize)
    }

    /// Elements of the input and of the output: those of one image have to be countable even where there is none.
    fn lens(&self, batch: usize, input: [usize; D]) -> Option<(usize, usize)> {
        let output = self.output(input)?;
        let of = |images: usize, channels: usize, extents: [usize; D]| {
            len([images, channels].into_iter().chain(extents))
        };
        let Params { in_channels, out_channels, .. } = self.params;
        of(1, in_channels, input)?;
        of(1, out_channels, output)?;
        Some((of(batch, in_channels, input)?, of(batch, out_channels, output)?))
    }
}

/// Size and stride of the receptive field: windows grow it by their span at the stride of what is below.
fn model_field<const D: usize>(models: &[Model<D>]) -> Option<([usize; D], [usize; D])> {
    let (mut size, mut stride) = ([1; D], [1; D]);
    for model in models {
        if !model.is_valid() {
            return None;
        }
        for axis in 0..D {
            let within = |n: i128| (n <= LARGEST).then_some(n);
            size[axis] = within(size[axis] + (model.window(axis)? - 1) * stride[axis])?;
            stride[axis] = within(stride[axis] * model.params.stride[axis] as i128)?;
        }
    }
    Some((size.map(|n| n as usize), stride.map(|n| n as usize)))
}
