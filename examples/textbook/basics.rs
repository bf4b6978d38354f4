//! Chapters 7.2 and 7.3: the sliding window, the layer, edges, padding and stride.

use anyhow::{Result, ensure};
use convgemm::reference::{self, Oracle};
use convgemm::{Conv2d, Params};

use crate::plane::{Plane, by_crate, by_crate_with, corr2d, same, show};

/// The book's first example, four ways.
pub(crate) fn cross_correlation() -> Result<()> {
    let image = Plane::ramp([3, 3], 0);
    let kernel = Plane::ramp([2, 2], 0);
    let result = corr2d(&image, &kernel);
    show(&[("image", &image), ("kernel", &kernel), ("result", &result)]);
    println!("  The window's upper left corner is where the result stands:");
    println!(
        "  0·0 + 1·1 + 3·2 + 4·3 = 19. Of n and k elements, n − k + 1 windows fit: 3×3 and 2×2 give 2×2."
    );
    same("by hand", &result, &Plane::new([2, 2], &[19., 25., 37., 43.]))?;
    let reference = reference::corr2d(&image.values, image.extent, &kernel.values, kernel.extent)?;
    same("reference::corr2d", &reference, &result.values)?;
    same("conv2d", &by_crate(&image, &kernel)?, &result)?;
    let layer = Conv2d::builder(1, 1, [2, 2]).build(&kernel.values)?;
    same("Conv2d", &layer.forward(&image.values, 1, image.extent)?, &result.values)
}

/// A generator of numbers that look random and are the same everywhere (splitmix64: Steele, Lea, Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014).
struct Random(u64);

impl Random {
    /// `len` numbers from −`bound` to `bound`.
    fn uniform(&mut self, len: usize, bound: f32) -> Vec<f32> {
        (0..len).map(|_| (self.unit() * 2.0 - 1.0) * bound).collect()
    }

    /// From 0 to below 1: 24 bits, which is what an `f32` holds.
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0
    }
}

const IN: usize = 3;
const OUT: usize = 4;
const TAPS: usize = 3;

/// A layer with random weight and bias against its definition.
pub(crate) fn layer() -> Result<()> {
    let (batch, extent) = (2, [6, 7]);
    let mut random = Random(1);
    let fan_in = (IN * TAPS * TAPS) as f32;
    let bound = (6.0 / fan_in).sqrt();
    let weight = random.uniform(OUT * IN * TAPS * TAPS, bound);
    let bias = random.uniform(OUT, 1.0 / fan_in.sqrt());
    let x = random.uniform(batch * IN * extent[0] * extent[1], 1.0);
    println!(
        "  3 → 4 channels, 3×3, two images of 6×7. Weight: Kaiming-uniform, from −√(6 / fan_in) to √(6 / fan_in),"
    );
    println!("  fan_in = 3·3·3 = 27, so up to {bound:.4} (He et al. 2015). Bias: uniform up to 1 / √fan_in.");
    let layer = Conv2d::builder(IN, OUT, [TAPS; 2]).bias(&bias).build(&weight)?;
    let y = layer.forward(&x, batch, extent)?;
    let oracle = Oracle::new(layer.params(), batch, extent, &x, &weight)?.bias(&bias)?;
    let expected = definition(batch, extent, &x, &weight, &bias);
    same("shape [2, 4, 4, 5]", (layer.output_extent(extent)?, y.len()), ([4, 5], expected.len()))?;
    let mut largest = 0.0_f64;
    for (index, (&got, &exact)) in y.iter().zip(&expected).enumerate() {
        let (error, allowed) = ((f64::from(got) - exact).abs(), oracle.bound_at(index));
        ensure!(error <= allowed, "output {index} is {got}, {error} from {exact}; {allowed} is allowed");
        largest = largest.max(error);
    }
    println!(
        "  ok  the definition, summed in f64: at most {largest:.1e} away, within the rounding error's bound"
    );
    if layer.isa().is_fused() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        same("reference::Oracle, byte for byte", bits(&y), bits(&oracle.output()))?;
    }
    Ok(())
}

/// y[n,o,i,j] = bias[o] + Σ weight[o,c,a,b] · x[n,c,i+a,j+b] over c, a, b; in double precision.
fn definition(
    batch: usize,
    [height, width]: [usize; 2],
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
) -> Vec<f64> {
    let mut y = vec![];
    for n in 0..batch {
        for o in 0..OUT {
            for i in 0..=height - TAPS {
                for j in 0..=width - TAPS {
                    let mut sum = f64::from(bias[o]);
                    for c in 0..IN {
                        for (a, b) in (0..TAPS).flat_map(|a| (0..TAPS).map(move |b| (a, b))) {
                            let w = weight[((o * IN + c) * TAPS + a) * TAPS + b];
                            let value = x[((n * IN + c) * height + i + a) * width + j + b];
                            sum += f64::from(w) * f64::from(value);
                        }
                    }
                    y.push(sum);
                }
            }
        }
    }
    y
}

