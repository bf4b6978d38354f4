//! Chapter 7.1's view: a convolution is a dense layer with shared weights; and what a mathematician calls convolution.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use convgemm::reference::true_conv2d;
use convgemm::{Params, im2col};

use crate::plane::{Plane, by_crate, by_crate_with, corr2d, same, show};

/// Either the image becomes a matrix, or the kernel does.
pub(crate) fn one_matrix_product() -> Result<()> {
    let image = Plane::ramp([3, 3], 0);
    let kernel = Plane::ramp([2, 2], 1);
    let expected = by_crate(&image, &kernel)?;
    show(&[("image", &image), ("kernel", &kernel), ("result", &expected)]);
    same("the result", &expected, &Plane::new([2, 2], &[27., 37., 57., 67.]))?;
    image_as_matrix(&image, &kernel, &expected)?;
    several_channels_as_matrix()?;
    kernel_as_matrix(&image, &kernel, &expected)
}

/// im2col: each window is a column.
fn image_as_matrix(image: &Plane, kernel: &Plane, expected: &Plane) -> Result<()> {
    let columns = unfold(&Params::new(1, 1, kernel.extent), image.extent, &image.values)?;
    let row = Plane::new([1, 4], &kernel.values);
    let product = row.times(&columns);
    println!("\n  The image as a matrix: im2col, a column for each window, a row for each tap.\n");
    show(&[("kernel's row [1, 4]", &row), ("columns [4, 4]", &columns), ("product [1, 4]", &product)]);
    same("row · columns", &product.values, &expected.values)
}

/// With channels it is the same product, only taller: rows are (channel, tap), and there is a row of weights for each
/// output channel.
fn several_channels_as_matrix() -> Result<()> {
    let x = [Plane::ramp([3, 3], 0).values, Plane::ramp([3, 3], 1).values].concat();
    let weight = Plane::from_fn([3, 8], |o, k| (o + k / 4 + k % 4) as f32);
    let columns = unfold(&Params::new(2, 3, [2, 2]), [3, 3], &x)?;
    let expected = [56., 72., 104., 120., 76., 100., 148., 172., 96., 128., 192., 224.];
    let product = weight.times(&columns);
    same("step 5's layer: [3, 2·4] · [2·4, 4] = [3, 4]", product.values.as_slice(), &expected)
}

fn unfold(params: &Params<2>, extent: [usize; 2], x: &[f32]) -> Result<Plane> {
    let geometry = params.geometry(1, extent)?;
    let mut values = vec![0.0; geometry.columns_len()?];
    im2col(&geometry, x, &mut values)?;
    let positions = geometry.output_extent().iter().product::<usize>();
    Ok(Plane { extent: [values.len() / positions, positions], values })
}

/// The dense layer that does the same: a row for each window, a column for each pixel.
fn kernel_as_matrix(image: &Plane, kernel: &Plane, expected: &Plane) -> Result<()> {
    let matrix = toeplitz(kernel, image.extent);
    let product = matrix.times(&Plane::new([9, 1], &image.values));
    println!("\n  The kernel as a matrix: a dense layer from 9 pixels to 4 outputs.\n");
    show(&[("matrix [4, 9]", &matrix), ("product [4, 1]", &product)]);
    same("matrix · flattened image", &product.values, &expected.values)?;

    let mut unit = Plane::from_fn(image.extent, |_, _| 0.0);
    for pixel in 0..9 {
        unit.values[pixel] = 1.0;
        let column: Vec<f32> = (0..4).map(|row| matrix.at(row, pixel)).collect();
        let response = by_crate(&unit, kernel)?;
        ensure!(response.values == column, "column {pixel} is not what pixel {pixel} alone gives");
        unit.values[pixel] = 0.0;
    }
    println!("  ok  column by column, the matrix is what conv2d makes of an image with a single 1");
    let (zeros, weights) = census(&matrix);
    same("of 36 weights 20 are zero, and the other 16 are 4 different ones", (zeros, weights), (20, 4))?;
    let large = toeplitz(&Plane::ramp([3, 3], 1), [16, 16]);
    same("3×3 on 16×16: of 50176 weights 48412 are zero, 9 differ", census(&large), (48_412, 9))?;
    same("    and 14·14 rows of 9 are not zero", large.values.len() - census(&large).0, 14 * 14 * 9)
}

