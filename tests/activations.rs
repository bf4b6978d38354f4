//! Activations against their definition, [`Activation::apply`], on every instruction set.

mod common;

use std::f64::consts::LN_2;
use std::fmt::LowerExp;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use approx::{UlpsEq, ulps_eq};
use common::{Data, Problem, Random, Way, activations, announce, reduced, same_bytes, ways};
use convgemm::{Activation, Conv1d, Element, Isa, Params, Workspace};

/// One layer from a channel to as many as there are `weights`, with one tap.
fn pointwise<T: Element>(x: &[T], weight: Vec<T>, bias: Vec<T>, residual: Vec<T>) -> (Problem<1>, Data<T>) {
    let problem = Problem::new(Params::new(1, weight.len(), [1]), 1, [x.len()]);
    (problem, Data { x: x.to_vec(), weight, bias, residual })
}

/// The activation of each `x` in each of `channels` channels: a weight of 1 makes x + 0.0 the value before it.
fn activate<T: Element>(way: Way, activation: &Activation<T>, channels: usize, x: &[T]) -> Vec<T> {
    let (one, zero) = (T::from_f64(1.0), T::ZERO);
    let (problem, data) = pointwise(x, vec![one; channels], vec![zero; channels], vec![]);
    problem.run(&data, way, activation, false, &mut Workspace::new())
}

/// The definition for what [`activate`] computes in the first channel.
fn define<T: Element>(activation: &Activation<T>, x: &[T]) -> Vec<T> {
    x.iter().map(|x| activation.apply(x.plus(T::ZERO), 0)).collect()
}

/// Zeros, infinities, NaN, the least and the greatest numbers, and both sides of wherever a function or its
/// implementation turns: those of `f64`, rounded.
fn specials<T: Element>() -> Vec<T> {
    let least = [f64::from_bits(1), f64::MIN_POSITIVE, 1.4e-45, 1e-40, 1.2e-38, 1e-30, 1e-8, 2.4e-4, 0.01];
    let turns =
        [LN_2 / 2.0, 0.5, LN_2, 1.0, 1.5, 3.0, 5.5, 6.0, 9.0, 9.02, 9.1, 10.1, 13.2, 14.5, 17.33, 18.0];
    let far = [20.0, 30.0, 87.34, 88.0, 88.73, 103.0, 103.98, 104.0, 108.7, 120.0, 709.8, 745.2, 800.0];
    let most = [1e13, 1e30, f64::from(f32::MAX), f64::MAX, f64::INFINITY];
    let positive = [&least[..], &turns, &far, &most].concat();
    let around = positive.iter().flat_map(|&x| [x * (1.0 - 1e-7), x, x * (1.0 + 1e-7)]);
    around.flat_map(|x| [x, -x]).chain([0.0, -0.0, f64::NAN]).map(T::from_f64).collect()
}

/// Every 4099th bit pattern of `f32` (under an emulator every 65537th): primes, so that signs, exponents, lengths of
/// significands and kinds of NaN all occur; and [`specials`].
fn samples() -> Vec<f32> {
    let step = if reduced() { 65_537 } else { 4099 };
    (0..=u32::MAX).step_by(step).map(f32::from_bits).chain(specials()).collect()
}

/// Random bit patterns of `f64`, and [`specials`].
fn samples_f64() -> Vec<f64> {
    let mut random = Random(3);
    let count = if reduced() { 1 << 12 } else { 1 << 16 };
    (0..count).map(|_| f64::from_bits(random.next())).chain(specials()).collect()
}

/// How far a result may be from the definition's at `x` where that is further than 4 ulp.
fn slack<T: Element>(activation: &Activation<T>, isa: Isa, x: T) -> T {
    let x = x.to_f64().abs();
    T::from_f64(match activation {
        // Both are x, or vanish, from 20 on.
        Activation::Gelu | Activation::GeluTanh if T::NAME == "f32" && x < 20.0 => x * 2.0_f64.powi(-22),
        // The multiply-add cancels near −3.
        Activation::HardSigmoid | Activation::HardSwish if !isa.is_fused() => {
            T::EPSILON.to_f64() * x.max(1.0)
        }
        _ => 0.0,
    })
}

