//! Small problems, computed in any way that there is, against the oracle: its bytes where the way is exact, else
//! within its bound, and equal numbers where every sum is exact.
#![no_main]

use std::cell::RefCell;

use arbitrary::Arbitrary;
use convgemm::reference::Oracle;
use convgemm::{
    Activation, Algorithm, Conv, Element, ForwardOptions, Geometry, Isa, Lowering, Orientation, Padding,
    Params, Tuning, Workspace, kernel_names,
};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most: an execution takes some milliseconds under the sanitizer.
const MOST_MACS: usize = 1 << 18;

const CANARIES: usize = 64;

/// All numbers are reduced to their ranges, so that nearly every input is a problem.
#[derive(Debug, Arbitrary)]
struct Input {
    rank: u8,
    double: bool,
    axes: [AxisInput; 3],
    padding: u8,
    channels: [u8; 2],
    groups: u8,
    batch: u8,
    budget: u8,
    data: Kind,
    seed: u64,
    bias: bool,
    residual: bool,
    activation: u8,
    way: WayInput,
    updated: bool,
}

#[derive(Debug, Arbitrary)]
struct AxisInput {
    extent: u8,
    kernel: u8,
    stride: u8,
    dilation: u8,
    pad: [u8; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
enum Kind {
    /// So small that every sum is exact, whatever its order.
    Integers,
    /// From −1 to 1.
    Reals,
    /// Of very different sizes.
    Magnitudes,
    /// With zeros of both signs, ∞ and NaN in the image.
    Specials,
}

#[derive(Debug, Arbitrary)]
struct WayInput {
    isa: u8,
    kernel: u8,
    algorithm: u8,
    k_block: Option<u8>,
    tap_block: Option<u8>,
    band: Option<[u8; 2]>,
    parts: Option<u8>,
    lowering: u8,
    orientation: u8,
}

fuzz_target!(|input: Input| {
    match (input.rank % 3, input.double) {
        (0, false) => check::<f32, 1>(&input),
        (0, true) => check::<f64, 1>(&input),
        (1, false) => check::<f32, 2>(&input),
        (1, true) => check::<f64, 2>(&input),
        (_, false) => check::<f32, 3>(&input),
        (_, true) => check::<f64, 3>(&input),
    }
});

thread_local! {
    /// Used by every problem, so that each finds what others left.
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

fn check<T: Element, const D: usize>(input: &Input) {
    let Some((geometry, extent)) = input.geometry::<D>() else { return };
    let params = *geometry.params();
    let mut numbers = Numbers { state: input.seed, kind: input.data };
    let x: Vec<T> = numbers.image(geometry.input_len());
    let weight: Vec<T> = numbers.weights(geometry.weight_len());
    let bias: Vec<T> = numbers.weights(params.out_channels);
    let residual: Vec<T> = numbers.image(geometry.output_len());
    let activation = input.activation(&mut numbers, params.out_channels);
    let way = input.way.tuned::<T>();

    let mut oracle = Oracle::new(&params, input.batch(), extent, &x, &weight).unwrap();
    let mut builder = Conv::with_params(params)
        .activation(activation.clone())
        .isa(way.isa)
        .algorithm(way.algorithm)
        .tuning(way.tuning);
    let mut options = ForwardOptions::new();
    if input.bias {
        builder = builder.bias(&bias);
        oracle = oracle.bias(&bias).unwrap();
    }
    if input.residual {
        options = options.residual(&residual);
        oracle = oracle.residual(&residual).unwrap();
    }
    let oracle = oracle.activation(activation.clone()).unwrap();
    let conv = if input.updated {
        let mut conv = builder.build(&vec![T::from_f64(f64::NAN); weight.len()]).unwrap();
        conv.update_weight(&weight).unwrap();
        conv
    } else {
        builder.build(&weight).unwrap()
    };
    let run = Run { conv, batch: input.batch(), extent, options };
    let Some(y) = WORKSPACE.with_borrow_mut(|workspace| run.twice(&x, workspace)) else { return };

    // These round once more, after what the bound and the integers vouch for.
    let rounds = matches!(activation, Activation::HardSigmoid | Activation::HardSwish);
    let agreement = if way.isa.is_fused() && way.algorithm != Algorithm::Im2col {
        Agreement::Bytes
    } else if input.data == Kind::Integers && !rounds {
        Agreement::Numbers
    } else {
        Agreement::Bound
    };
    for (index, &y) in y.iter().enumerate() {
        agreement.check(&oracle, index, y, &run);
    }
}

struct Way {
    isa: Isa,
    algorithm: Algorithm,
    tuning: Tuning,
}

struct Run<'a, T: Element, const D: usize> {
    conv: Conv<T, D>,
    batch: usize,
    extent: [usize; D],
    options: ForwardOptions<'a, T>,
}

impl<T: Element, const D: usize> Run<'_, T, D> {
    /// The output for `x`, after a run on NaNs in the same scratch; none where the tuning does not apply.
    fn twice(&self, x: &[T], workspace: &mut Workspace) -> Option<Vec<T>> {
        let plan = self.conv.plan(self.batch, self.extent);
        let shown = plan.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        assert!(!shown.is_empty());
        let poisoned = self.once(&vec![T::from_f64(f64::NAN); x.len()], workspace);
        let y = self.once(x, workspace);
        assert_eq!(poisoned.is_some(), plan.is_ok());
        assert_eq!(y.is_some(), plan.is_ok());
        y
    }

    /// The output, computed into NaNs between canaries.
    fn once(&self, x: &[T], workspace: &mut Workspace) -> Option<Vec<T>> {
        let (canary, nan) = (T::from_f64(-12345.0), T::from_f64(f64::NAN));
        let len = self.conv.geometry(self.batch, self.extent).unwrap().output_len();
        let mut padded = vec![canary; CANARIES + len + CANARIES];
        let y = &mut padded[CANARIES..][..len];
        y.fill(nan);
        let result = self.conv.forward_with(x, self.batch, self.extent, &self.options, y, workspace);
        let y = y.to_vec();
        assert!(padded[..CANARIES].iter().all(|&c| c == canary), "written before the output");
        assert!(padded[CANARIES + len..].iter().all(|&c| c == canary), "written behind the output");
        if result.is_err() {
            assert!(y.iter().all(|&y| y.to_f64().is_nan()), "written before an error");
        }
        result.ok().map(|()| y)
    }
}

#[derive(Debug, Clone, Copy)]
enum Agreement {
    Bytes,
    Numbers,
    Bound,
}

impl Agreement {
    fn check<T: Element, const D: usize>(
        self,
        oracle: &Oracle<'_, T, D>,
        index: usize,
        y: T,
        run: &Run<'_, T, D>,
    ) {
        let expected = oracle.at(index);
        let (a, b) = (y.to_f64(), expected.to_f64());
        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let agrees = same
            || match self {
                Self::Bytes => false,
                Self::Numbers => a == b,
                // An activation may round once more, relative to its result.
                Self::Bound => {
                    (a - b).abs() <= 2.0 * (oracle.bound_at(index) + T::EPSILON.to_f64() * b.abs())
                }
            };
        assert!(
            agrees,
            "{self:?} at {index}: {y}, not {expected}\n{:?}\n{}",
            run.conv,
            run.conv.plan(run.batch, run.extent).unwrap()
        );
    }
}

impl Input {
    fn batch(&self) -> usize {
        usize::from(self.batch % 4)
    }

