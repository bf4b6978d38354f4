//! Trains a small CNN to tell circles, squares, triangles and crosses apart, on pictures that it draws itself:
//! `train_cnn [--out DIR]`.
//!
//! Shows a progress bar, writes what the first layer has learned to `filters.png` and how the loss fell to `loss.svg`. The exit
//! code is 1 where fewer than 95 % of the unseen pictures are told right.

mod net;
mod shapes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Parser;
use image::{GrayImage, Luma};
use indicatif::{ProgressBar, ProgressStyle};
use net::{Net, accuracy, loss};
use plotters::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use shapes::Pictures;

const MARK: f64 = 0.95;
const BATCH: usize = 32;

/// Trains a small CNN on pictures that it draws itself.
#[derive(Parser)]
struct Arguments {
    /// Where the filters and the plot are written.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Times that all pictures are seen.
    #[arg(long, default_value_t = 8)]
    epochs: usize,
    /// Pictures to learn from; a quarter as many unseen ones judge.
    #[arg(long, default_value_t = 4000)]
    pictures: usize,
    /// The step at the beginning; it falls to nothing.
    #[arg(long, default_value_t = 0.03)]
    rate: f32,
    /// Of the pictures, the weights and the order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let begun = Instant::now();
    let seen = Pictures::draw(arguments.pictures, 2 * arguments.seed);
    let unseen = Pictures::draw(arguments.pictures.div_ceil(4), 2 * arguments.seed + 1);
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let mut net = Net::new(&mut random)?;
    let steps = arguments.epochs * arguments.pictures.div_ceil(BATCH);
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
    let mut order: Vec<usize> = (0..arguments.pictures).collect();
    let mut losses = Vec::new();
    for epoch in 1..=arguments.epochs {
        order.shuffle(&mut random);
        for numbers in order.chunks(BATCH) {
            let Pictures { pixels, classes } = seen.batch(numbers);
            let scores = net.forward(pixels, classes.len())?;
            let (loss, gradient) = loss(&scores, &classes);
            let rate = arguments.rate * (1.0 - losses.len() as f32 / steps as f32);
            net.backward(&gradient, classes.len(), rate)?;
            losses.push(loss);
            bar.set_message(format!("loss {loss:.3}"));
            bar.inc(1);
        }
        let scores = net.forward(unseen.pixels.clone(), unseen.classes.len())?;
        let right = accuracy(&scores, &unseen.classes);
        bar.suspend(|| println!("epoch {epoch}: {:.1} % of the unseen pictures", 100.0 * right));
    }
    bar.finish_and_clear();
    let scores = net.forward(unseen.pixels.clone(), unseen.classes.len())?;
    let right = accuracy(&scores, &unseen.classes);
    println!(
        "{:.1} % of {} unseen pictures after {:.1} s, the mark is {:.0} %",
        100.0 * right,
        unseen.classes.len(),
        begun.elapsed().as_secs_f64(),
        100.0 * MARK
    );
    draw_filters(&net.first.weight, &arguments.out.join("filters.png"))?;
    plot(&losses, &arguments.out.join("loss.svg"))?;
    Ok(if right >= MARK { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The 5 × 5 filters of the first layer side by side, each from its least weight, black, to its greatest.
fn draw_filters(weight: &[f32], path: &Path) -> Result<()> {
    const SIDE: usize = 5;
    const SCALE: usize = 12;
    const STEP: usize = (SIDE + 1) * SCALE;
    let filters: Vec<&[f32]> = weight.chunks_exact(SIDE * SIDE).collect();
    let mut picture = GrayImage::from_pixel((filters.len() * STEP) as u32, STEP as u32, Luma([128]));
    for (i, filter) in filters.iter().enumerate() {
        let (low, high) = filter
            .iter()
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &w| (low.min(w), high.max(w)));
        for row in 0..SIDE * SCALE {
            for col in 0..SIDE * SCALE {
                let weight = filter[row / SCALE * SIDE + col / SCALE];
                let shade = (255.0 * (weight - low) / (high - low)).round() as u8;
                picture.put_pixel(
                    (i * STEP + SCALE / 2 + col) as u32,
                    (SCALE / 2 + row) as u32,
                    Luma([shade]),
                );
            }
        }
    }
    Ok(picture.save(path)?)
}

/// The loss of each step, and its mean over fifty. The grid's lines are a quarter of a nat and an eighth of all steps apart.
fn plot(losses: &[f32], path: &Path) -> Result<()> {
    let problem = |error: &dyn std::fmt::Display| anyhow!("{}: {error}", path.display());
    let area = SVGBackend::new(path, (900, 400)).into_drawing_area();
    area.fill(&WHITE).map_err(|error| problem(&error))?;
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .build_cartesian_2d(0.0..losses.len() as f32, 0.0..1.75_f32)
        .map_err(|error| problem(&error))?;
    let eighth = losses.len() as f32 / 8.0;
    let lines = (0..=7).map(|i| vec![(0.0, i as f32 * 0.25), (losses.len() as f32, i as f32 * 0.25)]);
    let columns = (0..=8).map(|i| vec![(i as f32 * eighth, 0.0), (i as f32 * eighth, 1.75)]);
    for line in lines.chain(columns) {
        chart.draw_series([PathElement::new(line, BLACK.mix(0.15))]).map_err(|error| problem(&error))?;
    }
    let points = losses.iter().enumerate().map(|(i, &loss)| (i as f32, loss.min(1.75)));
    chart.draw_series(LineSeries::new(points, BLUE.mix(0.3))).map_err(|error| problem(&error))?;
    let means = losses.windows(50).enumerate().map(|(i, window)| {
        let mean = window.iter().sum::<f32>() / window.len() as f32;
        ((i + 25) as f32, mean.min(1.75))
    });
    chart.draw_series(LineSeries::new(means, RED.stroke_width(2))).map_err(|error| problem(&error))?;
    area.present().map_err(|error| problem(&error))
}
