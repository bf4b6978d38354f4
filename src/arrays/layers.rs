//! Layers from arrays and on arrays.

use ndarray::{Array, ArrayView, ArrayView1, Dimension};

use super::tensor::{array, batch_and_extent, elements, input_extents, output_extents, weight_extents};
use crate::conv::{Conv, ConvBuilder, ForwardOptions};
use crate::element::Element;
use crate::error::{Argument, Result, check_len};
use crate::gemm::tiles::collect;
use crate::parallel::Parallelism;
use crate::transpose::{ConvTranspose, ConvTransposeBuilder};
use crate::workspace::Workspace;

impl<T: Element, const D: usize> ConvBuilder<T, D> {
    /// [`ConvBuilder::build`] from views of any strides: `weight` `[C_out, C_in / groups, kernel…]`, `bias`, if there is one,
    /// `[C_out]`.
    ///
    /// ```
    /// use convgemm::{Conv2d, Workspace};
    /// use ndarray::{Array4, array};
    /// let kernel = array![[[[1.0, -1.0]]]];
    /// let edges = Conv2d::builder(1, 1, [1, 2]).build_array(kernel.view(), None)?;
    /// let picture = Array4::from_shape_fn((1, 1, 2, 4), |(.., column)| (column * column) as f32);
    /// assert_eq!(edges.forward_array(picture.view())?, array![[[[-1.0, -3.0, -5.0], [-1.0, -3.0, -5.0]]]]);
    /// // From the right to the left, and upside down.
    /// let reversed = picture.slice(ndarray::s![.., .., ..;-1, ..;-1]);
    /// assert_eq!(edges.forward_array(reversed)?, array![[[[5.0, 3.0, 1.0], [5.0, 3.0, 1.0]]]]);
    /// # Ok::<(), convgemm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`ConvBuilder::build`], [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape).
    pub fn build_array<I: Dimension>(
        mut self,
        weight: ArrayView<'_, T, I>,
        bias: Option<ArrayView1<'_, T>>,
    ) -> Result<Conv<T, D>> {
        self.params.validate()?;
        let weight = elements(Argument::Weight, weight, weight_extents(&self.params))?;
        if let Some(bias) = bias {
            check_len(Argument::Bias, bias.len(), self.params.out_channels)?;
            self = self.bias(&bias.to_vec());
        }
        self.build(&weight)
    }
}

impl<T: Element, const D: usize> Conv<T, D> {
    /// [`Conv::forward`] of a view, `[batch, C_in, extent…]`, of any strides: `[batch, C_out, output extent…]`.
    ///
    /// Elements that lie in C order are read where they lie; others are copied once.
    ///
    /// # Errors
    /// A window that does not fit, sizes that overflow, [`WrongRank`](crate::Error::WrongRank),
    /// [`WrongShape`](crate::Error::WrongShape), no memory.
    pub fn forward_array<I: Dimension>(&self, x: ArrayView<'_, T, I>) -> Result<Array<T, I>> {
        self.forward_array_with(x, None, Parallelism::default(), &mut Workspace::new())
    }

    /// [`Conv::forward_array`] with a residual, `[batch, C_out, output extent…]`, of any strides, that is added before the
    /// activation. Allocates nothing but the result once `workspace` has seen these extents, if the views lie in C order.
    ///
    /// # Errors
    /// Those of [`Conv::forward_array`].
    pub fn forward_array_with<I: Dimension>(
        &self,
        x: ArrayView<'_, T, I>,
        residual: Option<ArrayView<'_, T, I>>,
        parallelism: Parallelism,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let (batch, extent) = batch_and_extent(Argument::Input, &x)?;
        let geometry = self.geometry(batch, extent)?;
        let x = elements(Argument::Input, x, input_extents(&geometry))?;
        let shape = output_extents(&geometry);
        let residual = residual.map(|view| elements(Argument::Residual, view, shape)).transpose()?;
        let options = ForwardOptions { residual: residual.as_deref(), parallelism };
        let y = collect(geometry.output_len(), |y| self.run(&x, batch, extent, &options, y, workspace))?;
        array(Argument::Output, shape, y)
    }

