//! A layer with its data, as every library gets it.

use anyhow::{Result, bail, ensure};
use convgemm::{Geometry, Params};

use crate::common::data::random;
use crate::common::layer::Layer;

pub(crate) struct Problem {
    pub(crate) geometry: Geometry<2>,
    pub(crate) x: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) threads: usize,
}

impl Problem {
    /// # Errors
    /// A layer of three axes, or of padding that differs between the sides: not every library has those.
    pub(crate) fn new(layer: &Layer, threads: usize) -> Result<Self> {
        ensure!(layer.padding_end.is_none(), "padding that differs between the sides is not compared");
        let geometry = match layer.rank() {
            1 => one_row(&layer.params::<1>().geometry(layer.n, layer.extent())?)?,
            2 => layer.params::<2>().geometry(layer.n, layer.extent())?,
            rank => bail!("{rank} axes; 1 and 2 are compared"),
        };
        let (x, weight) = (random(geometry.input_len(), 1), random(geometry.weight_len(), 2));
        Ok(Self { geometry, x, weight, threads })
    }

    pub(crate) fn params(&self) -> &Params<2> {
        self.geometry.params()
    }

    /// NCHW.
    pub(crate) fn input_shape(&self) -> [usize; 4] {
        let [h, w] = self.geometry.input_extent();
        [self.geometry.batch(), self.params().in_channels, h, w]
    }

    /// NCHW.
    pub(crate) fn output_shape(&self) -> [usize; 4] {
        let [h, w] = self.geometry.output_extent();
        [self.geometry.batch(), self.params().out_channels, h, w]
    }

    /// OIHW.
    pub(crate) fn weight_shape(&self) -> [usize; 4] {
        let params = self.params();
        let [h, w] = params.kernel;
        [params.out_channels, params.in_channels / params.groups, h, w]
    }

    /// Of each axis, the same on both sides.
    pub(crate) fn padding(&self) -> [usize; 2] {
        self.geometry.pad_begin().map(isize::unsigned_abs)
    }

    /// Elements of one group's im2col matrix: positions, and terms of each sum.
    pub(crate) fn columns(&self) -> (usize, usize) {
        let [_, c_in, h, w] = self.weight_shape();
        (self.geometry.output_extent().iter().product(), c_in * h * w)
    }

    /// Of the whole im2col matrix of one image.
    pub(crate) fn im2col_len(&self) -> usize {
        let (positions, terms) = self.columns();
        self.params().groups * positions * terms
    }
}

/// A layer of one axis as the same of two, of which the first is 1: most libraries have no other.
fn one_row(geometry: &Geometry<1>) -> Result<Geometry<2>> {
    let params = geometry.params();
    let ([kernel], [stride], [dilation]) = (params.kernel, params.stride, params.dilation);
    let padding = geometry.pad_begin()[0].unsigned_abs();
    let two = Params::new(params.in_channels, params.out_channels, [1, kernel])
        .stride([1, stride])
        .dilation([1, dilation])
        .padding([0, padding])
        .groups(params.groups);
    Ok(two.geometry(geometry.batch(), [1, geometry.input_extent()[0]])?)
}
