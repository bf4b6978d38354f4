//! Winograd's minimal filtering along one axis: the polynomials behind it, and what it makes of weights.
//!
//! `tile` outputs of a kernel of `kernel` taps are `Aᵀ·((G·g) ⊙ (Bᵀ·d))`: the kernel g and the `tile + kernel − 1` inputs d, as values of
//! polynomials at as many points, are multiplied point by point. The points are 0, ∞ and pairs ±p. With M(x) the product of (x − a) over
//! the finite points a, row a of Bᵀ has the coefficients of M(x) / (x − a), row a of G the powers of a over M′(a), column a of Aᵀ the
//! powers of a; for ∞ they are M(x), the last tap and the last output.
//!
//! Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; the matrices as in Toom and Cook's construction. That
//! the points decide the error is from Barabasz, Anderson, Soodhalter, Gregg, "Error Analysis and Improving the Accuracy of Winograd
//! Convolution for Deep Neural Networks", 2020; that fractions other than 1/2 can be better, from Alam, Anderson, Barabasz, Gregg,
//! "Winograd Convolution for Deep Neural Networks: Efficient Point Selection", 2022. Those of 6 points were found by measuring: half the
//! error of ±1, ±2. All are sums of few powers of two, so that the coefficients are exact in single precision.

/// Pairs of points at most, and points.
const PAIRS: usize = 3;
pub(crate) const MOST_POINTS: usize = 2 * PAIRS + 2;

/// Taps of a kernel at most.
pub(crate) const MOST_TAPS: usize = 5;

/// The points p of the pairs ±p, for a number of points that is 2 more than twice theirs.
const fn pairs(points: usize) -> &'static [f64] {
    match points {
        4 => &[1.0],
        6 => &[0.625, 1.5],
        8 => &[1.0, 0.5, 2.0],
        _ => &[],
    }
}

/// The coefficients of the product of (x² − p²) over the pairs of `points` but number `without`, the lowest first; that of the
/// highest power is 1.
const fn product(points: usize, without: usize) -> [f64; PAIRS + 1] {
    let pairs = pairs(points);
    let mut coefficients = [0.0; PAIRS + 1];
    coefficients[0] = 1.0;
    let (mut i, mut degree) = (0, 0);
    while i < pairs.len() {
        if i != without {
            degree += 1;
            let mut k = degree;
            while k > 0 {
                coefficients[k] = coefficients[k - 1] - pairs[i] * pairs[i] * coefficients[k];
                k -= 1;
            }
            coefficients[0] *= -pairs[i] * pairs[i];
        }
        i += 1;
    }
    coefficients
}

/// What the transforms of inputs and of products are made of, for a number of points.
#[derive(Debug)]
pub(crate) struct Coefficients {
    /// The powers 0 to 5 of each point.
    powers: [[f64; 6]; PAIRS],
    /// For 0 and ∞: the product over all pairs.
    pub(crate) all: [f64; PAIRS + 1],
    /// For each pair: the product over the others.
    others: [[f64; PAIRS + 1]; PAIRS],
}

impl Coefficients {
    pub(crate) const fn of(points: usize) -> Self {
        let pairs = pairs(points);
        let (mut powers, mut others) = ([[1.0; 6]; PAIRS], [[0.0; PAIRS + 1]; PAIRS]);
        let mut i = 0;
        while i < pairs.len() {
            let mut k = 1;
            while k < 6 {
                powers[i][k] = powers[i][k - 1] * pairs[i];
                k += 1;
            }
            others[i] = product(points, i);
            i += 1;
        }
        Self { powers, all: product(points, PAIRS), others }
    }

    /// The power `k` of the point of pair `i`.
    #[inline(always)]
    pub(crate) fn power(&self, i: usize, k: usize) -> f64 {
        self.powers[i][k]
    }

    /// The product over all pairs but `i`.
    #[inline(always)]
    pub(crate) fn others(&self, i: usize) -> &[f64] {
        &self.others[i]
    }
}

/// The filtering of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    /// Outputs at a time.
    pub(crate) tile: usize,
    pub(crate) kernel: usize,
}

impl Filter {
    /// That of `tile` outputs, if there is one; of one tap, which there is nothing to be saved of, one output.
    pub(crate) fn new(kernel: usize, tile: usize) -> Option<Self> {
        match (kernel, tile) {
            (1, _) => Some(Self { tile: 1, kernel }),
            (3, 2 | 4 | 6) | (5, 2 | 4) => Some(Self { tile, kernel }),
            _ => None,
        }
    }

    /// Products, and inputs, of a tile.
    pub(crate) const fn points(self) -> usize {
        self.tile + self.kernel - 1
    }