/// The same bytes where that is promised, else within 4 ulp or [`slack`].
fn assert_near<T: Number>(activation: &Activation<T>, isa: Isa, x: &[T], y: &[T], expected: &[T]) {
    for ((&x, &y), &expected) in x.iter().zip(y).zip(expected) {
        if !same_bytes(y, expected) {
            let slack = slack(activation, isa, x);
            let promised = activation.is_exact() && slack == T::ZERO;
            let near = !promised && ulps_eq!(y, expected, epsilon = slack, max_ulps = 4);
            assert!(near, "{activation:?} on {isa} at {x:e}: {y:e}, not {expected:e}");
        }
    }
}

trait Number: Element + LowerExp + UlpsEq<Epsilon = Self> {}
impl<T: Element + LowerExp + UlpsEq<Epsilon = T>> Number for T {}

fn check_definition<T: Number>(x: &[T]) {
    for activation in activations::<T>(1) {
        let expected = define(&activation, x);
        for isa in Isa::available() {
            let y = activate(Way::auto(isa), &activation, 1, x);
            assert_near(&activation, isa, x, &y, &expected);
        }
    }
}

#[test]
fn f32_is_near_the_definition() {
    announce("f32_is_near_the_definition");
    check_definition(&samples());
}

#[test]
fn f64_is_the_definition() {
    announce("f64_is_the_definition");
    assert!(activations::<f64>(1).iter().all(Activation::is_exact));
    check_definition(&samples_f64());
}

/// Vectors of positions and of channels, whole and in part.
fn check_every_kernel<T: Element>() {
    const CHANNELS: usize = 37;
    let x = specials::<T>();
    for activation in activations::<T>(CHANNELS) {
        let fused = Isa::available().into_iter().find(|isa| isa.is_fused());
        let best = fused.map(|isa| activate(Way::auto(isa), &activation, CHANNELS, &x));
        for way in ways::<T>() {
            let y = activate(way, &activation, CHANNELS, &x);
            let expected = match &best {
                Some(best) if way.is_exact() => best,
                _ => &activate(Way { tuning: Default::default(), ..way }, &activation, CHANNELS, &x),
            };
            let differs = y.iter().zip(expected).position(|(&y, &expected)| !same_bytes(y, expected));
            assert_eq!(differs, None, "{activation:?} {way:?}");
        }
    }
}

#[test]
fn every_kernel_gives_the_same_bytes() {
    announce("every_kernel_gives_the_same_bytes");
    check_every_kernel::<f32>();
    check_every_kernel::<f64>();
}

#[test]
fn fused_isas_give_the_same_bytes() {
    announce("fused_isas_give_the_same_bytes");
    let isas: Vec<_> = Isa::available().into_iter().filter(|isa| isa.is_fused()).collect();
    let x = samples();
    for activation in activations::<f32>(1) {
        let mut outputs = isas.iter().map(|&isa| activate(Way::auto(isa), &activation, 1, &x));
        let Some(first) = outputs.next() else { return };
        for (y, isa) in outputs.zip(&isas[1..]) {
            let differs = y.iter().zip(&first).position(|(&a, &b)| !same_bytes(a, b));
            assert_eq!(differs.map(|at| x[at]), None, "{activation:?}: {isa} is not {}", isas[0]);
        }
    }
}

fn check_nan<T: Element>() {
    const CHANNELS: usize = 5;
    let usual = [-3.0, -1.0, 0.5, 2.0, 7.0].map(T::from_f64).repeat(9);
    for activation in activations::<T>(CHANNELS) {
        for way in ways::<T>() {
            let without = activate(way, &activation, CHANNELS, &usual);
            let mut x = usual.clone();
            x[17] = T::from_f64(f64::NAN);
            let y = activate(way, &activation, CHANNELS, &x);
            for (at, (&y, &without)) in y.iter().zip(&without).enumerate() {
                let right = if at % x.len() == 17 { y.to_f64().is_nan() } else { same_bytes(y, without) };
                assert!(right, "{activation:?} {way:?} at {at}: {y}");
            }
        }
    }
}

