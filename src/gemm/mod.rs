//! The blocked GEMM over the virtual im2col matrix.

pub(crate) mod blocking;
mod channel_tiles;
mod depthwise_tiles;
pub(crate) mod driver;
pub(crate) mod partition;
pub(crate) mod phase_blocks;
mod plane_tiles;
pub(crate) mod position_sums;
mod position_tiles;
pub(crate) mod step;
pub(crate) mod tiles;
mod weight_chunks;
pub(crate) mod winograd_tiles;
