//! What the integration tests share: problems, data, and running one problem in every way there is.
#![allow(dead_code, unreachable_pub)]

#[cfg(target_os = "linux")]
pub mod guarded;

use std::process::Command;

use convgemm::reference::Oracle;
use convgemm::{
    Activation, Algorithm, Conv, ConvBuilder, Element, Error, ForwardOptions, Isa, Padding, Params, Tuning,
    Workspace, kernel_names,
};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// Around outputs. In the binary in which they touch memory that kills, nothing may lie between.
const CANARIES: usize = if matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"guard_pages") { 0 } else { 64 };

/// A convolution problem without data.
#[derive(Debug, Clone)]
pub struct Problem<const D: usize> {
    pub params: Params<D>,
    pub batch: usize,
    pub extent: [usize; D],
}

/// Inputs, weights, bias and residual.
#[derive(Debug, Clone)]
pub struct Data<T> {
    pub x: Vec<T>,
    pub weight: Vec<T>,
    pub bias: Vec<T>,
    pub residual: Vec<T>,
}

/// SplitMix64: seeded, the same on every platform.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from −1 to 1.
    pub fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// One of `−a ..= a`.
    pub fn integer(&mut self, a: i64) -> f64 {
        ((self.next() % (2 * a as u64 + 1)) as i64 - a) as f64
    }
}

impl<const D: usize> Problem<D> {
    pub fn new(params: Params<D>, batch: usize, extent: [usize; D]) -> Self {
        Self { params, batch, extent }
    }

    /// Random numbers from −1 to 1.
    pub fn reals<T: Element>(&self, seed: u64) -> Data<T> {
        let mut random = Random(seed);
        self.data(|| T::from_f64(random.real()))
    }

    /// Integers so small that every sum is exact in `f32`, whatever its order.
    pub fn integers<T: Element>(&self, seed: u64) -> Data<T> {
        let terms: usize =
            self.params.in_channels / self.params.groups * self.params.kernel.iter().product::<usize>();
        let amplitude = (1..=5).rev().find(|a| (terms + 2) * a * a < 1 << 24).unwrap_or(1);
        let mut random = Random(seed);
        self.data(|| T::from_f64(random.integer(amplitude as i64)))
    }

    fn data<T: Element>(&self, mut draw: impl FnMut() -> T) -> Data<T> {
        let geometry = self.params.geometry(self.batch, self.extent).unwrap();
        let mut vector = |len| (0..len).map(|_| draw()).collect();
        Data {
            x: vector(geometry.input_len()),
            weight: vector(geometry.weight_len()),
            bias: vector(self.params.out_channels),
            residual: vector(geometry.output_len()),
        }
    }

    pub fn oracle<'a, T: Element>(&self, data: &'a Data<T>, activation: &Activation<T>) -> Oracle<'a, T, D> {
        Oracle::new(&self.params, self.batch, self.extent, &data.x, &data.weight)
            .and_then(|oracle| oracle.bias(&data.bias))
            .and_then(|oracle| oracle.activation(activation.clone()))
            .unwrap()
    }

    pub fn oracle_of<'a, T: Element>(&self, data: &'a Data<T>, extras: &Extras<T>) -> Oracle<'a, T, D> {
        let mut oracle = Oracle::new(&self.params, self.batch, self.extent, &data.x, &data.weight).unwrap();
        if extras.bias {
            oracle = oracle.bias(&data.bias).unwrap();
        }
        if extras.residual {
            oracle = oracle.residual(&data.residual).unwrap();
        }
        oracle.activation(extras.activation.clone()).unwrap()
    }

    /// The output, computed into NaNs between canaries, with whatever scratch an earlier call left.
    pub fn run<T: Element>(
        &self,
        data: &Data<T>,
        way: Way,
        activation: &Activation<T>,
        residual: bool,
        workspace: &mut Workspace,
    ) -> Vec<T> {
        let extras = Extras { bias: true, residual, activation: activation.clone() };
        self.run_with(data, way, &extras, workspace)
    }

    /// [`Problem::run`] with more choice.
    pub fn run_with<T: Element>(
        &self,
        data: &Data<T>,
        way: Way,
        extras: &Extras<T>,
        workspace: &mut Workspace,
    ) -> Vec<T> {
        self.run_conv(&way.build_with(self, data, extras), data, extras.residual, workspace)
    }

    /// [`Problem::run`] with a layer that exists.
    pub fn run_conv<T: Element>(
        &self,
        conv: &Conv<T, D>,
        data: &Data<T>,
        residual: bool,
        workspace: &mut Workspace,
    ) -> Vec<T> {
        let canary = T::from_f64(-12345.0);
        let len = conv.geometry(self.batch, self.extent).unwrap().output_len();
        let mut padded = vec![canary; len + 2 * CANARIES];
        let y = &mut padded[CANARIES..][..len];
        y.fill(T::from_f64(f64::NAN));
        let mut options = ForwardOptions::new();
        if residual {
            options = options.residual(&data.residual);
        }
        conv.forward_with(&data.x, self.batch, self.extent, &options, y, workspace).unwrap();
        let (before, behind) = (&padded[..CANARIES], &padded[CANARIES + len..]);
        assert!(before.iter().chain(behind).all(|&c| c == canary), "canaries of {self:?} {conv:?}");
        padded[CANARIES..][..len].to_vec()
    }
}

