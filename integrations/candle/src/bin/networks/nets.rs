//! The shapes of two networks, batch normalisation folded into weights and biases.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use candle_core::{Result, Tensor};

use crate::layers::{After, Backend, Convolution, Maker, Random};

/// A network's layers, from the image to the classes.
pub(crate) struct Network {
    stem: Convolution,
    pool: bool,
    blocks: Vec<Block>,
    last: Option<Convolution>,
    classes: Tensor,
    /// What convolutions took since it was set to 0.
    pub(crate) clock: Rc<Cell<Duration>>,
}

/// Convolutions one behind the other, with what goes past them, if anything, added in the last.
struct Block {
    layers: Vec<Convolution>,
    past: Past,
}

enum Past {
    Nothing,
    Input,
    Projected(Convolution),
}

impl Network {
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.stem.forward(x, None)?;
        if self.pool {
            // Behind a rectifier, so that zeros are the least.
            x = x.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?.max_pool2d_with_stride(3, 2)?;
        }
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        if let Some(last) = &self.last {
            x = last.forward(&x, None)?;
        }
        x.mean((2, 3))?.matmul(&self.classes)
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let past = match &self.past {
            Past::Nothing => None,
            Past::Input => Some(x.clone()),
            Past::Projected(convolution) => Some(convolution.forward(x, None)?),
        };
        let (last, before) = self.layers.split_last().expect("a block has layers");
        let x = before.iter().try_fold(x.clone(), |x, layer| layer.forward(&x, None))?;
        last.forward(&x, past.as_ref())
    }
}

fn maker(backend: &Backend) -> Maker<'_> {
    Maker { backend, random: Random::new(1), clock: Rc::default() }
}

/// He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015; the stride in the 3×3 convolutions.
pub(crate) fn resnet50(backend: &Backend) -> Result<Network> {
    let mut make = maker(backend);
    let stem = make.conv([3, 64], 7, 2, 1, After::Relu)?;
    let (mut blocks, mut c_in) = (vec![], 64);
    for (stage, (count, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate() {
        for i in 0..count {
            let (c_out, stride) = (4 * width, if i == 0 && stage > 0 { 2 } else { 1 });
            let layers = vec![
                make.conv([c_in, width], 1, 1, 1, After::Relu)?,
                make.conv([width, width], 3, stride, 1, After::Relu)?,
                make.conv([width, c_out], 1, 1, 1, After::Relu)?,
            ];
            let past = match i {
                0 => Past::Projected(make.conv([c_in, c_out], 1, stride, 1, After::Nothing)?),
                _ => Past::Input,
            };
            blocks.push(Block { layers, past });
            c_in = c_out;
        }
    }
    let classes = make.random.tensor(&[c_in, 1000], 0.03)?;
    Ok(Network { stem, pool: true, blocks, last: None, classes, clock: make.clock })
}

/// Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
pub(crate) fn mobilenet_v2(backend: &Backend) -> Result<Network> {
    let mut make = maker(backend);
    let stem = make.conv([3, 32], 3, 2, 1, After::Relu6)?;
    let (mut blocks, mut c_in) = (vec![], 32);
    let table = [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ];
    for (expansion, c_out, count, first_stride) in table {
        for i in 0..count {
            let (hidden, stride) = (expansion * c_in, if i == 0 { first_stride } else { 1 });
            let mut layers = vec![];
            if expansion > 1 {
                layers.push(make.conv([c_in, hidden], 1, 1, 1, After::Relu6)?);
            }
            layers.push(make.conv([hidden, hidden], 3, stride, hidden, After::Relu6)?);
            layers.push(make.conv([hidden, c_out], 1, 1, 1, After::Nothing)?);
            let past = if stride == 1 && c_in == c_out { Past::Input } else { Past::Nothing };
            blocks.push(Block { layers, past });
            c_in = c_out;
        }
    }
    let last = Some(make.conv([c_in, 1280], 1, 1, 1, After::Relu6)?);
    let classes = make.random.tensor(&[1280, 1000], 0.03)?;
    Ok(Network { stem, pool: false, blocks, last, classes, clock: make.clock })
}
