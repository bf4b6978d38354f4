//! The suites again, with everything that is allocated beside memory that kills the process where it is touched: images, weights, biases,
//! residuals, outputs, gradients, packed weights and all scratch. First with forbidden memory behind each, then before.
#![cfg(target_os = "linux")]
#![expect(clippy::duplicate_mod, reason = "each of the suites brings what it shares with others")]

mod common;
#[path = "direct.rs"]
mod guarded_direct;
#[path = "gradients.rs"]
mod guarded_gradients;
#[path = "shapes.rs"]
mod guarded_shapes;
#[path = "winograd.rs"]
mod guarded_winograd;

use common::guarded::{Guarding, SIDE_VARIABLE, Side};
use common::{Expected, Extras, Problem, Way, announce, direct_ways, holds_positions, this_binary, ways};
use convgemm::{Algorithm, Element, Lowering, Params, Workspace};

#[global_allocator]
static ALLOCATOR: Guarding = Guarding;

#[test]
fn guarded_from_the_other_side() {
    if Side::get() == Side::Before {
        return;
    }
    // The same tests that were asked for.
    let mut command = this_binary();
    command.args(std::env::args().skip(1)).env(SIDE_VARIABLE, "before");
    let output = command.output().expect("this test starts its own binary");
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    let result = text.lines().find(|line| line.starts_with("test result: ok")).unwrap();
    println!("forbidden memory before each: {result}");
}

/// What a process does that touches one byte too many, on either side: else the tests here would prove nothing.
#[test]
#[ignore = "run by one_byte_too_many_kills as a process of its own"]
fn guarded_child_that_reads_too_far() {
    let values = std::hint::black_box(vec![1_u8; 100]);
    let outside = match Side::get() {
        Side::Before => values.as_ptr().wrapping_sub(1),
        Side::Behind => values.as_ptr().wrapping_add(100),
    };
    println!("reads");
    // SAFETY: none: the process is to be killed.
    println!("survived {}", unsafe { outside.read_volatile() });
}

#[test]
fn guarded_one_byte_too_many_kills() {
    for side in ["before", "behind"] {
        let mut command = this_binary();
        command.args(["--exact", "guarded_child_that_reads_too_far", "--ignored", "--nocapture"]);
        let output = command.env(SIDE_VARIABLE, side).output().expect("this test starts its own binary");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains("reads") && !text.contains("survived"), "{text}");
    }
}

/// The problem in every way, with and without an epilogue.
fn check<T: Element, const D: usize>(params: Params<D>, batch: usize, extent: [usize; D]) {
    let problem = Problem::new(params, batch, extent);
    let data = problem.reals::<T>(4);
    let mut workspace = Workspace::new();
    for extras in [Extras::none(), Extras::all()] {
        let expected = Expected::new(&problem.oracle_of(&data, &extras), &extras.activation);
        let ways = ways::<T>().into_iter().flat_map(packed_too);
        for way in ways.chain(direct_ways::<T, D>(&problem)) {
            expected.check(&problem.run_with(&data, way, &extras, &mut workspace), &way, &problem);
        }
    }
}

/// The way as it is, and with rows copied where it could do without.
fn packed_too(way: Way) -> Vec<Way> {
    let packed = Way { tuning: way.tuning.lowering(Lowering::Packed), ..way };
    let packs = way.algorithm != Algorithm::Im2col && way.tuning.kernel.is_some_and(holds_positions);
    if packs { vec![way, packed] } else { vec![way] }
}

fn check_all<T: Element>() {
    let layer = |c_in, c_out, kernel| Params::<2>::new(c_in, c_out, kernel);
    for positions in [1, 5, 15, 16, 17, 31, 47, 49, 97] {
        check::<T, 1>(Params::new(3, 19, [1]), 1, [positions]);
        check::<T, 1>(Params::new(2, 5, [3]).padding([1]), 1, [positions]);
    }
    check::<T, 2>(layer(3, 17, [1, 1]), 2, [5, 7]);
    check::<T, 2>(layer(3, 17, [1, 1]).stride([2, 3]), 1, [9, 13]);
    check::<T, 2>(layer(2, 33, [3, 3]).padding([1, 1]), 2, [7, 9]);
    check::<T, 2>(layer(2, 6, [3, 3]), 1, [6, 35]);
    check::<T, 2>(layer(4, 10, [3, 2]).padding([2, 2]).stride([2, 2]).groups(2), 1, [8, 21]);
    check::<T, 2>(layer(2, 5, [3, 3]).padding([4, 4]).dilation([4, 4]), 1, [9, 9]);
    check::<T, 2>(layer(2, 5, [2, 3]).pad_begin([-1, -2]).pad_end([-1, 3]), 1, [6, 20]);
    check::<T, 2>(layer(7, 7, [3, 3]).padding([1, 1]).groups(7), 1, [4, 18]);
    check::<T, 2>(layer(3, 3, [5, 5]).padding([2, 2]).stride([2, 2]).groups(3), 1, [9, 73]);
    check::<T, 2>(layer(2, 4, [7, 7]).pad_begin([-1, 3]).pad_end([2, -2]).groups(2), 1, [16, 39]);
    check::<T, 2>(layer(2, 1, [3, 3]).stride([2, 2]), 2, [15, 32]);
    check::<T, 2>(layer(1, 2, [3, 3]).padding([3, 3]), 1, [0, 2]);
    check::<T, 3>(Params::new(2, 9, [2, 3, 3]).padding([1, 1, 1]), 1, [3, 4, 5]);
    check::<T, 1>(Params::new(3, 8, [1]), 0, [16]);
}

#[test]
fn guarded_nothing_around_the_slices_is_touched_f32_on_every_isa() {
    announce("nothing_around_the_slices_is_touched_f32");
    check_all::<f32>();
}

#[test]
fn guarded_nothing_around_the_slices_is_touched_f64_on_every_isa() {
    announce("nothing_around_the_slices_is_touched_f64");
    check_all::<f64>();
}
