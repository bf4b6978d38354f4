//! Hashes of the bytes of outputs, committed: the same on every fused instruction set, machine and version.
//!
//! `cargo test --test hashes -- --ignored --nocapture print_the_tables` prints the tables anew.

mod common;

use common::{Extras, Problem, Way, activations, announce};
use convgemm::{Activation, Element, Isa, Padding, Params, Tuning, Workspace};

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

trait Bytes: Element {
    /// Little-endian, whatever the machine; one NaN for all.
    fn hash(self, to: &mut Fnv);
}

impl Bytes for f32 {
    fn hash(self, to: &mut Fnv) {
        to.write(&if self.is_nan() { Self::NAN } else { self }.to_bits().to_le_bytes());
    }
}

impl Bytes for f64 {
    fn hash(self, to: &mut Fnv) {
        to.write(&if self.is_nan() { Self::NAN } else { self }.to_bits().to_le_bytes());
    }
}

#[test]
fn the_hash_is_fnv_1a() {
    let hash = |text: &str| {
        let mut fnv = Fnv::new();
        fnv.write(text.as_bytes());
        fnv.0
    };
    assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
}

/// A named problem.
struct Entry {
    name: &'static str,
    /// The output's hash on an instruction set, or the oracle's.
    hash: Box<dyn Fn(Option<Isa>) -> u64>,
}

fn entry<T: Bytes, const D: usize>(
    name: &'static str,
    problem: Problem<D>,
    extras: Extras<T>,
    tuning: Tuning,
) -> Entry {
    let hash = move |isa: Option<Isa>| {
        let data = problem.reals::<T>(name.bytes().map(u64::from).sum());
        let y = match isa {
            Some(isa) => {
                let way = Way { tuning, ..Way::auto(isa) };
                problem.run_with(&data, way, &extras, &mut Workspace::new())
            }
            None => problem.oracle_of(&data, &extras).output(),
        };
        let mut fnv = Fnv::new();
        y.into_iter().for_each(|y| y.hash(&mut fnv));
        fnv.0
    };
    Entry { name, hash: Box::new(hash) }
}

fn plain<T: Bytes, const D: usize>(
    name: &'static str,
    params: Params<D>,
    batch: usize,
    extent: [usize; D],
) -> Entry {
    entry::<T, D>(name, Problem::new(params, batch, extent), Extras::none(), Tuning::default())
}

fn layer(c_in: usize, c_out: usize, kernel: [usize; 2]) -> Params<2> {
    Params::new(c_in, c_out, kernel)
}

/// Layers of every kind without transcendental activations.
fn exact_entries() -> Vec<Entry> {
    let cut = Tuning::default().k_block(20).tap_block(4);
    let same = layer(9, 35, [3, 3]).padding([1, 1]);
    let (bias, all) = (Extras { bias: true, ..Extras::none() }, Extras::all());
    let mut entries = vec![
        plain::<f32, 1>("line", Params::new(5, 20, [7]).padding([3]), 2, [101]),
        plain::<f32, 1>("line, stride 3", Params::new(5, 20, [10]).stride([3]), 1, [200]),
        plain::<f32, 2>("pointwise", layer(70, 33, [1, 1]), 2, [9, 13]),
        plain::<f32, 2>("3×3", same, 1, [14, 14]),
        plain::<f32, 2>("7×7, stride 2", layer(3, 40, [7, 7]).padding([3, 3]).stride([2, 2]), 1, [37, 41]),
        plain::<f32, 2>("dilation 4", layer(4, 17, [3, 3]).padding([4, 4]).dilation([4, 4]), 1, [15, 19]),
        plain::<f32, 2>("groups", layer(12, 24, [3, 3]).padding([1, 1]).groups(3), 2, [10, 11]),
        plain::<f32, 2>("depthwise", layer(10, 20, [5, 3]).padding([2, 1]).groups(10), 1, [12, 13]),
        plain::<f32, 2>("asymmetric", layer(3, 9, [2, 5]).pad_begin([0, 3]).pad_end([2, -1]), 1, [12, 33]),
        plain::<f32, 2>(
            "same lower",
            layer(3, 8, [4, 4]).padding(Padding::SameLower).stride([3, 2]),
            1,
            [20, 21],
        ),
        plain::<f32, 3>("volume", Params::new(3, 18, [3, 2, 3]).padding([1, 0, 2]), 1, [5, 6, 7]),
        plain::<f64, 1>("line, f64", Params::new(5, 20, [7]).padding([3]), 2, [101]),
        plain::<f64, 2>("3×3, f64", same, 1, [14, 14]),
        plain::<f64, 2>("strided, f64", layer(4, 12, [3, 4]).stride([2, 3]).padding([2, 1]), 1, [21, 22]),
        plain::<f64, 3>(
            "volume, f64",
            Params::new(4, 8, [2, 3, 2]).groups(2).dilation([2, 1, 1]),
            2,
            [5, 6, 7],
        ),
        entry::<f32, 2>("3×3, blocks", Problem::new(same, 1, [14, 14]), bias.clone(), cut),
        entry::<f32, 2>("3×3, everything", Problem::new(same, 2, [9, 10]), all.clone(), cut),
        entry::<f64, 2>("3×3, everything, f64", Problem::new(same, 2, [9, 10]), Extras::all(), cut),
        plain::<f32, 1>("3000 taps", Params::new(1, 3, [3000]).padding([1500]), 1, [20]),
    ];
    let names = ["identity", "ReLU", "ReLU6", "clamp", "leaky ReLU", "PReLU", "hard sigmoid", "hard swish"];
    entries.extend(activated::<f32>(&names, |activation| !is_transcendental(activation)));
    entries
}

