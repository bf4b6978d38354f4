//! Measures convgemm, beside what was measured of other libraries, and draws it.

mod bandwidth;
#[path = "../../../examples/common/mod.rs"]
mod common;
mod draw;
mod measure;
mod results;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use common::chosen::Chosen;
use convgemm::Isa;
use measure::Measurement;
use results::{Errors, Run, Session};

/// Measures convgemm and draws the pictures of its README.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that figures and pictures are written to.
    #[arg(long)]
    out: PathBuf,
    /// Draws what an earlier call wrote to this folder, and measures nothing.
    #[arg(long, conflicts_with_all = ["descriptors", "layers", "only", "threads", "min_time", "isa"])]
    from: Option<PathBuf>,
    /// Results of convgemm and other libraries in one run, which README.md describes; one picture or more for each file.
    #[arg(long)]
    peers: Vec<PathBuf>,
    /// Errors that the example `accuracy` wrote, to be drawn as accuracy.svg.
    #[arg(long)]
    errors: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
    /// Threads to compute in, as 1,2,4; powers of two and the number of the machine's cores unless given.
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    threads: Vec<u16>,
    /// Seconds to time each layer for, at least.
    #[arg(long, default_value_t = 0.3)]
    min_time: f64,
    /// portable, avx2, avx512 or neon; the best unless given.
    #[arg(long, env = convgemm::ISA_VARIABLE)]
    isa: Option<Isa>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let peers = read_peers(&arguments.peers)?;
    fs::create_dir_all(&arguments.out).with_context(|| format!("making {}", arguments.out.display()))?;
    let session = match &arguments.from {
        Some(folder) => Session::read(folder)?,
        None => measure(&arguments)?,
    };
    let mut pictures = draw::pictures(&session, &peers)?;
    if let Some(path) = &arguments.errors {
        pictures.insert("accuracy.svg".to_owned(), draw::errors(&Errors::read(path)?)?);
    }
    for (name, svg) in pictures {
        let path = arguments.out.join(name);
        fs::write(&path, svg).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn measure(arguments: &Arguments) -> Result<Session> {
    let isa = arguments.isa.unwrap_or_else(|| Isa::available()[0]);
    ensure!(isa.is_available(), "instruction set {isa} is not available on this CPU");
    let threads: BTreeSet<usize> = match &arguments.threads[..] {
        [] => up_to(available_parallelism()?.get()),
        given => given.iter().map(|&threads| threads.into()).collect(),
    };
    let layers = arguments.chosen.read()?;
    let threads: Vec<_> = threads.into_iter().collect();
    let min_time = Duration::try_from_secs_f64(arguments.min_time)?;
    let session = Measurement { isa, min_time }.session(&threads, &layers)?;
    session.write(&arguments.out)?;
    Ok(session)
}

/// Powers of two up to the number of cores, and that number.
fn up_to(cores: usize) -> BTreeSet<usize> {
    (0..usize::BITS)
        .map(|exponent| 1 << exponent)
        .take_while(|&threads| threads < cores)
        .chain([cores])
        .collect()
}

/// Each file's run, with the name that its pictures get.
fn read_peers(paths: &[PathBuf]) -> Result<Vec<(String, Run)>> {
    let mut names = BTreeSet::new();
    let read = |path: &PathBuf| {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        ensure!(names.insert(name.clone()), "two files of results are named {name}: their pictures would be");
        Ok((name, Run::read(Path::new(path))?))
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn threads_double_up_to_the_cores() {
        for (cores, threads) in [(1, vec![1]), (2, vec![1, 2]), (6, vec![1, 2, 4, 6]), (8, vec![1, 2, 4, 8])]
        {
            assert!(super::up_to(cores).into_iter().eq(threads), "{cores}");
        }
    }
}
