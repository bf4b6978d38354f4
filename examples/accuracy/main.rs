//! How far results are from those in double precision: the exact family, and Winograd's algorithm by tile. On standard normal data;
//! prints tables for docs/accuracy.md.

#[path = "../common/mod.rs"]
mod common;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use common::chosen::Chosen;
use common::layer::Layer;
use convgemm::{Algorithm, Conv, Conv2d, Error};
use serde::Serialize;

/// Measures the errors of results in single precision.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Channels of the largest of the layers of growing channels.
    #[arg(long, default_value_t = 2048)]
    channels: usize,
    /// Writes what was measured to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Errors of one layer.
#[derive(Debug, Serialize)]
struct Errors {
    layer: String,
    in_channels: usize,
    kernel: usize,
    /// Outputs of a tile along an axis; 0 for the exact family.
    tile: usize,
    /// The largest error over the largest output.
    max: f64,
    /// The error over the output, root mean squares.
    rms: f64,
    /// Whether it belongs to the layers that differ in their input channels alone.
    series: bool,
}

/// The exact family and all tiles.
const TILES: [usize; 4] = [0, 2, 4, 6];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let layers = arguments.chosen.read()?;
    let mut all = vec![];
    println!("{}", head("layer"));
    for layer in layers.iter().filter(|layer| layer.rank() == 2) {
        let errors = measure(layer, false)?;
        if errors.len() > 1 {
            println!("{}", row(&layer.name, &errors));
            all.extend(errors);
        }
    }
    for kernel in [3, 5] {
        println!("\n{}", head(&format!("{kernel}×{kernel}, input channels")));
        let channels = (3..).map(|power| 1 << power).take_while(|&channels| channels <= arguments.channels);
        for channels in channels {
            let errors = measure(&Layer::square(channels, 32, kernel, 24), true)?;
            println!("{}", row(&channels.to_string(), &errors));
            all.extend(errors);
        }
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn head(first: &str) -> String {
    format!(
        "| {first} | exact: max | RMS | tiles of 2: max | RMS | of 4: max | RMS | of 6: max | RMS |\n\
         |---|---|---|---|---|---|---|---|---|"
    )
}

fn row(first: &str, errors: &[Errors]) -> String {
    let mut row = format!("| {first} |");
    for tile in TILES {
        match errors.iter().find(|errors| errors.tile == tile) {
            Some(Errors { max, rms, .. }) => row += &format!(" {max:.1e} | {rms:.1e} |"),
            None => row += " | |",
        }
    }
    row
}

/// The errors of every way that applies to a layer.
fn measure(layer: &Layer, series: bool) -> Result<Vec<Errors>> {
    let (params, extent) = (layer.params::<2>(), layer.extent());
    let geometry = params.geometry(layer.n, extent)?;
    let (x, weight) = (normal(geometry.input_len(), 1), normal(geometry.weight_len(), 2));
    let double = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let exact = Conv::<f64, 2>::with_params(params).build(&double(&weight))?;
    let exact = exact.forward(&double(&x), layer.n, extent)?;
    let mut all = vec![];
    for tile in TILES {
        let algorithm = if tile == 0 { Algorithm::Auto } else { Algorithm::Winograd { tile } };
        let conv = Conv2d::with_params(params).algorithm(algorithm).build(&weight)?;
        let y = match conv.forward(&x, layer.n, extent) {
            Err(Error::NotApplicable { .. }) => continue,
            y => y?,
        };
        let errors = y.iter().zip(&exact).map(|(&y, exact)| f64::from(y) - exact);
        all.push(Errors {
            layer: layer.name.clone(),
            in_channels: params.in_channels / params.groups,
            kernel: params.kernel[0],
            tile,
            max: largest(errors.clone()) / largest(exact.iter().copied()),
            rms: (squares(errors) / squares(exact.iter().copied())).sqrt(),
            series,
        });
    }
    Ok(all)
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

fn squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum()
}

/// Standard normal numbers, of pairs of even ones (Box and Muller, 1958).
fn normal(len: usize, seed: u64) -> Vec<f32> {
    let even: Vec<f64> = common::data::random(2 * len, seed);
    let of_pair = |pair: &[f64]| {
        let [u, v] = [0, 1].map(|i| (pair[i] + 1.0) / 2.0);
        ((-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    };
    even.chunks_exact(2).map(of_pair).collect()
}
