//! Activations over vectors. Their definition is [`Activation::apply`].
//!
//! In `f32` they are made of multiply-adds, sums, products, quotients, comparisons and one shift of bits: every
//! instruction set that rounds a multiply-add once computes the same bytes. The greatest distance from the
//! definition over all 2³² values, in units in the last place (2⁻¹⁴⁹ for denormal results), as
//! `tests/activations.rs` measures it:
//!
//! | | multiply-add rounds once | twice (portable on x86-64) |
//! |-|-|-|
//! | sigmoid | 2 | 2 |
//! | tanh | 3 | 3 |
//! | SiLU | 3 | 3 |
//! | GELU | 6 | 69 |
//! | GELU (tanh) | 231 | 214 |
//!
//! What is beyond 4 is the GELUs' left tail, and within 2⁻²²·|x|.

use crate::element::Element;
use crate::epilogue::Activation;
use crate::simd::{Bits, MAX_LANES, Vector};

/// Activations in `f32`.
#[inline(always)]
pub(crate) fn single<V: Bits>(activation: &Activation<f32>, x: V, channel: usize) -> V {
    match activation {
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => tanh(x),
        Activation::Silu => gate(x, x),
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => gelu_tanh(x),
        other => exact(other, x, channel),
    }
}

/// Activations in `f64`: the transcendental ones lane by lane, by their definition.
#[inline(always)]
pub(crate) fn double<V: Vector<Elem = f64>>(activation: &Activation<f64>, x: V, channel: usize) -> V {
    use Activation::{Gelu, GeluTanh, Sigmoid, Silu, Tanh};
    match activation {
        Sigmoid | Tanh | Silu | Gelu | GeluTanh => scalar(activation, x, channel),
        other => exact(other, x, channel),
    }
}

/// Those made of comparisons, products and sums, in the definition's order.
#[inline(always)]
fn exact<V: Vector>(activation: &Activation<V::Elem>, x: V, channel: usize) -> V {
    let zero = all(x, V::Elem::ZERO);
    let leaky = |slope| x.if_less(zero, all(x, slope).mul(x), x);
    let hard_sigmoid = || {
        let line = x.mul_add(all(x, V::Elem::from_f64(1.0 / 6.0)), all(x, V::Elem::from_f64(0.5)));
        line.at_least(zero).at_most(all(x, V::Elem::from_f64(1.0)))
    };
    match activation {
        Activation::LeakyRelu { slope } => leaky(*slope),
        Activation::Prelu { slopes } => leaky(slopes[channel]),
        Activation::HardSigmoid => hard_sigmoid(),
        Activation::HardSwish => x.mul(hard_sigmoid()),
        other => {
            let (lo, hi) = other.clamp().expect("the others are clamps");
            x.at_least(all(x, lo)).at_most(all(x, hi))
        }
    }
}

