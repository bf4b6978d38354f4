//! AVX-512F: 16 lanes of `f32`, 8 of `f64`.

use core::arch::x86_64::*;

use super::picks::{ORDER_F32, ORDER_F64, SECOND_F32, SECOND_F64, THIRD_F32, THIRD_F64};
use super::{BEFORE, BLOCKS, Bits, Vector};

#[derive(Clone, Copy)]
pub(crate) struct F32(__m512);

#[derive(Clone, Copy)]
pub(crate) struct F64(__m512d);

/// What differs between the two only in names.
macro_rules! vector {
    ($vector:ident, $elem:ident, $lanes:literal, $mask:ident, $splat:ident, $load:ident, $store:ident, $stream:ident,
     $mask_load:ident, $mask_store:ident, $fma:ident, $add:ident, $mul:ident, $div:ident, $max:ident, $min:ident,
     $compare:ident, $blend:ident) => {
        type Elem = $elem;
        type Square = [Self; $lanes];
        const LANES: usize = $lanes;
        type Splats = [Self; 1];
        type Mask = $mask;
        const FREE_MASKS: bool = true;
        const HIDES_COPIES: bool = true;
        const REGISTERS: usize = 32;

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
            debug_assert!(to.addr() % size_of::<Self>() == 0);
            // SAFETY: `self` proves the instruction set; the caller vouches for the elements and the alignment.
            unsafe { $stream(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mask(first: usize, end: usize) -> Self::Mask {
            debug_assert!(first <= end && end <= $lanes);
            ((1_u32 << end) - (1_u32 << first)) as $mask
        }
        #[inline(always)]
        unsafe fn load_masked(from: *const $elem, mask: Self::Mask) -> Self {
            // SAFETY: the caller vouches for the instruction set and the lanes in `mask`, which alone are read.
            Self(unsafe { $mask_load(mask, from) })
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
pub(super) use vector;

/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
unsafe fn wide(lanes: &[i32; 8]) -> __m512i {
    // SAFETY: the caller vouches for the instruction set; the array is half a vector.
    unsafe { _mm512_cvtepi32_epi64(_mm256_loadu_si256(lanes.as_ptr().cast())) }
}

/// Lane `l` is `from[l·stride]` where bit `l·stride` of `span` is set, for strides from 2 to 4.
///
/// # Safety
/// The CPU has the instruction set; the elements whose bits are set are valid for reading.
#[inline(always)]
unsafe fn strided(from: *const f32, span: u64, stride: usize) -> __m512 {
    // SAFETY: the caller's obligations are passed on; masks keep what is not asked for from being read.
    unsafe {
        match stride {
            2 => {
                let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                _mm512_permutex2var_ps(part(span, from, 0), even, part(span, from, 1))
            }
            3 => {
                let low = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
                let high = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29);
                let low = _mm512_permutex2var_ps(part(span, from, 0), low, part(span, from, 1));
                _mm512_permutex2var_ps(low, high, part(span, from, 2))
            }
            _ => {
                let every = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
                let low = _mm512_permutex2var_ps(part(span, from, 0), every, part(span, from, 1));
                let high = _mm512_permutex2var_ps(part(span, from, 2), every, part(span, from, 3));
                _mm512_shuffle_f32x4::<0x44>(low, high)
            }
        }
    }
}

/// Sixteen elements from `from + 16·i` on, those whose bits are set in `span >> 16·i`.
///
/// # Safety
/// As [`strided`].
#[inline(always)]
unsafe fn part(span: u64, from: *const f32, i: usize) -> __m512 {
    // SAFETY: the caller's obligations are passed on.
    unsafe { _mm512_maskz_loadu_ps((span >> (16 * i)) as __mmask16, from.wrapping_add(16 * i)) }
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
        _mm512_stream_ps,
        _mm512_maskz_loadu_ps,
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

    const SHUFFLED: usize = 4;

    #[inline(always)]
    fn rotated(self, by: usize) -> Self {
        // SAFETY: a vector proves the instruction set.
        unsafe {
            let lanes = _mm512_castps_si512(self.0);
            Self(_mm512_castsi512_ps(match by {
                0 => lanes,
                1 => _mm512_alignr_epi32::<1>(lanes, lanes),
                2 => _mm512_alignr_epi32::<2>(lanes, lanes),
                3 => _mm512_alignr_epi32::<3>(lanes, lanes),
                4 => _mm512_alignr_epi32::<4>(lanes, lanes),
                5 => _mm512_alignr_epi32::<5>(lanes, lanes),
                _ => _mm512_alignr_epi32::<6>(lanes, lanes),
            }))
        }
    }

    #[inline(always)]
    fn every_second(blocks: &[Self; BLOCKS], first: isize) -> Self {
        let [before, a, b, behind, ..] = blocks;
        let rest = if first < 0 { before } else { behind };
        // SAFETY: a vector proves the instruction set; a row of the table is a vector.
        unsafe {
            let half = match first.rem_euclid(2) {
                0 => _mm512_shuffle_ps::<0b10_00_10_00>(a.0, b.0),
                _ => _mm512_shuffle_ps::<0b11_01_11_01>(a.0, b.0),
            };
            let lanes = _mm512_loadu_epi32(SECOND_F32[BEFORE.wrapping_add_signed(first)].as_ptr());
            Self(if matches!(first, 0 | 1) { half } else { _mm512_permutex2var_ps(half, lanes, rest.0) })
        }
    }

    #[inline(always)]
    fn in_order(self) -> Self {
        // SAFETY: `self` proves the instruction set; the table is a vector.
        Self(unsafe { _mm512_permutexvar_ps(_mm512_loadu_epi32(ORDER_F32.as_ptr()), self.0) })
    }

    #[inline(always)]
    fn every_third([a, b, c]: &[Self; 3], first: usize) -> Self {
        let [low, high] = &THIRD_F32[first];
        // SAFETY: a vector proves the instruction set; a row of the table is a vector.
        unsafe {
            let low = _mm512_permutex2var_ps(a.0, _mm512_loadu_epi32(low.as_ptr()), b.0);
            Self(_mm512_permutex2var_ps(low, _mm512_loadu_epi32(high.as_ptr()), c.0))
        }
    }

    #[inline(always)]
    unsafe fn load_strided(from: *const f32, stride: usize) -> Self {
        // SAFETY: the caller vouches for the instruction set and the elements. The last load ends with the last
        // element.
        unsafe {
            Self(match stride {
                2 => {
                    let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
                    _mm512_permutex2var_ps(
                        _mm512_loadu_ps(from),
                        even,
                        _mm512_loadu_ps(from.wrapping_add(15)),
                    )
                }
                3 => {
                    let low = _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0, 0, 0, 0, 0);
                    let high = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 19, 22, 25, 28, 31);
                    _mm512_permutex2var_ps(
                        _mm512_permutex2var_ps(
                            _mm512_loadu_ps(from),
                            low,
                            _mm512_loadu_ps(from.wrapping_add(16)),
                        ),
                        high,
                        _mm512_loadu_ps(from.wrapping_add(30)),
                    )
                }
                4 => {
                    let low = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
                    let high = _mm512_setr_epi32(0, 4, 8, 12, 19, 23, 27, 31, 0, 0, 0, 0, 0, 0, 0, 0);
                    let low = _mm512_permutex2var_ps(
                        _mm512_loadu_ps(from),
                        low,
                        _mm512_loadu_ps(from.wrapping_add(16)),
                    );
                    _mm512_shuffle_f32x4::<0x44>(
                        low,
                        _mm512_permutex2var_ps(
                            _mm512_loadu_ps(from.wrapping_add(32)),
                            high,
                            _mm512_loadu_ps(from.wrapping_add(45)),
                        ),
                    )
                }
                _ => return super::merge_lanes(Self::splat(0.0), from, stride, 0, 16),
            })
        }
    }

    #[inline(always)]
    unsafe fn merge_strided(self, from: *const f32, stride: usize, first: usize, end: usize) -> Self {
        debug_assert!(first <= end && end <= 16);
        if stride > 4 || first == end {
            // SAFETY: the caller's obligations are the same.
            return unsafe { super::merge_lanes(self, from, stride, first, end) };
        }
        // SAFETY: `self` proves the instruction set; the caller vouches for the elements.
        unsafe {
            // Bit i: element i lies between the first and the last that are asked for.
            let span = (2_u64 << ((end - 1) * stride)) - (1 << (first * stride));
            let lanes = ((1_u32 << end) - (1_u32 << first)) as __mmask16;
            Self(_mm512_mask_mov_ps(self.0, lanes, strided(from, span, stride)))
        }
    }

    #[inline(always)]
    fn transpose(m: &mut [Self; 16]) {
        // Within quarters of 128 bits, then the quarters twice: 64 shuffles.
        Self::transpose_blocks(m);
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            for i in 0..4 {
                let q = transpose_quarters([m[i].0, m[4 + i].0, m[8 + i].0, m[12 + i].0]);
                for (j, q) in q.into_iter().enumerate() {
                    m[4 * j + i].0 = q;
                }
            }
        }
    }

    #[inline(always)]
    fn transpose_blocks(m: &mut [Self; 16]) {
        // Pairs of lanes, then pairs of pairs: 32 shuffles.
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            let mut r = [_mm512_setzero_pd(); 16];
            for i in 0..8 {
                let (a, b) = (m[2 * i].0, m[2 * i + 1].0);
                r[2 * i] = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
                r[2 * i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
            }
            for j in 0..4 {
                for half in 0..2 {
                    let (a, b) = (r[4 * j + half], r[4 * j + half + 2]);
                    m[4 * j + 2 * half].0 = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    m[4 * j + 2 * half + 1].0 = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
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
        _mm512_stream_pd,
        _mm512_maskz_loadu_pd,
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

    const SHUFFLED: usize = 2;

    #[inline(always)]
    fn every_second(blocks: &[Self; BLOCKS], first: isize) -> Self {
        let [before, a, b, behind, ..] = blocks;
        let rest = if first < 0 { before } else { behind };
        // SAFETY: a vector proves the instruction set.
        unsafe {
            let half = match first.rem_euclid(2) {
                0 => _mm512_shuffle_pd::<0>(a.0, b.0),
                _ => _mm512_shuffle_pd::<0xff>(a.0, b.0),
            };
            let lanes = wide(&SECOND_F64[BEFORE.wrapping_add_signed(first)]);
            Self(if matches!(first, 0 | 1) { half } else { _mm512_permutex2var_pd(half, lanes, rest.0) })
        }
    }

    #[inline(always)]
    fn in_order(self) -> Self {
        // SAFETY: `self` proves the instruction set.
        Self(unsafe { _mm512_permutexvar_pd(wide(&ORDER_F64), self.0) })
    }

    #[inline(always)]
    fn every_third([a, b, c]: &[Self; 3], first: usize) -> Self {
        let [low, high] = &THIRD_F64[first];
        // SAFETY: a vector proves the instruction set.
        unsafe {
            let low = _mm512_permutex2var_pd(a.0, wide(low), b.0);
            Self(_mm512_permutex2var_pd(low, wide(high), c.0))
        }
    }

    #[inline(always)]
    unsafe fn load_strided(from: *const f64, stride: usize) -> Self {
        // SAFETY: the caller vouches for the instruction set and the elements. The last load ends with the last
        // element.
        unsafe {
            if stride != 2 {
                return super::merge_lanes(Self::splat(0.0), from, stride, 0, 8);
            }
            let even = _mm512_setr_epi64(0, 2, 4, 6, 9, 11, 13, 15);
            let (low, high) = (_mm512_loadu_pd(from), _mm512_loadu_pd(from.wrapping_add(7)));
            Self(_mm512_permutex2var_pd(low, even, high))
        }
    }

    #[inline(always)]
    unsafe fn merge_strided(self, from: *const f64, stride: usize, first: usize, end: usize) -> Self {
        debug_assert!(first <= end && end <= 8);
        if stride != 2 || first == end {
            // SAFETY: the caller's obligations are the same.
            return unsafe { super::merge_lanes(self, from, stride, first, end) };
        }
        // Bit i: element i lies between the first and the last that are asked for.
        let span = (2_u32 << ((end - 1) * 2)) - (1 << (first * 2));
        let lanes = ((1_u32 << end) - (1_u32 << first)) as __mmask8;
        // SAFETY: `self` proves the instruction set; only what `span` names is read, for which the caller vouches.
        unsafe {
            let low = _mm512_maskz_loadu_pd(span as __mmask8, from);
            let high = _mm512_maskz_loadu_pd((span >> 8) as __mmask8, from.wrapping_add(8));
            let even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
            Self(_mm512_mask_mov_pd(self.0, lanes, _mm512_permutex2var_pd(low, even, high)))
        }
    }

    #[inline(always)]
    fn transpose(m: &mut [Self; 8]) {
        // Within quarters of 128 bits, then the quarters twice: 24 shuffles.
        Self::transpose_blocks(m);
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            for i in 0..2 {
                let q = [m[i].0, m[2 + i].0, m[4 + i].0, m[6 + i].0];
                let q = transpose_quarters([
                    _mm512_castpd_ps(q[0]),
                    _mm512_castpd_ps(q[1]),
                    _mm512_castpd_ps(q[2]),
                    _mm512_castpd_ps(q[3]),
                ]);
                for (j, q) in q.into_iter().enumerate() {
                    m[2 * j + i].0 = _mm512_castps_pd(q);
                }
            }
        }
    }

    #[inline(always)]
    fn transpose_blocks(m: &mut [Self; 8]) {
        // SAFETY: the vectors prove the instruction set.
        unsafe {
            for j in 0..4 {
                let (a, b) = (m[2 * j].0, m[2 * j + 1].0);
                m[2 * j].0 = _mm512_unpacklo_pd(a, b);
                m[2 * j + 1].0 = _mm512_unpackhi_pd(a, b);
            }
        }
    }
}

/// Quarter `i` of vector `j` becomes quarter `j` of vector `i`.
///
/// # Safety
/// The CPU has AVX-512F.
#[inline(always)]
unsafe fn transpose_quarters(q: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let e0 = _mm512_shuffle_f32x4::<0x88>(q[0], q[1]);
        let o0 = _mm512_shuffle_f32x4::<0xdd>(q[0], q[1]);
        let e1 = _mm512_shuffle_f32x4::<0x88>(q[2], q[3]);
        let o1 = _mm512_shuffle_f32x4::<0xdd>(q[2], q[3]);
        [
            _mm512_shuffle_f32x4::<0x88>(e0, e1),
            _mm512_shuffle_f32x4::<0x88>(o0, o1),
            _mm512_shuffle_f32x4::<0xdd>(e0, e1),
            _mm512_shuffle_f32x4::<0xdd>(o0, o1),
        ]
    }
}

impl Bits for F32 {
    #[inline(always)]
    fn shift_to_exponent(self) -> Self {
        // SAFETY: `self` proves the instruction set.
        Self(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
    }
}
