//! The pictures, as SVG. Fonts are the viewer's.

mod accuracy;
mod bars;
mod canvas;
mod memory;
mod palette;
mod roofline;
mod rows;
mod scaling;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::results::{Errors, Run, Session};

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
        pictures.insert(format!("layers.t{threads}.svg"), bars::draw(run, &others, COMMAND)?);
        pictures.insert(format!("roofline.t{threads}.svg"), roofline::draw(run, bandwidth)?);
        pictures.insert(format!("memory.t{threads}.svg"), memory::draw(run)?);
    }
    if first.threads == 1 && session.runs.len() > 1 {
        pictures.insert("scaling.svg".to_owned(), scaling::draw(first, &session.runs[1..])?);
    }
    for (name, run) in peers {
        let (rust, others): (Vec<_>, Vec<_>) = run.others().into_iter().partition(|name| RUST.contains(name));
        let command = format!("{COMMAND} -- --peers {name}.json");
        for (family, libraries) in [("rust", rust), ("cpp", others)] {
            if !libraries.is_empty() {
                let before =
                    pictures.insert(format!("{name}.{family}.svg"), bars::draw(run, &libraries, &command)?);
                ensure!(before.is_none(), "results named {name} would be drawn over another picture");
            }
        }
    }
    Ok(pictures)
}

/// The picture of errors.
pub(crate) fn errors(errors: &[Errors]) -> Result<String> {
    accuracy::draw(errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Bandwidth, LayerResult, Machine};

    fn layer(name: &str, class: &str, macs: u64, scratch_bytes: u64, gflops: &[(&str, f64)]) -> LayerResult {
        LayerResult {
            name: name.to_owned(),
            class: class.to_owned(),
            macs,
            bytes: 1_000_000,
            scratch_bytes,
            im2col_bytes: 2_000_000,
            gflops: gflops.iter().map(|&(library, gflops)| (library.to_owned(), gflops)).collect(),
        }
    }

    fn run(threads: usize, others: &[(&str, f64)]) -> Run {
        let gflops = |own| [&[("convgemm", own)], others].concat();
        let layers = vec![
            layer("a.3x3<64>", "dense", 100_000_000, 4352, &gflops(101.0)),
            layer("b.depthwise", "depthwise", 1_000_000, 0, &gflops(50.0)),
            layer("c.unheard", "of", 400, 7, &gflops(0.25)),
        ];
        Run { cpu: "A CPU".to_owned(), isa: "avx2".to_owned(), threads, peak_gflops: 100.0, layers }
    }

    fn session(threads: &[usize]) -> Session {
        let bandwidths =
            threads.iter().map(|&threads| Bandwidth { threads, memory: 20.0, l2: 90.0 }).collect();
        let machine = Machine { cpu: "A CPU".to_owned(), isa: "avx2".to_owned(), bandwidths };
        Session { machine, runs: threads.iter().map(|&threads| run(threads, &[])).collect() }
    }

    #[test]
    fn every_picture_names_the_machine_and_every_row_its_layer() {
        let pictures = pictures(&session(&[1, 2, 3]), &[]).unwrap();
        let names: Vec<_> = pictures.keys().map(String::as_str).collect();
        let both =
            ["layers.t1", "layers.t3", "memory.t1", "memory.t3", "roofline.t1", "roofline.t3", "scaling"];
        assert_eq!(names, both.map(|name| format!("{name}.svg")));
        for (name, svg) in &pictures {
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{name}");
            assert!(svg.contains("A CPU, avx2, "), "{name}");
            let rows = name.starts_with("layers") || name.starts_with("memory");
            for layer in ["a.3x3&lt;64&gt;", "b.depthwise", "c.unheard"] {
                assert!(!rows || svg.contains(layer), "{layer} in {name}");
            }
        }
        assert!(pictures["memory.t1.svg"].contains("no scratch"));
    }

    #[test]
    fn libraries_in_rust_are_drawn_apart_from_others() {
        let peers = [("p".to_owned(), run(2, &[("candle", 50.5), ("torch", 202.0)]))];
        let pictures = pictures(&session(&[1]), &peers).unwrap();
        let (rust, cpp) = (&pictures["p.rust.svg"], &pictures["p.cpp.svg"]);
        assert!(rust.contains("candle") && !rust.contains("torch") && rust.contains("2.00 ×"));
        assert!(cpp.contains("torch") && !cpp.contains("candle") && cpp.contains("0.50 ×"));
        assert!(!pictures.contains_key("scaling.svg"));
    }

    #[test]
    fn errors_are_drawn_by_series() {
        let of = |in_channels, tile| Errors { in_channels, kernel: 3, tile, max: 1e-6, series: true };
        let tiles = [of(8, 4), of(16, 4)];
        let (without, svg) =
            (errors(&tiles).unwrap(), errors(&[of(8, 0), of(16, 0), of(8, 4), of(16, 4)]).unwrap());
        // Circles are the exact family's.
        assert!(svg.matches("<circle").count() > without.matches("<circle").count());
        assert!(svg.contains("1e-5") && svg.contains("input channels"));
    }

    #[test]
    fn more_libraries_than_marks_are_an_error() {
        let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, 1.0));
        assert!(pictures(&session(&[1]), &[("p".to_owned(), run(1, &names))]).is_err());
    }
}
