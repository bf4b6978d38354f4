//! AVX-512VL: half the width of AVX-512 with its masks and registers, 8 lanes of `f32`, for planes that a whole vector is too wide
//! for. Two multiply-adds of this width are done in the time of a whole one.

use core::arch::x86_64::*;

use super::{BEFORE, BLOCKS, Vector, avx2};

#[derive(Clone, Copy)]
pub(crate) struct HalfF32(__m256);

const SECOND: [[i32; 8]; BEFORE + 7] = super::picks::seconds(4);
const ORDER: [i32; 8] = super::picks::order(4);

impl Vector for HalfF32 {
    super::avx512::vector!(
        HalfF32,
        f32,
        8,
        __mmask8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_stream_ps,
        _mm256_maskz_loadu_ps,
        _mm256_mask_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_mul_ps,
        _mm256_div_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        _mm256_cmp_ps_mask,
        _mm256_mask_blend_ps
    );

    #[inline(always)]
    fn every_second(blocks: &[Self; BLOCKS], first: isize) -> Self {
        let [before, a, b, behind, ..] = blocks;
        let rest = if first < 0 { before } else { behind };
        // SAFETY: a vector proves the instruction set; a row of the table is a vector.
        unsafe {
            let half = avx2::pairs(a.0, b.0, first.rem_euclid(2));
            let lanes = _mm256_loadu_epi32(SECOND[BEFORE.wrapping_add_signed(first)].as_ptr());
            Self(if matches!(first, 0 | 1) { half } else { _mm256_permutex2var_ps(half, lanes, rest.0) })
        }
    }

    #[inline(always)]
    fn in_order(self) -> Self {
        // SAFETY: `self` proves the instruction set; the table is a vector.
        Self(unsafe { _mm256_permutexvar_ps(_mm256_loadu_epi32(ORDER.as_ptr()), self.0) })
    }

    #[inline(always)]
    fn transpose(m: &mut [Self; 8]) {
        let mut rows = m.map(|row| avx2::F32(row.0));
        avx2::F32::transpose(&mut rows);
        *m = rows.map(|row| Self(row.0));
    }
}
