//! Balls, boxes and steepest directions, row by row.

use burn::tensor::{IndexingUpdateOp, Tensor, TensorData};
use realsafe_plan::Norm;

use crate::{Stop, read};

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

/// The direction of steepest ascent: the sign for linf, the unit vector for l2, the sign of the first largest entry for l1
/// and l0. A zero row stays zero.
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
        Norm::L1 | Norm::L0 => {
            let [n, channels, height, width] = gradient.dims();
            let flat: Tensor<2> = gradient.reshape([n, channels * height * width]);
            let largest = flat.clone().abs().argmax(1);
            let sign = flat.clone().gather(1, largest.clone()).sign();
            flat.zeros_like().scatter(1, largest, sign, IndexingUpdateOp::Add).reshape([n, channels, height, width])
        }
    }
}

/// Projects each row of `images` onto the ball of radius `eps` `[n, 1, 1, 1]` around `center`, then onto the box `[0, 1]`.
///
/// For l2 the change is rescaled to the ball and then clipped, which keeps it inside both. The ball is made smaller by what
/// rounding pixels to single precision can add to a length, which matters for tiny radii only. For l1 and l0 the nearest
/// point of the intersection of both is found.
///
/// # Errors
/// The device's own message when it fails.
pub fn project(norm: Norm, images: Tensor<4>, center: &Tensor<4>, eps: &Tensor<4>) -> Result<Tensor<4>, Stop> {
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
        Norm::L1 => on_host(images, center, eps, project_l1)?,
        Norm::L0 => on_host(images, center, eps, project_l0)?,
    };
    Ok(inside.clamp(0.0, 1.0))
}

fn on_host(
    images: Tensor<4>,
    center: &Tensor<4>,
    eps: &Tensor<4>,
    project: fn(&mut [f32], &[f32], f32),
) -> Result<Tensor<4>, Stop> {
    let (dims, device) = (images.dims(), images.device());
    let (mut pixels, clean, eps) = (read(images)?, read(center.clone())?, read(eps.clone())?);
    let size = pixels.len() / eps.len();
    for ((pixels, clean), eps) in pixels.chunks_exact_mut(size).zip(clean.chunks_exact(size)).zip(eps) {
        project(pixels, clean, eps);
    }
    Ok(Tensor::from_data(TensorData::new(pixels, dims), &device))
}

/// Moves an image to the nearest point, in the Euclidean sense, that has an l1 distance of at most `eps` to `center` and
/// lies in the box `[0, 1]`.
///
/// With `u` the change, the answer is `clamp(shrink(u, λ))`: every change loses λ in size, then is cut at the box. The sum of
/// changes falls with λ, linearly between the points where a change reaches zero or leaves the box, and is solved for exactly.
pub fn project_l1(image: &mut [f32], center: &[f32], eps: f32) {
    // Rounding pixels to single precision may add to every change.
    let rounding = f64::from(f32::EPSILON) / 4.0 * image.len() as f64;
    let radius = (f64::from(eps) * (1.0 + 2e-6) - rounding).min(f64::from(eps)).max(0.0);
    let size = |pixel: f32, center: f32| (f64::from(pixel) - f64::from(center)).abs();
    let room = |pixel: f32, center: f32| f64::from(if pixel < center { center } else { 1.0 - center });
    // Where a change begins to shrink, and where it is gone.
    let mut turns: Vec<(f64, f64)> = Vec::with_capacity(2 * image.len());
    let mut sum = 0.0;
    let mut slope = 0.0;
    for (pixel, center) in image.iter().zip(center) {
        let (size, room) = (size(*pixel, *center), room(*pixel, *center).max(0.0));
        sum += size.min(room);
        if size > room {
            turns.push((size - room, 1.0));
        } else {
            slope += 1.0;
        }
        turns.push((size, -1.0));
    }
    let mut shrinkage = 0.0;
    if sum > radius {
        turns.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        for (turn, change) in turns {
            let next = sum - slope * (turn - shrinkage);
            if next <= radius {
                break;
            }
            (sum, shrinkage, slope) = (next, turn, slope + change);
        }
        if slope > 0.0 {
            shrinkage += (sum - radius) / slope;
        }
    }
    for (pixel, center) in image.iter_mut().zip(center) {
        let kept = (size(*pixel, *center) - shrinkage).max(0.0).copysign(f64::from(*pixel - *center));
        *pixel = ((f64::from(*center) + kept) as f32).clamp(0.0, 1.0);
    }
}

