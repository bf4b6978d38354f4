//! Gradients.

use convgemm::{ActivationAt, BackwardOptions};

use crate::descriptor::unknown;
use crate::memory::{exclusive, shared, slice, slice_mut};
use crate::status::report;
use crate::{Context, Element, Layer, images};

/// # Safety
/// That of the functions that call it.
#[expect(clippy::too_many_arguments, reason = "those of the interface")]
unsafe fn gradient_of_input<T: Element>(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    (dy, dy_len): (*const T, usize),
    (weight, weight_len): (*const T, usize),
    accumulate: bool,
    (dx, dx_len): (*mut T, usize),
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let (layer, context) = (shared("layer", layer)?, exclusive("context", context)?);
            let images = images(layer, batch, extent)?;
            let (dy, weight) = (slice("dy", dy, dy_len)?, slice("weight", weight, weight_len)?);
            let dx = slice_mut("dx", dx, dx_len)?;
            let layer = T::of(layer)?;
            context.run(|parallelism, workspace| {
                let options = BackwardOptions::new().accumulate(accumulate).parallelism(parallelism);
                layer.backward_input(images, dy, weight, &options, dx, workspace)
            })
        }
    })
}

/// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
/// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
/// initialised memory in either case.
///
/// # Safety
/// As `convgemm_forward_f32`, with `dx` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_input_f32(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    dy: *const f32,
    dy_len: usize,
    weight: *const f32,
    weight_len: usize,
    accumulate: bool,
    dx: *mut f32,
    dx_len: usize,
) -> i32 {
    let (dy, weight, dx) = ((dy, dy_len), (weight, weight_len), (dx, dx_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_input(layer, context, batch, extent, dy, weight, accumulate, dx) }
}

/// The gradient with respect to the input, shaped like it, from `dy`, that with respect to the output (before the activation), and the
/// weights as they were given to the layer; `extent` is the input's. Added to what `dx` holds where `accumulate` says so. `dx` is
/// initialised memory in either case.
///
/// # Safety
/// As `convgemm_forward_f64`, with `dx` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_input_f64(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    dy: *const f64,
    dy_len: usize,
    weight: *const f64,
    weight_len: usize,
    accumulate: bool,
    dx: *mut f64,
    dx_len: usize,
) -> i32 {
    let (dy, weight, dx) = ((dy, dy_len), (weight, weight_len), (dx, dx_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_input(layer, context, batch, extent, dy, weight, accumulate, dx) }
}

/// # Safety
/// That of the functions that call it.
#[expect(clippy::too_many_arguments, reason = "those of the interface")]
unsafe fn gradient_of_weight<T: Element>(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    (x, x_len): (*const T, usize),
    (dy, dy_len): (*const T, usize),
    accumulate: bool,
    (dw, dw_len): (*mut T, usize),
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let (layer, context) = (shared("layer", layer)?, exclusive("context", context)?);
            let images = images(layer, batch, extent)?;
            let (x, dy) = (slice("x", x, x_len)?, slice("dy", dy, dy_len)?);
            let dw = slice_mut("dw", dw, dw_len)?;
            let layer = T::of(layer)?;
            context.run(|parallelism, workspace| {
                let options = BackwardOptions::new().accumulate(accumulate).parallelism(parallelism);
                layer.backward_weight(images, x, dy, &options, dw, workspace)
            })
        }
    })
}

/// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
/// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
/// case.
///
/// # Safety
/// As `convgemm_forward_f32`, with `dw` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_weight_f32(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    x: *const f32,
    x_len: usize,
    dy: *const f32,
    dy_len: usize,
    accumulate: bool,
    dw: *mut f32,
    dw_len: usize,
) -> i32 {
    let (x, dy, dw) = ((x, x_len), (dy, dy_len), (dw, dw_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_weight(layer, context, batch, extent, x, dy, accumulate, dw) }
}

/// The gradient with respect to the weights, shaped like them, from the input and `dy`, the gradient with respect to the output (before
/// the activation); `extent` is the input's. Added to what `dw` holds where `accumulate` says so. `dw` is initialised memory in either
/// case.
///
/// # Safety
/// As `convgemm_forward_f64`, with `dw` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_weight_f64(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    x: *const f64,
    x_len: usize,
    dy: *const f64,
    dy_len: usize,
    accumulate: bool,
    dw: *mut f64,
    dw_len: usize,
) -> i32 {
    let (x, dy, dw) = ((x, x_len), (dy, dy_len), (dw, dw_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_weight(layer, context, batch, extent, x, dy, accumulate, dw) }
}

/// # Safety
/// That of the functions that call it.
unsafe fn gradient_of_bias<T: Element>(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    (dy, dy_len): (*const T, usize),
    accumulate: bool,
    (db, db_len): (*mut T, usize),
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let layer = shared("layer", layer)?;
            let images = images(layer, batch, extent)?;
            let (dy, db) = (slice("dy", dy, dy_len)?, slice_mut("db", db, db_len)?);
            let options = BackwardOptions::new().accumulate(accumulate);
            T::of(layer)?.backward_bias(images, dy, &options, db)
        }
    })
}

/// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
/// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
///
/// # Safety
/// As `convgemm_forward_f32`, with `db` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_bias_f32(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    dy: *const f32,
    dy_len: usize,
    accumulate: bool,
    db: *mut f32,
    db_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_bias(layer, batch, extent, (dy, dy_len), accumulate, (db, db_len)) }
}

/// The gradient with respect to the bias from `dy`, that with respect to the output (before the activation): the sum of each channel;
/// `extent` is the input's. Added to what `db` holds where `accumulate` says so. `db` is initialised memory in either case.
///
/// # Safety
/// As `convgemm_forward_f64`, with `db` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_bias_f64(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    dy: *const f64,
    dy_len: usize,
    accumulate: bool,
    db: *mut f64,
    db_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_bias(layer, batch, extent, (dy, dy_len), accumulate, (db, db_len)) }
}

/// The values before the activation: sum + bias + residual.
pub const CONVGEMM_AT_PRE_ACTIVATION: u32 = 0;
/// The layer's output.
pub const CONVGEMM_AT_OUTPUT: u32 = 1;

/// # Safety
/// That of the functions that call it.
unsafe fn gradient_of_activation<T: Element>(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    at: u32,
    (values, values_len): (*const T, usize),
    (dy, dy_len): (*const T, usize),
    (dz, dz_len): (*mut T, usize),
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let layer = shared("layer", layer)?;
            let images = images(layer, batch, extent)?;
            let (values, dy) = (slice("values", values, values_len)?, slice("dy", dy, dy_len)?);
            let dz = slice_mut("dz", dz, dz_len)?;
            let at = match at {
                CONVGEMM_AT_PRE_ACTIVATION => ActivationAt::PreActivation(values),
                CONVGEMM_AT_OUTPUT => ActivationAt::Output(values),
                other => return Err(unknown("at", other, CONVGEMM_AT_OUTPUT)),
            };
            let layer = T::typed(layer)?;
            layer.operation.backward_activation(images, &layer.activation, at, dy, dz)
        }
    })
}

/// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
/// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
/// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
/// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
///
/// # Safety
/// As `convgemm_forward_f32`, with `dz` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_activation_f32(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    at: u32,
    values: *const f32,
    values_len: usize,
    dy: *const f32,
    dy_len: usize,
    dz: *mut f32,
    dz_len: usize,
) -> i32 {
    let (values, dy, dz) = ((values, values_len), (dy, dy_len), (dz, dz_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_activation(layer, batch, extent, at, values, dy, dz) }
}

/// The gradient with respect to the values before the activation, `dz`, which the other gradients start from: `dy`, that with respect to
/// the layer's output, times the derivative of the layer's activation, all of them shaped like the output; `extent` is the input's. At a
/// kink the derivative is that of the flat side (0 for ReLU at 0), or the slope. `at` says what `values` are: the layer's output tells
/// the derivative of all but SiLU, HardSwish, GELU, and rectifiers whose slopes are not positive. `dz` is initialised memory.
///
/// # Safety
/// As `convgemm_forward_f64`, with `dz` in place of `y`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_backward_activation_f64(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    at: u32,
    values: *const f64,
    values_len: usize,
    dy: *const f64,
    dy_len: usize,
    dz: *mut f64,
    dz_len: usize,
) -> i32 {
    let (values, dy, dz) = ((values, values_len), (dy, dy_len), (dz, dz_len));
    // SAFETY: the caller's obligations are the same.
    unsafe { gradient_of_activation(layer, batch, extent, at, values, dy, dz) }
}
