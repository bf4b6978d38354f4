//! Whole networks of random weights, with candle's own convolution and with convgemm's in turn: latency of a batch of 1.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use candle_core::{Device, Error, Module, Result, Tensor};
use convgemm::Params;
use convgemm_candle::Layer;
use convgemm_networks::{Activation, Conv, Engine, Network, Options, Times, compare, in_turn};

/// What both libraries' pools are sized by.
const THREADS: &str = "RAYON_NUM_THREADS";

fn main() -> ExitCode {
    convgemm_networks::main(|options| {
        let threads = options.threads.to_string();
        // Read when the pool is made, by candle at any time: it has to be there from the start.
        if std::env::var(THREADS).is_ok_and(|set| set == threads) {
            run(options).map_err(|error| error.to_string())
        } else {
            again(&threads)
        }
    })
}

/// This program with its arguments and so many threads.
fn again(threads: &str) -> std::result::Result<(), String> {
    let this = std::env::current_exe();
    let status = this
        .and_then(|this| Command::new(this).args(std::env::args_os().skip(1)).env(THREADS, threads).status());
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn run(options: Options) -> Result<()> {
    println!("{}", options.title());
    println!("| network | candle | with convgemm | ratio | convolutions: candle | convgemm | ratio |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    [Network::resnet50(), Network::mobilenet_v2()]
        .iter()
        .try_for_each(|network| measure(network, options.rounds))
}

fn measure(network: &Network, rounds: usize) -> Result<()> {
    let x = Tensor::from_vec(Network::image(), &Network::INPUT, &Device::Cpu)?;
    let mut theirs = Candle::new(network, Convolution::candle)?;
    let mut ours = Candle::new(network, Convolution::convgemm)?;
    let outputs = [network.walk(&mut ours, &x)?, network.walk(&mut theirs, &x)?];
    let [our_output, their_output] = outputs.map(|y| y.flatten_all()?.to_vec1::<f32>());
    let difference = compare(&our_output?, &their_output?).map_err(Error::msg)?;
    println!("<!-- {}: outputs differ by {difference:.1e} of the largest -->", network.name);

    let run = |engine: &mut Candle| {
        let before = engine.clock;
        network.walk(engine, &x)?;
        engine.times.push(engine.clock - before);
        Ok(())
    };
    let whole = in_turn::<Error>(rounds, [&mut || run(&mut theirs), &mut || run(&mut ours)])?;
    let convolutions = [theirs.times, ours.times];
    let row = |[theirs, ours]: [Times; 2]| Times::cells(theirs, ours);
    println!("| {} | {} | {} |", network.name, row(whole), row(convolutions));
    Ok(())
}

/// A network's weights.
struct Candle {
    convolutions: Vec<Convolution>,
    classifier: Tensor,
    /// What convolutions have taken, with bias, residual and activation.
    clock: Duration,
    /// What they took in each run that was measured.
    times: Times,
}

impl Candle {
    fn new(network: &Network, convolution: fn(&Conv, Tensor, Tensor) -> Result<Convolution>) -> Result<Self> {
        let tensor = |values, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu);
        let convolutions = network.convs().zip(0..).map(|(conv, index)| {
            let (weight, bias) = conv.weight_and_bias(index);
            convolution(conv, tensor(weight, &conv.weight_shape())?, tensor(bias, &[conv.out_channels])?)
        });
        let classifier = tensor(network.classifier(), &[network.features, Network::CLASSES])?;
        Ok(Self {
            convolutions: convolutions.collect::<Result<_>>()?,
            classifier,
            clock: Duration::ZERO,
            times: Times::default(),
        })
    }
}

/// A convolution with bias and activation, by candle or by convgemm.
enum Convolution {
    Candle { weight: Tensor, bias: Tensor },
    Convgemm(Box<Layer>),
}

impl Convolution {
    fn candle(_: &Conv, weight: Tensor, bias: Tensor) -> Result<Self> {
        Ok(Self::Candle { weight, bias: bias.reshape((1, (), 1, 1))? })
    }

    fn convgemm(conv: &Conv, weight: Tensor, bias: Tensor) -> Result<Self> {
        let params = Params::new(conv.in_channels, conv.out_channels, [conv.kernel; 2]);
        let params = params.stride([conv.stride; 2]).padding([conv.padding(); 2]).groups(conv.groups);
        let activation = match conv.activation {
            Activation::Identity => convgemm::Activation::Identity,
            Activation::Relu => convgemm::Activation::Relu,
            Activation::Relu6 => convgemm::Activation::Relu6,
        };
        Ok(Self::Convgemm(Box::new(Layer::new(&weight, Some(&bias), &params, activation)?)))
    }

    fn forward(&self, conv: &Conv, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        match (self, residual) {
            (Self::Convgemm(layer), None) => layer.forward(x),
            (Self::Convgemm(layer), Some(residual)) => layer.forward_add(x, residual),
            (Self::Candle { weight, bias }, residual) => {
                let y = x.conv2d(weight, conv.padding(), conv.stride, 1, conv.groups)?.broadcast_add(bias)?;
                let y = residual.map_or(Ok(y.clone()), |residual| &y + residual)?;
                match conv.activation {
                    Activation::Identity => Ok(y),
                    Activation::Relu => y.relu(),
                    Activation::Relu6 => y.clamp(0.0_f32, 6.0_f32),
                }
            }
        }
    }
}

impl Engine for Candle {
    type Tensor = Tensor;
    type Error = Error;

    fn conv(&mut self, index: usize, conv: &Conv, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let start = Instant::now();
        let y = self.convolutions[index].forward(conv, x, residual)?;
        self.clock += start.elapsed();
        Ok(y)
    }

    fn max_pool(&mut self, x: &Tensor) -> Result<Tensor> {
        // Of values that are not negative, so that zeros are the least.
        x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?.max_pool2d_with_stride(3, 2)
    }

    fn classify(&mut self, x: &Tensor) -> Result<Tensor> {
        x.mean((2, 3))?.matmul(&self.classifier)
    }
}