    /// [`Conv::update_weight`] from a view, `[C_out, C_in / groups, kernel…]`, of any strides.
    ///
    /// # Errors
    /// [`WrongRank`](crate::Error::WrongRank), [`WrongShape`](crate::Error::WrongShape), no memory; the old weights stay
    /// then.
    pub fn update_weight_array<I: Dimension>(&mut self, weight: ArrayView<'_, T, I>) -> Result<()> {
        let weight = elements(Argument::Weight, weight, weight_extents(self.params()))?;
        self.update_weight(&weight)
    }

    /// [`Conv::update_bias`] from a view, `[C_out]`.
    ///
    /// # Errors
    /// Those of [`Conv::update_bias`].
    pub fn update_bias_array(&mut self, bias: ArrayView1<'_, T>) -> Result<()> {
        check_len(Argument::Bias, bias.len(), self.params().out_channels)?;
        self.update_bias(&bias.to_vec())
    }
}

impl<T: Element, const D: usize> ConvTransposeBuilder<T, D> {
    /// [`ConvTransposeBuilder::build`] from views of any strides: `weight` `[C_in, C_out / groups, kernel…]`, `bias`, if there
    /// is one, `[C_out]`.
    ///
    /// # Errors
    /// Those of [`ConvTransposeBuilder::build`], [`WrongRank`](crate::Error::WrongRank) and
    /// [`WrongShape`](crate::Error::WrongShape).
    pub fn build_array<I: Dimension>(
        mut self,
        weight: ArrayView<'_, T, I>,
        bias: Option<ArrayView1<'_, T>>,
    ) -> Result<ConvTranspose<T, D>> {
        self.params.validate()?;
        let weight = elements(Argument::Weight, weight, weight_extents(&self.params.conv))?;
        if let Some(bias) = bias {
            check_len(Argument::Bias, bias.len(), self.params.conv.in_channels)?;
            self = self.bias(&bias.to_vec());
        }
        self.build(&weight)
    }
}

impl<T: Element, const D: usize> ConvTranspose<T, D> {
    /// [`ConvTranspose::forward`] of a view, `[batch, C_in, extent…]`, of any strides: `[batch, C_out, output extent…]`.
    ///
    /// Elements that lie in C order are read where they lie; others are copied once.
    ///
    /// # Errors
    /// Those of [`TransposeParams::convolution`](crate::TransposeParams::convolution),
    /// [`WrongRank`](crate::Error::WrongRank), [`WrongShape`](crate::Error::WrongShape), no memory.
    pub fn forward_array<I: Dimension>(&self, x: ArrayView<'_, T, I>) -> Result<Array<T, I>> {
        self.forward_array_with(x, Parallelism::default(), &mut Workspace::new())
    }

    /// [`ConvTranspose::forward_array`] in the given threads and memory. Allocates nothing but the result once `workspace` has
    /// seen these extents, if `x` lies in C order.
    ///
    /// # Errors
    /// Those of [`ConvTranspose::forward_array`].
    pub fn forward_array_with<I: Dimension>(
        &self,
        x: ArrayView<'_, T, I>,
        parallelism: Parallelism,
        workspace: &mut Workspace,
    ) -> Result<Array<T, I>> {
        let (batch, extent) = batch_and_extent(Argument::Input, &x)?;
        let geometry = self.params().convolution(batch, extent)?;
        let x = elements(Argument::Input, x, output_extents(&geometry))?;
        let y = collect(geometry.input_len(), |y| self.run(&x, batch, extent, parallelism, y, workspace))?;
        array(Argument::Output, input_extents(&geometry), y)
    }

    /// [`ConvTranspose::update_weight`] from a view, `[C_in, C_out / groups, kernel…]`, of any strides.
    ///
    /// # Errors
    /// [`WrongRank`](crate::Error::WrongRank), [`WrongShape`](crate::Error::WrongShape), no memory; the old weights stay
    /// then.
    pub fn update_weight_array<I: Dimension>(&mut self, weight: ArrayView<'_, T, I>) -> Result<()> {
        let weight = elements(Argument::Weight, weight, weight_extents(&self.params().conv))?;
        self.update_weight(&weight)
    }
}
