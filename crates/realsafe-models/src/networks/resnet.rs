//! Residual networks for ImageNet, and their form for small images.
//!
//! A stem, four stages of residual blocks with 64, 128, 256 and 512 channels, all but the first starting with stride 2,
//! the mean over all positions and a linear layer. Up to depth 34 a block is two 3x3 convolutions; from 50 on it is
//! convolutions of 1x1, 3x3 (with the stride) and 1x1, the last to four times the channels. Batch norm follows each, relu
//! each but the last, which is added to the shortcut first: the block's input, or where stride or channels change a 1x1
//! convolution of it with batch norm.
//!
//! The stem `imagenet` is a 7x7 convolution with stride 2, batch norm, relu and max-pooling of 3x3 with stride 2, as in
//! torchvision; images are 224 pixels wide and normalised with the means and deviations of ImageNet. The stem `cifar` is
//! a 3x3 convolution with batch norm and relu; images are 32 pixels wide and not normalised. `size`, `mean` and
//! `deviation` change that. `width = 2` gives torchvision's `wide_resnet50_2` and `wide_resnet101_2`.
//!
//! With `feature-denoising`, a block follows each stage: a filter over positions, a 1x1 convolution and batch norm, added to
//! the features. It is trained with the rest, and hides no gradient.
//!
//! State-dict keys: `conv1`, `bn1`, `layerS.B.{conv1,bn1,conv2,bn2,conv3,bn3}`, `layerS.B.downsample.{0,1}`, `fc`, as in
//! torchvision, and `denoising.S.{embedding_theta,embedding_phi,conv,bn}` with S from 0 where there are such blocks; or with `shortcut` and `linear` instead of `downsample` and `fc`, as the form for small images usually
//! has them. The wrappings of the package `robustness` and of RobustBench around the keys are taken off. In evaluation state
//! every batch norm is folded into the convolution before it.
//!
//! ## Reference
//! He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385; with the stride in
//! the 3x3 convolution as in torchvision. `width`: Zagoruyko, Komodakis, "Wide residual networks", BMVC 2016,
//! arXiv:1605.07146. `feature-denoising`: Xie, Wu, van der Maaten, Yuille, He, "Feature denoising for improving adversarial
//! robustness", CVPR 2019, arXiv:1812.03411.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::module::max_pool2d;
use burn::tensor::ops::MaxPoolOptions;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::inner::{DENOISING, Denoising, Randomness};
use crate::layers::{
    DEVIATION, IMAGENET, MEAN, Normalisation, WEIGHTS, classes, colour, convolution, damped, fold, global_mean,
    linear_by_rows, normalised,
};
use crate::network::Network;
use crate::sequence::{Layer, batch_norm, folded, projection, sequence};
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct ResNet {
    #[module(skip)]
    normalisation: Normalisation,
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    #[module(skip)]
    pooled: bool,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
    /// One after each stage, or none.
    denoising: Vec<Denoising>,
    fc: Linear,
}

#[derive(Module, Debug)]
struct Block {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    conv2: Conv2d,
    bn2: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Vec<Layer>,
    /// What the gradient through the branch is multiplied by.
    #[module(skip)]
    residual_decay: Option<f64>,
}

impl Block {
    fn new([input, inner, output]: [usize; 3], stride: usize, bottleneck: bool, device: &Device) -> Self {
        let conv =
            |channels, kernel, stride| convolution(channels, kernel, stride, kernel / 2).with_bias(false).init(device);
        let norm = |channels| BatchNormConfig::new(channels).init(device);
        let (conv1, conv2) = match bottleneck {
            true => (conv([input, inner], 1, 1), conv([inner, inner], 3, stride)),
            false => (conv([input, inner], 3, stride), conv([inner, inner], 3, 1)),
        };
        let changes = (input, stride) != (output, 1);
        let downsample = || vec![projection([input, output], stride, device), batch_norm(output, device)];
        Self {
            conv1,
            bn1: Some(norm(inner)),
            conv2,
            bn2: Some(norm(inner)),
            conv3: bottleneck.then(|| conv([inner, output], 1, 1)),
            bn3: bottleneck.then(|| norm(output)),
            downsample: if changes { downsample() } else { Vec::new() },
            residual_decay: None,
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let hidden = relu(normalised(self.conv1.forward(input.clone()), &self.bn1));
        let hidden = normalised(self.conv2.forward(hidden), &self.bn2);
        let hidden = match &self.conv3 {
            Some(conv3) => normalised(conv3.forward(relu(hidden)), &self.bn3),
            None => hidden,
        };
        relu(damped(hidden, self.residual_decay) + sequence(&self.downsample, input))
    }

    fn fold(&mut self) {
        fold(&mut self.conv1, &mut self.bn1);
        fold(&mut self.conv2, &mut self.bn2);
        if let Some(conv3) = &mut self.conv3 {
            fold(conv3, &mut self.bn3);
        }
        self.downsample = folded(std::mem::take(&mut self.downsample));
    }
}

impl ResNet {
    fn blocks(&mut self) -> impl Iterator<Item = &mut Block> {
        self.layer1.iter_mut().chain(&mut self.layer2).chain(&mut self.layer3).chain(&mut self.layer4)
    }
}

impl Network for ResNet {
    const RENAMES: &'static [(&'static str, &'static str)] =
        &[(r"\.shortcut\.", ".downsample."), (r"^linear\.", "fc.")];

