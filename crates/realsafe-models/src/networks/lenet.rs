//! A LeNet with 3x3 convolutions for MNIST, as in AdverTorch.
//!
//! Two convolutions of 3x3 (32 and 64 channels, padding 1), each followed by a relu and max-pooling of 2; a linear
//! layer of 200, relu; a linear layer of 10. It takes images `[1, 28, 28]` and gives 10 logits.
//!
//! State-dict keys: `conv1`, `conv2`, `linear1`, `linear2`, each with `weight` and `bias`.
//!
//! ## Reference
//! Ding, Wang, Jin, "AdverTorch v0.1: An adversarial robustness toolbox based on PyTorch", arXiv:1902.07623.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, ModelTraits, Origin, Traits, Values};

use crate::bounds::Layer;
use crate::head::{self, CENTRE_NORM, FEATURE_DIMENSION, HEAD, Head};
use crate::inner::Randomness;
use crate::layers::{WEIGHTS, convolution, linear_by_rows, max_pool};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
    #[module(skip)]
    head: Head,
}

impl LeNet {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let hidden = max_pool(relu(self.conv1.forward(images)));
        let hidden = max_pool(relu(self.conv2.forward(hidden)));
        relu(linear_by_rows(&self.linear1, hidden.flatten(1, 3)))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.logits(linear_by_rows(&self.linear2, features))
    }
}

impl Network for LeNet {
    const TELLS_FEATURES: bool = true;

    fn new(values: &Values, device: &Device) -> Self {
        let head = Head::of(values, 10);
        Self {
            conv1: convolution([1, 32], 3, 1, 1).init(device),
            conv2: convolution([32, 64], 3, 1, 1).init(device),
            linear1: LinearConfig::new(64 * 7 * 7, 200).init(device),
            linear2: LinearConfig::new(200, head.width(10)).init(device),
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

    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        matches!(self.head, Head::Linear).then(|| {
            vec![
                Layer::Convolution(&self.conv1),
                Layer::Relu,
                Layer::MaxPool,
                Layer::Convolution(&self.conv2),
                Layer::Relu,
                Layer::MaxPool,
                Layer::Linear(&self.linear1),
                Layer::Relu,
                Layer::Linear(&self.linear2),
            ]
        })
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "lenet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("lenet.rs"),
            parameters: &[WEIGHTS, HEAD, FEATURE_DIMENSION, CENTRE_NORM],
            example: "weights = \"weights/mnist-lenet5-standard.pt\"",
            traits: Traits::Model(ModelTraits { input: &|values| head::check(values, 10).map(|()| [1, 28, 28]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &build::<LeNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "lenet", build: trainable::<LeNet> }
}
