//! The machine's peak: independent chains of multiply-adds that never leave the registers.

use std::hint::black_box;
use std::time::Instant;

use convgemm::Isa;
use rayon::ThreadPool;

/// Enough to hide the latency of two pipes.
const CHAINS: usize = 12;

/// Single-precision GFLOP/s with `isa` of all threads of `pool` together.
pub(crate) fn single_precision(isa: Isa, pool: &ThreadPool) -> f64 {
    const STEPS: usize = 1_000_000;
    let lanes = if isa == Isa::Avx512 { 16 } else { 8 };
    let seconds = (0..20)
        .map(|_| {
            let started = Instant::now();
            pool.broadcast(|_| run(isa, black_box(STEPS)));
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    2.0 * (pool.current_num_threads() * lanes * CHAINS * STEPS) as f64 / seconds / 1e9
}

fn run(isa: Isa, steps: usize) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction set is available.
        Isa::Avx512 if isa.is_available() => unsafe { avx512(steps) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the instruction set is available.
        Isa::Avx2 if isa.is_available() => unsafe { avx2(steps) },
        _ => portable(steps),
    }
}

/// Chains of multiply-adds with the given intrinsics; the vectors are kept, so that the work is done.
macro_rules! chains {
    ($steps:expr, $splat:ident, $fma:ident) => {{
        let (a, b) = ($splat(black_box(0.999)), $splat(black_box(0.001)));
        let mut sums = [$splat(1.0); CHAINS];
        for _ in 0..$steps {
            for sum in &mut sums {
                *sum = $fma(*sum, a, b);
            }
        }
        black_box(sums);
    }};
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(steps: usize) {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps};
    chains!(steps, _mm512_set1_ps, _mm512_fmadd_ps);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(steps: usize) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps};
    chains!(steps, _mm256_set1_ps, _mm256_fmadd_ps);
}

/// What the build enables, 8 lanes at a time, as the portable kernels do.
fn portable(steps: usize) {
    fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn mul_add(x: [f32; 8], a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|l| if FUSED { x[l].mul_add(a[l], b[l]) } else { x[l] * a[l] + b[l] })
    }
    const FUSED: bool = cfg!(target_arch = "aarch64");
    chains!(steps, splat, mul_add);
}
