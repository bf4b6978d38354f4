//! AVX-512F: 16 lanes of `f32`, 8 of `f64`.

use core::arch::x86_64::*;

use super::{Bits, Vector};

#[derive(Clone, Copy)]
pub(crate) struct F32(__m512);

#[derive(Clone, Copy)]
pub(crate) struct F64(__m512d);

/// What differs between the two only in names.
macro_rules! vector {
    ($vector:ident, $elem:ident, $lanes:literal, $mask:ident, $splat:ident, $load:ident, $store:ident,
     $mask_load:ident, $mask_store:ident, $fma:ident, $add:ident, $mul:ident, $div:ident, $max:ident, $min:ident,
     $compare:ident, $blend:ident) => {
        type Elem = $elem;
        type Square = [Self; $lanes];
        const LANES: usize = $lanes;

        #[inline(always)]
        unsafe fn splat(x: $elem) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            Self(unsafe { $splat(x) })
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
        unsafe fn merge_range(self, from: *const $elem, first: usize, end: usize) -> Self {
            debug_assert!(first <= end && end <= $lanes);
            let mask = ((1_u32 << end) - (1_u32 << first)) as $mask;
            // SAFETY: `self` proves the instruction set; only the lanes in `mask` are read, for which the caller
            // vouches.
            Self(unsafe { $mask_load(self.0, mask, from) })
        }
        #[inline(always)]
        unsafe fn store_first(self, to: *mut $elem, lanes: usize) {
            debug_assert!(lanes <= $lanes);
            let mask = ((1_u32 << lanes) - 1) as $mask;
            // SAFETY: `self` proves the instruction set; only the lanes in `mask` are written, for which the
            // caller vouches.
            unsafe { $mask_store(to, mask, self.0) }
        }
        #[inline(always)]
        fn prefetch(at: *const $elem) {
            // SAFETY: every x86-64 has the instruction, which takes any address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }
        #[inline(always)]
        fn prefetch_write(at: *mut $elem) {
            // SAFETY: the instruction takes any address, and does nothing on a CPU without it.
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(at.cast()) }
        }
        #[inline(always)]
        fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $fma(self.0, b.0, c.0) })
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
            // The instruction gives its second operand where either is NaN or both are zeros.
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $max(lo.0, self.0) })
        }
        #[inline(always)]
        fn at_most(self, hi: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $min(hi.0, self.0) })
        }
        #[inline(always)]
        fn if_less(self, bound: Self, then: Self, otherwise: Self) -> Self {
            // SAFETY: `self` proves the instruction set.
            Self(unsafe { $blend($compare::<_CMP_LT_OQ>(self.0, bound.0), otherwise.0, then.0) })
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
        16,
        __mmask16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_mask_loadu_ps,
        _mm512_mask_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_mul_ps,
        _mm512_div_ps,
        _mm512_max_ps,
        _mm512_min_ps,
        _mm512_cmp_ps_mask,
        _mm512_mask_blend_ps
    );

    #[inline(always)]
    fn transpose(m: &mut [Self; 16]) {
        // Pairs of lanes, pairs of pairs, then 128-bit quarters twice: 64 shuffles.
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            let mut r = [_mm512_setzero_pd(); 16];
            for i in 0..8 {
                let (a, b) = (m[2 * i].0, m[2 * i + 1].0);
                r[2 * i] = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                r[2 * i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            }
            // q[4·j + i] holds, in quarter k, column 4·k + i of rows 4·j … 4·j + 3.
            let mut q = [_mm512_setzero_ps(); 16];
            for j in 0..4 {
                for half in 0..2 {
                    let (a, b) = (r[4 * j + half], r[4 * j + half + 2]);
                    q[4 * j + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    q[4 * j + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            for i in 0..4 {
                let e0 = _mm512_shuffle_f32x4::<0x88>(q[i], q[4 + i]);
                let o0 = _mm512_shuffle_f32x4::<0xdd>(q[i], q[4 + i]);
                let e1 = _mm512_shuffle_f32x4::<0x88>(q[8 + i], q[12 + i]);
                let o1 = _mm512_shuffle_f32x4::<0xdd>(q[8 + i], q[12 + i]);
                m[i].0 = _mm512_shuffle_f32x4::<0x88>(e0, e1);
                m[i + 8].0 = _mm512_shuffle_f32x4::<0xdd>(e0, e1);
                m[i + 4].0 = _mm512_shuffle_f32x4::<0x88>(o0, o1);
                m[i + 12].0 = _mm512_shuffle_f32x4::<0xdd>(o0, o1);
            }
        }
    }
}

impl Vector for F64 {
    vector!(
        F64,
        f64,
        8,
        __mmask8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_mask_loadu_pd,
        _mm512_mask_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_mul_pd,
        _mm512_div_pd,
        _mm512_max_pd,
        _mm512_min_pd,
        _mm512_cmp_pd_mask,
        _mm512_mask_blend_pd
    );

    #[inline(always)]
    fn transpose(m: &mut [Self; 8]) {
        // Pairs of lanes, then 128-bit quarters twice: 24 shuffles.
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            // q[2·j + i] holds, in quarter k, column 2·k + i of rows 2·j and 2·j + 1.
            let mut q = [_mm512_setzero_pd(); 8];
            for j in 0..4 {
                let (a, b) = (m[2 * j].0, m[2 * j + 1].0);
                q[2 * j] = _mm512_unpacklo_pd(a, b);
                q[2 * j + 1] = _mm512_unpackhi_pd(a, b);
            }
            for i in 0..2 {
                let e0 = _mm512_shuffle_f64x2::<0x88>(q[i], q[2 + i]);
                let o0 = _mm512_shuffle_f64x2::<0xdd>(q[i], q[2 + i]);
                let e1 = _mm512_shuffle_f64x2::<0x88>(q[4 + i], q[6 + i]);
                let o1 = _mm512_shuffle_f64x2::<0xdd>(q[4 + i], q[6 + i]);
                m[i].0 = _mm512_shuffle_f64x2::<0x88>(e0, e1);
                m[i + 4].0 = _mm512_shuffle_f64x2::<0xdd>(e0, e1);
                m[i + 2].0 = _mm512_shuffle_f64x2::<0x88>(o0, o1);
                m[i + 6].0 = _mm512_shuffle_f64x2::<0xdd>(o0, o1);
            }
        }
    }
}

impl Bits for F32 {
    #[inline(always)]
    fn shift_to_exponent(self) -> Self {
        // SAFETY: `self` proves the instruction set.
        Self(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
    }
}
