//! Outputs and gradients beside candle's own convolution.

use candle_core::{DType, Device, Module, Result, Tensor, Var};
use candle_nn::{Optimizer, SGD};
use convgemm::{Activation, Params};
use convgemm_candle::{Layer, conv2d};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Of `shape`, from −1 to 1.
fn random(shape: &[usize], dtype: DType, random: &mut StdRng) -> Result<Tensor> {
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)
}

/// Whether no element differs by more than a few roundings of sums of `terms` terms of a size of 1.
fn assert_close(ours: &Tensor, theirs: &Tensor, terms: usize, what: &str) -> Result<()> {
    assert_eq!((ours.shape(), ours.dtype()), (theirs.shape(), theirs.dtype()), "{what}");
    let epsilon = if ours.dtype() == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let (ours, theirs) = (ours.to_dtype(DType::F64)?, theirs.to_dtype(DType::F64)?);
    let (ours, theirs) = (ours.flatten_all()?.to_vec1::<f64>()?, theirs.flatten_all()?.to_vec1::<f64>()?);
    assert!(theirs.iter().any(|&value| value != 0.0), "{what}: nothing to compare");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert!((ours - theirs).abs() <= 2.0 * epsilon * terms as f64, "{what}: {ours}, not {theirs}");
    }
    Ok(())
}

/// A layer that both can compute.
#[derive(Debug, Clone, Copy)]
struct Case {
    channels: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    padding: usize,
    groups: usize,
    image: [usize; 3],
}

impl Case {
    fn params(&self) -> Params<2> {
        Params::new(self.channels[0], self.channels[1], self.kernel)
            .stride([self.stride; 2])
            .dilation([self.dilation; 2])
            .padding([self.padding; 2])
            .groups(self.groups)
    }

    fn theirs(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let y = x.conv2d(weight, self.padding, self.stride, self.dilation, self.groups)?;
        match bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }
}

fn cases() -> Vec<Case> {
    let base = Case {
        channels: [8, 12],
        kernel: [3, 3],
        stride: 1,
        dilation: 1,
        padding: 1,
        groups: 1,
        image: [2, 9, 11],
    };
    vec![
        base,
        Case { kernel: [1, 1], padding: 0, ..base },
        Case { stride: 2, ..base },
        Case { stride: 2, image: [1, 8, 8], ..base },
        Case { dilation: 2, padding: 2, ..base },
        Case { channels: [3, 16], kernel: [7, 7], stride: 2, padding: 3, image: [1, 32, 32], ..base },
        Case { groups: 4, ..base },
        Case { channels: [8, 16], groups: 8, ..base },
        Case { channels: [32, 32], groups: 32, stride: 2, image: [1, 14, 14], ..base },
        Case { kernel: [2, 5], padding: 2, ..base },
    ]
}

#[test]
fn outputs_and_gradients_are_candles() -> Result<()> {
    let rng = &mut StdRng::seed_from_u64(1);
    for case in cases() {
        for dtype in [DType::F32, DType::F64] {
            for with_bias in [false, true] {
                let what = format!("{case:?} {dtype:?} bias {with_bias}");
                let ([c_in, c_out], [n, h, w]) = (case.channels, case.image);
                let [kh, kw] = case.kernel;
                let x = Var::from_tensor(&random(&[n, c_in, h, w], dtype, rng)?)?;
                let weight = Var::from_tensor(&random(&[c_out, c_in / case.groups, kh, kw], dtype, rng)?)?;
                let bias = Var::from_tensor(&random(&[c_out], dtype, rng)?)?;
                let bias_tensor = with_bias.then_some(bias.as_tensor());

                let terms = c_in / case.groups * kh * kw + 1;
                let ours = conv2d(&x, &weight, bias_tensor, &case.params())?;
                let theirs = case.theirs(&x, &weight, bias_tensor)?;
                assert_close(&ours, &theirs, terms, &what)?;

                let dy = random(ours.dims(), dtype, rng)?;
                let ours = ours.mul(&dy)?.sum_all()?.backward()?;
                let theirs = theirs.mul(&dy)?.sum_all()?.backward()?;
                let positions = dy.elem_count() / c_out;
                let of = |var: &Var, terms, name| {
                    let (ours, theirs) = (ours.get(var).unwrap(), theirs.get(var).unwrap());
                    assert_close(ours, theirs, terms, &format!("{name} {what}"))
                };
                of(&x, c_out / case.groups * kh * kw, "dx")?;
                of(&weight, positions, "dw")?;
                if with_bias {
                    of(&bias, positions, "db")?;
                }
            }
        }
    }
    Ok(())
}

