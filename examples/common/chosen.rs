//! Which layers a program is to run: its arguments for them.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::descriptor;
use super::layer::{self, Layer};

#[derive(Debug, clap::Args)]
pub(crate) struct Chosen {
    /// Layers as problem descriptors of oneDNN's benchdnn, such as mb1ic64ih56oc64oh56kh3ph1.
    descriptors: Vec<String>,
    /// A list of layers in the format of benches/layers.json, which is the default where no descriptor is given.
    #[arg(long)]
    layers: Option<PathBuf>,
    /// Only layers whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

impl Chosen {
    /// Those of descriptors, then those of the list.
    ///
    /// # Errors
    /// A descriptor or a list that cannot be read.
    pub(crate) fn read(&self) -> Result<Vec<Layer>> {
        let parse = |text: &String| descriptor::parse(text).with_context(|| format!("descriptor {text}"));
        let mut layers = self.descriptors.iter().map(parse).collect::<Result<Vec<_>>>()?;
        if self.layers.is_some() || layers.is_empty() {
            layers.extend(layer::read(self.layers.as_deref())?);
        }
        layers.retain(|layer| layer.name.contains(&self.only));
        Ok(layers)
    }
}
