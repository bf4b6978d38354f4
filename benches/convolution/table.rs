//! What was measured, in one table at the end.

use std::fmt;

/// Of this crate's choice, and of the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Column {
    Own,
    Baseline,
}

/// Rows by class, in the order that they were measured in.
#[derive(Default)]
pub(crate) struct Table {
    /// GFLOP/s of the FMA peak of one thread, in single precision.
    peak: f64,
    rows: Vec<Row>,
}

pub(crate) struct Row {
    class: String,
    layer: String,
    own: Option<f64>,
    baseline: Option<f64>,
}

impl Table {
    /// Takes the highest of several: what else runs on the machine lowers a measurement for a while.
    pub(crate) fn record_peak(&mut self, gflops: f64) {
        self.peak = self.peak.max(gflops);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn record(&mut self, class: &str, layer: &str, column: Column, gflops: f64) {
        let found = self.rows.iter().position(|row| row.class == class && row.layer == layer);
        let index = found.unwrap_or_else(|| {
            let (class, layer) = (class.to_owned(), layer.to_owned());
            self.rows.push(Row { class, layer, own: None, baseline: None });
            self.rows.len() - 1
        });
        match column {
            Column::Own => self.rows[index].own = Some(gflops),
            Column::Baseline => self.rows[index].baseline = Some(gflops),
        }
    }
}

/// The group of layers in double precision, of which a vector holds half as many.
pub(crate) const DOUBLE: &str = "f64";

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "FMA peak of one thread: {:.1} GFLOP/s in f32, half of that in f64", self.peak)?;
        writeln!(
            f,
            "{:10} {:28} {:>8} {:>8} {:>8} {:>8}",
            "class", "layer", "GFLOP/s", "of peak", "im2col", "times"
        )?;
        for rows in self.rows.chunk_by(|a, b| a.class == b.class) {
            let class = &rows[0].class;
            let peak = if class == DOUBLE { self.peak / 2.0 } else { self.peak };
            for row in rows {
                write_row(f, class, &row.layer, [row.own, row.baseline, row.ratio()], peak)?;
            }
            let mean = |of: fn(&Row) -> Option<f64>| geometric_mean(rows.iter().filter_map(of));
            let means = [mean(|row| row.own), mean(|row| row.baseline), mean(Row::ratio)];
            write_row(f, class, "= geometric mean", means, peak)?;
        }
        Ok(())
    }
}

impl Row {
    /// How many times the baseline's throughput.
    fn ratio(&self) -> Option<f64> {
        Some(self.own? / self.baseline?)
    }
}

fn write_row(
    f: &mut fmt::Formatter<'_>,
    class: &str,
    layer: &str,
    [own, baseline, ratio]: [Option<f64>; 3],
    peak: f64,
) -> fmt::Result {
    let write = |figure: Option<f64>, decimals: usize, unit: &str| {
        figure.map_or("-".to_owned(), |figure| format!("{figure:.decimals$}{unit}"))
    };
    let share = write(own.map(|own| 100.0 * own / peak), 1, " %");
    let (own, baseline, ratio) = (write(own, 1, ""), write(baseline, 1, ""), write(ratio, 2, ""));
    writeln!(f, "{class:10} {layer:28} {own:>8} {share:>8} {baseline:>8} {ratio:>8}")
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<_> = values.map(f64::ln).collect();
    let count = logarithms.len() as f64;
    (count > 0.0).then(|| (logarithms.iter().sum::<f64>() / count).exp())
}
