//! VGG networks: 3x3 convolutions with relus, and max-pooling after each of five groups.
//!
//! The groups have 64, 128, 256, 512 and 512 channels and, for depths 11, 13, 16 and 19, this many convolutions: 1, 1, 2,
//! 2, 2; 2, 2, 2, 2, 2; 2, 2, 3, 3, 3; 2, 2, 4, 4, 4. With `batch-norm`, one follows each convolution. The head
//! `imagenet` pools to 7x7 positions (at 224 pixels they are that already) and has two linear layers of `features` with
//! relu, and dropout of a half in training, and a linear layer to the classes, as in torchvision; the head `linear` is
//! that last layer alone, on the mean over all positions, as usual for 32 pixels.
//!
//! Images are normalised with `mean` and `deviation`; torchvision's weights want 0.485, 0.456, 0.406 and 0.229, 0.224,
//! 0.225.
//!
//! Two defenses can sit in it. Random self-ensemble adds Gaussian noise before every convolution, in training and in
//! evaluation. Stochastic activation pruning removes activations after the relus between convolutions, small ones more
//! likely, in evaluation only. Both draw anew for every pass of an image, and an answer is one pass: random self-ensemble
//! averages the predictions of several, for which the defense `prediction-averaging` is put around the network. An attacker
//! sees the gradient of what was drawn; means over several draws (`eot`) are the adaptive attack.
//!
//! State-dict keys: `features.N`, where N counts convolutions, batch norms, relus and poolings, and
//! `classifier.{0,3,6}`, as in torchvision; with the head `linear`, `classifier.0`, or just `classifier`. In evaluation
//! state every batch norm is folded into the convolution before it.
//!
//! ## Reference
//! Simonyan, Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015,
//! arXiv:1409.1556: configurations A, B, D and E. Batch norm as in torchvision. Liu, Cheng, Zhang, Hsieh, "Towards robust
//! neural networks via random self-ensemble", ECCV 2018, arXiv:1712.00673. Dhillon, Azizzadenesheli, Lipton, Bernstein,
//! Kossaifi, Khanna, Anandkumar, "Stochastic activation pruning for robust adversarial defense", ICLR 2018,
//! arXiv:1803.01442, with activations drawn independently of each other.

use burn::module::Module;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{DropoutConfig, LinearConfig, Relu};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::{ACTIVATION_PRUNING, IMAGE_NOISE, INNER_NOISE, Randomness, Stochastic};
use crate::layers::{DEVIATION, MEAN, Normalisation, WEIGHTS, classes, colour, convolution, size};
use crate::network::Network;
use crate::sequence::{Layer, batch_norm, folded, sequence, stochastic_sequence};
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct Vgg {
    #[module(skip)]
    normalisation: Normalisation,
    features: Vec<Layer>,
    /// To how many positions, squared, features are pooled.
    #[module(skip)]
    positions: usize,
    classifier: Vec<Layer>,
    #[module(skip)]
    stochastic: Stochastic,
}

impl Network for Vgg {
    const RENAMES: &'static [(&'static str, &'static str)] = &[(r"^classifier\.(weight|bias)$", "classifier.0.${1}")];

    fn new(values: &Values, device: &Device) -> Self {
        let convolutions = match values.text("depth") {
            "11" => [1, 1, 2, 2, 2],
            "13" => [2, 2, 2, 2, 2],
            "16" => [2, 2, 3, 3, 3],
            _ => [2, 2, 4, 4, 4],
        };
        let mut features = Vec::new();
        let mut channels = 3;
        for (count, output) in convolutions.into_iter().zip([64, 128, 256, 512, 512]) {
            for _ in 0..count {
                features.push(Layer::Convolution(convolution([channels, output], 3, 1, 1).init(device)));
                features.extend(values.flag("batch-norm").then(|| batch_norm(output, device)));
                features.push(Layer::Relu(Relu));
                channels = output;
            }
            features.push(Layer::MaxPool(MaxPool2dConfig::new([2, 2]).init()));
        }
        let linear = |input, output| Layer::Linear(LinearConfig::new(input, output).init(device));
        let dropout = || Layer::Dropout(DropoutConfig::new(0.5).init());
        let (classes, inner) = (values.count("classes") as usize, values.count("features") as usize);
        let (positions, classifier) = match values.text("head") {
            "imagenet" => {
                let first = [linear(512 * 7 * 7, inner), Layer::Relu(Relu), dropout()];
                let second = [linear(inner, inner), Layer::Relu(Relu), dropout()];
                (7, first.into_iter().chain(second).chain([linear(inner, classes)]).collect())
            }
            _ => (1, vec![linear(512, classes)]),
        };
        let stochastic = Stochastic::of(values);
        Self { normalisation: Normalisation::of(values), features, positions, classifier, stochastic }
    }

    fn forward(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<2> {
        let images = self.normalisation.forward(images);
        let hidden = stochastic_sequence(&self.features, images, &self.stochastic, randomness);
        let [_, _, height, width] = hidden.dims();
        let pooled = match [height, width] == [self.positions; 2] {
            true => hidden,
            false => adaptive_avg_pool2d(hidden, [self.positions; 2]),
        };
        sequence(&self.classifier, pooled).flatten(1, 3)
    }

    fn is_random_in_training(&self) -> bool {
        let drops = |layer: &Layer| matches!(layer, Layer::Dropout(_));
        self.stochastic.is_noisy() || self.classifier.iter().any(drops)
    }

    fn folded(mut self) -> Self {
        self.features = folded(self.features);
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "vgg",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("vgg.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["11", "13", "16", "19"]),
                    unit: "layers",
                    fallback: Fallback::Required,
                    documentation: "How many layers with weights it has with the head `imagenet`",
                },
                Parameter {
                    name: "batch-norm",
                    kind: ParameterKind::Flag,
                    unit: "",
                    fallback: Fallback::Value("false"),
                    documentation: "Whether batch norm follows each convolution",
                },
                Parameter {
                    name: "head",
                    kind: ParameterKind::Choice(&["imagenet", "linear"]),
                    unit: "",
                    fallback: Fallback::Value("imagenet"),
                    documentation: "What comes after the last pooling",
                },
                Parameter {
                    name: "features",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "",
                    fallback: Fallback::Value("4096"),
                    documentation: "How much the two inner layers of the head `imagenet` give",
                },
                IMAGE_NOISE,
                INNER_NOISE,
                ACTIVATION_PRUNING,
                MEAN,
                DEVIATION,
                size(32, "224"),
                classes("1000"),
            ],
            example: "depth = \"16\"\nmean = [0.485, 0.456, 0.406]\ndeviation = [0.229, 0.224, 0.225]\nweights = \"weights/imagenet-vgg16.pth\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| colour(values, values.count("size") as usize),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &Stochastic::is_random,
            }),
        },
        build: &build::<Vgg>,
    }
}

inventory::submit! {
    TrainableEntry { model: "vgg", build: trainable::<Vgg> }
}
