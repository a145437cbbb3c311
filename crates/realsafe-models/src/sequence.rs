//! Layers whose keys are positions, as in PyTorch's `nn.Sequential`: layers without weights count, too.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, Linear, Relu};
use burn::tensor::{Device, Tensor};

use crate::inner::{Randomness, Stochastic};
use crate::layers::{convolution, fold, linear_by_rows};

/// A member of a sequence.
#[derive(Module, Debug)]
pub(crate) enum Layer {
    Convolution(Conv2d),
    BatchNorm(BatchNorm),
    Relu(Relu),
    MaxPool(MaxPool2d),
    Dropout(Dropout),
    /// Takes all channels and positions of an image, and gives channels of one position.
    Linear(Linear),
}

impl Layer {
    fn forward(&self, hidden: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Convolution(layer) => layer.forward(hidden),
            Self::BatchNorm(layer) => layer.forward(hidden),
            Self::Relu(layer) => layer.forward(hidden),
            Self::MaxPool(layer) => layer.forward(hidden),
            Self::Dropout(layer) => layer.forward(hidden),
            Self::Linear(layer) => linear_by_rows(layer, hidden.flatten(1, 3)).unsqueeze_dims(&[-1, -1]),
        }
    }
}

/// Applies all layers in order; none, and images stay what they are.
pub(crate) fn sequence(layers: &[Layer], images: Tensor<4>) -> Tensor<4> {
    layers.iter().fold(images, |hidden, layer| layer.forward(hidden))
}

/// Like [`sequence`], with noise before each convolution and pruning after each relu.
pub(crate) fn stochastic_sequence(
    layers: &[Layer],
    images: Tensor<4>,
    stochastic: &Stochastic,
    randomness: &mut Randomness<'_>,
) -> Tensor<4> {
    let mut first = true;
    layers.iter().fold(images, |hidden, layer| match layer {
        Layer::Convolution(_) if std::mem::take(&mut first) => {
            layer.forward(stochastic.noisy_images(hidden, randomness))
        }
        Layer::Convolution(_) => layer.forward(stochastic.noisy(hidden, randomness)),
        Layer::Relu(_) => stochastic.pruned(layer.forward(hidden), randomness),
        _ => layer.forward(hidden),
    })
}

/// Folds every batch norm that follows a convolution into it.
pub(crate) fn folded(layers: Vec<Layer>) -> Vec<Layer> {
    let mut folded: Vec<Layer> = Vec::with_capacity(layers.len());
    for layer in layers {
        match (folded.last_mut(), layer) {
            (Some(Layer::Convolution(convolution)), Layer::BatchNorm(norm)) => fold(convolution, &mut Some(norm)),
            (_, layer) => folded.push(layer),
        }
    }
    folded
}

/// A 1x1 convolution without bias, as shortcuts have where stride or channels change.
pub(crate) fn projection([input, output]: [usize; 2], stride: usize, device: &Device) -> Layer {
    Layer::Convolution(convolution([input, output], 1, stride, 0).with_bias(false).init(device))
}

/// A batch norm of so many channels.
pub(crate) fn batch_norm(channels: usize, device: &Device) -> Layer {
    Layer::BatchNorm(BatchNormConfig::new(channels).init(device))
}
