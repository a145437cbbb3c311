//! The small convolutional network for MNIST on which TRADES was measured.
//!
//! Two convolutions of 3x3 with 32 channels and two with 64, without padding, each followed by a relu, with
//! max-pooling of 2 after every second one; linear layers of 200, 200 and 10 with relus between them, and in training
//! a dropout of one half after the first. It takes images `[1, 28, 28]` and gives 10 logits.
//!
//! State-dict keys: `feature_extractor.conv1` to `conv4`, `classifier.fc1` to `fc3`, each with `weight` and `bias`.
//!
//! ## Reference
//! Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically principled trade-off between robustness and accuracy",
//! ICML 2019, arXiv:1901.08573; the architecture is that of Carlini and Wagner, IEEE S&P 2017, arXiv:1608.04644.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, ModelTraits, Origin, Traits, Values};

use crate::bounds::Layer;
use crate::inner::Randomness;
use crate::layers::{WEIGHTS, convolution, linear_by_rows, max_pool};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct SmallCnn {
    feature_extractor: FeatureExtractor,
    classifier: Classifier,
}

#[derive(Module, Debug)]
struct FeatureExtractor {
    conv1: Conv2d,
    conv2: Conv2d,
    conv3: Conv2d,
    conv4: Conv2d,
}

#[derive(Module, Debug)]
struct Classifier {
    fc1: Linear,
    drop: Dropout,
    fc2: Linear,
    fc3: Linear,
}

impl Network for SmallCnn {
    fn new(_: &Values, device: &Device) -> Self {
        let feature_extractor = FeatureExtractor {
            conv1: convolution([1, 32], 3, 1, 0).init(device),
            conv2: convolution([32, 32], 3, 1, 0).init(device),
            conv3: convolution([32, 64], 3, 1, 0).init(device),
            conv4: convolution([64, 64], 3, 1, 0).init(device),
        };
        let classifier = Classifier {
            fc1: LinearConfig::new(64 * 4 * 4, 200).init(device),
            drop: DropoutConfig::new(0.5).init(),
            fc2: LinearConfig::new(200, 200).init(device),
            fc3: LinearConfig::new(200, 10).init(device),
        };
        Self { feature_extractor, classifier }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let FeatureExtractor { conv1, conv2, conv3, conv4 } = &self.feature_extractor;
        let hidden = max_pool(relu(conv2.forward(relu(conv1.forward(images)))));
        let hidden = max_pool(relu(conv4.forward(relu(conv3.forward(hidden)))));
        let Classifier { fc1, drop, fc2, fc3 } = &self.classifier;
        let hidden = drop.forward(relu(linear_by_rows(fc1, hidden.flatten(1, 3))));
        let hidden = relu(linear_by_rows(fc2, hidden));
        linear_by_rows(fc3, hidden)
    }

    fn is_random_in_training(&self) -> bool {
        true
    }

    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        let FeatureExtractor { conv1, conv2, conv3, conv4 } = &self.feature_extractor;
        let Classifier { fc1, fc2, fc3, .. } = &self.classifier;
        Some(vec![
            Layer::Convolution(conv1),
            Layer::Relu,
            Layer::Convolution(conv2),
            Layer::Relu,
            Layer::MaxPool,
            Layer::Convolution(conv3),
            Layer::Relu,
            Layer::Convolution(conv4),
            Layer::Relu,
            Layer::MaxPool,
            Layer::Linear(fc1),
            Layer::Relu,
            Layer::Linear(fc2),
            Layer::Relu,
            Layer::Linear(fc3),
        ])
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "small-cnn",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("small_cnn.rs"),
            parameters: &[WEIGHTS],
            example: "weights = \"weights/mnist-small-cnn.safetensors\"",
            traits: Traits::Model(ModelTraits { input: &|_| Ok([1, 28, 28]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &build::<SmallCnn>,
    }
}

inventory::submit! {
    TrainableEntry { model: "small-cnn", build: trainable::<SmallCnn> }
}
