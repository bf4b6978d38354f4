//! What calls inside a thread pool allocate, in whichever of its threads: nothing in the steady state.
#![cfg(feature = "rayon")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::reduced;
use convgemm::{Activation, Conv2d, ForwardOptions, Tuning, Workspace};

/// Of the pools' threads; the test harness has others.
static CALLS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counted.
struct Counting;

// SAFETY: everything is passed on to the system's allocator, which keeps the contract; counting neither allocates
// nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(usize::from(COUNTED.get()), Ordering::Relaxed);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn the_steady_state_in_a_pool_allocates_nothing() {
    let weight = vec![0.1; 48 * 32 * 9];
    let (x, residual) = (vec![1.0; 32 * 24 * 24], vec![0.5; 48 * 24 * 24]);
    let mut y = residual.clone();
    let (pools, calls): (&[usize], _) = if reduced() { (&[1, 2], 5) } else { (&[1, 2, 3, 8], 100) };
    for &threads in pools {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .start_handler(|_| COUNTED.set(true))
            .build()
            .unwrap();
        for parts in [None, Some(2), Some(50)] {
            let mut tuning = Tuning::default();
            tuning.parts = parts;
            let conv = Conv2d::builder(32, 48, [3, 3])
                .padding([1, 1])
                .activation(Activation::Silu)
                .tuning(tuning)
                .build(&weight)
                .unwrap();
            let cut = conv.plan(1, [24, 24]).unwrap().parts(threads);
            assert!(parts.map_or(cut >= threads, |parts| cut == parts), "{cut} parts");
            let options = ForwardOptions::new().residual(&residual);
            let mut workspace = Workspace::new();
            let (x, y) = (&x, &mut y);
            let calls = pool.install(move || {
                let mut call = || conv.forward_with(x, 1, [24, 24], &options, y, &mut workspace).unwrap();
                // A thread allocates what it needs to steal when it first does, which may be late on a busy machine: so the
                // steady state is that of the first round without, within some.
                let mut round = || {
                    let before = CALLS.load(Ordering::Relaxed);
                    (0..calls).for_each(|_| call());
                    CALLS.load(Ordering::Relaxed) - before
                };
                let first = round();
                (0..20).fold(first, |calls, _| if calls == 0 { 0 } else { round() })
            });
            assert_eq!(calls, 0, "{threads} threads, {parts:?}");
        }
    }
    let before = CALLS.load(Ordering::Relaxed);
    COUNTED.set(true);
    drop(std::hint::black_box(vec![0_u8; 1000]));
    COUNTED.set(false);
    // Threads that end may do so as well.
    assert!(CALLS.load(Ordering::Relaxed) > before, "allocations are counted");
}
