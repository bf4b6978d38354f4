//! The C interface, called as C does, against the Rust one; what it says to wrong calls.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use convgemm::{
    Accuracy, Activation, ActivationAt, Algorithm, BackwardOptions, Conv, ConvTranspose, ForwardOptions,
    Padding, Params, Workspace, backward_activation, backward_bias, backward_input, backward_weight,
};
use convgemm_c::*;

fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 23) - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn singles(len: usize, seed: u64) -> Vec<f32> {
    numbers(len, seed).into_iter().map(|x| x as f32).collect()
}

fn said() -> String {
    // SAFETY: it is a text of the library's, which stays until the next call that fails.
    unsafe { CStr::from_ptr(convgemm_last_error()) }.to_str().unwrap().to_owned()
}

fn descriptor(rank: usize, in_channels: usize, out_channels: usize) -> Descriptor {
    let mut descriptor = std::mem::MaybeUninit::uninit();
    // SAFETY: there is room for one, and all of it is initialised.
    unsafe {
        let code = convgemm_descriptor_init(descriptor.as_mut_ptr(), rank, in_channels, out_channels);
        assert_eq!(code, CONVGEMM_OK);
        descriptor.assume_init()
    }
}

/// A layer and a context that are given back.
struct Owned {
    layer: *mut Layer,
    context: *mut Context,
}

impl Owned {
    fn single(descriptor: &Descriptor, weight: &[f32], bias: Option<&[f32]>, threads: usize) -> Self {
        let mut owned = Self { layer: null_mut(), context: null_mut() };
        let (bias, bias_len) = bias.map_or((null(), 0), |bias| (bias.as_ptr(), bias.len()));
        // SAFETY: references and slices as they are.
        unsafe {
            let (weight, len) = (weight.as_ptr(), weight.len());
            let code = convgemm_layer_create_f32(descriptor, weight, len, bias, bias_len, &mut owned.layer);
            assert_eq!(code, CONVGEMM_OK, "{}", said());
            assert_eq!(convgemm_context_create(threads, &mut owned.context), CONVGEMM_OK);
        }
        owned
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: both were created and are used no more.
        unsafe {
            convgemm_layer_destroy(self.layer);
            convgemm_context_destroy(self.context);
        }
    }
}

