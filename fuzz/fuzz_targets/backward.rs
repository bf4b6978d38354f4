//! Small problems: the gradients against the oracle, its bytes where multiply-adds are fused, else within its bound.
#![no_main]

use std::cell::RefCell;

use arbitrary::Arbitrary;
use convgemm::reference::{Expected, GradientOracle};
use convgemm::{BackwardOptions, Element, Geometry, Isa, Parallelism, Params, Workspace};
use convgemm::{backward_bias, backward_input, backward_weight};
use libfuzzer_sys::fuzz_target;

/// Terms of a problem, at most: an execution takes some milliseconds under the sanitizer.
const MOST_MACS: u128 = 1 << 16;

const CANARIES: usize = 64;

/// All numbers are reduced to their ranges, so that nearly every input is a problem.
#[derive(Debug, Arbitrary)]
struct Input {
    rank: u8,
    double: bool,
    axes: [AxisInput; 3],
    channels: [u8; 2],
    groups: u8,
    batch: u8,
    seed: u64,
    isa: u8,
    accumulate: bool,
    serial: bool,
}

#[derive(Debug, Arbitrary)]
struct AxisInput {
    extent: u8,
    kernel: u8,
    stride: u8,
    dilation: u8,
    pad: [u8; 2],
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
    let Some(geometry) = input.geometry::<D>() else { return };
    let mut state = input.seed;
    // Of one size, or of very different ones, so that products vanish.
    let spread = if input.seed.is_multiple_of(4) { 40.0 } else { 0.0 };
    let mut numbers = |len: usize| -> Vec<T> {
        let number = |_| real(&mut state) * 10_f64.powf(spread * (real(&mut state) - 1.0));
        (0..len).map(number).map(T::from_f64).collect()
    };
    let x = numbers(geometry.input_len());
    let weight = numbers(geometry.weight_len());
    let dy = numbers(geometry.output_len());
    let isas = Isa::available();
    let isa = isas[usize::from(input.isa) % isas.len()];
    let mut options = BackwardOptions::new().isa(isa).accumulate(input.accumulate);
    if input.serial {
        options = options.parallelism(Parallelism::Serial);
    }
    let oracle = GradientOracle::new(&geometry, &x, &weight, &dy).unwrap();
    WORKSPACE.with_borrow_mut(|workspace| {
        let run = |y: &mut [T]| backward_input(&geometry, &dy, &weight, &options, y, workspace).unwrap();
        let gradient = between_canaries(x.len(), input.accumulate, run);
        let of = |i| (oracle.input_at(i), oracle.input_expected_at(i));
        compare(isa, input.accumulate, &gradient, of);
        let run = |y: &mut [T]| backward_weight(&geometry, &x, &dy, &options, y, workspace).unwrap();
        let gradient = between_canaries(weight.len(), input.accumulate, run);
        let of = |i| (oracle.weight_at(i), oracle.weight_expected_at(i));
        compare(isa, input.accumulate, &gradient, of);
    });
    let run = |y: &mut [T]| backward_bias(&geometry, &dy, &options, y).unwrap();
    let channels = geometry.params().out_channels;
    let gradient = between_canaries(channels, input.accumulate, run);
    for (channel, gradient) in gradient.iter().enumerate() {
        let given = if input.accumulate { 1.0 } else { 0.0 };
        let expected = T::from_f64(given + oracle.bias_at(channel).to_f64());
        assert_eq!(gradient.to_f64(), expected.to_f64(), "bias {channel}");
    }
}

/// What `run` writes over NaNs or, to be added to, ones.
fn between_canaries<T: Element>(len: usize, add: bool, run: impl FnOnce(&mut [T])) -> Vec<T> {
    let canary = T::from_f64(-12345.0);
    let mut padded = vec![canary; CANARIES + len + CANARIES];
    let y = &mut padded[CANARIES..][..len];
    y.fill(T::from_f64(if add { 1.0 } else { f64::NAN }));
    run(y);
    let y = y.to_vec();
    assert!(padded[..CANARIES].iter().all(|&c| c == canary), "written before the gradient");
    assert!(padded[CANARIES + len..].iter().all(|&c| c == canary), "written behind the gradient");
    y
}

fn compare<T: Element>(isa: Isa, add: bool, gradient: &[T], oracle: impl Fn(usize) -> (T, Expected)) {
    for (i, y) in gradient.iter().enumerate() {
        let (exact, expected) = oracle(i);
        let given = if add { 1.0 } else { 0.0 };
        if isa.is_fused() {
            let exact = if add { T::from_f64(exact.to_f64() + given) } else { exact };
            assert_eq!(y.to_f64().to_bits(), exact.to_f64().to_bits(), "{i} on {isa}: {y}, not {exact}");
        } else {
            let (off, bound) = (y.to_f64() - expected.value - given, expected.bound + T::EPSILON.to_f64());
            assert!(off.abs() <= 2.0 * bound, "{i} on {isa}: {y}, not {expected:?}");
        }
    }
}

/// Evenly from −1 to 1: SplitMix64.
fn real(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

impl Input {
    /// A problem of at most [`MOST_MACS`], if its window fits.
    fn geometry<const D: usize>(&self) -> Option<Geometry<D>> {
        let of = |axis: usize| &self.axes[axis];
        let extent = std::array::from_fn(|axis| {
            let most = if axis == D - 1 && D < 3 { 64 } else { 16 };
            usize::from(of(axis).extent) % most
        });
        let pads = |side: usize| std::array::from_fn(|axis| isize::from(of(axis).pad[side] % 10) - 3);
        let groups = usize::from(self.groups % 4) + 1;
        let [c_in, c_out] = self.channels.map(|c| (usize::from(c) % 40 + 1) * groups);
        let params =
            Params::new(c_in, c_out, std::array::from_fn(|axis| usize::from(of(axis).kernel) % 5 + 1))
                .stride(std::array::from_fn(|axis| usize::from(of(axis).stride) % 5 + 1))
                .dilation(std::array::from_fn(|axis| usize::from(of(axis).dilation) % 4 + 1))
                .pad_begin(pads(0))
                .pad_end(pads(1))
                .groups(groups);
        let geometry = params.geometry(usize::from(self.batch % 4), extent).ok()?;
        (geometry.macs() <= MOST_MACS).then_some(geometry)
    }
}
