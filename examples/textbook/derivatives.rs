//! The exercises of chapter 7.2: kernels designed by hand for derivatives and integrals.

use anyhow::{Context, Result, ensure};
use convgemm::{Params, Workspace, conv1d};

use crate::plane::{Plane, by_crate, list, same, show};

/// One signal and one kernel, with so many zeros before the signal.
fn filter(signal: &[f32], kernel: &[f32], zeros_before: usize) -> Result<Vec<f32>> {
    let params = Params::new(1, 1, [kernel.len()]).pad_begin([zeros_before as isize]);
    Ok(conv1d(&params, signal, 1, [signal.len()], kernel, None, &mut Workspace::new())?)
}

/// x^`power` at 0, 1, …
fn monomial(power: usize, len: usize) -> Vec<f32> {
    (0..len).map(|x| x.pow(power as u32) as f32).collect()
}

/// [1, −2, 1] is the second derivative, all ones the integral.
pub(crate) fn by_hand() -> Result<()> {
    let squares = monomial(2, 8);
    println!("  Second derivative: (x − 1)² − 2x² + (x + 1)² = 2, at every x.");
    println!("  signal {}", list(&squares));
    same("[1, −2, 1] on x² gives 2", filter(&squares, &[1., -2., 1.], 0)?, vec![2.0; 6])?;
    same("[1, −2, 1] on 3x + 1 gives 0", filter(&[1., 4., 7., 10., 13.], &[1., -2., 1.], 0)?, vec![0.0; 3])?;
    laplacian()?;
    integral()
}

/// The second derivatives along both axes added: on i² + 3j² it is 2 + 6.
fn laplacian() -> Result<()> {
    let bowl = Plane::from_fn([4, 5], |i, j| (i * i + 3 * j * j) as f32);
    let kernel = Plane::new([3, 3], &[0., 1., 0., 1., -4., 1., 0., 1., 0.]);
    let y = by_crate(&bowl, &kernel)?;
    println!();
    show(&[("i² + 3j²", &bowl), ("both axes' kernel", &kernel), ("result", &y)]);
    same("on two axes: 2 + 6", &y, &Plane::from_fn([2, 3], |_, _| 8.0))
}

/// Ones sum over a window; with the window as long as the signal they sum up from its beginning.
fn integral() -> Result<()> {
    let signal = [3., 1., 4., 1., 5., 9., 2., 6.];
    println!("\n  Integral: a kernel of ones adds up what its window sees.");
    println!("  signal {}", list(&signal));
    let running = filter(&signal, &[1.; 3], 0)?;
    same("3 ones: the running sum over a window of 3", &running, &vec![8., 6., 10., 15., 16., 17.])?;
    let cumulative = filter(&signal, &[1.; 8], 7)?;
    println!(
        "  8 ones and 7 zeros before the signal: window p ends at element p and reaches back to the first."
    );
    same("the cumulative sum", &cumulative, &vec![3., 4., 8., 9., 14., 23., 25., 31.])?;
    same("[−1, 1] with one zero before undoes it", filter(&cumulative, &[-1., 1.], 1)?, signal.to_vec())
}

/// d + 1, and the binomial coefficients with signs are the only choice.
pub(crate) fn taps_of_derivatives() -> Result<()> {
    println!(
        "  [−1, 1] is f(x + 1) − f(x). d of them convolved (true, full) have d + 1 taps, (−1)^(d−k) · C(d, k).\n"
    );
    let mut kernel = vec![1.0];
    let mut factorial = 1;
    for d in 1..=5 {
        kernel = differenced(&kernel)?;
        factorial *= d;
        for power in 0..d {
            let y = filter(&monomial(power, d + 4), &kernel, 0)?;
            ensure!(y == [0.0; 4], "{kernel:?} makes {y:?} of x^{power}");
        }
        let what = format!("d = {d}: {} gives 0 on lower powers, {d}! = {factorial} on x^{d}", list(&kernel));
        same(&what, filter(&monomial(d, d + 4), &kernel, 0)?, vec![factorial as f32; 4])?;
        same(
            "    and no other kernel of as many taps does that",
            solved(d, factorial as i128)?,
            kernel.clone(),
        )?;
    }
    fewer_taps()
}

/// The kernel of the next derivative: the full true convolution with [−1, 1], which is the correlation with [1, −1].
fn differenced(kernel: &[f32]) -> Result<Vec<f32>> {
    let params = Params::new(1, 1, [2]).padding([1]);
    Ok(conv1d(&params, kernel, 1, [kernel.len()], &[1., -1.], None, &mut Workspace::new())?)
}

/// With d taps w at 0 … d−1, killing x^m means Σ w[k] · k^m = 0. For m = 0 … d−1 that is a square system, whose
/// Vandermonde matrix is regular: w = 0, which gives 0 on x^d, too.
fn fewer_taps() -> Result<()> {
    println!(
        "\n  d taps do not suffice: to kill 1 … x^(d−1), d equations Σ w[k]·k^m = 0 have to hold. Their matrix k^m, row m"
    );
    println!(
        "  and column k, is regular (Vandermonde), so that all taps are zero; then x^d gives 0 and not d!.\n"
    );
    let (mut product, mut factorial) = (1, 1);
    for d in 1..=5_usize {
        let matrix = vandermonde(d);
        let what =
            format!("d = {d}: the determinant, Π (j − i) over 0 ≤ i < j < {d}, is {product} and not 0");
        same(&what, determinant(matrix), Some(product))?;
        factorial *= d as i128;
        product *= factorial;
    }
    Ok(())
}

/// Row m, column k: k^m.
fn vandermonde(len: usize) -> Vec<Vec<i128>> {
    (0..len as u32).map(|m| (0..len as i128).map(|k| k.pow(m)).collect()).collect()
}

/// The d + 1 taps that give 0 on x^m for m < d and d! on x^d, by Cramer's rule.
fn solved(d: usize, factorial: i128) -> Result<Vec<f32>> {
    let matrix = vandermonde(d + 1);
    let whole = determinant(matrix.clone()).context("the system is regular")?;
    (0..=d)
        .map(|k| {
            let mut replaced = matrix.clone();
            for (m, row) in replaced.iter_mut().enumerate() {
                row[k] = if m == d { factorial } else { 0 };
            }
            let numerator = determinant(replaced).unwrap_or(0);
            ensure!(numerator % whole == 0, "taps are whole numbers");
            Ok((numerator / whole) as f32)
        })
        .collect()
}

/// Elimination without fractions, exact (Bareiss, Mathematics of Computation 22, 1968); `None` where it is 0.
fn determinant(mut matrix: Vec<Vec<i128>>) -> Option<i128> {
    let (mut sign, mut previous) = (1, 1);
    for step in 0..matrix.len() {
        let pivot = (step..matrix.len()).find(|&row| matrix[row][step] != 0)?;
        if pivot != step {
            matrix.swap(pivot, step);
            sign = -sign;
        }
        let (above, below) = matrix.split_at_mut(step + 1);
        let top = &above[step];
        for row in below {
            let first = row[step];
            for (value, t) in row.iter_mut().zip(top) {
                *value = (*value * top[step] - first * t) / previous;
            }
        }
        previous = top[step];
    }
    Some(sign * previous)
}
