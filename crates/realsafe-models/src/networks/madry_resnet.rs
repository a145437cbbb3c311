//! The wide residual network of Madry et al. for CIFAR-10, known as w32-10.
//!
//! A 3x3 convolution of 16 channels, three groups of `units` residual units with 16, 32 and 64 times `width` channels,
//! the second and third starting with stride 2; batch norm, a leaky relu, the mean over all positions and a linear layer.
//! A unit is batch norm, leaky relu and a 3x3 convolution, twice. Its shortcut is the unit's input, for the very first
//! unit what the first leaky relu gives; where stride or channels change, the mean of each 2x2 pixels, with zeros for half
//! of the new channels in front and half behind. Leaky relus have slope 0.1. Convolutions are padded as TensorFlow's `SAME`
//! does, and batch norms add 0.001 to the variance.
//!
//! Images are `[3, 32, 32]` with pixels in `[0, 1]`, each made to have mean 0 and deviation 1 inside. Note that attacks
//! on the original count eps in steps of 1/255: its 8 is `"8/255"`.
//!
//! State-dict keys: `init_conv`, `unit_G.U.{init_bn,conv1,bn2,conv2}` with G from 1 and U from 0, `final_bn`, `logit`;
//! or the names of the published TensorFlow checkpoint with `/` replaced by a dot, such as
//! `unit_1_0.shared_activation.init_bn.BatchNorm.gamma` and `unit_1_0.sub1.conv1.DW`. Layouts are PyTorch's: weights of
//! convolutions `[output, input, height, width]`, of the linear layer `[output, input]`. In evaluation state the batch
//! norm between the convolutions of a unit is folded into the first.
//!
//! ## Reference
//! Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks", ICLR 2018,
//! arXiv:1706.06083, and the code of its CIFAR-10 challenge.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::Randomness;
use crate::layers::{
    Activation, WEIGHTS, classes, convolution_same, damped, fold, global_mean, linear_by_rows, normalised, standardised,
};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

const ACTIVATION: Activation = Activation::LeakyRelu;

#[derive(Module, Debug)]
struct MadryResNet {
    init_conv: Conv2d,
    unit_1: Vec<Unit>,
    unit_2: Vec<Unit>,
    unit_3: Vec<Unit>,
    final_bn: BatchNorm,
    logit: Linear,
}

#[derive(Module, Debug)]
struct Unit {
    init_bn: BatchNorm,
    conv1: Conv2d,
    bn2: Option<BatchNorm>,
    conv2: Conv2d,
    /// Whether the shortcut takes what the first activation gives.
    #[module(skip)]
    shared_activation: bool,
    #[module(skip)]
    stride: usize,
    /// Channels of zeros in front of and behind the shortcut, each.
    #[module(skip)]
    padding: usize,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

fn batch_norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).with_epsilon(1e-3).init(device)
}

impl Unit {
    fn new([input, output]: [usize; 2], stride: usize, shared_activation: bool, device: &Device) -> Self {
        Self {
            init_bn: batch_norm(input, device),
            conv1: convolution_same([input, output], stride).init(device),
            bn2: Some(batch_norm(output, device)),
            conv2: convolution_same([output, output], 1).init(device),
            shared_activation,
            stride,
            padding: (output - input) / 2,
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let active = ACTIVATION.forward(self.init_bn.forward(input.clone()));
        let mut shortcut = if self.shared_activation { active.clone() } else { input };
        if self.stride > 1 {
            shortcut = avg_pool2d(shortcut, AvgPoolOptions::new([self.stride, self.stride]));
        }
        if self.padding > 0 {
            shortcut = shortcut.pad([(self.padding, self.padding), (0, 0), (0, 0)], 0.0);
        }
        let hidden = ACTIVATION.forward(normalised(self.conv1.forward(active), &self.bn2));
        damped(self.conv2.forward(hidden), self.residual_decay) + shortcut
    }
}

impl MadryResNet {
    fn units(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.unit_1.iter_mut().chain(&mut self.unit_2).chain(&mut self.unit_3)
    }
}

impl Network for MadryResNet {
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        (r"^(input|unit_last)\.", ""),
        (r"\.(shared_activation|residual_only_activation|sub1|sub2)\.", "."),
        (r"\.BatchNorm\.", "."),
        (r"\.moving_mean$", ".running_mean"),
        (r"\.moving_variance$", ".running_var"),
        (r"\.gamma$", ".weight"),
        (r"\.beta$", ".bias"),
        (r"\.DW$", ".weight"),
        (r"\.biases$", ".bias"),
        (r"^unit_(\d)_(\d+)\.", "unit_${1}.${2}."),
    ];

    fn new(values: &Values, device: &Device) -> Self {
        let (width, units) = (values.count("width") as usize, values.count("units") as usize);
        let group = |input, output, stride, shared| {
            let first = Unit::new([input, output], stride, shared, device);
            let others = (1..units).map(|_| Unit::new([output, output], 1, false, device));
            std::iter::once(first).chain(others).collect()
        };
        Self {
            init_conv: convolution_same([3, 16], 1).init(device),
            unit_1: group(16, 16 * width, 1, true),
            unit_2: group(16 * width, 32 * width, 2, false),
            unit_3: group(32 * width, 64 * width, 2, false),
            final_bn: batch_norm(64 * width, device),
            logit: LinearConfig::new(64 * width, values.count("classes") as usize).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = self.init_conv.forward(standardised(images));
        let units = self.unit_1.iter().chain(&self.unit_2).chain(&self.unit_3);
        let hidden = units.fold(hidden, |hidden, unit| unit.forward(hidden));
        linear_by_rows(&self.logit, global_mean(ACTIVATION.forward(self.final_bn.forward(hidden))))
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        self.units().for_each(|unit| unit.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        self.units().for_each(|unit| fold(&mut unit.conv1, &mut unit.bn2));
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "madry-resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("madry_resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "width",
                    kind: ParameterKind::Count { minimum: 1, maximum: 32 },
                    unit: "",
                    fallback: Fallback::Value("10"),
                    documentation: "How many times 16, 32 and 64 channels its groups have; 1 is the paper's simple network",
                },
                Parameter {
                    name: "units",
                    kind: ParameterKind::Count { minimum: 1, maximum: 18 },
                    unit: "",
                    fallback: Fallback::Value("5"),
                    documentation: "How many residual units a group has",
                },
                classes("10"),
            ],
            example: "weights = \"weights/cifar10-madry-w32-10.safetensors\"",
            traits: Traits::Model(ModelTraits {
                input: &|_| Ok([3, 32, 32]),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<MadryResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "madry-resnet", build: trainable::<MadryResNet> }
}
