//! AVX2 with FMA: 8 lanes of `f32`, 4 of `f64`.

use core::arch::x86_64::*;

use super::{BLOCKS, Bits, Vector};

#[derive(Clone, Copy)]
pub(crate) struct F32(pub(super) __m256);

#[derive(Clone, Copy)]
pub(crate) struct F64(__m256d);

/// What differs between the two only in names.
macro_rules! vector {
    ($vector:ident, $elem:ident, $lanes:literal, $splat:ident, $load:ident, $store:ident, $stream:ident,
     $fma:ident, $add:ident, $mul:ident, $div:ident, $max:ident, $min:ident, $compare:ident, $blend:ident) => {
        type Elem = $elem;
        type Square = [Self; $lanes];
        const LANES: usize = $lanes;
        type Splats = [Self; 1];
        type Mask = __m256i;
        const REGISTERS: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: $elem) -> Self {
            // SAFETY: the caller vouches for the instruction set.
            Self(unsafe { $splat(x) })
        }
        #[inline(always)]
        unsafe fn splats(from: *const $elem) -> Self::Splats {
            // SAFETY: the caller vouches for the instruction set and the element.
            unsafe { [Self::splat(*from)] }
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
        unsafe fn stream(self, to: *mut $elem) {
            debug_assert!(to.addr() % 32 == 0);
            // SAFETY: `self` proves the instruction set; the caller vouches for the elements and the alignment.
            unsafe { $stream(to, self.0) }
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
            Self(unsafe { $blend(otherwise.0, then.0, $compare::<_CMP_LT_OQ>(self.0, bound.0)) })
        }
        #[inline(always)]
        fn square(self) -> Self::Square {
            [self; $lanes]
        }
    };
}

/// The even elements of two vectors, or the odd ones: 0 2 | 8 10 | 4 6 | 12 14.
///
/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn pairs(a: __m256, b: __m256, odd: isize) -> __m256 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        match odd {
            0 => _mm256_shuffle_ps::<0b10_00_10_00>(a, b),
            _ => _mm256_shuffle_ps::<0b11_01_11_01>(a, b),
        }
    }
}

/// The same in order.
///
/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
unsafe fn half(a: __m256, b: __m256, odd: isize) -> __m256 {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let pairs = pairs(a, b, odd);
        _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(pairs)))
    }
}

/// For [`Vector::every_third`] with each `first`: where each lane comes from, and which of these lanes come from the second and from
/// the third vector.
const THIRD: [[[i32; 8]; 3]; 3] = {
    let (mut all, mut i) = ([[[0; 8]; 3]; 3], 0);
    while i < 24 {
        let (first, l) = (i / 8, i % 8);
        let at = 3 * l + first;
        all[first][0][l] = at as i32 % 8;
        if at >= 8 {
            all[first][at / 8][at % 8] = -1;
        }
        i += 1;
    }
    all
};

impl Vector for F32 {
    vector!(
        F32,
        f32,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_stream_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        _mm256_cmp_ps,
        _mm256_blendv_ps
    );

    const SHUFFLED: usize = 2;

