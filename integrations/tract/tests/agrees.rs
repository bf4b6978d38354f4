//! Models whose convolutions are replaced beside the same models as tract runs them.

use convgemm_tract::replace_convolutions;
use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::nn::DataFormat;

fn numbers(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
    Tensor::from_shape(shape, &values).unwrap()
}

/// A convolution of a source of the extents `image`, `[batch, extent…]`.
struct Case {
    channels: [usize; 2],
    kernel: TVec<usize>,
    padding: PaddingSpec,
    dilations: Option<TVec<usize>>,
    strides: Option<TVec<usize>>,
    groups: usize,
    format: DataFormat,
    scalar_bias: bool,
    image: TVec<usize>,
}

impl Case {
    fn new(channels: [usize; 2], kernel: &[usize], image: &[usize]) -> Self {
        Self {
            channels,
            kernel: kernel.into(),
            padding: PaddingSpec::Valid,
            dilations: None,
            strides: None,
            groups: 1,
            format: DataFormat::NCHW,
            scalar_bias: false,
            image: image.into(),
        }
    }

    fn input_shape(&self) -> TVec<usize> {
        let (batch, extent) = (self.image[0], &self.image[1..]);
        self.format.from_n_c_hw(batch, self.channels[0], extent).unwrap().shape
    }

    fn model(&self) -> TractResult<TypedModel> {
        let [c_in, c_out] = self.channels;
        let mut model = TypedModel::default();
        let x = model.add_source("x", f32::fact(self.input_shape()))?;
        let mut shape = vec![c_out, c_in / self.groups];
        shape.extend(&self.kernel);
        let weight = model.add_const("weight", numbers(&shape, 1))?;
        let bias = if self.scalar_bias { tensor0(0.5_f32) } else { numbers(&[c_out], 2) };
        let bias = model.add_const("bias", bias)?;
        let pool = PoolSpec::new(
            self.format,
            self.kernel.clone(),
            self.padding.clone(),
            self.dilations.clone(),
            self.strides.clone(),
            c_in,
            c_out,
        );
        let conv = Conv::new(pool, KernelFormat::OIHW, self.groups, None);
        let y = model.wire_node("conv", conv, &[x, weight, bias])?;
        model.select_output_outlets(&y)?;
        Ok(model)
    }

    fn check(&self, replaced: usize) -> TractResult<()> {
        let theirs = self.model()?.into_optimized()?.into_runnable()?;
        let mut ours = self.model()?;
        assert_eq!(replace_convolutions(&mut ours)?, replaced);
        let ours = ours.into_optimized()?.into_runnable()?;
        let x = numbers(&self.input_shape(), 3);
        let ours = ours.run(tvec![x.clone().into()])?;
        let theirs = theirs.run(tvec![x.into()])?;
        assert_eq!(ours[0].shape(), theirs[0].shape());
        let (ours, theirs) = (ours[0].to_plain_array_view::<f32>()?, theirs[0].to_plain_array_view::<f32>()?);
        assert!(theirs.iter().any(|&value| value != 0.0));
        let terms = (self.channels[0] / self.groups * self.kernel.iter().product::<usize>() + 1) as f32;
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 2.0 * terms * f32::EPSILON, "{ours}, not {theirs}");
        }
        Ok(())
    }
}

#[test]
fn convolutions_are_replaced() -> TractResult<()> {
    let of = Case::new;
    let explicit = |begin: &[usize], end: &[usize]| PaddingSpec::Explicit(begin.into(), end.into());
    let two = || Some(tvec![2, 2]);
    let cases = [
        of([3, 8], &[3, 3], &[2, 9, 11]),
        Case { padding: explicit(&[1, 0], &[2, 1]), ..of([3, 8], &[3, 3], &[1, 9, 11]) },
        Case { padding: PaddingSpec::SameUpper, strides: two(), ..of([4, 6], &[3, 3], &[1, 8, 8]) },
        Case { padding: PaddingSpec::SameLower, strides: two(), ..of([4, 6], &[3, 2], &[1, 8, 7]) },
        Case { dilations: two(), groups: 2, ..of([4, 6], &[3, 3], &[1, 9, 9]) },
        Case { groups: 16, padding: explicit(&[1, 1], &[1, 1]), ..of([16, 16], &[3, 3], &[1, 9, 9]) },
        Case { scalar_bias: true, ..of([5, 33], &[1, 1], &[1, 6, 6]) },
        of([3, 8], &[5], &[2, 20]),
        of([2, 3], &[2, 3, 2], &[1, 4, 5, 6]),
    ];
    cases.iter().try_for_each(|case| case.check(1))
}

#[test]
fn others_are_left_alone() -> TractResult<()> {
    Case { format: DataFormat::NHWC, ..Case::new([3, 8], &[3, 3], &[1, 9, 11]) }.check(0)
}
