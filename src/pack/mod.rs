//! Weight panels, tables of taps and runs for the virtual im2col matrix, and the scratch that holds them.

pub(crate) mod buffer;
pub(crate) mod runs;
pub(crate) mod segments;
pub(crate) mod taps;
pub(crate) mod weights;
