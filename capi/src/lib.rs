//! The C interface of `convgemm`: `include/convgemm.h` is made of this crate, README.md says how to use it.
//!
//! Nothing here computes: pointers become references, descriptors layers, errors codes.

mod context;
mod descriptor;
mod gradients;
mod layer;
mod memory;
mod status;

use std::ffi::c_char;

use convgemm::{Activation, Plan};

pub use context::{Context, convgemm_context_create, convgemm_context_destroy};
pub use descriptor::*;
pub use gradients::*;
use layer::{Images, Operation, build};
use memory::{exclusive, optional, put, room, shared, slice, slice_mut};
pub use status::*;
use status::{Failure, Result, report};

/// A layer: weights packed for this machine, ready for images of any size and batches of any number.
pub struct Layer(Kind);

enum Kind {
    F32(Typed<f32>),
    F64(Typed<f64>),
}

/// A layer of elements `T`.
struct Typed<T> {
    operation: Box<dyn Operation<T>>,
    activation: Activation<T>,
}

impl Layer {
    fn rank(&self) -> usize {
        match &self.0 {
            Kind::F32(layer) => layer.operation.rank(),
            Kind::F64(layer) => layer.operation.rank(),
        }
    }

    fn output_extent(&self, extent: &[usize], output: &mut [usize]) -> Result<()> {
        match &self.0 {
            Kind::F32(layer) => layer.operation.output_extent(extent, output),
            Kind::F64(layer) => layer.operation.output_extent(extent, output),
        }
    }

    fn plan(&self, of: Images<'_>) -> Result<Plan> {
        match &self.0 {
            Kind::F32(layer) => layer.operation.plan(of),
            Kind::F64(layer) => layer.operation.plan(of),
        }
    }
}

/// An element type, as a kind of layer.
trait Element: convgemm::Element {
    fn wrap(layer: Typed<Self>) -> Kind;
    fn typed(layer: &Layer) -> Result<&Typed<Self>>;
    fn typed_mut(layer: &mut Layer) -> Result<&mut Typed<Self>>;

    fn of(layer: &Layer) -> Result<&dyn Operation<Self>> {
        Ok(&*Self::typed(layer)?.operation)
    }
}

macro_rules! element {
    ($t:ident, $kind:ident, $other:literal) => {
        impl Element for $t {
            fn wrap(layer: Typed<Self>) -> Kind {
                Kind::$kind(layer)
            }
            fn typed(layer: &Layer) -> Result<&Typed<Self>> {
                match &layer.0 {
                    Kind::$kind(layer) => Ok(layer),
                    _ => Err(wrong_type($other, stringify!($t))),
                }
            }
            fn typed_mut(layer: &mut Layer) -> Result<&mut Typed<Self>> {
                match &mut layer.0 {
                    Kind::$kind(layer) => Ok(layer),
                    _ => Err(wrong_type($other, stringify!($t))),
                }
            }
        }
    };
}

element!(f32, F32, "f64");
element!(f64, F64, "f32");

fn wrong_type(actual: &str, required: &str) -> Failure {
    Failure::new(CONVGEMM_WRONG_TYPE, format!("the layer is of {actual}, it has to be of {required}"))
}

/// # Safety
/// That of the functions that call it: `extent` is null or as many numbers as the layer has spatial axes lie there.
unsafe fn images<'a>(layer: &Layer, batch: usize, extent: *const usize) -> Result<Images<'a>> {
    // SAFETY: the caller's obligations are the same.
    Ok(Images { batch, extent: unsafe { slice("extent", extent, layer.rank()) }? })
}

/// Sets `descriptor` to a layer of a kernel of one tap at a stride and a dilation of 1, without padding, groups or activation.
///
/// # Safety
/// `descriptor` is null or points to room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_descriptor_init(
    descriptor: *mut Descriptor,
    rank: usize,
    in_channels: usize,
    out_channels: usize,
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe { put("descriptor", descriptor, || Ok(Descriptor::new(rank, in_channels, out_channels))) }
    })
}

