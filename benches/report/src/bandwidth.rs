//! What the caches and the memory deliver: sums of arrays that each thread has of its own.

use std::hint::black_box;
use std::time::Instant;

use convgemm::Isa;
use rayon::ThreadPool;

use crate::results::Bandwidth;

/// An array that lies within L2, and is larger than L1.
const WITHIN_L2: usize = 256 << 10;
/// All threads' arrays together, at least, where memory is measured.
const LEAST_IN_MEMORY: usize = 256 << 20;
/// STREAM's rule: arrays of four times the last cache.
const TIMES_L3: usize = 4;

pub(crate) fn measure(isa: Isa, pool: &ThreadPool) -> Bandwidth {
    let threads = pool.current_num_threads();
    let in_memory = LEAST_IN_MEMORY.max(TIMES_L3 * last_cache()) / threads;
    Bandwidth { threads, memory: reading(isa, pool, in_memory, 1), l2: reading(isa, pool, WITHIN_L2, 2000) }
}

/// GB/s of the best of ten rounds, in each of which every thread reads its array so many times.
fn reading(isa: Isa, pool: &ThreadPool, bytes: usize, times: usize) -> f64 {
    // Each thread writes its array first, so that it lies in the memory next to it.
    let arrays: Vec<Vec<u32>> = pool.broadcast(|_| vec![1; bytes / size_of::<u32>()]);
    let seconds = (0..10)
        .map(|_| {
            let started = Instant::now();
            pool.broadcast(|context| {
                for _ in 0..times {
                    black_box(sum(isa, black_box(&arrays[context.index()])));
                }
            });
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    (arrays.len() * bytes * times) as f64 / seconds / 1e9
}

fn sum(isa: Isa, values: &[u32]) -> u32 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction set is available; a CPU that has AVX-512 has AVX2.
        Isa::Avx512 | Isa::Avx2 if isa.is_available() => unsafe { sum_avx2(values) },
        _ => sum_of(values),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(values: &[u32]) -> u32 {
    sum_of(values)
}

/// Of integers, which the compiler may add in any order and so in vectors.
#[inline(always)]
fn sum_of(values: &[u32]) -> u32 {
    let mut sum = 0_u32;
    for value in values {
        sum = sum.wrapping_add(*value);
    }
    sum
}

/// Bytes of the largest cache that Linux tells of, 0 elsewhere.
fn last_cache() -> usize {
    let kibibytes = |index| {
        let text =
            std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<usize>().ok()
    };
    (0..5).filter_map(kibibytes).max().map_or(0, |size| size << 10)
}
