//! What calls allocate: nothing in the steady state, and at most a MiB of scratch for the first.

mod common;
#[allow(dead_code, unreachable_pub)]
#[path = "../examples/common/layer.rs"]
mod layer;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::{Extras, Problem, Way, activations, announce, reduced, ways};
use convgemm::{
    Accuracy, Activation, Algorithm, BackwardOptions, Conv, ConvTranspose, Element, ForwardOptions,
    ISA_VARIABLE, Isa, Parallelism, Params, Workspace, backward_bias, backward_input, backward_weight,
};

/// What a thread allocated since the counts were set to 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    calls: usize,
    /// Bytes; fewer than 0 where more was freed.
    live: isize,
    peak: isize,
}

thread_local! {
    /// Of each thread, for tests run side by side. Never dropped and never allocated itself.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { calls: 0, live: 0, peak: 0 }) };
}

fn count(calls: usize, bytes: isize) {
    COUNTS.with(|counts| {
        let Counts { calls: before, live, peak } = counts.get();
        let live = live + bytes;
        counts.set(Counts { calls: before + calls, live, peak: peak.max(live) });
    });
}

/// The system's allocator, counted.
struct Counting;

// SAFETY: everything is passed on to the system's allocator, which keeps the contract; counting neither allocates
// nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` allocates in this thread.
fn counted(f: impl FnOnce()) -> Counts {
    COUNTS.set(Counts::default());
    f();
    COUNTS.get()
}

#[test]
fn the_allocator_counts() {
    let counts = counted(|| drop(std::hint::black_box(vec![0_u8; 1000])));
    assert_eq!(counts, Counts { calls: 1, live: 0, peak: 1000 });
    assert_eq!(counted(|| ()), Counts::default());
}

/// What is counted is what this thread allocates: it does all the work. `allocations_in_a_pool` counts all threads.
fn serial<'a, T: Element>() -> ForwardOptions<'a, T> {
    ForwardOptions::new().parallelism(Parallelism::Serial)
}

/// A layer with everything that a call needs.
struct Layer<T: Element, const D: usize> {
    problem: Problem<D>,
    conv: Conv<T, D>,
    x: Vec<T>,
    residual: Option<Vec<T>>,
    y: Vec<T>,
}

impl<T: Element, const D: usize> Layer<T, D> {
    fn new(problem: &Problem<D>, way: Way, extras: &Extras<T>) -> Self {
        let data = problem.reals(1);
        let conv = way.build_with(problem, &data, extras);
        let y = data.residual.clone();
        Self {
            problem: problem.clone(),
            conv,
            x: data.x,
            residual: extras.residual.then_some(data.residual),
            y,
        }
    }

    fn run(&mut self, workspace: &mut Workspace) {
        let mut options = serial();
        options.residual = self.residual.as_deref();
        let Problem { batch, extent, .. } = self.problem;
        self.conv.forward_with(&self.x, batch, extent, &options, &mut self.y, workspace).unwrap();
    }

    /// Whether the calls behind the first allocate nothing.
    fn assert_steady(&mut self, way: Way, workspace: &mut Workspace) {
        self.run(workspace);
        for _ in 0..3 {
            let counts = counted(|| self.run(workspace));
            assert_eq!(counts, Counts::default(), "{way:?} {:?}", self.conv);
        }
    }
}

/// Every kernel of every instruction set; the baseline's GEMM allocates for itself.
fn engine_ways<T: Element>() -> Vec<Way> {
    ways::<T>().into_iter().filter(|way| way.algorithm != Algorithm::Im2col).collect()
}

fn check_steady<T: Element, const D: usize>(params: Params<D>, batch: usize, extent: [usize; D]) {
    let problem = Problem::new(params, batch, extent);
    for way in engine_ways::<T>() {
        for extras in [Extras::none(), Extras { bias: true, ..Extras::none() }, Extras::all()] {
            Layer::<T, D>::new(&problem, way, &extras).assert_steady(way, &mut Workspace::new());
        }
    }
}

