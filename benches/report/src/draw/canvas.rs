//! What all pictures are drawn with: pixels, texts, marks, and what stands around a picture.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::{DrawingArea, IntoDrawingArea, IntoFont, SVGBackend, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, RGBColor, ShapeStyle, TextStyle};

use super::palette::{INK, MUTED, Mark, Shape};
use crate::results::Run;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Pixel = (i32, i32);

/// As wide as a README is shown.
pub(super) const WIDTH: i32 = 900;
/// Of a text's letters, over its size, on average: the viewer's font is not known.
const LETTER: f64 = 0.6;
/// What plotters divides a font's size by.
const PLOTTERS_FONT: f64 = 1.24;

/// What stands around a picture.
pub(super) struct Frame {
    pub(super) height: i32,
    pub(super) title: String,
    pub(super) subtitle: String,
    pub(super) notes: Vec<String>,
}

impl Frame {
    /// The SVG of a picture, on white whatever the page's colour is.
    pub(super) fn picture(&self, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
        let mut svg = String::new();
        {
            let area =
                SVGBackend::with_string(&mut svg, (WIDTH as u32, self.height as u32)).into_drawing_area();
            area.fill(&WHITE)?;
            text(&area, &self.title, (16, 14), bold(18, INK, HPos::Left, VPos::Top))?;
            text(&area, &self.subtitle, (16, 40), plain(13, MUTED, HPos::Left, VPos::Top))?;
            for (line, note) in (1..).zip(self.notes.iter().rev()) {
                text(
                    &area,
                    note,
                    (16, self.height - 16 * line + 4),
                    plain(11, MUTED, HPos::Left, VPos::Bottom),
                )?;
            }
            draw(&area)?;
            area.present()?;
        }
        Ok(svg)
    }
}

/// The machine of a run, and what it delivers.
pub(super) fn machine(run: &Run) -> String {
    format!("{}; FMA peak {:.0} GFLOP/s, measured in the same run", cores(run), run.peak_gflops)
}

pub(super) fn cores(run: &Run) -> String {
    let plural = if run.threads == 1 { "" } else { "s" };
    format!("{}, {}, {} thread{plural}", run.cpu, run.isa, run.threads)
}

pub(super) fn plain(size: i32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    ("sans-serif", f64::from(size) * PLOTTERS_FONT).into_font().color(&colour).pos(Pos::new(h, v))
}

pub(super) fn bold(size: i32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    let font = ("sans-serif", f64::from(size) * PLOTTERS_FONT).into_font().style(FontStyle::Bold);
    font.color(&colour).pos(Pos::new(h, v))
}

pub(super) fn text(area: &Area<'_>, content: &str, at: Pixel, style: TextStyle<'static>) -> Result<()> {
    Ok(area.draw(&Text::new(content.to_owned(), at, style))?)
}

/// About how many pixels wide a text of this size is.
pub(super) fn text_width(content: &str, size: i32) -> i32 {
    (content.chars().count() as f64 * f64::from(size) * LETTER).ceil() as i32
}

pub(super) fn rectangle(area: &Area<'_>, corners: [Pixel; 2], colour: RGBColor) -> Result<()> {
    Ok(area.draw(&Rectangle::new(corners, colour.filled()))?)
}

pub(super) fn line(area: &Area<'_>, points: &[Pixel], style: impl Into<ShapeStyle>) -> Result<()> {
    Ok(area.draw(&PathElement::new(points, style))?)
}

/// Dashes of 6 pixels and gaps of 4, along a straight line.
pub(super) fn dashed(area: &Area<'_>, from: Pixel, to: Pixel, colour: RGBColor) -> Result<()> {
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = dx.hypot(dy);
    let at = |along: f64| {
        let share = along.min(length) / length;
        (from.0 + (dx * share).round() as i32, from.1 + (dy * share).round() as i32)
    };
    let dashes = (length / 10.0).ceil() as u32;
    (0..dashes)
        .map(|dash| f64::from(10 * dash))
        .try_for_each(|begin| line(area, &[at(begin), at(begin + 6.0)], colour.stroke_width(1)))
}

/// A mark of about `2 · radius` pixels, with a white edge that keeps it apart from others below it.
pub(super) fn draw_mark(area: &Area<'_>, mark: Mark, (x, y): Pixel, radius: i32) -> Result<()> {
    let corners: &[Pixel] = match mark.shape {
        Shape::Circle => {
            area.draw(&Circle::new((x, y), radius + 1, WHITE.filled()))?;
            return Ok(area.draw(&Circle::new((x, y), radius, mark.colour.filled()))?);
        }
        Shape::Cross => {
            let arm = |width, colour: RGBColor| {
                let style = colour.stroke_width(width);
                line(area, &[(x - radius, y - radius), (x + radius, y + radius)], style)?;
                line(area, &[(x - radius, y + radius), (x + radius, y - radius)], style)
            };
            arm(4, WHITE)?;
            return arm(2, mark.colour);
        }
        Shape::Square => &[(-1, -1), (1, -1), (1, 1), (-1, 1)],
        Shape::Diamond => &[(-1, 0), (0, -1), (1, 0), (0, 1)],
        Shape::Up => &[(-1, 1), (0, -1), (1, 1)],
        Shape::Down => &[(-1, -1), (0, 1), (1, -1)],
    };
    // Squares look larger than other shapes of their height, diamonds and triangles smaller.
    let radius = if matches!(mark.shape, Shape::Square) { radius } else { radius + 1 };
    let scaled =
        |radius: i32| corners.iter().map(|&(dx, dy)| (x + radius * dx, y + radius * dy)).collect::<Vec<_>>();
    area.draw(&Polygon::new(scaled(radius + 1), WHITE.filled()))?;
    Ok(area.draw(&Polygon::new(scaled(radius), mark.colour.filled()))?)
}

/// Marks and what they stand for, from `x` on in one line.
pub(super) fn legend<'a>(
    area: &Area<'_>,
    (mut x, y): Pixel,
    entries: impl IntoIterator<Item = (Mark, &'a str)>,
) -> Result<()> {
    for (mark, name) in entries {
        draw_mark(area, mark, (x + 5, y), 4)?;
        text(area, name, (x + 15, y), plain(13, INK, HPos::Left, VPos::Center))?;
        x += 15 + text_width(name, 13) + 18;
    }
    Ok(())
}

pub(super) fn geometric_mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let logarithms: Vec<_> = values.into_iter().map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

/// Three significant digits, without an exponent.
pub(super) fn short(value: f64) -> String {
    let decimals = match value {
        _ if value >= 99.95 => 0,
        _ if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}
