//! Results as they are printed and written.

use std::fmt::{self, Write as _};

use serde::Serialize;

/// What was measured of a layer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) class: &'static str,
    pub(crate) threads: usize,
    pub(crate) min_s: f64,
    pub(crate) median_s: f64,
    pub(crate) gflops: f64,
    pub(crate) peak_gflops: f64,
    pub(crate) algorithm: String,
    pub(crate) lowering: String,
    pub(crate) kernel: String,
    pub(crate) isa: &'static str,
    pub(crate) scratch_bytes: usize,
}

impl Row {
    /// Of the FMA peak; over 1 where padding is skipped.
    fn share(&self) -> f64 {
        self.gflops / self.peak_gflops
    }
}

pub(crate) const HEAD: &str =
    "layer                        class      GFLOP/s   peak  algorithm, im2col matrix, kernel, scratch bytes";

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, class, gflops, algorithm, lowering, kernel, scratch_bytes, .. } = self;
        let percent = 100.0 * self.share();
        write!(
            f,
            "{name:28} {class:9} {gflops:8.1} {percent:5.1}%  {algorithm}, {lowering}, {kernel}, {scratch_bytes}"
        )
    }
}

/// Means of each class, a line each.
pub(crate) fn means(rows: &[Row]) -> String {
    let mut classes: Vec<_> = rows.iter().map(|row| row.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let mut text = String::new();
    for class in classes {
        let shares: Vec<_> = rows.iter().filter(|r| r.class == class).map(|r| 100.0 * r.share()).collect();
        let count = shares.len() as f64;
        let geometric = (shares.iter().map(|s| s.ln()).sum::<f64>() / count).exp();
        let average = shares.iter().sum::<f64>() / count;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{class:9} {count:2} layers: {average:5.1} % of the FMA peak on average, geometric mean {geometric:5.1} %"
        );
    }
    text
}
