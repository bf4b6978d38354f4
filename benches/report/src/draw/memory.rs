//! The scratch memory of a call beside the im2col matrix of one image.

use anyhow::Result;
use plotters::element::Circle;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color, WHITE};

use super::COMMAND;
use super::canvas::{Area, Frame, cores, draw_mark, legend, line, plain, text};
use super::palette::{BLUE, INK, MUTED, Mark, Shape, VERMILLION};
use super::rows::{Rows, heading};
use crate::results::{LayerResult, Run};

const COLUMN: i32 = 80;
const SCRATCH: Mark = Mark { shape: Shape::Circle, colour: BLUE };
const IM2COL: Mark = Mark { shape: Shape::Square, colour: VERMILLION };
/// Where the axis begins, for what takes no memory at all.
const NOTHING: f64 = 0.04;

pub(super) fn draw(run: &Run) -> Result<String> {
    let rows = Rows::new(&run.layers, &[COLUMN]);
    let frame = Frame {
        height: rows.height(),
        title: "Scratch memory of a call beside the im2col matrix of one image".to_owned(),
        subtitle: cores(run),
        notes: vec![
            "Scratch is that of all threads together; it is kept and used again, call after call.".to_owned(),
            "Where a kernel is 1×1 and its stride 1, the image itself is the im2col matrix: nothing has to be copied.".to_owned(),
            COMMAND.to_owned(),
        ],
    };
    frame.picture(|area| {
        let scale = Scale::of(run);
        let mut ticks = vec![(NOTHING, "0".to_owned())];
        ticks.extend(scale.powers().map(|power| (scale.share(10_u64.pow(power)), unit(power))));
        rows.draw_axis(area, &ticks, "bytes, on a logarithmic scale")?;
        legend(area, (16, 72), [(SCRATCH, "scratch of convgemm"), (IM2COL, "im2col matrix, f32")])?;
        let column = rows.right() + COLUMN;
        heading(area, ["im2col over", "scratch"], (column - 4, rows.top() - 2))?;
        rows.for_each(
            |_, _| Ok(()),
            |layer, y| {
                draw_layer(
                    area,
                    layer,
                    [layer.scratch_bytes, layer.im2col_bytes].map(|b| rows.x(scale.share(b))),
                    y,
                )?;
                text(area, &ratio(layer), (column - 4, y), plain(12, INK, HPos::Right, VPos::Center))
            },
        )
    })
}

fn draw_layer(area: &Area<'_>, layer: &LayerResult, [scratch, im2col]: [i32; 2], y: i32) -> Result<()> {
    line(area, &[(scratch, y), (im2col, y)], MUTED.stroke_width(1))?;
    draw_mark(area, IM2COL, (im2col, y), 4)?;
    draw_mark(area, SCRATCH, (scratch, y), 4)?;
    if layer.scratch_bytes == 0 {
        area.draw(&Circle::new((scratch, y), 2, WHITE.filled()))?;
    }
    Ok(())
}

fn ratio(layer: &LayerResult) -> String {
    match layer.im2col_bytes as f64 / layer.scratch_bytes as f64 {
        ratio if ratio.is_infinite() => "no scratch".to_owned(),
        ratio if ratio >= 10.0 => format!("{ratio:.0} ×"),
        ratio => format!("{ratio:.1} ×"),
    }
}

/// Powers of ten that hold all of a run.
struct Scale {
    first: u32,
    last: u32,
}

impl Scale {
    fn of(run: &Run) -> Self {
        let all = || {
            let both = |layer: &LayerResult| [layer.scratch_bytes, layer.im2col_bytes];
            run.layers.iter().flat_map(both).filter_map(u64::checked_ilog10)
        };
        let first = all().min().unwrap_or(0);
        Self { first, last: all().max().unwrap_or(0) + 1 }
    }

    fn powers(&self) -> impl Iterator<Item = u32> {
        self.first..=self.last
    }

    /// The share of the axis at which so many bytes stand.
    fn share(&self, bytes: u64) -> f64 {
        if bytes == 0 {
            return NOTHING;
        }
        let begin = 3.0 * NOTHING;
        let logarithm = (bytes as f64).log10() - f64::from(self.first);
        begin + (1.0 - begin) * logarithm / f64::from(self.last - self.first)
    }
}

fn unit(power: u32) -> String {
    let prefix = ["B", "kB", "MB", "GB", "TB"][power as usize / 3];
    format!("{} {prefix}", 10_u32.pow(power % 3))
}