#[test]
fn a_layer_and_its_gradients_f32() {
    let (weight, bias) = (singles(12 * 3 * 3 * 2, 1), singles(12, 2));
    let mut described = descriptor(2, 6, 12);
    described.groups = 2;
    described.kernel = [3, 2, 99];
    described.stride = [2, 1, 99];
    described.dilation = [1, 2, 99];
    (described.pad_begin, described.pad_end) = ([1, 2, 99], [0, -1, 99]);
    (described.activation, described.activation_a) = (CONVGEMM_LEAKY_RELU, 0.25);
    let params = Params::new(6, 12, [3, 2]).stride([2, 1]).dilation([1, 2]).groups(2);
    let params = params.padding(Padding::Explicit { begin: [1, 2], end: [0, -1] });
    let conv = Conv::<f32, 2>::with_params(params).bias(&bias);
    let conv = conv.activation(Activation::LeakyRelu { slope: 0.25 }).build(&weight).unwrap();
    let geometry = conv.geometry(3, [7, 9]).unwrap();
    let (x, residual) = (singles(geometry.input_len(), 3), singles(geometry.output_len(), 4));
    let (mut workspace, options) = (Workspace::new(), BackwardOptions::new());
    let mut expected = vec![0.0; residual.len()];
    let with = ForwardOptions::new().residual(&residual);
    conv.forward_with(&x, 3, [7, 9], &with, &mut expected, &mut workspace).unwrap();

    let dy = residual.clone();
    let (mut dx, mut dw, mut db) = (vec![0.5; x.len()], vec![0.5; weight.len()], vec![0.5; 12]);
    let options = options.accumulate(true);
    backward_input(&geometry, &dy, &weight, &options, &mut dx, &mut workspace).unwrap();
    backward_weight(&geometry, &x, &dy, &options, &mut dw, &mut workspace).unwrap();
    backward_bias(&geometry, &dy, &options, &mut db).unwrap();

    let extent = [7, 9];
    for threads in [0, 1, 3] {
        let owned = Owned::single(&described, &weight, Some(&bias), threads);
        let Owned { layer, context } = owned;
        let (mut out, mut y) = ([0; 2], vec![f32::NAN; residual.len()]);
        let mut gradients = [vec![0.5; x.len()], vec![0.5; weight.len()], vec![0.5; 12]];
        let [got_dx, got_dw, got_db] = &mut gradients;
        // SAFETY: slices as they are.
        unsafe {
            let pointer = extent.as_ptr();
            assert_eq!(convgemm_layer_rank(layer), 2);
            assert_eq!(convgemm_layer_output_extent(layer, pointer, out.as_mut_ptr()), CONVGEMM_OK);
            let (x, x_len, r, y_len) = (x.as_ptr(), x.len(), residual.as_ptr(), y.len());
            let code =
                convgemm_forward_f32(layer, context, 3, pointer, x, x_len, r, y_len, y.as_mut_ptr(), y_len);
            assert_eq!(code, CONVGEMM_OK, "{}", said());
            let (dy, w, w_len) = (dy.as_ptr(), weight.as_ptr(), weight.len());
            let dx = got_dx.as_mut_ptr();
            let code =
                convgemm_backward_input_f32(layer, context, 3, pointer, dy, y_len, w, w_len, true, dx, x_len);
            assert_eq!(code, CONVGEMM_OK, "{}", said());
            let dw = got_dw.as_mut_ptr();
            let code = convgemm_backward_weight_f32(
                layer, context, 3, pointer, x, x_len, dy, y_len, true, dw, w_len,
            );
            assert_eq!(code, CONVGEMM_OK, "{}", said());
            let code =
                convgemm_backward_bias_f32(layer, 3, pointer, dy, y_len, true, got_db.as_mut_ptr(), 12);
            assert_eq!(code, CONVGEMM_OK, "{}", said());
        }
        assert_eq!((out, &y), (geometry.output_extent(), &expected), "{threads} threads");
        assert_eq!(gradients, [dx.clone(), dw.clone(), db.clone()], "{threads} threads");
        // No residual, other weights.
        let zeros = vec![0.0; weight.len()];
        // SAFETY: slices as they are.
        unsafe {
            assert_eq!(convgemm_layer_update_weight_f32(layer, zeros.as_ptr(), zeros.len()), CONVGEMM_OK);
            let (x, x_len, y_len) = (x.as_ptr(), x.len(), y.len());
            let code = convgemm_forward_f32(
                layer,
                context,
                3,
                extent.as_ptr(),
                x,
                x_len,
                null(),
                0,
                y.as_mut_ptr(),
                y_len,
            );
            assert_eq!(code, CONVGEMM_OK, "{}", said());
        }
        let plane = y.len() / 36;
        let leaky = |bias: f32| if bias < 0.0 { 0.25 * bias } else { bias };
        assert!(y.iter().enumerate().all(|(i, &y)| y == leaky(bias[i / plane % 12])));
    }
}

