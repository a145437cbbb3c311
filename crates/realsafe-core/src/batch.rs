//! What an attack is given: rows of samples, each with its own label, target, radius and random streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, StandardNormal};
use realsafe_plan::{Goal, Norm};

use crate::random::{Purpose, StreamKey, stream};
use crate::{Rows, Select};

/// The samples that an attack works on. Rows come and go between steps; whatever depends on the row's place is wrong.
#[derive(Clone)]
pub struct Batch {
    /// The clean images `[n, channels, height, width]`.
    pub images: Tensor<4>,
    /// The true class of each row.
    pub labels: Vec<u32>,
    /// The target class of each row, where the goal has one.
    pub targets: Vec<Option<u32>>,
    /// The radius of each row; infinite where the attack runs alone to minimise the distance.
    pub eps: Vec<f32>,
    /// The index of each row in the dataset.
    pub samples: Vec<u32>,
    /// The norm of the threat model.
    pub norm: Norm,
    /// The goal of the threat model.
    pub goal: Goal,
    /// The step, from 0.
    pub step: u32,
    pub(crate) seed: u64,
    pub(crate) restart: u32,
    /// Whether the attack drew random numbers or asked for the restart, so that another one may come to something else.
    pub(crate) varies: Arc<AtomicBool>,
    pub(crate) slots: Vec<usize>,
}

impl Batch {
    /// The number of rows.
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// The restart, from 0.
    pub fn restart(&self) -> u32 {
        self.varies.store(true, Ordering::Relaxed);
        self.restart
    }

    /// Whether no row is left.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        let [_, channels, height, width] = self.images.dims();
        [channels, height, width]
    }

    /// Where the tensors live.
    pub fn device(&self) -> Device {
        self.images.device()
    }

    /// The class that the loss is taken for, and the sign with which an attacker raises it:
    /// away from the label, or towards the target.
    pub fn aim(&self, row: usize) -> (u32, f32) {
        match self.targets[row] {
            Some(target) => (target, -1.0),
            None => (self.labels[row], 1.0),
        }
    }

    /// Whether a prediction fulfils the goal of a row.
    pub fn reached(&self, row: usize, prediction: Option<u32>) -> bool {
        prediction.is_some_and(|prediction| self.goal.reached(prediction, self.labels[row], self.targets[row]))
    }

    /// The random stream of a row for a purpose, at this restart and step.
    pub fn stream(&self, row: usize, purpose: Purpose) -> ChaCha8Rng {
        stream(self.stream_key(row, purpose))
    }

    /// The address of that stream.
    pub fn stream_key(&self, row: usize, purpose: Purpose) -> StreamKey {
        let restart = self.restart();
        let (sample, step) = (self.samples[row].into(), self.step.into());
        StreamKey { seed: self.seed, purpose, sample, restart: restart.into(), step }
    }

    /// An image per row, filled from the row's own stream.
    pub fn draw(&self, purpose: Purpose, mut fill: impl FnMut(usize, &mut ChaCha8Rng, &mut [f32])) -> Tensor<4> {
        let [channels, height, width] = self.shape();
        let size = channels * height * width;
        let mut values = vec![0.0; self.len() * size];
        for (row, pixels) in values.chunks_exact_mut(size).enumerate() {
            fill(row, &mut self.stream(row, purpose), pixels);
        }
        self.upload(values)
    }

    /// Images `[n, channels, height, width]` from the pixels of all rows on the host, row by row.
    pub fn upload(&self, pixels: Vec<f32>) -> Tensor<4> {
        let [channels, height, width] = self.shape();
        Tensor::from_data(TensorData::new(pixels, [self.len(), channels, height, width]), &self.device())
    }
}

impl Select for Batch {
    fn choose(&self, rows: &Rows) -> Self {
        Self {
            images: self.images.choose(rows),
            labels: self.labels.choose(rows),
            targets: self.targets.choose(rows),
            eps: self.eps.choose(rows),
            samples: self.samples.choose(rows),
            varies: Arc::clone(&self.varies),
            slots: self.slots.choose(rows),
            ..*self
        }
    }
}

/// Fills with numbers from the uniform distribution on `[-1, 1)`.
pub fn fill_uniform(random: &mut ChaCha8Rng, values: &mut [f32]) {
    values.fill_with(|| random.random::<f32>().mul_add(2.0, -1.0));
}

/// Fills with numbers from the standard normal distribution.
pub fn fill_gaussian(random: &mut ChaCha8Rng, values: &mut [f32]) {
    values.fill_with(|| random.sample(StandardNormal));
}

/// Fills with a random point of the ball of a radius around the origin: uniform in the cube for linf, a Gaussian direction
/// times a uniform radius for l2, a Laplace direction times a uniform radius for l1, and as many uniform values at random
/// places as the radius says for l0.
pub fn fill_ball(norm: Norm, radius: f32, random: &mut ChaCha8Rng, values: &mut [f32]) {
    let scale = match norm {
        Norm::Linf => {
            fill_uniform(random, values);
            radius
        }
        Norm::L2 => {
            let radius = radius * random.random::<f32>();
            fill_gaussian(random, values);
            radius / length(values)
        }
        Norm::L1 => {
            let radius = radius * random.random::<f32>();
            values.fill_with(|| {
                let size: f32 = random.sample(Exp1);
                if random.random() { size } else { -size }
            });
            radius / values.iter().map(|value| value.abs()).sum::<f32>()
        }
        Norm::L0 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of places")]
            let places = (radius.max(0.0) as usize).min(values.len());
            values.fill(0.0);
            for place in rand::seq::index::sample(random, values.len(), places) {
                values[place] = random.random::<f32>().mul_add(2.0, -1.0);
            }
            1.0
        }
    };
    values.iter_mut().for_each(|value| *value *= scale);
}

/// The Euclidean length of a vector.
pub fn length(values: &[f32]) -> f32 {
    values.iter().map(|value| value * value).sum::<f32>().sqrt()
}
