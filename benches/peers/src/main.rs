//! Times convolution layers with other Rust libraries beside convgemm, in turn, in one process.

mod bench;
#[path = "../../../examples/common/mod.rs"]
mod common;
mod peers;
mod problem;
mod results;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench::Bench;
use clap::Parser;
use clap::builder::PossibleValuesParser;
use common::chosen::Chosen;
use common::peak;
use common::run::{Run, cpu};
use convgemm::Isa;
use peers::Peer;
use rayon::ThreadPoolBuilder;
use results::{head, line};
use serde::Serialize;

/// Times convolution layers with other Rust libraries beside convgemm.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Threads to compute in.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// Rounds, in each of which every library is timed once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Seconds to time each library for in each round, at least.
    #[arg(long, default_value_t = 0.1)]
    min_time: f64,
    /// The libraries; all unless given.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(peers::ALL.map(|peer| peer.name())))]
    peers: Option<Vec<String>>,
    /// Times all layers in one pass, one after the other, in place of each by itself.
    #[arg(long)]
    pass: bool,
    /// Writes the results to this file; with --pass the seconds of each library.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let threads = usize::from(arguments.threads);
    // SAFETY: no other thread has been started.
    unsafe {
        // candle asks for it at any time, rten when it makes its pool.
        std::env::set_var("RAYON_NUM_THREADS", threads.to_string());
        std::env::set_var("RTEN_NUM_THREADS", threads.to_string());
    }
    // rten's pool is one of rayon's. The others compute in that in which they are called, so nobody hands work over.
    rten::thread_pool().run(|| run(&arguments, threads))
}

fn run(arguments: &Arguments, threads: usize) -> Result<()> {
    ensure!(rayon::current_num_threads() == threads, "there are not {threads} CPUs");
    let wanted = |peer: &&dyn Peer| match &arguments.peers {
        Some(names) => names.iter().any(|name| name == peer.name()),
        None => true,
    };
    let peers: Vec<_> = peers::ALL.into_iter().filter(wanted).collect();
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    let layers = arguments.chosen.read()?;
    let min_time = Duration::try_from_secs_f64(arguments.min_time)?;
    let bench = Bench { peers: &peers, threads, rounds: arguments.rounds.into(), min_time };
    if arguments.pass {
        let seconds = bench.pass(&layers)?;
        println!("{} layers in one pass, {threads} threads", layers.len());
        seconds.iter().for_each(|(name, seconds)| println!("{name:11} {:9.3} ms", 1e3 * seconds));
        return write(arguments, &seconds);
    }
    let isa = Isa::available()[0];
    let peak_gflops = peak::single_precision(isa, &ThreadPoolBuilder::new().num_threads(threads).build()?);
    println!("FMA peak {peak_gflops:.1} GFLOP/s ({isa}, {threads} threads)\n{}", head(&names));
    let isa = isa.name().to_owned();
    let mut results = Run { cpu: cpu(), isa, threads, peak_gflops, layers: vec![] };
    for layer in &layers {
        if layer.rank() > 2 {
            eprintln!("{}: left out, layers of three axes are not compared", layer.name);
            continue;
        }
        let layer = bench.layer(layer).with_context(|| format!("layer {}", layer.name))?;
        println!("{}", line(&layer, &names));
        results.layers.push(layer);
    }
    print!("{}", results.means(&names));
    write(arguments, &results)
}

fn write(arguments: &Arguments, results: &impl Serialize) -> Result<()> {
    let Some(path) = &arguments.json else { return Ok(()) };
    fs::write(path, serde_json::to_string_pretty(results)?)
        .with_context(|| format!("writing {}", path.display()))
}
