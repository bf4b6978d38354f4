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
//! # Which call for what
//!
//! - A layer whose weights stay: [`Conv`] (`Conv1d`, `Conv2d`, `Conv3d`), which packs them once and takes images of any size;
//!   [`ConvTranspose`] for the transposed convolution.
//! - Weights that change with every call: [`conv1d`], [`conv2d`], [`conv3d`]; weights that change now and then: [`Conv::update_weight`].
//! - Training: [`backward_input`], [`backward_weight`], [`backward_bias`], or [`backward`] for all, and [`backward_activation`]; for the
//!   transposed convolution the methods of [`TransposeParams`].
//! - Sizes alone: [`Params`], [`Geometry`], [`receptive_field`].
//! - The im2col matrix itself: [`im2col`](fn@im2col), [`col2im`].
//!
//! # Which algorithm runs
//!
//! [`Algorithm::Auto`] estimates the cost of each kernel for the shape at hand and takes the cheapest; [`Conv::plan`] says which and prints
//! why. Layers with many channels run in the blocked GEMM, which reads the image in place or from bands of copied rows; depthwise layers, narrow
//! groups, image filters and tiny problems in direct kernels. All of these give the same bytes, so there is nothing to choose but speed;
//! [`ConvBuilder::algorithm`] and [`ConvBuilder::tuning`] force a choice for a test or a measurement. Not chosen by itself:
//! [`Algorithm::Im2col`], the baseline, and [`Algorithm::Winograd`], which [`Accuracy::Fast`] allows ([`ConvBuilder::accuracy`],
//! [`BackwardOptions::accuracy`]): two to three times as fast on 3×3 layers, with errors as measured in [`accuracy`].
//!
//! # In an engine with dynamic shapes
//!
//! A layer knows no image size: build it when the model is loaded, ask [`Conv::output_extent`] when a shape becomes known, and call with any batch
//! and extents. The plan of a shape takes microseconds and is kept in the [`Workspace`] for the layer and extents it was last used with.
//!
//! ```
//! use convgemm::{Activation, Conv2d, ForwardOptions, Workspace};
//! let layer = Conv2d::builder(3, 16, [3, 3]).stride([2, 2]).padding([1, 1]).activation(Activation::Relu);
//! let layer = layer.build(&[0.01; 16 * 27])?; // when the model is loaded
//! let mut workspace = Workspace::new(); // one for each thread that makes calls
//! let mut arena = Vec::new(); // the engine's memory
//! for (batch, extent) in [(1, [32, 48]), (4, [17, 9])] {
//!     let [h, w] = layer.output_extent(extent)?;
//!     let x = vec![1.0; batch * 3 * extent[0] * extent[1]];
//!     arena.clear();
//!     arena.reserve(batch * 16 * h * w);
//!     let y = &mut arena.spare_capacity_mut()[..batch * 16 * h * w]; // need not be initialised
//!     layer.forward_uninit(&x, batch, extent, &ForwardOptions::new(), y, &mut workspace)?;
//! }
//! # Ok::<(), convgemm::Error>(())
//! ```
//!
//! A residual connection and the activation behind it belong to the convolution before ([`ForwardOptions::residual`],
//! [`ConvBuilder::activation`]): they are applied while the result is in registers. Parameters of other libraries: [`coming_from`].
//!
//! # Threads
//!
//! With the feature `rayon`, which is on unless default features are off, a call computes in the pool that it is made in
//! (`pool.install(|| …)`), else in the calling thread and the global pool beside it; work too small to share stays in the
//! calling thread. Within a pool more is worth sharing, for its threads are awake.
//! [`Parallelism::Serial`] keeps any call there: for engines that run one image in each thread. A layer is shared between threads by
//! reference; each call needs a [`Workspace`] of its own meanwhile.
//!
//! # Memory
//!
//! A layer holds its weights, packed (and transformed, once for each tile of [`Algorithm::Winograd`] that its plans ask for), and nothing else. A
//! call needs at most 1 MiB of scratch for each thread, 2 MiB with [`Accuracy::Fast`], whatever the image, in the
//! workspace; once that has seen the extents, nothing is allocated, but by a caller outside a thread pool a job of some bytes for each
//! thread that it wakes. One workspace serves all layers that run one after the other.
//! Packed weights of gradients and of one-call functions, and the matrix of [`Algorithm::Im2col`], come on top.
//!
//! # Features
//!
//! - `rayon` (default): [`Parallelism`] in threads.
//! - `ndarray`: views in, arrays out.
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

#[doc = include_str!("../docs/accuracy.md")]
pub mod accuracy {}
#[cfg(feature = "ndarray")]
mod arrays;
mod backward;
mod caches;
mod chain;
#[doc = include_str!("../docs/coming_from.md")]
pub mod coming_from {}
mod conv;
mod element;
mod engine;
mod epilogue;
mod error;
mod forward;
mod gemm;
mod geometry;
mod im2col;
mod isa;
mod kernel;
mod machine;
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
mod winograd;
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
pub use plan::{Accuracy, Algorithm, Lowering, Orientation, Plan, Tuning, kernel_names};
pub use transpose::{
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeBuilder, TransposeParams,
};
pub use workspace::Workspace;

/// The README's examples compile and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
