//! The element types that convolution is computed in: `f32` and `f64`.

use std::any::Any;
use std::fmt::{Debug, Display};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element type of images and weights: [`f32`] or [`f64`]. Sealed.
///
/// The methods are the scalar operations that the oracle and the activations' definitions are written with.
pub trait Element:
    sealed::Sealed + Copy + Default + PartialEq + PartialOrd + Debug + Display + Send + Sync + Any
{
    /// +0.0.
    const ZERO: Self;
    /// +∞.
    const INFINITY: Self;
    /// −∞.
    const NEG_INFINITY: Self;
    /// The distance from 1 to the next larger number, 2⁻²³ or 2⁻⁵².
    const EPSILON: Self;
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// `self · b + c`, rounded once.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self + b`, rounded.
    #[must_use]
    fn plus(self, b: Self) -> Self;
    /// `self · b`, rounded.
    #[must_use]
    fn times(self, b: Self) -> Self;
    /// The value in double precision, exact.
    fn to_f64(self) -> f64;
    /// The nearest value to `x`.
    fn from_f64(x: f64) -> Self;
}

macro_rules! element {
    ($t:ident) => {
        impl Element for $t {
            const ZERO: Self = 0.0;
            const INFINITY: Self = $t::INFINITY;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const EPSILON: Self = $t::EPSILON;
            const NAME: &'static str = stringify!($t);

            fn mul_add(self, b: Self, c: Self) -> Self {
                $t::mul_add(self, b, c)
            }
            fn plus(self, b: Self) -> Self {
                self + b
            }
            fn times(self, b: Self) -> Self {
                self * b
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            #[allow(clippy::cast_possible_truncation)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
        }
    };
}

element!(f32);
element!(f64);
