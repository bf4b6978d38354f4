//! What stands behind a convolution and is computed with it.

use convgemm::Activation;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::element_wise::ElementWiseOp;
use tract_core::ops::math::{Add, Max, Min, Tanh};
use tract_core::ops::nn::{GeluApproximate, GeluExact, HardSwish, LeakyRelu, Sigmoid, Silu};

/// The operators behind a convolution that are part of it.
pub(crate) struct Followers {
    pub(crate) residual: Option<OutletId>,
    pub(crate) activation: Activation<f32>,
    /// The last of them, or the convolution where there is none.
    pub(crate) last: usize,
}

impl Followers {
    /// Goes along operators that are the only ones to use what stands before them.
    pub(crate) fn of(model: &TypedModel, convolution: &TypedNode) -> TractResult<Self> {
        let mut followers = Self { residual: None, activation: Activation::Identity, last: convolution.id };
        while let Some(next) = followers.next(model)? {
            if !followers.take(model, next)? {
                break;
            }
            followers.last = next.id;
        }
        Ok(followers)
    }

    fn next<'a>(&self, model: &'a TypedModel) -> TractResult<Option<&'a TypedNode>> {
        let here = OutletId::new(self.last, 0);
        if model.output_outlets()?.contains(&here) {
            return Ok(None);
        }
        let Some(next) = model.single_succ(self.last)? else { return Ok(None) };
        let same = alike(model.outlet_fact(here)?, model.outlet_fact(next.id.into())?);
        Ok(Some(next).filter(|_| same))
    }

    /// Whether `next` could be made a part.
    fn take(&mut self, model: &TypedModel, next: &TypedNode) -> TractResult<bool> {
        if let Some(op) = next.op_as::<ElementWiseOp>() {
            let first = self.activation == Activation::Identity;
            let Some(activation) = activation(op).filter(|_| first) else { return Ok(false) };
            self.activation = activation;
            return Ok(true);
        }
        let (Some(TypedBinOp(op, None)), [a, b]) = (next.op_as(), &*next.inputs) else { return Ok(false) };
        let other = if a.node == self.last { *b } else { *a };
        let fact = model.outlet_fact(other)?;
        if op.is::<Add>() {
            let first = self.residual.is_none() && self.activation == Activation::Identity;
            let taken = first && alike(fact, model.outlet_fact(self.last.into())?);
            if taken {
                self.residual = Some(other);
            }
            return Ok(taken);
        }
        let Some(bound) = fact.konst.as_ref().and_then(|bound| bound.as_uniform()) else { return Ok(false) };
        let bound = bound.cast_to_scalar::<f32>()?;
        let (lo, hi) = match self.activation {
            Activation::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Activation::Clamp { lo, hi } => (lo, hi),
            _ => return Ok(false),
        };
        let (lo, hi) = match () {
            () if bound.is_nan() => return Ok(false),
            () if op.is::<Max>() => (lo.max(bound), hi.max(bound)),
            () if op.is::<Min>() => (lo.min(bound), hi.min(bound)),
            () => return Ok(false),
        };
        self.activation = Activation::Clamp { lo, hi };
        Ok(true)
    }
}

fn alike(a: &TypedFact, b: &TypedFact) -> bool {
    a.datum_type == b.datum_type && a.shape == b.shape
}

fn activation(ElementWiseOp(op, datum_type): &ElementWiseOp) -> Option<Activation<f32>> {
    if datum_type.is_some() {
        return None;
    }
    if let Some(LeakyRelu { alpha }) = op.downcast_ref() {
        return Some(Activation::LeakyRelu { slope: *alpha });
    }
    match () {
        () if op.is::<Sigmoid>() => Some(Activation::Sigmoid),
        () if op.is::<Tanh>() => Some(Activation::Tanh),
        () if op.is::<Silu>() => Some(Activation::Silu),
        () if op.is::<HardSwish>() => Some(Activation::HardSwish),
        () if op.is::<GeluExact>() => Some(Activation::Gelu),
        // The fast one is another function.
        () if op.downcast_ref() == Some(&GeluApproximate { fast_impl: false }) => Some(Activation::GeluTanh),
        () => None,
    }
}