/// Moves an image to the nearest point, in the Euclidean sense, that has at most `eps` values other than `center` and lies in
/// the box `[0, 1]`.
///
/// With `u` a change and `c` what the box leaves of it, keeping `c` rather than nothing brings the point nearer by
/// `u² - (u - c)²`. The changes that bring most are kept.
pub fn project_l0(image: &mut [f32], center: &[f32], eps: f32) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of values")]
    let kept = eps.max(0.0) as usize;
    let gain = |pixel: f32, center: f32| {
        let (change, left) = (pixel - center, pixel.clamp(0.0, 1.0) - center);
        left * (2.0 * change - left)
    };
    let gains: Vec<f32> = image.iter().zip(center).map(|(pixel, center)| gain(*pixel, *center)).collect();
    let mut places: Vec<usize> = (0..image.len()).collect();
    places.sort_by(|&a, &b| gains[b].total_cmp(&gains[a]));
    image.iter_mut().for_each(|pixel| *pixel = pixel.clamp(0.0, 1.0));
    places.into_iter().skip(kept).for_each(|place| image[place] = center[place]);
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
            Norm::L1 => self.l1,
            Norm::L0 => self.l0,
        }
    }
}

/// Whether an image is finite and inside the box `[0, 1]`.
pub fn in_box(pixels: &[f32]) -> bool {
    pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn l1(image: &[f32], center: &[f32]) -> f64 {
        Distances::between(center, image).l1
    }

    proptest! {
        /// The projection is in both sets, and no small move within them comes closer to the point.
        #[test]
        fn the_l1_projection_is_the_nearest_point(
            center in prop::collection::vec(0.0_f32..1.0, 6),
            point in prop::collection::vec(-1.0_f32..2.0, 6),
            eps in 0.05_f32..3.0,
        ) {
            let mut projected = point.clone();
            project_l1(&mut projected, &center, eps);
            prop_assert!(in_box(&projected) && l1(&projected, &center) <= Norm::L1.tolerance(eps.into()));
            let distance = |image: &[f32]| Distances::between(&point, image).l2;
            let best = distance(&projected);
            // Towards every vertex of the ball, cut at the box: convexity makes this enough.
            for place in 0..6 {
                for sign in [-1.0, 1.0] {
                    let mut vertex = center.clone();
                    vertex[place] = (vertex[place] + sign * eps).clamp(0.0, 1.0);
                    let moved: Vec<f32> = projected.iter().zip(&vertex).map(|(at, to)| at + 1e-2 * (to - at)).collect();
                    prop_assert!(distance(&moved) >= best - 1e-5);
                }
            }
        }

        /// No choice of values to keep comes nearer.
        #[test]
        fn the_l0_projection_is_the_nearest_point(
            center in prop::collection::vec(0.0_f32..1.0, 6),
            point in prop::collection::vec(-1.0_f32..2.0, 6),
            kept in 0_u32..7,
        ) {
            let mut projected = point.clone();
            project_l0(&mut projected, &center, kept as f32);
            prop_assert!(in_box(&projected) && Distances::between(&center, &projected).l0 <= f64::from(kept));
            let distance = |image: &[f32]| Distances::between(&point, image).l2;
            for choice in (0..64_u32).filter(|choice| choice.count_ones() == kept) {
                let keep = |place: usize| if choice >> place & 1 == 1 { point[place].clamp(0.0, 1.0) } else { center[place] };
                let other: Vec<f32> = (0..6).map(keep).collect();
                prop_assert!(distance(&projected) <= distance(&other) + 1e-6);
            }
        }
    }
}
