//! Checks convolution, its gradients and transposed convolution against recorded cases and lists of shapes, on every instruction set with every algorithm:
//! `verify --cases DIR… --shapes FILE.json… [--max-macs N] [--isa all|auto|avx512|avx2|neon|portable]`.
//!
//! - A case is a directory with a `case.json` and tensors in raw little-endian files: inputs and expected outputs.
//!   Integer cases have to match with `==`, others within their tolerance and the error bound of the sum. On
//!   instruction sets with fused multiply-add the result also has to have the oracle's bytes.
//! - A shape list is a JSON array of convolution shapes without data. Each gets integers so small that every sum is
//!   exact, so that any algorithm has to agree with the oracle with `==`; see the module `shapes` for what is
//!   shortened with shapes of more than `--max-macs` multiplications.
//!
//! Use a release build. The exit code is 1 where anything failed or could not be read.

mod backward_shapes;
mod case;
mod conv_case;
mod gradient_case;
mod shapes;
mod tally;
mod transpose_case;
mod way;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::{ArgGroup, Parser};
use convgemm::{Conv2d, Isa};
use tally::{Outcome, Tally};
use way::guarded;

/// Checks convolution against recorded cases and lists of shapes.
#[derive(Parser)]
#[command(group(ArgGroup::new("input").args(["cases", "shapes"]).required(true).multiple(true)))]
struct Args {
    /// Directories of cases: each with a case.json, or with such directories inside
    #[arg(long, value_name = "DIR", num_args = 1..)]
    cases: Vec<PathBuf>,
    /// Lists of shapes
    #[arg(long, value_name = "FILE", num_args = 1..)]
    shapes: Vec<PathBuf>,
    /// Above so many multiplications a shape's output is compared with the oracle on 1000 elements only
    #[arg(long, value_name = "N", default_value_t = 20_000_000)]
    max_macs: u64,
    /// Checks the gradients of the shapes, and the transposed convolutions of lists whose names begin with deconv
    #[arg(long)]
    backward: bool,
    /// all, auto (the one a layer chooses by itself), or the name of one: avx512, avx2, neon, portable
    #[arg(long, default_value = "all", value_parser = parse_isas)]
    isa: Isas,
}

/// The instruction sets to run on; the first is the one that large shapes run on in full.
#[derive(Clone)]
struct Isas(Vec<Isa>);

fn parse_isas(name: &str) -> Result<Isas> {
    Ok(Isas(match name {
        "all" => Isa::available(),
        "auto" => vec![Conv2d::builder(1, 1, [1, 1]).build(&[1.0])?.isa()],
        name => {
            let isa = name.parse().map_err(|_| anyhow!("not all, auto, avx512, avx2, neon or portable"))?;
            Conv2d::builder(1, 1, [1, 1]).isa(isa).build(&[1.0])?;
            vec![isa]
        }
    }))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut tally = Tally::default();
    for dir in &args.cases {
        check_cases(dir, &args.isa.0, &mut tally);
    }
    for list in &args.shapes {
        check_shapes(list, &args, &mut tally);
    }
    let names: Vec<_> = args.isa.0.iter().map(|isa| isa.name()).collect();
    println!("{} runs (instruction set × algorithm × element type) on {}", tally.runs, names.join(", "));
    println!("{tally}");
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check_cases(dir: &Path, isas: &[Isa], tally: &mut Tally) {
    let dirs = match case::find(dir) {
        Ok(dirs) => dirs,
        Err(error) => return tally.fail(&dir.display().to_string(), &error),
    };
    for dir in dirs {
        let name = dir.display().to_string();
        check_one(&name, tally, |tally| case::check(&dir, isas, tally));
    }
}

fn check_shapes(path: &Path, args: &Args, tally: &mut Tally) {
    let list = match shapes::read(path) {
        Ok(list) => list,
        Err(error) => return tally.fail(&path.display().to_string(), &error),
    };
    let transposed = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("deconv"));
    for (i, entry) in list.iter().enumerate() {
        if i > 0 && i % 100 == 0 {
            eprintln!("{}: {i} of {} shapes", path.display(), list.len());
        }
        let name = format!("{} shape {i}", path.display());
        check_one(&name, tally, |tally| {
            let (isas, max_macs) = (&args.isa.0[..], args.max_macs);
            let shape = shapes::parse(entry)?;
            let outcome = if args.backward || transposed {
                backward_shapes::check(&shape, transposed, isas, max_macs, tally)
            } else {
                shapes::check(&shape, isas, max_macs, tally)
            };
            outcome.with_context(|| format!("in a list by itself: [{entry}]"))
        });
    }
}

fn check_one(name: &str, tally: &mut Tally, check: impl FnOnce(&mut Tally) -> Result<Outcome>) {
    match guarded(|| check(tally)) {
        Ok(Outcome::Passed) => tally.passed += 1,
        Ok(Outcome::Skipped(why)) => tally.skip(why),
        Err(error) => tally.fail(name, &error),
    }
}
