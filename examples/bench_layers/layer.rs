//! Layers as the list has them, and rows as they are printed.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use convgemm::Params;
use serde::{Deserialize, Serialize};

/// A two-dimensional layer.
#[derive(Debug, Deserialize)]
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) n: usize,
    c_in: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    c_out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    groups: usize,
}

/// The layers of a file, or the built-in ones.
pub(crate) fn read(path: Option<&Path>) -> Result<Vec<Layer>> {
    let text = match path {
        None => include_str!("../../benches/layers.json").to_owned(),
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?,
    };
    serde_json::from_str(&text).context("the list of layers")
}

impl Layer {
    pub(crate) fn params(&self) -> Params<2> {
        Params::new(self.c_in, self.c_out, self.kernel)
            .stride(self.stride)
            .padding(self.padding)
            .dilation(self.dilation)
            .groups(self.groups)
    }

    /// What kind of layer it is.
    pub(crate) fn class(&self) -> &'static str {
        let depthwise = self.groups == self.c_in && self.groups == self.c_out && self.groups > 1;
        let thin = self.c_out <= 4;
        match self {
            _ if depthwise => "depthwise",
            _ if self.macs() < 500_000 => "tiny",
            _ if self.groups > 1 => "grouped",
            _ if thin => "thin",
            _ if self.c_in <= 4 => "first",
            _ if self.kernel == [1, 1] => "pointwise",
            _ => "dense",
        }
    }

    fn macs(&self) -> u128 {
        self.params().geometry(self.n, [self.h, self.w]).map_or(0, |geometry| geometry.macs())
    }
}

/// What was measured of a layer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) class: &'static str,
    pub(crate) threads: usize,
    pub(crate) min_s: f64,
    pub(crate) median_s: f64,
    pub(crate) gflops: f64,
    pub(crate) peak_gflops: f64,
    pub(crate) algorithm: String,
    pub(crate) lowering: String,
    pub(crate) kernel: String,
    pub(crate) isa: &'static str,
    pub(crate) scratch_bytes: usize,
}

impl Row {
    /// Of the FMA peak; over 1 where padding is skipped.
    pub(crate) fn share(&self) -> f64 {
        self.gflops / self.peak_gflops
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:28} {:9} {:8.1} {:5.1}%  {}, {}, {} bytes",
            self.name,
            self.class,
            self.gflops,
            100.0 * self.share(),
            self.kernel,
            self.lowering,
            self.scratch_bytes
        )
    }
}