/// # Safety
/// That of the functions that call it.
unsafe fn create<T: Element>(
    descriptor: *const Descriptor,
    (weight, weight_len): (*const T, usize),
    (bias, bias_len): (*const T, usize),
    layer: *mut *mut Layer,
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            put("layer", layer, || {
                let descriptor = shared("descriptor", descriptor)?;
                let (weight, bias) =
                    (slice("weight", weight, weight_len)?, optional("bias", bias, bias_len)?);
                let activation = descriptor.activation()?;
                let operation = build(descriptor, activation.clone(), weight, bias)?;
                Ok(Box::into_raw(Box::new(Layer(T::wrap(Typed { operation, activation })))))
            })
        }
    })
}

/// Makes a layer of `f32` of copies of `weight` and `bias`; no bias where that is null and `bias_len` 0.
///
/// # Safety
/// Each pointer, those in the descriptor among them, is null or points to what its name says, slices to as many elements as are said behind it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_create_f32(
    descriptor: *const Descriptor,
    weight: *const f32,
    weight_len: usize,
    bias: *const f32,
    bias_len: usize,
    layer: *mut *mut Layer,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { create(descriptor, (weight, weight_len), (bias, bias_len), layer) }
}

/// Makes a layer of `f64` of copies of `weight` and `bias`; no bias where that is null and `bias_len` 0.
///
/// # Safety
/// Each pointer, those in the descriptor among them, is null or points to what its name says, slices to as many elements as are said behind it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_create_f64(
    descriptor: *const Descriptor,
    weight: *const f64,
    weight_len: usize,
    bias: *const f64,
    bias_len: usize,
    layer: *mut *mut Layer,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { create(descriptor, (weight, weight_len), (bias, bias_len), layer) }
}

/// # Safety
/// That of the functions that call it.
unsafe fn update_weight<T: Element>(layer: *mut Layer, weight: *const T, weight_len: usize) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        let (layer, weight) = unsafe { (exclusive("layer", layer)?, slice("weight", weight, weight_len)?) };
        T::typed_mut(layer)?.operation.update_weight(weight)
    })
}

/// Replaces the weights of a layer of `f32`. It needs the layer alone.
///
/// # Safety
/// Each pointer is null or points to what its name says; nobody else uses the layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_update_weight_f32(
    layer: *mut Layer,
    weight: *const f32,
    weight_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { update_weight(layer, weight, weight_len) }
}

/// Replaces the weights of a layer of `f64`. It needs the layer alone.
///
/// # Safety
/// Each pointer is null or points to what its name says; nobody else uses the layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_update_weight_f64(
    layer: *mut Layer,
    weight: *const f64,
    weight_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { update_weight(layer, weight, weight_len) }
}

/// # Safety
/// That of the functions that call it.
unsafe fn update_bias<T: Element>(layer: *mut Layer, bias: *const T, bias_len: usize) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        let (layer, bias) = unsafe { (exclusive("layer", layer)?, slice("bias", bias, bias_len)?) };
        T::typed_mut(layer)?.operation.update_bias(bias)
    })
}

/// Replaces the bias of a layer of `f32`, which may have had none. It needs the layer alone.
///
/// # Safety
/// Each pointer is null or points to what its name says; nobody else uses the layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_update_bias_f32(
    layer: *mut Layer,
    bias: *const f32,
    bias_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { update_bias(layer, bias, bias_len) }
}

/// Replaces the bias of a layer of `f64`, which may have had none. It needs the layer alone.
///
/// # Safety
/// Each pointer is null or points to what its name says; nobody else uses the layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_update_bias_f64(
    layer: *mut Layer,
    bias: *const f64,
    bias_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { update_bias(layer, bias, bias_len) }
}

/// Gives a layer back. Null is none.
///
/// # Safety
/// `layer` is null or what a `convgemm_layer_create` gave, which nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_destroy(layer: *mut Layer) {
    if !layer.is_null() {
        // SAFETY: it was made by `Box::into_raw`, as the caller vouches.
        let layer = unsafe { Box::from_raw(layer) };
        report(|| {
            drop(layer);
            Ok(())
        });
    }
}

/// The number of spatial axes of a layer; 0 where `layer` is null.
///
/// # Safety
/// `layer` is null or a layer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_rank(layer: *const Layer) -> usize {
    // SAFETY: as the caller vouches.
    unsafe { shared("layer", layer) }.map_or(0, Layer::rank)
}