    /// A problem of at most [`MOST_MACS`], if its window fits.
    fn geometry<const D: usize>(&self) -> Option<(Geometry<D>, [usize; D])> {
        let mut extent: [usize; D] = std::array::from_fn(|axis| usize::from(self.axes[axis].extent) % 21);
        // One long row, for tiles that are wider than 20 positions.
        if D < 3 {
            extent[D - 1] = usize::from(self.axes[D - 1].extent) % 64;
        }
        let of = |axis: usize| &self.axes[axis];
        let layer = Params::new(1, 1, std::array::from_fn(|axis| usize::from(of(axis).kernel) % 5 + 1))
            .stride(std::array::from_fn(|axis| usize::from(of(axis).stride) % 4 + 1))
            .dilation(std::array::from_fn(|axis| usize::from(of(axis).dilation) % 4 + 1));
        let pads = |side: usize| std::array::from_fn(|axis| isize::from(of(axis).pad[side] % 10) - 3);
        let layer = match self.padding % 8 {
            0 => layer.padding(Padding::Valid),
            1 => layer.padding(Padding::SameUpper),
            2 => layer.padding(Padding::SameLower),
            3 => layer.padding(std::array::from_fn::<_, D, _>(|axis| layer.kernel[axis] / 2)),
            _ => layer.padding(Padding::Explicit { begin: pads(0), end: pads(1) }),
        };
        // Channels as many as the terms allow, those of the output first: they fill the lanes. Most problems are
        // allowed fewer terms than the most, so that many are tried.
        let plane = usize::try_from(layer.geometry(1, extent).ok()?.macs()).ok()?;
        let mut budget = ((MOST_MACS >> (self.budget % 9)) / plane).max(1);
        let mut take = |wanted: usize| {
            let taken = wanted.min(budget);
            budget /= taken;
            taken
        };
        take(self.batch().max(1));
        let groups = take(usize::from(self.groups % 4) + 1);
        let [out_channels, in_channels] = self.channels.map(|c| take(usize::from(c) % 40 + 1));
        let mut params = layer.groups(groups);
        (params.in_channels, params.out_channels) = (in_channels * groups, out_channels * groups);
        let geometry = params.geometry(self.batch(), extent).ok()?;
        (geometry.macs() <= MOST_MACS as u128).then_some((geometry, extent))
    }