/// Row (i, j) holds tap (a, b) in column (i + a, j + b): constant along diagonals, block by block.
fn toeplitz(kernel: &Plane, [height, width]: [usize; 2]) -> Plane {
    let [kh, kw] = kernel.extent;
    let [rows, columns] = [height - kh + 1, width - kw + 1];
    Plane::from_fn([rows * columns, height * width], |window, pixel| {
        let a = (pixel / width).checked_sub(window / columns).filter(|&a| a < kh);
        let b = (pixel % width).checked_sub(window % columns).filter(|&b| b < kw);
        a.zip(b).map_or(0.0, |(a, b)| kernel.at(a, b))
    })
}

/// How many zeros there are, and how many different values besides.
fn census(matrix: &Plane) -> (usize, usize) {
    let zeros = matrix.values.iter().filter(|value| **value == 0.0).count();
    let others = matrix.values.iter().filter(|value| **value != 0.0).map(|value| value.to_bits());
    (zeros, others.collect::<BTreeSet<_>>().len())
}

/// The kernel reversed on both axes is all the difference, and commutativity is what it buys.
pub(crate) fn true_convolution() -> Result<()> {
    let image = Plane::ramp([3, 3], 0);
    let kernel = Plane::ramp([2, 2], 0);
    let flipped = kernel.flipped();
    let result = by_crate(&image, &flipped)?;
    show(&[("image", &image), ("kernel", &kernel), ("flipped", &flipped), ("true convolution", &result)]);
    same("correlation with the flipped kernel", &result, &Plane::new([2, 2], &[5., 11., 23., 29.]))?;
    let reference = true_conv2d(&image.values, image.extent, &kernel.values, kernel.extent)?;
    same("reference::true_conv2d with the kernel", &reference, &result.values)?;
    let back = true_conv2d(&image.values, image.extent, &flipped.values, kernel.extent)?;
    same("true convolution with the flipped kernel is correlation", &back, &corr2d(&image, &kernel).values)?;

    let full = full_correlation(&image, &flipped)?;
    let swapped = full_correlation(&kernel, &image.flipped())?;
    println!("\n  Full: padded by the kernel's extent − 1, so that each pixel meets each tap.\n");
    show(&[("image ∗ kernel", &full), ("kernel ∗ image", &swapped)]);
    same("(x ∗ k)[i,j] = Σ x[a,b] · k[i−a,j−b], by hand", &full, &scattered(&image, &kernel))?;
    same("true convolution commutes", &swapped, &full)?;
    same("its middle is the one without padding", &full.cropped([1, 1]), &result)?;

    let (one, other) = (full_correlation(&image, &kernel)?, full_correlation(&kernel, &image)?);
    println!();
    show(&[("image ⋆ kernel", &one), ("kernel ⋆ image", &other)]);
    ensure!(one != other, "correlation is not to commute");
    same("correlation does not: the results are each other's flip", &other, &one.flipped())?;
    let symmetric = Plane::new([3, 3], &[1., 2., 1., 2., 4., 2., 1., 2., 1.]);
    let blurred = full_correlation(&image, &symmetric)?;
    same("with a kernel that is its own flip the two are the same", &blurred, &scattered(&image, &symmetric))
}

fn full_correlation(image: &Plane, kernel: &Plane) -> Result<Plane> {
    let params = Params::new(1, 1, kernel.extent).padding(kernel.extent.map(|taps| taps - 1));
    by_crate_with(&params, image, kernel)
}

/// True convolution straight from the formula: each product of a pixel and a tap goes where their indices add up to.
fn scattered(image: &Plane, kernel: &Plane) -> Plane {
    let extent = [0, 1].map(|axis| image.extent[axis] + kernel.extent[axis] - 1);
    let mut sum = Plane::from_fn(extent, |_, _| 0.0);
    for (p, x) in image.values.iter().enumerate() {
        for (t, k) in kernel.values.iter().enumerate() {
            let i = p / image.extent[1] + t / kernel.extent[1];
            let j = p % image.extent[1] + t % kernel.extent[1];
            sum.values[i * extent[1] + j] += x * k;
        }
    }
    sum
}