/// What is done to the sums.
#[derive(Debug, Clone)]
pub struct Extras<T> {
    pub bias: bool,
    pub residual: bool,
    pub activation: Activation<T>,
}

impl<T: Element> Extras<T> {
    pub fn none() -> Self {
        Self { bias: false, residual: false, activation: Activation::Identity }
    }

    /// All of it, through the most general path.
    pub fn all() -> Self {
        let activation = Activation::LeakyRelu { slope: T::from_f64(0.1) };
        Self { bias: true, residual: true, activation }
    }
}

/// One way to compute a problem.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub isa: Isa,
    pub algorithm: Algorithm,
    pub tuning: Tuning,
}

impl Way {
    pub fn auto(isa: Isa) -> Self {
        Self { isa, algorithm: Algorithm::Auto, tuning: Tuning::default() }
    }

    /// Whether the result has to have the oracle's bytes.
    pub fn is_exact(&self) -> bool {
        self.isa.is_fused() && !matches!(self.algorithm, Algorithm::Im2col | Algorithm::Winograd { .. })
    }

    pub fn build<T: Element, const D: usize>(
        &self,
        problem: &Problem<D>,
        data: &Data<T>,
        activation: &Activation<T>,
    ) -> Conv<T, D> {
        self.builder(problem.params)
            .bias(&data.bias)
            .activation(activation.clone())
            .build(&data.weight)
            .unwrap()
    }

    pub fn build_with<T: Element, const D: usize>(
        &self,
        problem: &Problem<D>,
        data: &Data<T>,
        extras: &Extras<T>,
    ) -> Conv<T, D> {
        let mut builder = self.builder(problem.params).activation(extras.activation.clone());
        if extras.bias {
            builder = builder.bias(&data.bias);
        }
        builder.build(&data.weight).unwrap()
    }

    pub fn builder<T: Element, const D: usize>(&self, params: Params<D>) -> ConvBuilder<T, D> {
        Conv::with_params(params).isa(self.isa).algorithm(self.algorithm).tuning(self.tuning)
    }
}

/// Every instruction set with every kernel, small blocks and several parts among them, and the baseline.
pub fn ways<T: Element>() -> Vec<Way> {
    let mut ways = vec![Way { algorithm: Algorithm::Im2col, ..Way::auto(Isa::Portable) }];
    for isa in Isa::available() {
        ways.push(Way::auto(isa));
        for (i, kernel) in gemm_kernels::<T>(isa).enumerate() {
            let tuning = Tuning::default().kernel(kernel);
            let tuning = match i % 4 {
                0 => tuning.parts(5),
                1 => tuning.k_block(7).band(2, usize::MAX),
                2 => tuning.k_block(5).tap_block(2).parts(3),
                _ => tuning.band(3, 5).parts(2),
            };
            ways.push(Way { tuning, ..Way::auto(isa) });
        }
    }
    ways
}

