//! The pictures, as SVG. Fonts are the viewer's.

mod bars;
mod canvas;
mod memory;
mod palette;
mod roofline;
mod rows;
mod scaling;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::results::{Run, Session};

const NOMINAL: &str = "GFLOP/s are nominal: multiply-adds on padding count, though they are skipped, so that a layer may pass the peak.";
const COMMAND: &str = "cargo run --release --manifest-path benches/report/Cargo.toml";

/// Libraries in Rust that results may name; others are drawn apart from these.
const RUST: [&str; 6] = ["candle", "tract", "rten", "burn", "im2col-gemm", "ndarray-conv"];

/// Every picture with its file's name.
pub(crate) fn pictures(session: &Session, peers: &[(String, Run)]) -> Result<BTreeMap<String, String>> {
    let mut pictures = BTreeMap::new();
    let (first, last) = (&session.runs[0], &session.runs[session.runs.len() - 1]);
    for (run, &bandwidth) in session.runs.iter().zip(&session.machine.bandwidths) {
        if ![first.threads, last.threads].contains(&run.threads) {
            continue;
        }
        let threads = run.threads;
        let others: Vec<_> = run.others().into_iter().collect();
        pictures.insert(format!("layers.t{threads}.svg"), bars::draw(run, &others)?);
        pictures.insert(format!("roofline.t{threads}.svg"), roofline::draw(run, bandwidth)?);
        pictures.insert(format!("memory.t{threads}.svg"), memory::draw(run)?);
    }
    if first.threads == 1 && session.runs.len() > 1 {
        pictures.insert("scaling.svg".to_owned(), scaling::draw(first, &session.runs[1..])?);
    }
    for (name, run) in peers {
        let (rust, others): (Vec<_>, Vec<_>) = run.others().into_iter().partition(|name| RUST.contains(name));
        for (family, libraries) in [("rust", rust), ("cpp", others)] {
            if !libraries.is_empty() {
                let before = pictures.insert(format!("{name}.{family}.svg"), bars::draw(run, &libraries)?);
                ensure!(before.is_none(), "results named {name} would be drawn over another picture");
            }
        }
    }
    Ok(pictures)
}
