//! Which lanes of two vectors AVX-512's shuffles pick, where they take every second or third element.

use super::BEFORE;

pub(super) const SECOND_F32: [[i32; 16]; BEFORE + 7] = seconds(4);
pub(super) const ORDER_F32: [i32; 16] = order(4);
pub(super) const THIRD_F32: [[[i32; 16]; 2]; 3] = thirds();
pub(super) const SECOND_F64: [[i32; 8]; BEFORE + 7] = seconds(2);
pub(super) const ORDER_F64: [i32; 8] = order(2);
pub(super) const THIRD_F64: [[[i32; 8]; 2]; 3] = thirds();

/// Where a shuffle of two vectors that takes every second element of them, in `group`s of 16 bytes, leaves the `position`th.
const fn lane_of<const LANES: usize>(position: usize, group: usize) -> usize {
    let (vector, at, half) = (position / (LANES / 2), position % (LANES / 2), group / 2);
    at / half * group + vector * half + at % half
}

/// For [`in_order`](super::Vector::in_order): the lane of each position.
pub(super) const fn order<const LANES: usize>(group: usize) -> [i32; LANES] {
    let (mut lanes, mut position) = ([0; LANES], 0);
    while position < LANES {
        lanes[position] = lane_of::<LANES>(position, group) as i32;
        position += 1;
    }
    lanes
}

/// For [`every_second`](super::Vector::every_second) with each `first` from -[`BEFORE`] on, `2·i` or `2·i + 1`: from what that shuffle leaves
/// of the even (odd) elements of two vectors, positions `i` and on, with every second element of the vector before or behind them.
pub(super) const fn seconds<const LANES: usize>(group: usize) -> [[i32; LANES]; BEFORE + 7] {
    let (mut all, mut i) = ([[0; LANES]; BEFORE + 7], 0);
    while i < (BEFORE + 7) * LANES {
        let (row, position) = (i / LANES, i % LANES);
        let first = row as isize - BEFORE as isize;
        let (ahead, odd) = (position as isize + first.div_euclid(2), first.rem_euclid(2) as usize);
        let from = if ahead < 0 {
            2 * LANES - 2 * ahead.unsigned_abs() + odd
        } else if (ahead as usize) < LANES {
            lane_of::<LANES>(ahead as usize, group)
        } else {
            LANES + 2 * (ahead as usize - LANES) + odd
        };
        all[row][lane_of::<LANES>(position, group)] = from as i32;
        i += 1;
    }
    all
}

/// For [`every_third`](super::Vector::every_third) with each `first`: of two vectors, then of what that gives and a third vector.
const fn thirds<const LANES: usize>() -> [[[i32; LANES]; 2]; 3] {
    let (mut all, mut i) = ([[[0; LANES]; 2]; 3], 0);
    while i < 3 * LANES {
        let (first, l) = (i / LANES, i % LANES);
        let at = 3 * l + first;
        let behind = at >= 2 * LANES;
        all[first][0][l] = if behind { 0 } else { at as i32 };
        all[first][1][l] = if behind { at - LANES } else { l } as i32;
        i += 1;
    }
    all
}
