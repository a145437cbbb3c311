//! Random cropping and rescaling: looks at a random part of every image, enlarged.
//!
//! ## What it does
//! Cuts out a window of `crop` times the height and the width, rounded, at a place drawn evenly from all that fit, and resizes
//! it to the size of the image, or to `size`. Every image of every pass draws for itself.
//!
//! The authors average the predictions over 30 crops of 90 of 224 pixels; this defense makes one crop per pass. Put
//! `prediction-averaging` with `passes = 30` in front of it.
//!
//! ## What an attacker sees
//! `exact`: cropping and resizing are linear, and the draws of a pass are those of its gradient. Attacks average over draws
//! with `eot`.
//!
//! ## References
//! Guo, Rana, Cisse, van der Maaten: Countering Adversarial Images Using Input Transformations, ICLR 2018
//! (arXiv:1711.00117). Broken by Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420).

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

use crate::shared::resampling::{INTERPOLATION, Interpolation, SIZE, Window, output_size, resample};

struct CropRescale {
    values: Values,
    crop: f64,
    interpolation: Interpolation,
}

impl Defense for CropRescale {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let [rows, channels, height, width] = images.dims();
        let [_, high, wide] = output_size(&self.values, [channels, height, width]);
        let windows = (0..rows).map(|row| {
            let mut random = draws.stream(row);
            let mut cut = |input: usize, output| {
                let used = ((input as f64 * self.crop).round() as usize).max(1);
                Window { from: random.random_range(0..=input - used), used, to: 0, filled: output }
            };
            [cut(height, high), cut(width, wide)]
        });
        Ok(resample(images, &windows.collect::<Vec<_>>(), self.interpolation, [high, wide], 0.0))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "crop-rescale",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("crop_rescale.rs"),
            parameters: &[
                Parameter {
                    name: "crop",
                    kind: ParameterKind::Number { minimum: 0.01, maximum: 1.0 },
                    unit: "of height and width",
                    fallback: Fallback::Value("90/224"),
                    documentation: "How much of the image is left by the cut.",
                },
                SIZE,
                INTERPOLATION,
            ],
            example: "crop = 0.75",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Blocked],
                randomised: true,
                output: |values, shape| Ok(output_size(values, shape)),
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(CropRescale {
            values: values.clone(),
            crop: values.number("crop"),
            interpolation: Interpolation::from(values),
        })),
    }
}
