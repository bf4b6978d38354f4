//! How the k dimension is cut into blocks: a pure function of sizes and caches.

use std::ops::Range;

use crate::pack::buffer::LINE;

/// What a tile's packed weights may fill of L2 (256 KiB to 2 MiB on today's cores), so that they stay there while
/// the positions go by.
const WEIGHTS_BYTES: usize = 512 << 10;

/// What a packed panel of positions may fill: half of L2's smallest size, for it is read once for each tile of
/// channels.
const PANEL_BYTES: usize = 128 << 10;

/// What the tables of taps may fill: they are read along with every k of one channel.
const TABLE_BYTES: usize = 128 << 10;

/// What the weights of tiles that are computed from one table of taps may fill: about L1, for they are all read for each
/// tile of positions. Measured: 10 % more on 3→64 7×7 with 37 KB, up to 18 % less with half a megabyte.
const GROUP_BYTES: usize = 40 << 10;

/// How many tiles, whose weights take `bytes` each, are computed from one table of taps.
pub(crate) fn tiles_in_group(bytes: usize) -> usize {
    (GROUP_BYTES / bytes.max(1)).max(1)
}

/// Elements of an output from which on it does not stay in the caches anyway, so that lines are streamed past them.
const STREAMED: usize = 2 << 20;

/// Whether an output of `len` elements is streamed.
pub(crate) fn streamed(len: usize) -> bool {
    len >= STREAMED
}

/// Whether `elements` of `size` bytes each are whole cache lines.
pub(crate) fn whole_lines(elements: usize, size: usize) -> bool {
    elements.is_multiple_of(LINE / size)
}

/// The largest block of k: whole channels, or some taps of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    pub(crate) channels: usize,
    pub(crate) taps: usize,
}

/// A block of k: `channels` × `taps`, consecutive in the order of the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KBlock {
    pub(crate) channels: Range<usize>,
    pub(crate) taps: Range<usize>,
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// What bounds a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes that each k takes in the cache that the block is to stay in.
    pub(crate) bytes_per_k: usize,
    /// Bytes of tables for each tap.
    pub(crate) bytes_per_tap: usize,
    /// Whether those bytes are scratch (a panel) or weights.
    pub(crate) panel: bool,
    /// Forces blocks of about so many k.
    pub(crate) k: Option<usize>,
    /// Forces blocks of at most so many taps.
    pub(crate) taps: Option<usize>,
}

impl Blocking {
    pub(crate) fn new(channels: usize, taps: usize, limits: Limits) -> Self {
        let budget = if limits.panel { PANEL_BYTES } else { WEIGHTS_BYTES };
        let k = limits.k.unwrap_or(budget / limits.bytes_per_k).max(1);
        let mut most_taps = limits.taps.unwrap_or(TABLE_BYTES / limits.bytes_per_tap).max(1);
        if limits.panel {
            // The panel is scratch: even one channel's taps have to fit.
            most_taps = most_taps.min(k);
        }
        if taps > most_taps {
            return Self { channels: 1, taps: most_taps };
        }
        // Equal blocks rather than full ones and a rest.
        let blocks = channels.div_ceil((k / taps).max(1));
        Self { channels: channels.div_ceil(blocks), taps }
    }

    /// The blocks of `channels` × `taps`, in ascending order.
    pub(crate) fn blocks(self, channels: usize, taps: usize) -> impl Iterator<Item = KBlock> {
        (0..channels).step_by(self.channels).flat_map(move |c| {
            (0..taps).step_by(self.taps).map(move |t| KBlock {
                channels: c..channels.min(c + self.channels),
                taps: t..taps.min(t + self.taps),
                first: c == 0 && t == 0,
                last: c + self.channels >= channels && t + self.taps >= taps,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_k_once_in_order() {
        for (channels, taps) in [(1, 1), (7, 9), (64, 9), (512, 9), (1, 3000), (3, 3000), (1280, 1)] {
            for k in [1, 2, 9, 100, 4096] {
                for most_taps in [1, 4, 9, 1000] {
                    for panel in [false, true] {
                        let limits = Limits {
                            bytes_per_k: 64,
                            bytes_per_tap: 112,
                            panel,
                            k: Some(k),
                            taps: Some(most_taps),
                        };
                        let blocks: Vec<_> =
                            Blocking::new(channels, taps, limits).blocks(channels, taps).collect();
                        let ks = blocks.iter().flat_map(|b| {
                            b.channels.clone().flat_map(|c| b.taps.clone().map(move |t| c * taps + t))
                        });
                        assert!(ks.eq(0..channels * taps));
                        assert!(blocks.iter().all(|b| b.taps.len() == taps || b.channels.len() == 1));
                        assert!(blocks.iter().all(|b| b.taps.len() <= most_taps));
                        let last = blocks.len() - 1;
                        assert!(
                            blocks
                                .iter()
                                .enumerate()
                                .all(|(i, b)| b.first == (i == 0) && b.last == (i == last))
                        );
                    }
                }
            }
        }
    }
}
