//! Pre-activation residual networks for CIFAR-10 as in the examples of Keras, there called ResNet v2.
//!
//! A 3x3 convolution of 16 channels with batch norm and relu, three stages of `(depth - 2) / 9` residual blocks that give
//! 64, 128 and 256 channels, the second and third starting with stride 2; batch norm, relu, the mean over all positions
//! and a linear layer. A block is batch norm, relu and a convolution, three times: 1x1, 3x3 and 1x1, with a quarter of
//! the channels inside at the first stage and half of them at the others; the very first block begins with its
//! convolution. The first block of a stage has a 1x1 convolution of its input as shortcut. Convolutions have a bias, and
//! batch norms add 0.001 to the variance.
//!
//! Images are `[3, 32, 32]`. The original subtracts the mean of each pixel; here `mean` is one number per channel. Pang et al.
//! put `head = "max-mahalanobis"` behind it, with the usual 256 features and centres of length 10.
//!
//! State-dict keys: `conv1`, `bn1`, `layerS.B.{bn1,conv1,bn2,conv2,bn3,conv3}`, `layerS.0.shortcut.0`, `bn`, `linear`, with
//! layouts of PyTorch; Keras numbers its layers instead, in the order in which the blocks name them here. In evaluation
//! state every batch norm that follows a convolution is folded into it.
//!
//! ## Reference
//! He, Zhang, Ren, Sun, "Identity mappings in deep residual networks", ECCV 2016, arXiv:1603.05027; the form is that of
//! the Keras example `cifar10_resnet`, which Pang et al., ICLR 2020, arXiv:1905.10626, train as ResNet-32 (5 blocks per
//! stage, depth 47) and Dong et al., CVPR 2020, arXiv:1912.11852, as ResNet-56.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
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
use crate::sequence::{Layer, sequence};
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct CifarResNetV2 {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    bn: BatchNorm,
    linear: Linear,
    #[module(skip)]
    head: Head,
}

#[derive(Module, Debug)]
struct Block {
    /// None at the very first block.
    bn1: Option<BatchNorm>,
    conv1: Conv2d,
    bn2: Option<BatchNorm>,
    conv2: Conv2d,
    bn3: Option<BatchNorm>,
    conv3: Conv2d,
    shortcut: Vec<Layer>,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

fn batch_norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).with_epsilon(1e-3).init(device)
}

impl Block {
    fn new([input, inner, output]: [usize; 3], stride: usize, device: &Device) -> Self {
        Self {
            bn1: Some(batch_norm(input, device)),
            conv1: convolution([input, inner], 1, stride, 0).init(device),
            bn2: Some(batch_norm(inner, device)),
            conv2: convolution([inner, inner], 3, 1, 1).init(device),
            bn3: Some(batch_norm(inner, device)),
            conv3: convolution([inner, output], 1, 1, 0).init(device),
            shortcut: Vec::new(),
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = match &self.bn1 {
            Some(bn1) => relu(bn1.forward(input.clone())),
            None => input.clone(),
        };
        let hidden = relu(normalised(self.conv1.forward(hidden), &self.bn2));
        let hidden = relu(normalised(self.conv2.forward(hidden), &self.bn3));
        damped(self.conv3.forward(hidden), self.residual_decay) + sequence(&self.shortcut, input)
    }
}

impl CifarResNetV2 {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let hidden = self.conv1.forward(self.normalisation.forward(images));
        let hidden = relu(normalised(hidden, &self.bn1));
        let blocks = self.layer1.iter().chain(&self.layer2).chain(&self.layer3);
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden));
        global_mean(relu(self.bn.forward(hidden)))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.logits(linear_by_rows(&self.linear, features))
    }

    fn blocks(&mut self) -> impl Iterator<Item = &mut Block> {
        self.layer1.iter_mut().chain(&mut self.layer2).chain(&mut self.layer3)
    }
}

impl Network for CifarResNetV2 {
    const TELLS_FEATURES: bool = true;

    fn new(values: &Values, device: &Device) -> Self {
        let depth: usize = values.text("depth").parse().expect("the table lists numbers only");
        let layer = |input, inner, output, stride| -> Vec<Block> {
            let shortcut = Layer::Convolution(convolution([input, output], 1, stride, 0).init(device));
            let first = Block { shortcut: vec![shortcut], ..Block::new([input, inner, output], stride, device) };
            let others = (1..(depth - 2) / 9).map(|_| Block::new([output, inner, output], 1, device));
            std::iter::once(first).chain(others).collect()
        };
        let classes = values.count("classes") as usize;
        let head = Head::of(values, classes);
        let mut layer1 = layer(16, 16, 64, 1);
        layer1[0].bn1 = None;
        Self {
            normalisation: Normalisation::of(values),
            conv1: convolution([3, 16], 3, 1, 1).init(device),
            bn1: Some(batch_norm(16, device)),
            layer1,
            layer2: layer(64, 64, 128, 2),
            layer3: layer(128, 128, 256, 2),
            bn: batch_norm(256, device),
            linear: LinearConfig::new(256, head.width(classes)).init(device),
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
        self.blocks().for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
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
            id: "cifar-resnet-v2",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cifar_resnet_v2.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["11", "20", "29", "38", "47", "56", "110", "164"]),
                    unit: "layers",
                    fallback: Fallback::Required,
                    documentation: "How many layers with weights it has, shortcuts not counted",
                },
                MEAN,
                DEVIATION,
                classes("10"),
                HEAD,
                FEATURE_DIMENSION,
                CENTRE_NORM,
            ],
            example: "depth = \"56\"\nmean = [0.4914, 0.4822, 0.4465]\nweights = \"weights/cifar10-resnet56-v2.safetensors\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| head::check(values, values.count("classes") as usize).and_then(|()| colour(values, 32)),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<CifarResNetV2>,
    }
}

inventory::submit! {
    TrainableEntry { model: "cifar-resnet-v2", build: trainable::<CifarResNetV2> }
}