/// Those whose bytes change where the vector activations do.
fn transcendental_entries() -> Vec<Entry> {
    activated::<f32>(&["sigmoid", "tanh", "SiLU", "GELU", "GELU (tanh)"], is_transcendental)
}

/// The bytes of the `libm` crate's functions.
fn double_entries() -> Vec<Entry> {
    let names = ["sigmoid, f64", "tanh, f64", "SiLU, f64", "GELU, f64", "GELU (tanh), f64"];
    activated::<f64>(&names, is_transcendental)
}

fn is_transcendental<T>(activation: &Activation<T>) -> bool {
    use Activation::{Gelu, GeluTanh, Sigmoid, Silu, Tanh};
    matches!(activation, Sigmoid | Tanh | Silu | Gelu | GeluTanh)
}

/// A layer with bias and residual, and each activation that is chosen.
fn activated<T: Bytes>(names: &[&'static str], choose: impl Fn(&Activation<T>) -> bool) -> Vec<Entry> {
    let params = layer(8, 20, [3, 3]).padding([1, 1]);
    let chosen: Vec<_> = activations::<T>(20).into_iter().filter(choose).collect();
    assert_eq!(chosen.len(), names.len());
    let of = |(name, activation): (&&'static str, _)| {
        let extras = Extras { bias: true, residual: true, activation };
        entry::<T, 2>(name, Problem::new(params, 1, [9, 11]), extras, Tuning::default())
    };
    names.iter().zip(chosen).map(of).collect()
}

type Table = &'static [(&'static str, u64)];

const EXACT: Table = &[
    ("line", 0xc94c_c28f_8589_b208),
    ("line, stride 3", 0x1afe_7d8b_2b02_2327),
    ("pointwise", 0xc135_82b0_1ef1_328b),
    ("3×3", 0x7d0b_8382_1917_4d8f),
    ("7×7, stride 2", 0x8d88_d1f5_831f_6e74),
    ("dilation 4", 0xfe43_29e4_2cde_fd89),
    ("groups", 0x1ad2_03c9_b0d6_6530),
    ("depthwise", 0x458c_4213_fa32_e10a),
    ("asymmetric", 0xb88f_d63a_44c6_1277),
    ("same lower", 0xc764_9671_db81_6204),
    ("volume", 0x8077_1c69_9204_da4b),
    ("line, f64", 0xbcda_926a_4ced_f078),
    ("3×3, f64", 0x6955_7abb_4a7d_3ccd),
    ("strided, f64", 0xcbe6_9fa1_826e_6ce4),
    ("volume, f64", 0xde8a_393f_18a6_751e),
    ("3×3, blocks", 0xff6a_f7ab_bed1_fb43),
    ("3×3, everything", 0xe31d_f9c2_e292_f108),
    ("3×3, everything, f64", 0xc13b_813c_f045_c47b),
    ("3000 taps", 0xecd0_4de6_31d0_d822),
    ("identity", 0x34b7_f834_4f97_2a3d),
    ("ReLU", 0x2865_fb3f_f865_73a0),
    ("ReLU6", 0x256e_d95e_6534_3bfc),
    ("clamp", 0x9bfb_b146_ba13_fb07),
    ("leaky ReLU", 0xf662_e8c7_75e0_db2c),
    ("PReLU", 0xc77c_23ba_0361_f052),
    ("hard sigmoid", 0x2ec3_7577_3541_5f61),
    ("hard swish", 0xe789_a350_fc36_f843),
];

