//! Pre-activation residual networks in the form for small images; with depth 18 known as PreActResNet-18.
//!
//! A 3x3 convolution of 64 channels and four stages of residual blocks with 64, 128, 256 and 512 channels, all but the
//! first starting with stride 2; batch norm and relu, the mean over all positions, a linear layer. A block is batch
//! norm, activation and a 3x3 convolution, twice; from depth 50 on, convolutions of 1x1, 3x3 and 1x1, the last to four
//! times the channels. There is a convolution in the shortcut where stride or channels change. Images are normalised
//! first, and 32 pixels wide unless `size` says otherwise.
//!
//! Implementations differ in details that change the logits. Public checkpoints, by the names of RobustBench:
//!
//! | checkpoints | parameters |
//! |---|---|
//! | Rice2020Overfitting (l2), Kireev2021Effectiveness | none more |
//! | Wong2020Fast, Andriushchenko2020Understanding | `shortcut = "input"`, `final-batch-norm = false` |
//! | Gowal2021Improving, Rebuffi2021Fixing and Rade2021Helper with R18 | `shortcut = "input-3x3"`, `activation = "swish"`, `padding = "same"` |
//!
//! State-dict keys: `conv1`, `layerS.B.{bn1,conv1,bn2,conv2,bn3,conv3}`, `layerS.B.shortcut.0`, `bn`, `linear`; or
//! DeepMind's `conv_2d`, `layer_S.B.{batchnorm_0,conv_2d_1,batchnorm_1,conv_2d_2,shortcut}` with S from 0,
//! `batchnorm`, `logits`. Buffers of means and deviations are not read.
//!
//! ## Reference
//! He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016, arXiv:1603.05027. For small images:
//! Rice, Wong, Kolter, "Overfitting in adversarially robust deep learning", ICML 2020, arXiv:2002.11569; Wong, Rice,
//! Kolter, "Fast is better than free: revisiting adversarial training", ICLR 2020, arXiv:2001.03994, and their code.

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
use crate::sequence::{Layer, projection, sequence};
use crate::style::{ACTIVATION, PADDING, Style};
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct PreActResNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    bn: Option<BatchNorm>,
    linear: Linear,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
struct Block {
    bn1: BatchNorm,
    conv1: Conv2d,
    bn2: Option<BatchNorm>,
    conv2: Conv2d,
    bn3: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    shortcut: Vec<Layer>,
    #[module(skip)]
    activation: Activation,
    /// Whether a convolution in the shortcut takes what the first activation gives, rather than the block's input.
    #[module(skip)]
    shortcut_of_activation: bool,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

impl Block {
    fn new([input, inner, output]: [usize; 3], stride: usize, values: &Values, device: &Device) -> Self {
        let (style, kind) = (Style::of(values), values.text("shortcut"));
        let pointwise = |channels| convolution(channels, 1, 1, 0).with_bias(false).init(device);
        let bottleneck = inner != output;
        let shortcut = match (input, stride) != (output, 1) {
            true if kind == "input-3x3" => vec![Layer::Convolution(style.convolution([input, output], stride, device))],
            true => vec![projection([input, output], stride, device)],
            false => Vec::new(),
        };
        let (conv1, conv2) = match bottleneck {
            true => (pointwise([input, inner]), style.convolution([inner, inner], stride, device)),
            false => (style.convolution([input, inner], stride, device), style.convolution([inner, inner], 1, device)),
        };
        Self {
            bn1: BatchNormConfig::new(input).init(device),
            conv1,
            bn2: Some(BatchNormConfig::new(inner).init(device)),
            conv2,
            bn3: bottleneck.then(|| BatchNormConfig::new(inner).init(device)),
            conv3: bottleneck.then(|| pointwise([inner, output])),
            shortcut,
            activation: style.activation,
            shortcut_of_activation: kind == "activation",
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let activation = self.activation;
        let active = activation.forward(self.bn1.forward(input.clone()));
        let from = if self.shortcut_of_activation && !self.shortcut.is_empty() { active.clone() } else { input };
        let hidden = activation.forward(normalised(self.conv1.forward(active), &self.bn2));
        let hidden = self.conv2.forward(hidden);
        let hidden = match &self.conv3 {
            Some(conv3) => conv3.forward(activation.forward(normalised(hidden, &self.bn3))),
            None => hidden,
        };
        damped(hidden, self.residual_decay) + sequence(&self.shortcut, from)
    }
}

impl PreActResNet {
    fn blocks(&mut self) -> impl Iterator<Item = &mut Block> {
        self.layer1.iter_mut().chain(&mut self.layer2).chain(&mut self.layer3).chain(&mut self.layer4)
    }
}

impl Network for PreActResNet {
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        (r"^conv_2d\.", "conv1."),
        (r"^layer_3\.", "layer4."),
        (r"^layer_2\.", "layer3."),
        (r"^layer_1\.", "layer2."),
        (r"^layer_0\.", "layer1."),
        (r"\.batchnorm_0\.", ".bn1."),
        (r"\.batchnorm_1\.", ".bn2."),
        (r"\.conv_2d_1\.", ".conv1."),
        (r"\.conv_2d_2\.", ".conv2."),
        (r"\.shortcut\.weight", ".shortcut.0.weight"),
        (r"^batchnorm\.", "bn."),
        (r"^logits\.", "linear."),
    ];