#[test]
fn a_transposed_layer_and_its_gradients_f64() {
    let weight = numbers(4 * 3 * 3, 1);
    let mut described = descriptor(1, 4, 6);
    (described.groups, described.transposed) = (2, true);
    (described.kernel[0], described.stride[0]) = (3, 2);
    (described.pad_begin[0], described.pad_end[0], described.output_padding[0]) = (1, 1, 1);
    let layer = ConvTranspose::<f64, 1>::builder(4, 6, [3]).stride([2]).padding([1]).output_padding([1]);
    let rust = layer.groups(2).build(&weight).unwrap();
    let x = numbers(2 * 4 * 5, 2);
    let expected = rust.forward(&x, 2, [5]).unwrap();
    let (dy, mut workspace, options) = (numbers(expected.len(), 3), Workspace::new(), BackwardOptions::new());
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; 6]);
    let params = rust.params();
    params.backward_input(2, [5], &dy, &weight, &options, &mut dx, &mut workspace).unwrap();
    params.backward_weight(2, [5], &x, &dy, &options, &mut dw, &mut workspace).unwrap();
    params.backward_bias(2, [5], &dy, &options, &mut db).unwrap();

    let (mut layer, mut context) = (null_mut(), null_mut());
    let (extent, mut out, mut y) = ([5], [0], vec![f64::NAN; expected.len()]);
    let mut got = [vec![9.0; x.len()], vec![9.0; weight.len()], vec![9.0; 6]];
    let [got_dx, got_dw, got_db] = &mut got;
    // SAFETY: slices as they are.
    unsafe {
        let (w, w_len) = (weight.as_ptr(), weight.len());
        let code = convgemm_layer_create_f64(&described, w, w_len, null(), 0, &mut layer);
        assert_eq!(code, CONVGEMM_OK, "{}", said());
        assert_eq!(convgemm_context_create(1, &mut context), CONVGEMM_OK);
        let (e, x, x_len, dy, y_len) = (extent.as_ptr(), x.as_ptr(), x.len(), dy.as_ptr(), dy.len());
        assert_eq!(convgemm_layer_output_extent(layer, e, out.as_mut_ptr()), CONVGEMM_OK);
        assert_eq!(
            convgemm_forward_f64(layer, context, 2, e, x, x_len, null(), 0, y.as_mut_ptr(), y_len),
            CONVGEMM_OK
        );
        let (dx, dw, db) = (got_dx.as_mut_ptr(), got_dw.as_mut_ptr(), got_db.as_mut_ptr());
        let codes = [
            convgemm_backward_input_f64(layer, context, 2, e, dy, y_len, w, w_len, false, dx, x_len),
            convgemm_backward_weight_f64(layer, context, 2, e, x, x_len, dy, y_len, false, dw, w_len),
            convgemm_backward_bias_f64(layer, 2, e, dy, y_len, false, db, 6),
            convgemm_layer_update_weight_f64(layer, w, w_len),
        ];
        assert_eq!(codes, [CONVGEMM_OK; 4], "{}", said());
        let code = convgemm_forward_f64(layer, context, 2, e, x, x_len, dy, y_len, y.as_mut_ptr(), y_len);
        assert_eq!(code, CONVGEMM_BAD_ARGUMENT);
        assert!(said().contains("residual"), "{}", said());
        convgemm_layer_destroy(layer);
        convgemm_context_destroy(context);
    }
    assert_eq!((out, y), ([10], expected));
    assert_eq!(got, [dx, dw, db]);
}

