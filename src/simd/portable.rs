//! The `wide` crate: 8 lanes of `f32`, 4 of `f64`, with whatever features the whole build enables.

use wide::{f32x8, f64x4};

use super::{Bits, Vector};

#[derive(Clone, Copy)]
pub(crate) struct F32(f32x8);

#[derive(Clone, Copy)]
pub(crate) struct F64(f64x4);

macro_rules! vector {
    ($vector:ident, $wide:ident, $elem:ident, $lanes:literal) => {
        impl Vector for $vector {
            type Elem = $elem;
            type Square = [Self; $lanes];
            const LANES: usize = $lanes;
            type Splats = [Self; 1];
            type Mask = [usize; 2];
            const REGISTERS: usize = 8;

            #[inline(always)]
            unsafe fn splat(x: $elem) -> Self {
                Self($wide::splat(x))
            }
            #[inline(always)]
            unsafe fn splats(from: *const $elem) -> Self::Splats {
                // SAFETY: the caller vouches for the instruction set and the element.
                unsafe { [Self::splat(*from)] }
            }
            #[inline(always)]
            unsafe fn load(from: *const $elem) -> Self {
                // SAFETY: the caller vouches for $lanes elements, which is what the array holds.
                Self($wide::from(unsafe { *from.cast::<[$elem; $lanes]>() }))
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $elem) {
                // SAFETY: the caller vouches for $lanes elements, which is what the array holds.
                unsafe { *to.cast::<[$elem; $lanes]>() = self.0.to_array() }
            }
            #[inline(always)]
            unsafe fn mask(first: usize, end: usize) -> Self::Mask {
                [first, end]
            }
            #[inline(always)]
            unsafe fn load_masked(from: *const $elem, [first, end]: Self::Mask) -> Self {
                // There is no masked load.
                // SAFETY: the caller's obligations are the same.
                unsafe { super::merge_lanes(Self::splat(0.0), from, 1, first, end) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $elem, lanes: usize) {
                debug_assert!(lanes <= $lanes);
                let all = self.0.to_array();
                // SAFETY: `all` holds $lanes ≥ `lanes` elements; the caller vouches for `to`.
                unsafe { core::ptr::copy_nonoverlapping(all.as_ptr(), to, lanes) }
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                Self(self.0.mul_add(b.0, c.0))
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                Self(self.0 + b.0)
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                Self(self.0 * b.0)
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                Self(self.0 / b.0)
            }
            #[inline(always)]
            fn at_least(self, lo: Self) -> Self {
                Self(lo.0.simd_gt(self.0).bitselect(lo.0, self.0))
            }
            #[inline(always)]
            fn at_most(self, hi: Self) -> Self {
                Self(hi.0.simd_lt(self.0).bitselect(hi.0, self.0))
            }
            #[inline(always)]
            fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self {
                Self(self.0.simd_lt(bound.0).bitselect(then.0, otherwise.0))
            }
            #[inline(always)]
            fn square(self) -> Self::Square {
                [self; $lanes]
            }
            #[inline(always)]
            fn transpose(m: &mut [Self; $lanes]) {
                *m = $wide::transpose(m.map(|row| row.0)).map(Self);
            }
        }
    };
}

vector!(F32, f32x8, f32, 8);
vector!(F64, f64x4, f64, 4);

impl Bits for F32 {
    #[inline(always)]
    fn shift_to_exponent(self) -> Self {
        Self(f32x8::from(self.0.to_array().map(|x| f32::from_bits(x.to_bits() << 23))))
    }
}
