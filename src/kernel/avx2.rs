//! Tiles for AVX2 with FMA: 16 registers. 12 sums, two vectors and a broadcast fit.

use super::{activation, kernel_set};
use crate::isa::Isa;
use crate::simd::avx2::{F32, F64};

kernel_set! {
    #[target_feature(enable = "avx2,fma")]
    single: Isa::Avx2, crate::simd::avx2::F32, activation::single;
    channel {
        6 x [avx2_f32_channels_6x8: 1, avx2_f32_channels_6x16: 2],
        12 x [avx2_f32_channels_12x8: 1],
        2 x [avx2_f32_channels_2x8: 1, avx2_f32_channels_2x16: 2, avx2_f32_channels_2x24: 3,
            avx2_f32_channels_2x32: 4, avx2_f32_channels_2x40: 5, avx2_f32_channels_2x48: 6]
    }
    position {
        3 x [avx2_f32_positions_1x24: 1, avx2_f32_positions_2x24: 2, avx2_f32_positions_4x24: 4],
        2 x [avx2_f32_positions_1x16: 1, avx2_f32_positions_2x16: 2, avx2_f32_positions_4x16: 4],
        1 x [avx2_f32_positions_1x8: 1, avx2_f32_positions_2x8: 2, avx2_f32_positions_4x8: 4, avx2_f32_positions_8x8: 8]
    }
    planes F32 {
        avx2_f32_direct_3s1_4x8: 3/1, 4 x 1,
        avx2_f32_direct_3s2_4x8: 3/2, 4 x 1,
        avx2_f32_direct_3s3_4x8: 3/3, 4 x 1,
        avx2_f32_direct_5s1_4x8: 5/1, 4 x 1,
        avx2_f32_direct_5s2_4x8: 5/2, 4 x 1
    }
    strips avx2_f32_direct_copied_8x8: 8 windows avx2_f32_direct_small_1x8 depthwise avx2_f32_direct_depthwise_8x8
    rows rows_f32 outer outer_f32 lanewise lanewise_f32 square square_f32
    winograd to_points_f32 from_points_f32 weights_to_points_f32
    finish finish_f32
}

kernel_set! {
    #[target_feature(enable = "avx2,fma")]
    double: Isa::Avx2, crate::simd::avx2::F64, activation::double;
    channel {
        6 x [avx2_f64_channels_6x4: 1, avx2_f64_channels_6x8: 2],
        12 x [avx2_f64_channels_12x4: 1],
        2 x [avx2_f64_channels_2x4: 1, avx2_f64_channels_2x8: 2, avx2_f64_channels_2x12: 3,
            avx2_f64_channels_2x16: 4, avx2_f64_channels_2x20: 5, avx2_f64_channels_2x24: 6]
    }
    position {
        3 x [avx2_f64_positions_1x12: 1, avx2_f64_positions_2x12: 2, avx2_f64_positions_4x12: 4],
        2 x [avx2_f64_positions_1x8: 1, avx2_f64_positions_2x8: 2, avx2_f64_positions_4x8: 4],
        1 x [avx2_f64_positions_1x4: 1, avx2_f64_positions_2x4: 2, avx2_f64_positions_4x4: 4]
    }
    planes F64 {
        avx2_f64_direct_3s1_4x4: 3/1, 4 x 1,
        avx2_f64_direct_3s2_4x4: 3/2, 4 x 1,
        avx2_f64_direct_5s1_4x4: 5/1, 4 x 1,
        avx2_f64_direct_5s2_4x4: 5/2, 4 x 1
    }
    strips avx2_f64_direct_copied_8x4: 8 windows avx2_f64_direct_small_1x4 depthwise avx2_f64_direct_depthwise_8x4
    rows rows_f64 outer outer_f64 lanewise lanewise_f64 square square_f64
    winograd to_points_f64 from_points_f64 weights_to_points_f64
    finish finish_f64
}
