//! A small convolutional network for 8x8 grey digits.
//!
//! Two convolutions of 3x3 (16 and 32 channels, padding 1), each followed by a relu; max-pooling of 2; a linear layer
//! of 64, relu; a linear layer of 10. It has 38,250 parameters, takes images `[1, 8, 8]` as the dataset `digits`
//! provides them, gives 10 logits, and is made to be trained and attacked in seconds on a CPU. Behind defenses that give more
//! channels, set `channels`.
//!
//! State-dict keys: `conv1`, `conv2`, `linear1`, `linear2`, each with `weight` and `bias`.
//!
//! ## Reference
//! LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
//! Proceedings of the IEEE 86(11), 1998: the family of networks that this is a small member of.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::bounds::Layer;
use crate::head::{self, CENTRE_NORM, FEATURE_DIMENSION, HEAD, Head};
use crate::layers::{WEIGHTS, convolution, linear_by_rows, max_pool};
use crate::network::{Network, build};
use crate::training::trainable;

#[derive(Module, Debug)]
struct DigitsCnn {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
    #[module(skip)]
    head: Head,
}

impl DigitsCnn {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let hidden = relu(self.conv1.forward(images));
        let hidden = relu(self.conv2.forward(hidden));
        let hidden = max_pool(hidden);
        relu(linear_by_rows(&self.linear1, hidden.flatten(1, 3)))
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.logits(linear_by_rows(&self.linear2, features))
    }
}

impl Network for DigitsCnn {
    const TELLS_FEATURES: bool = true;

    fn new(values: &Values, device: &Device) -> Self {
        let head = Head::of(values, 10);
        Self {
            conv1: convolution([channels(values), 16], 3, 1, 1).init(device),
            conv2: convolution([16, 32], 3, 1, 1).init(device),
            linear1: LinearConfig::new(32 * 4 * 4, 64).init(device),
            linear2: LinearConfig::new(64, head.width(10)).init(device),
            head,
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images))
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn features_and_logits(&self, images: Tensor<4>) -> Option<[Tensor<2>; 2]> {
        let features = self.features(images);
        Some([features.clone(), self.classify(features)])
    }

    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        matches!(self.head, Head::Linear).then(|| {
            vec![
                Layer::Convolution(&self.conv1),
                Layer::Relu,
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

/// How many channels its images have.
fn channels(values: &Values) -> usize {
    if values.is_set("channels") { values.count("channels") as usize } else { 1 }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "digits-cnn",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("digits_cnn.rs"),
            parameters: &[
                Parameter {
                    name: "channels",
                    kind: ParameterKind::Count { minimum: 1, maximum: 4096 },
                    unit: "",
                    fallback: Fallback::Unset,
                    documentation: "How many channels the images have; 1, unless it is set.",
                },
                WEIGHTS,
                HEAD,
                FEATURE_DIMENSION,
                CENTRE_NORM,
            ],
            example: "weights = \"builtin:digits-standard\"",
            traits: Traits::Model(ModelTraits { input: &|values| head::check(values).map(|()| [channels(values), 8, 8]), classes: &|_| Ok(10), differentiable: true, randomised: &|_| false }),
        },
        build: &build::<DigitsCnn>,
    }
}

inventory::submit! {
    TrainableEntry { model: "digits-cnn", build: trainable::<DigitsCnn> }
}
