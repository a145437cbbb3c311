//! Defenses that sit inside networks: noise before layers, pruning of activations, denoising of features.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::activation::softmax;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use realsafe_core::{Draws, median, product};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

use crate::layers::{convolution, fold, normalised};

/// Where the random numbers of a pass come from.
pub(crate) enum Randomness<'a> {
    /// In evaluation: the streams of the rows, from which the layers draw one after the other. They are made when the first
    /// layer draws.
    Rows(&'a Draws, Vec<ChaCha8Rng>),
    /// In training: the generator of the device, which the trainer seeds, as with dropout.
    Device,
}

impl<'a> Randomness<'a> {
    /// That of a pass in evaluation.
    pub(crate) fn rows(draws: &'a Draws) -> Self {
        Self::Rows(draws, Vec::new())
    }

    /// A tensor of the same shape with a number for each activation: standard normal, or uniform in `[0, 1)`.
    fn draw<const D: usize>(&mut self, like: &Tensor<D>, normal: bool) -> Tensor<D> {
        let (shape, device) = (like.dims(), like.device());
        match self {
            Self::Device if normal => Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device),
            Self::Device => Tensor::random(shape, Distribution::Uniform(0.0, 1.0), &device),
            Self::Rows(draws, streams) => {
                streams.extend((streams.len()..shape[0]).map(|row| draws.stream(row)));
                let each: usize = shape[1..].iter().product();
                let mut values: Vec<f32> = Vec::with_capacity(shape[0] * each);
                for stream in streams {
                    match normal {
                        true => values.extend((0..each).map(|_| stream.sample::<f32, _>(StandardNormal))),
                        false => values.extend((0..each).map(|_| stream.random::<f32>())),
                    }
                }
                Tensor::from_data(TensorData::new(values, shape), &device)
            }
        }
    }
}

/// The deviation of the noise that random self-ensemble adds to images.
pub(crate) const IMAGE_NOISE: Parameter = Parameter {
    name: "image-noise",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
    unit: "pixel value, after the network's own normalisation",
    fallback: Fallback::Unset,
    documentation: "Random self-ensemble: the deviation of the Gaussian noise that is added before the first convolution, in training, too; the paper has 0.2, and averages predictions (`prediction-averaging`). Unset, none",
};

/// The deviation of the noise that random self-ensemble adds inside.
pub(crate) const INNER_NOISE: Parameter = Parameter {
    name: "inner-noise",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
    unit: "activation",
    fallback: Fallback::Unset,
    documentation: "Random self-ensemble: the deviation of the Gaussian noise that is added before every other convolution, in training, too; the paper has 0.1. Unset, none",
};

/// How much stochastic activation pruning leaves.
pub(crate) const ACTIVATION_PRUNING: Parameter = Parameter {
    name: "activation-pruning",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1000.0 },
    unit: "draws per activation",
    fallback: Fallback::Unset,
    documentation: "Stochastic activation pruning: how many draws, in proportion to the activations of an image, decide after each relu which ones stay; fewer prune more. Not in training. Unset, none are pruned",
};

/// The noise and pruning of a network.
#[derive(Clone, Debug)]
pub(crate) struct Stochastic {
    image_noise: Option<f64>,
    inner_noise: Option<f64>,
    pruning: Option<f64>,
}

impl Stochastic {
    /// Whether it changes anything.
    pub(crate) fn is_active(&self) -> bool {
        self.image_noise.or(self.inner_noise).or(self.pruning).is_some()
    }

    /// Whether it adds noise, as it does in training, too.
    pub(crate) fn is_noisy(&self) -> bool {
        self.image_noise.or(self.inner_noise).is_some()
    }

    /// Those of the parameters [`IMAGE_NOISE`], [`INNER_NOISE`] and [`ACTIVATION_PRUNING`].
    pub(crate) fn of(values: &Values) -> Self {
        let number = |parameter: Parameter| {
            let set = values.is_set(parameter.name).then(|| values.number(parameter.name));
            set.filter(|number| *number > 0.0)
        };
        Self { image_noise: number(IMAGE_NOISE), inner_noise: number(INNER_NOISE), pruning: number(ACTIVATION_PRUNING) }
    }

    /// Whether a network with these values draws random numbers in evaluation.
    pub(crate) fn is_random(values: &Values) -> bool {
        let Self { image_noise, inner_noise, pruning } = Self::of(values);
        image_noise.or(inner_noise).or(pruning).is_some()
    }

