//! The blocked GEMM over the virtual im2col matrix.

pub(crate) mod blocking;
pub(crate) mod driver;
pub(crate) mod partition;
pub(crate) mod tiles;
