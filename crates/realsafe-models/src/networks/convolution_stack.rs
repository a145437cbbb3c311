//! A stack of two strided convolutions and two linear layers for grey digits, common in certified training.
//!
//! Convolutions of 4x4 with stride 2 and padding 1 (16 and 32 channels), a linear layer of 100 and one of 10, with
//! relus between them. It takes images `[1, 28, 28]`, or squares of another `side`, and gives 10 logits. Wong and Kolter trained it for their
//! certificates, and the verification competitions know it as `cnn-a` of MNIST.
//!
//! State-dict keys: `0`, `2`, `5`, `7`, each with `weight` and `bias`, as an `nn.Sequential` with relus and a
//! flattening between them has; or `conv1`, `conv2`, `linear1`, `linear2`.
//!
//! ## Reference
//! Wong, Kolter, "Provable defenses against adversarial examples via the convex outer adversarial polytope",
//! ICML 2018, arXiv:1711.00851.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use realsafe_core::{ModelEntry, TrainableEntry, inventory};
use realsafe_plan::{Component, Fallback, ModelTraits, Origin, Parameter, ParameterKind, Traits, Values};

use crate::bounds::Layer;
use crate::inner::Randomness;
use crate::layers::{WEIGHTS, convolution, linear_by_rows};
use crate::network::Network;
use crate::training::trainable;
use crate::weights::build;

#[derive(Module, Debug)]
struct ConvolutionStack {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
}

impl Network for ConvolutionStack {
    const RENAMES: &'static [(&'static str, &'static str)] =
        &[(r"^0\.", "conv1."), (r"^2\.", "conv2."), (r"^5\.", "linear1."), (r"^7\.", "linear2.")];

    fn new(values: &Values, device: &Device) -> Self {
        // Each convolution halves the sides.
        let side = side(values) / 4;
        Self {
            conv1: convolution([1, 16], 4, 2, 1).init(device),
            conv2: convolution([16, 32], 4, 2, 1).init(device),
            linear1: LinearConfig::new(32 * side * side, 100).init(device),
            linear2: LinearConfig::new(100, 10).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>, _: &mut Randomness<'_>) -> Tensor<2> {
        let hidden = relu(self.conv1.forward(images));
        let hidden = relu(self.conv2.forward(hidden));
        let hidden = relu(linear_by_rows(&self.linear1, hidden.flatten(1, 3)));
        linear_by_rows(&self.linear2, hidden)
    }

    fn layers(&self) -> Option<Vec<Layer<'_>>> {
        Some(vec![
            Layer::Convolution(&self.conv1),
            Layer::Relu,
            Layer::Convolution(&self.conv2),
            Layer::Relu,
            Layer::Linear(&self.linear1),
            Layer::Relu,
            Layer::Linear(&self.linear2),
        ])
    }
}

/// How many pixels its images are wide and high.
fn side(values: &Values) -> usize {
    if values.is_set("side") { values.count("side") as usize } else { 28 }
}

inventory::submit! {
    ModelEntry {
        component: Component {
            id: "convolution-stack",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("convolution_stack.rs"),
            parameters: &[
                Parameter {
                    name: "side",
                    kind: ParameterKind::Count { minimum: 4, maximum: 256 },
                    unit: "pixels",
                    fallback: Fallback::Unset,
                    documentation: "How wide and high the images are; 28, unless it is set.",
                },
                WEIGHTS,
            ],
            example: "weights = \"weights/mnist-cnn-a-adv.pt\"",
            traits: Traits::Model(ModelTraits {
                input: &|values| Ok([1, side(values), side(values)]),
                classes: &|_| Ok(10),
                differentiable: true,
                randomised: &|_| false,
            }),
        },
        build: &build::<ConvolutionStack>,
    }
}

inventory::submit! {
    TrainableEntry { model: "convolution-stack", build: trainable::<ConvolutionStack> }
}
