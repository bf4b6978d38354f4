//! Filters a picture with one convolution and checks the result against the oracle:
//! `edges [IN.png] [-o OUT.png] [--kernel sobel|laplacian|vertical|gaussian|box|sharpen|emboss]`.
//!
//! Without a picture it draws one. Pixels are grey values from 0 to 1; outside the picture they read as 0, so that
//! kernels of odd extents keep the picture's size (and edge kernels see the picture's own border).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use convgemm::reference::Oracle;
use convgemm::{Conv2d, Params, Workspace};
use image::{GrayImage, ImageFormat, ImageReader, Luma};

/// Filters a picture with one convolution and checks the result against the oracle.
#[derive(Parser)]
struct Args {
    /// The picture (PNG, JPEG, BMP or PNM), read as grey values; one is drawn where none is given
    picture: Option<PathBuf>,
    /// Where the 8-bit PNG goes
    #[arg(short, long, default_value = "edges.png")]
    output: PathBuf,
    /// What to convolve with
    #[arg(short, long, value_enum, default_value_t = Kernel::Sobel)]
    kernel: Kernel,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kernel {
    /// Gradient magnitude √(gx² + gy²): the 3×3 Sobel operators as two output channels
    Sobel,
    /// Second derivative: the five-point 3×3 stencil [0 1 0; 1 −4 1; 0 1 0], its absolute value
    Laplacian,
    /// The textbook's [1, −1]: vertical edges, absolute value; the result is one column narrower
    Vertical,
    /// Smoothing with the 5×5 binomial kernel
    Gaussian,
    /// Local integral: the 5×5 box average
    Box,
    /// The picture minus its five-point Laplacian
    Sharpen,
    /// Light from the upper left: a diagonal derivative on mid-grey
    Emboss,
}

/// What one kernel is: `[filters, 1, taps…]`, and how its result becomes grey values from 0 to 1.
struct Filter {
    filters: usize,
    taps: [usize; 2],
    weight: Vec<f32>,
    shade: fn(&[f32]) -> f32,
}

impl Filter {
    fn new(kernel: Kernel) -> Self {
        let one = |taps, weight, shade| Self { filters: 1, taps, weight, shade };
        match kernel {
            Kernel::Sobel => Self { filters: 2, taps: [3, 3], weight: sobel(), shade: magnitude },
            Kernel::Laplacian => one([3, 3], vec![0., 1., 0., 1., -4., 1., 0., 1., 0.], absolute),
            Kernel::Vertical => one([1, 2], vec![1., -1.], absolute),
            Kernel::Gaussian => one([5, 5], binomial(), as_is),
            Kernel::Box => one([5, 5], vec![1. / 25.; 25], as_is),
            Kernel::Sharpen => one([3, 3], vec![0., -1., 0., -1., 5., -1., 0., -1., 0.], as_is),
            Kernel::Emboss => one([3, 3], vec![-1., -1., 0., -1., 0., 1., 0., 1., 1.], on_grey),
        }
    }

    /// Padding keeps the extent where that of the kernel is odd.
    fn params(&self) -> Params<2> {
        let padding = self.taps.map(|taps| if taps % 2 == 1 { taps / 2 } else { 0 });
        Params::new(1, self.filters, self.taps).padding(padding)
    }
}

/// gx and gy.
fn sobel() -> Vec<f32> {
    let (smooth, derive) = ([1., 2., 1.], [-1., 0., 1.]);
    [outer(&smooth, &derive), outer(&derive, &smooth)].concat()
}

/// Sums to 1, and every weight is a power of two times a small integer.
fn binomial() -> Vec<f32> {
    let row = [1., 4., 6., 4., 1.].map(|weight| weight / 16.);
    outer(&row, &row)
}

fn outer(column: &[f32], row: &[f32]) -> Vec<f32> {
    column.iter().flat_map(|c| row.iter().map(move |r| c * r)).collect()
}

/// A step from 0 to 1 has the magnitude 4.
fn magnitude(gradient: &[f32]) -> f32 {
    gradient.iter().map(|g| g * g).sum::<f32>().sqrt() / 4.
}

fn absolute(value: &[f32]) -> f32 {
    value[0].abs()
}

fn as_is(value: &[f32]) -> f32 {
    value[0]
}

fn on_grey(value: &[f32]) -> f32 {
    0.5 + value[0] / 2.
}

/// Grey values from 0 to 1, row by row.
struct Picture {
    extent: [usize; 2],
    pixels: Vec<f32>,
}

impl Picture {
    fn read(path: &Path) -> Result<Self> {
        let image = ImageReader::open(path)
            .with_context(|| format!("cannot open {}", path.display()))?
            .with_guessed_format()
            .with_context(|| format!("cannot read {}", path.display()))?
            .decode()
            .with_context(|| format!("{} is not a readable picture", path.display()))?
            .to_luma32f();
        let extent = [image.height() as usize, image.width() as usize];
        Ok(Self { extent, pixels: image.into_raw() })
    }