/// Tensors that do not lie in C order, and slices of larger ones.
#[test]
fn views_of_tensors() -> Result<()> {
    let rng = &mut StdRng::seed_from_u64(2);
    let params = Params::new(3, 5, [3, 3]);
    let x = random(&[4, 8, 7, 3], DType::F32, rng)?.permute((0, 3, 1, 2))?.narrow(0, 1, 2)?;
    let weight = random(&[3, 3, 3, 5], DType::F32, rng)?.permute((3, 2, 0, 1))?;
    assert!(!x.is_contiguous() && !weight.is_contiguous());
    let expected = conv2d(&x.contiguous()?, &weight.contiguous()?, None, &params)?;
    assert_close(&expected, &x.contiguous()?.conv2d(&weight.contiguous()?, 0, 1, 1, 1)?, 27, "contiguous")?;
    let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    assert_eq!(flat(&conv2d(&x, &weight, None, &params)?)?, flat(&expected)?);
    let layer = Layer::new(&weight, None, &params, Activation::Identity)?;
    assert_eq!(flat(&layer.forward(&x)?)?, flat(&expected)?);
    let rows = random(&[9, 3, 8, 7], DType::F32, rng)?;
    let some = rows.narrow(0, 2, 3)?;
    assert_eq!(flat(&layer.forward(&some)?)?, flat(&layer.forward(&some.copy()?)?)?);
    Ok(())
}

#[test]
fn layers_for_inference() -> Result<()> {
    let rng = &mut StdRng::seed_from_u64(3);
    let x = random(&[2, 6, 9, 9], DType::F32, rng)?;
    let (weight, bias) = (random(&[10, 6, 3, 3], DType::F32, rng)?, random(&[10], DType::F32, rng)?);
    let residual = random(&[2, 10, 5, 5], DType::F32, rng)?;
    let params = Params::new(6, 10, [3, 3]).stride([2, 2]).padding([1, 1]);
    let layer = Layer::new(&weight, Some(&bias), &params, Activation::Relu6)?;
    let sums = x.conv2d(&weight, 1, 2, 1, 1)?.broadcast_add(&bias.reshape((1, (), 1, 1))?)?;
    assert_close(&layer.forward(&x)?, &sums.clamp(0.0_f32, 6.0_f32)?, 60, "layer")?;
    let added = (&sums + &residual)?.clamp(0.0_f32, 6.0_f32)?;
    assert_close(&layer.forward_add(&x, &residual)?, &added, 60, "residual")?;
    Ok(())
}

#[test]
fn wrong_tensors_are_errors() -> Result<()> {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu);
    let params = Params::new(3, 4, [3, 3]);
    let (x, weight) = (zeros(&[1, 3, 8, 8])?, zeros(&[4, 3, 3, 3])?);
    let says = |result: Result<Tensor>, words: &str| {
        let text = result.unwrap_err().to_string();
        assert!(text.contains(words), "{text:?} does not say {words:?}");
    };
    says(conv2d(&zeros(&[1, 2, 8, 8])?, &weight, None, &params), "2 channels, it has to have 3");
    says(conv2d(&zeros(&[3, 8, 8])?, &weight, None, &params), "rank");
    says(conv2d(&x, &zeros(&[4, 3, 3, 2])?, None, &params), "weight has the shape");
    says(conv2d(&zeros(&[1, 3, 2, 8])?, &weight, None, &params), "window on axis 0");
    says(conv2d(&x, &weight, Some(&zeros(&[3])?), &params), "bias has 3 elements");
    says(conv2d(&x, &weight.to_dtype(DType::F64)?, None, &params), "unexpected dtype");
    let halves = |tensor: &Tensor| tensor.to_dtype(DType::F16);
    says(conv2d(&halves(&x)?, &halves(&weight)?, None, &params), "F16");
    let layer = Layer::new(&weight, None, &params, Activation::Identity)?;
    says(layer.forward_add(&x, &zeros(&[1, 4, 6, 5])?), "residual has the shape");
    assert!(Layer::new(&weight, None, &params.groups(0), Activation::Identity).is_err());
    assert!(Layer::new(&weight, Some(&zeros(&[5])?), &params, Activation::Identity).is_err());
    Ok(())
}

/// `candle_nn`'s optimiser finds the kernel and the bias that an image was filtered with, through two layers.
#[test]
fn training_differentiates_through() -> Result<()> {
    let rng = &mut StdRng::seed_from_u64(4);
    let (one, two) = (Params::new(1, 2, [3, 3]).padding([1, 1]), Params::new(2, 1, [1, 1]));
    let x = random(&[4, 1, 12, 12], DType::F32, rng)?;
    let sobel = Tensor::new(&[[[[1.0_f32, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]]], &Device::Cpu)?;
    let target = (x.conv2d(&sobel, 1, 1, 1, 1)? + 0.5)?;
    let var = |shape: &[usize], rng: &mut StdRng| Var::from_tensor(&(random(shape, DType::F32, rng)? * 0.5)?);
    let (w1, w2, b2) = (var(&[2, 1, 3, 3], rng)?, var(&[1, 2, 1, 1], rng)?, var(&[1], rng)?);
    let mut optimiser = SGD::new(vec![w1.clone(), w2.clone(), b2.clone()], 0.05)?;
    let loss = || -> Result<Tensor> {
        let y = conv2d(&conv2d(&x, &w1, None, &one)?, &w2, Some(b2.as_tensor()), &two)?;
        candle_nn::loss::mse(&y, &target)
    };
    let before = loss()?.to_scalar::<f32>()?;
    for _ in 0..300 {
        optimiser.backward_step(&loss()?)?;
    }
    let after = loss()?.to_scalar::<f32>()?;
    assert!(before > 1.0 && after < 1e-3, "the loss fell from {before} to {after}");
    Ok(())
}
