//! Convolution on CPUs, as deep learning means it (cross-correlation): plain NCHW slices in, plain NCHW slices out,
//! bit-for-bit reproducible, with a workspace that does not grow with the image.
//!
//! ```
//! use convgemm::Conv2d;
//! // The textbook's edge detector on its 6×8 picture.
//! let row = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
//! let picture: Vec<f32> = row.iter().copied().cycle().take(48).collect();
//! let edges = Conv2d::builder(1, 1, [1, 2]).build(&[1.0, -1.0])?;
//! let y = edges.forward(&picture, 1, [6, 8])?;
//! assert_eq!(y[..7], [0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
//! # Ok::<(), convgemm::Error>(())
//! ```
//!
//! # What it computes
//!
//! `y[n,o,p] = act(Σ w[o,c,k] · x[n,c, p·stride + k·dilation − pad_begin] + bias[o] + residual[n,o,p])`, where x is 0
//! outside the image; the kernel is not flipped. Shapes: input `[N, C_in, spatial…]`, weight
//! `[C_out, C_in / groups, kernel…]`, bias `[C_out]`, output `[N, C_out, spatial…]`, all contiguous, last axis fastest.
//!
//! # What it guarantees
//!
//! Every output element is one chain of fused multiply-adds from +0.0 over (channel, taps) in ascending order; then the
//! bias is added, then the residual, then the activation applied. So the bytes of a result do not depend on the batch,
//! on the number of threads, on tiles and blocks, on which algorithm of the exact family ran, nor on which instruction
//! set with fused multiply-add (AVX2, AVX-512, NEON). They are those of [`reference::Oracle`]. This holds for finite weights and the default floating-point environment;
//! [`Isa::Portable`] on x86-64 rounds twice, and [`Algorithm::Im2col`] sums in another order.
//!
//! # Threads
//!
//! With the feature `rayon`, which is on unless default features are off, a call computes in the pool that it is made in
//! (`pool.install(|| …)`), else in the global one; work too small to share stays in the calling thread.
//! [`Parallelism::Serial`] keeps any call there.
//!
//! # Arrays
//!
//! With the feature `ndarray`, layers take views of that crate and give arrays: `Conv::forward_array`, `ConvBuilder::build_array`,
//! `ConvTranspose::forward_array`, and the gradients as `Geometry::backward_input_array`, `backward_weight_array`,
//! `backward_bias_array` (of a transposed convolution: the same of [`TransposeParams`]). Views may have any strides: elements that lie
//! in C order are read where they lie, others are copied once. Arrays have `D + 2` axes, `[batch, channels, extent…]`, of any
//! kind of dimension (`Ix4`, `IxDyn`, …), and each axis is checked by itself.
//!
//! Wrong input gets a typed [`enum@Error`] before anything is written.

#![deny(rustdoc::broken_intra_doc_links)]

#[cfg(feature = "ndarray")]
mod arrays;
mod backward;
mod caches;
mod chain;
mod conv;
mod element;
mod epilogue;
mod error;
mod forward;
mod gemm;
mod geometry;
mod im2col;
mod isa;
mod kernel;
mod one_call;
mod pack;
mod parallel;
mod phases;
mod plan;
pub mod reference;
mod simd;
mod slices;
#[doc = include_str!("../docs/textbook.md")]
pub mod textbook {}
mod transpose;
mod workspace;

pub use backward::{
    ActivationAt, BackwardOptions, Gradients, backward, backward_activation, backward_bias, backward_input,
    backward_weight,
};
pub use chain::{ReceptiveField, output_extents, receptive_field};
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, ConvBuilder, ForwardOptions};
pub use element::Element;
pub use epilogue::Activation;
pub use error::{Argument, Channels, Error, Result};
pub use geometry::{Geometry, Padding, Params};
pub use im2col::{col2im, im2col};
pub use isa::{ISA_VARIABLE, Isa};
pub use one_call::{conv1d, conv2d, conv3d};
pub use parallel::Parallelism;
pub use plan::{Algorithm, Lowering, Orientation, Plan, Tuning, kernel_names};
pub use transpose::{
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeBuilder, TransposeParams,
};
pub use workspace::Workspace;
