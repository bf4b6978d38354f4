//! AArch64 Advanced SIMD: 4 lanes of `f32`, 2 of `f64`.

use core::arch::aarch64::*;

use super::{Bits, Vector};

#[derive(Clone, Copy)]
pub(crate) struct F32(float32x4_t);

#[derive(Clone, Copy)]
pub(crate) struct F64(float64x2_t);

/// What differs between the two only in names.
macro_rules! vector {
    ($vector:ident, $elem:ident, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $add:ident,
     $mul:ident, $div:ident, $less:ident, $greater:ident, $select:ident, $lane:ident: $($n:literal)+) => {
        type Elem = $elem;
        type Square = [Self; $lanes];
        const LANES: usize = $lanes;
        type Splats = [Self; $lanes];
        type Mask = [usize; 2];
        const REGISTERS: usize = 32;

        #[inline(always)]
        unsafe fn splat(x: $elem) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            Self(unsafe { $splat(x) })
        }
        #[inline(always)]
        unsafe fn splats(from: *const $elem) -> Self::Splats {
            // A multiply-add takes any lane of a vector as it is.
            // SAFETY: the caller vouches for the instruction set and the elements.
            unsafe {
                let lanes = $load(from);
                [$(Self($lane::<$n>(lanes))),+]
            }
        }
        #[inline(always)]
        unsafe fn load(from: *const $elem) -> Self {
            // SAFETY: the caller vouches for the instruction set and the elements.
            Self(unsafe { $load(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut $elem) {
            // SAFETY: `self` proves the instruction set; the caller vouches for the elements.
            unsafe { $store(to, self.0) }
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
            let mut all = [0.0; $lanes];
            // SAFETY: `all` holds $lanes ≥ `lanes` elements; the caller vouches for `to`.
            unsafe {
                if lanes == $lanes {
                    return self.store(to);
                }
                self.store(all.as_mut_ptr());
                core::ptr::copy_nonoverlapping(all.as_ptr(), to, lanes);
            }
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $fma(c.0, self.0, b.0) })
        }
        #[inline(always)]
        fn add(self, b: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $add(self.0, b.0) })
        }
        #[inline(always)]
        fn mul(self, b: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $mul(self.0, b.0) })
        }
        #[inline(always)]
        fn div(self, b: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $div(self.0, b.0) })
        }
        #[inline(always)]
        fn at_least(self, lo: Self) -> Self {
            // FMAX would take +0 over −0; a comparison keeps what x86 keeps.
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $select($greater(lo.0, self.0), lo.0, self.0) })
        }
        #[inline(always)]
        fn at_most(self, hi: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $select($less(hi.0, self.0), hi.0, self.0) })
        }
        #[inline(always)]
        fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $select($less(self.0, bound.0), then.0, otherwise.0) })
        }
        #[inline(always)]
        fn square(self) -> Self::Square {
            [self; $lanes]
        }
    };
}

impl Vector for F32 {
    vector!(
        F32,
        f32,
        4,
        vdupq_n_f32,
        vld1q_f32,
        vst1q_f32,
        vfmaq_f32,
        vaddq_f32,
        vmulq_f32,
        vdivq_f32,
        vcltq_f32,
        vcgtq_f32,
        vbslq_f32,
        vdupq_laneq_f32: 0 1 2 3
    );

    #[inline(always)]
    fn transpose(m: &mut [Self; 4]) {
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            let pairs = |a: Self, b: Self| {
                let (even, odd) = (vtrn1q_f32(a.0, b.0), vtrn2q_f32(a.0, b.0));
                (vreinterpretq_f64_f32(even), vreinterpretq_f64_f32(odd))
            };
            let ((e01, o01), (e23, o23)) = (pairs(m[0], m[1]), pairs(m[2], m[3]));
            m[0].0 = vreinterpretq_f32_f64(vzip1q_f64(e01, e23));
            m[1].0 = vreinterpretq_f32_f64(vzip1q_f64(o01, o23));
            m[2].0 = vreinterpretq_f32_f64(vzip2q_f64(e01, e23));
            m[3].0 = vreinterpretq_f32_f64(vzip2q_f64(o01, o23));
        }
    }
}

impl Vector for F64 {
    vector!(
        F64,
        f64,
        2,
        vdupq_n_f64,
        vld1q_f64,
        vst1q_f64,
        vfmaq_f64,
        vaddq_f64,
        vmulq_f64,
        vdivq_f64,
        vcltq_f64,
        vcgtq_f64,
        vbslq_f64,
        vdupq_laneq_f64: 0 1
    );

    #[inline(always)]
    fn transpose(m: &mut [Self; 2]) {
        // SAFETY: the vectors prove the instruction set.
        let (even, odd) = unsafe { (vzip1q_f64(m[0].0, m[1].0), vzip2q_f64(m[0].0, m[1].0)) };
        *m = [Self(even), Self(odd)];
    }
}

impl Bits for F32 {
    #[inline(always)]
    fn shift_to_exponent(self) -> Self {
        // SAFETY: `self` proves the instruction set.
        Self(unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<23>(vreinterpretq_u32_f32(self.0))) })
    }
}
