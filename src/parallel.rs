//! In which threads a call computes.

use std::ops::Range;

use crate::pack::buffer::Carver;

/// In which threads a call computes. The result has the same bytes either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Parallelism {
    /// In the calling thread alone.
    #[cfg_attr(not(feature = "rayon"), default)]
    Serial,
    /// In the `rayon` pool that the caller is in (`ThreadPool::install`), else in the global one. Work that is too
    /// small to share stays in the calling thread. The default with the feature `rayon`.
    #[cfg(feature = "rayon")]
    #[default]
    Rayon,
}

impl Parallelism {
    /// How many threads there are.
    pub(crate) fn threads(self) -> usize {
        match self {
            Self::Serial => 1,
            #[cfg(feature = "rayon")]
            Self::Rayon => rayon::current_num_threads(),
        }
    }

    /// Calls `work` with each of `parts`, of which there is at least one, and an equal share of `scratch`.
    pub(crate) fn for_each_part(
        self,
        parts: Range<usize>,
        scratch: Carver<'_>,
        work: &(impl Fn(usize, Carver<'_>) + Sync),
    ) {
        if parts.len() == 1 {
            return work(parts.start, scratch);
        }
        let middle = parts.start + parts.len() / 2;
        let (first, second) = (parts.start..middle, middle..parts.end);
        let [mine, other] = scratch.split([first.len(), second.len()]);
        match self {
            Self::Serial => {
                self.for_each_part(first, mine, work);
                self.for_each_part(second, other, work);
            }
            #[cfg(feature = "rayon")]
            Self::Rayon => {
                rayon::join(
                    || self.for_each_part(first, mine, work),
                    || self.for_each_part(second, other, work),
                );
            }
        }
    }
}
