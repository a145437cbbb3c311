//! What several networks share: convolutions, linear layers that keep rows apart, folding, normalisation.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_plan::{Fallback, Parameter, ParameterKind};

/// Rows that a linear layer multiplies at once.
const ROWS: usize = 8;

/// The parameter that every network has.
pub(crate) const WEIGHTS: Parameter = Parameter {
    name: "weights",
    kind: ParameterKind::File,
    unit: "",
    fallback: Fallback::Required,
    documentation: "Trained weights: `.safetensors`, or a PyTorch checkpoint (`.pt`, `.pth`, `.th`) of which only tensors are read; only a network that is to be trained goes without",
};

/// The configuration of a square convolution with `padding` zeros on every side and a bias.
pub(crate) fn convolution(channels: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
}

/// The end of a residual branch: its values as they are, its gradient multiplied by `decay` where there is one.
pub(crate) fn damped(branch: Tensor<4>, decay: Option<f64>) -> Tensor<4> {
    match decay {
        Some(decay) if branch.is_tracked() => {
            let values = branch.clone().detach();
            // What is added is zero, whatever its gradient.
            values.clone() + (branch - values) * decay
        }
        _ => branch,
    }
}

/// Halves width and height by the largest of each 2x2 pixels.
pub(crate) fn max_pool(images: Tensor<4>) -> Tensor<4> {
    max_pool2d(images, MaxPoolOptions::new([2, 2]))
}

/// Applies a linear layer to `[n, features]` such that no row depends on how many others there are.
///
/// The way in which a matrix product is cut into blocks, and with it the last bit, depends on the number of rows.
/// So rows are multiplied in blocks of eight, the last one filled up with zeros.
pub(crate) fn linear_by_rows(layer: &Linear, rows: Tensor<2>) -> Tensor<2> {
    product_by_rows(rows, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// As [`linear_by_rows`], for weights `[features, outputs]` and a bias `[outputs]`.
pub(crate) fn product_by_rows(rows: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let [count, features] = rows.dims();
    let filled = count.next_multiple_of(ROWS);
    let rows = if filled == count { rows } else { rows.pad([(0, filled - count), (0, 0)], 0.0) };
    let blocks = rows.reshape([filled / ROWS, ROWS, features]).matmul(weight.unsqueeze());
    let blocks = match bias {
        Some(bias) => blocks + bias.unsqueeze(),
        None => blocks,
    };
    let [_, _, classes] = blocks.dims();
    let rows = blocks.reshape([filled, classes]);
    if filled == count { rows } else { rows.narrow(0, 0, count) }
}

/// Folds a batch norm in evaluation state into the convolution before it, and leaves none behind.
///
/// With mean m, variance v, scale g and shift b per channel, the convolution's weight w and bias c become
/// w g / sqrt(v + epsilon) and (c - m) g / sqrt(v + epsilon) + b: the same function.
pub(crate) fn fold(convolution: &mut Conv2d, norm: &mut Option<BatchNorm>) {
    let Some(norm) = norm.take() else { return };
    let scale = norm.gamma.val() / (norm.running_var.value() + norm.epsilon).sqrt();
    let [channels] = scale.dims();
    let mean = norm.running_mean.value();
    let centred = match &convolution.bias {
        Some(bias) => bias.val() - mean,
        None => -mean,
    };
    convolution.bias = Some(Param::from_tensor(centred * scale.clone() + norm.beta.val()));
    convolution.weight = Param::from_tensor(convolution.weight.val() * scale.reshape([channels, 1, 1, 1]));
}

/// Subtracts a mean from every channel and divides by a deviation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Normalisation {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Normalisation {
    /// A normalisation of as many channels as both lists have entries; none for empty lists.
    pub(crate) fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Self {
        Self { mean, deviation }
    }

    /// Normalises images `[n, channels, height, width]`.
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        if self.mean.is_empty() {
            return images;
        }
        let device = images.device();
        (images - channels(&self.mean, &device))
            * channels(&self.deviation.iter().map(|d| 1.0 / d).collect::<Vec<_>>(), &device)
    }
}

fn channels(values: &[f64], device: &Device) -> Tensor<4> {
    Tensor::<1>::from_data(TensorData::from(values), device).reshape([1, values.len(), 1, 1])
}
