//! Where the data holds no denormals, nothing computes with any: lanes that stand for no data are zeros, whatever was in the scratch before.
//! The CPU tells: a flag is raised by every operation that meets one, in any lane.
#![cfg(target_arch = "x86_64")]

mod common;

use std::arch::asm;

use common::{Data, Extras, Problem, Way, announce, direct_ways, emulated, ways};
use convgemm::{
    Algorithm, BackwardOptions, Element, ForwardOptions, Gradients, Isa, Parallelism, Params, Workspace,
    backward,
};

/// The flag of denormal operands, and all flags, of MXCSR.
const DENORMAL: u32 = 1 << 1;
const FLAGS: u32 = 0x3f;

/// Whether `compute` meets a denormal in this thread.
fn meets_denormals(compute: impl FnOnce()) -> bool {
    let (mut before, mut after) = (0_u32, 0_u32);
    // SAFETY: both read the register into a number that lives long enough, or write back what was read, less its flags.
    unsafe {
        asm!("stmxcsr [{}]", in(reg) &raw mut before);
        let clear = before & !FLAGS;
        asm!("ldmxcsr [{}]", in(reg) &raw const clear);
        compute();
        asm!("stmxcsr [{}]", in(reg) &raw mut after);
        asm!("ldmxcsr [{}]", in(reg) &raw const before);
    }
    after & DENORMAL != 0
}

/// All of a problem's numbers denormals but for the weights.
fn denormals<T: Element, const D: usize>(problem: &Problem<D>) -> Data<T> {
    let tiny = T::from_f64(if T::NAME == "f32" { 1e-40 } else { 1e-310 });
    let mut data = problem.reals::<T>(1);
    data.x.fill(tiny);
    data.residual.fill(tiny);
    data
}

fn forward<T: Element, const D: usize>(
    problem: &Problem<D>,
    data: &Data<T>,
    way: Way,
    workspace: &mut Workspace,
) -> bool {
    let conv = way.build_with(problem, data, &Extras::none());
    let mut y = vec![T::ZERO; data.residual.len()];
    let options = ForwardOptions::new().parallelism(Parallelism::Serial);
    meets_denormals(|| {
        conv.forward_with(&data.x, problem.batch, problem.extent, &options, &mut y, workspace).unwrap()
    })
}

fn gradients<T: Element, const D: usize>(
    problem: &Problem<D>,
    data: &Data<T>,
    isa: Isa,
    workspace: &mut Workspace,
) -> bool {
    let geometry = problem.params.geometry(problem.batch, problem.extent).unwrap();
    let (mut dx, mut dw) = (data.x.clone(), data.weight.clone());
    let options = BackwardOptions::new().isa(isa).parallelism(Parallelism::Serial);
    meets_denormals(|| {
        let gradients = Gradients { input: Some(&mut dx), weight: Some(&mut dw), bias: None };
        backward(&geometry, &data.x, &data.weight, &data.residual, &options, gradients, workspace).unwrap();
    })
}

fn check<T: Element, const D: usize>(params: Params<D>, extent: [usize; D]) {
    let problem = Problem::new(params, 2, extent);
    let (clean, dirty) = (problem.reals::<T>(3), denormals::<T, D>(&problem));
    // More of everything, so that what is not overwritten lies everywhere.
    let larger = Problem::new(params, 2, extent.map(|extent| extent + 40));
    let litter = denormals::<T, D>(&larger);
    let mut workspace = Workspace::new();
    for isa in Isa::available() {
        if !forward(&problem, &dirty, Way::auto(isa), &mut workspace) {
            assert!(emulated(), "this CPU raises the flag");
            return;
        }
    }
    let engine = [ways::<T>(), direct_ways::<T, D>(&problem)].concat();
    for mut way in engine.into_iter().filter(|way| way.algorithm != Algorithm::Im2col) {
        // Tiles that store partial sums have no clamp, but compiled code compares, once, what would be its bounds: it raises the flag, too.
        (way.tuning.k_block, way.tuning.tap_block) = (None, None);
        forward(&larger, &litter, Way::auto(way.isa), &mut workspace);
        forward(&problem, &dirty, way, &mut workspace);
        assert!(!forward(&problem, &clean, way, &mut workspace), "{problem:?} {way:?}");
    }
    for isa in Isa::available() {
        gradients(&larger, &litter, isa, &mut workspace);
        assert!(gradients(&problem, &dirty, isa, &mut workspace), "{problem:?} {isa}");
        assert!(!gradients(&problem, &clean, isa, &mut workspace), "gradients of {problem:?} {isa}");
    }
}

#[test]
fn lanes_without_data_hold_no_denormals_on_every_isa() {
    announce("lanes_without_data_hold_no_denormals");
    let layer = |c_in, c_out, kernel| Params::<2>::new(c_in, c_out, kernel);
    for (params, extent) in [
        (layer(5, 21, [3, 3]).padding([1, 1]), [13, 13]),
        (layer(5, 21, [3, 3]).padding([1, 1]).stride([2, 2]), [13, 27]),
        (layer(37, 5, [1, 1]), [7, 13]),
        (layer(7, 7, [5, 5]).padding([2, 1]).groups(7), [9, 11]),
        (layer(6, 18, [3, 2]).stride([1, 3]).dilation([2, 1]).groups(2), [9, 23]),
        (layer(5, 3, [3, 3]), [11, 37]),
    ] {
        check::<f32, 2>(params, extent);
        check::<f64, 2>(params, extent);
    }
    check::<f32, 1>(Params::new(3, 18, [3]).padding([1]), [35]);
    check::<f32, 3>(Params::new(2, 5, [2, 3, 3]).padding([1, 1, 1]), [3, 5, 9]);
}
