//! Tiles for AArch64: 32 registers of 128 bits. 24 sums, up to four vectors and a broadcast fit.

use super::{activation, kernel_set};
use crate::isa::Isa;
use crate::simd::neon::{F32, F64};

kernel_set! {
    #[target_feature(enable = "neon")]
    single: Isa::Neon, crate::simd::neon::F32, activation::single;
    channel {
        8 x [neon_f32_channels_8x4: 1, neon_f32_channels_8x8: 2, neon_f32_channels_8x12: 3],
        6 x [neon_f32_channels_6x4: 1, neon_f32_channels_6x8: 2, neon_f32_channels_6x12: 3, neon_f32_channels_6x16: 4]
    }
    position {
        4 x [neon_f32_positions_1x16: 1, neon_f32_positions_2x16: 2, neon_f32_positions_4x16: 4],
        2 x [neon_f32_positions_1x8: 1, neon_f32_positions_2x8: 2, neon_f32_positions_4x8: 4]
    }
    planes F32 {
        neon_f32_direct_3s1_4x4: 3/1, 4 x 1,
        neon_f32_direct_3s2_4x4: 3/2, 4 x 1,
        neon_f32_direct_5s1_4x4: 5/1, 4 x 1,
        neon_f32_direct_5s2_4x4: 5/2, 4 x 1
    }
    strips neon_f32_direct_copied_8x4: 8 windows neon_f32_direct_small_1x4 depthwise neon_f32_direct_depthwise_16x4
    rows rows_f32 outer outer_f32 lanewise lanewise_f32 square square_f32
    winograd to_points_f32 from_points_f32 weights_to_points_f32
    finish finish_f32
}

kernel_set! {
    #[target_feature(enable = "neon")]
    double: Isa::Neon, crate::simd::neon::F64, activation::double;
    channel {
        8 x [neon_f64_channels_8x2: 1, neon_f64_channels_8x4: 2, neon_f64_channels_8x6: 3],
        6 x [neon_f64_channels_6x2: 1, neon_f64_channels_6x4: 2, neon_f64_channels_6x6: 3, neon_f64_channels_6x8: 4]
    }
    position {
        4 x [neon_f64_positions_1x8: 1, neon_f64_positions_2x8: 2],
        2 x [neon_f64_positions_1x4: 1, neon_f64_positions_2x4: 2]
    }
    planes F64 {
        neon_f64_direct_3s1_4x2: 3/1, 4 x 1,
        neon_f64_direct_3s2_4x2: 3/2, 4 x 1,
        neon_f64_direct_5s1_4x2: 5/1, 4 x 1,
        neon_f64_direct_5s2_4x2: 5/2, 4 x 1
    }
    strips neon_f64_direct_copied_8x2: 8 windows neon_f64_direct_small_1x2 depthwise neon_f64_direct_depthwise_16x2
    rows rows_f64 outer outer_f64 lanewise lanewise_f64 square square_f64
    winograd to_points_f64 from_points_f64 weights_to_points_f64
    finish finish_f64
}
