//! Layers, as benches/layers.json has them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use convgemm::{Padding, Params};
use serde::Deserialize;

/// A layer of one to three axes: as many as `kernel` has. The extents are `w`, `h` × `w` or `d` × `h` × `w`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Layer {
    pub(crate) name: String,
    /// Images.
    pub(crate) n: usize,
    pub(crate) c_in: usize,
    pub(crate) d: Option<usize>,
    pub(crate) h: Option<usize>,
    pub(crate) w: usize,
    pub(crate) c_out: usize,
    pub(crate) kernel: Vec<usize>,
    pub(crate) stride: Vec<usize>,
    /// On both sides of each axis, or before it where `padding_end` is given.
    pub(crate) padding: Vec<usize>,
    /// Behind each axis; crops where negative.
    pub(crate) padding_end: Option<Vec<isize>>,
    pub(crate) dilation: Vec<usize>,
    pub(crate) groups: usize,
}

/// The layers of a file, or the built-in ones.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<Layer>> {
    let Some(path) = path else { return parse(include_str!("../../benches/layers.json")) };
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).with_context(|| format!("the layers of {}", path.display()))
}

pub(crate) fn parse(text: &str) -> Result<Vec<Layer>> {
    let layers: Vec<Layer> = serde_json::from_str(text)?;
    for layer in &layers {
        layer.validate().with_context(|| format!("layer {}", layer.name))?;
    }
    Ok(layers)
}

impl Layer {
    /// One image of `extent` squared, with a kernel of `kernel` squared and an output of the same size.
    pub(crate) fn square(c_in: usize, c_out: usize, kernel: usize, extent: usize) -> Self {
        Self {
            name: format!("{c_in}-{c_out}.{kernel}x{kernel}.{extent}"),
            n: 1,
            c_in,
            d: None,
            h: Some(extent),
            w: extent,
            c_out,
            kernel: vec![kernel; 2],
            stride: vec![1; 2],
            padding: vec![kernel / 2; 2],
            padding_end: None,
            dilation: vec![1; 2],
            groups: 1,
        }
    }

    fn validate(&self) -> Result<()> {
        let rank = self.rank();
        ensure!((1..=3).contains(&rank), "kernel has {rank} axes; 1 to 3 are supported");
        for (name, axes) in
            [("stride", &self.stride), ("padding", &self.padding), ("dilation", &self.dilation)]
        {
            ensure!(axes.len() == rank, "{name} has {} axes, kernel {rank}", axes.len());
        }
        let ends = self.padding_end.as_ref().map_or(rank, Vec::len);
        ensure!(ends == rank, "padding_end has {ends} axes, kernel {rank}");
        ensure!(self.h.is_some() == (rank >= 2), "h is given where there are two axes or more");
        ensure!(self.d.is_some() == (rank == 3), "d is given where there are three axes");
        Ok(())
    }

    pub(crate) fn rank(&self) -> usize {
        self.kernel.len()
    }

    /// The layer's parameters; `D` is its rank.
    pub(crate) fn params<const D: usize>(&self) -> Params<D> {
        let padding = match &self.padding_end {
            Some(end) => {
                Padding::Explicit { begin: axes(&self.padding).map(usize::cast_signed), end: axes(end) }
            }
            None => axes(&self.padding).into(),
        };
        Params::new(self.c_in, self.c_out, axes(&self.kernel))
            .stride(axes(&self.stride))
            .padding(padding)
            .dilation(axes(&self.dilation))
            .groups(self.groups)
    }

    /// The extents of an image; `D` is the layer's rank.
    pub(crate) fn extent<const D: usize>(&self) -> [usize; D] {
        let extent: Vec<_> = self.d.into_iter().chain(self.h).chain([self.w]).collect();
        axes(&extent)
    }

    /// What kind of layer it is.
    pub(crate) fn class(&self) -> &'static str {
        let depthwise = self.groups == self.c_in && self.groups > 1;
        match self {
            _ if depthwise => "depthwise",
            _ if self.macs() < 500_000 => "tiny",
            _ if self.groups > 1 => "grouped",
            _ if self.c_out <= 4 => "thin",
            _ if self.c_in <= 4 => "first",
            _ if self.rank() == 3 => "3-D",
            _ if self.kernel.iter().all(|&k| k == 1) => "pointwise",
            _ => "dense",
        }
    }

    /// Multiply-adds, those on padding included; none where no window fits.
    pub(crate) fn macs(&self) -> u128 {
        fn of<const D: usize>(layer: &Layer) -> u128 {
            layer.params::<D>().geometry(layer.n, layer.extent()).map_or(0, |geometry| geometry.macs())
        }
        match self.rank() {
            1 => of::<1>(self),
            2 => of::<2>(self),
            _ => of::<3>(self),
        }
    }
}

fn axes<V: Copy, const D: usize>(values: &[V]) -> [V; D] {
    std::array::from_fn(|axis| values[axis])
}
