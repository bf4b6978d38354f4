//! Pictures of four shapes, drawn with noise, at any place, size and angle.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Height and width of a picture.
pub(crate) const SIDE: usize = 24;

pub(crate) const CLASSES: usize = 4;

/// Samples of a pixel along each axis.
const SAMPLES: usize = 2;

/// Pictures, `[count, 1, SIDE, SIDE]`, and the class of each.
pub(crate) struct Pictures {
    pub(crate) pixels: Vec<f32>,
    pub(crate) classes: Vec<usize>,
}

impl Pictures {
    pub(crate) fn draw(count: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let classes: Vec<_> = (0..count).map(|_| random.random_range(0..CLASSES)).collect();
        let pixels = classes.iter().flat_map(|&class| picture(class, &mut random)).collect();
        Self { pixels, classes }
    }

    /// The pictures with these numbers.
    pub(crate) fn batch(&self, numbers: &[usize]) -> Self {
        let picture = |&i: &usize| &self.pixels[i * SIDE * SIDE..(i + 1) * SIDE * SIDE];
        Self {
            pixels: numbers.iter().flat_map(picture).copied().collect(),
            classes: numbers.iter().map(|&i| self.classes[i]).collect(),
        }
    }
}

fn picture(class: usize, random: &mut StdRng) -> Vec<f32> {
    let size = random.random_range(5.0..9.0);
    let angle = random.random_range(0.0..std::f64::consts::TAU);
    let most = SIDE as f64 - size - 1.0;
    let [x, y] = [(); 2].map(|()| random.random_range(size + 1.0..most));
    let brightness = random.random_range(0.6..1.0);
    let (sin, cos) = angle.sin_cos();
    let covered = |row: usize, col: usize| {
        let sample = |i: usize| (i as f64 + 0.5) / SAMPLES as f64;
        let mut count = 0;
        for i in 0..SAMPLES * SAMPLES {
            let (dx, dy) = (col as f64 + sample(i % SAMPLES) - x, row as f64 + sample(i / SAMPLES) - y);
            let (u, v) = ((cos * dx + sin * dy) / size, (cos * dy - sin * dx) / size);
            count += usize::from(inside(class, u, v));
        }
        count as f64 / (SAMPLES * SAMPLES) as f64
    };
    (0..SIDE * SIDE)
        .map(|i| {
            let noise: f64 = (0..4).map(|_| random.random_range(-0.15..0.15)).sum();
            (brightness * covered(i / SIDE, i % SIDE) + noise) as f32
        })
        .collect()
}

/// Whether a shape of the size 1 has the point.
fn inside(class: usize, u: f64, v: f64) -> bool {
    match class {
        0 => u * u + v * v < 0.8,
        1 => u.abs().max(v.abs()) < 0.75,
        2 => v > -0.5 && v < 1.0 - 3.0_f64.sqrt() * u.abs(),
        _ => u.abs().min(v.abs()) < 0.22 && u.abs().max(v.abs()) < 0.95,
    }
}