/// The register tiles that apply to every problem.
pub fn gemm_kernels<T: Element>(isa: Isa) -> impl Iterator<Item = &'static str> {
    kernel_names::<T>(isa).unwrap().into_iter().filter(|name| !name.contains("_direct_"))
}

/// The direct tiles of every instruction set that apply to `problem`, with bands of several sizes.
pub fn direct_ways<T: Element, const D: usize>(problem: &Problem<D>) -> Vec<Way> {
    let weight = vec![T::ZERO; problem.params.weight_len().unwrap()];
    let mut ways = vec![];
    for isa in Isa::available() {
        for name in kernel_names::<T>(isa).unwrap().into_iter().filter(|name| name.contains("_direct_")) {
            for (parts, [rows, cols]) in [[usize::MAX; 2], [2, usize::MAX], [3, 20]].into_iter().enumerate() {
                let tuning = Tuning::default().kernel(name).band(rows, cols).parts(1 + parts);
                let way = Way { algorithm: Algorithm::Direct, tuning, isa };
                let conv = way.builder::<T, D>(problem.params).build(&weight).unwrap();
                match conv.plan(problem.batch, problem.extent) {
                    Ok(_) => ways.push(way),
                    Err(error) => assert!(matches!(error, Error::NotApplicable { .. }), "{error}"),
                }
            }
        }
    }
    ways
}

/// Announces which instruction sets a test ran on, so that none is skipped in silence.
pub fn announce(test: &str) {
    let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    println!("{test}: ran on {}", names.join(", "));
}

/// Equal bytes where the contract says so, else within the oracle's bound.
pub fn assert_agrees<T: Element, const D: usize>(oracle: &Oracle<'_, T, D>, y: &[T], way: Way) {
    for (index, &y) in y.iter().enumerate() {
        let expected = oracle.at(index);
        if way.is_exact() {
            assert!(
                same_bytes(y, expected),
                "{way:?} {:?}\nat {index}: {y}, not {expected}",
                oracle.geometry()
            );
        } else {
            let bound = oracle.bound_at(index) * 2.0;
            let error = (y.to_f64() - expected.to_f64()).abs();
            assert!(error <= bound, "{way:?} {:?}\nat {index}: {y}, not {expected}", oracle.geometry());
        }
    }
}

