//! `Algorithm::Im2col`: the whole im2col matrix of a group of an image, one matrix product, the epilogue's definition.

use crate::element::Element;
use crate::error::Result;
use crate::forward::Call;
use crate::gemm::tiles::Output;
use crate::im2col::unfold_planes;
use crate::kernel::baseline;
use crate::pack::buffer::Scratch;

pub(crate) fn run<T: Element>(
    call: &Call<'_, T>,
    weight: &[T],
    scratch: &mut Scratch,
    y: Output<'_, T>,
) -> Result<()> {
    if y.len() == 0 {
        // Of an empty batch the matrix of an image may be larger than memory.
        return Ok(());
    }
    let shape = &call.plan.shape;
    let (m, k, n) = (shape.out_channels, shape.k(), shape.out_plane());
    scratch.reserve(1, call.plan.scratch_bytes())?;
    let mut carver = scratch.carve();
    let columns: &mut [T] = carver.take(k * n);
    let x_len = shape.in_channels * shape.in_plane();
    let y = y.zeroed();
    for (i, y) in y.chunks_exact_mut(m * n).enumerate() {
        let group = i % shape.groups;
        unfold_planes(shape, &call.x[i * x_len..][..x_len], columns);
        baseline::gemm(m, k, n, &weight[group * m * k..], columns, y);
        for (row, y) in y.chunks_exact_mut(n).enumerate() {
            let residual = call.residual.map(|residual| &residual[(i * m + row) * n..][..n]);
            finish(call, group * m + row, residual, y);
        }
    }
    Ok(())
}

/// Bias, residual and activation of one row.
fn finish<T: Element>(call: &Call<'_, T>, channel: usize, residual: Option<&[T]>, y: &mut [T]) {
    let bias = call.epilogue.bias[channel];
    for (p, y) in y.iter_mut().enumerate() {
        let mut sum = y.plus(bias);
        if let Some(residual) = residual {
            sum = sum.plus(residual[p]);
        }
        *y = call.epilogue.activation.apply(sum, channel);
    }
}