    /// What the first convolution takes, with noise.
    pub(crate) fn noisy_images(&self, images: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<4> {
        noisy(images, self.image_noise, randomness)
    }

    /// What any other convolution takes, with noise.
    pub(crate) fn noisy(&self, hidden: Tensor<4>, randomness: &mut Randomness<'_>) -> Tensor<4> {
        noisy(hidden, self.inner_noise, randomness)
    }

    /// What is left of the activations `[n, ...]` of each image.
    ///
    /// An activation h of an image with sum S of absolute values would be met by at least one of k draws with probabilities
    /// `|h| / S` with probability `q = 1 - (1 - |h| / S)^k`. It stays with that probability, independently of the others, and
    /// becomes `h / q`, so that its mean is h.
    pub(crate) fn pruned<const D: usize>(&self, hidden: Tensor<D>, randomness: &mut Randomness<'_>) -> Tensor<D> {
        let (Some(draws), Randomness::Rows(..)) = (self.pruning, &*randomness) else { return hidden };
        let shape = hidden.dims();
        let flat = hidden.reshape([shape[0], shape[1..].iter().product()]);
        let [_, activations] = flat.dims();
        let sizes = flat.clone().abs();
        // What is divided by has a square above zero, and shares are below one: derivatives stay finite.
        let shares = (sizes.clone() / sizes.sum_dim(1).clamp_min(1e-12)).clamp_max(1.0 - 1e-6);
        // 1 - exp(-x) = 2 t / (1 + t) with t = tanh(x / 2), which is exact for small x, too.
        let tanh = (shares.neg().log1p() * (-0.5 * draws * activations as f64)).tanh();
        let stays = (tanh.clone() * 2.0 / (tanh + 1.0)).clamp_min(1e-12);
        let kept = randomness.draw(&flat, false).lower(stays.clone()).float();
        (flat / stays * kept).reshape(shape)
    }
}

fn noisy(hidden: Tensor<4>, deviation: Option<f64>, randomness: &mut Randomness<'_>) -> Tensor<4> {
    match deviation {
        Some(deviation) => {
            let noise = randomness.draw(&hidden, true) * deviation;
            hidden + noise
        }
        None => hidden,
    }
}

/// Which blocks denoise features.
pub(crate) const DENOISING: Parameter = Parameter {
    name: "feature-denoising",
    kind: ParameterKind::Choice(&["gaussian", "dot-product", "mean", "median"]),
    unit: "",
    fallback: Fallback::Unset,
    documentation: "Feature denoising: what the added blocks filter with. `gaussian` and `dot-product` are non-local means, the former with a softmax of embedded features, the others take 3x3 positions, of which those outside of the image count as zeros; unset, there are no such blocks",
};

/// A denoising block: filter, 1x1 convolution and batch norm, added to its input.
#[derive(Module, Debug)]
pub(crate) struct Denoising {
    pub(crate) embedding_theta: Option<Conv2d>,
    pub(crate) embedding_phi: Option<Conv2d>,
    pub(crate) conv: Conv2d,
    pub(crate) bn: Option<BatchNorm>,
    #[module(skip)]
    filter: Filter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    Gaussian,
    DotProduct,
    Mean,
    Median,
}

impl Denoising {
    /// A block for so many channels, where the parameter [`DENOISING`] asks for blocks. In the beginning it changes nothing: the
    /// scale of its batch norm is zero.
    pub(crate) fn of(values: &Values, channels: usize, device: &Device) -> Option<Self> {
        if !values.is_set(DENOISING.name) {
            return None;
        }
        let filter = match values.text(DENOISING.name) {
            "gaussian" => Filter::Gaussian,
            "dot-product" => Filter::DotProduct,
            "mean" => Filter::Mean,
            _ => Filter::Median,
        };
        let pointwise = |outputs| convolution([channels, outputs], 1, 1, 0).with_bias(false).init(device);
        let embedding = || (filter == Filter::Gaussian).then(|| pointwise(channels / 2));
        let mut bn = BatchNormConfig::new(channels).init(device);
        bn.gamma = Param::from_tensor(Tensor::zeros([channels], device));
        Some(Self {
            embedding_theta: embedding(),
            embedding_phi: embedding(),
            conv: pointwise(channels),
            bn: Some(bn),
            filter,
        })
    }

    /// Features `[n, channels, height, width]`, denoised.
    pub(crate) fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let filtered = match self.filter {
            Filter::Gaussian | Filter::DotProduct => self.non_local_means(features.clone()),
            Filter::Mean => {
                let options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
                avg_pool2d(features.clone(), options)
            }
            Filter::Median => median_filter(features.clone()),
        };
        features + normalised(self.conv.forward(filtered), &self.bn)
    }

    /// The mean of the features of all positions, with weights that say how alike they are.
    fn non_local_means(&self, features: Tensor<4>) -> Tensor<4> {
        let shape = features.dims();
        let embedded = |embedding: &Option<Conv2d>| -> Tensor<3> {
            match embedding {
                Some(embedding) => embedding.forward(features.clone()).flatten(2, 3),
                None => features.clone().flatten(2, 3),
            }
        };
        let (theta, phi) = (embedded(&self.embedding_theta), embedded(&self.embedding_phi));
        let [_, channels, positions] = theta.dims();
        let products = product(theta.transpose(), phi);
        let weights = match self.filter {
            Filter::Gaussian => softmax(products / (channels as f64).sqrt(), 2),
            _ => products / positions as f64,
        };
        product(features.flatten::<3>(2, 3), weights.transpose()).reshape(shape)
    }

    /// Folds the batch norm into the convolution.
    pub(crate) fn fold(&mut self) {
        fold(&mut self.conv, &mut self.bn);
    }
}

/// The median of 3x3 positions, with zeros around the image.
fn median_filter(features: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = features.dims();
    let padded = features.pad([(1, 1), (1, 1)], 0.0);
    median((0..9).map(|place| padded.clone().narrow(2, place / 3, height).narrow(3, place % 3, width)).collect())
}
