//! What a cell computes: one outcome per sample.

use serde::{Deserialize, Serialize};

/// How the attack on a sample ended, as the host judged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// No adversarial within the threat model and the budget.
    Robust,
    /// A verified adversarial was found, or the clean image already is one.
    Broken,
    /// It is proven that no image within a distance is misclassified.
    Certified,
    /// Nothing is proven about it.
    Uncertified,
    /// The returned image is not finite, or lies outside the box or the ball.
    Invalid,
    /// The verification pass predicts something else than the attack was told.
    Disputed,
    /// The attack says that it failed, or panicked.
    Failed,
    /// The process of the attack ended before the attack did.
    Crashed,
    /// The attack did not answer within its deadline.
    TimedOut,
    /// The process of the attack took more memory than it may.
    OutOfMemory,
    /// The attack asked for more than its budget or its declared cost allows.
    OverBudget,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 11] = [
        Self::Robust,
        Self::Broken,
        Self::Certified,
        Self::Uncertified,
        Self::Invalid,
        Self::Disputed,
        Self::Failed,
        Self::Crashed,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::OverBudget,
    ];

    /// The word in the CSV.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Robust => "robust",
            Self::Broken => "broken",
            Self::Certified => "certified",
            Self::Uncertified => "uncertified",
            Self::Invalid => "invalid",
            Self::Disputed => "disputed",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::TimedOut => "timed-out",
            Self::OutOfMemory => "out-of-memory",
            Self::OverBudget => "over-budget",
        }
    }

    /// Whether the sample counts neither as robust nor as broken.
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Robust | Self::Broken | Self::Certified | Self::Uncertified)
    }

    /// Whether the attack gave no image, as against an image that was judged.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Crashed | Self::TimedOut | Self::OutOfMemory | Self::OverBudget)
    }
}

/// What was spent on a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Images sent to the defended system.
    pub queries: u64,
    /// Forward passes of the network.
    pub forwards: u64,
    /// Backward passes of the network.
    pub backwards: u64,
    /// Forward passes of surrogates.
    pub surrogate_forwards: u64,
    /// Backward passes of surrogates.
    pub surrogate_backwards: u64,
}

impl Spent {
    /// The sum of both.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            queries: self.queries + other.queries,
            forwards: self.forwards + other.forwards,
            backwards: self.backwards + other.backwards,
            surrogate_forwards: self.surrogate_forwards + other.surrogate_forwards,
            surrogate_backwards: self.surrogate_backwards + other.surrogate_backwards,
        }
    }
}

/// How often the draws of a randomised victim let a sample be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// The share of draws on which the clean image is predicted as its label.
    pub clean: f64,
    /// The share of draws on which the final image is.
    pub correct: f64,
    /// The share of draws on which the final image does not reach the goal.
    pub robust: f64,
}

/// What an attack did to a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The index in the dataset.
    pub sample: u32,
    /// The true class.
    pub label: u32,
    /// The target class, where the goal has one.
    pub target: Option<u32>,
    /// The prediction on the clean image; none when the model itself failed on it.
    pub clean_pred: Option<u32>,
    /// The verified prediction on the final image; none after an error.
    pub adv_pred: Option<u32>,
    /// How it ended.
    pub status: Status,
    /// Distances of the final image from the clean one: largest change, Euclidean, sum of changes, changed values.
    /// For attacks that minimise the distance they are infinite where no adversarial was found. Of certificates, the one of
    /// the norm is the radius, 0 where nothing is proven, and the others are infinite.
    pub dist_linf: f64,
    /// See `dist_linf`.
    pub dist_l2: f64,
    /// See `dist_linf`.
    pub dist_l1: f64,
    /// See `dist_linf`.
    pub dist_l0: f64,
    /// What was spent.
    pub spent: Spent,
    /// Queries spent when the first adversarial was found; 0 when the clean image was one.
    pub first_success: Option<u64>,
    /// Of a chain, the member that broke it; none where the clean image did.
    pub broken_by: Option<String>,
    /// Of a search, the largest radius at which the attack failed below its success; 0 if it never did.
    pub failed_at: Option<f64>,
    /// How a randomised victim answers: then predictions are the most frequent ones, and the status is that of the majority.
    pub shares: Option<Shares>,
}

/// The iterate of a sample at a recorded step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracePoint {
    /// The index in the dataset.
    pub sample: u32,
    /// The step after which it was recorded, restarts counted through.
    pub step: u32,
    /// Queries spent so far.
    pub queries: u64,
    /// The verified prediction on the iterate.
    pub pred: u32,
    /// Its distance in the norm of the threat model; where the distance is minimised, that of the nearest adversarial that is
    /// known by then, infinite without one.
    pub distance: f64,
    /// Whether an adversarial had been found by then.
    pub broken: bool,
}

/// What one of the attacks of a chain did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// Its name.
    pub id: String,
    /// Samples that the members before it left.
    pub attacked: u64,
    /// Those of them that it broke.
    pub broken: u64,
    /// What it spent on all of them.
    pub spent: Spent,
}

/// Final images of a cell, sample by sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Adversarials {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Pixels, in the order of the outcomes.
    pub pixels: Vec<f32>,
}

impl Adversarials {
    /// How many images there are.
    pub fn count(&self) -> usize {
        self.pixels.len().checked_div(self.shape.iter().product()).unwrap_or(0)
    }
}

/// All that a cell gives.
#[derive(Clone, Debug, PartialEq)]
pub struct CellRecord {
    /// One per sample, in the order of the cell's samples.
    pub outcomes: Vec<Outcome>,
    /// The recorded steps, by sample and step.
    pub trace: Vec<TracePoint>,
    /// What the members of a chain did, in order; empty for a single attack.
    pub members: Vec<MemberRecord>,
    /// Samples whose first gradient was zero or not a number.
    pub zero_gradients: u64,
    /// Clean images that a victim which draws nothing answered otherwise when it was asked again.
    pub random_answers: u64,
    /// The final images, where they were asked for.
    pub adversarials: Option<Adversarials>,
    /// What looked wrong but did not stop the cell.
    pub warnings: Vec<String>,
}

impl CellRecord {
    /// How the cell failed, if no sample got an image: the status of the first. Such a record is provisional.
    pub fn failure(&self) -> Option<Status> {
        let first = self.outcomes.first()?.status;
        self.outcomes.iter().all(|outcome| outcome.status.is_failure()).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{failure_of, record, record_of};

    #[test]
    fn statuses_have_one_name_each_and_five_are_failures() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
        let names = |wanted: fn(Status) -> bool| {
            Status::ALL.into_iter().filter(|status| wanted(*status)).map(Status::name).collect::<Vec<_>>()
        };
        assert_eq!(names(Status::is_failure), ["failed", "crashed", "timed-out", "out-of-memory", "over-budget"]);
        assert_eq!(names(|status| status.is_error() && !status.is_failure()), ["invalid", "disputed"]);
        assert_eq!(names(|status| !status.is_error()), ["robust", "broken", "certified", "uncertified"]);
    }

    #[test]
    fn a_cell_failed_only_if_all_of_it_did() {
        assert_eq!(failure_of(0, Status::TimedOut).failure(), Some(Status::TimedOut));
        assert_eq!(record_of(0, "ff").failure(), Some(Status::Failed));
        let mut judged = failure_of(0, Status::Crashed);
        judged.outcomes[1].status = Status::Invalid;
        for result in [judged, record_of(0, "fr"), record_of(0, "bf"), record(Vec::new())] {
            assert_eq!(result.failure(), None);
        }
    }
}
