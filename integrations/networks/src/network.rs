use crate::Random;

/// What is applied to a convolution's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(0, x).
    Relu,
    /// min(max(0, x), 6).
    Relu6,
}

/// A convolution with bias and activation: a square kernel with a padding that keeps the extents at a stride of 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv {
    /// Over all groups.
    pub in_channels: usize,
    /// Over all groups.
    pub out_channels: usize,
    /// Taps along each axis.
    pub kernel: usize,
    /// Along each axis.
    pub stride: usize,
    /// As many as channels for a depthwise convolution.
    pub groups: usize,
    /// Behind bias and residual.
    pub activation: Activation,
}

impl Conv {
    /// Before and behind, along each axis.
    #[must_use]
    pub fn padding(&self) -> usize {
        self.kernel / 2
    }

    /// `[C_out, C_in / groups, height, width]`.
    #[must_use]
    pub fn weight_shape(&self) -> [usize; 4] {
        [self.out_channels, self.in_channels / self.groups, self.kernel, self.kernel]
    }

    /// Random weight and bias, such that values keep their size through the layers.
    #[must_use]
    pub fn weight_and_bias(&self, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let mut random = Random::new(seed);
        let len = self.weight_shape().iter().product::<usize>();
        let terms = (len / self.out_channels) as f32;
        (random.values(len, (6.0 / terms).sqrt()), random.values(self.out_channels, 0.1))
    }
}

/// What goes past the convolutions of a block and is added to the last one's result before its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing is added.
    None,
    /// The block's input.
    Identity,
    /// The block's input, convolved.
    Projection(Conv),
}

/// Convolutions one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// At least one.
    pub layers: Vec<Conv>,
    /// Past all of them.
    pub shortcut: Shortcut,
}

/// A network's layers from an image of 224×224 to the classes, batch normalisation folded into weights and biases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// To be printed.
    pub name: &'static str,
    /// The first layer.
    pub stem: Conv,
    /// Whether a 3×3 max-pooling at a stride and with a padding of 2 and 1 is behind it.
    pub max_pool: bool,
    /// Behind one another.
    pub blocks: Vec<Block>,
    /// Behind the blocks.
    pub head: Option<Conv>,
    /// Channels of what is averaged and multiplied by the classifier's matrix.
    pub features: usize,
}

/// An engine that a network is run, or built, by.
pub trait Engine {
    /// What flows between layers.
    type Tensor: Clone;
    /// What can go wrong.
    type Error;

    /// The convolution `conv`, the `index`-th of the network, of `x` plus `residual`, if there is one, before the activation.
    ///
    /// # Errors
    /// The engine's.
    fn conv(
        &mut self,
        index: usize,
        conv: &Conv,
        x: &Self::Tensor,
        residual: Option<&Self::Tensor>,
    ) -> Result<Self::Tensor, Self::Error>;

    /// A 3×3 max-pooling at a stride of 2 with a padding of 1, of values that are not negative.
    ///
    /// # Errors
    /// The engine's.
    fn max_pool(&mut self, x: &Self::Tensor) -> Result<Self::Tensor, Self::Error>;

    /// The mean over each plane, multiplied by the classifier's matrix.
    ///
    /// # Errors
    /// The engine's.
    fn classify(&mut self, x: &Self::Tensor) -> Result<Self::Tensor, Self::Error>;
}

impl Network {
    /// The shape of an image batch.
    pub const INPUT: [usize; 4] = [1, 3, 224, 224];
    /// Columns of the classifier's matrix.
    pub const CLASSES: usize = 1000;

    /// He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015; the stride in the 3×3 convolutions.
    #[must_use]
    pub fn resnet50() -> Self {
        use Activation::{Identity, Relu};
        let (mut blocks, mut c_in) = (vec![], 64);
        for (stage, (count, width)) in [(3, 64), (4, 128), (6, 256), (3, 512)].into_iter().enumerate() {
            for i in 0..count {
                let (c_out, stride) = (4 * width, if i == 0 && stage > 0 { 2 } else { 1 });
                let layers = vec![
                    dense([c_in, width], 1, 1, Relu),
                    dense([width, width], 3, stride, Relu),
                    dense([width, c_out], 1, 1, Relu),
                ];
                let shortcut = match i {
                    0 => Shortcut::Projection(dense([c_in, c_out], 1, stride, Identity)),
                    _ => Shortcut::Identity,
                };
                blocks.push(Block { layers, shortcut });
                c_in = c_out;
            }
        }
        let stem = dense([3, 64], 7, 2, Relu);
        Self { name: "ResNet-50 shape", stem, max_pool: true, blocks, head: None, features: c_in }
    }

