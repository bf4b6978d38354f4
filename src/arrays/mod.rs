//! `ndarray` views in, arrays out: the slice interface with shapes that are checked axis by axis.

mod gradients;
mod layers;
mod tensor;
