//! Tables for panels of positions: the runs of image rows that make a vector of the virtual im2col matrix.

use crate::geometry::Shape;
use crate::kernel::Run;
use crate::pack::segments::Segment;
use crate::pack::taps::TapWindow;
use crate::simd::MAX_LANES;

/// Segments of a vector, at most: each has a position.
pub(crate) const MAX_SEGMENTS: usize = MAX_LANES;

/// The most runs that a vector of `lanes` positions can have: one for each output row that it touches.
pub(crate) fn max_runs(shape: &Shape, lanes: usize) -> usize {
    // The first row may give one position only.
    ((lanes - 1).div_ceil(shape.axes[2].output.max(1)) + 1).min(lanes)
}

/// Fills the table for vectors of `lanes` positions of one row that read no padding, relative to their origin.
pub(crate) fn fill_whole(table: &[TapWindow], lanes: usize, runs: &mut [Run]) {
    for (tap, run) in table.iter().zip(runs) {
        *run = Run { x: tap.x, first: 0, end: lanes as u32 };
    }
}

/// Fills the tables for the vector that `segments` make: `counts[i]` runs make it for tap `i`. Gives the number of runs.
pub(crate) fn fill(
    shape: &Shape,
    table: &[TapWindow],
    segments: &[Segment],
    counts: &mut [u32],
    runs: &mut [Run],
) -> usize {
    let stride = shape.axes[2].stride as isize;
    let mut filled = 0;
    counts.fill(0);
    for (tap, count) in table.iter().zip(counts) {
        for segment in segments {
            let lanes = tap.positions(segment);
            if !lanes.is_empty() {
                // Where lane 0 would read, were it in this segment.
                let ahead = (segment.start as isize).wrapping_mul(stride);
                runs[filled] = Run {
                    x: segment.origin.wrapping_add(tap.x).wrapping_sub(ahead),
                    first: lanes.start as u32,
                    end: lanes.end as u32,
                };
                filled += 1;
                *count += 1;
            }
        }
    }
    filled
}
