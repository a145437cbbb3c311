//! Judges images that anybody made, against the models of an experiment.

use realsafe_core::projection::{Distances, in_box};
use realsafe_core::random::Purpose;
use realsafe_core::{Draws, Samples};
use realsafe_plan::{Experiment, Goal};
use realsafe_results::AdversarialSet;

use crate::run::RunError;
use crate::workshop::Workshop;

/// How a set of images fares against one defended model.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The id of the model.
    pub model: String,
    /// The name of the defense stack.
    pub stack: String,
    /// How many images there are.
    pub samples: usize,
    /// The share of clean images that are classified correctly.
    pub clean_accuracy: f64,
    /// The share of the given images that are classified correctly.
    pub accuracy: f64,
    /// Images that are not finite or leave the box `[0, 1]`.
    pub outside_box: usize,
    /// What is left when only images inside a ball count, for every radius of the experiment.
    pub balls: Vec<InBall>,
}

/// Robust accuracy when images outside a ball are replaced by the clean ones.
#[derive(Clone, Debug, PartialEq)]
pub struct InBall {
    /// The id of the threat model.
    pub threat: String,
    /// The radius, as the spec writes it.
    pub eps: String,
    /// The share of images inside the ball and the box.
    pub inside: f64,
    /// The share of samples without an adversarial inside.
    pub robust_accuracy: f64,
}

/// Judges a set of images against all models and stacks of an experiment.
///
/// The set's samples are matched to the dataset by their indices, or are the experiment's own in order.
///
/// # Errors
/// A component that cannot be built, images of another shape or number, or a device that fails.
pub fn verify(experiment: &Experiment, set: &AdversarialSet, workshop: &Workshop) -> Result<Vec<Verified>, RunError> {
    let images = &set.images;
    let count = images.pixels.len() / images.shape.iter().product::<usize>().max(1);
    let indices = set.samples.clone().unwrap_or_else(|| experiment.samples.iter().copied().take(count).collect());
    if images.shape != experiment.shape || indices.len() != count {
        let (found, expected) = (images.shape, experiment.shape);
        return Err(RunError::Images(format!(
            "the set holds {count} images of {found:?} for {} samples of {expected:?}",
            indices.len()
        )));
    }
    let clean = workshop.samples(&experiment.data, &indices)?;
    let given = Samples { pixels: images.pixels.clone(), ..clean.clone() };
    let size = images.shape.iter().product();
    let pairs = || clean.pixels.chunks_exact(size).zip(given.pixels.chunks_exact(size));
    let distances: Vec<Distances> = pairs().map(|(clean, given)| Distances::between(clean, given)).collect();
    let boxed: Vec<bool> = given.pixels.chunks_exact(size).map(in_box).collect();
    let draws = Draws::new(0, Purpose::Verification, indices.iter().map(|sample| (*sample, 0)));
    let mut verified = Vec::new();
    for model in &experiment.models {
        for stack in &experiment.stacks {
            let defended = workshop.defended(model, &stack.layers)?;
            let judge = |samples: &Samples| -> Result<Vec<Option<u32>>, RunError> {
                Ok(defended.judge(samples, &draws, workshop.device())?.predictions())
            };
            let right = |predictions: &[Option<u32>]| -> Vec<bool> {
                predictions.iter().zip(&clean.labels).map(|(prediction, label)| *prediction == Some(*label)).collect()
            };
            let predictions = judge(&given)?;
            let (clean_right, given_right) = (right(&judge(&clean)?), right(&predictions));
            // A rejected image is not right, but no success either.
            let broken = |at: usize| {
                predictions[at].is_none_or(|prediction| Goal::Untargeted.reached(prediction, clean.labels[at], None))
            };
            let share =
                |holds: &dyn Fn(usize) -> bool| (0..count).filter(|&at| holds(at)).count() as f64 / count as f64;
            let balls = experiment.threats.iter().flat_map(|threat| threat.eps.iter().map(move |eps| (threat, eps)));
            let balls = balls.map(|(threat, eps)| {
                let inside =
                    |at: usize| boxed[at] && distances[at].in_norm(threat.norm) <= threat.norm.tolerance(eps.value());
                InBall {
                    threat: threat.id.clone(),
                    eps: eps.to_string(),
                    inside: share(&inside),
                    robust_accuracy: share(&|at| clean_right[at] && !(broken(at) && inside(at))),
                }
            });
            verified.push(Verified {
                model: model.id.clone(),
                stack: stack.name(),
                samples: count,
                clean_accuracy: share(&|at| clean_right[at]),
                accuracy: share(&|at| given_right[at]),
                outside_box: boxed.iter().filter(|inside| !**inside).count(),
                balls: balls.collect(),
            });
        }
    }
    Ok(verified)
}