/// The definition, lane by lane.
#[inline(always)]
fn scalar<V: Vector>(activation: &Activation<V::Elem>, x: V, channel: usize) -> V {
    let mut lanes = [V::Elem::ZERO; MAX_LANES];
    // SAFETY: MAX_LANES ≥ LANES; `x` proves the instruction set.
    unsafe {
        x.store(lanes.as_mut_ptr());
        for lane in &mut lanes[..V::LANES] {
            *lane = activation.apply(*lane, channel);
        }
        V::load(lanes.as_ptr())
    }
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
fn sigmoid<V: Bits>(x: V) -> V {
    scaled_sigmoid(x).mul(all(x, DOWN))
}

/// tanh x = (e²ˣ − 1) / (e²ˣ + 1), where e²ˣ − 1 does not cancel.
#[inline(always)]
fn tanh<V: Bits>(x: V) -> V {
    // Beyond ±9.02 it rounds to ±1.
    let x = x.at_least(all(x, -9.1)).at_most(all(x, 9.1));
    let (r, up) = split(x.add(x));
    let power = up.mul(all(x, DOWN));
    let expm1 = expm1(r).mul_add(power, power.add(all(x, -1.0)));
    expm1.div(expm1.add(all(x, 2.0)))
}

/// x/2 · (1 + tanh u) = x · sigmoid(2u), with 2u = 2√(2/π)·(x + 0.044715·x³).
#[inline(always)]
fn gelu_tanh<V: Bits>(x: V) -> V {
    let cubic = x.mul(x).mul_add(all(x, 0.071_354_814), all(x, 1.595_769));
    gate(x, x.mul(cubic))
}

/// relu(x) − |x|·Φ(−|x|), where Φ(−a) = e^−½a²·R(a) is the normal distribution's tail.
#[inline(always)]
fn gelu<V: Bits>(x: V) -> V {
    let minus_one = all(x, -1.0);
    // From 14.5 on, the tail times a is below half the least denormal.
    let a = x.at_least(x.mul(minus_one)).at_most(all(x, 14.5));
    // What the square loses in rounding would lose digits of the exponential: it goes into the exponent beside it.
    let square = a.mul(a);
    let lost = a.mul(minus_one).mul_add(a, square);
    let (r, up) = split(square.mul(all(x, -0.5)));
    let exp = expm1(lost.mul_add(all(x, 0.5), r)).mul_add(up, up);
    let tail = a.mul(exp).mul(polynomial(a, TAIL_ABOVE)).div(polynomial(a, TAIL_BELOW));
    tail.mul_add(all(x, -DOWN), x.at_least(all(x, 0.0)))
}

/// x · sigmoid(argument), where argument/x ≥ 1.
#[inline(always)]
fn gate<V: Bits>(x: V, argument: V) -> V {
    // Below −120 the sigmoid is that of −120: x must not grow further. From 20 on it is 1, and 2⁶⁴·x may overflow.
    let y = x.at_least(all(x, -120.0)).mul(scaled_sigmoid(argument)).mul(all(x, DOWN));
    x.if_less(all(x, 20.0), y, x)
}

/// sigmoid(x)·2⁶⁴ = e^x·2⁶⁴ / (1 + e^x).
#[inline(always)]
fn scaled_sigmoid<V: Bits>(x: V) -> V {
    // Bounds where it is 0 in f32, even times x, and 1.
    let (r, up) = split(x.at_least(all(x, -120.0)).at_most(all(x, 30.0)));
    let exp = expm1(r).mul_add(up, up);
    exp.div(exp.mul_add(all(x, DOWN), all(x, 1.0)))
}

/// 2⁻⁶⁴. Exponentials are made 2⁶⁴ times too large and scaled down at last: denormal results are rounded there only.
const DOWN: f32 = 1.0 / (1_u128 << 64) as f32;

/// x = n·ln 2 + r with |r| ≤ ln 2 / 2 for −120 ≤ x ≤ 40: (r, 2ⁿ⁺⁶⁴).
#[inline(always)]
fn split<V: Bits>(x: V) -> (V, V) {
    // To 1.5·2²³ only integers can be added: the lowest bits of the sum are n + 64 + 127, the exponent of 2ⁿ⁺⁶⁴.
    const ROUND: f32 = 12_582_912.0 + 64.0 + 127.0;
    // ln 2 in two parts; the first is so short that its product with n is exact even when rounded.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let rounded = x.mul_add(all(x, std::f32::consts::LOG2_E), all(x, ROUND));
    let n = rounded.add(all(x, -ROUND));
    let r = n.mul_add(all(x, -LN_2[1]), n.mul_add(all(x, -LN_2[0]), x));
    (r, rounded.shift_to_exponent())
}

/// e^r − 1 for |r| ≤ ln 2 / 2, relative error below 2⁻²⁶.
#[inline(always)]
fn expm1<V: Vector<Elem = f32>>(r: V) -> V {
    r.mul(r).mul_add(polynomial(r, EXP), r)
}

/// (e^r − 1 − r) / r²: minimax.
const EXP: [f32; 5] = [0.499_999_97, 0.166_665_46, 0.041_667_44, 0.008_366_29, 0.001_387_042_6];
/// R(a) = e^½a²·Φ(−a) for 0 ≤ a ≤ 14.5, above and below the fraction bar: minimax, relative error below 2⁻²⁶.
const TAIL_ABOVE: [f32; 5] = [0.5, 0.437_594_92, 0.182_690_13, 0.040_441_807, 0.004_085_599_4];
const TAIL_BELOW: [f32; 6] = [1.0, 1.673_074_7, 1.200_296_8, 0.468_024_94, 0.101_379_15, 0.010_240_957];

/// Σ cᵢ·xⁱ by Horner's rule.
#[inline(always)]
fn polynomial<V: Vector<Elem = f32>, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let highest = all(x, coefficients[N - 1]);
    coefficients[..N - 1].iter().rev().fold(highest, |sum, &c| sum.mul_add(x, all(x, c)))
}

/// `value` in every lane.
#[inline(always)]
fn all<V: Vector>(_proof: V, value: V::Elem) -> V {
    // SAFETY: a vector that exists proves the instruction set.
    unsafe { V::splat(value) }
}
