//! Inception-v3 for ImageNet.
//!
//! Five convolutions with two max-poolings, eleven modules of convolutions side by side (some of them factored into
//! 1x7 and 7x1, or 1x3 and 3x1), the mean over all positions and a linear layer; batch norm and relu follow every
//! convolution. In training, a half of what the linear layer takes is dropped. The auxiliary classifier, which only
//! helps training, is left out.
//!
//! Images are 299 pixels wide unless `size` says otherwise, and pixels `[0, 1]` become `[-1, 1]` inside: what torchvision's
//! normalisation and the `transform_input` of its weights do together. `mean` and `deviation` change that.
//!
//! State-dict keys: those of torchvision: `Conv2d_1a_3x3.{conv,bn}` and so on, `Mixed_5b.branch1x1.{conv,bn}` and so on,
//! `fc`. Those of the auxiliary classifier, `AuxLogits`, are not read. In evaluation state every batch norm is folded
//! into the convolution before it.
//!
//! ## Reference
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision", CVPR 2016,
//! arXiv:1512.00567; in the form of torchvision, into which the authors' weights were converted.

// Fields are called what the checkpoints call them.
#![expect(non_snake_case)]

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, Traits, Values};

use crate::inner::Randomness;
use crate::layers::{
    DEVIATION, MEAN, Normalisation, WEIGHTS, classes, colour, fold, global_mean, linear_by_rows, normalised, size,
};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

/// A convolution without bias, batch norm and relu.
#[derive(Module, Debug)]
struct Unit {
    conv: Conv2d,
    bn: Option<BatchNorm>,
}

impl Unit {
    /// With stride 1 and zeros around the image such that its size stays.
    fn new(channels: [usize; 2], kernel: [usize; 2], device: &Device) -> Self {
        let [vertical, horizontal] = kernel.map(|length| length / 2);
        Self::padded(channels, kernel, 1, [vertical, horizontal], device)
    }

    /// Without zeros around the image.
    fn unpadded(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        Self::padded(channels, [3, 3], stride, [0, 0], device)
    }

    fn padded(channels: [usize; 2], kernel: [usize; 2], stride: usize, [y, x]: [usize; 2], device: &Device) -> Self {
        let conv = Conv2dConfig::new(channels, kernel)
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(y, x, y, x))
            .with_bias(false);
        Self { conv: conv.init(device), bn: Some(BatchNormConfig::new(channels[1]).with_epsilon(1e-3).init(device)) }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        relu(normalised(self.conv.forward(images), &self.bn))
    }

    fn fold(&mut self) {
        fold(&mut self.conv, &mut self.bn);
    }
}

/// Modules of units, which fold one by one.
macro_rules! modules {
    ($($(#[$documentation:meta])* $name:ident { $($unit:ident),* $(,)? })*) => {$(
        $(#[$documentation])*
        #[derive(Module, Debug)]
        struct $name {
            $($unit: Unit,)*
        }

        impl $name {
            fn fold(&mut self) {
                $(self.$unit.fold();)*
            }
        }
    )*};
}

modules! {
    /// At 35x35 positions.
    MixedA { branch1x1, branch5x5_1, branch5x5_2, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3, branch_pool }
    /// From 35x35 positions to 17x17.
    MixedB { branch3x3, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3 }
    /// At 17x17 positions.
    MixedC {
        branch1x1, branch7x7_1, branch7x7_2, branch7x7_3, branch7x7dbl_1, branch7x7dbl_2, branch7x7dbl_3,
        branch7x7dbl_4, branch7x7dbl_5, branch_pool,
    }
    /// From 17x17 positions to 8x8.
    MixedD { branch3x3_1, branch3x3_2, branch7x7x3_1, branch7x7x3_2, branch7x7x3_3, branch7x7x3_4 }
    /// At 8x8 positions.
    MixedE {
        branch1x1, branch3x3_1, branch3x3_2a, branch3x3_2b, branch3x3dbl_1, branch3x3dbl_2, branch3x3dbl_3a,
        branch3x3dbl_3b, branch_pool,
    }
}

/// Applies units in order.
fn chain<const N: usize>(units: [&Unit; N], images: &Tensor<4>) -> Tensor<4> {
    units.into_iter().fold(images.clone(), |hidden, unit| unit.forward(hidden))
}

/// The mean of 3x3 positions, zeros around the image included.
fn mean_pool(images: &Tensor<4>) -> Tensor<4> {
    avg_pool2d(images.clone(), AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]))
}

