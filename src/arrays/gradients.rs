//! Gradients of arrays.

use ndarray::{Array, Array1, ArrayView, Dimension};

use super::tensor::{array, elements, input_extents, output_extents, weight_extents};
use crate::backward::{BackwardOptions, backward_bias, backward_input, backward_weight};
use crate::element::Element;
use crate::error::{Argument, Result};
use crate::gemm::tiles::collect;
use crate::geometry::Geometry;
use crate::transpose::TransposeParams;
use crate::workspace::Workspace;

/// The gradients of a convolution on arrays. With [`BackwardOptions::accumulate`] they are added to zeros.
///
/// ```
/// use convgemm::{BackwardOptions, Params, Workspace};
/// use ndarray::array;
/// let geometry = Params::new(1, 1, [2]).geometry(1, [3])?;
/// let (x, weight, dy) = (array![[[1.0_f32, 2.0, 4.0]]], array![[[1.0, -1.0]]], array![[[10.0, 1.0]]]);
/// let (options, mut workspace) = (BackwardOptions::new(), Workspace::new());
/// let dx = geometry.backward_input_array(dy.view(), weight.view(), &options, &mut workspace)?;
/// let dw = geometry.backward_weight_array(x.view(), dy.view(), &options, &mut workspace)?;
/// let db = geometry.backward_bias_array(dy.view(), &options)?;
/// assert_eq!((dx, dw, db), (array![[[10.0, -9.0, -1.0]]], array![[[12.0, 24.0]]], array![11.0]));
/// # Ok::<(), convgemm::Error>(())
/// ```
impl<const D: usize> Geometry<D> {
    /// [`backward_input`] of views of any strides, `[batch, C_out, output extent…]` and `[C_out, C_in / groups, kernel…]`:
    /// `[batch, C_in, input extent…]`.
    ///
    /// # Errors
    /// Those of [`backward_input`], with [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape) in place of lengths.
    pub fn backward_input_array<T: Element, I: Dimension>(
        &self,
        output_gradient: ArrayView<'_, T, I>,
        weight: ArrayView<'_, T, I>,
        options: &BackwardOptions,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let dy = elements(Argument::OutputGradient, output_gradient, output_extents(self))?;
        let weight = elements(Argument::Weight, weight, weight_extents(self.params()))?;
        let gradient = collect(self.input_len(), |dx| {
            backward_input(self, &dy, &weight, options, dx.zeroed(), workspace)
        })?;
        array(Argument::InputGradient, input_extents(self), gradient)
    }

    /// [`backward_weight`] of views of any strides, `[batch, C_in, input extent…]` and `[batch, C_out, output extent…]`:
    /// `[C_out, C_in / groups, kernel…]`.
    ///
    /// # Errors
    /// Those of [`backward_weight`], with [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape) in place of lengths.
    pub fn backward_weight_array<T: Element, I: Dimension>(
        &self,
        input: ArrayView<'_, T, I>,
        output_gradient: ArrayView<'_, T, I>,
        options: &BackwardOptions,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let x = elements(Argument::Input, input, input_extents(self))?;
        let dy = elements(Argument::OutputGradient, output_gradient, output_extents(self))?;
        let gradient =
            collect(self.weight_len(), |dw| backward_weight(self, &x, &dy, options, dw.zeroed(), workspace))?;
        array(Argument::WeightGradient, weight_extents(self.params()), gradient)
    }

    /// [`backward_bias`] of a view of any strides, `[batch, C_out, output extent…]`: `[C_out]`.
    ///
    /// # Errors
    /// [`WrongRank`](crate::Error::WrongRank), [`WrongShape`](crate::Error::WrongShape), no memory.
    pub fn backward_bias_array<T: Element, I: Dimension>(
        &self,
        output_gradient: ArrayView<'_, T, I>,
        options: &BackwardOptions,
    ) -> Result<Array1<T>> {
        let dy = elements(Argument::OutputGradient, output_gradient, output_extents(self))?;
        let channels = self.params().out_channels;
        let gradient = collect(channels, |db| backward_bias(self, &dy, options, db.zeroed()))?;
        Ok(Array1::from_vec(gradient))
    }
}

/// The gradients of a transposed convolution on arrays. With [`BackwardOptions::accumulate`] they are added to zeros.
impl<const D: usize> TransposeParams<D> {
    /// [`TransposeParams::backward_input`] of views of any strides.
    ///
    /// # Errors
    /// Those of [`TransposeParams::backward_input`], with [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape) in place of lengths.
    pub fn backward_input_array<T: Element, I: Dimension>(
        &self,
        batch: usize,
        extent: [usize; D],
        output_gradient: ArrayView<'_, T, I>,
        weight: ArrayView<'_, T, I>,
        options: &BackwardOptions,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let geometry = self.convolution(batch, extent)?;
        let dy = elements(Argument::OutputGradient, output_gradient, input_extents(&geometry))?;
        let weight = elements(Argument::Weight, weight, weight_extents(&self.conv))?;
        let gradient = collect(geometry.output_len(), |dx| {
            self.backward_input(batch, extent, &dy, &weight, options, dx.zeroed(), workspace)
        })?;
        array(Argument::InputGradient, output_extents(&geometry), gradient)
    }

    /// [`TransposeParams::backward_weight`] of views of any strides.
    ///
    /// # Errors
    /// Those of [`TransposeParams::backward_weight`], with [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape) in place of lengths.
    pub fn backward_weight_array<T: Element, I: Dimension>(
        &self,
        batch: usize,
        extent: [usize; D],
        input: ArrayView<'_, T, I>,
        output_gradient: ArrayView<'_, T, I>,
        options: &BackwardOptions,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let geometry = self.convolution(batch, extent)?;
        let x = elements(Argument::Input, input, output_extents(&geometry))?;
        let dy = elements(Argument::OutputGradient, output_gradient, input_extents(&geometry))?;
        let gradient = collect(geometry.weight_len(), |dw| {
            self.backward_weight(batch, extent, &x, &dy, options, dw.zeroed(), workspace)
        })?;
        array(Argument::WeightGradient, weight_extents(&self.conv), gradient)
    }

    /// [`TransposeParams::backward_bias`] of a view of any strides: `[C_out]`.
    ///
    /// # Errors
    /// Those of [`TransposeParams::backward_bias`], with [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape) in place of lengths.
    pub fn backward_bias_array<T: Element, I: Dimension>(
        &self,
        batch: usize,
        extent: [usize; D],
        output_gradient: ArrayView<'_, T, I>,
        options: &BackwardOptions,
    ) -> Result<Array1<T>> {
        let geometry = self.convolution(batch, extent)?;
        let dy = elements(Argument::OutputGradient, output_gradient, input_extents(&geometry))?;
        let channels = self.conv.in_channels;
        let gradient = collect(channels, |db| self.backward_bias(batch, extent, &dy, options, db.zeroed()))?;
        Ok(Array1::from_vec(gradient))
    }
}
