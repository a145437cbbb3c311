//! The inner maximisation of adversarial training: images in a ball that raise a loss.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use realsafe_core::projection::{per_row, project, steepest};
use realsafe_core::random::Purpose;
use realsafe_core::{
    CrossEntropy, DefendedModel, Draws, Logits, Loss, Model, Stop, TrainingBatch, fill_ball, fill_gaussian,
};
use realsafe_plan::{Norm, Values};

use crate::schedule::grown;

/// The standard deviation of [`Start::NearClean`] in each pixel, as the authors of TRADES chose it.
const NEAR: f32 = 0.001;

/// Projected gradient ascent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adversary {
    pub(crate) norm: Norm,
    pub(crate) eps: f32,
    pub(crate) steps: u64,
    pub(crate) step_size: f32,
    pub(crate) start: Start,
    /// The share of the run in which the ball and the step grow from nothing to their size.
    pub(crate) warm_up: f64,
}

/// The first point.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// The clean image.
    Clean,
    /// A Gaussian point close to the clean image, where divergence from the clean output has a gradient.
    NearClean,
    /// Uniform in the cube (linf), a Gaussian direction times a uniform radius (l2).
    Ball,
}

impl Start {
    /// From the parameter `random-start`.
    pub(crate) fn of(values: &Values) -> Self {
        if values.flag("random-start") { Self::Ball } else { Self::Clean }
    }
}

/// What is raised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim {
    /// The cross-entropy of the label.
    Label,
    /// The Kullback-Leibler divergence of the output from that for the clean image.
    CleanOutput,
    /// Minus the label's logit: where logits are minus squared distances, the distance to the label's centre.
    Distance,
}

impl Adversary {
    /// From the parameters `norm`, `eps`, `eps-warm-up`, `steps` and `step-size`.
    pub(crate) fn from(values: &Values, start: Start) -> Self {
        Self {
            norm: norm(values),
            eps: single(values.number("eps")),
            steps: values.count("steps"),
            step_size: single(values.number("step-size")),
            start,
            warm_up: values.number("eps-warm-up"),
        }
    }

    /// A single step in linf.
    pub(crate) fn one_step(eps: f64, step_size: f64, start: Start) -> Self {
        Self { norm: Norm::Linf, eps: single(eps), steps: 1, step_size: single(step_size), start, warm_up: 0.0 }
    }

    /// Adversarial images for a batch, against a model that does not change meanwhile.
    pub(crate) fn adversarials(
        &self,
        model: Arc<dyn Model>,
        batch: &TrainingBatch,
        aim: Aim,
    ) -> Result<Tensor<4>, Stop> {
        let victim = DefendedModel::new(model, Vec::new());
        let clean = match aim {
            Aim::Label | Aim::Distance => None,
            Aim::CleanOutput => Some(Logits::read(victim.logits(batch.images.clone(), &self.draws(batch, 0))?)?),
        };
        let grown = single(grown(batch.time, self.warm_up));
        let eps = per_row(&vec![self.eps * grown; batch.labels.len()], &batch.images);
        let mut images = batch.images.clone();
        if let Some(noise) = self.noise(batch, self.eps * grown) {
            images = project(self.norm, images + noise, &batch.images, &eps)?;
        }
        for step in 1..=self.steps {
            let draws = self.draws(batch, step);
            let gradient = gradient(&victim, images.clone(), &draws, &batch.labels, aim, clean.as_ref())?;
            let moved = images + steepest(self.norm, gradient) * (self.step_size * grown);
            images = project(self.norm, moved, &batch.images, &eps)?;
        }
        Ok(images)
    }

    /// What networks that are random draw in a step of the attack.
    fn draws(&self, batch: &TrainingBatch, step: u64) -> Draws {
        let pass = u64::from(batch.epoch) * (self.steps + 1) + step;
        Draws::new(batch.seed, Purpose::Defense, batch.samples.iter().map(|sample| (*sample, pass)))
    }

    /// The way from every clean image to the first point in a ball, from the row's own stream.
    fn noise(&self, batch: &TrainingBatch, eps: f32) -> Option<Tensor<4>> {
        let dims = batch.images.dims();
        let mut values = vec![0.0; dims.iter().product()];
        for (row, pixels) in values.chunks_exact_mut(dims[1..].iter().product()).enumerate() {
            let mut random = batch.stream(row);
            match self.start {
                Start::Clean => return None,
                Start::NearClean => {
                    fill_gaussian(&mut random, pixels);
                    pixels.iter_mut().for_each(|pixel| *pixel *= NEAR);
                }
                Start::Ball => fill_ball(self.norm, eps, &mut random, pixels),
            }
        }
        Some(Tensor::from_data(TensorData::new(values, dims), &batch.images.device()))
    }
}

/// The gradient of what each row raises with respect to its image; `clean` are the logits to diverge from, if any.
fn gradient(
    victim: &DefendedModel,
    images: Tensor<4>,
    draws: &Draws,
    labels: &[u32],
    aim: Aim,
    clean: Option<&Logits>,
) -> Result<Tensor<4>, Stop> {
    let tape = victim.forward(images, draws)?;
    let (dims, device) = (tape.logits.dims(), tape.logits.device());
    let mut derivatives = vec![0.0; dims[0] * dims[1]];
    let logits = Logits::read(tape.logits.clone())?;
    match clean {
        None if matches!(aim, Aim::Distance) => {
            let rows = derivatives.chunks_exact_mut(dims[1]).zip(labels);
            rows.for_each(|(derivatives, label)| derivatives[*label as usize] = -1.0);
        }
        None => drop(CrossEntropy.evaluate(&logits, labels, &vec![None; dims[0]], &mut derivatives)?),
        Some(clean) => {
            let rows = derivatives.chunks_exact_mut(dims[1]).zip(logits.rows().zip(clean.rows()));
            for (derivatives, (logits, clean)) in rows {
                // The derivative of the divergence of one softmax from another is their difference.
                let pairs = probabilities(logits).into_iter().zip(probabilities(clean));
                for (derivative, (now, before)) in derivatives.iter_mut().zip(pairs) {
                    *derivative = single(now - before);
                }
            }
        }
    }
    tape.pull(Tensor::from_data(TensorData::new(derivatives, dims), &device))
}

/// The softmax of a row of logits.
fn probabilities(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The parameter `norm`.
pub(crate) fn norm(values: &Values) -> Norm {
    if values.text("norm") == Norm::L2.name() { Norm::L2 } else { Norm::Linf }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "images, radii and step sizes are single precision on every device"
)]
const fn single(number: f64) -> f32 {
    number as f32
}
