//! Which lanes of two vectors AVX-512's shuffles pick, where they take every second or third element.

/// For [`every_second`](super::Vector::every_second) with `first = 2·i` or `2·i + 1`: from the even (odd) elements of two vectors and a third vector,
/// lanes `i` and on of the former, then every second element of the latter.
pub(super) const fn second<const LANES: usize>(first: usize) -> [i64; LANES] {
    let (shift, mut lanes, mut l) = (first / 2, [0; LANES], 0);
    while l < LANES {
        let ahead = l + shift;
        lanes[l] = if ahead < LANES { ahead } else { LANES + 2 * (ahead - LANES) + first % 2 } as i64;
        l += 1;
    }
    lanes
}

/// Those for each `first`.
pub(super) const fn seconds<const LANES: usize>() -> [[i32; LANES]; 7] {
    let (mut all, mut first) = ([[0; LANES]; 7], 0);
    while first < 7 {
        let (lanes, mut l) = (second::<LANES>(first), 0);
        while l < LANES {
            all[first][l] = lanes[l] as i32;
            l += 1;
        }
        first += 1;
    }
    all
}

/// For [`every_third`](super::Vector::every_third) with each `first`: of two vectors, then of what that gives and a third vector.
pub(super) const fn thirds<const LANES: usize>() -> [[[i32; LANES]; 2]; 3] {
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
