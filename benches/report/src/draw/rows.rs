//! A row for each layer, classes apart: what bars and memory have in common.

use anyhow::Result;
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{Area, Pixel, WIDTH, bold, line, plain, rectangle, text};
use super::palette::{BAND, FAINT, INK, class_order};
use crate::results::LayerResult;

const ROW: i32 = 19;
const LEFT: i32 = 236;
const TOP: i32 = 124;
/// For the axis below and three lines of notes.
const BOTTOM: i32 = 108;

pub(super) struct Rows<'a> {
    classes: Vec<Vec<&'a LayerResult>>,
    /// Where the axis ends; columns of text follow.
    right: i32,
}

impl<'a> Rows<'a> {
    /// With room for so many columns of text, each as wide as its number says.
    pub(super) fn new(layers: &'a [LayerResult], columns: &[i32]) -> Self {
        let mut sorted: Vec<_> = layers.iter().collect();
        sorted.sort_by_key(|layer| (class_order(&layer.class), &layer.class));
        let classes = sorted.chunk_by(|a, b| a.class == b.class).map(<[_]>::to_vec).collect();
        Self { classes, right: WIDTH - 16 - columns.iter().sum::<i32>() }
    }

    fn count(&self) -> i32 {
        self.classes.iter().map(|layers| 1 + layers.len() as i32).sum()
    }

    pub(super) fn height(&self) -> i32 {
        TOP + ROW * self.count() + BOTTOM
    }

    pub(super) fn top(&self) -> i32 {
        TOP
    }

    pub(super) fn bottom(&self) -> i32 {
        TOP + ROW * self.count()
    }

    pub(super) fn right(&self) -> i32 {
        self.right
    }

    /// The pixel of a share of the axis.
    pub(super) fn x(&self, share: f64) -> i32 {
        LEFT + (share * f64::from(self.right - LEFT)).round() as i32
    }

    /// Names and classes, then the axis with its ticks: shares of it and what is written there.
    pub(super) fn draw_axis(&self, area: &Area<'_>, ticks: &[(f64, String)], unit: &str) -> Result<()> {
        let mut y = TOP;
        for layers in &self.classes {
            rectangle(area, [(16, y), (WIDTH - 16, y + ROW)], BAND)?;
            text(area, &layers[0].class, (22, y + ROW / 2), bold(13, INK, HPos::Left, VPos::Center))?;
            y += ROW;
            for layer in layers {
                text(area, &layer.name, (LEFT - 8, y + ROW / 2), plain(12, INK, HPos::Right, VPos::Center))?;
                y += ROW;
            }
        }
        for (share, label) in ticks {
            let x = self.x(*share);
            line(area, &[(x, TOP), (x, y)], FAINT.stroke_width(1))?;
            text(area, label, (x, y + 6), plain(12, INK, HPos::Center, VPos::Top))?;
        }
        let middle = i32::midpoint(LEFT, self.right);
        text(area, unit, (middle, y + 26), plain(13, INK, HPos::Center, VPos::Top))
    }

    /// Calls `layer` with each layer and its row's middle, and `class` with each class and its heading's.
    pub(super) fn for_each(
        &self,
        mut class: impl FnMut(&[&'a LayerResult], i32) -> Result<()>,
        mut layer: impl FnMut(&'a LayerResult, i32) -> Result<()>,
    ) -> Result<()> {
        let mut y = TOP + ROW / 2;
        for layers in &self.classes {
            class(layers, y)?;
            y += ROW;
            for one in layers {
                layer(one, y)?;
                y += ROW;
            }
        }
        Ok(())
    }
}

/// A column's heading, in two lines that end at `at`.
pub(super) fn heading(area: &Area<'_>, lines: [&str; 2], (x, y): Pixel) -> Result<()> {
    for (line, y) in lines.into_iter().zip([y - 15, y]) {
        text(area, line, (x, y), plain(11, INK, HPos::Right, VPos::Bottom))?;
    }
    Ok(())
}
