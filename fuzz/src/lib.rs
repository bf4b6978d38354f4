//! What the fuzz targets share: problems, numbers and ways to compute, drawn so that nearly every input is one.
#![allow(missing_docs)]

use std::cell::RefCell;

use arbitrary::{Arbitrary, Unstructured};
use convgemm::{
    Algorithm, ConvBuilder, Element, Geometry, Isa, Lowering, Orientation, Padding, Params, Tuning,
    Workspace, kernel_names,
};

/// Around outputs.
const CANARIES: usize = 64;

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Lends out the workspace that every problem uses, so that each finds what others left.
pub fn with_workspace<R>(f: impl FnOnce(&mut Workspace) -> R) -> R {
    WORKSPACE.with_borrow_mut(f)
}

/// What `write` makes of `len` elements `fill` between canaries, which it has to leave.
pub fn between_canaries<T: Element, R>(
    len: usize,
    fill: T,
    write: impl FnOnce(&mut [T]) -> R,
) -> (Vec<T>, R) {
    let canary = T::from_f64(-12345.0);
    let mut padded = vec![canary; CANARIES + len + CANARIES];
    let y = &mut padded[CANARIES..][..len];
    y.fill(fill);
    let result = write(y);
    let y = y.to_vec();
    assert!(padded[..CANARIES].iter().all(|&c| c == canary), "written before the output");
    assert!(padded[CANARIES + len..].iter().all(|&c| c == canary), "written behind the output");
    (y, result)
}

/// The same bits, but for which NaN it is.
pub fn same_bytes<T: Element>(a: T, b: T) -> bool {
    let (a, b) = (a.to_f64(), b.to_f64());
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

/// Panics where any element has other bytes.
pub fn assert_same_bytes<T: Element>(y: &[T], expected: &[T], context: &dyn std::fmt::Debug) {
    assert_eq!(y.len(), expected.len(), "{context:?}");
    for (i, (&y, &expected)) in y.iter().zip(expected).enumerate() {
        assert!(same_bytes(y, expected), "{context:?}\nat {i}: {y}, not {expected}");
    }
}

/// An instruction set of this machine.
pub fn isa(choice: u8) -> Isa {
    let isas = Isa::available();
    isas[usize::from(choice) % isas.len()]
}

/// Calls a function that is generic over the element type and the number of axes.
#[macro_export]
macro_rules! dispatch {
    ($shape:expr, $check:ident($($argument:expr),*)) => {
        match ($shape.rank % 3, $shape.double) {
            (0, false) => $check::<f32, 1>($($argument),*),
            (0, true) => $check::<f64, 1>($($argument),*),
            (1, false) => $check::<f32, 2>($($argument),*),
            (1, true) => $check::<f64, 2>($($argument),*),
            (_, false) => $check::<f32, 3>($($argument),*),
            (_, true) => $check::<f64, 3>($($argument),*),
        }
    };
}

/// A small problem: all numbers are reduced to their ranges.
#[derive(Debug, Clone, Arbitrary)]
pub struct Shape {
    pub rank: u8,
    pub double: bool,
    pub axes: [AxisInput; 3],
    pub padding: u8,
    pub channels: [u8; 2],
    pub groups: u8,
    pub batch: u8,
    pub budget: u8,
}

#[derive(Debug, Clone, Arbitrary)]
pub struct AxisInput {
    pub extent: u8,
    pub kernel: u8,
    pub stride: u8,
    pub dilation: u8,
    pub pad: [u8; 2],
}

impl Shape {
    pub fn batch(&self) -> usize {
        usize::from(self.batch % 4)
    }

    pub fn extent<const D: usize>(&self) -> [usize; D] {
        let mut extent: [usize; D] = std::array::from_fn(|axis| usize::from(self.axes[axis].extent) % 21);
        // One long row, for tiles that are wider than 20 positions.
        if D < 3 {
            extent[D - 1] = usize::from(self.axes[D - 1].extent) % 64;
        }
        extent
    }

    /// Kernel, stride, dilation and padding; one channel.
    fn layer<const D: usize>(&self) -> Params<D> {
        let of = |axis: usize| &self.axes[axis];
        let layer = Params::new(1, 1, std::array::from_fn(|axis| usize::from(of(axis).kernel) % 5 + 1))
            .stride(std::array::from_fn(|axis| usize::from(of(axis).stride) % 5 + 1))
            .dilation(std::array::from_fn(|axis| usize::from(of(axis).dilation) % 4 + 1));
        let pads = |side: usize| std::array::from_fn(|axis| isize::from(of(axis).pad[side] % 10) - 3);
        match self.padding % 8 {
            0 => layer.padding(Padding::Valid),
            1 => layer.padding(Padding::SameUpper),
            2 => layer.padding(Padding::SameLower),
            3 => layer.padding(std::array::from_fn::<_, D, _>(|axis| layer.kernel[axis] / 2)),
            _ => layer.padding(Padding::Explicit { begin: pads(0), end: pads(1) }),
        }
    }

    /// The problem with channels as many as `most` terms allow, those of the output first: they fill the lanes. None where a window does
    /// not fit. Most problems are allowed fewer terms than the most, so that many are tried.
    pub fn geometry<const D: usize>(&self, most: usize) -> Option<Geometry<D>> {
        let layer = self.layer::<D>();
        let plane = usize::try_from(layer.geometry(1, self.extent()).ok()?.macs()).ok()?;
        let params = self.with_channels(layer, plane, most);
        let geometry = params.geometry(self.batch(), self.extent()).ok()?;
        (geometry.macs() <= most as u128).then_some(geometry)
    }

    /// The same for a transposed convolution, that is for the convolution from its output to its input, of which these are the input's
    /// extents.
    pub fn transposed<const D: usize>(&self, most: usize) -> Params<D> {
        let layer = self.layer::<D>();
        let plane = layer.kernel.iter().chain(&self.extent::<D>()).map(|&extent| extent.max(1)).product();
        self.with_channels(layer, plane, most)
    }

    fn with_channels<const D: usize>(&self, mut layer: Params<D>, plane: usize, most: usize) -> Params<D> {
        let mut budget = ((most >> (self.budget % 9)) / plane).max(1);
        let mut take = |wanted: usize| {
            let taken = wanted.min(budget);
            budget /= taken;
            taken
        };
        take(self.batch().max(1));
        let groups = take(usize::from(self.groups % 4) + 1);
        let [out_channels, in_channels] = self.channels.map(|c| take(usize::from(c) % 40 + 1));
        (layer.in_channels, layer.out_channels) = (in_channels * groups, out_channels * groups);
        layer.groups(groups)
    }
}

/// An extent: mostly small, so that valid problems are met, else near a limit or anything.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub usize);

impl Arbitrary<'_> for Size {
    fn arbitrary(u: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let small = usize::from(u.arbitrary::<u8>()?);
        Ok(Self(match u.arbitrary::<u8>()? {
            0..160 => small % 12,
            160..190 => small,
            190..200 => (isize::MAX as usize - 8).wrapping_add(small % 16),
            200..210 => usize::MAX - small % 16,
            210..230 => (1 << (small % 64)) - usize::from(small >= 128),
            230..240 => isize::MAX as usize / (small + 1),
            _ => u.arbitrary()?,
        }))
    }
}