fn check_steady_layers<T: Element>() {
    let layer = |i, o, kernel| Params::<2>::new(i, o, kernel);
    check_steady::<T, 2>(layer(3, 5, [3, 3]).padding([1, 1]), 1, [9, 11]);
    check_steady::<T, 2>(layer(16, 40, [3, 3]).padding([1, 1]).stride([2, 2]), 2, [14, 14]);
    check_steady::<T, 2>(layer(16, 40, [1, 1]), 2, [14, 14]);
    check_steady::<T, 2>(layer(6, 6, [3, 3]).padding([2, 2]).dilation([2, 2]).groups(6), 1, [12, 12]);
    check_steady::<T, 2>(layer(8, 12, [3, 3]).padding([1, 1]).groups(4), 1, [7, 7]);
    check_steady::<T, 1>(Params::new(2, 3, [2500]).padding([1250]), 1, [50]);
    check_steady::<T, 3>(Params::new(2, 17, [3, 3, 3]).padding([1, 1, 1]), 1, [4, 5, 6]);
    check_steady::<T, 1>(Params::new(2, 3, [3]), 0, [50]);
}

#[test]
fn the_steady_state_allocates_nothing_f32_on_every_isa() {
    announce("the_steady_state_allocates_nothing_f32");
    check_steady_layers::<f32>();
}

#[test]
fn the_steady_state_allocates_nothing_f64_on_every_isa() {
    announce("the_steady_state_allocates_nothing_f64");
    check_steady_layers::<f64>();
}

#[test]
fn no_activation_allocates_on_every_isa() {
    fn check<T: Element>() {
        let problem = Problem::new(Params::<2>::new(3, 19, [3, 3]).padding([1, 1]), 1, [7, 9]);
        for isa in Isa::available() {
            for activation in activations::<T>(19) {
                for residual in [false, true] {
                    let extras = Extras { bias: true, residual, activation: activation.clone() };
                    let mut layer = Layer::<T, 2>::new(&problem, Way::auto(isa), &extras);
                    layer.assert_steady(Way::auto(isa), &mut Workspace::new());
                }
            }
        }
    }
    announce("no_activation_allocates");
    check::<f32>();
    check::<f64>();
}

/// Gradients and a transposed convolution, of several shapes in turn.
#[test]
fn gradients_in_turn_allocate_nothing_on_every_isa() {
    fn run<T: Element>(options: &BackwardOptions, workspace: &mut Workspace, buffers: &mut [Vec<T>; 3]) {
        let [x, weight, dy] = buffers;
        for (stride, groups) in [(1, 1), (2, 1), (2, 4), (3, 2)] {
            let params = Params::<2>::new(8, 12, [3, 3]).stride([stride; 2]).padding([1, 1]).groups(groups);
            let geometry = params.geometry(2, [13, 15]).unwrap();
            let (x_len, w_len, y_len) = (geometry.input_len(), geometry.weight_len(), geometry.output_len());
            let (x, weight, dy) = (&mut x[..x_len], &mut weight[..w_len], &mut dy[..y_len]);
            backward_input(&geometry, dy, weight, options, x, workspace).unwrap();
            backward_weight(&geometry, x, dy, options, weight, workspace).unwrap();
            backward_bias(&geometry, dy, options, &mut weight[..12]).unwrap();
        }
    }
    fn check<T: Element>(isa: Isa, options: BackwardOptions) {
        let options = options.parallelism(Parallelism::Serial);
        let mut workspace = Workspace::new();
        let mut buffers = [const { Vec::<T>::new() }; 3];
        buffers.iter_mut().for_each(|buffer| buffer.resize(8000, T::from_f64(1.0)));
        let layer = ConvTranspose::<T, 2>::builder(4, 6, [3, 3]).stride([2, 2]).isa(isa);
        let layer = layer.build(&buffers[0][..216]).unwrap();
        let (x, mut y) = (buffers[0][..4 * 49].to_vec(), vec![T::ZERO; 6 * 225]);
        let mut all = || {
            run(&options, &mut workspace, &mut buffers);
            layer.forward_into(&x, 1, [7, 7], Parallelism::Serial, &mut y, &mut workspace).unwrap();
        };
        all();
        for _ in 0..3 {
            assert_eq!(counted(&mut all), Counts::default(), "{isa} {}", T::NAME);
        }
    }
    announce("gradients_in_turn_allocate_nothing");
    for isa in Isa::available() {
        check::<f32>(isa, BackwardOptions::new().isa(isa));
        check::<f64>(isa, BackwardOptions::new().isa(isa));
    }
    // The variable's value is read into memory.
    if std::env::var_os(ISA_VARIABLE).is_none() {
        check::<f32>(Isa::available()[0], BackwardOptions::new());
    }
}

