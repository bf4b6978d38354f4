//! How the k dimension is cut into blocks: a pure function of sizes and caches.

use std::ops::Range;

use crate::caches::{Caches, LINE};
use crate::geometry::Shape;
use crate::machine::is_wide;
use crate::pack::taps::TapBox;

/// What the tables of taps may fill: they are read along with every k of one channel.
const TABLE_BYTES: usize = 128 << 10;

/// How many tiles of vectors of `vector` bytes, whose weights take `bytes` each, are computed from one table of taps: their weights are all
/// read again for each tile of positions, and the image for each such group. Where a core reads two vectors in a cycle, weights come from L2
/// as fast as from L1.
pub(crate) fn tiles_in_group(vector: usize, bytes: usize) -> usize {
    let caches = Caches::here();
    let room = if is_wide(vector) { caches.wide_group() } else { caches.group() };
    (room / bytes.max(1)).max(1)
}

/// The share of tiles of `positions` that do not follow each other in the image.
pub(crate) fn apart(shape: &Shape, positions: usize) -> f64 {
    let width = &shape.axes[2];
    if width.stride > 1 {
        1.0
    } else if shape.is_pointwise() || width.output.is_multiple_of(positions) {
        0.0
    } else {
        ((positions - 1) as f64 / width.output as f64).min(1.0)
    }
}

/// Whether the positions of most tiles follow each other, so that it pays to leave outputs to the next tile.
pub(crate) fn beside(shape: &Shape, positions: usize) -> bool {
    apart(shape, positions) < 0.25
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

/// The largest block of k: whole channels, or a box of the taps of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocking {
    pub(crate) channels: usize,
    /// All of the kernel, or consecutive planes, rows or columns of it.
    pub(crate) taps: [usize; 3],
}

/// A block of k: `channels` × `taps`, consecutive in the order of the sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KBlock {
    pub(crate) channels: Range<usize>,
    pub(crate) taps: TapBox,
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// What bounds a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Channels whose weights or rows the cache holds.
    pub(crate) channels: usize,
    /// Taps of one channel that the cache, and the tables, hold.
    pub(crate) taps: usize,
}

impl Limits {
    /// Where the weights of a tile, `bytes` for each k, are to stay in the cache, and tables take `bytes_per_tap`.
    pub(crate) fn weights(taps: usize, bytes: usize, bytes_per_tap: usize) -> Self {
        Self { channels: Caches::here().weights() / bytes / taps, taps: TABLE_BYTES / bytes_per_tap }
    }

    /// Where a channel of a band takes `bytes` with all `taps`, and `bytes_per_tap` with a part of them.
    pub(crate) fn bands(taps: usize, bytes: usize, bytes_per_tap: usize) -> Self {
        let table = TABLE_BYTES / size_of::<usize>();
        let band = Caches::here().band();
        let part = table.min(band / bytes_per_tap);
        Self { channels: band / bytes, taps: if bytes <= band && taps <= table { taps } else { part } }
    }

    /// Blocks of about `k` terms, and at most `taps` taps.
    pub(crate) fn forced(mut self, all: usize, k: Option<usize>, taps: Option<usize>) -> Self {
        if let Some(k) = k {
            self.channels = self.channels.min(k / all);
        }
        self.taps = taps.map_or(self.taps, |taps| self.taps.min(taps));
        self
    }
}

impl Blocking {
    /// For `channels` channels of `kernel`.
    pub(crate) fn new(channels: usize, kernel: [usize; 3], limits: Limits) -> Self {
        let [_, height, width] = kernel;
        let most = limits.taps.max(1);
        if kernel.iter().product::<usize>() > most {
            let taps = match (most / (height * width), most / width) {
                (0, 0) => [1, 1, most],
                (0, rows) => [1, rows, width],
                (planes, _) => [planes, height, width],
            };
            return Self { channels: 1, taps };
        }
        // Equal blocks rather than full ones and a rest.
        let blocks = channels.div_ceil(limits.channels.max(1));
        Self { channels: channels.div_ceil(blocks), taps: kernel }
    }

    /// Whether it is all of `channels` channels of `kernel`.
    pub(crate) fn is_one(&self, channels: usize, kernel: [usize; 3]) -> bool {
        self.channels >= channels && self.taps == kernel
    }

    /// The taps of a block, at most.
    pub(crate) fn tap_count(&self) -> usize {
        self.taps.iter().product()
    }

    /// The blocks of `channels` channels of `kernel`, in ascending order.
    pub(crate) fn blocks(self, channels: usize, kernel: [usize; 3]) -> impl Iterator<Item = KBlock> {
        (0..channels).step_by(self.channels).flat_map(move |c| {
            let end = channels.min(c + self.channels);
            TapBox::all(kernel, self.taps).map(move |taps| KBlock {
                channels: c..end,
                first: c == 0 && taps.start == [0; 3],
                last: end == channels && taps.is_last(kernel),
                taps,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_k_once_in_order() {
        let kernels = [[1, 1, 1], [1, 1, 9], [1, 3, 3], [3, 3, 3], [1, 60, 50], [2, 5, 4]];
        for (channels, kernel) in [1, 7, 64, 1280].into_iter().flat_map(|c| kernels.map(|kernel| (c, kernel)))
        {
            let taps: usize = kernel.iter().product();
            if channels * taps > 20_000 {
                continue;
            }
            for most in [0, 1, 2, 9, 100, 4096] {
                for most_taps in [0, 1, 4, 9, 13, 1000] {
                    let limits = Limits { channels: most, taps: most_taps };
                    let blocks: Vec<_> =
                        Blocking::new(channels, kernel, limits).blocks(channels, kernel).collect();
                    let ks = blocks.iter().flat_map(|b| {
                        let range = b.taps.range(kernel);
                        b.channels.clone().flat_map(move |c| range.clone().map(move |t| c * taps + t))
                    });
                    assert!(ks.eq(0..channels * taps), "{channels} {kernel:?} {limits:?}");
                    assert!(blocks.iter().all(|b| b.taps.count() == taps || b.channels.len() == 1));
                    assert!(blocks.iter().all(|b| b.taps.count() <= most_taps.max(1)));
                    let last = blocks.len() - 1;
                    assert!(
                        blocks.iter().enumerate().all(|(i, b)| b.first == (i == 0) && b.last == (i == last))
                    );
                }
            }
        }
    }
}
