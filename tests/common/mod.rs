//! What the integration tests share: problems, data, and running one problem in every way there is.
#![allow(dead_code, unreachable_pub)]

use convgemm::reference::Oracle;
use convgemm::{
    Activation, Algorithm, Conv, Element, ForwardOptions, Isa, Params, Tuning, Workspace, kernel_names,
};

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

    /// The output, computed into NaNs between canaries, with whatever scratch an earlier call left.
    pub fn run<T: Element>(
        &self,
        data: &Data<T>,
        way: Way,
        activation: &Activation<T>,
        residual: bool,
        workspace: &mut Workspace,
    ) -> Vec<T> {
        const CANARIES: usize = 64;
        let canary = T::from_f64(-12345.0);
        let conv = way.build(self, data, activation);
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
        assert!(before.iter().chain(behind).all(|&c| c == canary), "canaries of {self:?} {way:?}");
        padded[CANARIES..][..len].to_vec()
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
        self.isa.is_fused() && self.algorithm != Algorithm::Im2col
    }

    pub fn build<T: Element, const D: usize>(
        &self,
        problem: &Problem<D>,
        data: &Data<T>,
        activation: &Activation<T>,
    ) -> Conv<T, D> {
        Conv::with_params(problem.params)
            .bias(&data.bias)
            .activation(activation.clone())
            .isa(self.isa)
            .algorithm(self.algorithm)
            .tuning(self.tuning)
            .build(&data.weight)
            .unwrap()
    }
}

/// Every instruction set with every kernel, small blocks among them, and the baseline.
pub fn ways<T: Element>() -> Vec<Way> {
    let mut ways = vec![Way { algorithm: Algorithm::Im2col, ..Way::auto(Isa::Portable) }];
    for isa in Isa::available() {
        ways.push(Way::auto(isa));
        for (i, kernel) in kernel_names::<T>(isa).unwrap().into_iter().enumerate() {
            let tuning = Tuning::default().kernel(kernel);
            let tuning = match i % 3 {
                0 => tuning,
                1 => tuning.k_block(7),
                _ => tuning.k_block(5).tap_block(2),
            };
            ways.push(Way { tuning, ..Way::auto(isa) });
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
