//! Balls, boxes and steepest directions, row by row.

use burn::tensor::{Tensor, TensorData};
use realsafe_plan::Norm;

/// One value per row, shaped `[n, 1, 1, 1]` to scale images with.
pub fn per_row(values: &[f32], like: &Tensor<4>) -> Tensor<4> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1, 1, 1]), &like.device())
}

/// Euclidean length of each row, shaped `[n, 1, 1, 1]`.
pub fn l2_length(rows: Tensor<4>) -> Tensor<4> {
    sum_per_row(rows.clone() * rows).sqrt()
}

/// Sum over everything but the first dimension, shaped `[n, 1, 1, 1]`.
pub fn sum_per_row(rows: Tensor<4>) -> Tensor<4> {
    let [n, channels, height, width] = rows.dims();
    let sums: Tensor<2> = rows.reshape([n, channels * height * width]).sum_dim(1);
    sums.reshape([n, 1, 1, 1])
}

/// The direction of steepest ascent: the sign for linf, the unit vector for l2. A zero row stays zero.
pub fn steepest(norm: Norm, gradient: Tensor<4>) -> Tensor<4> {
    match norm {
        Norm::Linf => gradient.sign(),
        Norm::L2 => {
            // Scaling by the largest entry first keeps squares of tiny gradients from underflowing.
            let [n, channels, height, width] = gradient.dims();
            let flat: Tensor<2> = gradient.clone().abs().reshape([n, channels * height * width]).max_dim(1);
            let scaled = gradient / flat.reshape([n, 1, 1, 1]).clamp_min(f32::MIN_POSITIVE);
            let length = l2_length(scaled.clone());
            scaled / length.clamp_min(f32::MIN_POSITIVE)
        }
    }
}

/// Projects each row of `images` onto the ball of radius `eps` `[n, 1, 1, 1]` around `center`, then onto the box `[0, 1]`.
///
/// For l2 the change is rescaled to the ball and then clipped, which keeps it inside both. The ball is made smaller by what
/// rounding pixels to single precision can add to a length, which matters for tiny radii only.
pub fn project(norm: Norm, images: Tensor<4>, center: &Tensor<4>, eps: &Tensor<4>) -> Tensor<4> {
    let inside = match norm {
        Norm::Linf => images.max_pair(center.clone() - eps.clone()).min_pair(center.clone() + eps.clone()),
        Norm::L2 => {
            let change = images - center.clone();
            let [_, channels, height, width] = change.dims();
            let rounding = f64::from(f32::EPSILON) / 2.0 * ((channels * height * width) as f64).sqrt();
            let radius = (eps.clone() - rounding).clamp_min(0.0);
            let length = l2_length(change.clone()).clamp_min(f32::MIN_POSITIVE);
            center.clone() + change * (radius / length).clamp_max(1.0)
        }
    };
    inside.clamp(0.0, 1.0)
}

/// Distances between two images, in double precision: largest change, Euclidean, sum of changes, number of changed values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// The largest change.
    pub linf: f64,
    /// The Euclidean length of the change.
    pub l2: f64,
    /// The sum of all changes.
    pub l1: f64,
    /// The number of changed values.
    pub l0: f64,
}

impl Distances {
    /// Of an image that was not found.
    pub const INFINITE: Self = Self { linf: f64::INFINITY, l2: f64::INFINITY, l1: f64::INFINITY, l0: f64::INFINITY };

    /// Measures the change from one image to another of the same size.
    pub fn between(clean: &[f32], changed: &[f32]) -> Self {
        let mut distances = Self { linf: 0.0, l2: 0.0, l1: 0.0, l0: 0.0 };
        for (a, b) in clean.iter().zip(changed) {
            let change = (f64::from(*b) - f64::from(*a)).abs();
            distances.linf = distances.linf.max(change);
            distances.l2 += change * change;
            distances.l1 += change;
            distances.l0 += f64::from(u8::from(change > 0.0));
        }
        distances.l2 = distances.l2.sqrt();
        distances
    }

    /// The distance in a norm.
    pub const fn in_norm(&self, norm: Norm) -> f64 {
        match norm {
            Norm::Linf => self.linf,
            Norm::L2 => self.l2,
        }
    }
}

/// Whether an image is finite and inside the box `[0, 1]`.
pub fn in_box(pixels: &[f32]) -> bool {
    pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel))
}
