//! Weight panels, tables of taps, bands of rows for the virtual im2col matrix, and the scratch that holds them.

pub(crate) mod bands;
pub(crate) mod buffer;
pub(crate) mod panels;
pub(crate) mod segments;
pub(crate) mod taps;
pub(crate) mod transformed;
pub(crate) mod weights;
