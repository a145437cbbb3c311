//! What is particular to components of a kind: what they need, support and cost.

use crate::{FromValues, Goal, Norm, Values};

/// What a loss needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossTraits {
    /// Of how many classes it needs the logits, at least.
    pub fewest_classes: usize,
}

impl LossTraits {
    /// Those of most losses.
    pub const TWO_CLASSES: Self = Self { fewest_classes: 2 };
}

/// What an attack needs, supports and costs.
pub struct AttackTraits {
    /// What it may ask of the victim.
    pub access: Access,
    /// What it does with surrogates, whose propagations are counted apart.
    pub surrogates: Surrogates,
    /// The norms in which it works.
    pub norms: &'static [Norm],
    /// The goals that it can pursue.
    pub goals: &'static [Goal],
    /// Whether it looks for the smallest distance: then it runs once, whatever the list of eps.
    pub minimises_distance: bool,
    /// The most that one sample can cost in one run, or what is wrong with the values; the plan multiplies it by the
    /// restarts of the spec.
    pub cost: FromValues<Result<Cost, String>>,
}

/// Attacks that pass on to the next what they did not break.
pub struct ChainTraits {
    /// The norms in which it works.
    pub norms: &'static [Norm],
    /// The goals that it can pursue.
    pub goals: &'static [Goal],
    /// The members for a norm, as TOML tables `[[member]]`, from the values of the parameters; none where specs list them.
    pub members: Option<MembersOf>,
}

/// The members of a chain in a norm, as TOML tables `[[member]]`; none where it has none in that norm.
pub(crate) type MembersOf = fn(&Values, Norm) -> Option<&'static str>;

/// Proofs for which the victim is asked: per sample a radius within which nothing is misclassified. It stands among the
/// attacks of a spec, and runs once, whatever the list of eps.
pub struct CertificateTraits {
    /// The norms in which there may be proofs.
    pub norms: &'static [Norm],
    /// The goals that are excluded.
    pub goals: &'static [Goal],
}

/// What an attack does with surrogates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surrogates {
    /// It uses none.
    Unused,
    /// It needs at least one.
    Needed,
    /// Where a spec names some, they stand in for the victim, which is judged once at the end: a transfer attack.
    Transfer,
}

/// What an attack may ask of the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing: the victim is judged once, at the end (transfer).
    Nothing,
    /// Predicted labels only.
    Labels,
    /// Logits.
    Scores,
    /// Logits and gradients.
    Gradients,
}

impl Access {
    /// The word that lists and messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Labels => "labels",
            Self::Scores => "scores",
            Self::Gradients => "gradients",
        }
    }
}

/// An amount of work on one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Images sent to the defended system.
    pub queries: u64,
    /// Forward passes of the network.
    pub forwards: u64,
    /// Backward passes of the network.
    pub backwards: u64,
}

impl Cost {
    /// `count` forward passes that answer `count` queries.
    pub const fn forward(count: u64) -> Self {
        Self { queries: count, forwards: count, backwards: 0 }
    }

    /// `count` gradients: a query, a forward and a backward pass each.
    pub const fn gradient(count: u64) -> Self {
        Self { queries: count, forwards: count, backwards: count }
    }

    /// The sum of both.
    pub const fn plus(self, other: Self) -> Self {
        Self {
            queries: self.queries.saturating_add(other.queries),
            forwards: self.forwards.saturating_add(other.forwards),
            backwards: self.backwards.saturating_add(other.backwards),
        }
    }

    /// What is left of the cost without another.
    pub const fn minus(self, other: Self) -> Self {
        Self {
            queries: self.queries.saturating_sub(other.queries),
            forwards: self.forwards.saturating_sub(other.forwards),
            backwards: self.backwards.saturating_sub(other.backwards),
        }
    }

    /// The cost, `count` times.
    pub const fn times(self, count: u64) -> Self {
        Self {
            queries: self.queries.saturating_mul(count),
            forwards: self.forwards.saturating_mul(count),
            backwards: self.backwards.saturating_mul(count),
        }
    }
}

/// What a defense lets through.
#[derive(Debug)]
pub struct DefenseTraits {
    /// The gradients that an attacker can be given; the first is the default.
    pub gradients: &'static [GradientMode],
    /// Whether it draws random numbers, afresh for every image sent through it.
    pub randomised: bool,
    /// Whether it solves an optimisation problem for every image sent through it, so that its answers are no fixed function
    /// that attacks of general use were made for.
    pub optimises: bool,
    /// Whether it may reject images instead of answering: the model that it puts in place of those behind has one more logit.
    /// Such a defense comes first in its stack.
    pub rejects: bool,
    /// Whether it projects images onto those that a function makes of codes, and leaves the latter as they are: then an
    /// attack can vary the codes ([`crate::VARIABLES`]).
    pub projects: bool,
    /// Channels, height and width of what it gives for images of a shape, or why it cannot take these.
    pub output: OutputShape,
}

/// The shape that a defense with these values gives for images of a shape: channels, height and width.
pub type OutputShape = fn(&Values, [usize; 3]) -> Result<[usize; 3], String>;

impl DefenseTraits {
    /// The output of defenses that take images of all shapes and keep them.
    pub const SAME_SHAPE: OutputShape = |_, shape| Ok(shape);

    /// A fixed function of images of all shapes, to fill in what is particular.
    pub const PLAIN: Self = Self {
        gradients: &[],
        randomised: false,
        optimises: false,
        rejects: false,
        projects: false,
        output: Self::SAME_SHAPE,
    };
}

/// The gradient of a defense, as an attacker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GradientMode {
    /// The derivative of what the forward pass computes.
    Exact,
    /// The derivative of a smooth function close to it, which the manual of the defense describes: another approximation for BPDA.
    Smooth,
    /// The identity: backward pass differentiable approximation (BPDA).
    Identity,
    /// None: the attacker gets zeros.
    Blocked,
}

impl GradientMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Smooth, Self::Identity, Self::Blocked];

    /// The word that specs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Smooth => "smooth",
            Self::Identity => "identity",
            Self::Blocked => "blocked",
        }
    }
}

/// What a model takes and gives, from its parameters.
pub struct ModelTraits {
    /// Channels, height and width of the images it takes, or what is wrong with the values.
    pub input: FromValues<Result<[usize; 3], String>>,
    /// How many logits it gives, or what is wrong with the values.
    pub classes: FromValues<Result<usize, String>>,
    /// Whether it has gradients.
    pub differentiable: bool,
    /// Whether it draws random numbers, afresh for every image sent through it.
    pub randomised: FromValues<bool>,
}

/// The shapes and files of a dataset, from its parameters.
pub struct DatasetTraits {
    /// Channels, height and width of its images.
    pub shape: fn(&Values) -> [usize; 3],
    /// How many classes its labels have.
    pub classes: fn(&Values) -> usize,
    /// How many images it has, where the parameters alone tell.
    pub samples: fn(&Values) -> Option<usize>,
    /// The files that it reads, relative to the data directory.
    pub files: fn(&Values) -> Vec<RequiredFile>,
}

/// A file that a dataset reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredFile {
    /// Paths relative to the data directory, in order of preference (plain before compressed, say).
    pub candidates: Vec<String>,
    /// MD5 of the unpacked content as 32 hexadecimal digits, where it is known.
    pub md5: Option<&'static str>,
    /// Where people get the file, in words.
    pub origin: &'static str,
}
