//! A small network: two convolutions with ReLU and pooling, then a linear layer as a 1×1 convolution.

use anyhow::Result;
use convgemm::{
    Activation, ActivationAt, BackwardOptions, Conv2d, Params, Workspace, backward_activation, backward_bias,
    backward_input, backward_weight,
};
use rand::Rng;
use rand::rngs::StdRng;

use crate::shapes::{CLASSES, SIDE};

/// How much of a step goes on into the next one.
const MOMENTUM: f32 = 0.9;

/// A convolution that learns.
pub(crate) struct Layer {
    params: Params<2>,
    extent: [usize; 2],
    activation: Activation<f32>,
    conv: Conv2d,
    pub(crate) weight: Vec<f32>,
    bias: Vec<f32>,
    weight_step: Vec<f32>,
    bias_step: Vec<f32>,
    /// What the last call was given, and what it gave.
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Layer {
    fn new(
        params: Params<2>,
        extent: [usize; 2],
        activation: Activation<f32>,
        random: &mut StdRng,
    ) -> Result<Self> {
        let len = params.weight_len()?;
        // He et al., "Delving Deep into Rectifiers", 2015, with an even distribution.
        let most = (6.0 * params.out_channels as f32 / len as f32).sqrt();
        let weight: Vec<f32> = (0..len).map(|_| random.random_range(-most..most)).collect();
        let bias = vec![0.0; params.out_channels];
        let builder = Conv2d::with_params(params).bias(&bias).activation(activation.clone());
        Ok(Self {
            params,
            extent,
            activation,
            conv: builder.build(&weight)?,
            weight_step: vec![0.0; len],
            bias_step: bias.clone(),
            weight,
            bias,
            x: Vec::new(),
            y: Vec::new(),
        })
    }

    fn forward(&mut self, x: Vec<f32>, batch: usize, workspace: &mut Workspace) -> Result<Vec<f32>> {
        let len = self.params.geometry(batch, self.extent)?.output_len();
        self.x = x;
        self.y.resize(len, 0.0);
        self.conv.forward_into(&self.x, batch, self.extent, &mut self.y, workspace)?;
        Ok(self.y.clone())
    }

    /// Steps against the gradient; gives that of the input.
    fn backward(
        &mut self,
        dy: &[f32],
        batch: usize,
        rate: f32,
        workspace: &mut Workspace,
    ) -> Result<Vec<f32>> {
        let geometry = self.params.geometry(batch, self.extent)?;
        let options = BackwardOptions::new();
        let mut before = vec![0.0; dy.len()];
        backward_activation(&geometry, &self.activation, ActivationAt::Output(&self.y), dy, &mut before)?;
        let mut dx = vec![0.0; self.x.len()];
        backward_input(&geometry, &before, &self.weight, &options, &mut dx, workspace)?;
        let (mut dw, mut db) = (vec![0.0; self.weight.len()], vec![0.0; self.bias.len()]);
        backward_weight(&geometry, &self.x, &before, &options, &mut dw, workspace)?;
        backward_bias(&geometry, &before, &options, &mut db)?;
        step(&mut self.weight, &mut self.weight_step, &dw, rate);
        step(&mut self.bias, &mut self.bias_step, &db, rate);
        self.conv.update_weight(&self.weight)?;
        self.conv.update_bias(&self.bias)?;
        Ok(dx)
    }
}

fn step(values: &mut [f32], steps: &mut [f32], gradient: &[f32], rate: f32) {
    for ((value, step), gradient) in values.iter_mut().zip(steps).zip(gradient) {
        *step = MOMENTUM * *step - rate * gradient;
        *value += *step;
    }
}

/// The greatest of each 2 × 2 elements.
struct Pool {
    side: usize,
    /// Where each was.
    places: Vec<usize>,
}

impl Pool {
    fn forward(&mut self, x: &[f32]) -> Vec<f32> {
        let (side, half) = (self.side, self.side / 2);
        self.places = (0..x.len() / 4)
            .map(|i| {
                let (plane, row, col) = (i / (half * half), i / half % half, i % half);
                let first = (plane * side + 2 * row) * side + 2 * col;
                let four = [first, first + 1, first + side, first + side + 1];
                four.into_iter().max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap_or(first)
            })
            .collect();
        self.places.iter().map(|&place| x[place]).collect()
    }