/// Layers, extents and element types in turn in one workspace, which has seen each.
#[test]
fn a_workspace_that_has_seen_all_extents_allocates_nothing_on_every_isa() {
    announce("a_workspace_that_has_seen_all_extents_allocates_nothing");
    for way in engine_ways::<f32>() {
        let single = Way::auto(way.isa);
        let params = Params::<2>::new(8, 20, [3, 3]).padding([1, 1]);
        let of = |extent| Layer::<f32, 2>::new(&Problem::new(params, 1, extent), way, &Extras::all());
        let (mut small, mut large) = (of([6, 7]), of([17, 33]));
        let line = Problem::new(Params::<1>::new(2, 3, [1600]), 1, [1650]);
        let mut double = Layer::<f64, 1>::new(&line, single, &Extras::none());
        let mut workspace = Workspace::new();
        let mut all = || {
            small.run(&mut workspace);
            large.run(&mut workspace);
            double.run(&mut workspace);
            large.run(&mut workspace);
        };
        all();
        for _ in 0..3 {
            assert_eq!(counted(&mut all), Counts::default(), "{way:?}");
        }
    }
}

/// One layer for images of several extents.
#[test]
fn alternating_extents_of_a_layer_allocate_nothing_on_every_isa() {
    announce("alternating_extents_of_a_layer_allocate_nothing");
    for way in engine_ways::<f32>() {
        let params = Params::<2>::new(8, 20, [3, 3]).padding([1, 1]);
        let problem = |extent| Problem::new(params, 1, extent);
        let conv = way.build_with(&problem([1, 1]), &problem([1, 1]).reals::<f32>(1), &Extras::none());
        let (x, mut y) = (vec![1.0; 8 * 20 * 20], vec![0.0; 20 * 20 * 20]);
        let mut workspace = Workspace::new();
        let mut all = || {
            for (batch, [h, w]) in [(1, [20, 20]), (1, [3, 40]), (2, [5, 7])] {
                let (x, y) = (&x[..8 * batch * h * w], &mut y[..20 * batch * h * w]);
                conv.forward_with(x, batch, [h, w], &serial(), y, &mut workspace).unwrap();
            }
        };
        all();
        assert_eq!(counted(&mut all), Counts::default(), "{way:?}");
    }
}

/// New weights of the same size go where the old ones are.
#[test]
fn updating_weights_allocates_nothing_on_every_isa() {
    announce("updating_weights_allocates_nothing");
    let problem = Problem::new(Params::<2>::new(6, 34, [3, 3]).groups(2), 1, [5, 5]);
    let data = problem.reals::<f32>(1);
    for way in ways::<f32>() {
        let mut conv = way.build_with(&problem, &data, &Extras::none());
        assert_eq!(counted(|| conv.update_weight(&data.weight).unwrap()), Counts::default(), "{way:?}");
    }
}

/// A failed call leaves nothing behind.
#[test]
fn errors_of_lengths_allocate_nothing() {
    let conv = Conv::<f32, 1>::builder(1, 1, [3]).build(&[1.0; 3]).unwrap();
    let (mut workspace, mut y) = (Workspace::new(), [0.0; 2]);
    let mut call = || assert!(conv.forward_into(&[1.0; 5], 1, [5], &mut y, &mut workspace).is_err());
    assert_eq!(counted(&mut call), Counts::default());
}

