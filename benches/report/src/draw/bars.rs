//! Throughput by layer: a bar for this crate, a mark for each other library of the same run.

use anyhow::{Result, ensure};
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{RGBColor, TextStyle};

use super::NOMINAL;
use super::canvas::{
    Area, Frame, bold, dashed, draw_mark, geometric_mean, legend, machine, plain, rectangle, short, text,
};
use super::palette::{INK, MOST_LIBRARIES, SKY, library};
use super::rows::{Rows, heading};
use crate::results::{LayerResult, OWN, Run};

const COLUMNS: [i32; 2] = [60, 88];

/// The run's own figures beside those of the given libraries; without any, beside the peak alone.
pub(super) fn draw(run: &Run, libraries: &[&str], command: &str) -> Result<String> {
    ensure!(
        libraries.len() <= MOST_LIBRARIES,
        "{} libraries in one picture; {MOST_LIBRARIES} can be told apart",
        libraries.len()
    );
    let columns = if libraries.is_empty() { &COLUMNS[..1] } else { &COLUMNS };
    let rows = Rows::new(&run.layers, columns);
    let title = match libraries {
        [] => "Throughput by layer".to_owned(),
        _ => format!("Throughput by layer: {OWN} beside {}", libraries.join(", ")),
    };
    let notes = vec![NOMINAL.to_owned(), "In bold: geometric means.".to_owned(), command.to_owned()];
    let frame = Frame { height: rows.height(), title, subtitle: machine(run), notes };
    frame.picture(|area| Bars { run, libraries, rows: &rows, scale: Scale::of(run) }.draw(area))
}

/// From 0 to `end`, with a tick at each step.
struct Scale {
    end: f64,
    step: f64,
}

impl Scale {
    /// Up to the run's peak and its fastest layer, in 4 to 10 steps of 1, 2 or 5 times a power of ten.
    fn of(run: &Run) -> Self {
        let all = run.layers.iter().flat_map(|layer| layer.gflops.values());
        let end = 1.02 * all.fold(run.peak_gflops, |most, &gflops| most.max(gflops));
        let power = 10_f64.powf(end.log10().floor() - 1.0);
        let step =
            [1.0, 2.0, 5.0, 10.0, 20.0].into_iter().map(|step| step * power).find(|step| end / step <= 10.0);
        Self { end, step: step.unwrap_or(end) }
    }
}

struct Bars<'a> {
    run: &'a Run,
    libraries: &'a [&'a str],
    rows: &'a Rows<'a>,
    scale: Scale,
}

impl Bars<'_> {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let Self { run, libraries, rows, scale } = self;
        let steps = (scale.end / scale.step) as u32;
        let ticks: Vec<_> = (0..=steps)
            .map(|step| f64::from(step) * scale.step)
            .map(|gflops| (gflops / scale.end, format!("{gflops}")))
            .collect();
        rows.draw_axis(area, &ticks, "GFLOP/s")?;
        rectangle(area, [(16, 67), (40, 77)], SKY)?;
        text(area, OWN, (46, 72), plain(13, INK, HPos::Left, VPos::Center))?;
        let marks = libraries.iter().enumerate().map(|(index, &name)| (library(index), name));
        legend(area, (148, 72), marks)?;
        let columns = [rows.right() + COLUMNS[0], rows.right() + COLUMNS[0] + COLUMNS[1]];
        heading(area, ["share of", "the peak"], (columns[0] - 6, rows.top() - 2))?;
        if !libraries.is_empty() {
            heading(area, ["over the best", "of the others"], (columns[1] - 4, rows.top() - 2))?;
        }
        rows.for_each(
            |class, y| self.figures(area, class, y, columns, bold),
            |layer, y| {
                let end = rows.x(layer.own() / scale.end).max(rows.x(0.0) + 1);
                rectangle(area, [(rows.x(0.0), y - 6), (end, y + 6)], SKY)?;
                self.figures(area, &[layer], y, columns, plain)
            },
        )?;
        let peak = rows.x(run.peak_gflops / scale.end);
        dashed(area, (peak, rows.top() - 4), (peak, rows.bottom()), INK)?;
        text(area, "FMA peak", (peak, rows.top() - 6), plain(12, INK, HPos::Center, VPos::Bottom))?;
        // Behind the line, so that no mark is hidden.
        rows.for_each(
            |_, _| Ok(()),
            |layer, y| {
                libraries.iter().enumerate().try_for_each(|(index, &name)| {
                    let Some(gflops) = layer.gflops.get(name) else { return Ok(()) };
                    draw_mark(area, library(index), (rows.x(gflops / scale.end), y), 4)
                })
            },
        )
    }

    /// The columns beside a layer, or a class: geometric means.
    fn figures(
        &self,
        area: &Area<'_>,
        layers: &[&LayerResult],
        y: i32,
        columns: [i32; 2],
        font: fn(i32, RGBColor, HPos, VPos) -> TextStyle<'static>,
    ) -> Result<()> {
        let style = || font(12, INK, HPos::Right, VPos::Center);
        let share = geometric_mean(layers.iter().map(|layer| layer.own() / self.run.peak_gflops));
        text(area, &format!("{} %", percent(share)), (columns[0] - 6, y), style())?;
        let best = |layer: &LayerResult| {
            let others = self.libraries.iter().filter_map(|&name| layer.gflops.get(name));
            others.copied().reduce(f64::max)
        };
        let ratios: Vec<_> =
            layers.iter().filter_map(|layer| best(layer).map(|best| layer.own() / best)).collect();
        if !ratios.is_empty() {
            let ratio = format!("{} ×", short(geometric_mean(ratios)));
            text(area, &ratio, (columns[1] - 4, y), style())?;
        }
        Ok(())
    }
}

fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent < 9.95 { format!("{percent:.1}") } else { format!("{percent:.0}") }
}
