//! The caches of a core: what the CPU says of them where it can be asked, within reason.

use std::sync::OnceLock;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Bytes of the data caches of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caches {
    pub(crate) l1: usize,
    pub(crate) l2: usize,
}

impl Caches {
    /// Those of this machine.
    pub(crate) fn here() -> Self {
        static CACHES: OnceLock<Caches> = OnceLock::new();
        *CACHES.get_or_init(|| Self::of(told(1), told(2)))
    }

    /// Virtual machines hide caches or add up those of all cores, and some cores share a large L2: at most what today's cores have
    /// to themselves; what they all have, where nothing is told.
    fn of(l1: Option<usize>, l2: Option<usize>) -> Self {
        let within =
            |told: Option<usize>, least: usize, most: usize| told.unwrap_or(least).clamp(least, most);
        Self { l1: within(l1, 32 << 10, 64 << 10), l2: within(l2, 512 << 10, 2 << 20) }
    }

    /// What the packed weights of a tile may fill, so that they stay in L2 while the positions go by.
    pub(crate) fn weights(self) -> usize {
        self.l2 / 2
    }

    /// What a band of rows may fill of L2: it is read once for each tile of channels.
    pub(crate) fn band(self) -> usize {
        self.l2 / 4
    }

    /// What the weights of tiles with channels in the lanes may fill that are computed from one place of the image. Measured on Zen 4 (1 MiB),
    /// against 40 KB: AVX-512 1.005 on 17 layers with 140 KB, 1.000 with 200; AVX2 1.021 and 1.027 on 12.
    pub(crate) fn group(self) -> usize {
        self.l2 / 8
    }

    /// The same where two vectors are read in a cycle. Measured on Zen 5, against 40 KB: 1.027 on 26 layers with 256 KB, 1.018 with
    /// 220 or 150, 1.028 with 400.
    pub(crate) fn wide_group(self) -> usize {
        self.l2 / 4
    }

    /// What the inputs of Winograd's tiles may fill, so that they and the sums stay in L2; and where there would be few tiles otherwise.
    pub(crate) fn inputs(self) -> usize {
        (self.l2 / 2).min(Self::most_inputs())
    }

    /// As [`Caches::inputs`].
    pub(crate) const fn most_inputs() -> usize {
        5 << 18
    }

    /// What the sums of products of Winograd's tiles may fill.
    pub(crate) fn sums(self) -> usize {
        (self.l2 / 8 * 3).min(512 << 10)
    }
}

/// Bytes of the data cache at `level`.
#[cfg(target_arch = "x86_64")]
fn told(level: u8) -> Option<usize> {
    use raw_cpuid::{CacheType, CpuId};

    let mut caches = CpuId::new().get_cache_parameters()?;
    let data = |kind| matches!(kind, CacheType::Data | CacheType::Unified);
    let cache = caches.find(|cache| cache.level() == level && data(cache.cache_type()))?;
    [cache.associativity(), cache.physical_line_partitions(), cache.coherency_line_size(), cache.sets()]
        .into_iter()
        .try_fold(1_usize, usize::checked_mul)
}

/// Others tell the operating system alone.
#[cfg(not(target_arch = "x86_64"))]
fn told(_level: u8) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_says_is_taken_within_reason() {
        let of = |l1: Option<usize>, l2: Option<usize>| {
            let caches = Caches::of(l1.map(|kib| kib << 10), l2.map(|kib| kib << 10));
            [caches.l1 >> 10, caches.l2 >> 10]
        };
        assert_eq!(of(Some(32), Some(1024)), [32, 1024]);
        assert_eq!(of(Some(48), Some(2048)), [48, 2048]);
        assert_eq!(of(None, None), [32, 512]);
        assert_eq!(of(Some(0), Some(0)), [32, 512]);
        assert_eq!(of(Some(1 << 20), Some(1 << 30)), [64, 2048]);
    }

    #[test]
    fn this_machine_has_caches() {
        let caches = Caches::here();
        assert!(caches.l1 < caches.l2, "{caches:?}");
        assert_eq!(caches, Caches::here());
    }
}
