//! Shape lists: convolutions without data, which get data whose sums are exact.
//!
//! With integers from −a to a, a the largest of 1 … 5 with terms·a² < 2²⁴, every partial sum is an `f32` whatever the
//! order, so that every algorithm has to agree with the oracle with `==`.
//!
//! A shape of up to `--max-macs` multiplications runs in every way there is, in `f32` and `f64`, and every element is
//! compared with the oracle, which is computed once. A larger one would take minutes that way. It runs in `f32` with
//! the automatic choice only: on the first instruction set in full, where 1 000 sampled elements are compared with
//! the oracle; then on every other one, and with the baseline where its matrix has less than 1 GiB, with at most two
//! images, where every element is compared with the first result.
//!
//! Skipped are shapes whose tensors have more than 2 GiB together, and those with so many terms that no data is
//! exact.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use convgemm::reference::Oracle;
use convgemm::{Element, Geometry, Isa, Padding, Params};
use serde::Deserialize;
use serde_json::Value;

use crate::tally::{Outcome, Tally};
use crate::way::{Problem, Way, axes};

/// The most that one shape's tensors may have together, in bytes.
const MAX_TENSOR_BYTES: usize = 2 << 30;
/// The most that the baseline's matrix may have, in bytes.
const MAX_COLUMN_BYTES: usize = 1 << 30;
/// Elements of a large shape's output that are compared with the oracle.
const SAMPLES: usize = 1000;
/// Images of a large shape on all instruction sets but the first.
const MAX_IMAGES: usize = 2;

/// One entry; axes that it does not have are 1. Pads at the end can be negative: what is behind is not read.
#[derive(Deserialize, Clone)]
pub(crate) struct Shape {
    /// Axes of the tensors, batch and channels among them.
    pub(crate) ndims: usize,
    pub(crate) n: usize,
    pub(crate) groups: usize,
    pub(crate) c_in: usize,
    pub(crate) c_out: usize,
    pub(crate) d: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) od: usize,
    pub(crate) oh: usize,
    pub(crate) ow: usize,
    pub(crate) kd: usize,
    pub(crate) kh: usize,
    pub(crate) kw: usize,
    pub(crate) sd: usize,
    pub(crate) sh: usize,
    pub(crate) sw: usize,
    pub(crate) dd: usize,
    pub(crate) dh: usize,
    pub(crate) dw: usize,
    pub(crate) pad_front: isize,
    pub(crate) pad_top: isize,
    pub(crate) pad_left: isize,
    pub(crate) pad_back: isize,
    pub(crate) pad_bottom: isize,
    pub(crate) pad_right: isize,
}

/// The last `D` of depth, height and width.
pub(crate) fn last<E: Copy, const D: usize>(of: [E; 3]) -> Result<[E; D]> {
    axes(&of[3 - D..])
}

impl Shape {
    fn params<const D: usize>(&self) -> Result<Params<D>> {
        let padding = Padding::Explicit {
            begin: last([self.pad_front, self.pad_top, self.pad_left])?,
            end: last([self.pad_back, self.pad_bottom, self.pad_right])?,
        };
        Ok(Params::new(self.c_in, self.c_out, last([self.kd, self.kh, self.kw])?)
            .stride(last([self.sd, self.sh, self.sw])?)
            .dilation(last([self.dd, self.dh, self.dw])?)
            .padding(padding)
            .groups(self.groups))
    }

    pub(crate) fn geometry<const D: usize>(&self) -> Result<Geometry<D>> {
        let geometry = self.params()?.geometry(self.n, last([self.d, self.h, self.w])?)?;
        let (actual, expected) = (geometry.output_extent(), last([self.od, self.oh, self.ow])?);
        ensure!(actual == expected, "the output's extents are {actual:?}, expected {expected:?}");
        Ok(geometry)
    }
}

