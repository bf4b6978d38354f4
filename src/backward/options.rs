//! What can differ from call to call.

use crate::isa::Isa;
use crate::parallel::Parallelism;
use crate::plan::Accuracy;

/// How a gradient is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct BackwardOptions {
    /// Adds the gradient to what is given instead of overwriting that.
    pub accumulate: bool,
    /// How exact an input gradient has to be: of [`Accuracy::Fast`], those at a stride of 1 can be computed by Winograd's algorithm. Other
    /// gradients are always exact.
    pub accuracy: Accuracy,
    /// In which threads the call computes.
    pub parallelism: Parallelism,
    /// Forces an instruction set, over `CONVGEMM_ISA`; the best available where there is none.
    pub isa: Option<Isa>,
}

impl BackwardOptions {
    /// Overwrites, with the default parallelism on the best instruction set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the gradient is added to what is given.
    #[must_use]
    pub const fn accumulate(mut self, accumulate: bool) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// Sets how exact an input gradient has to be.
    #[must_use]
    pub const fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// Sets in which threads the call computes.
    #[must_use]
    pub const fn parallelism(mut self, parallelism: Parallelism) -> Self {
        self.parallelism = parallelism;
        self
    }

    /// Forces an instruction set.
    #[must_use]
    pub const fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }
}