#[test]
fn nan_stays_nan_and_in_its_lane() {
    announce("nan_stays_nan");
    check_nan::<f32>();
    check_nan::<f64>();
}

/// What each activation makes of −∞ and +∞. HardSwish is left out: its definition multiplies −∞ by 0.
#[test]
fn infinities_have_their_limits() {
    announce("infinities");
    let (less, most) = (f32::NEG_INFINITY, f32::INFINITY);
    let limits = [
        (Activation::Identity, [less, most]),
        (Activation::Relu, [0.0, most]),
        (Activation::Relu6, [0.0, 6.0]),
        (Activation::Clamp { lo: -2.0, hi: 3.0 }, [-2.0, 3.0]),
        (Activation::LeakyRelu { slope: 0.1 }, [less, most]),
        (Activation::Prelu { slopes: vec![-0.1] }, [most, most]),
        (Activation::HardSigmoid, [0.0, 1.0]),
        (Activation::Sigmoid, [0.0, 1.0]),
        (Activation::Tanh, [-1.0, 1.0]),
        (Activation::Silu, [0.0, most]),
        (Activation::Gelu, [0.0, most]),
        (Activation::GeluTanh, [0.0, most]),
    ];
    for way in ways::<f32>() {
        for (activation, expected) in &limits {
            assert_eq!(activate(way, activation, 1, &[less, most]), expected, "{activation:?} {way:?}");
        }
    }
}

fn check_prelu<T: Element>() {
    let slopes = (0..37).map(|channel| T::from_f64(f64::from(channel - 9) / 8.0)).collect();
    let (activation, x) = (Activation::Prelu { slopes }, [-8.0, -1.0, 0.0, 1.0, 8.0].map(T::from_f64));
    for way in ways::<T>() {
        for (channel, y) in activate(way, &activation, 37, &x).chunks_exact(5).enumerate() {
            let slope = (channel as f64 - 9.0) / 8.0;
            let expected = [-8.0 * slope, -slope, 0.0, 1.0, 8.0].map(T::from_f64);
            assert_eq!(y, expected, "channel {channel} {way:?}");
        }
    }
}

#[test]
fn prelu_has_a_slope_for_each_channel() {
    announce("prelu");
    check_prelu::<f32>();
    check_prelu::<f64>();
}

/// Pre-activation values of 1 and −1 that only (x·w + bias) + residual gives: in any other order `large` absorbs the
/// residual. Only an activation after all of it is that of 1 and −1.
fn check_order<T: Element>(large: f64) {
    let values = |values: [f64; 2]| values.map(T::from_f64).to_vec();
    let residual = values([1.0, -1.0]).into_iter().flat_map(|value| [value; 21]).collect();
    let (problem, data) =
        pointwise(&[T::from_f64(large); 21], values([1.0, -1.0]), values([-large, large]), residual);
    for activation in activations::<T>(2) {
        for way in ways::<T>() {
            let y = problem.run(&data, way, &activation, true, &mut Workspace::new());
            for (channel, y) in y.chunks_exact(21).enumerate() {
                let expected = activation.apply(data.residual[21 * channel], channel).to_f64();
                let near =
                    |y: &T| (y.to_f64() - expected).abs() <= 4.0 * T::EPSILON.to_f64() * expected.abs();
                assert!(y.iter().all(near), "{activation:?} {way:?}: {y:?}, not {expected}");
            }
        }
    }
}

#[test]
fn bias_then_residual_then_activation() {
    announce("bias_then_residual_then_activation");
    check_order::<f32>(1e8);
    check_order::<f64>(1e17);
}

/// What is not the definition to the byte is still a function of the finished sum alone.
#[test]
fn only_the_finished_sum_matters() {
    announce("only_the_finished_sum_matters");
    let problem = Problem::new(Params::<2>::new(3, 19, [3, 3]).padding([1, 1]), 2, [7, 9]);
    let (data, mut workspace) = (problem.reals::<f32>(5), Workspace::new());
    for way in ways::<f32>() {
        let sums = problem.run(&data, way, &Activation::Identity, true, &mut workspace);
        for activation in TRANSCENDENTAL.map(|(activation, _)| activation) {
            let y = problem.run(&data, way, &activation, true, &mut workspace);
            let expected = activate(way, &activation, 1, &sums);
            let differs = y.iter().zip(&expected).position(|(&y, &expected)| !same_bytes(y, expected));
            assert_eq!(differs, None, "{activation:?} {way:?}");
        }
    }
}

