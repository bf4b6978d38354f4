//! The blocked GEMM over the virtual im2col matrix.

pub(crate) mod blocking;
mod channel_tiles;
pub(crate) mod driver;
pub(crate) mod partition;
mod plane_tiles;
mod position_tiles;
pub(crate) mod step;
pub(crate) mod tiles;