    #[inline(always)]
    fn every_second(blocks: &[Self; BLOCKS], first: isize) -> Self {
        let [before, a, b, behind, ..] = blocks;
        let rest = if first < 0 { before } else { behind };
        // SAFETY: a vector proves the instruction set.
        let low = unsafe { half(a.0, b.0, first.rem_euclid(2)) };
        if matches!(first, 0 | 1) {
            return Self(low);
        }
        // SAFETY: a vector proves the instruction set. Lanes first / 2 and on of `low`, and those of the vector before or behind.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let rotated = _mm256_add_epi32(lanes, _mm256_set1_epi32(first.div_euclid(2) as i32));
            let outside = _mm256_castsi256_ps(if first < 0 {
                _mm256_cmpgt_epi32(_mm256_setzero_si256(), rotated)
            } else {
                _mm256_cmpgt_epi32(rotated, _mm256_set1_epi32(7))
            });
            let rest = half(rest.0, rest.0, first.rem_euclid(2));
            Self(_mm256_blendv_ps(
                _mm256_permutevar8x32_ps(low, rotated),
                _mm256_permutevar8x32_ps(rest, rotated),
                outside,
            ))
        }
    }

    #[inline(always)]
    fn every_third([a, b, c]: &[Self; 3], first: usize) -> Self {
        // No two of the elements are in the same lane, so that they are put into one vector, then in order.
        // SAFETY: a vector proves the instruction set.
        unsafe {
            let [from, second, third] = &THIRD[first];
            let from = _mm256_loadu_si256(from.as_ptr().cast());
            let low = _mm256_blendv_ps(a.0, b.0, _mm256_loadu_ps(second.as_ptr().cast()));
            let all = _mm256_blendv_ps(low, c.0, _mm256_loadu_ps(third.as_ptr().cast()));
            Self(_mm256_permutevar8x32_ps(all, from))
        }
    }

    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> Self {
        // SAFETY: the caller vouches for the instruction set and the elements. The second load ends with the last
        // element.
        unsafe {
            if stride != 2 {
                return super::merge_lanes(Self::splat(0.0), from, stride, 0, 8);
            }
            let (low, high) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.wrapping_add(7)));
            // Quarters of 0 2 | 8 10 and 4 6 | 12 14.
            let pairs = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_10_00>(low, high));
            Self(_mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(pairs)))
        }
    }

    #[inline(always)]
    unsafe fn mask(first: usize, end: usize) -> Self::Mask {
        debug_assert!(first <= end && end <= 8);
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let below_end = _mm256_cmpgt_epi32(_mm256_set1_epi32(end as i32), lanes);
            let below_first = _mm256_cmpgt_epi32(_mm256_set1_epi32(first as i32), lanes);
            _mm256_andnot_si256(below_first, below_end)
        }
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: Self::Mask) -> Self {
        // SAFETY: the caller vouches for the instruction set and the lanes in `mask`, which alone are read.
        Self(unsafe { _mm256_maskload_ps(from, mask) })
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, lanes: usize) {
        debug_assert!(lanes <= 8);
        // In pieces: a masked store takes tens of cycles on AMD.
        // SAFETY: `self` proves the instruction set; 4, 2 and 1 elements add up to `lanes`, for which the caller
        // vouches.
        unsafe {
            if lanes == 8 {
                return self.store(to);
            }
            let (mut rest, mut to) = (_mm256_castps256_ps128(self.0), to);
            if lanes & 4 != 0 {
                _mm_storeu_ps(to, rest);
                (rest, to) = (_mm256_extractf128_ps::<1>(self.0), to.wrapping_add(4));
            }
            if lanes & 2 != 0 {
                _mm_storel_pd(to.cast(), _mm_castps_pd(rest));
                (rest, to) = (_mm_movehl_ps(rest, rest), to.wrapping_add(2));
            }
            if lanes & 1 != 0 {
                _mm_store_ss(to, rest);
            }
        }
    }

    #[inline(always)]
    fn transpose(m: &mut [Self; 8]) {
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            let mut r = [_mm256_setzero_pd(); 8];
            for i in 0..4 {
                let (a, b) = (m[2 * i].0, m[2 * i + 1].0);
                r[2 * i] = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
                r[2 * i + 1] = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
            }
            let mut q = [_mm256_setzero_ps(); 8];
            for j in 0..2 {
                for half in 0..2 {
                    let (a, b) = (r[4 * j + half], r[4 * j + half + 2]);
                    q[4 * j + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                    q[4 * j + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
                }
            }
            // q[4·j + i] holds, in half k, column 4·k + i of rows 4·j … 4·j + 3.
            for column in 0..4 {
                let (a, b) = (q[column], q[4 + column]);
                m[column].0 = _mm256_permute2f128_ps::<0x20>(a, b);
                m[column + 4].0 = _mm256_permute2f128_ps::<0x31>(a, b);
            }
        }
    }
}

impl Vector for F64 {
    vector!(
        F64,
        f64,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_stream_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_mul_pd,
        _mm256_div_pd,
        _mm256_max_pd,
        _mm256_min_pd,
        _mm256_cmp_pd,
        _mm256_blendv_pd
    );

    #[inline(always)]
    unsafe fn mask(first: usize, end: usize) -> Self::Mask {
        debug_assert!(first <= end && end <= 4);
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
            let below_end = _mm256_cmpgt_epi64(_mm256_set1_epi64x(end as i64), lanes);
            let below_first = _mm256_cmpgt_epi64(_mm256_set1_epi64x(first as i64), lanes);
            _mm256_andnot_si256(below_first, below_end)
        }
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f64, mask: Self::Mask) -> Self {
        // SAFETY: the caller vouches for the instruction set and the lanes in `mask`, which alone are read.
        Self(unsafe { _mm256_maskload_pd(from, mask) })
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f64, lanes: usize) {
        debug_assert!(lanes <= 4);
        // SAFETY: `self` proves the instruction set; 2 and 1 elements add up to `lanes`, for which the caller
        // vouches.
        unsafe {
            if lanes == 4 {
                return self.store(to);
            }
            let (mut rest, mut to) = (_mm256_castpd256_pd128(self.0), to);
            if lanes & 2 != 0 {
                _mm_storeu_pd(to, rest);
                (rest, to) = (_mm256_extractf128_pd::<1>(self.0), to.wrapping_add(2));
            }
            if lanes & 1 != 0 {
                _mm_store_sd(to, rest);
            }
        }
    }

    #[inline(always)]
    fn transpose(m: &mut [Self; 4]) {
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            for i in 0..2 {
                let (a, b) = (m[2 * i].0, m[2 * i + 1].0);
                (m[2 * i].0, m[2 * i + 1].0) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            }
            for i in 0..2 {
                let (a, b) = (m[i].0, m[i + 2].0);
                m[i].0 = _mm256_permute2f128_pd::<0x20>(a, b);
                m[i + 2].0 = _mm256_permute2f128_pd::<0x31>(a, b);
            }
        }
    }
}

impl Bits for F32 {
    #[inline(always)]
    fn shift_to_exponent(self) -> Self {
        // SAFETY: `self` proves the instruction set.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }
}