    /// One of which every implementation gives the definition's bytes.
    fn activation<T: Element>(&self, numbers: &mut Numbers, channels: usize) -> Activation<T> {
        match self.activation % 8 {
            0 => Activation::Identity,
            1 => Activation::Relu,
            2 => Activation::Relu6,
            3 => Activation::Clamp { lo: T::from_f64(-1.5), hi: T::from_f64(0.75) },
            4 => Activation::LeakyRelu { slope: T::from_f64(0.01) },
            5 => Activation::Prelu { slopes: (0..channels).map(|_| T::from_f64(numbers.real())).collect() },
            6 => Activation::HardSigmoid,
            _ => Activation::HardSwish,
        }
    }
}

impl WayInput {
    fn tuned<T: Element>(&self) -> Way {
        let isas = Isa::available();
        let isa = isas[usize::from(self.isa) % isas.len()];
        let algorithm = [Algorithm::Auto, Algorithm::Direct, Algorithm::Gemm, Algorithm::Im2col]
            [usize::from(self.algorithm % 4)];
        let mut tuning = Tuning::default();
        tuning.k_block = self.k_block.map(usize::from);
        tuning.tap_block = self.tap_block.map(|taps| usize::from(taps % 32));
        tuning.band = self.band.map(|band| band.map(|extent| usize::from(extent % 64)));
        tuning.parts = self.parts.map(usize::from);
        tuning.lowering = match self.lowering % 8 {
            0 => Some(Lowering::InPlace),
            1 => Some(Lowering::Packed),
            _ => None,
        };
        tuning.orientation = match self.orientation % 8 {
            0 => Some(Orientation::ChannelsInLanes),
            1 => Some(Orientation::PositionsInLanes),
            _ => None,
        };
        if algorithm != Algorithm::Im2col && self.algorithm >= 16 {
            let names = kernel_names::<T>(isa).unwrap();
            tuning.kernel = Some(names[usize::from(self.kernel) % names.len()]);
        }
        Way { isa, algorithm, tuning }
    }
}

/// SplitMix64.
struct Numbers {
    state: u64,
    kind: Kind,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from −1 to 1.
    fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Finite numbers.
    fn weights<T: Element>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.finite())).collect()
    }

    fn image<T: Element>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.any())).collect()
    }

    fn finite(&mut self) -> f64 {
        match self.kind {
            // 25 times the terms of the largest problem's sum, 5³·40, are far below 2²⁴.
            Kind::Integers => (self.next() % 11) as f64 - 5.0,
            Kind::Reals | Kind::Specials => self.real(),
            Kind::Magnitudes => self.real() * f64::exp2((self.next() % 64) as f64 - 40.0),
        }
    }

    fn any(&mut self) -> f64 {
        let specials = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        match (self.kind, self.next() % 64) {
            (Kind::Specials, i @ 0..5) => specials[i as usize],
            _ => self.finite(),
        }
    }
}
