//! Prints what would run for a convolution, and why; computes nothing.
//!
//! `cargo run --release --example explain -- ic64ih56oc64oh56kh3ph1` takes a problem descriptor of oneDNN's benchdnn;
//! `--layers benches/layers.json` a list of layers.

#[path = "../common/mod.rs"]
mod common;

use anyhow::{Context, Result};
use clap::Parser;
use common::chosen::Chosen;
use convgemm::{Algorithm, Conv, Element, Isa, Params};

/// Prints what would run for a convolution, and why.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Threads to share the work between.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// portable, avx2, avx512 or neon; the best unless given.
    #[arg(long, env = convgemm::ISA_VARIABLE)]
    isa: Option<Isa>,
    /// The element type is f64 rather than f32.
    #[arg(long)]
    double: bool,
    /// Explains the baseline, im2col and a general GEMM.
    #[arg(long)]
    im2col: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    for layer in arguments.chosen.read()? {
        let title = format!("{} ({})", layer.name, layer.class());
        match layer.rank() {
            1 => explain::<1>(&title, layer.params(), layer.n, layer.extent(), &arguments),
            2 => explain::<2>(&title, layer.params(), layer.n, layer.extent(), &arguments),
            _ => explain::<3>(&title, layer.params(), layer.n, layer.extent(), &arguments),
        }
        .with_context(|| format!("layer {}", layer.name))?;
    }
    Ok(())
}

fn explain<const D: usize>(
    title: &str,
    params: Params<D>,
    batch: usize,
    extent: [usize; D],
    arguments: &Arguments,
) -> Result<()> {
    println!("{title}");
    if arguments.double {
        explain_of::<f64, D>(params, batch, extent, arguments)
    } else {
        explain_of::<f32, D>(params, batch, extent, arguments)
    }
}

fn explain_of<T: Element, const D: usize>(
    params: Params<D>,
    batch: usize,
    extent: [usize; D],
    arguments: &Arguments,
) -> Result<()> {
    let geometry = params.geometry(batch, extent)?;
    let mut builder = Conv::<T, D>::with_params(params);
    if let Some(isa) = arguments.isa {
        builder = builder.isa(isa);
    }
    if arguments.im2col {
        builder = builder.algorithm(Algorithm::Im2col);
    }
    let conv = builder.build(&vec![T::ZERO; geometry.weight_len()])?;
    let plan = conv.plan(batch, extent)?;
    let bytes = |len: usize| (len * size_of::<T>()) as f64 / (1 << 20) as f64;
    println!(
        "  input      {batch} × {} × {extent:?}, kernel {:?}, stride {:?}, dilation {:?}, padding from {:?}, {} groups",
        params.in_channels,
        params.kernel,
        params.stride,
        params.dilation,
        geometry.pad_begin(),
        params.groups
    );
    println!("  output     {batch} × {} × {:?}", params.out_channels, geometry.output_extent());
    println!(
        "  tensors    input {:.2} MiB, weights {:.2}, output {:.2}; the im2col matrix, never made, {:.2}",
        bytes(geometry.input_len()),
        bytes(geometry.weight_len()),
        bytes(geometry.output_len()),
        geometry.columns_len().map_or(f64::INFINITY, bytes)
    );
    for line in plan.to_string().lines() {
        println!("  {line}");
    }
    println!("  parts      {} for {} threads\n", plan.parts(arguments.threads), arguments.threads);
    Ok(())
}
