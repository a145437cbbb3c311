//! Less contrast: draws every pixel towards the middle grey before the model sees it.
//!
//! ## What it does
//! `x ← 0.5 + contrast · (x − 0.5)`.
//!
//! ## Gradient
//! Exact: what comes back is multiplied with the contrast.

use realsafe_plugin::{About, Defense, Error, Gradient, Parameter, Shape, Values};

realsafe_plugin::plugin!(static PLUGIN: [defense Contrast]);
realsafe_plugin::export!(PLUGIN);

struct Contrast {
    contrast: f32,
}

impl Defense for Contrast {
    const ABOUT: About = About {
        id: "{{name}}",
        // Raise it whenever the numbers may change: stored results of other revisions are not used.
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "contrast = 0.5",
        parameters: &[Parameter::number("contrast", 0.0, 1.0)
            .fallback("0.5")
            .documentation("How much of the contrast is left.")],
    };
    // What attackers are given unless a spec says otherwise; `identity` is the straight-through estimate (BPDA).
    const GRADIENT: Gradient = Gradient::Exact;
    const DIFFERENTIABLE: bool = true;

    fn create(values: &Values<'_>) -> Result<Self, Error> {
        Ok(Self { contrast: values.number("contrast")? as f32 })
    }

    // A row must not depend on the others: they come and go.
    fn forward(&self, _: &Shape, images: &[f32], output: &mut [f32]) -> Result<(), Error> {
        output.iter_mut().zip(images).for_each(|(seen, pixel)| *seen = 0.5 + self.contrast * (pixel - 0.5));
        Ok(())
    }

    fn pull(&self, _: &Shape, _: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        gradients.iter_mut().zip(cotangents).for_each(|(gradient, cotangent)| *gradient = self.contrast * cotangent);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { channels: 1, height: 1, width: 2, classes: 0 };

    fn seen(images: [f32; 2]) -> [f32; 2] {
        let mut output = [0.0; 2];
        Contrast { contrast: 0.25 }.forward(&SHAPE, &images, &mut output).unwrap();
        output
    }

    #[test]
    fn the_derivative_is_that_of_the_forward_pass() {
        let (images, cotangents, mut gradients) = ([0.25, 0.75], [2.0, -1.0], [0.0; 2]);
        Contrast { contrast: 0.25 }.pull(&SHAPE, &images, &cotangents, &mut gradients).unwrap();
        for place in 0..2 {
            let mut moved = images;
            moved[place] += 0.125;
            let slope = (seen(moved)[place] - seen(images)[place]) / 0.125;
            assert_eq!(gradients[place], slope * cotangents[place]);
        }
    }
}
