//! A linear classifier that compares an image with one template per class.
//!
//! ## What it does
//! `logit(k) = sharpness · (template(k) · x − ‖template(k)‖² / 2)`, which is largest for the nearest template.
//!
//! ## Its file
//! CSV without a header: one line per class, from 0, with channels · height · width numbers, channel by channel, row by
//! row. `templates.csv` has the mean training images of the dataset `digits`.

use realsafe_plugin::{About, Error, Model, Parameter, Shape, Values};

realsafe_plugin::plugin!(static PLUGIN: [model Linear]);
realsafe_plugin::export!(PLUGIN);

/// The shape of the dataset `digits`.
const SHAPE: Shape = Shape { channels: 1, height: 8, width: 8, classes: 10 };

struct Linear {
    sharpness: f32,
    templates: Vec<Vec<f32>>,
}

impl Model for Linear {
    const ABOUT: About = About {
        id: "{{name}}",
        // Raise it whenever the numbers may change: stored results of other revisions are not used.
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "templates = \"templates.csv\"",
        parameters: &[
            // The host finds and reads the file; its content is part of what results are stored under.
            Parameter::file("templates").documentation("One template per class, as CSV."),
            Parameter::number("sharpness", 0.0, 1e6).fallback("1").documentation("What logits are multiplied with."),
        ],
    };
    const DIFFERENTIABLE: bool = true;

    fn shape(_: &Values<'_>) -> Result<Shape, Error> {
        Ok(SHAPE)
    }

    fn create(values: &Values<'_>) -> Result<Self, Error> {
        let templates = parse(values.file("templates")?).map_err(Error::bad_value)?;
        Ok(Self { sharpness: values.number("sharpness")? as f32, templates })
    }

    // A row must not depend on the others: they come and go.
    fn logits(&self, images: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        let rows = images.chunks_exact(SHAPE.values()).zip(logits.chunks_exact_mut(SHAPE.classes as usize));
        for (image, logits) in rows {
            for (logit, template) in logits.iter_mut().zip(&self.templates) {
                let products = template.iter().zip(image).map(|(weight, pixel)| weight * (pixel - weight / 2.0));
                *logit = self.sharpness * products.sum::<f32>();
            }
        }
        Ok(())
    }

    fn pull(&self, _: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        gradients.fill(0.0);
        let rows = cotangents.chunks_exact(SHAPE.classes as usize).zip(gradients.chunks_exact_mut(SHAPE.values()));
        for (cotangents, gradient) in rows {
            for (cotangent, template) in cotangents.iter().zip(&self.templates) {
                let slopes = template.iter().map(|weight| self.sharpness * cotangent * weight);
                gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            }
        }
        Ok(())
    }
}

/// Reads a line of numbers per class.
fn parse(file: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "`templates` is not a text file".to_owned())?;
    let template = |line: &str| line.split(',').map(|number| number.trim().parse().ok()).collect::<Option<Vec<f32>>>();
    let templates: Option<Vec<Vec<f32>>> = text.lines().map(template).collect();
    templates
        .filter(|templates| templates.len() == SHAPE.classes as usize)
        .filter(|templates| templates.iter().all(|template| template.len() == SHAPE.values()))
        .ok_or_else(|| format!("`templates` has to have {} lines of {} numbers", SHAPE.classes, SHAPE.values()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_recognised_and_the_model_is_linear() {
        let model = Linear { sharpness: 1.0, templates: parse(include_bytes!("../templates.csv")).unwrap() };
        let image = model.templates[3].clone();
        let (mut logits, mut gradient) = ([0.0; 10], [0.0; 64]);
        model.logits(&image, &mut logits).unwrap();
        assert!((0..10).all(|class| class == 3 || logits[class] < logits[3]));
        let mut cotangents = [0.0; 10];
        cotangents[7] = 1.0;
        model.pull(&image, &cotangents, &mut gradient).unwrap();
        assert_eq!(gradient, model.templates[7][..]);
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        assert!(parse(b"1,2\n3,4\n").unwrap_err().contains("10 lines of 64 numbers"));
    }
}