fn max_pool(images: &Tensor<4>) -> Tensor<4> {
    max_pool2d(images.clone(), MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
}

impl MixedA {
    fn new(input: usize, pooled: usize, device: &Device) -> Self {
        let unit = |channels, size| Unit::new(channels, [size, size], device);
        Self {
            branch1x1: unit([input, 64], 1),
            branch5x5_1: unit([input, 48], 1),
            branch5x5_2: unit([48, 64], 5),
            branch3x3dbl_1: unit([input, 64], 1),
            branch3x3dbl_2: unit([64, 96], 3),
            branch3x3dbl_3: unit([96, 96], 3),
            branch_pool: unit([input, pooled], 1),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let branches = vec![
            self.branch1x1.forward(images.clone()),
            chain([&self.branch5x5_1, &self.branch5x5_2], &images),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &images),
            self.branch_pool.forward(mean_pool(&images)),
        ];
        Tensor::cat(branches, 1)
    }
}

impl MixedB {
    fn new(device: &Device) -> Self {
        Self {
            branch3x3: Unit::unpadded([288, 384], 2, device),
            branch3x3dbl_1: Unit::new([288, 64], [1, 1], device),
            branch3x3dbl_2: Unit::new([64, 96], [3, 3], device),
            branch3x3dbl_3: Unit::unpadded([96, 96], 2, device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let branches = vec![
            self.branch3x3.forward(images.clone()),
            chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2, &self.branch3x3dbl_3], &images),
            max_pool(&images),
        ];
        Tensor::cat(branches, 1)
    }
}

impl MixedC {
    fn new(inner: usize, device: &Device) -> Self {
        let unit = |channels, kernel| Unit::new(channels, kernel, device);
        Self {
            branch1x1: unit([768, 192], [1, 1]),
            branch7x7_1: unit([768, inner], [1, 1]),
            branch7x7_2: unit([inner, inner], [1, 7]),
            branch7x7_3: unit([inner, 192], [7, 1]),
            branch7x7dbl_1: unit([768, inner], [1, 1]),
            branch7x7dbl_2: unit([inner, inner], [7, 1]),
            branch7x7dbl_3: unit([inner, inner], [1, 7]),
            branch7x7dbl_4: unit([inner, inner], [7, 1]),
            branch7x7dbl_5: unit([inner, 192], [1, 7]),
            branch_pool: unit([768, 192], [1, 1]),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let double = [
            &self.branch7x7dbl_1,
            &self.branch7x7dbl_2,
            &self.branch7x7dbl_3,
            &self.branch7x7dbl_4,
            &self.branch7x7dbl_5,
        ];
        let branches = vec![
            self.branch1x1.forward(images.clone()),
            chain([&self.branch7x7_1, &self.branch7x7_2, &self.branch7x7_3], &images),
            chain(double, &images),
            self.branch_pool.forward(mean_pool(&images)),
        ];
        Tensor::cat(branches, 1)
    }
}

impl MixedD {
    fn new(device: &Device) -> Self {
        Self {
            branch3x3_1: Unit::new([768, 192], [1, 1], device),
            branch3x3_2: Unit::unpadded([192, 320], 2, device),
            branch7x7x3_1: Unit::new([768, 192], [1, 1], device),
            branch7x7x3_2: Unit::new([192, 192], [1, 7], device),
            branch7x7x3_3: Unit::new([192, 192], [7, 1], device),
            branch7x7x3_4: Unit::unpadded([192, 192], 2, device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let long = [&self.branch7x7x3_1, &self.branch7x7x3_2, &self.branch7x7x3_3, &self.branch7x7x3_4];
        let branches =
            vec![chain([&self.branch3x3_1, &self.branch3x3_2], &images), chain(long, &images), max_pool(&images)];
        Tensor::cat(branches, 1)
    }
}

impl MixedE {
    fn new(input: usize, device: &Device) -> Self {
        let unit = |channels, kernel| Unit::new(channels, kernel, device);
        Self {
            branch1x1: unit([input, 320], [1, 1]),
            branch3x3_1: unit([input, 384], [1, 1]),
            branch3x3_2a: unit([384, 384], [1, 3]),
            branch3x3_2b: unit([384, 384], [3, 1]),
            branch3x3dbl_1: unit([input, 448], [1, 1]),
            branch3x3dbl_2: unit([448, 384], [3, 3]),
            branch3x3dbl_3a: unit([384, 384], [1, 3]),
            branch3x3dbl_3b: unit([384, 384], [3, 1]),
            branch_pool: unit([input, 192], [1, 1]),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let single = self.branch3x3_1.forward(images.clone());
        let double = chain([&self.branch3x3dbl_1, &self.branch3x3dbl_2], &images);
        let branches = vec![
            self.branch1x1.forward(images.clone()),
            self.branch3x3_2a.forward(single.clone()),
            self.branch3x3_2b.forward(single),
            self.branch3x3dbl_3a.forward(double.clone()),
            self.branch3x3dbl_3b.forward(double),
            self.branch_pool.forward(mean_pool(&images)),
        ];
        Tensor::cat(branches, 1)
    }
}

#[derive(Module, Debug)]
struct InceptionV3 {
    #[module(skip)]
    normalisation: Normalisation,
    Conv2d_1a_3x3: Unit,
    Conv2d_2a_3x3: Unit,
    Conv2d_2b_3x3: Unit,
    Conv2d_3b_1x1: Unit,
    Conv2d_4a_3x3: Unit,
    Mixed_5b: MixedA,
    Mixed_5c: MixedA,
    Mixed_5d: MixedA,
    Mixed_6a: MixedB,
    Mixed_6b: MixedC,
    Mixed_6c: MixedC,
    Mixed_6d: MixedC,
    Mixed_6e: MixedC,
    Mixed_7a: MixedD,
    Mixed_7b: MixedE,
    Mixed_7c: MixedE,
    dropout: Dropout,
    fc: Linear,
}

impl Network for InceptionV3 {
    const UNUSED: &'static [&'static str] = &["AuxLogits."];

    fn new(values: &Values, device: &Device) -> Self {
        Self {
            normalisation: Normalisation::of(values),
            Conv2d_1a_3x3: Unit::unpadded([3, 32], 2, device),
            Conv2d_2a_3x3: Unit::unpadded([32, 32], 1, device),
            Conv2d_2b_3x3: Unit::new([32, 64], [3, 3], device),
            Conv2d_3b_1x1: Unit::new([64, 80], [1, 1], device),
            Conv2d_4a_3x3: Unit::unpadded([80, 192], 1, device),
            Mixed_5b: MixedA::new(192, 32, device),
            Mixed_5c: MixedA::new(256, 64, device),
            Mixed_5d: MixedA::new(288, 64, device),
            Mixed_6a: MixedB::new(device),
            Mixed_6b: MixedC::new(128, device),
            Mixed_6c: MixedC::new(160, device),
            Mixed_6d: MixedC::new(160, device),
            Mixed_6e: MixedC::new(192, device),
            Mixed_7a: MixedD::new(device),
            Mixed_7b: MixedE::new(1280, device),
            Mixed_7c: MixedE::new(2048, device),
            dropout: DropoutConfig::new(0.5).init(),
            fc: LinearConfig::new(2048, values.count("classes") as usize).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let images = self.normalisation.forward(images);
        let hidden = max_pool(&chain([&self.Conv2d_1a_3x3, &self.Conv2d_2a_3x3, &self.Conv2d_2b_3x3], &images));
        let hidden = max_pool(&chain([&self.Conv2d_3b_1x1, &self.Conv2d_4a_3x3], &hidden));
        let hidden = self.Mixed_5d.forward(self.Mixed_5c.forward(self.Mixed_5b.forward(hidden)));
        let hidden = self.Mixed_6c.forward(self.Mixed_6b.forward(self.Mixed_6a.forward(hidden)));
        let hidden = self.Mixed_6e.forward(self.Mixed_6d.forward(hidden));
        let hidden = self.Mixed_7c.forward(self.Mixed_7b.forward(self.Mixed_7a.forward(hidden)));
        linear_by_rows(&self.fc, self.dropout.forward(global_mean(hidden)))
    }

    fn is_random_in_training(&self) -> bool {
        true
    }

    fn folded(mut self) -> Self {
        let stem = [
            &mut self.Conv2d_1a_3x3,
            &mut self.Conv2d_2a_3x3,
            &mut self.Conv2d_2b_3x3,
            &mut self.Conv2d_3b_1x1,
            &mut self.Conv2d_4a_3x3,
        ];
        stem.into_iter().for_each(Unit::fold);
        [&mut self.Mixed_5b, &mut self.Mixed_5c, &mut self.Mixed_5d].into_iter().for_each(MixedA::fold);
        self.Mixed_6a.fold();
        let middle = [&mut self.Mixed_6b, &mut self.Mixed_6c, &mut self.Mixed_6d, &mut self.Mixed_6e];
        middle.into_iter().for_each(MixedC::fold);
        self.Mixed_7a.fold();
        [&mut self.Mixed_7b, &mut self.Mixed_7c].into_iter().for_each(MixedE::fold);
        self
    }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "inception-v3",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("inception_v3.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    fallback: Fallback::Value("0.5, 0.5, 0.5"),
                    documentation: "What is subtracted from the channels red, green, blue",
                    ..MEAN
                },
                Parameter {
                    fallback: Fallback::Value("0.5, 0.5, 0.5"),
                    documentation: "What the channels are divided by after that",
                    ..DEVIATION
                },
                size(75, "299"),
                classes("1000"),
            ],
            example: "weights = \"weights/imagenet-inception-v3.pth\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| colour(values, values.count("size") as usize),
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<InceptionV3>,
    }
}

inventory::submit! {
    TrainableEntry { model: "inception-v3", build: trainable::<InceptionV3> }
}
