//! Small residual networks without batch norm for CIFAR-10, made for verification.
//!
//! `resnet2b`: a 3x3 convolution of 8 channels with stride 2, two residual blocks of 16 channels, the first with
//! stride 2. `resnet4b`: a 3x3 convolution of 16 channels with stride 2, four blocks of 32, the first and third with
//! stride 2. A block is two 3x3 convolutions with a relu between them and one after the sum; where it has a stride,
//! its shortcut is a 1x1 convolution. Then linear layers of 100 and 10. Images `[3, 32, 32]` are normalised with the
//! mean and deviation of CIFAR-10 inside the network.
//!
//! State-dict keys: `conv1`, `layerL.B.{conv1,conv2}`, `layerL.B.shortcut.0` where present, `linear1`, `linear2`,
//! each with `weight` and `bias`.
//!
//! ## Reference
//! Wang, Zhang, Xu, Lin, Jana, Hsieh, Kolter, "Beta-CROWN: Efficient bound propagation with per-neuron split
//! constraints for neural network robustness verification", NeurIPS 2021, arXiv:2103.06624.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::Randomness;
use crate::layers::{Normalisation, WEIGHTS, convolution, damped, linear_by_rows};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const DEVIATION: [f64; 3] = [0.2471, 0.2435, 0.2616];

#[derive(Module, Debug)]
struct SmallResNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    linear1: Linear,
    linear2: Linear,
}

#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

impl Block {
    fn new([input, output]: [usize; 2], stride: usize, device: &Device) -> Self {
        let shortcut = (stride > 1).then(|| convolution([input, output], 1, stride, 0).init(device));
        Self {
            conv1: convolution([input, output], 3, stride, 1).init(device),
            conv2: convolution([output, output], 3, 1, 1).init(device),
            shortcut,
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = relu(self.conv1.forward(input.clone()));
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(input),
            None => input,
        };
        relu(damped(self.conv2.forward(hidden), self.residual_decay) + shortcut)
    }
}

impl Network for SmallResNet {
    const RENAMES: &'static [(&'static str, &'static str)] = &[(r"\.shortcut\.0\.", ".shortcut.")];

    fn new(values: &Values, device: &Device) -> Self {
        let (first, width, features) = match values.text("architecture") {
            "resnet2b" => (8, 16, 16 * 8 * 8),
            _ => (16, 32, 32 * 4 * 4),
        };
        let layer = |input| vec![Block::new([input, width], 2, device), Block::new([width, width], 1, device)];
        Self {
            normalisation: Normalisation::new(MEAN.to_vec(), DEVIATION.to_vec()),
            conv1: convolution([3, first], 3, 2, 1).init(device),
            layer1: layer(first),
            layer2: if values.text("architecture") == "resnet2b" { Vec::new() } else { layer(width) },
            linear1: LinearConfig::new(features, 100).init(device),
            linear2: LinearConfig::new(100, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = relu(self.conv1.forward(self.normalisation.forward(images)));
        let blocks = self.layer1.iter().chain(&self.layer2);
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden));
        let hidden = relu(linear_by_rows(&self.linear1, hidden.flatten(1, 3)));
        linear_by_rows(&self.linear2, hidden)
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        let blocks = self.layer1.iter_mut().chain(&mut self.layer2);
        blocks.for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "small-resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("small_resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "architecture",
                    kind: ParameterKind::Choice(&["resnet2b", "resnet4b"]),
                    unit: "",
                    fallback: Fallback::Required,
                    documentation: "Which of the two networks",
                },
            ],
            example: "architecture = \"resnet2b\"\nweights = \"weights/cifar10-resnet2b-adv.pth\"",
            traits: Traits::Model(ModelTraits { input: &|_| Ok([3, 32, 32]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &build::<SmallResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "small-resnet", build: trainable::<SmallResNet> }
}
