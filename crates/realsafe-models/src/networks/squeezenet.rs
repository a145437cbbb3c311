//! SqueezeNet 1.0 for ImageNet, in the variant that its authors trained with Caffe.
//!
//! A 7x7 convolution of 96 channels with stride 2, eight fire modules (a 1x1 convolution that squeezes, then 1x1 and
//! 3x3 convolutions side by side that expand) with max-pooling of 3 and stride 2 after the first convolution, the
//! third and the seventh module, a 1x1 convolution to 1,000 classes, and the mean over all positions; a relu follows
//! each convolution.
//!
//! The network wants 227x227 pixels from 0 to 255 with the channels in the order blue, green, red and the means 104,
//! 117 and 123 subtracted. All of that happens inside: it takes images `[3, size, size]` in `[0, 1]`, red first, and
//! resizes them bilinearly (pixel centres at half integers, no smoothing), so that attacks see one differentiable
//! function of the images as the dataset provides them.
//!
//! State-dict keys: `conv1`, `fireN_{squeeze1x1,expand1x1,expand3x3}` for N from 2 to 9, `conv10`, each with `weight`
//! and `bias`.
//!
//! ## Reference
//! Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
//! <0.5MB model size", arXiv:1602.07360.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{ModelEntry, TrainableEntry, inventory, product};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::Randomness;
use crate::layers::{Normalisation, WEIGHTS, convolution, global_mean};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

/// The width and height that the convolutions want.
const INNER: usize = 227;
/// Means of blue, green and red, of 255.
const MEAN: [f64; 3] = [104.0 / 255.0, 117.0 / 255.0, 123.0 / 255.0];
/// Input, squeezed and expanded channels of the fire modules; the output is twice the expanded.
const FIRES: [[usize; 3]; 8] = [
    [96, 16, 64],
    [128, 16, 64],
    [128, 32, 128],
    [256, 32, 128],
    [256, 48, 192],
    [384, 48, 192],
    [384, 64, 256],
    [512, 64, 256],
];

#[derive(Module, Debug)]
struct SqueezeNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    fire: Vec<Fire>,
    conv10: Conv2d,
}

#[derive(Module, Debug)]
struct Fire {
    squeeze1x1: Conv2d,
    expand1x1: Conv2d,
    expand3x3: Conv2d,
}

impl Fire {
    fn new([input, squeezed, expanded]: [usize; 3], device: &Device) -> Self {
        Self {
            squeeze1x1: convolution([input, squeezed], 1, 1, 0).init(device),
            expand1x1: convolution([squeezed, expanded], 1, 1, 0).init(device),
            expand3x3: convolution([squeezed, expanded], 3, 1, 1).init(device),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let squeezed = relu(self.squeeze1x1.forward(input));
        relu(Tensor::cat(vec![self.expand1x1.forward(squeezed.clone()), self.expand3x3.forward(squeezed)], 1))
    }
}

impl Network for SqueezeNet {
    // Our list of modules counts from 0.
    const RENAMES: &'static [(&'static str, &'static str)] = &[
        ("^fire2_", "fire.0."),
        ("^fire3_", "fire.1."),
        ("^fire4_", "fire.2."),
        ("^fire5_", "fire.3."),
        ("^fire6_", "fire.4."),
        ("^fire7_", "fire.5."),
        ("^fire8_", "fire.6."),
        ("^fire9_", "fire.7."),
    ];

    fn new(_: &Values, device: &Device) -> Self {
        Self {
            normalisation: Normalisation::new(MEAN.to_vec(), vec![1.0 / 255.0; 3]),
            conv1: convolution([3, 96], 7, 2, 0).init(device),
            fire: FIRES.into_iter().map(|channels| Fire::new(channels, device)).collect(),
            conv10: convolution([512, 1000], 1, 1, 0).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_ceil_mode(true);
        let pool = |hidden| max_pool2d(hidden, options.clone());
        let images = self.normalisation.forward(resized(images, INNER).flip([1]));
        let mut hidden = pool(relu(self.conv1.forward(images)));
        for (index, fire) in self.fire.iter().enumerate() {
            hidden = fire.forward(hidden);
            if matches!(index, 2 | 6) {
                hidden = pool(hidden);
            }
        }
        global_mean(relu(self.conv10.forward(hidden)))
    }
}

/// Resizes square images `[n, channels, height, width]` to `size` bilinearly, as a product with a matrix from either
/// side: differentiable on every backend, and the same for every row.
fn resized(images: Tensor<4>, size: usize) -> Tensor<4> {
    let [_, _, height, width] = images.dims();
    if [height, width] == [size, size] {
        return images;
    }
    let device = images.device();
    let rows = interpolation(height, size, &device);
    let columns = interpolation(width, size, &device).transpose();
    product(product(rows.unsqueeze::<4>(), images), columns.unsqueeze::<4>())
}

/// The matrix `[to, from]` of a linear interpolation between samples whose centres lie at half integers.
fn interpolation(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut matrix = vec![0.0_f32; to * from];
    for (row, weights) in matrix.chunks_exact_mut(from).enumerate() {
        let position = ((row as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        let below = position as usize;
        let fraction = (position - below as f64) as f32;
        weights[below] += 1.0 - fraction;
        weights[(below + 1).min(from - 1)] += fraction;
    }
    Tensor::from_data(TensorData::new(matrix, [to, from]), device)
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "squeezenet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("squeezenet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "size",
                    kind: ParameterKind::Count { minimum: 32, maximum: 1024 },
                    unit: "pixels",
                    fallback: Fallback::Value("227"),
                    documentation: "Width and height of the images it is given, resized inside where they are not 227",
                },
            ],
            example: "size = 299\nweights = \"weights/imagenet-squeezenet1.0.safetensors\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| Ok([3, values.count("size") as usize, values.count("size") as usize]),
                classes: &|_| Ok(1000),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<SqueezeNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "squeezenet", build: trainable::<SqueezeNet> }
}
