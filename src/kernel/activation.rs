//! Activations over vectors. Their definition is [`Activation::apply`].

use crate::element::Element;
use crate::epilogue::Activation;
use crate::simd::{Bits, MAX_LANES, Vector};

/// Activations in `f32`.
#[inline(always)]
pub(crate) fn single<V: Bits>(activation: &Activation<f32>, x: V, channel: usize) -> V {
    match exact(activation, x, channel) {
        Some(y) => y,
        None => scalar(activation, x, channel),
    }
}

/// Activations in `f64`: the transcendental ones lane by lane, by their definition.
#[inline(always)]
pub(crate) fn double<V: Vector<Elem = f64>>(activation: &Activation<f64>, x: V, channel: usize) -> V {
    match exact(activation, x, channel) {
        Some(y) => y,
        None => scalar(activation, x, channel),
    }
}

/// Those made of comparisons, products and sums, in the definition's order.
#[inline(always)]
fn exact<V: Vector>(activation: &Activation<V::Elem>, x: V, channel: usize) -> Option<V> {
    // SAFETY: `x` proves the instruction set.
    let splat = |value: V::Elem| unsafe { V::splat(value) };
    let leaky = |slope| x.if_less(splat(V::Elem::ZERO), splat(slope).mul(x), x);
    let hard_sigmoid = || {
        let line = x.mul_add(splat(V::Elem::from_f64(1.0 / 6.0)), splat(V::Elem::from_f64(0.5)));
        line.at_least(splat(V::Elem::ZERO)).at_most(splat(V::Elem::from_f64(1.0)))
    };
    Some(match activation {
        Activation::LeakyRelu { slope } => leaky(*slope),
        Activation::Prelu { slopes } => leaky(slopes[channel]),
        Activation::HardSigmoid => hard_sigmoid(),
        Activation::HardSwish => x.mul(hard_sigmoid()),
        other => {
            let (lo, hi) = other.clamp()?;
            x.at_least(splat(lo)).at_most(splat(hi))
        }
    })
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
