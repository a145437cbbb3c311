//! What several networks share: convolutions, linear layers that keep rows apart, folding, normalisation, parameters.

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, Linear, PaddingConfig2d};
use burn::tensor::activation::{leaky_relu, relu, silu};
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::product;
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

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

/// Means and deviations of ImageNet's channels, as torchvision's weights want them.
pub(crate) const IMAGENET: [[f64; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// What is subtracted from images; see [`Normalisation::of`].
pub(crate) const MEAN: Parameter = Parameter {
    name: "mean",
    kind: ParameterKind::Numbers { minimum: 0.0, maximum: 1.0 },
    unit: "pixel value per channel",
    fallback: Fallback::Unset,
    documentation: "What is subtracted from the channels red, green, blue; unset, nothing",
};

/// What images are divided by; see [`Normalisation::of`].
pub(crate) const DEVIATION: Parameter = Parameter {
    name: "deviation",
    kind: ParameterKind::Numbers { minimum: 1e-6, maximum: 1e6 },
    unit: "pixel value per channel",
    fallback: Fallback::Unset,
    documentation: "What the channels are divided by after that; unset, by 1",
};

/// How many classes a network knows.
pub(crate) const fn classes(usual: &'static str) -> Parameter {
    Parameter {
        name: "classes",
        kind: ParameterKind::Count { minimum: 2, maximum: 100_000 },
        unit: "",
        fallback: Fallback::Value(usual),
        documentation: "How many logits it gives",
    }
}

/// How large the images are that a network takes.
pub(crate) const fn size(minimum: u64, usual: &'static str) -> Parameter {
    Parameter {
        name: "size",
        kind: ParameterKind::Count { minimum, maximum: 1024 },
        unit: "pixels",
        fallback: Fallback::Value(usual),
        documentation: "Width and height of the images it takes; weights do not depend on it",
    }
}

/// The shape of colour images of a size, or what is wrong with the normalisation of its channels.
pub(crate) fn colour(values: &Values, size: usize) -> Result<[usize; 3], String> {
    for name in [MEAN.name, DEVIATION.name] {
        if values.is_set(name) && values.numbers(name).len() != 3 {
            return Err(format!("`{name}` needs three numbers, one each for red, green and blue"));
        }
    }
    Ok([3, size, size])
}

/// The configuration of a square convolution with `padding` zeros on every side and a bias.
pub(crate) fn convolution(channels: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Conv2dConfig {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(padding, padding, padding, padding))
}

/// The configuration of a 3x3 convolution without bias that pads images of even size as TensorFlow's `SAME` does: with stride
/// 2, a row below and a column to the right.
pub(crate) fn convolution_same(channels: [usize; 2], stride: usize) -> Conv2dConfig {
    let before = if stride == 1 { 1 } else { 0 };
    convolution(channels, 3, stride, 1).with_bias(false).with_padding(PaddingConfig2d::Explicit(before, before, 1, 1))
}

/// A function that is applied to every activation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    /// Nothing below zero.
    Relu,
    /// Below zero, a tenth.
    LeakyRelu,
    /// The activation times its sigmoid.
    Swish,
}

impl Activation {
    pub(crate) fn forward(self, hidden: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Relu => relu(hidden),
            Self::LeakyRelu => leaky_relu(hidden, 0.1),
            Self::Swish => silu(hidden),
        }
    }
}

/// Applies the batch norm, if it has not been folded.
pub(crate) fn normalised(hidden: Tensor<4>, norm: &Option<BatchNorm>) -> Tensor<4> {
    match norm {
        Some(norm) => norm.forward(hidden),
        None => hidden,
    }
}

/// The mean of every channel over all positions: `[n, channels]`.
pub(crate) fn global_mean(hidden: Tensor<4>) -> Tensor<2> {
    hidden.flatten::<3>(2, 3).mean_dim(2).squeeze_dim(2)
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
    let blocks = product(rows.reshape([filled / ROWS, ROWS, features]), weight.unsqueeze());
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
pub struct Normalisation {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Normalisation {
    /// A normalisation of as many channels as both lists have entries; none for empty lists.
    pub fn new(mean: Vec<f64>, deviation: Vec<f64>) -> Self {
        Self { mean, deviation }
    }

    /// That of the parameters [`MEAN`] and [`DEVIATION`]: three numbers each, where unset zeros and ones.
    pub(crate) fn of(values: &Values) -> Self {
        let numbers = |name: &str, usual: f64| match values.is_set(name) {
            true => values.numbers(name),
            false => vec![usual; 3],
        };
        match values.is_set(MEAN.name) || values.is_set(DEVIATION.name) {
            true => Self::new(numbers(MEAN.name, 0.0), numbers(DEVIATION.name, 1.0)),
            false => Self::default(),
        }
    }

    /// Normalises images `[n, channels, height, width]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        if self.mean.is_empty() {
            return images;
        }
        let device = images.device();
        (images - channels(&self.mean, &device)) * channels(&self.inverse_deviations(), &device)
    }

    /// The way back: from the gradient with respect to what [`Normalisation::forward`] gives, to that with respect to images.
    pub fn pull(&self, gradient: Tensor<4>) -> Tensor<4> {
        if self.mean.is_empty() {
            return gradient;
        }
        let device = gradient.device();
        gradient * channels(&self.inverse_deviations(), &device)
    }

    fn inverse_deviations(&self) -> Vec<f64> {
        self.deviation.iter().map(|deviation| 1.0 / deviation).collect()
    }
}

/// Makes the pixels of each image have mean 0 and deviation 1, as TensorFlow's `per_image_standardization` does with pixels
/// from 0 to 255: there the deviation counts as at least one over the root of how many pixels there are.
pub(crate) fn standardised(images: Tensor<4>) -> Tensor<4> {
    let [count, channels, height, width] = images.dims();
    let pixels = channels * height * width;
    let flat: Tensor<2> = images.flatten(1, 3);
    let centred = flat.clone() - flat.mean_dim(1);
    let least = 1.0 / (255.0 * (pixels as f64).sqrt());
    // Clamped before the root, whose derivative at zero is infinite.
    let deviation = centred.clone().square().mean_dim(1).clamp_min(least * least).sqrt();
    (centred / deviation).reshape([count, channels, height, width])
}

fn channels(values: &[f64], device: &Device) -> Tensor<4> {
    Tensor::<1>::from_data(TensorData::from(values), device).reshape([1, values.len(), 1, 1])
}
