//! Packed weights: `[groups][⌈out_channels / lanes⌉][k][lanes]`, zero where there is no channel; behind them, where a group has
//! fewer channels than lanes, the weights as they were given, for direct kernels.

use crate::element::Element;
use crate::error::Result;
use crate::pack::buffer::{Aligned, Line};

/// One layout for both orientations and every tile of an instruction set and element type.
pub(crate) struct PackedWeights<T> {
    data: Aligned<T>,
    k: usize,
    lanes: usize,
    blocks: usize,
    /// Where the weights as they were given begin.
    raw: usize,
}

impl<T: Element> PackedWeights<T> {
    /// Empty ones that will use the memory of `lines`.
    pub(crate) const fn reusing(lines: Vec<Line>) -> Self {
        Self { data: Aligned::reusing(lines), k: 0, lanes: 1, blocks: 0, raw: 0 }
    }

    /// The memory, to be used again.
    pub(crate) fn into_lines(self) -> Vec<Line> {
        self.data.into_lines()
    }

    /// Packs `weight`, `[groups · channels][k]`, keeping the memory.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn pack(&mut self, weight: &[T], channels: usize, k: usize, lanes: usize) -> Result<()> {
        (self.k, self.lanes, self.blocks) = (k, lanes, channels.div_ceil(lanes));
        let groups = weight.len() / (channels * k);
        // Divided before it is multiplied: packed depthwise weights are `lanes` times as many as given.
        self.raw = (groups * self.blocks).saturating_mul(k * lanes);
        let given = if has_raw(channels, lanes) { weight.len() } else { 0 };
        let data = self.data.resize(self.raw.saturating_add(given))?;
        data[self.raw..].copy_from_slice(&weight[..given]);
        let panels = data[..self.raw].chunks_exact_mut(k * lanes);
        let rows = weight.chunks_exact(channels * k).flat_map(|group| group.chunks(lanes * k));
        for (panel, rows) in panels.zip(rows) {
            pack_panel(rows, k, lanes, panel);
        }
        Ok(())
    }

    /// The panel of one group's `block`-th vector of channels, `[k][lanes]`, and all behind it.
    pub(crate) fn panel(&self, group: usize, block: usize) -> &[T] {
        &self.data.as_slice()[(group * self.blocks + block) * self.panel_len()..]
    }

    /// The weights of channel `channel`, counted through all groups, as they were given, and all behind them. Only where
    /// [`has_raw`].
    pub(crate) fn given(&self, channel: usize) -> &[T] {
        &self.data.as_slice()[self.raw + channel * self.k..]
    }

    /// Elements from one panel to the next.
    pub(crate) fn panel_len(&self) -> usize {
        self.k * self.lanes
    }
}

/// Whether the weights as they were given are kept, where a group has `channels` output channels.
pub(crate) fn has_raw(channels: usize, lanes: usize) -> bool {
    channels < lanes
}

/// Transposes at most `lanes` rows of `k` weights.
fn pack_panel<T: Element>(rows: &[T], k: usize, lanes: usize, panel: &mut [T]) {
    if rows.len() < lanes * k {
        panel.fill(T::ZERO);
    }
    // In columns of a cache line or so, so that the panel's lines are written while they are near.
    const COLUMNS: usize = 16;
    for first in (0..k).step_by(COLUMNS) {
        for (lane, row) in rows.chunks_exact(k).enumerate() {
            let row = &row[first..k.min(first + COLUMNS)];
            for (to, &w) in panel[first * lanes + lane..].iter_mut().step_by(lanes).zip(row) {
                *to = w;
            }
        }
    }
}
