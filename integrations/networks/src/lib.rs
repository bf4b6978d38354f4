//! Whole networks that the engines are measured on: the layers of two, random weights for them, and a comparison in turn.

mod measure;
mod network;
mod random;

pub use measure::{Options, Times, compare, in_turn, main};
pub use network::{Activation, Block, Conv, Engine, Network, Shortcut};
pub use random::Random;
