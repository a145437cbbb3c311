//! The threat model: what counts as close, what the attacker wants, and how success is judged.

use crate::Number;

/// The distance that a perturbation is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Norm {
    /// The largest change of a pixel.
    Linf,
    /// The Euclidean length of the change.
    L2,
    /// The sum of all changes.
    L1,
    /// The number of changed values.
    L0,
}

impl Norm {
    /// Every norm.
    pub const ALL: [Self; 4] = [Self::Linf, Self::L2, Self::L1, Self::L0];

    /// The norms whose steepest direction changes every pixel at once.
    pub const DENSE: [Self; 2] = [Self::Linf, Self::L2];

    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
            Self::L1 => "l1",
            Self::L0 => "l0",
        }
    }

    /// How far outside the ball a verified adversarial may lie: rounding, nothing more.
    pub fn tolerance(self, eps: f64) -> f64 {
        match self {
            Self::Linf => eps + 1e-6,
            Self::L2 | Self::L1 => eps * (1.0 + 1e-5),
            Self::L0 => eps,
        }
    }
}

/// What the radii of a threat model are written in, and distances in it are told in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// The word that specs and reports use: the name of the norm, or `l2-rms`.
    pub name: &'static str,
    /// How much one of it is in the norm: 1, or for `l2-rms` the square root of the number of values of an image.
    pub size: f64,
}

impl Unit {
    /// The norm's own unit.
    pub const fn of(norm: Norm) -> Self {
        Self { name: norm.name(), size: 1.0 }
    }

    /// A distance in the norm, told in this unit.
    pub const fn told(self, distance: f64) -> f64 {
        distance / self.size
    }
}

/// The prediction on images that a defense rejects: no class has this number.
pub const REJECTED: u32 = u32::MAX;

/// What the attacker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Goal {
    /// Any label but the true one.
    Untargeted,
    /// The target label.
    Targeted,
    /// Optimises towards the target; any label but the true one counts.
    TargetedMisclassify,
}

impl Goal {
    /// Every goal.
    pub const ALL: [Self; 3] = [Self::Untargeted, Self::Targeted, Self::TargetedMisclassify];

    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untargeted => "untargeted",
            Self::Targeted => "targeted",
            Self::TargetedMisclassify => "targeted-misclassify",
        }
    }

    /// Whether the attack is given a target.
    pub const fn has_target(self) -> bool {
        !matches!(self, Self::Untargeted)
    }

    /// Whether a prediction fulfils the goal. Rejection never does.
    pub const fn reached(self, prediction: u32, label: u32, target: Option<u32>) -> bool {
        match (self, target) {
            (Self::Targeted, Some(target)) => prediction == target,
            _ => prediction != label && prediction != REJECTED,
        }
    }

    /// Whether the prediction on the clean image does the attacker's work already: it fulfils the goal, or, where any error
    /// counts, the image is rejected.
    pub const fn reached_by_clean(self, prediction: u32, label: u32, target: Option<u32>) -> bool {
        self.reached(prediction, label, target) || (prediction == REJECTED && !matches!(self, Self::Targeted))
    }
}

/// How targets are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetRule {
    /// Uniformly among the other classes, from the sample's own random stream.
    Random,
    /// The class with the lowest logit on the clean image (never the label).
    LeastLikely,
    /// The label plus one, modulo the number of classes.
    Next,
    /// As the dataset says.
    Dataset,
}

impl TargetRule {
    /// Every rule.
    pub const ALL: [Self; 4] = [Self::Random, Self::LeastLikely, Self::Next, Self::Dataset];

    /// The word that specs use.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::LeastLikely => "least-likely",
            Self::Next => "next",
            Self::Dataset => "dataset",
        }
    }
}

/// Which images decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Success {
    /// Broken when one of the attack's iterates is adversarial; allows early exit.
    AnyIterate,
    /// The returned iterate decides, as papers and most libraries report it.
    Last,
    /// Every image sent counts, probes included.
    AnyQuery,
}

impl Success {
    /// Every rule.
    pub const ALL: [Self; 3] = [Self::AnyIterate, Self::Last, Self::AnyQuery];

    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AnyIterate => "any-iterate",
            Self::Last => "last",
            Self::AnyQuery => "any-query",
        }
    }
}

/// How the surrogates of an attack are combined into one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ensemble {
    /// The mean of their logits.
    #[default]
    Logits,
    /// The logarithm of the mean of their softmax outputs.
    Probabilities,
    /// Each has a loss of its own, and the mean of those is raised.
    Loss,
}

impl Ensemble {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Logits, Self::Probabilities, Self::Loss];

    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
            Self::Loss => "loss",
        }
    }
}

/// A threat model of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Threat {
    /// The name by which attacks and expectations refer to it.
    pub id: String,
    /// The norm.
    pub norm: Norm,
    /// What its radius is written in.
    pub unit: Unit,
    /// The radius; none for attacks that minimise the distance. Its value is in the norm (plain Euclidean for l2), its
    /// spelling in the unit.
    pub eps: Option<Number>,
    /// The goal.
    pub goal: Goal,
    /// How targets are chosen, where the goal has one.
    pub target: Option<TargetRule>,
}

/// Hard limits per sample; unset means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Images sent to the defended system.
    pub queries: Option<u64>,
    /// Forward passes.
    pub forwards: Option<u64>,
    /// Backward passes.
    pub backwards: Option<u64>,
}
