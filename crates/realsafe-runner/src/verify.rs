//! Judges images that anybody made, against the models of an experiment.

use realsafe_core::projection::{Distances, in_box};
use realsafe_core::random::Purpose;
use realsafe_core::{Draws, Logits, Samples, Stop};
use realsafe_plan::{Chosen, Experiment, Stack, ThreatSpec};
use realsafe_results::AdversarialSet;

use crate::prepared::Targets;
use crate::run::RunError;
use crate::workshop::Workshop;

/// How a set of images fares against one defended model. Of randomised victims, shares of samples are means of the shares of
/// their draws.
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

/// Judges a set of images against all models and stacks of an experiment, by the goals of its threat models and on as many
/// draws of randomised victims as a run would take.
///
/// The set's samples are matched to the dataset by their indices, or are the experiment's own in order. Its targets count, else
/// those that the threat models choose with the experiment's first seed.
///
/// # Errors
/// A component that cannot be built, images of another shape, number or class, or a device that fails.
pub fn verify(experiment: &Experiment, set: &AdversarialSet, workshop: &Workshop) -> Result<Vec<Verified>, RunError> {
    let images = &set.images;
    let count = images.count();
    let indices = set.samples.clone().unwrap_or_else(|| experiment.samples.iter().copied().take(count).collect());
    if images.shape != experiment.shape || indices.len() != count {
        let (found, expected) = (images.shape, experiment.shape);
        return Err(RunError::Images(format!(
            "the set holds {count} images of {found:?} for {} samples of {expected:?}",
            indices.len()
        )));
    }
    let clean = workshop.samples(&experiment.data, &indices)?;
    check_labels(set, &indices, &clean.labels)?;
    let given = Samples { pixels: images.pixels.clone(), ..clean.clone() };
    let size = images.shape.iter().product();
    let pairs = clean.pixels.chunks_exact(size).zip(given.pixels.chunks_exact(size));
    let distances = pairs.map(|(clean, given)| Distances::between(clean, given)).collect();
    let boxed = given.pixels.chunks_exact(size).map(in_box).collect();
    let job = Job { experiment, set, workshop, indices, clean, given, distances, boxed };
    let victims = experiment.models.iter().flat_map(|model| experiment.stacks.iter().map(move |stack| (model, stack)));
    victims.map(|(model, stack)| job.judge(model, stack)).collect()
}

/// Labels of another dataset, or of other images, would judge nothing.
fn check_labels(set: &AdversarialSet, indices: &[u32], labels: &[u32]) -> Result<(), RunError> {
    let told = set.labels.iter().flatten();
    let differs = told.zip(labels).zip(indices).find(|((told, label), _)| told != label);
    let Some(((told, label), index)) = differs else { return Ok(()) };
    let way_out = if set.samples.is_some() {
        "it was made of other images than those of the spec"
    } else {
        "let its tensor `samples` say which images of the dataset it was made of"
    };
    Err(RunError::Images(format!(
        "the set says that sample {index} is of class {told}, but in the dataset it is of class {label}: {way_out}"
    )))
}

/// A set of images beside the clean ones.
struct Job<'a> {
    experiment: &'a Experiment,
    set: &'a AdversarialSet,
    workshop: &'a Workshop,
    /// The index of each image in the dataset.
    indices: Vec<u32>,
    clean: Samples,
    given: Samples,
    distances: Vec<Distances>,
    boxed: Vec<bool>,
}

/// How a victim answers images, draw by draw.
struct Answers(Vec<Logits>);

impl Answers {
    /// How often each answer holds good: whether the prediction on an image does, given its place.
    fn shares(&self, holds: impl Fn(usize, Option<u32>) -> bool) -> Vec<f64> {
        let predictions: Vec<Vec<Option<u32>>> = self.0.iter().map(Logits::predictions).collect();
        let good = |at: usize| predictions.iter().filter(|of_draw| holds(at, of_draw[at])).count();
        let count = predictions.first().map_or(0, Vec::len);
        (0..count).map(|at| good(at) as f64 / predictions.len() as f64).collect()
    }
}

impl Job<'_> {
    fn judge(&self, model: &Chosen, stack: &Stack) -> Result<Verified, RunError> {
        let defended = self.workshop.defended(model, &stack.layers)?;
        let draws = self.experiment.draws_of(model, &stack.layers).unwrap_or(1);
        let ask = |samples: &Samples| -> Result<Answers, Stop> {
            let on_draw = |draw: u32| {
                let passes = self.indices.iter().map(|sample| (*sample, draw.into()));
                defended.judge(samples, &Draws::new(0, Purpose::Verification, passes), self.workshop.device())
            };
            Ok(Answers((0..draws).map(on_draw).collect::<Result<_, _>>()?))
        };
        let (clean, given) = (ask(&self.clean)?, ask(&self.given)?);
        let right = |at: usize, prediction| prediction == Some(self.clean.labels[at]);
        let balls = self.experiment.threats.iter().map(|threat| self.balls(threat, &clean, &given));
        Ok(Verified {
            model: model.id.clone(),
            stack: stack.name(),
            samples: self.indices.len(),
            clean_accuracy: mean(clean.shares(right)),
            accuracy: mean(given.shares(right)),
            outside_box: self.boxed.iter().filter(|inside| !**inside).count(),
            balls: balls.collect::<Result<Vec<_>, RunError>>()?.concat(),
        })
    }

    /// What is left at every radius of a threat model.
    fn balls(&self, threat: &ThreatSpec, clean: &Answers, given: &Answers) -> Result<Vec<InBall>, RunError> {
        let chosen = Targets {
            data: &self.experiment.data,
            indices: &self.indices,
            samples: &self.clean,
            clean: &clean.0[0],
            seed: self.experiment.seeds.first().copied().unwrap_or_default(),
        };
        let targets = match &self.set.targets {
            Some(targets) if threat.goal.has_target() => targets.iter().copied().map(Some).collect(),
            _ => chosen.by(threat.target.as_ref())?,
        };
        // What is not a number is no defense.
        let holds = |reached: fn(_, u32, u32, _) -> bool| {
            let labels = &self.clean.labels;
            let targets = &targets;
            move |at: usize, prediction: Option<u32>| {
                prediction.is_some_and(|prediction| !reached(threat.goal, prediction, labels[at], targets[at]))
            }
        };
        let clean = clean.shares(holds(realsafe_plan::Goal::reached_by_clean));
        let given = given.shares(holds(realsafe_plan::Goal::reached));
        let ball = |eps: &realsafe_plan::Number| {
            let most = threat.norm.tolerance(eps.value());
            let inside = |at: usize| self.boxed[at] && self.distances[at].in_norm(threat.norm) <= most;
            // Who may submit the given image may submit the clean one as well.
            let robust = |at: usize| if inside(at) { clean[at].min(given[at]) } else { clean[at] };
            let count = self.indices.len();
            InBall {
                threat: threat.id.clone(),
                eps: eps.to_string(),
                inside: mean((0..count).map(|at| f64::from(u8::from(inside(at)))).collect()),
                robust_accuracy: mean((0..count).map(robust).collect()),
            }
        };
        Ok(threat.eps.iter().map(ball).collect())
    }
}

fn mean(shares: Vec<f64>) -> f64 {
    shares.iter().sum::<f64>() / shares.len() as f64
}