const DOUBLE: Table = &[
    ("sigmoid, f64", 0x3269_a5ca_2bce_2412),
    ("tanh, f64", 0x8c3e_c360_ed45_b1df),
    ("SiLU, f64", 0x7751_7ba6_4bf3_fc31),
    ("GELU, f64", 0x73f2_1b05_2c9d_2619),
    ("GELU (tanh), f64", 0x2c52_ba46_7131_c01e),
];

/// Of vector code in `f32`: to be printed anew where `src/kernel/activation.rs` computes other bytes on purpose.
const TRANSCENDENTAL: Table = &[
    ("sigmoid", 0x007a_6481_6f81_cbef),
    ("tanh", 0x95d6_8f87_d92b_0db6),
    ("SiLU", 0x20c0_d3eb_10eb_99ae),
    ("GELU", 0xc107_3b35_e70d_a742),
    ("GELU (tanh)", 0xbd83_0b79_2d0f_758b),
];

fn check(entries: &[Entry], table: Table, is_definition: bool) {
    let fused = Isa::available().into_iter().filter(|isa| isa.is_fused()).map(Some);
    // The oracle, on any machine, unless its definition of an activation is not how that is computed.
    let ways: Vec<_> = fused.chain(is_definition.then_some(None)).collect();
    println!("compared (none is the oracle): {ways:?}");
    let names: Vec<_> = table.iter().map(|(name, _)| *name).collect();
    assert_eq!(entries.iter().map(|entry| entry.name).collect::<Vec<_>>(), names);
    for (Entry { name, hash }, (_, expected)) in entries.iter().zip(table) {
        for &way in &ways {
            let hash = hash(way);
            assert!(hash == *expected, "{name} on {way:?}: {hash:#018x}, not {expected:#018x}");
        }
    }
}

#[test]
fn exact_layers_have_the_committed_bytes_on_every_isa() {
    announce("exact_layers_have_the_committed_bytes");
    check(&exact_entries(), EXACT, true);
}

#[test]
fn transcendental_f64_layers_have_the_committed_bytes_on_every_isa() {
    announce("transcendental_f64_layers_have_the_committed_bytes");
    check(&double_entries(), DOUBLE, true);
}

#[test]
fn transcendental_f32_layers_have_the_committed_bytes_on_every_isa() {
    announce("transcendental_f32_layers_have_the_committed_bytes");
    check(&transcendental_entries(), TRANSCENDENTAL, false);
}

#[test]
#[ignore = "prints the tables"]
fn print_the_tables() {
    let isa = Isa::available().into_iter().find(|isa| isa.is_fused());
    assert!(isa.is_some(), "a fused instruction set");
    let tables = [
        ("EXACT", exact_entries()),
        ("DOUBLE", double_entries()),
        ("TRANSCENDENTAL", transcendental_entries()),
    ];
    for (name, entries) in tables {
        println!("const {name}: Table = &[");
        for Entry { name, hash } in entries {
            let hash = format!("{:016x}", hash(isa));
            let groups: Vec<_> = (0..4).map(|i| &hash[4 * i..][..4]).collect();
            println!("    ({name:?}, 0x{}),", groups.join("_"));
        }
        println!("];");
    }
}
