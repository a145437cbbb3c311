//! Bit depth reduction: quantises every pixel to a few evenly spaced values.
//!
//! ## What it does
//! With `levels = n` every pixel becomes one of 0, 1/(n−1), ..., 1. `thresholds = "nearest"` rounds to the nearest value;
//! `"equal"` cuts the range into n equal parts, which is RealSafe's rule without its soft edges. Eight levels are three bits.
//!
//! ## What an attacker sees
//! The derivative of a step function is zero almost everywhere, so `exact` gives no gradient (and looks
//! like robustness where there is none). The default is `identity` (BPDA).
//!
//! ## References
//! Xu, Evans, Qi: Feature Squeezing, NDSS 2018 (arXiv:1704.01155). Broken by Athalye, Carlini, Wagner: Obfuscated Gradients
//! Give a False Sense of Security, ICML 2018 (arXiv:1802.00420).

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};

struct BitDepth {
    levels: f64,
    equal: bool,
}

impl Defense for BitDepth {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let last = self.levels - 1.0;
        if self.equal {
            return Ok((images * self.levels).floor().clamp(0.0, last) / last);
        }
        Ok(nearest(images, last))
    }

    fn backward(&self, _: Tensor<4>, cotangent: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(cotangent.zeros_like())
    }
}

/// The nearest of 0, 1 / last, ..., 1 to every pixel.
pub(crate) fn nearest(images: Tensor<4>, last: f64) -> Tensor<4> {
    // Not `round`: backends disagree on ties.
    (images * last + 0.5).floor().clamp(0.0, last) / last
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "bit-depth",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("bit_depth.rs"),
            parameters: &[
                Parameter {
                    name: "levels",
                    kind: ParameterKind::Count { minimum: 2, maximum: 256 },
                    unit: "values per channel",
                    fallback: Fallback::Value("8"),
                    documentation: "How many values a pixel can have.",
                },
                Parameter {
                    name: "thresholds",
                    kind: ParameterKind::Choice(&["nearest", "equal"]),
                    unit: "",
                    fallback: Fallback::Value("nearest"),
                    documentation: "Whether a pixel goes to the nearest value or the range is cut into equal parts.",
                },
            ],
            example: "levels = 4",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Identity, GradientMode::Exact, GradientMode::Blocked],
                ..DefenseTraits::PLAIN
            }),
        },
        #[expect(clippy::cast_precision_loss, reason = "at most 256")]
        build: &|values, _| Ok(Box::new(BitDepth {
            levels: values.count("levels") as f64,
            equal: values.text("thresholds") == "equal",
        })),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn reduced(levels: f64, equal: bool, pixels: [f32; 5]) -> Vec<f32> {
        let images = Tensor::<1>::from_floats(pixels, &Device::flex()).reshape([1, 1, 1, 5]);
        BitDepth { levels, equal }.forward(images, &Draws::none(1)).unwrap().into_data().try_into_vec().unwrap()
    }

    #[test]
    fn rounds_to_the_nearest_level() {
        assert_eq!(reduced(3.0, false, [0.0, 0.2, 0.3, 0.8, 1.0]), [0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn cuts_into_equal_parts() {
        assert_eq!(reduced(2.0, true, [0.0, 0.4, 0.5, 0.9, 1.0]), [0.0, 0.0, 1.0, 1.0, 1.0]);
    }
}
