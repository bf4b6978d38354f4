//! The roofline: throughput over arithmetic intensity, under what the machine delivers.

use anyhow::Result;
use plotters::prelude::{ChartBuilder, IntoLogRange};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Frame, Pixel, WIDTH, cores, draw_mark, legend, line, plain, text, text_width};
use super::palette::{FAINT, INK, MUTED, class, class_order};
use super::{COMMAND, NOMINAL};
use crate::results::{Bandwidth, LayerResult, Run};

const HEIGHT: i32 = 680;
const RADIUS: i32 = 5;
const LABEL: i32 = 12;
/// Points of a line that labels keep away from.
const LINE: u32 = 100;

pub(super) fn draw(run: &Run, bandwidth: Bandwidth) -> Result<String> {
    let subtitle = format!("{}; peak and bandwidths measured in the same run", cores(run));
    let notes = vec![
        NOMINAL.to_owned(),
        "Each tensor is counted once; calls are repeated, so that what fits stays in the caches.".to_owned(),
        COMMAND.to_owned(),
    ];
    let frame = Frame { height: HEIGHT, title: "Roofline: every layer".to_owned(), subtitle, notes };
    frame.picture(|area| draw_on(area, run, bandwidth))
}

/// Around all of the values, with some room.
fn around(values: impl IntoIterator<Item = f64>) -> std::ops::Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    least / 2.0..most * 2.0
}

fn draw_on(area: &Area<'_>, run: &Run, bandwidth: Bandwidth) -> Result<()> {
    let xs = around(run.layers.iter().map(LayerResult::intensity));
    let ys = around(run.layers.iter().map(LayerResult::own).chain([run.peak_gflops]));
    let mut chart = ChartBuilder::on(area)
        .margin_top(92)
        .margin_bottom(76)
        .margin_right(24)
        .margin_left(12)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(xs.clone().log_scale(), ys.clone().log_scale())?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(FAINT.mix(0.35))
        .axis_style(MUTED)
        .label_style(plain(12, INK, HPos::Center, VPos::Top))
        .axis_desc_style(plain(13, INK, HPos::Center, VPos::Top))
        .x_desc("arithmetic intensity: FLOP for each byte of input, weights and output")
        .y_desc("GFLOP/s")
        .x_label_formatter(&|value| format!("{value}"))
        .y_label_formatter(&|value| format!("{value}"))
        .draw()?;
    let pixel = |x: f64, y: f64| chart.backend_coord(&(x, y));

    let mut taken = Vec::new();
    for (name, slope, above) in [("memory", bandwidth.memory, false), ("L2", bandwidth.l2, true)] {
        let begin = xs.start.max(ys.start / slope);
        let ridge = run.peak_gflops / slope;
        line(area, &[pixel(begin, begin * slope), pixel(ridge, run.peak_gflops)], INK.stroke_width(1))?;
        // No label of a layer may lie on the line.
        let along = |share: f64| begin * (ridge / begin).powf(share);
        let points = (0..=LINE).map(|point| along(f64::from(point) / f64::from(LINE)));
        taken.extend(points.map(|x| pixel(x, x * slope)).map(|(x, y)| [(x - 2, y - 2), (x + 2, y + 2)]));
        let (x, y) = pixel(along(0.55), along(0.55) * slope);
        let (at, anchor) = if above { ((x - 3, y - 8), HPos::Right) } else { ((x + 6, y + 8), HPos::Left) };
        taken.push(label(area, &format!("{name} {slope:.0} GB/s"), at, anchor)?);
    }
    let roof = [
        pixel(run.peak_gflops / bandwidth.memory.max(bandwidth.l2), run.peak_gflops),
        pixel(xs.end, run.peak_gflops),
    ];
    line(area, &roof, INK.stroke_width(2))?;
    let peak = format!("FMA peak {:.0} GFLOP/s", run.peak_gflops);
    taken.push(label(area, &peak, (roof[0].0 + 8, roof[0].1 - 10), HPos::Left)?);

    let dots: Vec<_> =
        run.layers.iter().map(|layer| (layer, pixel(layer.intensity(), layer.own()))).collect();
    for (layer, at) in &dots {
        draw_mark(area, class(&layer.class), *at, RADIUS)?;
        taken.push([(at.0 - RADIUS, at.1 - RADIUS), (at.0 + RADIUS, at.1 + RADIUS)]);
    }
    for (layer, at) in outliers(&dots, run.peak_gflops) {
        let width = text_width(&layer.name, LABEL);
        let free = [
            (at.0 + 9, at.1),
            (at.0 - 9 - width, at.1),
            (at.0 - width / 2, at.1 + 15),
            (at.0 - width / 2, at.1 - 15),
        ]
        .into_iter()
        .map(|(x, y)| [(x, y - LABEL / 2), (x + width, y + LABEL / 2)])
        .find(|here| {
            here[0].0 > 80 && here[1].0 < WIDTH - 24 && taken.iter().all(|other| !overlap(here, other))
        });
        if let Some(here) = free {
            taken.push(label(area, &layer.name, (here[0].0, at_middle(&here)), HPos::Left)?);
        }
    }
    let mut classes: Vec<_> = run.layers.iter().map(|layer| layer.class.as_str()).collect();
    classes.sort_by_key(|name| (class_order(name), *name));
    classes.dedup();
    legend(area, (16, 72), classes.into_iter().map(|name| (class(name), name)))
}

/// Of each class the slowest layer, and of all the one furthest over the peak.
fn outliers<'a>(dots: &[(&'a LayerResult, Pixel)], peak: f64) -> Vec<(&'a LayerResult, Pixel)> {
    let mut sorted = dots.to_vec();
    sorted.sort_by(|(a, _), (b, _)| a.own().total_cmp(&b.own()));
    let mut chosen: Vec<_> =
        sorted.last().copied().filter(|(layer, _)| layer.own() > peak).into_iter().collect();
    for dot in sorted {
        if chosen.iter().all(|(layer, _)| layer.class != dot.0.class || layer.own() > peak) {
            chosen.push(dot);
        }
    }
    chosen
}

fn label(area: &Area<'_>, content: &str, (x, y): Pixel, h: HPos) -> Result<[Pixel; 2]> {
    let width = text_width(content, LABEL);
    let left = if matches!(h, HPos::Right) { x - width } else { x };
    text(area, content, (x, y), plain(LABEL, INK, h, VPos::Center))?;
    Ok([(left, y - LABEL / 2), (left + width, y + LABEL / 2)])
}

fn at_middle(rectangle: &[Pixel; 2]) -> i32 {
    i32::midpoint(rectangle[0].1, rectangle[1].1)
}

fn overlap(a: &[Pixel; 2], b: &[Pixel; 2]) -> bool {
    a[0].0 < b[1].0 && b[0].0 < a[1].0 && a[0].1 < b[1].1 && b[0].1 < a[1].1
}
