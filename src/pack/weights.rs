//! Packed weights: `[groups][⌈out_channels / lanes⌉][k][lanes]`, zero where there is no channel; behind them, where a group has
//! fewer channels than lanes, the weights as they were given, for direct kernels.

use crate::element::Element;
use crate::error::Result;
use crate::geometry::Params;
use crate::kernel::{KernelSet, Square};
use crate::pack::buffer::{Aligned, Line};
use crate::phases::PhaseTaps;
use crate::simd::MAX_LANES;

/// What of packed weights is going to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// What a plan that is still to be made asks for.
    Any,
    Panels,
    /// The weights as they were given, for direct kernels.
    Given,
}

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
        let (panels, given) = self.resize(weight.len() / (channels * k), channels, k, lanes, Read::Any)?;
        given.copy_from_slice(&weight[..given.len()]);
        let panels = panels.chunks_exact_mut(k * lanes);
        let rows = weight.chunks_exact(channels * k).flat_map(|group| group.chunks(lanes * k));
        for (panel, rows) in panels.zip(rows) {
            pack_panel(rows, k, lanes, panel);
        }
        Ok(())
    }

    /// Packs, of the weights `[groups · out_channels][channels][kernel]` of a convolution, those of a phase of its input gradient:
    /// `[groups · channels][out_channels][taps]`.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn pack_phase(
        &mut self,
        weight: &[T],
        [groups, out_channels, channels]: [usize; 3],
        kernel: [usize; 3],
        taps: &[PhaseTaps; 3],
        set: &KernelSet<T>,
        read: Read,
    ) -> Result<()> {
        let lanes = set.lanes;
        let [all, count] = [kernel.iter().product::<usize>(), taps.iter().map(|taps| taps.count).product()];
        let k = out_channels * count;
        let (panels, given) = self.resize(groups, channels, k, lanes, read)?;
        if all == 1 && !channels.is_multiple_of(lanes) {
            panels.fill(T::ZERO);
        }
        // Some panels at a time: rows of some lines are read of each output channel, and some pages written.
        const PANELS: usize = 8;
        let mut columns = [T::ZERO; MAX_LANES * MAX_LANES];
        let groups = weight.chunks_exact(out_channels * channels * all);
        // Where there are none, this ends at once.
        for (panels, weight) in panels.chunks_mut(channels.div_ceil(lanes) * k * lanes).zip(groups) {
            for (i, panels) in panels.chunks_mut(PANELS * k * lanes).enumerate() {
                for (out, weight) in weight.chunks_exact(channels * all).enumerate() {
                    let blocks = weight[i * PANELS * lanes * all..].chunks(lanes * all);
                    for (panel, block) in panels.chunks_exact_mut(k * lanes).zip(blocks) {
                        let to = &mut panel[out * count * lanes..][..count * lanes];
                        pack_kernels(block, kernel, set, taps, channels * all, &mut columns, to);
                    }
                }
            }
        }
        if !given.is_empty() {
            for (index, weight) in weight.chunks_exact(all).enumerate() {
                let (out, channel) = (index / channels, index % channels);
                let (group, out) = (out / out_channels, out % out_channels);
                let to = &mut given[((group * channels + channel) * out_channels + out) * count..][..count];
                to.iter_mut().zip(selected(kernel, taps)).for_each(|(to, tap)| *to = weight[tap]);
            }
        }
        Ok(())
    }

    /// Room for `groups` times `channels` times `k` weights: the panels and, where [`has_raw`], the weights as they were given.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    fn resize(
        &mut self,
        groups: usize,
        channels: usize,
        k: usize,
        lanes: usize,
        read: Read,
    ) -> Result<(&mut [T], &mut [T])> {
        (self.k, self.lanes, self.blocks) = (k, lanes, channels.div_ceil(lanes));
        // Packed depthwise weights are `lanes` times as many as given.
        let panels = (groups * self.blocks).saturating_mul(k * lanes);
        self.raw = if read == Read::Given { 0 } else { panels };
        let given = has_raw(channels, lanes) && read != Read::Panels;
        let given = if given { groups * channels * k } else { 0 };
        let data = self.data.resize(self.raw.saturating_add(given))?;
        Ok(data.split_at_mut(self.raw))
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

/// Packs the weights of a convolution.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(crate) fn pack<T: Element, const D: usize>(
    params: &Params<D>,
    weight: &[T],
    lanes: usize,
    packed: &mut PackedWeights<T>,
) -> Result<()> {
    let k = weight.len() / params.out_channels;
    packed.pack(weight, params.out_channels / params.groups, k, lanes)
}

/// Whether the weights as they were given are kept, where a group has `channels` output channels.
pub(crate) fn has_raw(channels: usize, lanes: usize) -> bool {
    channels < lanes
}

/// Writes of at most a vector of kernels those taps that are a phase's, as vectors in its order. The next ones lie
/// `next` behind.
fn pack_kernels<T: Element>(
    kernels: &[T],
    [depth, height, width]: [usize; 3],
    set: &KernelSet<T>,
    taps: &[PhaseTaps; 3],
    next: usize,
    columns: &mut [T; MAX_LANES * MAX_LANES],
    to: &mut [T],
) {
    let (lanes, all) = (set.lanes, depth * height * width);
    if all == 1 {
        to[..kernels.len()].copy_from_slice(kernels);
        return;
    }
    let whole = to.len() == all * lanes;
    let rows: [usize; MAX_LANES] = std::array::from_fn(|i| i * all);
    for first in (0..all).step_by(lanes) {
        let square = Square {
            from: kernels[first..].as_ptr(),
            rows: &rows[..kernels.len() / all],
            cols: lanes.min(all - first),
            next,
            count: 1,
            from_next: 0,
            to_next: 0,
            to: columns.as_mut_ptr(),
            to_step: lanes,
            whole: true,
            add: false,
        };
        // SAFETY: the set's instruction set is available. Each kernel has so many taps behind the first; there is room for as many
        // vectors as any has lanes.
        unsafe { (set.square)(&square) };
        for (tap, column) in (first..all).zip(columns.chunks_exact(lanes)).take(lanes) {
            let place = if whole {
                Some(all - 1 - tap)
            } else {
                let at = [tap / (height * width), tap / width % height, tap % width];
                let [d, h, w] = [0, 1, 2].map(|axis| taps[axis].place(at[axis]));
                let (heights, widths) = (taps[1].count, taps[2].count);
                d.zip(h).zip(w).map(|((d, h), w)| (d * heights + h) * widths + w)
            };
            if let Some(place) = place {
                to[place * lanes..][..lanes].copy_from_slice(column);
            }
        }
    }
}

/// A phase's taps in its order, as places in the kernel.
fn selected([_, height, width]: [usize; 3], taps: &[PhaseTaps; 3]) -> impl Iterator<Item = usize> + use<> {
    let [depths, heights, widths] = *taps;
    (0..depths.count).flat_map(move |d| {
        (0..heights.count).flat_map(move |h| {
            let row = (depths.tap(d) * height + heights.tap(h)) * width;
            (0..widths.count).map(move |w| row + widths.tap(w))
        })
    })
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