/// A derivative across sees what changes from left to right and nothing else.
pub(crate) fn edges() -> Result<()> {
    let image = Plane::from_fn([6, 8], |_, j| if (2..6).contains(&j) { 0.0 } else { 1.0 });
    let kernel = Plane::new([1, 2], &[1., -1.]);
    let found = by_crate(&image, &kernel)?;
    show(&[("image X", &image), ("kernel K", &kernel), ("X with K", &found)]);
    let row = [0., 1., 0., 0., 0., -1., 0.];
    same(
        "1 from white to black, −1 from black to white, else 0",
        &found,
        &Plane::from_fn([6, 7], |_, j| row[j]),
    )?;

    let turned = image.transposed();
    let (missed, seen) = (by_crate(&turned, &kernel)?, by_crate(&turned, &kernel.transposed())?);
    println!();
    show(&[("Xᵀ", &turned), ("Xᵀ with K", &missed), ("Xᵀ with Kᵀ", &seen)]);
    same(
        "Xᵀ with K: the edges run along K, which sees nothing",
        &missed,
        &Plane::from_fn([8, 5], |_, _| 0.0),
    )?;
    same("Xᵀ with Kᵀ is X with K, transposed", &seen, &found.transposed())?;
    diagonal_edge(&kernel)
}

/// A diagonal is along neither axis, so either kernel sees it.
fn diagonal_edge(kernel: &Plane) -> Result<()> {
    let image = Plane::from_fn([5, 5], |i, j| if j >= i { 1.0 } else { 0.0 });
    let across = by_crate(&image, kernel)?;
    let of_transpose = by_crate(&image.transposed(), kernel)?;
    let down = by_crate(&image, &kernel.transposed())?;
    println!();
    show(&[
        ("diagonal X", &image),
        ("X with K", &across),
        ("Xᵀ with K", &of_transpose),
        ("X with Kᵀ", &down),
    ]);
    let left = Plane::from_fn([5, 4], |i, j| if j + 1 == i { -1.0 } else { 0.0 });
    let on = Plane::from_fn([5, 4], |i, j| if j == i { 1.0 } else { 0.0 });
    same("X with K: −1 left of the diagonal, from black to white", &across, &left)?;
    same("Xᵀ with K: 1 on the diagonal, from white to black", &of_transpose, &on)?;
    same("X with Kᵀ: 1 on the diagonal, the same edge seen downwards", &down, &on.transposed())?;
    same("X with Kᵀ is Xᵀ with K, transposed", &down, &of_transpose.transposed())
}

/// Kernel, padding, stride, and what an 8×8 image becomes.
type ShapeCase = [[usize; 2]; 4];

const SHAPES: [ShapeCase; 5] = [
    [[3, 3], [0, 0], [1, 1], [6, 6]],
    [[3, 3], [1, 1], [1, 1], [8, 8]],
    [[5, 3], [2, 1], [1, 1], [8, 8]],
    [[3, 3], [1, 1], [2, 2], [4, 4]],
    [[3, 5], [0, 1], [3, 4], [2, 2]],
];

/// Padding makes the image larger, a stride leaves windows out.
pub(crate) fn padding_and_stride() -> Result<()> {
    println!("  n elements padded by p on either side, k taps, stride s: ⌊(n + 2p − k) / s⌋ + 1 windows.\n");
    let image = Plane::ramp([8, 8], 0);
    for [kernel, padding, stride, expected] in SHAPES {
        let params = Params::new(1, 1, kernel).padding(padding).stride(stride);
        let formula = [0, 1].map(|axis| (8 + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1);
        let [[kh, kw], [ph, pw], [sh, sw], [h, w]] = [kernel, padding, stride, expected];
        let case = format!("8×8, kernel {kh}×{kw}, padding {ph},{pw}, stride {sh},{sw}: {h}×{w}");
        same(&case, [params.output_extent(image.extent)?, formula], [expected; 2])?;
        let taps = Plane::ramp(kernel, 1);
        let y = by_crate_with(&params, &image, &taps)?;
        let by_hand = corr2d(&image.padded(padding), &taps).every(stride);
        same("    run: every s-th window of the padded image", &y, &by_hand)?;
    }
    figures()
}

/// The book's drawn example, padded and strided.
fn figures() -> Result<()> {
    let (image, kernel) = (Plane::ramp([3, 3], 0), Plane::ramp([2, 2], 0));
    let params = Params::new(1, 1, [2, 2]).padding([1, 1]);
    let padded = by_crate_with(&params, &image, &kernel)?;
    let strided = by_crate_with(&params.stride([3, 2]), &image, &kernel)?;
    println!();
    let captions = ["padded by 1", "kernel", "stride 1", "stride 3,2"];
    show(&[
        (captions[0], &image.padded([1, 1])),
        (captions[1], &kernel),
        (captions[2], &padded),
        (captions[3], &strided),
    ]);
    let expected = [0., 3., 8., 4., 9., 19., 25., 10., 21., 37., 43., 16., 6., 7., 8., 0.];
    same("padding 1", &padded, &Plane::new([4, 4], &expected))?;
    same("padding 1, stride 3 down and 2 across", &strided, &Plane::new([2, 2], &[0., 8., 6., 8.]))
}
