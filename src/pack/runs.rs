//! Tables for positions-in-lanes tiles: the runs of image rows that make each vector of the virtual im2col matrix.

use crate::geometry::Shape;
use crate::kernel::Run;
use crate::pack::segments::Segment;
use crate::pack::taps::TapWindow;

/// The most runs that a vector of `lanes` positions can have: one for each output row that it touches.
pub(crate) fn max_runs(shape: &Shape, lanes: usize) -> usize {
    // The first row may give one position only.
    ((lanes - 1).div_ceil(shape.axes[2].output.max(1)) + 1).min(lanes)
}

/// Fills the tables for a tile of `vectors` vectors of `lanes` positions: `counts[i]` runs make vector `i % vectors` of tap
/// `i / vectors`. Gives the number of runs.
pub(crate) fn fill(
    shape: &Shape,
    table: &[TapWindow],
    segments: impl Iterator<Item = Segment> + Clone,
    (vectors, lanes): (usize, usize),
    counts: &mut [u32],
    runs: &mut [Run],
) -> usize {
    let mut filled = 0;
    counts.fill(0);
    for (tap, counts) in table.iter().zip(counts.chunks_exact_mut(vectors)) {
        for segment in segments.clone() {
            let positions = tap.positions(&segment);
            let mut at = positions.start;
            while at < positions.end {
                let vector = at / lanes;
                let end = positions.end.min((vector + 1) * lanes);
                runs[filled] = run(shape, tap, &segment, at - vector * lanes..end - vector * lanes, at);
                counts[vector] += 1;
                filled += 1;
                at = end;
            }
        }
    }
    filled
}

/// The run of `lanes` whose first lane is the tile's position `at`.
fn run(shape: &Shape, tap: &TapWindow, segment: &Segment, lanes: std::ops::Range<usize>, at: usize) -> Run {
    let stride = shape.axes[2].stride as isize;
    let ahead = (at - segment.start) as isize - lanes.start as isize;
    let x = segment.origin.wrapping_add(tap.x).wrapping_add(ahead.wrapping_mul(stride));
    Run { x, first: lanes.start as u32, end: lanes.end as u32 }
}
