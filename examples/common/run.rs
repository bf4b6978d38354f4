//! Libraries on one machine, on the same layers in the same run, as files hold it.

use std::collections::BTreeMap;

use convgemm::{Geometry, Plan};
use serde::{Deserialize, Serialize};

use super::layer::Layer;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) cpu: String,
    pub(crate) isa: String,
    pub(crate) threads: usize,
    /// The FMA peak of all threads together.
    pub(crate) peak_gflops: f64,
    pub(crate) layers: Vec<LayerResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerResult {
    pub(crate) name: String,
    pub(crate) class: String,
    /// Multiply-adds, those on padding included.
    pub(crate) macs: u64,
    /// Of the input, the weights and the output, each once.
    pub(crate) bytes: u64,
    /// convgemm's workspace for the call.
    pub(crate) scratch_bytes: u64,
    /// The im2col matrix of one image.
    pub(crate) im2col_bytes: u64,
    /// By library; one that cannot compute the layer, or not rightly, is left out.
    pub(crate) gflops: BTreeMap<String, f64>,
}

impl LayerResult {
    /// In `f32`, of what took so many seconds. Nominal: multiply-adds on padding count.
    pub(crate) fn new<const D: usize>(
        layer: &Layer,
        geometry: &Geometry<D>,
        plan: &Plan,
        threads: usize,
        seconds: BTreeMap<String, f64>,
    ) -> anyhow::Result<Self> {
        let bytes = |elements: usize| (elements * size_of::<f32>()) as u64;
        let flops = 2.0 * geometry.macs() as f64;
        Ok(Self {
            name: layer.name.clone(),
            class: layer.class().to_owned(),
            macs: geometry.macs().try_into()?,
            bytes: bytes(geometry.input_len() + geometry.weight_len() + geometry.output_len()),
            scratch_bytes: (plan.parts(threads) * plan.scratch_bytes()) as u64,
            im2col_bytes: bytes(geometry.columns_len()? / geometry.batch()),
            gflops: seconds.into_iter().map(|(name, seconds)| (name, flops / seconds / 1e9)).collect(),
        })
    }
}

/// The CPU's model as Linux tells it; elsewhere, and where it does not, the architecture.
pub(crate) fn cpu() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim()).to_owned()
}