/// Winograd's tiles: scratch is what the plan says, weights are transformed by the first call alone; in gradients as well.
#[test]
fn winograds_tiles_allocate_once_on_every_isa() {
    announce("winograds_tiles_allocate_once");
    let params = Params::<2>::new(32, 40, [3, 3]).padding([1, 1]);
    let problem = Problem::new(params, 2, [14, 19]);
    for (isa, tile) in Isa::available().into_iter().flat_map(|isa| [2, 4, 6].map(|tile| (isa, tile))) {
        let way = Way { algorithm: Algorithm::Winograd { tile }, ..Way::auto(isa) };
        let mut layer = Layer::<f32, 2>::new(&problem, way, &Extras::all());
        layer.assert_steady(way, &mut Workspace::new());
        let planned = layer.conv.plan(2, [14, 19]).unwrap().scratch_bytes();
        let first = counted(|| layer.run(&mut Workspace::new()));
        assert!(
            first.peak as usize <= planned.next_multiple_of(LINE),
            "{way:?}: {first:?}, {planned} planned"
        );
        let data = problem.reals::<f32>(3);
        assert_eq!(counted(|| layer.conv.update_weight(&data.weight).unwrap()), Counts::default(), "{way:?}");
        let (geometry, mut workspace) = (params.geometry(2, [14, 19]).unwrap(), Workspace::new());
        let options =
            BackwardOptions::new().isa(isa).accuracy(Accuracy::Fast).parallelism(Parallelism::Serial);
        let mut dx = vec![0.0; geometry.input_len()];
        let mut gradient = || {
            backward_input(&geometry, &data.residual, &data.weight, &options, &mut dx, &mut workspace)
                .unwrap();
        };
        gradient();
        assert_eq!(counted(&mut gradient), Counts::default(), "{isa}");
    }
}

/// Of each part; a thread has two at most.
const MOST_SCRATCH: usize = 512 << 10;
const LINE: usize = 64;
/// Multiplications that take little time on any instruction set.
const QUICK: u128 = 200_000_000;

/// Plans the layer, and runs it where it has at most so many multiplications.
fn check_scratch<T: Element>(listed: &layer::Layer, isa: Isa, most: u128) {
    let (params, batch, extent) = (listed.params::<2>(), listed.n, listed.extent());
    let geometry = params.geometry(batch, extent).unwrap();
    let conv = Conv::<T, 2>::with_params(params).isa(isa).activation(Activation::Relu);
    let conv = conv.build(&vec![T::from_f64(0.5); geometry.weight_len()]).unwrap();
    let planned = conv.plan(batch, extent).unwrap().scratch_bytes();
    assert!(planned <= MOST_SCRATCH, "{} {isa}: {planned} planned", listed.name);
    if geometry.macs() > if reduced() { 10_000_000 } else { most } {
        println!("{} {isa}: planned only", listed.name);
        return;
    }
    let x = vec![T::from_f64(1.0); geometry.input_len()];
    let mut y = vec![T::ZERO; geometry.output_len()];
    let mut workspace = Workspace::new();
    let mut call = || conv.forward_with(&x, batch, extent, &serial(), &mut y, &mut workspace).unwrap();
    let first = counted(&mut call);
    assert!(
        first.peak as usize <= planned.next_multiple_of(LINE),
        "{} {isa}: {first:?}, {planned} planned",
        listed.name
    );
    if geometry.macs() <= QUICK {
        assert_eq!(counted(&mut call), Counts::default(), "{} {isa}", listed.name);
    }
}

#[test]
fn scratch_of_the_listed_layers_f32_on_every_isa() {
    announce("scratch_of_the_listed_layers_f32");
    for isa in Isa::available() {
        layer::read(None).unwrap().iter().for_each(|listed| check_scratch::<f32>(listed, isa, u128::MAX));
    }
}

#[test]
fn scratch_of_the_listed_layers_f64_on_every_isa() {
    announce("scratch_of_the_listed_layers_f64");
    for isa in Isa::available() {
        // Scratch does not depend on the batch.
        let single = layer::read(None).unwrap().into_iter().filter(|listed| listed.n == 1);
        single.for_each(|listed| check_scratch::<f64>(&listed, isa, QUICK));
    }
}

