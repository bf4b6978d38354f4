//! [candle](https://github.com/huggingface/candle)'s two-dimensional convolution by `convgemm`.
//!
//! - [`conv2d`] takes weights and bias as tensors and is differentiable in all three arguments, as `candle_nn::Conv2d` is.
//! - [`Layer`] packs its weights once and applies bias, residual and activation before the one store: for inference.
//!
//! `f32` and `f64`, on the CPU. Calls compute in the rayon pool that they are made in, else in the calling thread and the global pool.

mod layer;
mod op;
mod storage;

pub use layer::Layer;
pub use op::conv2d;
