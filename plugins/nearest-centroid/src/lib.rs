//! Nearest centroid: a logit per class that falls with the squared distance of the image to the class's mean image.
//!
//! ## What it does
//! `logit(k) = −temperature · ‖x − centroid(k)‖²`, which is a linear classifier with a Gaussian's probabilities.
//!
//! ## Its file
//! CSV without a header: one line per class, from 0, with channels · height · width numbers, channel by channel, row by
//! row, for pixels in `[0, 1]`. `digits-centroids.csv`, beside this plugin's sources, has the means of the 1,197 training
//! images of the dataset `digits`.
//!
//! ## References
//! Tibshirani, Hastie, Narasimhan, Chu: Diagnosis of multiple cancer types by shrunken centroids of gene expression,
//! PNAS 99(10), 2002, of which this is the case without shrinking.

use realsafe_plugin::{About, Error, Model, Parameter, Shape, Values};

realsafe_plugin::plugin!(static PLUGIN: [model NearestCentroid]);
realsafe_plugin::export!(PLUGIN);

struct NearestCentroid {
    temperature: f64,
    /// One after the other.
    centroids: Vec<f32>,
    pixels: usize,
    classes: usize,
}

impl Model for NearestCentroid {
    const ABOUT: About = About {
        id: "nearest-centroid",
        revision: 1,
        documentation: include_str!("lib.rs"),
        example: "centroids = \"digits-centroids.csv\"",
        parameters: &[
            Parameter::file("centroids").documentation("The mean image of each class, as CSV."),
            Parameter::number("temperature", 0.0, 1e6)
                .fallback("1")
                .documentation("What distances are multiplied with."),
            Parameter::count("channels", 1, 1024).fallback("1").documentation("The channels of images."),
            Parameter::count("height", 1, 65_536).fallback("8").unit("pixels").documentation("The height of images."),
            Parameter::count("width", 1, 65_536).fallback("8").unit("pixels").documentation("The width of images."),
            Parameter::count("classes", 2, 1_000_000).fallback("10").documentation("The number of classes."),
        ],
    };
    const DIFFERENTIABLE: bool = true;

    fn shape(values: &Values<'_>) -> Result<Shape, Error> {
        let count = |name| Ok::<_, Error>(values.count(name)? as u32);
        Ok(Shape {
            channels: count("channels")?,
            height: count("height")?,
            width: count("width")?,
            classes: count("classes")?,
        })
    }

    fn create(values: &Values<'_>) -> Result<Self, Error> {
        let shape = Self::shape(values)?;
        let (pixels, classes) = (shape.values(), shape.classes as usize);
        let centroids = parse(values.file("centroids")?, classes, pixels).map_err(Error::bad_value)?;
        Ok(Self { temperature: values.number("temperature")?, centroids, pixels, classes })
    }

    fn logits(&self, images: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        for (image, logits) in images.chunks_exact(self.pixels).zip(logits.chunks_exact_mut(self.classes)) {
            for (logit, centroid) in logits.iter_mut().zip(self.centroids.chunks_exact(self.pixels)) {
                let changes = image.iter().zip(centroid).map(|(a, b)| f64::from(*a) - f64::from(*b));
                *logit = (-self.temperature * changes.map(|change| change * change).sum::<f64>()) as f32;
            }
        }
        Ok(())
    }

    fn pull(&self, images: &[f32], cotangents: &[f32], gradients: &mut [f32]) -> Result<(), Error> {
        let rows = images.chunks_exact(self.pixels).zip(cotangents.chunks_exact(self.classes));
        for ((image, cotangents), gradients) in rows.zip(gradients.chunks_exact_mut(self.pixels)) {
            for (pixel, gradient) in gradients.iter_mut().enumerate() {
                let centroids = self.centroids.chunks_exact(self.pixels).zip(cotangents);
                let pulls = centroids.map(|(centroid, cotangent)| {
                    f64::from(*cotangent) * (f64::from(image[pixel]) - f64::from(centroid[pixel]))
                });
                *gradient = (-2.0 * self.temperature * pulls.sum::<f64>()) as f32;
            }
        }
        Ok(())
    }
}

/// Reads a line of numbers per class.
fn parse(file: &[u8], classes: usize, pixels: usize) -> Result<Vec<f32>, String> {
    let text = std::str::from_utf8(file).map_err(|_| "`centroids` is not a text file".to_owned())?;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() != classes {
        return Err(format!("`centroids` has {} lines for {classes} classes", lines.len()));
    }
    let mut centroids = Vec::with_capacity(classes * pixels);
    for (class, line) in lines.into_iter().enumerate() {
        let numbers =
            line.split(',').map(|number| number.trim().parse().ok().filter(|number: &f32| number.is_finite()));
        let numbers: Option<Vec<f32>> = numbers.collect();
        let numbers = numbers.ok_or_else(|| format!("`centroids`: the line of class {class} has more than numbers"))?;
        if numbers.len() != pixels {
            let got = numbers.len();
            return Err(format!("`centroids`: the line of class {class} has {got} numbers instead of {pixels}"));
        }
        centroids.extend(numbers);
    }
    Ok(centroids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> NearestCentroid {
        let centroids = parse(b"0, 0.5\n1, 0.25\n", 2, 2).unwrap();
        NearestCentroid { temperature: 2.0, centroids, pixels: 2, classes: 2 }
    }

    #[test]
    fn logits_fall_with_the_squared_distance() {
        let mut logits = [0.0; 4];
        model().logits(&[0.0, 0.5, 1.0, 0.5], &mut logits).unwrap();
        assert_eq!(logits, [0.0, -2.125, -2.0, -0.125]);
    }

    #[test]
    fn pulls_match_finite_differences() {
        let (image, cotangents) = ([0.25, 0.75], [3.0, -1.0]);
        let mut gradients = [0.0; 2];
        model().pull(&image, &cotangents, &mut gradients).unwrap();
        for pixel in 0..2 {
            let at = |change: f32| {
                let (mut moved, mut logits) = (image, [0.0; 2]);
                moved[pixel] += change;
                model().logits(&moved, &mut logits).unwrap();
                logits[0] * cotangents[0] + logits[1] * cotangents[1]
            };
            assert!(((at(0.0625) - at(-0.0625)) / 0.125 - gradients[pixel]).abs() < 1e-3, "pixel {pixel}");
        }
    }

    #[test]
    fn files_that_do_not_fit_say_where() {
        assert!(parse(b"1,2\n", 2, 2).unwrap_err().contains("1 lines for 2 classes"));
        assert!(parse(b"1,2\n3\n", 2, 2).unwrap_err().contains("class 1 has 1 numbers instead of 2"));
        assert!(parse(b"1,2\n3,x\n", 2, 2).unwrap_err().contains("class 1"));
        assert!(parse(b"1,2\n3,inf\n", 2, 2).unwrap_err().contains("class 1"));
        assert!(parse(&[0xff], 1, 1).unwrap_err().contains("not a text file"));
    }

    #[test]
    fn the_centroids_of_the_digits_can_be_read() {
        let file = include_bytes!("../digits-centroids.csv");
        let centroids = parse(file, 10, 64).unwrap();
        assert!(centroids.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    }
}