/// Whatever kernel is forced, and however long it is: blocks keep the scratch small.
#[test]
fn scratch_of_every_kernel_on_every_isa() {
    announce("scratch_of_every_kernel");
    let problems = [
        Problem::new(Params::<2>::new(512, 64, [3, 3]).padding([1, 1]), 1, [7, 7]),
        Problem::new(Params::<2>::new(4099, 3, [1, 1]), 1, [3, 3]),
        Problem::new(Params::<2>::new(2053, 3, [3, 3]).padding([1, 1]), 1, [3, 7]),
        Problem::new(Params::<2>::new(2, 5, [70, 70]).padding([35, 35]), 1, [5, 3]),
        Problem::new(Params::<2>::new(1, 2, [1, 30_000]).padding([0, 15_000]), 1, [1, 5]),
    ];
    for problem in problems {
        for mut way in engine_ways::<f32>() {
            (way.tuning.k_block, way.tuning.tap_block) = (None, None);
            let mut layer = Layer::<f32, 2>::new(&problem, way, &Extras::none());
            let plan = layer.conv.plan(1, problem.extent).unwrap();
            let planned = plan.scratch_bytes();
            let mut workspace = Workspace::new();
            let first = counted(|| layer.run(&mut workspace));
            assert!(planned <= MOST_SCRATCH, "{way:?} {problem:?}: {planned}");
            // Parts lie apart, as `Plan::scratch_bytes` says.
            let gap = if plan.parts(1) > 1 { 16 << 10 } else { 0 };
            let most = plan.parts(1) * (planned.next_multiple_of(LINE) + gap);
            assert!(first.peak as usize <= most, "{way:?} {first:?} {planned}");
        }
    }
}

/// Nothing but the result, where views lie in C order; others are copied.
#[cfg(feature = "ndarray")]
#[test]
fn views_in_c_order_are_not_copied() {
    use ndarray::{Array4, ArrayView4};
    let conv = Conv::<f32, 2>::builder(3, 5, [3, 3]).padding([1, 1]).build(&[0.5; 135]).unwrap();
    let layer = ConvTranspose::<f32, 2>::builder(3, 5, [3, 3]).padding([1, 1]).build(&[0.5; 135]).unwrap();
    let (x, residual) = (Array4::<f32>::ones((2, 3, 40, 50)), Array4::<f32>::ones((2, 5, 40, 50)));
    let turned = Array4::<f32>::ones((50, 40, 3, 2));
    let mut workspace = Workspace::new();
    let mut run = |x: ArrayView4<'_, f32>, residual: ArrayView4<'_, f32>| {
        let y = conv.forward_array_with(x, Some(residual), Parallelism::Serial, &mut workspace);
        drop(y.unwrap());
        drop(layer.forward_array_with(x, Parallelism::Serial, &mut workspace).unwrap());
    };
    run(x.view(), residual.view());
    let (x_bytes, y_bytes) = (4 * x.len() as isize, 4 * residual.len() as isize);
    let counts = counted(|| run(x.view(), residual.view()));
    assert_eq!(counts, Counts { calls: 2, live: 0, peak: y_bytes });
    // Some images of a larger batch lie in C order too.
    let counts =
        counted(|| run(x.slice(ndarray::s![1.., .., .., ..]), residual.slice(ndarray::s![..1, .., .., ..])));
    assert!(counts.peak < y_bytes, "{counts:?}");
    run(turned.t(), residual.view());
    let counts = counted(|| run(turned.t(), residual.view()));
    assert_eq!(counts, Counts { calls: 4, live: 0, peak: x_bytes + y_bytes });

    let geometry = conv.geometry(2, [40, 50]).unwrap();
    let weight = Array4::<f32>::ones((5, 3, 3, 3));
    let options = BackwardOptions::new().isa(Isa::available()[0]).parallelism(Parallelism::Serial);
    let mut run = |dy: ArrayView4<'_, f32>| {
        drop(geometry.backward_input_array(dy, weight.view(), &options, &mut workspace).unwrap());
        drop(geometry.backward_weight_array(x.view(), dy, &options, &mut workspace).unwrap());
        drop(geometry.backward_bias_array(dy, &options).unwrap());
    };
    run(residual.view());
    assert_eq!(counted(|| run(residual.view())), Counts { calls: 3, live: 0, peak: x_bytes });
}