/// Padding: as [`Size`], of either sign.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Signed {
    pub size: Size,
    pub negative: bool,
}

impl Signed {
    pub fn get(self) -> isize {
        let size = self.size.0 as isize;
        if self.negative { size.wrapping_neg() } else { size }
    }
}

/// What numbers there are.
#[derive(Debug, Clone, Copy, PartialEq, Arbitrary)]
pub enum Kind {
    /// So small that every sum is exact, whatever its order.
    Integers,
    /// From −1 to 1.
    Reals,
    /// Of very different sizes.
    Magnitudes,
    /// With zeros of both signs, ∞ and NaN in the image.
    Specials,
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Numbers {
    pub state: u64,
    pub kind: Kind,
}

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from −1 to 1.
    pub fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Finite numbers.
    pub fn weights<T: Element>(&mut self, len: usize) -> Vec<T> {
        (0..len).map(|_| T::from_f64(self.finite())).collect()
    }

    pub fn image<T: Element>(&mut self, len: usize) -> Vec<T> {
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

/// How a problem is computed.
#[derive(Debug, Clone, Arbitrary)]
pub struct WayInput {
    pub isa: u8,
    pub kernel: u8,
    pub algorithm: u8,
    pub blocks: Blocks,
    pub parts: Option<u8>,
    pub lowering: u8,
    pub orientation: u8,
}

/// How sums are cut.
#[derive(Debug, Clone, Arbitrary)]
pub struct Blocks {
    pub k: Option<u8>,
    pub taps: Option<u8>,
    pub band: Option<[u8; 2]>,
}

impl Blocks {
    pub fn tuning(&self) -> Tuning {
        let mut tuning = Tuning::default();
        tuning.k_block = self.k.map(usize::from);
        tuning.tap_block = self.taps.map(|taps| usize::from(taps % 32));
        tuning.band = self.band.map(|band| band.map(|extent| usize::from(extent % 64)));
        tuning
    }
}

pub struct Way {
    pub isa: Isa,
    pub algorithm: Algorithm,
    pub tuning: Tuning,
}

impl Way {
    pub fn builder<T: Element, const D: usize>(&self, params: Params<D>) -> ConvBuilder<T, D> {
        convgemm::Conv::with_params(params).isa(self.isa).algorithm(self.algorithm).tuning(self.tuning)
    }
}

impl WayInput {
    pub fn way<T: Element>(&self) -> Way {
        let isa = isa(self.isa);
        let algorithm = [Algorithm::Auto, Algorithm::Direct, Algorithm::Gemm, Algorithm::Im2col]
            [usize::from(self.algorithm % 4)];
        let mut tuning = self.blocks.tuning();
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
