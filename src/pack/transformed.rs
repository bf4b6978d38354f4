//! Weights as Winograd's products read them, two vectors of output channels side by side:
//! `[groups][points][⌈out_channels / (2 · lanes)⌉][in_channels][2][lanes]`, of an odd last vector alone.

use crate::element::Element;
use crate::error::Result;
use crate::geometry::Shape;
use crate::kernel::{KernelSet, PointWeights};
use crate::pack::buffer::Aligned;
use crate::pack::weights::PackedWeights;
use crate::winograd::{Filter, WeightTransform};

pub(crate) struct TransformedWeights<T> {
    data: Aligned<T>,
    /// What they were made for.
    filters: [Filter; 2],
    groups: usize,
    /// Of a point of a group, and elements of each.
    panels: usize,
    panel: usize,
}

impl<T: Element> TransformedWeights<T> {
    /// Empty ones.
    pub(crate) const fn new() -> Self {
        let filters = [Filter { tile: 1, kernel: 1 }; 2];
        Self { data: Aligned::reusing(Vec::new()), filters, groups: 0, panels: 0, panel: 0 }
    }

    /// Transforms the weights of a layer, reusing the memory. Each is rounded once, from double precision.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn fill(
        &mut self,
        shape: &Shape,
        filters: [Filter; 2],
        packed: &PackedWeights<T>,
        set: &KernelSet<T>,
    ) -> Result<()> {
        self.filters = filters;
        self.groups = shape.groups;
        self.panels = shape.out_channels.div_ceil(set.lanes);
        self.refill(packed, set)
    }

    /// [`TransformedWeights::fill`] for the same layer and filters.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn refill(&mut self, packed: &PackedWeights<T>, set: &KernelSet<T>) -> Result<()> {
        let taps: usize = self.filters.iter().map(|filter| filter.kernel).product();
        self.panel = packed.panel_len() / taps;
        let (points, panels, panel) = (self.points(), self.panels, self.panel);
        self.data.resize(self.groups.saturating_mul(points * panels).saturating_mul(panel))?;
        let transform = WeightTransform::new(self.filters);
        for (group, data) in self.data.as_mut_slice().chunks_exact_mut(points * panels * panel).enumerate() {
            for p in 0..panels {
                let (pair, second) = (p / 2 * 2, p % 2);
                let weights = PointWeights {
                    transform: &transform,
                    from: packed.panel(group, p)[..packed.panel_len()].as_ptr(),
                    channels: panel / set.lanes,
                    to: data[pair * panel + second * set.lanes..].as_mut_ptr(),
                    to_channel: 2.min(panels - pair) * set.lanes,
                    to_point: panels * panel,
                };
                // SAFETY: the set's instruction set is available; a panel holds a vector for each tap of each channel; there is room
                // for a pair of panels at each point, or for the last one.
                unsafe { (set.weights_to_points)(&weights) }
            }
        }
        Ok(())
    }

    fn points(&self) -> usize {
        self.filters.map(Filter::points).iter().product()
    }

    /// The panels of a point of a group, from an even `panel` on.
    pub(crate) fn panels(&self, group: usize, point: usize, panel: usize) -> &[T] {
        let at = (group * self.points() + point) * self.panels;
        &self.data.as_slice()[(at + panel) * self.panel..(at + self.panels) * self.panel]
    }
}
