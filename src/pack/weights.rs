//! Packed weights: `[groups][⌈out_channels / lanes⌉][k][lanes]`, zero where there is no channel; behind them, where a group has
//! fewer channels than lanes, the weights as they were given, for direct kernels.

use crate::element::Element;
use crate::error::Result;
use crate::kernel::{Columns, KernelSet, Square};
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
    /// Of each tap of a kernel of which a phase is packed: its place in a panel.
    places: Aligned<usize>,
}

impl<T: Element> PackedWeights<T> {
    /// Empty ones that will use the memory of `lines`.
    pub(crate) const fn reusing(lines: Vec<Line>) -> Self {
        Self {
            data: Aligned::reusing(lines),
            k: 0,
            lanes: 1,
            blocks: 0,
            raw: 0,
            places: Aligned::reusing(Vec::new()),
        }
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
        self.resize(weight.len() / (channels * k), channels, k, lanes, Read::Any)?;
        let (panels, given) = self.data.as_mut_slice().split_at_mut(self.raw);
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
        self.places.resize(all)?;
        self.resize(groups, channels, k, lanes, read)?;
        let places = self.places.as_mut_slice();
        places.fill(Columns::NOWHERE);
        selected(kernel, taps).enumerate().for_each(|(place, tap)| places[tap] = place * lanes);
        let (panels, given) = self.data.as_mut_slice().split_at_mut(self.raw);
        if all == 1 && !channels.is_multiple_of(lanes) {
            panels.fill(T::ZERO);
        }
        // Some panels at a time: rows of some lines are read of each output channel, and some pages written.
        const PANELS: usize = 8;
        let groups = weight.chunks_exact(out_channels * channels * all);
        // Where there are none, this ends at once.
        for (panels, weight) in panels.chunks_mut(channels.div_ceil(lanes) * k * lanes).zip(groups) {
            for (i, panels) in panels.chunks_mut(PANELS * k * lanes).enumerate() {
                for (out, weight) in weight.chunks_exact(channels * all).enumerate() {
                    let kernels = &weight[i * PANELS * lanes * all..];
                    let kernels = &kernels[..kernels.len().min(PANELS * lanes * all)];
                    let to = &mut panels[out * count * lanes..];
                    pack_kernels((kernels, channels * all), set, (places, count), to, k * lanes);
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
    fn resize(&mut self, groups: usize, channels: usize, k: usize, lanes: usize, read: Read) -> Result<()> {
        (self.k, self.lanes, self.blocks) = (k, lanes, channels.div_ceil(lanes));
        // Packed depthwise weights are `lanes` times as many as given.
        let panels = (groups * self.blocks).saturating_mul(k * lanes);
        self.raw = if read == Read::Given { 0 } else { panels };
        let given = has_raw(channels, lanes) && read != Read::Panels;
        let given = if given { groups * channels * k } else { 0 };
        self.data.resize(self.raw.saturating_add(given))
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

/// Writes of kernels those `count` taps that have places as vectors of a panel, of which the next is `panel` behind. The next
/// kernels lie `next` behind.
fn pack_kernels<T: Element>(
    (kernels, next): (&[T], usize),
    set: &KernelSet<T>,
    (places, count): (&[usize], usize),
    to: &mut [T],
    panel: usize,
) {
    let (lanes, all) = (set.lanes, places.len());
    if all == 1 {
        // Vectors of a known length are copied without a call.
        return match lanes {
            16 => copy_vectors::<T, 16>(kernels, to, panel),
            8 => copy_vectors::<T, 8>(kernels, to, panel),
            4 => copy_vectors::<T, 4>(kernels, to, panel),
            2 => copy_vectors::<T, 2>(kernels, to, panel),
            lanes => unreachable!("vectors of {lanes}"),
        };
    }
    let channels = kernels.len() / all;
    let (whole, rest) = (channels / lanes, channels % lanes);
    assert!(to.len() >= (channels.div_ceil(lanes) - 1) * panel + count * lanes);
    let rows: [usize; MAX_LANES] = std::array::from_fn(|i| i * all);
    for (first, rows, count) in [(0, &rows[..lanes], whole), (whole, &rows[..rest], rest.min(1))] {
        if count == 0 {
            continue;
        }
        let square = Square {
            from: kernels[first * lanes * all..].as_ptr(),
            rows,
            cols: all,
            next,
            count,
            from_next: lanes * all,
            to_next: panel,
            to: to[first * panel..].as_mut_ptr(),
            columns: Columns::At(places),
            whole: true,
            add: false,
        };
        // SAFETY: the set's instruction set is available. Each kernel has all taps; there is room for those that have places.
        unsafe { (set.square)(&square) };
    }
}

/// Copies each `LANES` elements into a panel of their own; of the last one there may be fewer.
fn copy_vectors<T: Element, const LANES: usize>(from: &[T], to: &mut [T], panel: usize) {
    let (whole, rest) = from.as_chunks::<LANES>();
    let mut panels = to.chunks_mut(panel);
    for (from, to) in whole.iter().zip(&mut panels) {
        to[..LANES].copy_from_slice(from);
    }
    if let Some(to) = panels.next() {
        to[..rest.len()].copy_from_slice(rest);
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
