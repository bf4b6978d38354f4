//! Models whose convolutions are replaced beside the same models as tract runs them.

use convgemm_tract::replace_convolutions;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::math::{add, max, min, mul, tanh};
use tract_core::ops::nn::gelu_approximate::gelu_approximate;
use tract_core::ops::nn::gelu_exact::gelu_exact;
use tract_core::ops::nn::silu::silu;
use tract_core::ops::nn::{DataFormat, hard_swish, leaky_relu, sigmoid};
use tract_linalg::multithread::{Executor, multithread_tract_scope};

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
        let terms = self.channels[0] / self.groups * self.kernel.iter().product::<usize>() + 1;
        same(&ours, &theirs, 2.0 * terms as f32 * f32::EPSILON)
    }
}

fn same(ours: &[TValue], theirs: &[TValue], error: f32) -> TractResult<()> {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.shape(), theirs.shape());
        let (ours, theirs) = (ours.to_plain_array_view::<f32>()?, theirs.to_plain_array_view::<f32>()?);
        assert!(theirs.iter().any(|&value| value != 0.0));
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= error, "{ours}, not {theirs}");
        }
    }
    Ok(())
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

/// A convolution, `y`, of the source `x`, which has its shape, and what stands behind it.
struct Behind {
    model: TypedModel,
    x: OutletId,
    y: OutletId,
}

const SHAPE: [usize; 4] = [2, 8, 9, 7];

impl Behind {
    fn new() -> TractResult<Self> {
        let padding = PaddingSpec::Explicit(tvec![1, 1], tvec![1, 1]);
        let model = Case { padding, ..Case::new([8, 8], &[3, 3], &[2, 9, 7]) }.model()?;
        let (x, y) = (model.input_outlets()?[0], model.output_outlets()?[0]);
        Ok(Self { model, x, y })
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        let name = format!("behind{}", self.model.nodes().len());
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    /// With a constant on the left.
    fn with(&mut self, op: TypedBinOp, tensor: Tensor, x: OutletId) -> TractResult<OutletId> {
        let name = format!("constant{}", self.model.nodes().len());
        let constant = self.model.add_const(name, tensor)?;
        self.wire(op, &[constant, x])
    }

    fn with_number(&mut self, op: TypedBinOp, number: f32, x: OutletId) -> TractResult<OutletId> {
        self.with(op, tensor0(number).broadcast_into_rank(4)?, x)
    }
}

/// Checks a model with what `wire` puts behind its convolution, and that `left` operators are left once that is replaced, itself among them.
fn check_behind(left: usize, wire: impl Fn(&mut Behind) -> TractResult<TVec<OutletId>>) -> TractResult<()> {
    let model = || {
        let mut behind = Behind::new()?;
        let outputs = wire(&mut behind)?;
        behind.model.select_output_outlets(&outputs)?;
        TractResult::Ok(behind.model)
    };
    let theirs = model()?.into_optimized()?.into_runnable()?;
    let mut ours = model()?;
    assert_eq!(replace_convolutions(&mut ours)?, 1);
    let operators = ours.eval_order()?.into_iter().map(|node| ours.node(node));
    let operators = operators.filter(|node| !matches!(&*node.op.name(), "Source" | "Const"));
    let names: Vec<_> = operators.map(|node| node.op.name()).collect();
    assert_eq!(names.len(), left, "{names:?}");
    let ours = ours.into_optimized()?.into_runnable()?;
    let x = numbers(&SHAPE, 3);
    let theirs = theirs.run(tvec![x.clone().into()])?;
    for executor in [Executor::SingleThread, Executor::multithread(2), Executor::RayonGlobal] {
        let ours = multithread_tract_scope(executor, || ours.run(tvec![x.clone().into()]))?;
        same(&ours, &theirs, 1e-4)?;
    }
    Ok(())
}

#[test]
fn clamps_become_part_of_a_convolution() -> TractResult<()> {
    check_behind(1, |b| Ok(tvec![b.with_number(max(), 0.0, b.y)?]))?;
    check_behind(1, |b| Ok(tvec![b.with_number(min(), 0.25, b.y)?]))?;
    let both = |lo, hi| {
        move |b: &mut Behind| {
            let y = b.with_number(max(), lo, b.y)?;
            Ok(tvec![b.with_number(min(), hi, y)?])
        }
    };
    check_behind(1, both(0.0, 6.0))?;
    check_behind(1, both(-0.5, 0.5))?;
    // Out of order: all is the second bound.
    check_behind(1, both(1.0, -1.0))
}

#[test]
fn activations_become_part_of_a_convolution() -> TractResult<()> {
    let activations =
        [leaky_relu(0.1), sigmoid(), tanh(), silu(), hard_swish(), gelu_exact(), gelu_approximate(false)];
    for op in activations {
        check_behind(1, |b| Ok(tvec![b.wire(op.clone(), &[b.y])?]))?;
    }
    // It is another function; and only one can be a part.
    check_behind(2, |b| Ok(tvec![b.wire(gelu_approximate(true), &[b.y])?]))?;
    check_behind(2, |b| {
        let y = b.wire(sigmoid(), &[b.y])?;
        Ok(tvec![b.with_number(max(), 0.5, y)?])
    })
}

#[test]
fn a_residual_becomes_part_of_a_convolution() -> TractResult<()> {
    check_behind(1, |b| Ok(tvec![b.wire(add(), &[b.y, b.x])?]))?;
    check_behind(1, |b| {
        let y = b.wire(add(), &[b.x, b.y])?;
        Ok(tvec![b.with_number(max(), 0.0, y)?])
    })?;
    check_behind(1, |b| Ok(tvec![b.with(add(), numbers(&SHAPE, 4), b.y)?]))?;
    // A second one, and one behind the activation.
    check_behind(2, |b| {
        let y = b.wire(add(), &[b.x, b.y])?;
        Ok(tvec![b.wire(add(), &[y, b.x])?])
    })?;
    check_behind(2, |b| {
        let y = b.with_number(max(), 0.0, b.y)?;
        Ok(tvec![b.wire(add(), &[y, b.x])?])
    })
}

#[test]
fn what_others_use_stays() -> TractResult<()> {
    // What the activation is applied to is an output, or is used twice.
    check_behind(2, |b| Ok(tvec![b.y, b.with_number(max(), 0.0, b.y)?]))?;
    check_behind(2, |b| Ok(tvec![b.wire(add(), &[b.y, b.y])?]))?;
    check_behind(3, |b| {
        let rectified = b.with_number(max(), 0.0, b.y)?;
        Ok(tvec![b.wire(mul(), &[rectified, b.y])?])
    })?;
    // One number for each channel, one for each image.
    check_behind(2, |b| Ok(tvec![b.with(max(), numbers(&[1, 8, 1, 1], 5), b.y)?]))?;
    check_behind(2, |b| Ok(tvec![b.with(add(), numbers(&[2, 1, 1, 1], 5), b.y)?]))
}