    /// G: for each point what each tap is multiplied by.
    fn weight_rows(self) -> [[f64; MOST_TAPS]; MOST_POINTS] {
        let mut rows = [[0.0; MOST_TAPS]; MOST_POINTS];
        if self.kernel == 1 {
            rows[0][0] = 1.0;
            return rows;
        }
        let points = self.points();
        let pairs = pairs(points);
        rows[0][0] = 1.0 / product(points, PAIRS)[0];
        for (i, &p) in pairs.iter().enumerate() {
            // M(x) = x · (x² − p²) · others(x²), so that M′(±p) = 2p² · others(p²).
            let others = product(points, i).iter().rev().fold(0.0, |value, c| value * p * p + c);
            for (row, a) in [(1 + 2 * i, p), (2 + 2 * i, -p)] {
                for (k, to) in rows[row].iter_mut().enumerate().take(self.kernel) {
                    *to = a.powi(k as i32) / (2.0 * p * p * others);
                }
            }
        }
        rows[points - 1][self.kernel - 1] = 1.0;
        rows
    }
}

/// G for both axes of a plane.
pub(crate) struct WeightTransform {
    /// Taps and points of each axis.
    pub(crate) taps: [usize; 2],
    pub(crate) points: [usize; 2],
    /// For each axis and point what each tap is multiplied by.
    pub(crate) rows: [[[f64; MOST_TAPS]; MOST_POINTS]; 2],
}

impl WeightTransform {
    pub(crate) fn new(filters: [Filter; 2]) -> Self {
        let taps = filters.map(|filter| filter.kernel);
        Self { taps, points: filters.map(Filter::points), rows: filters.map(Filter::weight_rows) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of Bᵀ, and columns of Aᵀ, written out.
    fn matrices(filter: Filter) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let (points, tile) = (filter.points(), filter.tile);
        let of = Coefficients::of(points);
        let count = (points - 2) / 2;
        let mut inputs = vec![vec![0.0; points]; points];
        let mut outputs = vec![vec![0.0; tile]; points];
        for k in 0..=count {
            inputs[0][2 * k] = of.all[k];
            inputs[points - 1][2 * k + 1] = of.all[k];
        }
        for i in 0..count {
            for (row, sign) in [(1 + 2 * i, 1.0), (2 + 2 * i, -1.0)] {
                for k in 0..count {
                    inputs[row][2 * k + 2] = of.others[i][k];
                    inputs[row][2 * k + 1] = sign * of.powers[i][1] * of.others[i][k];
                }
                for (k, to) in outputs[row].iter_mut().enumerate() {
                    *to = if k % 2 == 0 { of.powers[i][k] } else { sign * of.powers[i][k] };
                }
            }
        }
        outputs[0][0] = 1.0;
        outputs[points - 1][tile - 1] = 1.0;
        (inputs, outputs)
    }

    #[test]
    fn the_matrices_give_the_convolution() {
        for (kernel, tile) in [(3, 2), (3, 4), (3, 6), (5, 2), (5, 4)] {
            let filter = Filter::new(kernel, tile).unwrap();
            let (inputs, outputs) = matrices(filter);
            let d: Vec<_> = (0..filter.points()).map(|i| ((i * i + 3 * i) % 7) as f64 - 2.5).collect();
            let g: Vec<_> = (0..kernel).map(|i| 1.5 - ((i * 5) % 4) as f64).collect();
            let rows = filter.weight_rows();
            for y in 0..tile {
                let direct: f64 = (0..kernel).map(|k| d[y + k] * g[k]).sum();
                let fast: f64 = (0..filter.points())
                    .map(|point| {
                        let weight: f64 = (0..kernel).map(|k| rows[point][k] * g[k]).sum();
                        let input: f64 = inputs[point].iter().zip(&d).map(|(b, d)| b * d).sum();
                        outputs[point][y] * weight * input
                    })
                    .sum();
                assert!((direct - fast).abs() < 1e-12, "{filter:?} {y}: {direct} {fast}");
            }
        }
    }

    #[test]
    fn coefficients_are_exact_in_single_precision() {
        for points in [4, 6, 8] {
            let Coefficients { powers, all, others } = Coefficients::of(points);
            let count = (points - 2) / 2;
            let powers = powers.iter().take(count).flatten();
            for &c in powers.chain(&all).chain(others.iter().flatten()) {
                assert_eq!(f64::from(c as f32).to_bits(), c.to_bits(), "{points}: {c}");
            }
        }
    }

    #[test]
    fn there_are_filters_for_these_kernels_alone() {
        assert_eq!(Filter::new(1, 4), Some(Filter { tile: 1, kernel: 1 }));
        assert_eq!(Filter::new(3, 6).map(Filter::points), Some(8));
        for (kernel, tile) in [(3, 3), (3, 8), (5, 6), (7, 2), (2, 2), (3, 0)] {
            assert_eq!(Filter::new(kernel, tile), None, "{kernel} {tile}");
        }
    }
}
