//! Global contrast normalisation: every image gets mean zero and the same contrast.
//!
//! ## What it does
//! `scale · (x − mean) / max(contrast, floor)` with the mean over all pixels and channels of the image, which are in
//! `[0, white]`. The contrast is the deviation (`contrast = "deviation"`, with N − 1 in the denominator) or the Euclidean length
//! (`"length"`) of what is left without the mean. What comes out is not in `[0, 1]`, so this stands last, right before
//! `zca-whitening` or the network.
//!
//! The input of DeepDefense's CIFAR-10 network is `white = 255`, `scale = 53.0992`, `floor = 40`, and whitening after it.
//!
//! ## What an attacker sees
//! `exact`: the function is smooth. `identity` passes over it, which an attacker who knows of it has no reason to do.
//!
//! ## References
//! Coates, Ng, Lee: An Analysis of Single-Layer Networks in Unsupervised Feature Learning, AISTATS 2011. Part of the network of
//! Yan, Guo, Zhang: Deep Defense, NeurIPS 2018 (arXiv:1803.00404).

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

use crate::shared::standardisation::{WHITE, centred, images};

pub(crate) struct GlobalContrastNormalisation {
    white: f64,
    scale: f64,
    deviation: bool,
    floor: f64,
}

impl GlobalContrastNormalisation {
    /// With the values of its parameters.
    pub(crate) fn of(values: &Values) -> Self {
        Self {
            white: values.number(WHITE.name),
            scale: values.number(SCALE.name),
            deviation: values.text(CONTRAST.name) == "deviation",
            floor: values.number(FLOOR.name),
        }
    }

    /// Images `[n, channels, height, width]` with pixels in `[0, 1]`, normalised.
    pub(crate) fn normalise(&self, pixels: Tensor<4>) -> Tensor<4> {
        let dims = pixels.dims();
        let centred = centred(pixels * self.white);
        let count = if self.deviation { (centred.dims()[1] as f64 - 1.0).max(1.0) } else { 1.0 };
        // The floor comes before the root, whose derivative at zero is infinite.
        let energy = (centred.clone().square().sum_dim(1) / count).clamp_min(self.floor * self.floor);
        images(centred / energy.sqrt() * self.scale, dims)
    }
}

impl Defense for GlobalContrastNormalisation {
    fn forward(&self, pixels: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(self.normalise(pixels))
    }
}

/// The contrast that images get.
pub(crate) const SCALE: Parameter = Parameter {
    name: "scale",
    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e6 },
    unit: "",
    fallback: Fallback::Value("1"),
    documentation: "The contrast that images get.",
};

/// What the contrast of an image is.
pub(crate) const CONTRAST: Parameter = Parameter {
    name: "contrast",
    kind: ParameterKind::Choice(&["deviation", "length"]),
    unit: "",
    fallback: Fallback::Value("deviation"),
    documentation: "What the contrast of an image is.",
};

/// The contrast that images are taken to have at least.
pub(crate) const FLOOR: Parameter = Parameter {
    name: "floor",
    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e6 },
    unit: "pixel range 0 to white",
    fallback: Fallback::Value("1e-4"),
    documentation: "The contrast that images have at least, where they are divided by it.",
};

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "global-contrast-normalisation",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("global_contrast_normalisation.rs"),
            parameters: &[WHITE, SCALE, CONTRAST, FLOOR],
            example: "white = 255\nscale = 53.0992\nfloor = 40",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(GlobalContrastNormalisation::of(values))),
    }
}
