//! Whole networks of random weights, with candle's own convolution and with convgemm's in turn: latency of a batch of 1.

mod layers;
mod nets;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use candle_core::{Result, Tensor};

use layers::{Backend, Random};
use nets::{Network, mobilenet_v2, resnet50};

const USAGE: &str = "usage: networks [--threads N] [--rounds N]";

/// What both libraries' pools are sized by.
const THREADS: &str = "RAYON_NUM_THREADS";

fn main() -> ExitCode {
    let (mut threads, mut rounds) = (1, 15);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<usize>().ok()).filter(|&value| value > 0);
        match (&*name, value) {
            ("--threads", Some(value)) => threads = value,
            ("--rounds", Some(value)) => rounds = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    // Read when the pool is made, by candle at any time: it has to be there from the start.
    if std::env::var(THREADS).is_ok_and(|set| set == threads.to_string()) {
        return match run(threads, rounds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    let again = std::env::current_exe().and_then(|this| {
        Command::new(this).args(std::env::args_os().skip(1)).env(THREADS, threads.to_string()).status()
    });
    match again {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(threads: usize, rounds: usize) -> Result<()> {
    println!("batch 1, 224x224, {threads} threads, median (least) of {rounds} rounds in turn, in ms");
    println!("| network | candle | with convgemm | ratio | convolutions: candle | convgemm | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    compare("ResNet-50 shape", resnet50, rounds)?;
    compare("MobileNetV2 shape", mobilenet_v2, rounds)
}

fn compare(name: &str, network: fn(&Backend) -> Result<Network>, rounds: usize) -> Result<()> {
    let networks = [network(&Backend::Candle)?, network(&Backend::Convgemm)?];
    let x = Random::new(7).tensor(&[1, 3, 224, 224], 1.0)?;
    let [theirs, ours] = [networks[0].forward(&x)?, networks[1].forward(&x)?];
    check(name, &ours, &theirs)?;
    let (mut whole, mut convolutions) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..rounds {
        for (which, network) in networks.iter().enumerate() {
            network.clock.set(Duration::ZERO);
            let start = Instant::now();
            network.forward(&x)?;
            whole[which].push(start.elapsed());
            convolutions[which].push(network.clock.get());
        }
    }
    let row = |[theirs, ours]: [Vec<Duration>; 2]| {
        let (theirs, ours) = (summary(theirs), summary(ours));
        let show = |[median, least]: [f64; 2]| format!("{median:.2} ({least:.2})");
        format!("{} | {} | {:.2}", show(theirs), show(ours), theirs[0] / ours[0])
    };
    println!("| {name} | {} | {} |", row(whole), row(convolutions));
    Ok(())
}

/// Median and least, in ms.
fn summary(mut times: Vec<Duration>) -> [f64; 2] {
    times.sort_unstable();
    [times[times.len() / 2], times[0]].map(|time| time.as_secs_f64() * 1e3)
}

/// # Errors
/// Outputs that are not the same but for rounding.
fn check(name: &str, ours: &Tensor, theirs: &Tensor) -> Result<()> {
    let largest = |tensor: &Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
    let (difference, size) = (largest(&(ours - theirs)?)?, largest(theirs)?);
    if !(size > 0.0 && difference <= 1e-3 * size) {
        candle_core::bail!("{name}: outputs of a size of {size} differ by {difference}");
    }
    println!("<!-- {name}: outputs differ by {:.1e} of the largest -->", difference / size);
    Ok(())
}