impl Shape {
    /// The convolution from the output of this transposed convolution to its input.
    pub(crate) fn exchanged(&self) -> Result<Self> {
        let (c_in, c_out) = (self.c_out, self.c_in);
        let ([d, h, w], [od, oh, ow]) = ([self.od, self.oh, self.ow], [self.d, self.h, self.w]);
        Ok(Self { c_in, c_out, d, h, w, od, oh, ow, ..self.clone() })
    }
}

/// The entries of a list.
pub(crate) fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).context("cannot read it")?;
    serde_json::from_str(&text).context("it is not a JSON array")
}

/// What an entry of a list says.
pub(crate) fn parse(entry: &Value) -> Result<Shape> {
    Shape::deserialize(entry).context("it is not a shape")
}

/// Checks the convolution of one entry of a list.
pub(crate) fn check(shape: &Shape, isas: &[Isa], max_macs: u64, tally: &mut Tally) -> Result<Outcome> {
    match shape.ndims {
        3 => check_geometry::<1>(&shape.geometry()?, isas, max_macs, tally),
        4 => check_geometry::<2>(&shape.geometry()?, isas, max_macs, tally),
        5 => check_geometry::<3>(&shape.geometry()?, isas, max_macs, tally),
        ndims => bail!("ndims is {ndims}, it has to be 3, 4 or 5"),
    }
}

fn check_geometry<const D: usize>(
    geometry: &Geometry<D>,
    isas: &[Isa],
    max_macs: u64,
    tally: &mut Tally,
) -> Result<Outcome> {
    let lens = [geometry.input_len(), geometry.weight_len(), geometry.output_len()];
    if lens.into_iter().sum::<usize>() > MAX_TENSOR_BYTES / size_of::<f32>() {
        return Ok(Outcome::Skipped("tensors over 2 GiB".to_owned()));
    }
    let Some(amplitude) = amplitude(most_terms(geometry)) else {
        return Ok(Outcome::Skipped("over 2²⁴ terms in a sum".to_owned()));
    };
    let x = integers(1, amplitude, geometry.input_len());
    let weight = integers(2, amplitude, geometry.weight_len());
    let problem = Problem {
        params: *geometry.params(),
        batch: geometry.batch(),
        extent: geometry.input_extent(),
        x: &x,
        weight: &weight,
        bias: None,
    };
    if geometry.macs() <= max_macs.into() {
        check_whole(&problem, isas, tally)?;
    } else {
        check_sampled(&problem, isas, tally)?;
    }
    Ok(Outcome::Passed)
}

/// Every way, both element types, every element.
fn check_whole<const D: usize>(problem: &Problem<'_, f32, D>, isas: &[Isa], tally: &mut Tally) -> Result<()> {
    let &Problem { params, batch, extent, x, weight, bias: _ } = problem;
    let expected = Oracle::new(&params, batch, extent, x, weight)?.output();
    let ways = Way::all(isas);
    problem.run_all(&ways, tally, |_, y| check_equal(problem, &y, &expected))?;
    let double = |values: &[f32]| -> Vec<f64> { values.iter().copied().map(f64::from).collect() };
    let (x, weight, expected) = (double(x), double(weight), double(&expected));
    let problem = Problem { params, batch, extent, x: &x, weight: &weight, bias: None };
    problem.run_all(&ways, tally, |_, y| check_equal(&problem, &y, &expected))
}

/// The automatic choice of the first instruction set against samples of the oracle, all others against it.
fn check_sampled<const D: usize>(
    problem: &Problem<'_, f32, D>,
    isas: &[Isa],
    tally: &mut Tally,
) -> Result<()> {
    let Some((&first, others)) = isas.split_first() else { return Ok(()) };
    let mut whole = Vec::new();
    let oracle = Oracle::new(&problem.params, problem.batch, problem.extent, problem.x, problem.weight)?;
    problem.run_all(&[Way::auto(first)], tally, |_, y| {
        whole = y;
        check_samples(problem, &oracle, &whole)
    })?;
    let fewer = problem.with_batch(problem.batch.min(MAX_IMAGES))?;
    let mut ways: Vec<_> = others.iter().copied().map(Way::auto).collect();
    if column_bytes(oracle.geometry()) < MAX_COLUMN_BYTES as u128 {
        ways.push(Way::im2col(first));
    }
    fewer.run_all(&ways, tally, |_, y| check_equal(&fewer, &y, &whole[..y.len()]))
}

