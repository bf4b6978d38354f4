//! What calls keep from one to the next.

use std::any::Any;
use std::fmt;
use std::sync::atomic::AtomicU64;

use crate::error::Result;
use crate::pack::buffer::{Line, Scratch};
use crate::plan::{InputPlan, Plan};

/// Memory for calls to work in, and the plan of the last extents. It grows to what the largest call needs, at most
/// 1 MiB for each thread, 2 MiB with [`Accuracy::Fast`](crate::Accuracy) (packed weights of one-call functions and of gradients, and [`Algorithm::Im2col`](crate::Algorithm::Im2col)
/// aside), and can be used with any layer.
#[derive(Default)]
pub struct Workspace {
    pub(crate) scratch: Scratch,
    pub(crate) plan: Cached<Plan>,
    pub(crate) transposed: Cached<InputPlan>,
    /// Memory of weights that are packed for one call.
    pub(crate) weights: Vec<Line>,
    /// What input gradients keep of each shape, and the memory of their packed weights.
    pub(crate) states: Vec<Box<dyn Any + Send + Sync>>,
    pub(crate) packed: Option<Box<dyn Any + Send + Sync>>,
}

impl Workspace {
    /// An empty one; nothing is allocated yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("plan", &self.plan.0).finish_non_exhaustive()
    }
}

/// What the next layer is known by.
pub(crate) static NEXT_LAYER: AtomicU64 = AtomicU64::new(0);

/// The last plan and what it was made for.
#[derive(Debug)]
pub(crate) struct Cached<P>(Option<(Key, P)>);

impl<P> Default for Cached<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> Cached<P> {
    /// The plan for `key`, made if it is not the last one.
    ///
    /// # Errors
    /// Those of `make`.
    pub(crate) fn get(&mut self, key: Key, make: impl FnOnce() -> Result<P>) -> Result<&P> {
        if self.0.as_ref().is_none_or(|(known, _)| *known != key) {
            self.0 = Some((key, make()?));
        }
        let Some((_, plan)) = &self.0 else { unreachable!("it was just put there") };
        Ok(plan)
    }
}

/// What a plan was made for: a layer and the extents of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    layer: u64,
    batch: usize,
    extent: [usize; 3],
    rank: usize,
}

impl Key {
    pub(crate) fn new<const D: usize>(layer: u64, batch: usize, extent: [usize; D]) -> Self {
        let mut extents = [0; 3];
        extents[..D].copy_from_slice(&extent);
        Self { layer, batch, extent: extents, rank: D }
    }
}