/// The same bits, but for which NaN it is.
pub fn same_bytes<T: Element>(a: T, b: T) -> bool {
    let (a, b) = (a.to_f64(), b.to_f64());
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// What a problem's output has to be, worked out once for many ways.
pub struct Expected<T> {
    values: Vec<T>,
    /// How far another order of summation, and an activation in other roundings, may be.
    bounds: Vec<f64>,
    exact_activation: bool,
}

impl<T: Element> Expected<T> {
    pub fn new<const D: usize>(oracle: &Oracle<'_, T, D>, activation: &Activation<T>) -> Self {
        let bound = |index| {
            let rounding = match activation {
                Activation::Identity => 0.0,
                _ => 8.0 * T::EPSILON.to_f64() * oracle.at_f64(index).abs().max(1.0),
            };
            2.0 * steepest(activation) * oracle.bound_at(index) + rounding
        };
        Self {
            values: oracle.output(),
            bounds: (0..oracle.geometry().output_len()).map(bound).collect(),
            exact_activation: activation.is_exact(),
        }
    }

    /// Equal bytes where the contract says so, else within the bounds.
    pub fn check(&self, y: &[T], way: &Way, context: &impl std::fmt::Debug) {
        assert_eq!(y.len(), self.values.len());
        let exact = way.is_exact() && self.exact_activation;
        for (index, (&y, &expected)) in y.iter().zip(&self.values).enumerate() {
            let agrees = same_bytes(y, expected)
                || !exact && (y.to_f64() - expected.to_f64()).abs() <= self.bounds[index];
            assert!(agrees, "{way:?}\n{context:?}\nat {index}: {y}, not {expected}");
        }
    }

    /// `==`, whatever the order of summation.
    pub fn check_equal(&self, y: &[T], way: &Way, context: &impl std::fmt::Debug) {
        assert_eq!(y.len(), self.values.len());
        let differs = y.iter().zip(&self.values).position(|(y, expected)| y != expected);
        if let Some(at) = differs {
            panic!("{way:?}\n{context:?}\nat {at}: {}, not {}", y[at], self.values[at]);
        }
    }
}

/// A bound of the activation's slope.
fn steepest<T: Element>(activation: &Activation<T>) -> f64 {
    match activation {
        Activation::LeakyRelu { slope } => slope.to_f64().abs().max(1.0),
        Activation::Prelu { slopes } => slopes.iter().fold(1.0, |most, s| most.max(s.to_f64().abs())),
        _ => 1.5,
    }
}

/// Every activation, with parameters for `out_channels` channels.
pub fn activations<T: Element>(out_channels: usize) -> Vec<Activation<T>> {
    let mut random = Random(11);
    vec![
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Clamp { lo: T::from_f64(-0.5), hi: T::from_f64(0.75) },
        Activation::LeakyRelu { slope: T::from_f64(0.1) },
        Activation::Prelu { slopes: (0..out_channels).map(|_| T::from_f64(random.real())).collect() },
        Activation::HardSigmoid,
        Activation::HardSwish,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
    ]
}

/// Those whose results have the definition's bytes.
pub fn exact_activations<T: Element>(out_channels: usize) -> Vec<Activation<T>> {
    activations(out_channels).into_iter().filter(Activation::is_exact).collect()
}

/// Channels and positions of a register tile, read from its name: `…_channels_{positions}x{channels}` or
/// `…_positions_{channels}x{positions}`.
pub fn tile_extents(kernel: &str) -> [usize; 2] {
    let (rest, extents) = kernel.rsplit_once('_').unwrap();
    let (a, b) = extents.split_once('x').unwrap();
    let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
    if rest.ends_with("_channels") { [b, a] } else { [a, b] }
}

/// Whether a register tile holds positions in its lanes.
pub fn holds_positions(kernel: &str) -> bool {
    kernel.contains("_positions_")
}

/// Whether to test less, as under an emulator.
pub fn reduced() -> bool {
    std::env::var_os("CONVGEMM_TEST_REDUCED").is_some()
}

/// Runs `check` on `cases` random values, fewer where tests are reduced. Failures are kept, shrunk, in `file`.
pub fn for_all<S: Strategy>(cases: u32, file: &'static str, strategy: S, check: impl Fn(&S::Value)) {
    let config = ProptestConfig {
        cases: if reduced() { cases.div_ceil(16) } else { cases },
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&strategy, |value| {
        check(&value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// How a random axis is made to fit.
#[derive(Debug, Clone, Copy)]
struct AxisDraw {
    kernel: usize,
    stride: usize,
    dilation: usize,
    begin: isize,
    end: isize,
    /// Beyond the least extent that fits.
    more: usize,
}

fn axis_draws(longest_kernel: usize, longest: usize) -> impl Strategy<Value = AxisDraw> {
    let kernel = prop_oneof![2 => Just(1), 2 => Just(3.min(longest_kernel)), 3 => 1..=longest_kernel];
    let stride = prop_oneof![3 => Just(1_usize), 2 => 1..=4_usize];
    let dilation = prop_oneof![3 => Just(1_usize), 1 => 1..=4_usize];
    (kernel, stride, dilation, -3..=5_isize, -3..=5_isize, 0..=longest).prop_map(
        |(kernel, stride, dilation, begin, end, more)| AxisDraw {
            kernel,
            stride,
            dilation,
            begin,
            end,
            more,
        },
    )
}

/// Problems with every parameter drawn, small enough for the oracle.
pub fn problems<const D: usize>() -> impl Strategy<Value = Problem<D>> {
    let (longest_kernel, longest): (usize, usize) = [(9, 70), (5, 16), (3, 6)][D - 1];
    let most_out: usize = [48, 40, 20][D - 1];
    // Groups, input and output channels of each; the last are depthwise with a multiplier.
    let channels = prop_oneof![
        4 => (Just(1_usize), 1..=6_usize, 1..=most_out),
        1 => (1..=4_usize, 1..=3_usize, 1..=9_usize),
        1 => (1..=9_usize, Just(1_usize), 1..=3_usize),
    ];
    let batch = prop_oneof![1 => Just(0_usize), 4 => Just(1_usize), 2 => 2..=3_usize];
    let axes = proptest::array::uniform::<_, D>(axis_draws(longest_kernel, longest));
    (channels, batch, axes, 0..8_usize).prop_map(|((groups, c_in, c_out), batch, axes, kind)| {
        let padding = match kind {
            0 => Padding::Valid,
            1 => Padding::SameUpper,
            2 => Padding::SameLower,
            _ => Padding::Explicit { begin: axes.map(|a| a.begin), end: axes.map(|a| a.end) },
        };
        let extent = axes.map(|a| {
            let window = (a.dilation * (a.kernel - 1) + 1) as isize;
            let least = match padding {
                Padding::SameUpper | Padding::SameLower => 1,
                Padding::Valid => window,
                _ => (window - a.begin - a.end).max(0),
            };
            least as usize + a.more
        });
        let params = Params::new(groups * c_in, groups * c_out, axes.map(|a| a.kernel))
            .stride(axes.map(|a| a.stride))
            .dilation(axes.map(|a| a.dilation))
            .padding(padding)
            .groups(groups);
        Problem::new(params, batch, extent)
    })
}

/// Coordinates of the element at `index` of a tensor in C order.
pub fn coordinates<const D: usize>(mut index: usize, extents: [usize; D]) -> [usize; D] {
    let mut at = [0; D];
    for axis in (0..D).rev() {
        at[axis] = index % extents[axis];
        index /= extents[axis];
    }
    at
}

impl<const D: usize> Problem<D> {
    /// Whether the window of output element `output` reads input element `input`: straight from the formula.
    pub fn reads(&self, output: usize, input: usize) -> bool {
        let geometry = self.params.geometry(self.batch, self.extent).unwrap();
        let (out_extent, begin) = (geometry.output_extent(), geometry.pad_begin());
        let (y_plane, x_plane) =
            (out_extent.iter().product::<usize>(), self.extent.iter().product::<usize>());
        let (c_in, c_out) = (self.params.in_channels, self.params.out_channels);
        let (o, i) = (output / y_plane % c_out, input / x_plane % c_in);
        let same_image = output / y_plane / c_out == input / x_plane / c_in;
        let same_group = o / (c_out / self.params.groups) == i / (c_in / self.params.groups);
        let p = coordinates(output % y_plane, out_extent);
        let x = coordinates(input % x_plane, self.extent);
        let on_axis = |a: usize| {
            (0..self.params.kernel[a]).any(|k| {
                let at = p[a] * self.params.stride[a] + k * self.params.dilation[a];
                at as isize - begin[a] == x[a] as isize
            })
        };
        same_image && same_group && (0..D).all(on_axis)
    }
}

/// The same numbers bit for bit, NaNs included.
pub fn assert_same_bits<T: Element>(a: &[T], b: &[T], context: &impl std::fmt::Debug) {
    assert_eq!(a.len(), b.len(), "{context:?}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(a.to_f64().to_bits() == b.to_f64().to_bits(), "{context:?}\nat {i}: {a}, not {b}");
    }
}

/// The words of the command that programs for this machine are run with: an emulator, if any.
fn runner() -> Vec<String> {
    let variable = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", std::env::consts::ARCH.to_uppercase());
    std::env::var(variable).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// Whether the CPU is an emulator.
pub fn emulated() -> bool {
    !runner().is_empty()
}

/// This binary, to be run again: under the emulator, if there is one.
pub fn this_binary() -> Command {
    let program = std::env::current_exe().unwrap();
    let runner = runner();
    let [emulator, words @ ..] = &runner[..] else { return Command::new(program) };
    let mut command = Command::new(emulator);
    command.args(words).arg(program);
    command
}
