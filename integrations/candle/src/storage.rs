//! candle's storage as slices.

use std::cell::Cell;

use candle_core::{CpuStorage, Error, Layout, Result, Shape, WithDType};
use convgemm::{Element, Geometry, Params, Workspace};

/// The elements of a tensor that lies in C order.
///
/// # Errors
/// Another element type, other strides.
pub(crate) fn elements<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => candle_core::bail!("a tensor of the strides {:?} is not contiguous", layout.stride()),
    }
}

/// A new tensor of the shape `shape`.
pub(crate) fn tensor<T: WithDType>(elements: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(elements), shape.into())
}

/// The geometry of images of the shape `image`, `[batch, channels, height, width]`.
pub(crate) fn geometry(params: &Params<2>, image: &Shape) -> Result<Geometry<2>> {
    let (batch, channels, height, width) = image.dims4()?;
    if channels != params.in_channels {
        candle_core::bail!("the image has {channels} channels, it has to have {}", params.in_channels);
    }
    params.geometry(batch, [height, width]).map_err(Error::wrap)
}

/// `[batch, C_out, height, width]`.
pub(crate) fn output_shape(geometry: &Geometry<2>) -> Shape {
    let [height, width] = geometry.output_extent();
    Shape::from((geometry.batch(), geometry.params().out_channels, height, width))
}

/// `[C_out, C_in / groups, height, width]`.
pub(crate) fn weight_shape(params: &Params<2>) -> Shape {
    let [height, width] = params.kernel;
    Shape::from((params.out_channels, params.in_channels / params.groups, height, width))
}

/// # Errors
/// Another shape.
pub(crate) fn check_shape(what: &str, actual: &Shape, required: &Shape) -> Result<()> {
    if actual != required {
        candle_core::bail!("the {what} has the shape {actual:?}, it has to have {required:?}");
    }
    Ok(())
}

/// Calls `work` with this thread's workspace.
pub(crate) fn with_workspace<R>(work: impl FnOnce(&mut Workspace) -> R) -> R {
    thread_local! {
        static WORKSPACE: Cell<Workspace> = Cell::default();
    }
    // Taken out meanwhile, for a thread of the pool that waits in a call may begin another one.
    let mut workspace = WORKSPACE.take();
    let result = work(&mut workspace);
    WORKSPACE.set(workspace);
    result
}

/// An element type of both crates.
pub(crate) trait Number: Element + WithDType {}

impl Number for f32 {}
impl Number for f64 {}

/// `$body` with `$t` as the element type of `$storage`.
macro_rules! by_type {
    ($op:expr, $storage:expr, $t:ident => $body:expr) => {
        match $storage {
            candle_core::CpuStorage::F32(_) => {
                type $t = f32;
                $body
            }
            candle_core::CpuStorage::F64(_) => {
                type $t = f64;
                $body
            }
            other => {
                use candle_core::backend::BackendStorage;
                Err(candle_core::Error::UnsupportedDTypeForOp(other.dtype(), $op).bt())
            }
        }
    };
}
pub(crate) use by_type;
