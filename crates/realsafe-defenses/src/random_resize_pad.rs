//! Random resizing and padding: shrinks every image to a random size and puts it at a random place.
//!
//! ## What it does
//! With output images of `size` (the size of the input, unless it is set), the new height is a whole number drawn evenly from
//! `smallest` times that size, rounded, up to but not including it; the width shrinks alike. The image is put at a place drawn
//! evenly from all that fit, and the rest is filled with `fill`. Every image of every pass draws for itself.
//!
//! The authors enlarge 299 pixels to between 299 and 330, within 331: `size = 331`, `smallest = "299/331"`,
//! `interpolation = "nearest"`, before a network that takes 331 pixels. RealSafe keeps the size, shrinks to 0.875 of it or more,
//! and draws once per batch instead of once per image.
//!
//! ## What an attacker sees
//! `exact`: resizing is linear, and the draws of a pass are those of its gradient. Attacks average over draws with `eot`.
//!
//! ## References
//! Xie, Wang, Zhang, Ren, Yuille: Mitigating Adversarial Effects Through Randomization, ICLR 2018 (arXiv:1711.01991).
//! Broken by Athalye, Carlini, Wagner, ICML 2018 (arXiv:1802.00420), who average over 30 draws.

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{
    Component, DefenseTraits, Fallback, GradientMode, Origin, Parameter, ParameterKind, Traits, Values,
};

use crate::shared::resampling::{INTERPOLATION, Interpolation, SIZE, Window, output_size, resample};

struct RandomResizePad {
    values: Values,
    smallest: f64,
    fill: f32,
    interpolation: Interpolation,
}

impl Defense for RandomResizePad {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let [rows, channels, height, width] = images.dims();
        let [_, high, wide] = output_size(&self.values, [channels, height, width]);
        let lowest = ((high as f64 * self.smallest).round() as usize).clamp(1, high - 1);
        let windows = (0..rows).map(|row| {
            let mut random = draws.stream(row);
            let tall = random.random_range(lowest..high);
            let broad = (tall * wide / high).max(1);
            let mut place = |input, filled, output| Window {
                from: 0,
                used: input,
                to: random.random_range(0..=output - filled),
                filled,
            };
            [place(height, tall, high), place(width, broad, wide)]
        });
        Ok(resample(images, &windows.collect::<Vec<_>>(), self.interpolation, [high, wide], self.fill))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "random-resize-pad",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("random_resize_pad.rs"),
            parameters: &[
                SIZE,
                Parameter {
                    name: "smallest",
                    kind: ParameterKind::Number { minimum: 0.01, maximum: 0.999 },
                    unit: "of the height of the output",
                    fallback: Fallback::Value("0.875"),
                    documentation: "The smallest height to which an image is resized.",
                },
                INTERPOLATION,
                Parameter {
                    name: "fill",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.5"),
                    documentation: "The value of pixels around the image.",
                },
            ],
            example: "smallest = 0.75",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Blocked],
                randomised: true,
                output: |values, shape| match output_size(values, shape) {
                    output if output[1] > 1 => Ok(output),
                    _ => Err("images of one pixel cannot shrink".to_owned()),
                },
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(RandomResizePad {
            values: values.clone(),
            smallest: values.number("smallest"),
            fill: values.number("fill") as f32,
            interpolation: Interpolation::from(values),
        })),
    }
}
