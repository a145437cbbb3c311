//! What the attacks that look for the smallest distance share: distances, directions, and the nearest adversarial so far.

use std::f64::consts::PI;

use burn::tensor::{Bool, Tensor, TensorData};
use realsafe_core::projection::{l2_length, steepest, sum_per_row};
use realsafe_core::random::Purpose;
use realsafe_core::{Batch, Logits, Stop, fill_gaussian, length, read, state};
use realsafe_plan::Norm;

state! {
    /// The nearest adversarial of each row so far; the clean image, at infinite distance, while there is none.
    pub(crate) struct Nearest {
        images: Tensor<4>,
        distances: Vec<f32>,
    }
}

impl Nearest {
    pub(crate) fn new(batch: &Batch) -> Self {
        Self { images: batch.images.clone(), distances: vec![f32::INFINITY; batch.len()] }
    }

    /// Keeps the candidates that are adversarial and nearer.
    pub(crate) fn offer(&mut self, candidates: &Tensor<4>, distances: &[f32], adversarial: &[bool]) {
        let kept = self.distances.iter().zip(distances).zip(adversarial);
        let nearer: Vec<bool> = kept.map(|((kept, distance), adversarial)| *adversarial && distance < kept).collect();
        if !nearer.contains(&true) {
            return;
        }
        for ((kept, distance), nearer) in self.distances.iter_mut().zip(distances).zip(&nearer) {
            if *nearer {
                *kept = *distance;
            }
        }
        self.images = replace_rows(self.images.clone(), &nearer, candidates.clone());
    }

    pub(crate) fn images(&self) -> Tensor<4> {
        self.images.clone()
    }

    /// The distance of each row; infinite while there is none.
    pub(crate) fn distances(&self) -> &[f32] {
        &self.distances
    }
}

/// The rows of `others` where a flag is set, and those of `images` elsewhere.
fn replace_rows(images: Tensor<4>, flags: &[bool], others: Tensor<4>) -> Tensor<4> {
    let flags = TensorData::new(flags.to_vec(), [flags.len(), 1, 1, 1]);
    let mask = Tensor::<4, Bool>::from_bool(flags, &images.device()).expand(images.dims());
    images.mask_where(mask, others)
}

/// Which rows fulfil the goal.
pub(crate) fn adversarial(batch: &Batch, logits: &Logits) -> Vec<bool> {
    logits.predictions().into_iter().enumerate().map(|(row, prediction)| batch.reached(row, prediction)).collect()
}

/// The norm that measures how fast a loss can rise within a norm.
pub(crate) const fn dual(norm: Norm) -> Norm {
    match norm {
        Norm::Linf => Norm::L1,
        Norm::L2 => Norm::L2,
        Norm::L1 | Norm::L0 => Norm::Linf,
    }
}

/// The size of each row's change in a norm.
pub(crate) fn sizes(norm: Norm, change: Tensor<4>) -> Result<Vec<f32>, Stop> {
    let [n, channels, height, width] = change.dims();
    read(match norm {
        Norm::Linf => change.reshape([n, channels * height * width]).max_abs_dim(1).reshape([n, 1, 1, 1]),
        Norm::L2 => l2_length(change),
        Norm::L1 => sum_per_row(change.abs()),
        Norm::L0 => sum_per_row(change.not_equal_elem(0.0).float()),
    })
}

/// The size of each row's largest change that the box allows.
pub(crate) fn largest_sizes(batch: &Batch) -> Result<Vec<f32>, Stop> {
    let clean = batch.images.clone();
    sizes(batch.norm, clean.clone().max_pair(clean.neg() + 1.0))
}

/// How long a step must be for pixels of single precision to change at all.
pub(crate) fn rounding(batch: &Batch) -> f32 {
    let values: usize = batch.shape().iter().product();
    let ones = match batch.norm {
        Norm::Linf => 1.0,
        Norm::L2 => (values as f32).sqrt(),
        Norm::L1 => values as f32,
        Norm::L0 => 0.0,
    };
    f32::EPSILON * ones
}

/// The unit vector of each row; where a gradient is zero or not finite, a random one, so that no row is stuck.
pub(crate) fn unit(batch: &Batch, gradient: Tensor<4>) -> Result<Tensor<4>, Stop> {
    let direction = steepest(Norm::L2, gradient);
    let lengths = sizes(Norm::L2, direction.clone())?;
    let stuck: Vec<bool> = lengths.iter().map(|length| !(length - 1.0).abs().lt(&0.5)).collect();
    if !stuck.contains(&true) {
        return Ok(direction);
    }
    let random = batch.draw(Purpose::Step, |row, random, pixels| {
        if stuck[row] {
            fill_gaussian(random, pixels);
            let scale = length(pixels).max(f32::MIN_POSITIVE).recip();
            pixels.iter_mut().for_each(|pixel| *pixel *= scale);
        }
    });
    Ok(replace_rows(direction, &stuck, random))
}

/// What is left of `first` on half a cosine wave that would end at `last` after all steps.
pub(crate) fn annealed(first: f64, last: f64, step: u32, steps: u64) -> f64 {
    last + (first - last) * (1.0 + (PI * f64::from(step) / steps as f64).cos()) / 2.0
}
