//! Thermometer encoding: replaces every pixel by a row of switches, as many of them on as the pixel is bright.
//!
//! ## What it does
//! With L `levels` a channel becomes L channels, so images of C channels become ones of C · L, the levels of a channel next to
//! each other: a pixel x in the part k = ⌊0.99999 · L · x⌋ of the range has ones in its channels 0 to k and zeros in the others.
//! The network behind takes that many channels, and is trained behind this defense.
//!
//! ## What an attacker sees
//! The derivative of switches is zero almost everywhere, so `exact` gives no gradient. The default is `smooth`: the derivative
//! of switches that open gradually, channel l of a pixel being L · x + 1 − l cut to `[0, 1]`. It agrees with the encoding at the
//! lower ends of the parts, and is how the defense was broken.
//!
//! ## References
//! Buckman, Roy, Raffel, Goodfellow: Thermometer Encoding: One Hot Way To Resist Adversarial Examples, ICLR 2018. Broken by
//! Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits};

/// Pixels of 1 belong to the last part: the factor of the authors.
const BELOW_ONE: f64 = 0.99999;

struct Thermometer {
    levels: usize,
}

impl Thermometer {
    /// The number of each level, for pixels `[n, channels, 1, height, width]`.
    fn numbers(&self, device: &Device) -> Tensor<5> {
        let numbers = (0..self.levels).map(|level| level as f32).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(numbers, [1, 1, self.levels, 1, 1]), device)
    }

    /// Applies a function to pixels and the numbers of the levels, and makes channels of the levels.
    fn encode(&self, images: Tensor<4>, switch: impl FnOnce(Tensor<5>, Tensor<5>) -> Tensor<5>) -> Tensor<4> {
        let [rows, channels, height, width] = images.dims();
        let numbers = self.numbers(&images.device());
        let pixels = images.reshape([rows, channels, 1, height, width]);
        switch(pixels, numbers).reshape([rows, channels * self.levels, height, width])
    }
}

impl Defense for Thermometer {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let levels = self.levels as f64;
        Ok(self.encode(images, |pixels, numbers| {
            let part = (pixels.clamp(0.0, 1.0) * BELOW_ONE * levels).floor();
            // Numbers that are whole: the difference is at least 0, or at most -1.
            (part - numbers + 1.0).clamp(0.0, 1.0)
        }))
    }

    fn backward(&self, images: Tensor<4>, _: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images.zeros_like())
    }

    fn smooth(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let levels = self.levels as f64;
        Ok(self.encode(images, |pixels, numbers| (pixels * levels + 1.0 - numbers).clamp(0.0, 1.0)))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "thermometer",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("thermometer.rs"),
            parameters: &[Parameter {
                name: "levels",
                kind: ParameterKind::Count { minimum: 2, maximum: 256 },
                unit: "channels per channel",
                fallback: Fallback::Value("16"),
                documentation: "Into how many parts the range of a pixel is cut.",
            }],
            example: "levels = 16",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Smooth, GradientMode::Exact, GradientMode::Blocked],
                output: |values, [channels, height, width]| {
                    Ok([channels * values.count("levels") as usize, height, width])
                },
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(Thermometer { levels: values.count("levels") as usize })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_switches_are_on_as_the_pixel_is_bright() {
        let images = Tensor::<1>::from_floats([0.0, 0.24, 0.26, 0.6, 1.0, 0.75], &Device::flex()).reshape([1, 2, 1, 3]);
        let draws = Draws::none(1);
        let bits = |images: Tensor<4>| -> Vec<f32> { images.into_data().try_into_vec().unwrap() };
        let thermometer = Thermometer { levels: 4 };
        // Four levels of three pixels of the first channel, then of the second.
        let first = [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let second = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0];
        let expected: Vec<f32> = first.into_iter().chain(second).collect();
        let encoded = thermometer.forward(images.clone(), &draws).unwrap();
        assert_eq!(encoded.dims(), [1, 8, 1, 3]);
        assert_eq!(bits(encoded), expected);
        let smooth = bits(thermometer.smooth(images, &draws).unwrap());
        // 0.6 is four tenths on its way to the fourth switch.
        assert!((smooth[12 + 9] - 0.4).abs() < 1e-6, "{smooth:?}");
    }
}