    /// Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
    #[must_use]
    pub fn mobilenet_v2() -> Self {
        use Activation::{Identity, Relu6};
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
                    layers.push(dense([c_in, hidden], 1, 1, Relu6));
                }
                layers.push(Conv { groups: hidden, ..dense([hidden, hidden], 3, stride, Relu6) });
                layers.push(dense([hidden, c_out], 1, 1, Identity));
                let shortcut = if stride == 1 && c_in == c_out { Shortcut::Identity } else { Shortcut::None };
                blocks.push(Block { layers, shortcut });
                c_in = c_out;
            }
        }
        let (stem, head) = (dense([3, 32], 3, 2, Relu6), dense([c_in, 1280], 1, 1, Relu6));
        let features = head.out_channels;
        Self { name: "MobileNetV2 shape", stem, max_pool: false, blocks, head: Some(head), features }
    }

    /// The convolutions in the order in which [`walk`](Self::walk) comes to them.
    pub fn convs(&self) -> impl Iterator<Item = &Conv> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let projection = match &block.shortcut {
                Shortcut::Projection(conv) => Some(conv),
                Shortcut::Identity | Shortcut::None => None,
            };
            projection.into_iter().chain(&block.layers)
        });
        std::iter::once(&self.stem).chain(blocks).chain(&self.head)
    }

    /// Has `engine` compute the network's output for `x`.
    ///
    /// # Errors
    /// The engine's.
    pub fn walk<E: Engine>(&self, engine: &mut E, x: &E::Tensor) -> Result<E::Tensor, E::Error> {
        let mut index = 0;
        let mut conv = |engine: &mut E, conv: &Conv, x: &E::Tensor, residual: Option<&E::Tensor>| {
            index += 1;
            engine.conv(index - 1, conv, x, residual)
        };
        let mut x = conv(engine, &self.stem, x, None)?;
        if self.max_pool {
            x = engine.max_pool(&x)?;
        }
        for block in &self.blocks {
            let shortcut = match &block.shortcut {
                Shortcut::None => None,
                Shortcut::Identity => Some(x.clone()),
                Shortcut::Projection(projection) => Some(conv(engine, projection, &x, None)?),
            };
            let (last, before) = block.layers.split_last().expect("a block has layers");
            for layer in before {
                x = conv(engine, layer, &x, None)?;
            }
            x = conv(engine, last, &x, shortcut.as_ref())?;
        }
        if let Some(head) = &self.head {
            x = conv(engine, head, &x, None)?;
        }
        engine.classify(&x)
    }

    /// A random image.
    #[must_use]
    pub fn image() -> Vec<f32> {
        Random::new(7).values(Self::INPUT.iter().product(), 1.0)
    }

    /// The random matrix of the classifier, `[features, CLASSES]`.
    #[must_use]
    pub fn classifier(&self) -> Vec<f32> {
        Random::new(8).values(self.features * Self::CLASSES, 0.03)
    }
}

fn dense(
    [in_channels, out_channels]: [usize; 2],
    kernel: usize,
    stride: usize,
    activation: Activation,
) -> Conv {
    Conv { in_channels, out_channels, kernel, stride, groups: 1, activation }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Checks shapes, `[channels, extent]`, and counts.
    #[derive(Default)]
    struct Count {
        convs: Vec<Conv>,
        multiply_adds: usize,
    }

    impl Engine for Count {
        type Tensor = [usize; 2];
        type Error = Infallible;

        fn conv(
            &mut self,
            index: usize,
            conv: &Conv,
            &[channels, extent]: &[usize; 2],
            residual: Option<&[usize; 2]>,
        ) -> Result<[usize; 2], Infallible> {
            assert_eq!((index, channels), (self.convs.len(), conv.in_channels));
            let y = [conv.out_channels, extent.div_ceil(conv.stride)];
            assert!(residual.is_none_or(|&residual| residual == y));
            self.multiply_adds += conv.weight_shape().iter().product::<usize>() * y[1] * y[1];
            self.convs.push(*conv);
            Ok(y)
        }

        fn max_pool(&mut self, &[channels, extent]: &[usize; 2]) -> Result<[usize; 2], Infallible> {
            Ok([channels, extent.div_ceil(2)])
        }

        fn classify(&mut self, &[channels, extent]: &[usize; 2]) -> Result<[usize; 2], Infallible> {
            assert_eq!(extent, 7);
            self.multiply_adds += channels * Network::CLASSES;
            Ok([channels, 1])
        }
    }

    /// Convolutions, millions of multiply-adds, thousands of parameters: those that are published for the networks.
    fn check(network: &Network, convs: usize, millions: usize, thousands: usize) {
        let mut count = Count::default();
        let Ok([features, 1]) = network.walk(&mut count, &[3, 224]) else { panic!("a vector of features") };
        assert_eq!(features, network.features);
        assert!(network.convs().eq(&count.convs), "{}", network.name);
        let parameters =
            network.convs().map(|conv| conv.weight_shape().iter().product::<usize>() + conv.out_channels);
        let parameters = parameters.sum::<usize>() + network.classifier().len();
        assert_eq!(
            [count.convs.len(), count.multiply_adds / 1_000_000, parameters / 1000],
            [convs, millions, thousands],
            "{}",
            network.name
        );
    }

    #[test]
    fn sizes_are_the_published_ones() {
        check(&Network::resnet50(), 53, 4089, 25_529);
        check(&Network::mobilenet_v2(), 52, 300, 3486);
    }
}