#[test]
fn layers_of_every_rank_padding_and_activation() {
    let activations = [
        Activation::Identity,
        Activation::Relu,
        Activation::Relu6,
        Activation::Clamp { lo: -0.25, hi: 0.5 },
        Activation::LeakyRelu { slope: -0.25 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Gelu,
        Activation::GeluTanh,
    ];
    fn expected<const D: usize>(
        padding: u32,
        activation: &Activation<f32>,
        x: &[f32],
        w: &[f32],
    ) -> Vec<f32> {
        let padding = match padding {
            CONVGEMM_PADDING_SAME_UPPER => Padding::SameUpper,
            CONVGEMM_PADDING_SAME_LOWER => Padding::SameLower,
            _ => Padding::Valid,
        };
        let conv = Conv::<f32, D>::builder(1, 3, [2; D]).padding(padding).activation(activation.clone());
        conv.build(w).unwrap().forward(x, 1, [4; D]).unwrap()
    }
    for rank in 1..=3 {
        let (x, weight) = (singles(4_usize.pow(rank), 5), singles(3 << rank, 6));
        for padding in 0..=CONVGEMM_PADDING_SAME_LOWER {
            for (code, activation) in activations.iter().enumerate() {
                let mut described = descriptor(rank as usize, 1, 3);
                described.kernel = [2; 3];
                (described.padding, described.activation) = (padding, code as u32);
                (described.activation_a, described.activation_b) = (-0.25, 0.5);
                let owned = Owned::single(&described, &weight, None, 1);
                let expected = match rank {
                    1 => expected::<1>(padding, activation, &x, &weight),
                    2 => expected::<2>(padding, activation, &x, &weight),
                    _ => expected::<3>(padding, activation, &x, &weight),
                };
                let mut y = vec![f32::NAN; expected.len()];
                let (pointer, y_len, extent) = (y.as_mut_ptr(), y.len(), [4; 3]);
                // SAFETY: slices as they are.
                let code = unsafe {
                    let Owned { layer, context } = owned;
                    let extent = extent.as_ptr();
                    let (x, x_len) = (x.as_ptr(), x.len());
                    convgemm_forward_f32(layer, context, 1, extent, x, x_len, null(), 0, pointer, y_len)
                };
                assert_eq!(code, CONVGEMM_OK, "{}", said());
                assert_eq!(y, expected, "{rank} {padding} {activation:?}");
            }
        }
    }
}

/// PReLU, a bias that is replaced, the gradient of the activation at either side of it.
#[test]
fn slopes_bias_and_gradient_of_the_activation() {
    let (weight, bias, slopes) = (singles(3 * 2 * 2, 1), singles(3, 2), [0.25, 0.5, 2.0]);
    let activation = Activation::Prelu { slopes: slopes.map(|slope| slope as f32).to_vec() };
    let conv = Conv::<f32, 1>::builder(2, 3, [2]).bias(&bias);
    let conv = conv.activation(activation.clone()).build(&weight).unwrap();
    let geometry = conv.geometry(2, [8]).unwrap();
    let x = singles(geometry.input_len(), 3);
    let expected = conv.forward(&x, 2, [8]).unwrap();
    let dy = singles(expected.len(), 4);
    let mut expected_dz = vec![0.0; dy.len()];
    let at = ActivationAt::Output(&expected);
    backward_activation(&geometry, &activation, at, &dy, &mut expected_dz).unwrap();

    let mut described = descriptor(1, 2, 3);
    (described.kernel[0], described.activation) = (2, CONVGEMM_PRELU);
    (described.activation_slopes, described.activation_slopes_len) = (slopes.as_ptr(), 3);
    let owned = Owned::single(&described, &weight, None, 1);
    let Owned { layer, context } = owned;
    let (mut y, mut dz) = (vec![f32::NAN; expected.len()], vec![f32::NAN; expected.len()]);
    let extent = [8];
    // SAFETY: slices as they are.
    unsafe {
        assert_eq!(convgemm_layer_update_bias_f32(layer, bias.as_ptr(), 3), CONVGEMM_OK, "{}", said());
        let (e, x_len, y_len) = (extent.as_ptr(), x.len(), y.len());
        let code =
            convgemm_forward_f32(layer, context, 2, e, x.as_ptr(), x_len, null(), 0, y.as_mut_ptr(), y_len);
        assert_eq!(code, CONVGEMM_OK, "{}", said());
        assert_eq!(y, expected);
        // The sign tells the derivative, and slopes that are positive keep it.
        for at in [CONVGEMM_AT_OUTPUT, CONVGEMM_AT_PRE_ACTIVATION] {
            dz.fill(f32::NAN);
            let (y, dy, dz) = (y.as_ptr(), dy.as_ptr(), dz.as_mut_ptr());
            let code = convgemm_backward_activation_f32(layer, 2, e, at, y, y_len, dy, y_len, dz, y_len);
            assert_eq!(code, CONVGEMM_OK, "{}", said());
        }
    }
    assert_eq!(dz, expected_dz);
}

#[test]
fn a_transposed_layer_has_a_bias_and_an_activation_with_a_gradient() {
    let mut described = descriptor(1, 1, 2);
    (described.transposed, described.activation) = (true, CONVGEMM_SILU);
    (described.kernel[0], described.stride[0]) = (2, 2);
    let (weight, bias, x, extent) = ([1.0, -1.0, 0.5, 2.0], [0.25, -0.5], [1.0, -3.0, 2.0], [3]);
    let rust = ConvTranspose::<f64, 1>::builder(1, 2, [2]).stride([2]).bias(&bias);
    let expected = rust.activation(Activation::Silu).build(&weight).unwrap().forward(&x, 1, [3]).unwrap();
    let (z, dy) = (numbers(expected.len(), 1), numbers(expected.len(), 2));
    let (mut y, mut dz) = (vec![f64::NAN; z.len()], vec![f64::NAN; z.len()]);
    let (mut layer, mut context, mut length) = (null_mut(), null_mut(), 7);
    // SAFETY: slices as they are; what is created is given back.
    unsafe {
        let code = convgemm_layer_create_f64(&described, weight.as_ptr(), 4, null(), 0, &mut layer);
        assert_eq!(code, CONVGEMM_OK, "{}", said());
        assert_eq!(convgemm_context_create(1, &mut context), CONVGEMM_OK);
        assert_eq!(convgemm_layer_update_bias_f64(layer, bias.as_ptr(), 2), CONVGEMM_OK);
        let (e, len, x) = (extent.as_ptr(), z.len(), x.as_ptr());
        let code = convgemm_forward_f64(layer, context, 1, e, x, 3, null(), 0, y.as_mut_ptr(), len);
        assert_eq!(code, CONVGEMM_OK, "{}", said());
        let (z, dy, to) = (z.as_ptr(), dy.as_ptr(), dz.as_mut_ptr());
        let at = CONVGEMM_AT_PRE_ACTIVATION;
        let code = convgemm_backward_activation_f64(layer, 1, e, at, z, len, dy, len, to, len);
        assert_eq!(code, CONVGEMM_OK, "{}", said());
        let at = CONVGEMM_AT_OUTPUT;
        let code = convgemm_backward_activation_f64(layer, 1, e, at, z, len, dy, len, to, len);
        assert_eq!(code, CONVGEMM_BAD_ARGUMENT, "the output of SiLU does not tell it");
        let code = convgemm_layer_plan(layer, 1, e, null_mut(), 0, &mut length);
        assert_eq!((code, length), (CONVGEMM_BAD_ARGUMENT, 7));
        convgemm_layer_destroy(layer);
        convgemm_context_destroy(context);
    }
    assert_eq!(y, expected);
    for ((dz, dy), z) in dz.iter().zip(&dy).zip(&z) {
        assert_eq!(*dz, dy * Activation::Silu.derivative(*z, 0));
    }
}

#[test]
fn algorithms_and_their_plans() {
    let (weight, extent) = (singles(8 * 3 * 9, 1), [9_usize, 9]);
    let exact = [Algorithm::Auto, Algorithm::Gemm, Algorithm::Direct, Algorithm::Im2col];
    let algorithms = exact.into_iter().chain([2, 4, 6].map(|tile| Algorithm::Winograd { tile }));
    for (code, algorithm) in algorithms.enumerate() {
        let conv = Conv::<f32, 2>::builder(3, 8, [3, 3]).algorithm(algorithm).build(&weight).unwrap();
        let plan = conv.plan(2, extent).unwrap();
        let expected = plan.to_string();
        let mut described = descriptor(2, 3, 8);
        (described.kernel, described.algorithm) = ([3; 3], code as u32);
        let owned = Owned::single(&described, &weight, None, 1);
        let (mut bytes, mut length, e) = (0, 0, extent.as_ptr());
        // SAFETY: slices as they are.
        unsafe {
            assert_eq!(convgemm_layer_scratch_bytes(owned.layer, 2, e, &mut bytes), CONVGEMM_OK);
            let code = convgemm_layer_plan(owned.layer, 2, e, null_mut(), 0, &mut length);
            assert_eq!((code, length), (CONVGEMM_OK, expected.len()));
        }
        assert_eq!(bytes, plan.scratch_bytes());
        for capacity in [1, 2, 40, 41, 42, 43, length, length + 1, length + 9] {
            let mut text = vec![0x7f_u8; capacity + 1];
            // SAFETY: there is room for `capacity` bytes; no length is asked for.
            let code = unsafe {
                convgemm_layer_plan(owned.layer, 2, e, text.as_mut_ptr().cast(), capacity, null_mut())
            };
            assert_eq!(code, CONVGEMM_OK, "{}", said());
            assert_eq!(text[capacity], 0x7f, "nothing is written behind");
            let text = CStr::from_bytes_until_nul(&text).unwrap().to_str().unwrap();
            assert!(expected.starts_with(text) && text.len() + 4 >= capacity.min(length), "{text}");
            assert!(capacity <= length || text == expected);
        }
    }
}

#[test]
fn fast_is_asked_for_by_name() {
    let (weight, x) = (singles(64 * 64 * 9, 1), singles(64 * 32 * 32, 2));
    let extent = [32_usize, 32];
    let builder = Conv::<f32, 2>::builder(64, 64, [3, 3]).padding(Padding::SameUpper);
    let conv = builder.accuracy(Accuracy::Fast).build(&weight).unwrap();
    let expected = conv.forward(&x, 1, extent).unwrap();
    let mut described = descriptor(2, 64, 64);
    (described.kernel, described.padding, described.accuracy) =
        ([3; 3], CONVGEMM_PADDING_SAME_UPPER, CONVGEMM_FAST);
    let (owned, mut y) = (Owned::single(&described, &weight, None, 1), vec![0.0_f32; x.len()]);
    // SAFETY: slices as they are.
    let code = unsafe {
        let (x, y) = ((x.as_ptr(), x.len()), (y.as_mut_ptr(), y.len()));
        convgemm_forward_f32(owned.layer, owned.context, 1, extent.as_ptr(), x.0, x.1, null(), 0, y.0, y.1)
    };
    assert_eq!(code, CONVGEMM_OK, "{}", said());
    assert_eq!(y, expected);
}

#[test]
fn wrong_descriptions() {
    let create = |described: &Descriptor, weight_len| {
        let (weight, mut layer) = ([0.0_f32; 99], null_mut());
        // SAFETY: at most 99 weights; the layer, if any, is used no more.
        unsafe {
            let weight = weight.as_ptr();
            let code = convgemm_layer_create_f32(described, weight, weight_len, null(), 0, &mut layer);
            assert_eq!(code == CONVGEMM_OK, !layer.is_null());
            convgemm_layer_destroy(layer);
            (code, said())
        }
    };
    let good = descriptor(2, 2, 3);
    assert_eq!(create(&good, 6).0, CONVGEMM_OK);
    let (code, text) = create(&good, 5);
    assert_eq!((code, &*text), (CONVGEMM_WRONG_LENGTH, "weight has 5 elements, it has to have 6"));
    let wrong = |change: fn(&mut Descriptor), words: &str| {
        let mut described = good;
        change(&mut described);
        let (code, text) = create(&described, 6);
        assert_eq!(code, CONVGEMM_BAD_ARGUMENT, "{text}");
        assert!(text.contains(words), "{text:?} does not say {words:?}");
    };
    wrong(|d| d.rank = 0, "rank is 0, it has to be 1, 2 or 3");
    wrong(|d| d.rank = 4, "rank is 4");
    wrong(|d| d.groups = 0, "groups is 0");
    wrong(|d| d.groups = 4, "in_channels is 2");
    wrong(|d| d.kernel[1] = 0, "kernel[1] is 0");
    wrong(|d| d.padding = 3, "padding is 3, it has to be from 0 to 2");
    wrong(|d| d.activation = 13, "activation is 13, it has to be from 0 to 12");
    wrong(|d| d.algorithm = 7, "algorithm is 7, it has to be from 0 to 6");
    wrong(|d| d.accuracy = 2, "accuracy is 2, it has to be from 0 to 1");
    wrong(|d| (d.transposed, d.accuracy) = (true, CONVGEMM_FAST), "accuracy has to be");
    wrong(|d| (d.transposed, d.algorithm) = (true, CONVGEMM_ALGORITHM_GEMM), "algorithm has to be");
    wrong(|d| (d.activation, d.activation_a) = (CONVGEMM_CLAMP, f64::NAN), "clamp");
    wrong(|d| d.output_padding[1] = 1, "output_padding[1] is 1, it has to be 0");
    wrong(|d| (d.transposed, d.output_padding[0]) = (true, 1), "output_padding[0] is 1");
    let mut described = good;
    described.activation = CONVGEMM_PRELU;
    let (code, text) = create(&described, 6);
    assert_eq!((code, &*text), (CONVGEMM_WRONG_LENGTH, "slopes has 0 elements, it has to have 3"));
    described.activation_slopes_len = 3;
    let (code, text) = create(&described, 6);
    assert_eq!(code, CONVGEMM_BAD_POINTER);
    assert!(text.contains("activation_slopes is null"), "{text}");
}

#[test]
fn wrong_calls() {
    let owned = Owned::single(&descriptor(1, 1, 1), &[2.0], None, 1);
    let Owned { layer, context } = owned;
    let (x, mut y, extent) = ([3.0_f32; 4], [7.0_f32; 4], [4_usize]);
    let (x, x_ok, e, out) = (x.as_ptr(), 4, extent.as_ptr(), y.as_mut_ptr());
    // SAFETY: what is not null is as long as is said, or is not looked at for it is wrong.
    unsafe {
        let forward = |layer, context, e, x, x_len, y, y_len| {
            let code = convgemm_forward_f32(layer, context, 1, e, x, x_len, null(), 0, y, y_len);
            (code, said())
        };
        let wrong = |(code, text): (i32, String), expected, words: &str| {
            assert_eq!(code, expected, "{text}");
            assert!(text.contains(words), "{text:?} does not say {words:?}");
        };
        wrong(forward(null(), context, e, x, x_ok, out, 4), CONVGEMM_BAD_POINTER, "layer is null");
        wrong(forward(layer, null_mut(), e, x, x_ok, out, 4), CONVGEMM_BAD_POINTER, "context is null");
        wrong(forward(layer, context, null(), x, x_ok, out, 4), CONVGEMM_BAD_POINTER, "extent is null");
        wrong(forward(layer, context, e, null(), x_ok, out, 4), CONVGEMM_BAD_POINTER, "x is null");
        wrong(forward(layer, context, e, x, x_ok, null_mut(), 4), CONVGEMM_BAD_POINTER, "y is null");
        let odd = x.wrapping_byte_add(1);
        wrong(forward(layer, context, e, odd, 3, out, 4), CONVGEMM_BAD_POINTER, "x is not aligned");
        wrong(forward(layer, context, e, x, 3, out, 4), CONVGEMM_WRONG_LENGTH, "input has 3 elements");
        wrong(forward(layer, context, e, null(), 0, out, 4), CONVGEMM_WRONG_LENGTH, "input has 0");
        wrong(forward(layer, context, e, x, 4, out, 3), CONVGEMM_WRONG_LENGTH, "output has 3 elements");
        wrong(forward(layer, context, e, x, usize::MAX, out, 4), CONVGEMM_WRONG_LENGTH, "x is said to have");
        let none = [0_usize];
        wrong(
            forward(layer, context, none.as_ptr(), x, 4, out, 4),
            CONVGEMM_BAD_ARGUMENT,
            "window on axis 0",
        );

        let code = convgemm_forward_f64(layer, context, 1, e, null(), 0, null(), 0, null_mut(), 0);
        wrong((code, said()), CONVGEMM_WRONG_TYPE, "the layer is of f32, it has to be of f64");
        let code = convgemm_layer_update_weight_f64(layer, null(), 0);
        wrong((code, said()), CONVGEMM_WRONG_TYPE, "the layer is of f32");
        let code = convgemm_layer_update_weight_f32(layer, null(), 0);
        wrong((code, said()), CONVGEMM_WRONG_LENGTH, "weight has 0 elements");
        let code = convgemm_layer_output_extent(layer, e, null_mut());
        wrong((code, said()), CONVGEMM_BAD_POINTER, "output_extent is null");
        let code = convgemm_backward_input_f32(layer, context, 1, e, x, 4, x, 1, false, null_mut(), 4);
        wrong((code, said()), CONVGEMM_BAD_POINTER, "dx is null");
        let code = convgemm_backward_weight_f32(layer, context, 1, e, x, 4, x, 4, false, out, 2);
        wrong((code, said()), CONVGEMM_WRONG_LENGTH, "weight gradient has 2 elements, it has to have 1");
        let code = convgemm_backward_bias_f32(layer, 1, e, x, 3, false, out, 1);
        wrong((code, said()), CONVGEMM_WRONG_LENGTH, "output gradient has 3 elements");
        let code = convgemm_layer_update_bias_f32(layer, x, 2);
        wrong((code, said()), CONVGEMM_WRONG_LENGTH, "bias has 2 elements, it has to have 1");
        let code = convgemm_layer_update_bias_f64(layer, null(), 0);
        wrong((code, said()), CONVGEMM_WRONG_TYPE, "the layer is of f32");
        let code = convgemm_backward_activation_f32(layer, 1, e, 2, x, 4, x, 4, out, 4);
        wrong((code, said()), CONVGEMM_BAD_ARGUMENT, "at is 2, it has to be from 0 to 1");
        let code = convgemm_backward_activation_f32(layer, 1, e, CONVGEMM_AT_OUTPUT, x, 3, x, 4, out, 4);
        wrong((code, said()), CONVGEMM_WRONG_LENGTH, "output has 3 elements");
        let code =
            convgemm_backward_activation_f32(layer, 1, e, CONVGEMM_AT_OUTPUT, x, 4, x, 4, null_mut(), 4);
        wrong((code, said()), CONVGEMM_BAD_POINTER, "dz is null");
        let code = convgemm_layer_plan(layer, 1, e, null_mut(), 1, null_mut());
        wrong((code, said()), CONVGEMM_BAD_POINTER, "text is null");
        let code = convgemm_layer_scratch_bytes(layer, 1, e, null_mut());
        wrong((code, said()), CONVGEMM_BAD_POINTER, "bytes is null");
        let code = convgemm_layer_create_f32(null(), x, 1, null(), 0, null_mut());
        wrong((code, said()), CONVGEMM_BAD_POINTER, "layer is null");
        let mut made = null_mut();
        let code = convgemm_layer_create_f32(null(), x, 1, null(), 0, &mut made);
        wrong((code, said()), CONVGEMM_BAD_POINTER, "descriptor is null");
        wrong(
            (convgemm_descriptor_init(null_mut(), 2, 1, 1), said()),
            CONVGEMM_BAD_POINTER,
            "descriptor is null",
        );
        wrong((convgemm_context_create(2, null_mut()), said()), CONVGEMM_BAD_POINTER, "context is null");
        assert_eq!(convgemm_layer_rank(null()), 0);
        convgemm_layer_destroy(null_mut());
        convgemm_context_destroy(null_mut());
        assert_eq!(y, [7.0; 4], "nothing was written");

        // An empty batch has nothing to point to.
        let code = convgemm_forward_f32(layer, context, 0, e, null(), 0, null(), 0, null_mut(), 0);
        assert_eq!(code, CONVGEMM_OK);
    }
}

/// A layer shared by threads, each with a context and a last error of its own.
#[test]
fn threads_share_a_layer() {
    struct Shared(*const Layer);
    // SAFETY: the interface says that a layer may be used by any number of threads.
    unsafe impl Sync for Shared {}
    let owned = Owned::single(&descriptor(1, 1, 1), &[2.0], None, 1);
    let shared = Shared(owned.layer);
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let shared = &shared;
            scope.spawn(move || {
                let mut context = null_mut();
                // SAFETY: slices as they are; the context is this thread's.
                unsafe {
                    assert_eq!(said(), "");
                    assert_eq!(convgemm_context_create(1, &mut context), CONVGEMM_OK);
                    let (x, mut y) = (vec![thread as f32; 50], vec![f32::NAN; 50]);
                    for _ in 0..100 {
                        let (x, y) = (x.as_ptr(), y.as_mut_ptr());
                        let extent = [50_usize].as_ptr();
                        let code =
                            convgemm_forward_f32(shared.0, context, 1, extent, x, 50, null(), 0, y, 50);
                        assert_eq!(code, CONVGEMM_OK);
                        let code =
                            convgemm_forward_f32(shared.0, context, 1, extent, x, thread, null(), 0, y, 50);
                        assert_eq!(code, CONVGEMM_WRONG_LENGTH);
                        assert_eq!(said(), format!("input has {thread} elements, it has to have 50"));
                    }
                    assert_eq!(y, vec![2.0 * thread as f32; 50]);
                    convgemm_context_destroy(context);
                }
            });
        }
    });
}
