//! Colours that the colour-blind tell apart (Okabe and Ito), and shapes beside them.

use plotters::style::RGBColor;

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const MUTED: RGBColor = RGBColor(96, 96, 96);
pub(super) const FAINT: RGBColor = RGBColor(221, 221, 221);
pub(super) const BAND: RGBColor = RGBColor(240, 240, 240);

pub(super) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
const BLACK: RGBColor = RGBColor(0, 0, 0);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const YELLOW: RGBColor = RGBColor(240, 228, 66);
const PURPLE: RGBColor = RGBColor(204, 121, 167);

#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Circle,
    Square,
    Diamond,
    Up,
    Down,
    Cross,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) shape: Shape,
    pub(super) colour: RGBColor,
}

const fn mark(shape: Shape, colour: RGBColor) -> Mark {
    Mark { shape, colour }
}

/// Of classes of layers, in the order that they are drawn in.
const CLASSES: [(&str, Mark); 8] = [
    ("dense", mark(Shape::Circle, BLUE)),
    ("pointwise", mark(Shape::Square, ORANGE)),
    ("first", mark(Shape::Up, GREEN)),
    ("depthwise", mark(Shape::Diamond, VERMILLION)),
    ("grouped", mark(Shape::Down, PURPLE)),
    ("thin", mark(Shape::Circle, SKY)),
    ("3-D", mark(Shape::Square, YELLOW)),
    ("tiny", mark(Shape::Cross, BLACK)),
];

pub(super) fn class(name: &str) -> Mark {
    CLASSES.iter().find(|(class, _)| *class == name).map_or(mark(Shape::Cross, MUTED), |&(_, mark)| mark)
}

/// Where a class stands among the others; ones that are not known come last.
pub(super) fn class_order(name: &str) -> usize {
    CLASSES.iter().position(|(class, _)| *class == name).unwrap_or(CLASSES.len())
}

/// Of the libraries of a picture, on bars in the colour `SKY`.
const LIBRARIES: [Mark; 6] = [
    mark(Shape::Circle, ORANGE),
    mark(Shape::Square, VERMILLION),
    mark(Shape::Up, GREEN),
    mark(Shape::Diamond, PURPLE),
    mark(Shape::Cross, BLACK),
    mark(Shape::Down, BLUE),
];

/// How many libraries a picture tells apart.
pub(super) const MOST_LIBRARIES: usize = LIBRARIES.len();

pub(super) fn library(index: usize) -> Mark {
    LIBRARIES[index]
}
