//! Timing calls.

use std::time::{Duration, Instant};

/// Seconds of a call, ascending; it is called for `min_time`, and five times, at least. Calls under 10 µs are timed in batches.
pub(crate) fn measure<E>(mut call: impl FnMut() -> Result<(), E>, min_time: Duration) -> Result<Vec<f64>, E> {
    let started = Instant::now();
    call()?;
    let batch = (10e-6 / started.elapsed().as_secs_f64().max(1e-9)).ceil().max(1.0) as usize;
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 5 || begun.elapsed() < min_time {
        let started = Instant::now();
        for _ in 0..batch {
            call()?;
        }
        times.push(started.elapsed().as_secs_f64() / batch as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}
