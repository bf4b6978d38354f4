//! Tiles for AVX-512: 32 registers. 28 sums, two to four vectors and a broadcast fit.

use super::{activation, kernel_set};
use crate::isa::Isa;
use crate::simd::avx512::{F32, F64};
use crate::simd::avx512vl::HalfF32;

kernel_set! {
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    single: Isa::Avx512, crate::simd::avx512::F32, activation::single;
    channel {
        14 x [avx512_f32_channels_14x16: 1, avx512_f32_channels_14x32: 2],
        8 x [avx512_f32_channels_8x16: 1, avx512_f32_channels_8x32: 2, avx512_f32_channels_8x48: 3],
        7 x [avx512_f32_channels_7x16: 1, avx512_f32_channels_7x32: 2, avx512_f32_channels_7x48: 3]
    }
    position {
        3 x [avx512_f32_positions_1x48: 1, avx512_f32_positions_2x48: 2, avx512_f32_positions_4x48: 4, avx512_f32_positions_8x48: 8],
        1 x [avx512_f32_positions_1x16: 1, avx512_f32_positions_2x16: 2, avx512_f32_positions_4x16: 4, avx512_f32_positions_8x16: 8, avx512_f32_positions_16x16: 16]
    }
    planes HalfF32 {
        avx512_f32_direct_3s1_7x8: 3/1, 7 x 1,
        avx512_f32_direct_3s2_4x8: 3/2, 4 x 1,
        avx512_f32_direct_5s1_4x8: 5/1, 4 x 1,
        avx512_f32_direct_5s2_4x8: 5/2, 4 x 1,
        avx512_f32_direct_7s1_4x8: 7/1, 4 x 1
    }
    planes F32 {
        avx512_f32_direct_3s1_7x16: 3/1, 7 x 1,
        avx512_f32_direct_3s2_4x16: 3/2, 4 x 1, avx512_f32_direct_3s2_4x32: 3/2, 4 x 2,
        avx512_f32_direct_2s2_4x16: 2/2, 4 x 1,
        avx512_f32_direct_4s2_4x16: 4/2, 4 x 1,
        avx512_f32_direct_7s2_4x16: 7/2, 4 x 1,
        avx512_f32_direct_3s3_4x16: 3/3, 4 x 1,
        avx512_f32_direct_5s1_4x16: 5/1, 4 x 1,
        avx512_f32_direct_5s2_4x16: 5/2, 4 x 1, avx512_f32_direct_5s2_2x32: 5/2, 2 x 2,
        avx512_f32_direct_7s1_4x16: 7/1, 4 x 1
    }
    one {
        avx512_f32_direct_3s1_7x14: 3/1, 7,
        avx512_f32_direct_3s2_7x15: 3/2, 7
    }
    any {
        avx512_f32_direct_s1_8x16: 8 x 1,
        avx512_f32_direct_s1_4x16: 4 x 1,
        avx512_f32_direct_s1_2x32: 2 x 2,
        avx512_f32_direct_s1_1x64: 1 x 4
    }
    strips avx512_f32_direct_copied_8x16: 8 windows avx512_f32_direct_small_1x16 depthwise avx512_f32_direct_depthwise_16x16
    rows rows_f32 outer outer_f32 lanewise lanewise_f32 square square_f32
    winograd to_points_f32 from_points_f32 weights_to_points_f32
    finish finish_f32
}

kernel_set! {
    #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
    double: Isa::Avx512, crate::simd::avx512::F64, activation::double;
    channel {
        14 x [avx512_f64_channels_14x8: 1, avx512_f64_channels_14x16: 2],
        8 x [avx512_f64_channels_8x8: 1, avx512_f64_channels_8x16: 2, avx512_f64_channels_8x24: 3],
        7 x [avx512_f64_channels_7x8: 1, avx512_f64_channels_7x16: 2, avx512_f64_channels_7x24: 3]
    }
    position {
        3 x [avx512_f64_positions_1x24: 1, avx512_f64_positions_2x24: 2, avx512_f64_positions_4x24: 4, avx512_f64_positions_8x24: 8],
        1 x [avx512_f64_positions_1x8: 1, avx512_f64_positions_2x8: 2, avx512_f64_positions_4x8: 4, avx512_f64_positions_8x8: 8]
    }
    planes F64 {
        avx512_f64_direct_3s1_7x8: 3/1, 7 x 1,
        avx512_f64_direct_3s2_4x8: 3/2, 4 x 1, avx512_f64_direct_3s2_4x16: 3/2, 4 x 2,
        avx512_f64_direct_3s3_4x8: 3/3, 4 x 1,
        avx512_f64_direct_5s1_4x8: 5/1, 4 x 1,
        avx512_f64_direct_5s2_4x8: 5/2, 4 x 1,
        avx512_f64_direct_7s1_4x8: 7/1, 4 x 1
    }
    any {
        avx512_f64_direct_s1_8x8: 8 x 1,
        avx512_f64_direct_s1_4x8: 4 x 1,
        avx512_f64_direct_s1_2x16: 2 x 2,
        avx512_f64_direct_s1_1x32: 1 x 4
    }
    strips avx512_f64_direct_copied_8x8: 8 windows avx512_f64_direct_small_1x8 depthwise avx512_f64_direct_depthwise_16x8
    rows rows_f64 outer outer_f64 lanewise lanewise_f64 square square_f64
    winograd to_points_f64 from_points_f64 weights_to_points_f64
    finish finish_f64
}
