//! The libraries, behind one interface.

mod burn;
mod candle;
mod convgemm;
mod im2col_gemm;
mod onnx;
mod rten;
mod tract;

use anyhow::Result;

pub(crate) use self::convgemm::Convgemm;
use crate::problem::Problem;

/// A library.
pub(crate) trait Peer {
    /// As the command line and the results call it.
    fn name(&self) -> &'static str;

    /// Everything that can be done before an input is known, such as packing weights; `None` if the library has no such
    /// convolution.
    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>>;
}

/// A convolution that a library has prepared.
pub(crate) trait Run {
    /// Computes it, from NCHW to NCHW, and keeps the output. This is what is timed.
    fn run(&mut self) -> Result<()>;

    /// The last output.
    fn output(&self) -> Result<Vec<f32>>;
}

/// All of them, convgemm first.
pub(crate) const ALL: [&dyn Peer; 6] =
    [&Convgemm, &candle::Candle, &tract::Tract, &rten::Rten, &burn::Burn, &im2col_gemm::Im2colGemm];
