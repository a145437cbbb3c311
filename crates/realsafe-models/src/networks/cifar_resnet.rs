//! The residual networks of He et al. for CIFAR-10.
//!
//! A 3x3 convolution of 16 channels, three stages of `(depth - 2) / 6` residual blocks with 16, 32 and 64 channels,
//! the second and third starting with stride 2, the mean over all positions and a linear layer. A block is two 3x3
//! convolutions with batch norm, a relu between them and one after the sum. Images are `[3, 32, 32]`.
//!
//! Where a stage begins, the shortcut has to halve the image and double the channels: `pad-even` takes every second
//! pixel and puts half of the new channels, zeros, in front and half behind; `pad-behind` puts all of them behind;
//! `convolution` is a 1x1 convolution with stride 2 and batch norm.
//!
//! State-dict keys: `conv1`, `bn1`, `layerL.B.{conv1,bn1,conv2,bn2}`, `layerL.0.shortcut.{0,1}` for convolution and
//! batch norm of the shortcut, `linear`; or `conv_1_3x3`, `bn_1`, `stage_L.B.{conv_a,bn_a,conv_b,bn_b}`, `classifier`.
//! In evaluation state every batch norm is folded into the convolution before it.
//!
//! ## Reference
//! He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385, section 4.2;
//! the paper's shortcut A is `pad-even` or `pad-behind`, its B is `convolution`.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::head::{self, CENTRE_NORM, FEATURE_DIMENSION, HEAD, Head};
use crate::inner::Randomness;
use crate::layers::{
    DEVIATION, MEAN, Normalisation, WEIGHTS, classes, colour, convolution, damped, fold, global_mean, linear_by_rows,
    normalised,
};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct CifarResNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    linear: Linear,
    #[module(skip)]
    head: Head,
}

#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    conv2: Conv2d,
    bn2: Option<BatchNorm>,
    shortcut: Option<Projection>,
    /// Channels of zeros in front of and behind the subsampled input, where the shortcut pads.
    #[module(skip)]
    padding: Option<(usize, usize)>,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

/// A shortcut that learns.
#[derive(Module, Debug)]
struct Projection {
    conv: Conv2d,
    bn: Option<BatchNorm>,
}

impl Block {
    fn new([input, output]: [usize; 2], shortcut: &str, device: &Device) -> Self {
        let stride = output / input;
        let added = output - input;
        let projection = (added > 0 && shortcut == "convolution").then(|| Projection {
            conv: convolution([input, output], 1, stride, 0).with_bias(false).init(device),
            bn: Some(BatchNormConfig::new(output).init(device)),
        });
        let padding = match shortcut {
            "pad-even" => Some((added / 2, added / 2)),
            "pad-behind" => Some((0, added)),
            _ => None,
        };
        Self {
            conv1: convolution([input, output], 3, stride, 1).with_bias(false).init(device),
            bn1: Some(BatchNormConfig::new(output).init(device)),
            conv2: convolution([output, output], 3, 1, 1).with_bias(false).init(device),
            bn2: Some(BatchNormConfig::new(output).init(device)),
            shortcut: projection,
            padding: padding.filter(|_| added > 0),
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = relu(normalised(self.conv1.forward(input.clone()), &self.bn1));
        let hidden = normalised(self.conv2.forward(hidden), &self.bn2);
        let shortcut = match (&self.shortcut, self.padding) {
            (Some(Projection { conv, bn }), _) => normalised(conv.forward(input), bn),
            (None, Some(channels)) => every_second_pixel(input).pad([channels, (0, 0), (0, 0)], 0.0),
            (None, None) => input,
        };
        relu(damped(hidden, self.residual_decay) + shortcut)
    }

    fn folded(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
        fold(&mut self.conv2, &mut self.bn2);
        if let Some(Projection { conv, bn }) = &mut self.shortcut {
            fold(conv, bn);
        }
        self
    }
}

/// Takes every second pixel of both directions. Pooling of single pixels does what a slice with steps does, but
/// LibTorch cannot differentiate the latter here, and is slow at it elsewhere.
fn every_second_pixel(images: Tensor<4>) -> Tensor<4> {
    avg_pool2d(images, AvgPoolOptions { stride: [2, 2], ..AvgPoolOptions::new([1, 1]) })
}

impl CifarResNet {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let hidden = self.conv1.forward(self.normalisation.forward(images));
        let hidden = relu(normalised(hidden, &self.bn1));
        let blocks = self.layer1.iter().chain(&self.layer2).chain(&self.layer3);
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden));
        global_mean(hidden)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.logits(linear_by_rows(&self.linear, features))
    }
}

impl Network for CifarResNet {
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        (r"^conv_1_3x3\.", "conv1."),
        (r"^bn_1\.", "bn1."),
        (r"^stage_", "layer"),
        (r"\.conv_a\.", ".conv1."),
        (r"\.bn_a\.", ".bn1."),
        (r"\.conv_b\.", ".conv2."),
        (r"\.bn_b\.", ".bn2."),
        (r"^classifier\.", "linear."),
        (r"\.shortcut\.0\.", ".shortcut.conv."),
        (r"\.shortcut\.1\.", ".shortcut.bn."),
    ];

    const TELLS_FEATURES: bool = true;

    fn new(values: &Values, device: &Device) -> Self {
        let shortcut = values.text("shortcut");
        let depth: usize = values.text("depth").parse().expect("the table lists numbers only");
        let layer = |input, output| {
            let first = Block::new([input, output], shortcut, device);
            let others = (1..(depth - 2) / 6).map(|_| Block::new([output, output], shortcut, device));
            std::iter::once(first).chain(others).collect()
        };
        let classes = values.count("classes") as usize;
        let head = Head::of(values, classes);
        Self {
            normalisation: Normalisation::of(values),
            conv1: convolution([3, 16], 3, 1, 1).with_bias(false).init(device),
            bn1: Some(BatchNormConfig::new(16).init(device)),
            layer1: layer(16, 16),
            layer2: layer(16, 32),
            layer3: layer(32, 64),
            linear: LinearConfig::new(64, head.width(classes)).init(device),
            head,
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        self.classify(self.features(images))
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn features_and_logits(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Option<[Tensor<2>; 2]> {
        let features = self.features(images);
        Some([features.clone(), self.classify(features)])
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        let blocks = self.layer1.iter_mut().chain(&mut self.layer2).chain(&mut self.layer3);
        blocks.for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
        for layer in [&mut self.layer1, &mut self.layer2, &mut self.layer3] {
            *layer = std::mem::take(layer).into_iter().map(Block::folded).collect();
        }
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "cifar-resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cifar_resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["20", "32", "44", "56", "110"]),
                    unit: "layers",
                    fallback: Fallback::Required,
                    documentation: "How many layers with weights it has",
                },
                Parameter {
                    name: "shortcut",
                    kind: ParameterKind::Choice(&["pad-even", "pad-behind", "convolution"]),
                    unit: "",
                    fallback: Fallback::Value("pad-even"),
                    documentation: "What takes the input around the first block of a stage",
                },
                MEAN,
                DEVIATION,
                classes("10"),
                HEAD,
                FEATURE_DIMENSION,
                CENTRE_NORM,
            ],
            example: "depth = \"20\"\nshortcut = \"pad-behind\"\nweights = \"weights/cifar10-resnet20-pgd-at.pth\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| head::check(values, values.count("classes") as usize).and_then(|()| colour(values, 32)),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<CifarResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "cifar-resnet", build: trainable::<CifarResNet> }
}