    fn backward(&self, dy: &[f32]) -> Vec<f32> {
        let mut dx = vec![0.0; 4 * dy.len()];
        self.places.iter().zip(dy).for_each(|(&place, &dy)| dx[place] += dy);
        dx
    }
}

pub(crate) struct Net {
    pub(crate) first: Layer,
    first_pool: Pool,
    second: Layer,
    second_pool: Pool,
    linear: Layer,
    workspace: Workspace,
}

impl Net {
    pub(crate) fn new(random: &mut StdRng) -> Result<Self> {
        let (half, quarter) = (SIDE / 2, SIDE / 4);
        let first = Params::new(1, 12, [5, 5]).padding([2, 2]);
        let second = Params::new(12, 24, [3, 3]).padding([1, 1]);
        let linear = Params::new(24 * quarter * quarter, CLASSES, [1, 1]);
        Ok(Self {
            first: Layer::new(first, [SIDE, SIDE], Activation::Relu, random)?,
            first_pool: Pool { side: SIDE, places: Vec::new() },
            second: Layer::new(second, [half, half], Activation::Relu, random)?,
            second_pool: Pool { side: half, places: Vec::new() },
            linear: Layer::new(linear, [1, 1], Activation::Identity, random)?,
            workspace: Workspace::new(),
        })
    }

    /// A score for each class of each picture.
    pub(crate) fn forward(&mut self, pictures: Vec<f32>, batch: usize) -> Result<Vec<f32>> {
        let x = self.first.forward(pictures, batch, &mut self.workspace)?;
        let x = self.second.forward(self.first_pool.forward(&x), batch, &mut self.workspace)?;
        self.linear.forward(self.second_pool.forward(&x), batch, &mut self.workspace)
    }

    /// Learns from the gradient of the scores.
    pub(crate) fn backward(&mut self, gradient: &[f32], batch: usize, rate: f32) -> Result<()> {
        let workspace = &mut self.workspace;
        let dy = self.linear.backward(gradient, batch, rate, workspace)?;
        let dy = self.second.backward(&self.second_pool.backward(&dy), batch, rate, workspace)?;
        self.first.backward(&self.first_pool.backward(&dy), batch, rate, workspace)?;
        Ok(())
    }
}

/// Softmax and cross-entropy: the mean loss, and its gradient with respect to the scores.
pub(crate) fn loss(scores: &[f32], classes: &[usize]) -> (f32, Vec<f32>) {
    let (mut sum, mut gradient) = (0.0, Vec::with_capacity(scores.len()));
    for (scores, &class) in scores.chunks_exact(CLASSES).zip(classes) {
        let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = scores.iter().map(|score| (score - greatest).exp()).collect();
        let total: f32 = powers.iter().sum();
        sum -= (powers[class] / total).max(f32::MIN_POSITIVE).ln();
        let of = |(i, power): (usize, &f32)| {
            (power / total - f32::from(u8::from(i == class))) / classes.len() as f32
        };
        gradient.extend(powers.iter().enumerate().map(of));
    }
    (sum / classes.len() as f32, gradient)
}

/// The share of pictures whose class has the highest score.
pub(crate) fn accuracy(scores: &[f32], classes: &[usize]) -> f64 {
    let best = |scores: &[f32]| (0..CLASSES).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let right =
        scores.chunks_exact(CLASSES).zip(classes).filter(|(scores, class)| best(scores) == Some(**class));
    right.count() as f64 / classes.len() as f64
}
