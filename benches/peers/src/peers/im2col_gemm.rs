//! The textbook's way: the whole im2col matrix of an image, then one product for each group, by the crate `gemm`.

use anyhow::Result;
use gemm::Parallelism;
use rayon::prelude::*;

use super::{Peer, Run};
use crate::problem::Problem;

pub(crate) struct Im2colGemm;

struct Prepared<'a> {
    problem: &'a Problem,
    /// Of one image; none where the image is its own matrix.
    columns: Option<Vec<f32>>,
    y: Vec<f32>,
}

impl Peer for Im2colGemm {
    fn name(&self) -> &'static str {
        "im2col-gemm"
    }

    fn prepare<'a>(&self, problem: &'a Problem) -> Result<Option<Box<dyn Run + 'a>>> {
        let params = problem.params();
        let in_place = params.kernel == [1, 1] && params.stride == [1, 1] && problem.padding() == [0, 0];
        let columns = (!in_place).then(|| vec![0.0; problem.im2col_len()]);
        Ok(Some(Box::new(Prepared { problem, columns, y: vec![0.0; problem.geometry.output_len()] })))
    }
}

impl Run for Prepared<'_> {
    fn run(&mut self) -> Result<()> {
        let problem = self.problem;
        let batch = problem.geometry.batch();
        let images = problem.x.chunks_exact(problem.x.len() / batch);
        let outputs = self.y.chunks_exact_mut(problem.geometry.output_len() / batch);
        for (image, y) in images.zip(outputs) {
            let columns = match &mut self.columns {
                Some(columns) => {
                    im2col(problem, image, columns);
                    columns
                }
                None => image,
            };
            products(problem, columns, y);
        }
        Ok(())
    }

    fn output(&self) -> Result<Vec<f32>> {
        Ok(self.y.clone())
    }
}

/// A row for each channel and tap, a column for each output position.
fn im2col(problem: &Problem, image: &[f32], columns: &mut [f32]) {
    let params = problem.params();
    let [h_in, w_in] = problem.geometry.input_extent();
    let [_, w_out] = problem.geometry.output_extent();
    let ([kh, kw], [pad_h, pad_w]) = (params.kernel, problem.padding());
    let (positions, _) = problem.columns();
    let fill = |(row, values): (usize, &mut [f32])| {
        let plane = &image[row / (kh * kw) * h_in * w_in..][..h_in * w_in];
        let (tap_h, tap_w) = (row / kw % kh * params.dilation[0], row % kw * params.dilation[1]);
        for (oh, line) in values.chunks_exact_mut(w_out).enumerate() {
            // Wraps to a huge coordinate in the padding before the image.
            let ih = (oh * params.stride[0] + tap_h).wrapping_sub(pad_h);
            let source = plane.get(ih.saturating_mul(w_in)..).and_then(|rest| rest.get(..w_in));
            let source = source.unwrap_or_default();
            for (ow, value) in line.iter_mut().enumerate() {
                let iw = (ow * params.stride[1] + tap_w).wrapping_sub(pad_w);
                *value = source.get(iw).copied().unwrap_or(0.0);
            }
        }
    };
    if problem.threads == 1 {
        columns.chunks_exact_mut(positions).enumerate().for_each(fill);
    } else {
        columns.par_chunks_exact_mut(positions).enumerate().for_each(fill);
    }
}

/// Weights times columns, for each group.
fn products(problem: &Problem, columns: &[f32], y: &mut [f32]) {
    let (n, k) = problem.columns();
    let m = problem.params().out_channels / problem.params().groups;
    let parallelism = match problem.threads {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    };
    let weights = problem.weight.chunks_exact(m * k);
    for ((weight, columns), y) in weights.zip(columns.chunks_exact(k * n)).zip(y.chunks_exact_mut(m * n)) {
        let (y, weight, columns) = (y.as_mut_ptr(), weight.as_ptr(), columns.as_ptr());
        let [row_n, row_k] = [n, k].map(|len| len as isize);
        // SAFETY: the slices hold m × n, m × k and k × n elements, row after row, and y is read nowhere else.
        unsafe {
            #[rustfmt::skip]
            gemm::gemm(
                m, n, k,
                y, 1, row_n, false,
                weight, 1, row_k,
                columns, 1, row_n,
                0.0, 1.0, false, false, false, parallelism,
            );
        }
    }
}
