//! Whole networks of random weights, with tract's own convolution and with convgemm's in turn: latency of a batch of 1.

use std::process::ExitCode;

use convgemm_networks::{Activation, Conv, Engine, Network, Options, Times, compare, in_turn};
use convgemm_tract::replace_convolutions;
use tract_core::internal::*;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::{self, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::math::{add, max, min, mul};
use tract_core::ops::nn::{DataFormat, Reduce, Reducer};
use tract_linalg::multithread::{Executor, set_default_executor};

fn main() -> ExitCode {
    convgemm_networks::main(|options| in_executor(options).map_err(|error| format!("{error:?}")))
}

/// Both convolutions compute in the executor's pool, which all is run in, so that operators need not go there one by one.
fn in_executor(options: Options) -> TractResult<()> {
    if options.threads == 1 {
        return run(options);
    }
    let executor = Executor::multithread(options.threads);
    set_default_executor(executor.clone());
    match executor {
        Executor::MultiThread(pool) => pool.install(|| run(options)),
        _ => run(options),
    }
}

fn run(options: Options) -> TractResult<()> {
    println!("{}", options.title());
    println!("| network | tract | with convgemm | ratio |");
    println!("| --- | --- | --- | --- |");
    [Network::resnet50(), Network::mobilenet_v2()]
        .iter()
        .try_for_each(|network| measure(network, options.rounds))
}

fn measure(network: &Network, rounds: usize) -> TractResult<()> {
    let theirs = Builder::model(network)?.into_optimized()?.into_runnable()?;
    let mut ours = Builder::model(network)?;
    let replaced = replace_convolutions(&mut ours)?;
    ensure!(replaced == network.convs().count(), "{replaced} convolutions were replaced");
    let ours = ours.into_optimized()?.into_runnable()?;
    let x = Tensor::from_shape(&Network::INPUT, &Network::image())?.into_tvalue();
    let run = |model: &Arc<TypedRunnableModel>| Ok::<_, TractError>(model.run(tvec![x.clone()])?.remove(0));
    let (our_output, their_output) = (run(&ours)?, run(&theirs)?);
    let (our_output, their_output) = (our_output.try_as_plain_ram()?, their_output.try_as_plain_ram()?);
    let difference = compare(our_output.as_slice()?, their_output.as_slice()?).map_err(TractError::msg)?;
    println!("<!-- {}: outputs differ by {difference:.1e} of the largest -->", network.name);

    let once = |model| run(model).map(drop);
    let [theirs, ours] = in_turn(rounds, [&mut || once(&theirs), &mut || once(&ours)])?;
    println!("| {} | {} |", network.name, Times::cells(theirs, ours));
    Ok(())
}

/// Makes a network a model, of the operators that an ONNX file of it becomes.
struct Builder<'a> {
    network: &'a Network,
    model: TypedModel,
    nodes: usize,
}

impl Builder<'_> {
    fn model(network: &Network) -> TractResult<TypedModel> {
        let mut builder = Builder { network, model: TypedModel::default(), nodes: 0 };
        let x = builder.model.add_source("x", f32::fact(Network::INPUT))?;
        let y = network.walk(&mut builder, &x)?;
        builder.model.select_output_outlets(&[y])?;
        Ok(builder.model)
    }

    fn name(&mut self) -> String {
        self.nodes += 1;
        format!("node{}", self.nodes)
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> TractResult<OutletId> {
        let name = self.name();
        self.model.add_const(name, Tensor::from_shape(shape, values)?)
    }

    fn wire(&mut self, op: impl Into<Box<dyn TypedOp>>, inputs: &[OutletId]) -> TractResult<OutletId> {
        let name = self.name();
        Ok(self.model.wire_node(name, op, inputs)?[0])
    }

    fn with_number(&mut self, op: TypedBinOp, x: OutletId, number: f32) -> TractResult<OutletId> {
        let number = self.constant(&[1; 4], &[number])?;
        self.wire(op, &[x, number])
    }
}

/// Of a square kernel.
fn pool_spec(kernel: usize, stride: usize, padding: usize, [c_in, c_out]: [usize; 2]) -> PoolSpec {
    let padding = PaddingSpec::Explicit(tvec![padding; 2], tvec![padding; 2]);
    let (kernel, stride) = (tvec![kernel; 2], Some(tvec![stride; 2]));
    PoolSpec::new(DataFormat::NCHW, kernel, padding, None, stride, c_in, c_out)
}

impl Engine for Builder<'_> {
    type Tensor = OutletId;
    type Error = TractError;

    fn conv(
        &mut self,
        index: usize,
        conv: &Conv,
        x: &OutletId,
        residual: Option<&OutletId>,
    ) -> TractResult<OutletId> {
        let (weight, bias) = conv.weight_and_bias(index as u64);
        let weight = self.constant(&conv.weight_shape(), &weight)?;
        let bias = self.constant(&[conv.out_channels], &bias)?;
        let channels = [conv.in_channels, conv.out_channels];
        let spec = pool_spec(conv.kernel, conv.stride, conv.padding(), channels);
        let op = cnn::Conv::new(spec, KernelFormat::OIHW, conv.groups, None);
        let mut y = self.wire(op, &[*x, weight, bias])?;
        if let Some(residual) = residual {
            y = self.wire(add(), &[y, *residual])?;
        }
        if conv.activation != Activation::Identity {
            y = self.with_number(max(), y, 0.0)?;
        }
        if conv.activation == Activation::Relu6 {
            y = self.with_number(min(), y, 6.0)?;
        }
        Ok(y)
    }

    fn max_pool(&mut self, x: &OutletId) -> TractResult<OutletId> {
        let channels = self.model.outlet_fact(*x)?.shape[1].to_usize()?;
        self.wire(MaxPool::new(pool_spec(3, 2, 1, [channels; 2]), None), &[*x])
    }

    fn classify(&mut self, x: &OutletId) -> TractResult<OutletId> {
        let positions = self.model.outlet_fact(*x)?.shape[2..].iter().product::<TDim>().to_usize()?;
        let sum = self.wire(Reduce::new(tvec![2, 3], Reducer::Sum), &[*x])?;
        let mean = self.with_number(mul(), sum, 1.0 / positions as f32)?;
        let mean = self.wire(AxisOp::Rm(3), &[mean])?;
        let mean = self.wire(AxisOp::Rm(2), &[mean])?;
        let classifier =
            self.constant(&[self.network.features, Network::CLASSES], &self.network.classifier())?;
        self.wire(EinSum::new("mk,kn->mn".parse()?, f32::datum_type()), &[mean, classifier])
    }
}