    fn new(values: &Values, device: &Device) -> Self {
        let (blocks, bottleneck) = match values.text("depth") {
            "18" => ([2, 2, 2, 2], false),
            "34" => ([3, 4, 6, 3], false),
            "50" => ([3, 4, 6, 3], true),
            "101" => ([3, 4, 23, 3], true),
            _ => ([3, 8, 36, 3], true),
        };
        let (width, expansion) = if bottleneck { (values.count("width") as usize, 4) } else { (1, 1) };
        let mut channels = 64;
        let mut layers = [64, 128, 256, 512].into_iter().zip(blocks).map(|(base, count)| {
            let stride = if base == 64 { 1 } else { 2 };
            let (inner, output) = (base * width, base * expansion);
            let first = Block::new([channels, inner, output], stride, bottleneck, device);
            let others = (1..count).map(|_| Block::new([output, inner, output], 1, bottleneck, device));
            channels = output;
            std::iter::once(first).chain(others).collect()
        });
        let mut layer = || layers.next().expect("there are four");
        let (layer1, layer2, layer3, layer4) = (layer(), layer(), layer(), layer());
        let imagenet = values.text("stem") == "imagenet";
        let own_normalisation = values.is_set(MEAN.name) || values.is_set(DEVIATION.name);
        let (kernel, stride) = if imagenet { (7, 2) } else { (3, 1) };
        Self {
            normalisation: match imagenet && !own_normalisation {
                true => Normalisation::new(IMAGENET[0].to_vec(), IMAGENET[1].to_vec()),
                false => Normalisation::of(values),
            },
            conv1: convolution([3, 64], kernel, stride, kernel / 2).with_bias(false).init(device),
            bn1: Some(BatchNormConfig::new(64).init(device)),
            pooled: imagenet,
            layer1,
            layer2,
            layer3,
            layer4,
            denoising: [64, 128, 256, 512]
                .into_iter()
                .filter_map(|base| Denoising::of(values, base * expansion, device))
                .collect(),
            fc: LinearConfig::new(512 * expansion, values.count("classes") as usize).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = self.conv1.forward(self.normalisation.forward(images));
        let mut hidden = relu(normalised(hidden, &self.bn1));
        if self.pooled {
            hidden = max_pool2d(hidden, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]));
        }
        for (stage, blocks) in [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter().enumerate() {
            hidden = blocks.iter().fold(hidden, |hidden, block| block.forward(hidden));
            if let Some(denoising) = self.denoising.get(stage) {
                hidden = denoising.forward(hidden);
            }
        }
        linear_by_rows(&self.fc, global_mean(hidden))
    }

    fn with_residual_decay(mut self, decay: f64) -> Option<Self> {
        self.blocks().for_each(|block| block.residual_decay = Some(decay));
        Some(self)
    }

    fn folded(mut self) -> Self {
        fold(&mut self.conv1, &mut self.bn1);
        self.blocks().for_each(Block::fold);
        self.denoising.iter_mut().for_each(Denoising::fold);
        self
    }
}

/// The shape of its images, or what is wrong with the values.
fn input(values: &Values) -> Result<[usize; 3], String> {
    if values.count("width") != 1 && ["18", "34"].contains(&values.text("depth")) {
        return Err(
            "`width` is for blocks of three convolutions; set `depth` to 50 or more, or leave it out".to_owned()
        );
    }
    let usual = if values.text("stem") == "imagenet" { 224 } else { 32 };
    colour(values, if values.is_set("size") { values.count("size") as usize } else { usual })
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "resnet",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("resnet.rs"),
            parameters: &[
                WEIGHTS,
                Parameter {
                    name: "depth",
                    kind: ParameterKind::Choice(&["18", "34", "50", "101", "152"]),
                    unit: "layers",
                    fallback: Fallback::Required,
                    documentation: "How many layers with weights it has",
                },
                Parameter {
                    name: "stem",
                    kind: ParameterKind::Choice(&["imagenet", "cifar"]),
                    unit: "",
                    fallback: Fallback::Value("imagenet"),
                    documentation: "What comes before the first stage",
                },
                Parameter {
                    name: "width",
                    kind: ParameterKind::Count { minimum: 1, maximum: 8 },
                    unit: "",
                    fallback: Fallback::Value("1"),
                    documentation: "How many times the usual channels the 3x3 convolutions of a bottleneck have",
                },
                DENOISING,
                Parameter {
                    name: "mean",
                    documentation: "What is subtracted from the channels red, green, blue; unset, ImageNet's with the stem `imagenet` and nothing with `cifar`",
                    ..MEAN
                },
                Parameter {
                    name: "deviation",
                    documentation: "What the channels are divided by after that; unset like `mean`, ImageNet's or 1",
                    ..DEVIATION
                },
                Parameter {
                    name: "size",
                    kind: ParameterKind::Count { minimum: 8, maximum: 1024 },
                    unit: "pixels",
                    fallback: Fallback::Unset,
                    documentation: "Width and height of the images it takes, on which weights do not depend; unset, 224 with the stem `imagenet` and 32 with `cifar`",
                },
                classes("1000"),
            ],
            example: "depth = \"50\"\nweights = \"weights/imagenet-resnet50.pth\"",
            traits: Traits::Model(ModelTraits {
                input: &input,
                classes: &|values| Ok(values.count("classes") as usize),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<ResNet>,
    }
}

inventory::submit! {
    TrainableEntry { model: "resnet", build: trainable::<ResNet> }
}