    fn new(values: &Values, device: &Device) -> Self {
        let (blocks, expansion) = match values.text("depth") {
            "18" => ([2, 2, 2, 2], 1),
            "34" => ([3, 4, 6, 3], 1),
            "50" => ([3, 4, 6, 3], 4),
            "101" => ([3, 4, 23, 3], 4),
            _ => ([3, 8, 36, 3], 4),
        };
        let mut channels = 64;
        let mut layers = [64, 128, 256, 512].into_iter().zip(blocks).map(|(inner, count)| {
            let stride = if inner == 64 { 1 } else { 2 };
            let output = inner * expansion;
            let first = Block::new([channels, inner, output], stride, values, device);
            let others = (1..count).map(|_| Block::new([output, inner, output], 1, values, device));
            channels = output;
            std::iter::once(first).chain(others).collect()
        });
        let mut layer = || layers.next().expect("there are four");
        let (layer1, layer2, layer3, layer4) = (layer(), layer(), layer(), layer());
        let features = 512 * expansion;
        Self {
            normalisation: Normalisation::of(values),
            conv1: convolution([3, 64], 3, 1, 1).with_bias(false).init(device),
            layer1,
            layer2,
            layer3,
            layer4,
            bn: values.flag("final-batch-norm").then(|| BatchNormConfig::new(features).init(device)),
            linear: LinearConfig::new(features, values.count("classes") as usize).init(device),
            activation: Style::of(values).activation,
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = self.conv1.forward(self.normalisation.forward(images));
        let blocks = self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4);
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden));
        let hidden = match &self.bn {
            Some(bn) => self.activation.forward(bn.forward(hidden)),
            None => hidden,
        };
        linear_by_rows(&self.linear, global_mean(hidden))
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        self.blocks().for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        for block in self.blocks() {
            fold(&mut block.conv1, &mut block.bn2);
            fold(&mut block.conv2, &mut block.bn3);
        }
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "preact-resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("preact_resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["18", "34", "50", "101", "152"]),
                    unit: "layers",
                    fallback: Fallback::Value("18"),
                    documentation: "How many layers with weights it has",
                },
                Parameter {
                    name: "shortcut",
                    kind: ParameterKind::Choice(&["activation", "input", "input-3x3"]),
                    unit: "",
                    fallback: Fallback::Value("activation"),
                    documentation: "What a convolution in a shortcut takes: what the block's first activation gives, or the block's input; the last is 3x3 instead of 1x1",
                },
                Parameter {
                    name: "final-batch-norm",
                    kind: ParameterKind::Flag,
                    unit: "",
                    fallback: Fallback::Value("true"),
                    documentation: "Whether batch norm and activation follow the last block",
                },
                ACTIVATION,
                PADDING,
                MEAN,
                DEVIATION,
                size(8, "32"),
                classes("10"),
            ],
            example: "mean = [0.4914, 0.4822, 0.4465]\ndeviation = [0.2471, 0.2435, 0.2616]\nweights = \"weights/cifar10-preact-resnet18.pth\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| colour(values, values.count("size") as usize),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<PreActResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "preact-resnet", build: trainable::<PreActResNet> }
}
