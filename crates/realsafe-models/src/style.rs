//! What implementations of the same residual network differ in.

use burn::nn::conv::Conv2d;
use burn::tensor::Device;
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

use crate::layers::{Activation, convolution, convolution_same};

/// The function between layers.
pub(crate) const ACTIVATION: Parameter = Parameter {
    name: "activation",
    kind: ParameterKind::Choice(&["relu", "swish"]),
    unit: "",
    fallback: Fallback::Value("relu"),
    documentation: "The function between layers; `swish`, also called SiLU, is x times its sigmoid",
};

/// Where convolutions with stride 2 see zeros.
pub(crate) const PADDING: Parameter = Parameter {
    name: "padding",
    kind: ParameterKind::Choice(&["symmetric", "same"]),
    unit: "",
    fallback: Fallback::Value("symmetric"),
    documentation: "Where convolutions with stride 2 see zeros: on all sides, or below and to the right as TensorFlow's `SAME`",
};

/// The values of [`ACTIVATION`] and [`PADDING`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) activation: Activation,
    same: bool,
}

impl Style {
    pub(crate) fn of(values: &Values) -> Self {
        let activation = match values.text(ACTIVATION.name) {
            "swish" => Activation::Swish,
            _ => Activation::Relu,
        };
        Self { activation, same: values.text(PADDING.name) == "same" }
    }

    /// A 3x3 convolution.
    pub(crate) fn convolution(self, channels: [usize; 2], stride: usize, device: &Device) -> Conv2d {
        match self.same {
            true => convolution_same(channels, stride),
            false => convolution(channels, 3, stride, 1).with_bias(false),
        }
        .init(device)
    }
}