    /// A disc, a ring, a diamond and stripes before a gradient.
    fn draw() -> Self {
        let extent = [480, 640];
        let pixels = (0..extent[0] * extent[1])
            .map(|i| shade_at((i % extent[1]) as f32 / 640., (i / extent[1]) as f32 / 640.))
            .collect();
        Self { extent, pixels }
    }
}

/// The drawn picture's grey value; x from 0 to 1, y from 0 to ¾.
fn shade_at(x: f32, y: f32) -> f32 {
    let ring = (x - 0.68).hypot(y - 0.22);
    let disc = (x - 0.27).hypot(y - 0.27);
    if disc < 0.17 {
        // Lit from the upper left.
        1. - ((x - 0.2).hypot(y - 0.2) * 2.5).min(0.9)
    } else if (0.1..0.14).contains(&ring) || ring < 0.04 {
        0.95
    } else if (x - 0.8).abs() + (y - 0.53).abs() < 0.14 {
        0.08
    } else if (0.08..0.5).contains(&x) && (0.52..0.68).contains(&y) {
        // Stripes that get narrower to the right.
        if ((x * x * 60.) as u32).is_multiple_of(2) { 0.85 } else { 0.2 }
    } else {
        0.3 + 0.4 * x * (1. - y)
    }
}

/// The result of a convolution, `[filters, extent…]`, and how long it took.
struct Filtered {
    extent: [usize; 2],
    values: Vec<f32>,
    time: Duration,
}

/// Convolves twice, so that the time is that of a call whose memory and plan are there.
fn convolve(conv: &Conv2d, picture: &Picture) -> Result<Filtered> {
    let geometry = conv.geometry(1, picture.extent).context("the kernel does not fit into the picture")?;
    let mut values = vec![0.; geometry.output_len()];
    let mut workspace = Workspace::new();
    let mut call = || conv.forward_into(&picture.pixels, 1, picture.extent, &mut values, &mut workspace);
    call()?;
    let start = Instant::now();
    call()?;
    Ok(Filtered { time: start.elapsed(), extent: geometry.output_extent(), values })
}

/// Compares with the oracle; says what was found.
fn check(conv: &Conv2d, weight: &[f32], picture: &Picture, y: &[f32]) -> Result<&'static str> {
    let oracle = Oracle::new(conv.params(), 1, picture.extent, &picture.pixels, weight)?;
    let fused = conv.isa().is_fused();
    for (index, &y) in y.iter().enumerate() {
        let agrees = if fused {
            y.to_bits() == oracle.at(index).to_bits()
        } else {
            (f64::from(y) - oracle.at_f64(index)).abs() <= oracle.bound_at(index)
        };
        ensure!(agrees, "output[{index}] is {y}, the oracle's is {}", oracle.at(index));
    }
    Ok(if fused { "the oracle's, byte for byte" } else { "the oracle's within its error bound" })
}

/// One pixel for each output position.
fn render(filtered: &Filtered, shade: fn(&[f32]) -> f32) -> GrayImage {
    let [height, width] = filtered.extent;
    GrayImage::from_fn(width as u32, height as u32, |x, y| {
        let position = y as usize * width + x as usize;
        let plane = filtered.values.iter().skip(position).step_by(height * width);
        let channels: Vec<f32> = plane.copied().collect();
        Luma([(shade(&channels).clamp(0., 1.) * 255.).round() as u8])
    })
}

fn main() -> Result<()> {
    let args = Args::parse();
    let picture = args.picture.as_deref().map_or_else(|| Ok(Picture::draw()), Picture::read)?;
    let filter = Filter::new(args.kernel);
    let conv = Conv2d::with_params(filter.params()).build(&filter.weight)?;
    let filtered = convolve(&conv, &picture)?;
    let verdict = check(&conv, &filter.weight, &picture, &filtered.values)?;
    let [[height, width], [out_height, out_width]] = [picture.extent, filtered.extent];
    render(&filtered, filter.shade)
        .save_with_format(&args.output, ImageFormat::Png)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    println!("picture    {width}×{height} in, {out_width}×{out_height} out: {}", args.output.display());
    println!("{}", conv.plan(1, picture.extent)?);
    println!("time       {:.3} ms", filtered.time.as_secs_f64() * 1e3);
    println!("checked    every value is {verdict}");
    Ok(())
}