/// The extents of the output for images of the extents `extent`. Both have as many elements as the layer has spatial axes.
///
/// # Safety
/// Each pointer is null or points to what its name says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_output_extent(
    layer: *const Layer,
    extent: *const usize,
    output_extent: *mut usize,
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let layer = shared("layer", layer)?;
            let extent = slice("extent", extent, layer.rank())?;
            layer.output_extent(extent, slice_mut("output_extent", output_extent, layer.rank())?)
        }
    })
}

/// What would run for `batch` images of the extents `extent`, and why, as text in `text`, a zero behind it: as much of it as fits in
/// `capacity` bytes, between characters. `length`, where it is not null, is how long the text is, without the zero, whether it fits or
/// not. `text` may be null where `capacity` is 0. Transposed convolutions have no plan.
///
/// # Safety
/// Each pointer is null or points to what its name says, `extent` to as many elements as the layer has spatial axes, `text` to
/// `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_plan(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    text: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let layer = shared("layer", layer)?;
            let text = room("text", text.cast::<u8>(), capacity)?;
            let plan = layer.plan(images(layer, batch, extent)?)?.to_string();
            if !length.is_null() {
                put("length", length, || Ok(plan.len()))?;
            }
            if let Some(most) = capacity.checked_sub(1) {
                let fits = (0..=most.min(plan.len())).rev().find(|&len| plan.is_char_boundary(len));
                let bytes = plan[..fits.unwrap_or(0)].bytes().chain([0]);
                text.iter_mut().zip(bytes).for_each(|(to, byte)| _ = to.write(byte));
            }
            Ok(())
        }
    })
}

/// The bytes of scratch that each of the threads takes to compute `batch` images of the extents `extent`; a context keeps them. Transposed
/// convolutions do not tell.
///
/// # Safety
/// Each pointer is null or points to what its name says, `extent` to as many elements as the layer has spatial axes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_layer_scratch_bytes(
    layer: *const Layer,
    batch: usize,
    extent: *const usize,
    bytes: *mut usize,
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let layer = shared("layer", layer)?;
            let images = images(layer, batch, extent)?;
            put("bytes", bytes, || Ok(layer.plan(images)?.scratch_bytes()))
        }
    })
}

/// # Safety
/// That of the functions that call it.
unsafe fn forward<T: Element>(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    (x, x_len): (*const T, usize),
    (residual, residual_len): (*const T, usize),
    (y, y_len): (*mut T, usize),
) -> i32 {
    report(|| {
        // SAFETY: as the caller vouches.
        unsafe {
            let (layer, context) = (shared("layer", layer)?, exclusive("context", context)?);
            let images = images(layer, batch, extent)?;
            let (x, y) = (slice("x", x, x_len)?, room("y", y, y_len)?);
            let residual = optional("residual", residual, residual_len)?;
            let layer = T::of(layer)?;
            context
                .run(|parallelism, workspace| layer.forward(images, x, residual, parallelism, y, workspace))
        }
    })
}

/// The layer's output for `batch` images of the extents `extent`. `residual`, shaped like `y`, is added before the activation; none
/// where it is null and `residual_len` 0, and none for a transposed convolution. `y` need not be initialised.
///
/// # Safety
/// Each pointer is null or points to what its name says, slices to as many elements as are said behind it, `extent` to as many
/// as the layer has spatial axes; `y` overlaps nothing else, and nobody else uses it or the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_forward_f32(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    x: *const f32,
    x_len: usize,
    residual: *const f32,
    residual_len: usize,
    y: *mut f32,
    y_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { forward(layer, context, batch, extent, (x, x_len), (residual, residual_len), (y, y_len)) }
}

/// The layer's output for `batch` images of the extents `extent`. `residual`, shaped like `y`, is added before the activation; none
/// where it is null and `residual_len` 0, and none for a transposed convolution. `y` need not be initialised.
///
/// # Safety
/// Each pointer is null or points to what its name says, slices to as many elements as are said behind it, `extent` to as many
/// as the layer has spatial axes; `y` overlaps nothing else, and nobody else uses it or the context.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn convgemm_forward_f64(
    layer: *const Layer,
    context: *mut Context,
    batch: usize,
    extent: *const usize,
    x: *const f64,
    x_len: usize,
    residual: *const f64,
    residual_len: usize,
    y: *mut f64,
    y_len: usize,
) -> i32 {
    // SAFETY: the caller's obligations are the same.
    unsafe { forward(layer, context, batch, extent, (x, x_len), (residual, residual_len), (y, y_len)) }
}