impl<T: Element, const D: usize> Problem<'_, T, D> {
    /// The first `batch` of its images.
    fn with_batch(&self, batch: usize) -> Result<Self> {
        let len = self.params.geometry(batch, self.extent)?.input_len();
        Ok(Self { batch, x: &self.x[..len], ..*self })
    }
}

fn check_equal<T: Element, const D: usize>(
    problem: &Problem<'_, T, D>,
    y: &[T],
    expected: &[T],
) -> Result<()> {
    ensure!(y.len() == expected.len(), "the output has {} elements, not {}", y.len(), expected.len());
    let Some(index) = y.iter().zip(expected).position(|(y, expected)| y != expected) else { return Ok(()) };
    let wrong = y.iter().zip(expected).filter(|(y, expected)| y != expected).count();
    bail!(
        "output {} is {}, expected {}; {wrong} of {} elements differ",
        problem.place(index),
        y[index],
        expected[index],
        y.len()
    )
}

/// Both ends and evenly drawn elements between.
fn check_samples<const D: usize>(
    problem: &Problem<'_, f32, D>,
    oracle: &Oracle<'_, f32, D>,
    y: &[f32],
) -> Result<()> {
    let Some(last) = y.len().checked_sub(1) else { return Ok(()) };
    let mut random = Random(3);
    let drawn = (0..SAMPLES - 2).map(|_| random.below(y.len()));
    for index in [0, last].into_iter().chain(drawn) {
        let expected = oracle.at(index);
        ensure!(y[index] == expected, "output {} is {}, expected {expected}", problem.place(index), y[index]);
    }
    Ok(())
}

/// The im2col matrix of one group of one image.
fn column_bytes<const D: usize>(geometry: &Geometry<D>) -> u128 {
    let params = geometry.params();
    let terms = geometry.weight_len() / params.out_channels;
    let positions: usize = geometry.output_extent().iter().product();
    terms as u128 * positions as u128 * size_of::<f32>() as u128
}

/// The most terms that one element of the output has on the image.
fn most_terms<const D: usize>(geometry: &Geometry<D>) -> usize {
    let channels = geometry.params().in_channels / geometry.params().groups;
    (0..D).map(|axis| most_taps(geometry, axis)).product::<usize>() * channels
}

/// The most taps that a window has on the image along one axis.
fn most_taps<const D: usize>(geometry: &Geometry<D>, axis: usize) -> usize {
    let params = geometry.params();
    let (kernel, dilation) = (params.kernel[axis], params.dilation[axis] as i128);
    let taps = |p: usize| {
        let origin = p as i128 * params.stride[axis] as i128 - geometry.pad_begin()[axis] as i128;
        // The first tap that lies at `coordinate` or behind it.
        let first_at =
            |coordinate: i128| (-(origin - coordinate).div_euclid(dilation)).clamp(0, kernel as i128);
        (first_at(geometry.input_extent()[axis] as i128) - first_at(0)) as usize
    };
    (0..geometry.output_extent()[axis]).map(taps).max().unwrap_or(0)
}

/// The largest of 1 … 5 with which that many products sum exactly in `f32`.
pub(crate) fn amplitude(terms: usize) -> Option<usize> {
    (1..=5).rev().find(|a| terms.saturating_mul(a * a) < 1 << 24)
}

/// Integers from −`amplitude` to `amplitude`; the same on every platform.
pub(crate) fn integers(seed: u64, amplitude: usize, len: usize) -> Vec<f32> {
    let mut random = Random(seed);
    (0..len).map(|_| random.below(2 * amplitude + 1) as f32 - amplitude as f32).collect()
}

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from 0 to `end` − 1.
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
