//! Wide residual networks for CIFAR, the usual architecture of adversarial training.
//!
//! A 3x3 convolution of 16 channels, three groups of `(depth - 4) / 6` residual blocks with 16, 32 and 64 times `width`
//! channels, the second and third starting with stride 2; batch norm, activation, the mean over all positions and a
//! linear layer. A block is batch norm, activation and a 3x3 convolution, twice; where stride or channels change, its
//! shortcut is a 1x1 convolution of what the first activation gives, elsewhere it is the block's input. WideResNet-34-10
//! is `depth = "34"`, `width = 10`. There is no dropout.
//!
//! Public checkpoints, by the names of RobustBench:
//!
//! | checkpoints | parameters |
//! |---|---|
//! | TRADES (Zhang2019Theoretically), Carmon2019Unlabeled, Wang2020Improving, Wu2020Adversarial, Zhang2020Geometry | none more |
//! | Hendrycks2019Using | `mean` and `deviation` 0.5 |
//! | Rice2020Overfitting (34-20), Rony2019Decoupling and others | `mean` and `deviation` of CIFAR-10 |
//! | Gowal2020Uncovering, Rebuffi2021Fixing, Gowal2021Improving, Wang2023Better | `activation = "swish"`, `padding = "same"`, `mean` and `deviation` of CIFAR-10: 0.4914, 0.4822, 0.4465 and 0.2471, 0.2435, 0.2616 |
//!
//! State-dict keys: `conv1`, `blockG.layer.B.{bn1,conv1,bn2,conv2,convShortcut}`, `bn1`, `fc`, as TRADES has them; or
//! `init_conv`, `layer.G.block.B.{batchnorm_0,conv_0,batchnorm_1,conv_1,shortcut}`, `batchnorm`, `logits`, as DeepMind
//! has them. Buffers of means and deviations are not read, and neither is `sub_block1`, which TRADES has and does not
//! use. In evaluation state the batch norm between the convolutions of a block is folded into the first.
//!
//! ## Reference
//! Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016, arXiv:1605.07146. Keys: Zhang, Yu, Jiao, Xing, El Ghaoui,
//! Jordan, "Theoretically principled trade-off between robustness and accuracy", ICML 2019, arXiv:1901.08573 and its
//! code; Gowal, Qin, Uesato, Mann, Kohli, "Uncovering the limits of adversarial training against norm-bounded
//! adversarial examples", arXiv:2010.03593 and its code.

// Fields are called what the checkpoints call them.
#![expect(non_snake_case)]

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::Randomness;
use crate::layers::{
    Activation, DEVIATION, MEAN, Normalisation, WEIGHTS, classes, colour, convolution, damped, fold, global_mean,
    linear_by_rows, normalised, size,
};
use crate::network::Network;
use crate::style::{ACTIVATION, PADDING, Style};
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct WideResNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    block1: Group,
    block2: Group,
    block3: Group,
    bn1: BatchNorm,
    fc: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
struct Group {
    layer: Vec<Block>,
}

#[derive(Module, Debug)]
struct Block {
    bn1: BatchNorm,
    conv1: Conv2d,
    bn2: Option<BatchNorm>,
    conv2: Conv2d,
    convShortcut: Option<Conv2d>,
    #[module(skip)]
    activation: Activation,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

impl Block {
    fn new([input, output]: [usize; 2], stride: usize, style: Style, device: &Device) -> Self {
        let shortcut = || convolution([input, output], 1, stride, 0).with_bias(false).init(device);
        Self {
            bn1: BatchNormConfig::new(input).init(device),
            conv1: style.convolution([input, output], stride, device),
            bn2: Some(BatchNormConfig::new(output).init(device)),
            conv2: style.convolution([output, output], 1, device),
            convShortcut: (input != output).then(shortcut),
            activation: style.activation,
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let active = self.activation.forward(self.bn1.forward(input.clone()));
        let shortcut = match &self.convShortcut {
            Some(shortcut) => shortcut.forward(active.clone()),
            None => input,
        };
        let hidden = self.activation.forward(normalised(self.conv1.forward(active), &self.bn2));
        damped(self.conv2.forward(hidden), self.residual_decay) + shortcut
    }
}

impl WideResNet {
    fn groups(&mut self) -> [&mut Group; 3] {
        [&mut self.block1, &mut self.block2, &mut self.block3]
    }
}

impl Network for WideResNet {
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        (r"^init_conv\.", "conv1."),
        (r"^layer\.0\.block\.", "block1.layer."),
        (r"^layer\.1\.block\.", "block2.layer."),
        (r"^layer\.2\.block\.", "block3.layer."),
        (r"\.batchnorm_0\.", ".bn1."),
        (r"\.batchnorm_1\.", ".bn2."),
        (r"\.conv_0\.", ".conv1."),
        (r"\.conv_1\.", ".conv2."),
        (r"\.shortcut\.", ".convShortcut."),
        (r"^batchnorm\.", "bn1."),
        (r"^logits\.", "fc."),
    ];
    const UNUSED: &'static [&'static str] = &["sub_block1."];

    fn new(values: &Values, device: &Device) -> Self {
        let depth: usize = values.text("depth").parse().expect("the table lists numbers only");
        let width = values.count("width") as usize;
        let style = Style::of(values);
        let group = |input, output, stride| {
            let first = Block::new([input, output], stride, style, device);
            let others = (1..(depth - 4) / 6).map(|_| Block::new([output, output], 1, style, device));
            Group { layer: std::iter::once(first).chain(others).collect() }
        };
        Self {
            normalisation: Normalisation::of(values),
            conv1: convolution([3, 16], 3, 1, 1).with_bias(false).init(device),
            block1: group(16, 16 * width, 1),
            block2: group(16 * width, 32 * width, 2),
            block3: group(32 * width, 64 * width, 2),
            bn1: BatchNormConfig::new(64 * width).init(device),
            fc: LinearConfig::new(64 * width, values.count("classes") as usize).init(device),
            activation: style.activation,
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = self.conv1.forward(self.normalisation.forward(images));
        let blocks = self.block1.layer.iter().chain(&self.block2.layer).chain(&self.block3.layer);
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden));
        linear_by_rows(&self.fc, global_mean(self.activation.forward(self.bn1.forward(hidden))))
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        let blocks = self.groups().into_iter().flat_map(|group| &mut group.layer);
        blocks.for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        let blocks = self.groups().into_iter().flat_map(|group| &mut group.layer);
        blocks.for_each(|block| fold(&mut block.conv1, &mut block.bn2));
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "wide-resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("wide_resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["10", "16", "22", "28", "34", "40", "46", "70", "94", "106"]),
                    unit: "layers",
                    fallback: Fallback::Required,
                    documentation: "How many layers with weights it has",
                },
                Parameter {
                    name: "width",
                    kind: ParameterKind::Count { minimum: 1, maximum: 32 },
                    unit: "",
                    fallback: Fallback::Required,
                    documentation: "How many times 16, 32 and 64 channels its groups have",
                },
                ACTIVATION,
                PADDING,
                MEAN,
                DEVIATION,
                size(8, "32"),
                classes("10"),
            ],
            example: "depth = \"34\"\nwidth = 10\nweights = \"weights/cifar10-wrn34-10-trades.pt\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| colour(values, values.count("size") as usize),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<WideResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "wide-resnet", build: trainable::<WideResNet> }
}