/// The greatest distance from the definition over all 2³² values, in units in the last place: where multiply-adds
/// round once, and twice. Beyond 4 are only values of the GELUs that are within 2⁻²²·|x|.
const TRANSCENDENTAL: [(Activation<f32>, [u32; 2]); 5] = [
    (Activation::Sigmoid, [2, 2]),
    (Activation::Tanh, [3, 3]),
    (Activation::Silu, [3, 3]),
    (Activation::Gelu, [6, 69]),
    (Activation::GeluTanh, [231, 214]),
];

#[test]
#[ignore = "goes over all 2³² values for each activation: some minutes each in a release build"]
fn every_f32_is_as_near_as_measured() {
    announce("every_f32_is_as_near_as_measured");
    let isas = Isa::available();
    let mut surprises = 0;
    for (activation, expected) in TRANSCENDENTAL {
        for (&isa, worst) in isas.iter().zip(worst_ulps(&activation, &isas)) {
            println!("{activation:?} on {isa}: {worst} ulp");
            surprises += usize::from(worst != expected[usize::from(!isa.is_fused())]);
        }
    }
    assert_eq!(surprises, 0, "TRANSCENDENTAL and the table in src/kernel/activation.rs say otherwise");
}

const CHUNK: u32 = 1 << 16;

/// The greatest distance from the definition on each of `isas`.
fn worst_ulps(activation: &Activation<f32>, isas: &[Isa]) -> Vec<u32> {
    let (next, worst) = (AtomicU32::new(0), Mutex::new(vec![0; isas.len()]));
    let work = || {
        let layer = |&isa| Conv1d::builder(1, 1, [1]).activation(activation.clone()).isa(isa).build(&[1.0]);
        let layers: Vec<_> = isas.iter().map(layer).collect::<Result<_, _>>().unwrap();
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            let Some(first) = chunk.checked_mul(CHUNK) else { break };
            let ulps = ulps_in_chunk(activation, &layers, first);
            worst.lock().unwrap().iter_mut().zip(ulps).for_each(|(worst, ulps)| *worst = ulps.max(*worst));
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from))
            .for_each(|_| drop(scope.spawn(work)));
    });
    worst.into_inner().unwrap()
}

/// [`worst_ulps`] over the bit patterns from `first` on.
fn ulps_in_chunk(activation: &Activation<f32>, layers: &[Conv1d], first: u32) -> Vec<u32> {
    let x: Vec<_> = (0..CHUNK).map(|i| f32::from_bits(first + i)).collect();
    let expected = define(activation, &x);
    let mut fused: Option<Vec<f32>> = None;
    let of_layer = |layer: &Conv1d| {
        let y = layer.forward(&x, 1, [x.len()]).unwrap();
        assert_near(activation, layer.isa(), &x, &y, &expected);
        let worst = y.iter().zip(&expected).map(|(&y, &expected)| ulps(y, expected)).max();
        if layer.isa().is_fused() {
            let first = fused.get_or_insert_with(|| y.clone());
            let same = y.iter().zip(first).all(|(&a, b)| same_bytes(a, *b));
            assert!(same, "{activation:?}: {} has other bytes", layer.isa());
        }
        worst.unwrap()
    };
    layers.iter().map(of_layer).collect()
}

/// Steps from one number to the other; the zeros are one number, NaNs too.
fn ulps(a: f32, b: f32) -> u32 {
    let ordinal = |x: f32| i64::from(x.abs().to_bits()) * if x < 0.0 { -1 } else { 1 };
    if a.is_nan() && b.is_nan() { 0 } else { ordinal(a).abs_diff(ordinal(b)).try_into().unwrap() }
}
