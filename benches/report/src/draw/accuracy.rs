//! How the largest error grows with the input channels, of the exact family and of Winograd's tiles.

use anyhow::Result;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Frame, WIDTH, draw_mark, legend, line, plain, text};
use super::palette::{FAINT, INK, library};
use crate::results::Errors;

const HEIGHT: i32 = 560;
const LEFT: i32 = 84;
const RIGHT: i32 = WIDTH - 30;
const TOP: i32 = 100;
const BOTTOM: i32 = HEIGHT - 92;
const COMMAND: &str = "cargo run --release --example accuracy -- --json accuracy.json";

/// A line: a kernel, and a tile of it or 0 for the exact family.
const SERIES: [(usize, usize, &str); 6] = [
    (3, 0, "exact, 3×3"),
    (3, 2, "tiles of 2, 3×3"),
    (3, 4, "of 4, 3×3"),
    (3, 6, "of 6, 3×3"),
    (5, 2, "of 2, 5×5"),
    (5, 4, "of 4, 5×5"),
];

pub(super) fn draw(errors: &[Errors]) -> Result<String> {
    let frame = Frame {
        height: HEIGHT,
        title: "Largest error over largest output, by input channels".to_owned(),
        subtitle: "Standard normal data in f32, against f64".to_owned(),
        notes: vec![COMMAND.to_owned()],
    };
    frame.picture(|area| draw_on(area, errors))
}

fn draw_on(area: &Area<'_>, errors: &[Errors]) -> Result<()> {
    let drawn = || errors.iter().filter(|errors| errors.series);
    let channels = || drawn().map(|errors| errors.in_channels as f64);
    let [first, last] = [channels().fold(f64::MAX, f64::min), channels().fold(1.0, f64::max)];
    let (least, most) = (1e-7, 2e-5);
    let share = |value: f64, from: f64, to: f64| (value / from).ln() / (to / from).ln();
    let x = |value: f64| LEFT + (share(value, first, last) * f64::from(RIGHT - LEFT)).round() as i32;
    let y = |value: f64| BOTTOM - (share(value, least, most) * f64::from(BOTTOM - TOP)).round() as i32;
    for (value, label) in [(1e-7, "1e-7"), (3e-7, "3e-7"), (1e-6, "1e-6"), (3e-6, "3e-6"), (1e-5, "1e-5")] {
        line(area, &[(LEFT, y(value)), (RIGHT, y(value))], FAINT.stroke_width(1))?;
        text(area, label, (LEFT - 8, y(value)), plain(12, INK, HPos::Right, VPos::Center))?;
    }
    let powers = (0..).map(|power| first * f64::from(1 << power)).take_while(|&channels| channels <= last);
    for channels in powers {
        text(
            area,
            &channels.to_string(),
            (x(channels), BOTTOM + 8),
            plain(12, INK, HPos::Center, VPos::Top),
        )?;
    }
    let middle = (i32::midpoint(LEFT, RIGHT), BOTTOM + 28);
    text(area, "input channels", middle, plain(13, INK, HPos::Center, VPos::Top))?;
    let marks = SERIES.iter().enumerate().map(|(i, &(_, _, name))| (library(i), name));
    legend(area, (16, 72), marks)?;
    for (i, (kernel, tile, _)) in SERIES.into_iter().enumerate() {
        let of_series = drawn().filter(|errors| (errors.kernel, errors.tile) == (kernel, tile));
        let points: Vec<_> = of_series.map(|errors| (x(errors.in_channels as f64), y(errors.max))).collect();
        line(area, &points, library(i).colour.stroke_width(1))?;
        for point in points {
            draw_mark(area, library(i), point, 4)?;
        }
    }
    Ok(())
}
