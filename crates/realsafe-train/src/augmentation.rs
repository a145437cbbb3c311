//! Random changes of training images, on the host, drawn for each image from a stream of its own.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::{Samples, fill_gaussian};
use realsafe_plan::Values;

/// The parameters `augmentation`, `padding` and `gaussian-noise`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Augmentation {
    /// The border of zeros around an image before it is cropped; 0 for none.
    padding: usize,
    flip: bool,
    /// The deviation of the noise.
    noise: f32,
}

impl Augmentation {
    pub(crate) fn from(values: &Values) -> Self {
        let (crop, flip) = match values.text("augmentation") {
            "crop" => (true, false),
            "flip" => (false, true),
            "crop-flip" => (true, true),
            _ => (false, false),
        };
        let padding = usize::try_from(values.count("padding")).unwrap_or(usize::MAX);
        let noise = values.number("gaussian-noise") as f32;
        Self { padding: if crop { padding } else { 0 }, flip, noise }
    }

    /// Changes every image by what is drawn from its row's stream.
    pub(crate) fn apply(self, samples: &mut Samples, stream: impl Fn(usize) -> ChaCha8Rng) {
        let (moves, shape) = (self.padding > 0 || self.flip, samples.shape);
        let pixels: usize = shape.iter().product();
        for (row, image) in samples.pixels.chunks_exact_mut(pixels).enumerate() {
            let mut random = stream(row);
            if moves {
                self.moved(image, shape, &mut random);
            }
            if self.noise > 0.0 {
                let mut noise = vec![0.0; pixels];
                fill_gaussian(&mut random, &mut noise);
                image.iter_mut().zip(noise).for_each(|(pixel, noise)| *pixel += self.noise * noise);
            }
        }
    }

    /// Crops and mirrors an image.
    fn moved(self, image: &mut [f32], [_, height, width]: [usize; 3], random: &mut ChaCha8Rng) {
        let shift = [(); 2].map(|()| random.random_range(0..=2 * self.padding));
        let flip = self.flip && random.random();
        let before = image.to_vec();
        for (plane, before) in image.chunks_exact_mut(height * width).zip(before.chunks_exact(height * width)) {
            for (y, line) in plane.chunks_exact_mut(width).enumerate() {
                for (x, pixel) in line.iter_mut().enumerate() {
                    let x = if flip { width - 1 - x } else { x };
                    // The place in the image that the padded one has here; wrapped around, it is outside as well.
                    let [y, x] = [y + shift[0], x + shift[1]].map(|place| place.wrapping_sub(self.padding));
                    *pixel = if y < height && x < width { before[y * width + x] } else { 0.0 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use realsafe_core::random::{Purpose, StreamKey, stream};

    use super::*;

    fn augmented(padding: usize, flip: bool, noise: f32, rows: usize) -> Vec<Vec<f32>> {
        let image: Vec<f32> = (1..=12).map(|value| value as f32).collect();
        let mut samples =
            Samples { shape: [2, 2, 3], pixels: image.repeat(rows), labels: vec![0; rows], targets: None };
        let of_row = |row: usize| {
            stream(StreamKey { seed: 0, purpose: Purpose::Training, sample: row as u64, restart: 0, step: 4 })
        };
        Augmentation { padding, flip, noise }.apply(&mut samples, of_row);
        samples.pixels.chunks_exact(12).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn crops_are_all_shifts_by_up_to_the_padding() {
        let images = augmented(1, false, 0.0, 200);
        let mut seen = BTreeSet::new();
        for image in images {
            // Which of the nine shifts it is, told by where pixels of the image lie in both channels.
            let shifts = (-1..=1_i32).flat_map(|down| (-1..=1_i32).map(move |right| (down, right)));
            let shifted = |(down, right): (i32, i32)| {
                let places = (0..2).flat_map(|channel| (0..2).flat_map(move |y| (0..3).map(move |x| (channel, y, x))));
                let value = |(channel, y, x): (i32, i32, i32)| {
                    let (y, x) = (y + down, x + right);
                    let inside = (0..2).contains(&y) && (0..3).contains(&x);
                    if inside { (channel * 6 + y * 3 + x + 1) as f32 } else { 0.0 }
                };
                places.map(value).collect::<Vec<f32>>()
            };
            seen.insert(shifts.clone().find(|&shift| shifted(shift) == image).expect("a shift of the image"));
        }
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn half_of_the_images_are_mirrored() {
        let images = augmented(0, true, 0.0, 200);
        let plain: Vec<f32> = (1..=12).map(|value| value as f32).collect();
        let mirrored = [3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10].map(|value| value as f32).to_vec();
        let count = images.iter().filter(|image| **image == mirrored).count();
        assert!(images.iter().all(|image| *image == plain || *image == mirrored));
        assert!((70..=130).contains(&count), "{count}");
        assert_eq!(augmented(0, false, 0.0, 3), vec![plain; 3]);
    }

    #[test]
    fn noise_has_its_deviation_and_comes_after_the_crop() {
        let images = augmented(0, false, 0.25, 1000);
        let noise = images.iter().flat_map(|image| image.iter().zip(1..).map(|(pixel, value)| pixel - value as f32));
        let noise: Vec<f64> = noise.map(f64::from).collect();
        let count = noise.len() as f64;
        let mean = noise.iter().sum::<f64>() / count;
        let deviation = (noise.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!(mean.abs() < 0.01 && (deviation - 0.25).abs() < 0.01, "{mean} {deviation}");
        // Zeros of the border are noisy, too, and the crop is that of the same stream without noise.
        let (crops, noisy) = (augmented(1, false, 0.0, 20), augmented(1, false, 0.25, 20));
        let away = |(a, b): (&f32, &f32)| (a - b).abs();
        let largest = crops.concat().iter().zip(&noisy.concat()).map(away).fold(0.0, f32::max);
        assert!(noisy.concat().iter().all(|pixel| *pixel != 0.0) && largest < 0.25 * 5.0, "{largest}");
    }
}
