//! Learns the edge kernel [1, −1] from a picture and its edges, by gradient descent: `learn_kernel`.
//!
//! The picture, the edges and the steps are those of "Dive into Deep Learning" (Zhang, Lipton, Li, Smola), section 7.2.4:
//! the loss is the sum of squared differences, each step follows the gradient of the whole picture. 100 other starts show
//! that it does not depend on where it begins. The exit code is 1 where a learned kernel is further from [1, −1] than it should be.

#[path = "common/data.rs"]
#[allow(dead_code)]
mod data;

use std::process::ExitCode;

use anyhow::Result;
use convgemm::reference::corr2d;
use convgemm::{BackwardOptions, Conv2d, Geometry, Params, Workspace, backward_bias, backward_weight};

const EXTENT: [usize; 2] = [6, 8];
const EDGES: [f32; 2] = [1.0, -1.0];
const STARTS: u64 = 100;

/// How far from the kernel each of the starts may end: after so many epochs.
const MARKS: [(usize, f32); 2] = [(10, 0.09), (100, 1e-5)];

/// A layer that is being learned.
struct Learner {
    geometry: Geometry<2>,
    picture: Vec<f32>,
    edges: Vec<f32>,
    conv: Conv2d,
    weight: Vec<f32>,
    bias: Option<f32>,
    y: Vec<f32>,
    workspace: Workspace,
}

impl Learner {
    fn new(start: u64, bias: bool) -> Result<Self> {
        let row = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        let picture: Vec<f32> = row.iter().copied().cycle().take(EXTENT.iter().product()).collect();
        let edges = corr2d(&picture, EXTENT, &EDGES, [1, 2])?;
        // As layers of two terms are commonly begun: evenly from −1/√2 to 1/√2.
        let weight: Vec<f32> = data::random(2, start).iter().map(|w: &f32| w * 0.5_f32.sqrt()).collect();
        let params = Params::new(1, 1, [1, 2]);
        let conv = Conv2d::with_params(params).build(&weight)?;
        let y = vec![0.0; edges.len()];
        let geometry = params.geometry(1, EXTENT)?;
        let bias = bias.then_some(0.0);
        Ok(Self { geometry, picture, edges, conv, weight, bias, y, workspace: Workspace::new() })
    }

    /// One step against the gradient; gives the loss before it.
    fn step(&mut self, rate: f32) -> Result<f32> {
        let Self { geometry, picture, edges, conv, weight, bias, y, workspace } = self;
        conv.forward_into(picture, 1, EXTENT, y, workspace)?;
        let mut loss = 0.0;
        for (y, edge) in y.iter_mut().zip(edges) {
            let off = *y + bias.unwrap_or(0.0) - *edge;
            loss += off * off;
            // The gradient of the loss with respect to y.
            *y = 2.0 * off;
        }
        let options = BackwardOptions::new();
        let mut gradient = [0.0; 2];
        backward_weight(geometry, picture, y, &options, &mut gradient, workspace)?;
        weight.iter_mut().zip(gradient).for_each(|(w, gradient)| *w -= rate * gradient);
        if let Some(bias) = bias {
            let mut gradient = [0.0];
            backward_bias(geometry, y, &options, &mut gradient)?;
            *bias -= rate * gradient[0];
        }
        conv.update_weight(weight)?;
        Ok(loss)
    }

    /// The distance to the kernel, along the axis on which it is greater.
    fn distance(&self) -> f32 {
        self.weight.iter().zip(EDGES).map(|(w, edge)| (w - edge).abs()).fold(0.0, f32::max)
    }
}

/// Prints how the loss falls.
fn show(title: &str, rate: f32, epochs: usize, every: usize, bias: bool) -> Result<()> {
    println!("{title}");
    let mut learner = Learner::new(1, bias)?;
    for epoch in 1..=epochs {
        let loss = learner.step(rate)?;
        if epoch % every == 0 {
            println!("  epoch {epoch:2}, loss {loss:.3}");
        }
    }
    print!("  kernel [{:.4}, {:.4}]", learner.weight[0], learner.weight[1]);
    println!("{}", learner.bias.map_or(String::new(), |bias| format!(", bias {bias:.4}")));
    Ok(())
}

fn main() -> Result<ExitCode> {
    show("learning rate 0.03, without a bias", 3e-2, 10, 2, false)?;
    show("learning rate 0.01, with a bias", 1e-2, 20, 4, true)?;
    let mut reached = true;
    let mut learners = (1..=STARTS).map(|start| Learner::new(start, false)).collect::<Result<Vec<_>>>()?;
    let mut epochs = 0;
    for (until, most) in MARKS {
        let mut worst = 0.0_f32;
        for learner in &mut learners {
            for _ in epochs..until {
                learner.step(3e-2)?;
            }
            worst = worst.max(learner.distance());
        }
        epochs = until;
        println!(
            "{STARTS} starts, {until} epochs: at most {worst:.2e} from {EDGES:?}, the mark is {most:.0e}"
        );
        reached &= worst <= most;
    }
    Ok(if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
