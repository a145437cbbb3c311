//! A small convolutional network for 8x8 grey digits.
//!
//! Two convolutions of 3x3 (16 and 32 channels, padding 1), each followed by a relu; max-pooling of 2; a linear layer
//! of 64, relu; a linear layer of 10. It has 38,282 parameters, takes images `[1, 8, 8]` as the dataset `digits`
//! provides them, gives 10 logits, and is made to be trained and attacked in seconds on a CPU. Behind defenses that give more
//! channels, set `channels`.
//!
//! Three defenses can sit in it, to be tried out on small data. Random self-ensemble adds Gaussian noise before both
//! convolutions, in training and in evaluation. Stochastic activation pruning removes activations after the relus, small
//! ones more likely, in evaluation only. Both draw anew for every pass of an image, and an answer is one pass: random
//! self-ensemble averages the predictions of several, for which the defense `prediction-averaging` is put around the network.
//! An attacker sees the gradient of what was drawn; means over several draws (`eot`) are the adaptive attack. Feature
//! denoising puts a block after the first relu, which is trained with the rest and hides no gradient.
//!
//! State-dict keys: `conv1`, `conv2`, `linear1`, `linear2`, each with `weight` and `bias`; where there is a block
//! `denoising.{embedding_theta,embedding_phi,conv,bn}`.
//!
//! ## Reference
//! LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
//! Proceedings of the IEEE 86(11), 1998: the family of networks that this is a small member of. The defenses: Liu, Cheng,
//! Zhang, Hsieh, ECCV 2018, arXiv:1712.00673; Dhillon et al., ICLR 2018, arXiv:1803.01442, with activations drawn
//! independently of each other; Xie, Wu, van der Maaten, Yuille, He, CVPR 2019, arXiv:1812.03411.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::bounds::Layer;
use crate::head::{self, CENTRE_NORM, FEATURE_DIMENSION, HEAD, Head};
use crate::inner::{ACTIVATION_PRUNING, DENOISING, Denoising, IMAGE_NOISE, INNER_NOISE, Randomness, Stochastic};
use crate::layers::{WEIGHTS, convolution, linear_by_rows, max_pool};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct DigitsCnn {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
    denoising: Option<Denoising>,
    #[module(skip)]
    stochastic: Stochastic,
    #[module(skip)]
    head: Head,
}

impl DigitsCnn {
    fn features(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<2> {
        let images = self.stochastic.noisy_images(images, randomness);
        let mut hidden = self.stochastic.pruned(relu(self.conv1.forward(images)), randomness);
        if let Some(denoising) = &self.denoising {
            hidden = denoising.forward(hidden);
        }
        let hidden = self.stochastic.noisy(hidden, randomness);
        let hidden = self.stochastic.pruned(relu(self.conv2.forward(hidden)), randomness);
        let hidden = max_pool(hidden);
        self.stochastic.pruned(relu(linear_by_rows(&self.linear1, hidden.flatten(1, 3))), randomness)
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
            denoising: Denoising::of(values, 16, device),
            stochastic: Stochastic::of(values),
            head,
        }
    }

    fn forward(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<2> {
        self.classify(self.features(images, randomness))
    }

    fn is_random_in_training(&self) -> bool {
        self.stochastic.is_noisy()
    }

    fn head(&self) -> &Head {
        &self.head
    }

    fn features_and_logits(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Option<[Tensor<2>; 2]> {
        let features = self.features(images, randomness);
        Some([features.clone(), self.classify(features)])
    }

    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        let plain = self.denoising.is_none() && !self.stochastic.is_active();
        (plain && matches!(self.head, Head::Linear)).then(|| {
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

    fn folded(mut self) -> Self {
        self.denoising.iter_mut().for_each(Denoising::fold);
        self
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
                IMAGE_NOISE,
                INNER_NOISE,
                ACTIVATION_PRUNING,
                DENOISING,
            ],
            example: "weights = \"builtin:digits-standard\"",
            traits: Traits::Model(ModelTraits { input: &|values| head::check(values, 10).map(|()| [channels(values), 8, 8]), classes: &|_| Ok(10), differentiable: true, randomised: &Stochastic::is_random }),
        },
        build: &build::<DigitsCnn>,
    }
}

inventory::submit! {
    TrainableEntry { model: "digits-cnn", build: trainable::<DigitsCnn> }
}
