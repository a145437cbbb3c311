//! What a driver is told and what it gives back.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use realsafe_plan::{Budget, Cost, Ensemble, Goal, Norm, Search, Success};

use crate::projection::Distances;
use crate::{DefendedModel, Run, Samples};

/// Everything that an attack on some samples needs to be told.
#[derive(Clone)]
pub struct Task {
    /// The victim.
    pub model: DefendedModel,
    /// Models whose gradients the attack uses.
    pub surrogates: Vec<DefendedModel>,
    /// How those are combined.
    pub ensemble: Ensemble,
    /// Whether they stand in for the victim, which is judged once, at the end.
    pub transfers: bool,
    /// The clean images and labels.
    pub samples: Samples,
    /// The index of each sample in the dataset.
    pub indices: Vec<u32>,
    /// The target of each sample, where the goal has one.
    pub targets: Vec<Option<u32>>,
    /// The prediction on each clean image.
    pub clean: Vec<u32>,
    /// The norm.
    pub norm: Norm,
    /// The goal.
    pub goal: Goal,
    /// The radius; none where the smallest distance is looked for.
    pub eps: Option<f64>,
    /// Which radii an attack of fixed radius is tried with, where the smallest distance is looked for.
    pub search: Option<Search>,
    /// Which images decide.
    pub success: Success,
    /// Hard limits per sample.
    pub budget: Budget,
    /// Steps after which iterates are judged and recorded.
    pub record: Vec<u32>,
    /// The seed of all random streams.
    pub seed: u64,
    /// How many draws verdicts are the mean of; none where the victim draws nothing.
    pub draws: Option<u32>,
}

/// One of the attacks that are made one after the other, each on what the ones before did not break.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The attack.
    pub attack: &'a dyn Run,
    /// How often it starts on what it has not broken.
    pub restarts: u32,
    /// How many draws of a randomised victim an answer is the mean of.
    pub eot: u32,
    /// Whether it minimises the distance, so that what it ends with may lie outside a given ball.
    pub minimises_distance: bool,
}

/// What one of the attacks of a task did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contribution {
    /// Samples that the attacks before it left.
    pub attacked: u64,
    /// Those of them that it broke.
    pub broken: u64,
    /// What it spent on the victim.
    pub spent: Cost,
    /// What it spent on surrogates.
    pub surrogates: Cost,
}

/// What came out of a task.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The final judgement of every sample.
    pub judgements: Vec<Judgement>,
    /// Samples at recorded steps, by slot and step.
    pub recorded: Vec<Recorded>,
    /// What each attack did, in order.
    pub contributions: Vec<Contribution>,
    /// Samples whose first gradient was zero or not a number.
    pub zero_gradients: u64,
}

/// How the outside watches and stops a driver.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Set to stop at the next step.
    pub cancelled: &'a Arc<AtomicBool>,
    /// Told the number of rows that just made a step.
    pub stepped: &'a dyn Fn(usize),
}

/// How the independent pass judges a final image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not fulfil the goal.
    Robust,
    /// It fulfils the goal inside the box and the ball, of a randomised victim on more than half of the draws.
    Broken,
    /// It is not finite, or outside the box or the ball.
    Invalid,
    /// The attack was told that it fulfils the goal, and it does not.
    Disputed,
}

/// What became of a sample.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The verdict of the independent pass.
    pub verdict: Verdict,
    /// The final image.
    pub pixels: Vec<f32>,
    /// The prediction of the independent pass; of a randomised victim, the most frequent one.
    pub prediction: Option<u32>,
    /// How a randomised victim answers the final image.
    pub shares: Option<Shares>,
    /// Distances from the clean image; infinite where a distance was to be minimised and nothing was found.
    pub distances: Distances,
    /// What was spent on the victim.
    pub spent: Cost,
    /// What was spent on surrogates.
    pub surrogates: Cost,
    /// Queries spent when the first adversarial was found.
    pub first_success: Option<u64>,
    /// The place of the attack that broke it, among those of the task; none where the clean image did.
    pub broken_by: Option<usize>,
    /// Of a search, the largest radius at which the attack failed; 0 if it never did.
    pub failed_at: Option<f64>,
}

/// How often the draws of a randomised victim let the final image be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// The share of draws on which the prediction is the label.
    pub correct: f64,
    /// The share of draws on which the goal is not reached.
    pub robust: f64,
}

/// A sample at a recorded step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recorded {
    /// The position of the sample in the task.
    pub slot: usize,
    /// The step, counted through restarts.
    pub step: u32,
    /// Queries spent so far.
    pub queries: u64,
    /// The prediction on the iterate.
    pub prediction: Option<u32>,
    /// Its distance in the norm of the threat model; where the distance is minimised, that of the nearest adversarial so far,
    /// infinite without one.
    pub distance: f64,
    /// Whether an adversarial had been found by then.
    pub broken: bool,
}
