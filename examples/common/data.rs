//! Random data, and checking what was computed from it.

use anyhow::{Result, ensure};
use convgemm::Element;
use convgemm::reference::{Expected, Oracle};

/// Evenly from −1 to 1; a linear congruential generator, the same on every machine.
pub(crate) fn random<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        T::from_f64((state >> 40) as f64 / f64::from(1 << 23) - 1.0)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Most multiply-adds of which every result is checked.
const CHECKED_WHOLE: u128 = 50_000_000;

/// The oracle's value, within its bound, at every element, or at 1 000 of a large problem.
pub(crate) fn check<T: Element, const D: usize>(oracle: &Oracle<'_, T, D>, y: &[T]) -> Result<()> {
    check_some(y, oracle.geometry().macs(), |index| oracle.expected_at(index))
}

/// What is expected at every element, or at 1 000 of a problem of so many multiply-adds.
pub(crate) fn check_some<T: Element>(
    y: &[T],
    macs: u128,
    expected: impl Fn(usize) -> Expected,
) -> Result<()> {
    let step = if macs <= CHECKED_WHOLE { 1 } else { (y.len() / 1000).max(1) };
    for index in (0..y.len()).step_by(step).chain(y.len().checked_sub(1)) {
        let Expected { value, bound, .. } = expected(index);
        ensure!((y[index].to_f64() - value).abs() <= bound, "element {index} is {}, not {value}", y[index]);
    }
    Ok(())
}

/// The oracle's value within `error` times the largest, at every element, or at 1 000 of a large problem.
pub(crate) fn check_error<T: Element, const D: usize>(
    oracle: &Oracle<'_, T, D>,
    y: &[T],
    error: f64,
) -> Result<()> {
    let largest = y.iter().fold(0.0, |largest: f64, y| largest.max(y.to_f64().abs()));
    let expected = |index| Expected { bound: error * largest, ..oracle.expected_at(index) };
    check_some(y, oracle.geometry().macs(), expected)
}
