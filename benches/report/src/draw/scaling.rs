//! How many times as fast layers are in several threads as in one.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::COMMAND;
use super::canvas::{Area, Frame, WIDTH, dashed, draw_mark, geometric_mean, line, plain, short, text};
use super::palette::{FAINT, INK, MUTED, class, class_order};
use crate::results::{LayerResult, Run};

const HEIGHT: i32 = 560;
/// Pixels for each number of threads, at least, where means are written below.
const NARROWEST: i32 = 34;
const LEFT: i32 = 70;
const RIGHT: i32 = WIDTH - 24;
const TOP: i32 = 84;
const BOTTOM: i32 = HEIGHT - 112;

/// The first run is of one thread.
pub(super) fn draw(single: &Run, runs: &[Run]) -> Result<String> {
    let threads: Vec<_> = runs.iter().map(|run| run.threads.to_string()).collect();
    let frame = Frame {
        height: HEIGHT,
        title: "Speed-up over one thread, every layer by class".to_owned(),
        subtitle: format!("{}, {}, {} threads", single.cpu, single.isa, threads.join(", ")),
        notes: vec![
            "Marks are layers, short lines the geometric means of a class. Work too small to share stays in one thread."
                .to_owned(),
            COMMAND.to_owned(),
        ],
    };
    frame.picture(|area| draw_on(area, single, runs))
}

fn draw_on(area: &Area<'_>, single: &Run, runs: &[Run]) -> Result<()> {
    let before: BTreeMap<_, _> = single.layers.iter().map(|layer| (&layer.name, layer.own())).collect();
    let speed_up = |layer: &LayerResult| before.get(&layer.name).map(|before| layer.own() / before);
    let all = || runs.iter().flat_map(|run| &run.layers).filter_map(speed_up);
    let ideal = runs.iter().map(|run| run.threads as f64).fold(1.0, f64::max);
    let (least, most) = (0.93 * all().fold(1.0, f64::min), 1.08 * all().fold(ideal, f64::max));
    let y = |value: f64| {
        BOTTOM - ((value / least).ln() / (most / least).ln() * f64::from(BOTTOM - TOP)).round() as i32
    };

    for tick in ticks(least, most) {
        line(area, &[(LEFT, y(tick)), (RIGHT, y(tick))], FAINT.stroke_width(1))?;
        text(area, &format!("{tick}"), (LEFT - 8, y(tick)), plain(12, INK, HPos::Right, VPos::Center))?;
    }
    let rotated =
        plain(13, INK, HPos::Center, VPos::Top).transform(plotters::style::FontTransform::Rotate270);
    text(area, "times as fast as one thread", (14, i32::midpoint(TOP, BOTTOM)), rotated)?;
    for run in runs {
        let ideal = y(run.threads as f64);
        dashed(area, (LEFT, ideal), (RIGHT, ideal), MUTED)?;
        let label = format!("{} threads: ideal", run.threads);
        text(area, &label, (RIGHT, ideal - 3), plain(12, MUTED, HPos::Right, VPos::Bottom))?;
    }

    let mut classes: Vec<_> = single.layers.iter().map(|layer| layer.class.as_str()).collect();
    classes.sort_by_key(|name| (class_order(name), *name));
    classes.dedup();
    let width = (RIGHT - LEFT) / classes.len() as i32;
    let slot = width / runs.len() as i32;
    for (column, name) in (0..).zip(&classes) {
        let left = LEFT + width * column;
        text(area, name, (left + width / 2, BOTTOM + 42), plain(13, INK, HPos::Center, VPos::Top))?;
        for (index, run) in (0..).zip(runs) {
            let middle = left + slot * index + slot / 2;
            let threads = run.threads.to_string();
            text(area, &threads, (middle, BOTTOM + 6), plain(12, MUTED, HPos::Center, VPos::Top))?;
            let of_class: Vec<_> =
                run.layers.iter().filter(|layer| layer.class == **name).filter_map(speed_up).collect();
            if of_class.is_empty() {
                continue;
            }
            let spread = slot * 6 / 10;
            for (nth, &value) in (0..).zip(&of_class) {
                let x = middle - spread / 2 + spread * (2 * nth + 1) / (2 * of_class.len() as i32);
                draw_mark(area, class(name), (x, y(value)), 4)?;
            }
            let mean = geometric_mean(of_class.iter().copied());
            let half = slot * 4 / 10;
            line(area, &[(middle - half, y(mean)), (middle + half, y(mean))], INK.stroke_width(2))?;
            if slot >= NARROWEST {
                let style = plain(12, INK, HPos::Center, VPos::Top);
                text(area, &short(mean), (middle, BOTTOM + 22), style)?;
            }
        }
    }
    if slot >= NARROWEST {
        text(area, "mean", (LEFT - 8, BOTTOM + 22), plain(12, INK, HPos::Right, VPos::Top))?;
    }
    text(area, "threads", (LEFT - 8, BOTTOM + 6), plain(12, MUTED, HPos::Right, VPos::Top))
}

/// Round numbers from `least` to `most`: fifths where that is a short way, else powers of two.
fn ticks(least: f64, most: f64) -> Vec<f64> {
    let mut ticks: Vec<_> = match most / least {
        ratio if ratio < 4.0 => (1..30).map(|fifths| f64::from(fifths) / 5.0).collect(),
        _ => (-6..16).map(|exponent| 2_f64.powi(exponent)).collect(),
    };
    ticks.retain(|tick| (least..=most).contains(tick));
    ticks
}
