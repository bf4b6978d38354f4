//! The convolution chapters of a textbook, step by step, every step printed and checked:
//! `cargo run --release --example textbook`.
//!
//! Source: Zhang, Lipton, Li, Smola, "Dive into Deep Learning", d2l.ai, chapters 7.1 to 7.4. The numbers that the book
//! gives are here; words and code are our own. `docs/textbook.md` tells the same as a page to read.
//!
//! "Convolution" means cross-correlation, as in deep learning. Nearly all data are small integers, for which `f32` is
//! exact, so that results have to be equal and not merely close. The first thing that does not hold ends the program
//! with an error.

mod basics;
mod channels;
mod derivatives;
mod matrices;
mod plane;
mod reach;

use anyhow::{Context, Result};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 12] = [
    ("Cross-correlation", basics::cross_correlation),
    ("A layer: weight and bias", basics::layer),
    ("Edges", basics::edges),
    ("Padding and stride", basics::padding_and_stride),
    ("Several channels", channels::several_channels),
    ("1×1 convolution", channels::one_by_one),
    ("Convolution as one matrix product", matrices::one_matrix_product),
    ("Cross-correlation and true convolution", matrices::true_convolution),
    ("Kernels by hand: derivative and integral", derivatives::by_hand),
    ("How many taps a d-th derivative takes", derivatives::taps_of_derivatives),
    ("Receptive field", reach::receptive_fields),
    ("One axis and three", reach::one_and_three_axes),
];

fn main() -> Result<()> {
    for (index, (title, step)) in STEPS.iter().enumerate() {
        let heading = format!("{}. {title}", index + 1);
        println!("{heading}\n{}\n", "=".repeat(heading.chars().count()));
        step().with_context(|| format!("step {heading}"))?;
        println!();
    }
    println!("All {} steps hold.", STEPS.len());
    Ok(())
}
