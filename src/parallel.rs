//! In which threads a call computes.

use std::ops::Range;
#[cfg(feature = "rayon")]
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pack::buffer::Carver;

/// The least work for each thread where the caller is in no pool. Measured in two threads, calls of 2.4 to 130 µs at
/// a distance of 5 to 100 µs: shared, one of 15 µs takes 1.0 times as long or 2.5, for threads may sleep, one of 24 µs 0.6 times or 1.2,
/// one of 55 µs 0.53 times or 1.0.
#[cfg(feature = "rayon")]
const WAKING_COST: f64 = 50_000.0;

/// In which threads a call computes. The result has the same bytes either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Parallelism {
    /// In the calling thread alone.
    #[cfg_attr(not(feature = "rayon"), default)]
    Serial,
    /// In the `rayon` pool that the caller is in (`ThreadPool::install`), else in the calling thread and those of the
    /// global pool, which takes longer to hand over and allocates a little each time. Work that is too small to share
    /// stays in the calling thread. The default with the feature `rayon`.
    #[cfg(feature = "rayon")]
    #[default]
    Rayon,
}

impl Parallelism {
    /// How many threads may share so much `work`, in multiply-adds of vectors.
    #[cfg_attr(not(feature = "rayon"), expect(unused_variables, reason = "there is one thread"))]
    pub(crate) fn threads(self, work: f64) -> usize {
        match self {
            Self::Serial => 1,
            #[cfg(feature = "rayon")]
            Self::Rayon if rayon::current_thread_index().is_some() => rayon::current_num_threads(),
            // An `as` cast saturates. Little work does not even make the global pool.
            #[cfg(feature = "rayon")]
            Self::Rayon => match (work / WAKING_COST) as usize {
                0 | 1 => 1,
                most => most.min(rayon::current_num_threads()),
            },
        }
    }

    /// Calls `work` with each of `parts`, of which there is at least one, and at least a share of `scratch`.
    pub(crate) fn for_each_part(
        self,
        parts: Range<usize>,
        scratch: Carver<'_>,
        work: &(impl Fn(usize, Carver<'_>) + Sync),
    ) {
        if parts.len() == 1 {
            return work(parts.start, scratch);
        }
        #[cfg(feature = "rayon")]
        if self == Self::Rayon && rayon::current_thread_index().is_none() {
            return beside_a_pool(parts, scratch, work);
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

/// The calling thread takes parts as threads of the pool do: it need not wait for those that sleep or have other work.
#[cfg(feature = "rayon")]
fn beside_a_pool(parts: Range<usize>, scratch: Carver<'_>, work: &(impl Fn(usize, Carver<'_>) + Sync)) {
    let threads = rayon::current_num_threads().min(parts.len());
    let next = AtomicUsize::new(parts.start);
    let take = |mut scratch: Carver<'_>| {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= parts.end {
                return;
            }
            work(part, scratch.reborrow());
        }
    };
    rayon::in_place_scope(|scope| {
        let mut rest = scratch;
        for others in (1..threads).rev() {
            let [share, left] = rest.split([1, others]);
            rest = left;
            let take = &take;
            scope.spawn(move |_| take(share));
        }
        take(rest);
    });
}

#[cfg(all(test, feature = "rayon"))]
mod tests {
    use std::sync::atomic::AtomicU8;

    use super::*;
    use crate::pack::buffer::Scratch;

    #[test]
    fn fewer_threads_are_woken_for_little_work() {
        let threads = |pool: Option<usize>, work: f64| match pool {
            None => Parallelism::Rayon.threads(work),
            Some(n) => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| Parallelism::Rayon.threads(work))
            }
        };
        let all = rayon::current_num_threads();
        for work in [0.0, 2.0 * WAKING_COST - 1.0, f64::NAN, 1e300, f64::INFINITY] {
            assert_eq!(threads(Some(3), work), 3);
            assert_eq!(Parallelism::Serial.threads(work), 1);
        }
        for (work, expected) in [(f64::NAN, 1), (0.0, 1), (1.0, 1), (2.0, 2), (3.0, 3), (1e300, usize::MAX)] {
            assert_eq!(threads(None, work * WAKING_COST), all.min(expected), "{work}");
        }
        assert_eq!(threads(None, 1.99 * WAKING_COST), 1);
    }

    /// Each part once, with scratch that no other has at the time.
    #[test]
    fn each_part_is_done_once() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        for parts in [1, 2, 3, 5, 64] {
            for way in 0..3 {
                let mut scratch = Scratch::default();
                scratch.reserve(parts, 256).unwrap();
                let done = [const { AtomicU8::new(0) }; 64];
                let work = |part: usize, mut scratch: Carver<'_>| {
                    let mine = scratch.take::<usize>(32);
                    mine.fill(part);
                    std::thread::yield_now();
                    assert!(mine.iter().all(|&x| x == part));
                    done[part].fetch_add(1, Ordering::Relaxed);
                };
                match way {
                    0 => Parallelism::Serial.for_each_part(0..parts, scratch.carve(), &work),
                    1 => Parallelism::Rayon.for_each_part(0..parts, scratch.carve(), &work),
                    _ => pool.install(|| Parallelism::Rayon.for_each_part(0..parts, scratch.carve(), &work)),
                }
                let done = done.map(AtomicU8::into_inner);
                assert!(done[..parts].iter().all(|&times| times == 1), "{parts} {way}");
                assert!(done[parts..].iter().all(|&times| times == 0), "{parts} {way}");
            }
        }
    }
}
