//! A matrix, which is an image, a kernel or a result; the sliding window by hand and by the crate; printing.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use convgemm::reference::flip;
use convgemm::{Params, Workspace, conv2d};

/// Height × width numbers, row by row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plane {
    pub(crate) extent: [usize; 2],
    pub(crate) values: Vec<f32>,
}

impl Plane {
    pub(crate) fn new(extent: [usize; 2], values: &[f32]) -> Self {
        assert_eq!(values.len(), extent[0] * extent[1], "a value for each element");
        Self { extent, values: values.to_vec() }
    }

    pub(crate) fn from_fn(extent: [usize; 2], value: impl Fn(usize, usize) -> f32) -> Self {
        let value = &value;
        let values = (0..extent[0]).flat_map(|i| (0..extent[1]).map(move |j| value(i, j))).collect();
        Self { extent, values }
    }

    /// `first`, `first + 1`, … row by row.
    pub(crate) fn ramp(extent: [usize; 2], first: usize) -> Self {
        Self::from_fn(extent, |i, j| (first + i * extent[1] + j) as f32)
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        self.values[i * self.extent[1] + j]
    }

    pub(crate) fn transposed(&self) -> Self {
        let [height, width] = self.extent;
        Self::from_fn([width, height], |i, j| self.at(j, i))
    }

    /// Reversed on both axes.
    pub(crate) fn flipped(&self) -> Self {
        Self { extent: self.extent, values: flip(&self.values) }
    }

    /// With so many rows and columns of zeros on either side.
    pub(crate) fn padded(&self, [rows, columns]: [usize; 2]) -> Self {
        let [height, width] = self.extent;
        Self::from_fn([height + 2 * rows, width + 2 * columns], |i, j| {
            let inside = (rows..rows + height).contains(&i) && (columns..columns + width).contains(&j);
            if inside { self.at(i - rows, j - columns) } else { 0.0 }
        })
    }

    /// Without so many rows and columns on either side.
    pub(crate) fn cropped(&self, [rows, columns]: [usize; 2]) -> Self {
        let [height, width] = self.extent;
        Self::from_fn([height - 2 * rows, width - 2 * columns], |i, j| self.at(i + rows, j + columns))
    }

    /// Each `rows`-th row and each `columns`-th column, from the first.
    pub(crate) fn every(&self, [rows, columns]: [usize; 2]) -> Self {
        let extent = [self.extent[0].div_ceil(rows), self.extent[1].div_ceil(columns)];
        Self::from_fn(extent, |i, j| self.at(i * rows, j * columns))
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        assert_eq!(self.extent, other.extent, "matrices of one shape");
        Self::from_fn(self.extent, |i, j| self.at(i, j) + other.at(i, j))
    }

    /// The matrix product.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let [rows, inner] = self.extent;
        assert_eq!(inner, other.extent[0], "as many columns as the other has rows");
        Self::from_fn([rows, other.extent[1]], |i, j| {
            (0..inner).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }
}

/// The sliding window by hand: no padding, stride 1.
pub(crate) fn corr2d(image: &Plane, kernel: &Plane) -> Plane {
    let [height, width] = kernel.extent;
    Plane::from_fn([image.extent[0] - height + 1, image.extent[1] - width + 1], |i, j| {
        let mut sum = 0.0;
        for a in 0..height {
            for b in 0..width {
                sum += kernel.at(a, b) * image.at(i + a, j + b);
            }
        }
        sum
    })
}

/// One image and one kernel by the crate: no padding, stride 1.
pub(crate) fn by_crate(image: &Plane, kernel: &Plane) -> Result<Plane> {
    by_crate_with(&Params::new(1, 1, kernel.extent), image, kernel)
}

/// One image and one kernel by the crate.
pub(crate) fn by_crate_with(params: &Params<2>, image: &Plane, kernel: &Plane) -> Result<Plane> {
    let extent = params.output_extent(image.extent)?;
    let workspace = &mut Workspace::new();
    let values = conv2d(params, &image.values, 1, image.extent, &kernel.values, None, workspace)?;
    Ok(Plane { extent, values })
}

/// Prints that `what` holds, or fails with what does not.
pub(crate) fn same<T: PartialEq + Debug>(what: &str, got: T, expected: T) -> Result<()> {
    ensure!(got == expected, "{what}: it is {got:?} and not {expected:?}");
    println!("  ok  {what}");
    Ok(())
}

/// Without the `.0` of whole numbers.
pub(crate) fn list(values: &[f32]) -> String {
    format!("[{}]", values.iter().map(f32::to_string).collect::<Vec<_>>().join(", "))
}

/// Prints matrices side by side, each under its caption.
pub(crate) fn show(planes: &[(&str, &Plane)]) {
    let blocks: Vec<Vec<String>> = planes.iter().map(|(caption, plane)| block(caption, plane)).collect();
    let height = blocks.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let mut text = String::from("  ");
        for block in &blocks {
            let blank = " ".repeat(block[0].chars().count());
            text.push_str("    ");
            text.push_str(block.get(line).unwrap_or(&blank));
        }
        println!("{}", text.trim_end());
    }
    println!();
}

/// The lines of a matrix under its caption, all of one width.
fn block(caption: &str, plane: &Plane) -> Vec<String> {
    let cells: Vec<String> = plane.values.iter().map(f32::to_string).collect();
    let cell = cells.iter().map(String::len).max().unwrap_or(0);
    let rows = cells
        .chunks(plane.extent[1])
        .map(|row| row.iter().map(|value| format!("{value:>cell$}")).collect::<Vec<_>>().join(" "));
    let lines: Vec<String> = std::iter::once(caption.to_string()).chain(rows).collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    lines.iter().map(|line| format!("{line:<width$}")).collect()
}
