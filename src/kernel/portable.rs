//! Tiles for whatever the build enables, down to 16 registers of 128 bits: 8 sums fit there.

use super::{activation, kernel_set};
use crate::isa::Isa;
use crate::simd::portable::{F32, F64};

kernel_set! {
    #[inline(never)]
    single: Isa::Portable, crate::simd::portable::F32, activation::single;
    channel {
        4 x [portable_f32_channels_4x8: 1, portable_f32_channels_4x16: 2]
    }
    position {
        1 x [portable_f32_positions_1x8: 1, portable_f32_positions_2x8: 2, portable_f32_positions_4x8: 4]
    }
    planes F32 {
        portable_f32_direct_3s1_4x8: 3/1, 4 x 1,
        portable_f32_direct_3s2_4x8: 3/2, 4 x 1
    }
    strips portable_f32_direct_copied_4x8: 4 windows portable_f32_direct_small_1x8 depthwise portable_f32_direct_depthwise_8x8
    rows rows_f32 outer outer_f32 lanewise lanewise_f32 square square_f32
    winograd to_points_f32 from_points_f32 weights_to_points_f32
    finish finish_f32
}

kernel_set! {
    #[inline(never)]
    double: Isa::Portable, crate::simd::portable::F64, activation::double;
    channel {
        4 x [portable_f64_channels_4x4: 1, portable_f64_channels_4x8: 2]
    }
    position {
        1 x [portable_f64_positions_1x4: 1, portable_f64_positions_2x4: 2, portable_f64_positions_4x4: 4]
    }
    planes F64 {
        portable_f64_direct_3s1_4x4: 3/1, 4 x 1,
        portable_f64_direct_3s2_4x4: 3/2, 4 x 1
    }
    strips portable_f64_direct_copied_4x4: 4 windows portable_f64_direct_small_1x4 depthwise portable_f64_direct_depthwise_8x4
    rows rows_f64 outer outer_f64 lanewise lanewise_f64 square square_f64
    winograd to_points_f64 from_points_f64 weights_to_points_f64
    finish finish_f64
}
