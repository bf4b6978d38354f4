//! Convolutions whose weights change with every call.

use crate::conv::checked;
use crate::element::Element;
use crate::engine::{Engine, pack};
use crate::epilogue::{Activation, Epilogue};
use crate::error::{Argument, Result, check_len};
use crate::forward::{Call, Weights};
use crate::gemm::tiles::collect;
use crate::geometry::Params;
use crate::isa::Available;
use crate::kernel;
use crate::pack::weights::PackedWeights;
use crate::parallel::Parallelism;
use crate::plan::{Accuracy, Algorithm, Given, Tuning};
use crate::workspace::Workspace;

/// One convolution whose weights change with every call, over one axis; see [`conv2d`].
///
/// # Errors
/// Those of [`conv2d`].
pub fn conv1d<T: Element>(
    params: &Params<1>,
    x: &[T],
    batch: usize,
    extent: [usize; 1],
    weight: &[T],
    bias: Option<&[T]>,
    workspace: &mut Workspace,
) -> Result<Vec<T>> {
    one_call(params, x, batch, extent, weight, bias, workspace)
}

/// One convolution whose weights change with every call: packs `weight` into the workspace and convolves.
///
/// Shapes: `x` `[batch, C_in, extent…]`, `weight` `[C_out, C_in / groups, kernel…]`, `bias` `[C_out]`; the result is
/// `[batch, C_out, output extent…]`.
///
/// ```
/// use convgemm::{Params, Workspace, conv2d};
/// let params = Params::new(1, 1, [2, 2]);
/// let image = [0.0_f32, 1., 2., 3., 4., 5., 6., 7., 8.];
/// let y = conv2d(&params, &image, 1, [3, 3], &[0., 1., 2., 3.], None, &mut Workspace::new())?;
/// assert_eq!(y, [19., 25., 37., 43.]);
/// # Ok::<(), convgemm::Error>(())
/// ```
///
/// # Errors
/// Those of [`Params::geometry`], a slice of the wrong length, an unknown or unavailable `CONVGEMM_ISA`, no memory.
pub fn conv2d<T: Element>(
    params: &Params<2>,
    x: &[T],
    batch: usize,
    extent: [usize; 2],
    weight: &[T],
    bias: Option<&[T]>,
    workspace: &mut Workspace,
) -> Result<Vec<T>> {
    one_call(params, x, batch, extent, weight, bias, workspace)
}

/// One convolution whose weights change with every call, over three axes; see [`conv2d`].
///
/// # Errors
/// Those of [`conv2d`].
pub fn conv3d<T: Element>(
    params: &Params<3>,
    x: &[T],
    batch: usize,
    extent: [usize; 3],
    weight: &[T],
    bias: Option<&[T]>,
    workspace: &mut Workspace,
) -> Result<Vec<T>> {
    one_call(params, x, batch, extent, weight, bias, workspace)
}

fn one_call<T: Element, const D: usize>(
    params: &Params<D>,
    x: &[T],
    batch: usize,
    extent: [usize; D],
    weight: &[T],
    bias: Option<&[T]>,
    workspace: &mut Workspace,
) -> Result<Vec<T>> {
    let geometry = params.geometry(batch, extent)?;
    check_len(Argument::Input, x.len(), geometry.input_len())?;
    check_len(Argument::Weight, weight.len(), geometry.weight_len())?;
    let epilogue = Epilogue::new(bias, Activation::Identity, params.out_channels)?;
    let set = kernel::set(Available::choose(None)?);
    let allowed = (Algorithm::Auto, Accuracy::Exact);
    let plan = (Engine::get().plan)(geometry.shape, set, allowed, Tuning::default(), Given::EachCall)?;
    let mut packed = PackedWeights::reusing(std::mem::take(&mut workspace.weights));
    let y = pack(params, weight, set.lanes, &mut packed).and_then(|()| {
        let call = Call {
            plan: &plan,
            set,
            weights: Weights::Packed(&packed, None),
            x,
            residual: None,
            epilogue: &epilogue,
            parallelism: Parallelism::default(),
        };
        collect(geometry.output_len(), |y| checked(&call, &mut workspace.scratch, y))
    });
    workspace.weights = packed.into_lines();
    y
}
