//! The gradients of a convolution.

mod activation;
mod all;
pub(crate) mod bias;
pub(crate) mod input;
mod options;
pub(crate) mod weight;

pub use activation::{ActivationAt, backward_activation};
pub use all::{Gradients, backward};
pub use bias::backward_bias;
pub use input::backward_input;
pub use options::BackwardOptions;
pub use weight::backward_weight;
