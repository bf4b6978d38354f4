//! Weights as Winograd's products read them: `[groups][points][⌈out_channels / lanes⌉][in_channels][lanes]`.

use crate::element::Element;
use crate::error::Result;
use crate::geometry::Shape;
use crate::pack::buffer::{Aligned, Line};
use crate::pack::weights::PackedWeights;
use crate::simd::MAX_LANES;
use crate::winograd::{Filter, MOST_TAPS, WeightTransform};

pub(crate) struct TransformedWeights<T> {
    data: Aligned<T>,
    filters: [Filter; 2],
    points: usize,
    groups: usize,
    channels: usize,
    taps: usize,
    panels: usize,
    /// Elements of a panel.
    panel: usize,
}

impl<T: Element> TransformedWeights<T> {
    /// Empty ones for a layer, of these filters, that will use the memory of `lines`.
    pub(crate) fn reusing(lines: Vec<Line>, shape: &Shape, filters: [Filter; 2]) -> Self {
        Self {
            data: Aligned::reusing(lines),
            filters,
            points: filters.map(Filter::points).iter().product(),
            groups: shape.groups,
            channels: shape.out_channels,
            taps: shape.taps(),
            panels: 0,
            panel: 0,
        }
    }

    /// Transforms the weights of a layer, keeping the memory. Each is rounded once, from double precision.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub(crate) fn fill(&mut self, packed: &PackedWeights<T>, lanes: usize) -> Result<()> {
        self.panels = self.channels.div_ceil(lanes);
        self.panel = packed.panel_len() / self.taps;
        let Self { panels, panel, points, taps, groups, .. } = *self;
        self.data.resize(groups.saturating_mul(points * panels).saturating_mul(panel))?;
        let data = self.data.as_mut_slice();
        let transform = WeightTransform::new(self.filters);
        for group in 0..groups {
            for p in 0..panels {
                let weights = &packed.panel(group, p)[..packed.panel_len()];
                for (channel, weights) in weights.chunks_exact(taps * lanes).enumerate() {
                    let mut values = [[0.0; MAX_LANES]; MOST_TAPS * MOST_TAPS];
                    for (values, weights) in values.iter_mut().zip(weights.chunks_exact(lanes)) {
                        for (value, weight) in values.iter_mut().zip(weights) {
                            *value = weight.to_f64();
                        }
                    }
                    let first = (group * points * panels + p) * panel + channel * lanes;
                    transform.apply(&values, |point, values| {
                        let to = &mut data[first + point * panels * panel..][..lanes];
                        for (to, &value) in to.iter_mut().zip(values) {
                            *to = T::from_f64(value);
                        }
                    });
                }
            }
        }
        Ok(())
    }

    /// The panels of a point of a group, from `panel` on.
    pub(crate) fn panels(&self, group: usize, point: usize, panel: usize) -> &[T] {
        let at = (group * self.points + point) * self.panels;
        &self.data.as_slice()[(at + panel) * self.panel..(at + self.panels) * self.panel]
    }
}
