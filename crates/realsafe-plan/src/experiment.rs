//! What a spec says, checked and complete: everything by value, every default expanded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cell::{is_randomised, stack_name};
use crate::{
    AttackChoice, Chosen, Figure, Goal, GradientMode, Member, Norm, Number, Place, Search, StackLayer, TargetRule, Unit,
};

/// An experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// Its name: kebab case, unique in a run.
    pub id: String,
    /// What it is about, in words; may be empty.
    pub title: String,
    /// The paper that it belongs to.
    pub paper: Option<String>,
    /// The file that it was read from.
    pub source: PathBuf,
    /// The images.
    pub data: Arc<Chosen>,
    /// Which images, as indices into the dataset, ascending.
    pub samples: Vec<u32>,
    /// Channels, height and width of the images.
    pub shape: [usize; 3],
    /// How many classes there are.
    pub classes: usize,
    /// The networks.
    pub models: Vec<Arc<Chosen>>,
    /// The defenses that stacks are made of, with the gradient that attackers see by default.
    pub defenses: Vec<StackLayer>,
    /// What stands in front of the models.
    pub stacks: Vec<Stack>,
    /// The attacks.
    pub attacks: Vec<AttackSpec>,
    /// The threat models.
    pub threats: Vec<ThreatSpec>,
    /// The seeds; every cell is run with each.
    pub seeds: Vec<u64>,
    /// How many draws of a randomised victim verdicts are the mean of.
    pub draws: u32,
    /// How many samples a cell has at most.
    pub chunk: u32,
    /// The device that the spec asks for.
    pub device: Option<String>,
    /// What is expected of the results.
    pub expectations: Vec<Expectation>,
    /// Which curves are drawn.
    pub figures: Vec<Figure>,
    pub(crate) only: Vec<Filter>,
    pub(crate) skip: Vec<Filter>,
    pub(crate) combinations: Vec<Combination>,
    pub(crate) place: Place,
}

impl Experiment {
    /// How many draws verdicts on a model behind a stack are the mean of; none where neither draws random numbers.
    pub fn draws_of(&self, model: &Chosen, stack: &[StackLayer]) -> Option<u32> {
        is_randomised(model, stack).then_some(self.draws)
    }

    /// Whether a victim of any combination draws random numbers.
    pub(crate) fn has_randomised_victims(&self) -> bool {
        let victims = self.combinations.iter().map(|one| (&self.models[one.model], &self.stacks[one.stack]));
        victims.into_iter().any(|(model, stack)| self.draws_of(model, &stack.layers).is_some())
    }
}

/// Defenses in a row, outermost first; none for the bare model.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// The defenses, with the gradient that attackers see by default.
    pub layers: Vec<StackLayer>,
}

impl Stack {
    /// The ids of the defenses joined by `+`, or `none`.
    pub fn name(&self) -> String {
        stack_name(&self.layers)
    }
}

/// An attack as a spec gives it.
#[derive(Clone, Debug)]
pub struct AttackSpec {
    /// The attack and what surrounds it, but for members and search, which depend on the threat model.
    pub choice: AttackChoice,
    /// How the smallest radius is looked for, if it is.
    pub search: Option<SearchSpec>,
    /// Where the spec says which images decide, if it does; otherwise the last ones do for randomised victims.
    pub(crate) asked_success: Option<Place>,
    /// The attacks of a chain in each norm; empty for a single attack.
    pub members: BTreeMap<Norm, Vec<Member>>,
    /// The ids of the threat models in which it runs.
    pub threats: Vec<String>,
    /// The gradients that it sees of some defenses, by their id, instead of the defense's own default.
    pub gradients: BTreeMap<String, GradientMode>,
}

impl AttackSpec {
    /// The attack as it is run in a threat model.
    pub(crate) fn choice_in(&self, threat: &ThreatSpec) -> AttackChoice {
        let members = self.members.get(&threat.norm).cloned().unwrap_or_default();
        let search = self.search.as_ref().map(|search| search.in_threat(threat));
        AttackChoice { members, search, ..self.choice.clone() }
    }

    /// The largest radius in a threat model up to which it tells every sample's smallest; none where it runs at the listed
    /// radii, one by one.
    pub(crate) fn reach(&self, threat: &ThreatSpec) -> Option<f64> {
        match &self.search {
            Some(search) => Some(search.in_threat(threat).largest()),
            None => self.minimises_distance().then_some(f64::INFINITY),
        }
    }

    /// Whether the attack looks for the smallest distance, and so runs once for all eps, as certificates do.
    pub fn minimises_distance(&self) -> bool {
        let traits = self.choice.chosen.component.attack();
        self.is_certificate() || self.search.is_some() || traits.is_some_and(|traits| traits.minimises_distance)
    }

    /// Whether the victim is asked for proofs instead of being attacked.
    pub fn is_certificate(&self) -> bool {
        self.choice.chosen.component.is_certificate()
    }
}

/// A search as a spec gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchSpec {
    /// Through the radii of each threat model.
    Listed,
    /// With radii of its own, the same in all threat models.
    Fixed(Search),
}

impl SearchSpec {
    /// The radius that the spec names for it, if it does.
    pub const fn named_radius(&self) -> Option<&Number> {
        match self {
            Self::Fixed(Search::Exponential { start: radius, .. } | Search::Linear { largest: radius, .. }) => {
                Some(radius)
            }
            Self::Listed | Self::Fixed(Search::List(_)) => None,
        }
    }

    /// The search in a threat model.
    fn in_threat(&self, threat: &ThreatSpec) -> Search {
        match self {
            Self::Listed => {
                let mut radii = threat.eps.clone();
                radii.sort_by(|a, b| a.value().total_cmp(&b.value()));
                Search::List(radii)
            }
            Self::Fixed(search) => search.clone(),
        }
    }
}

/// A threat model with all its radii.
#[derive(Clone, Debug)]
pub struct ThreatSpec {
    /// Its name.
    pub id: String,
    /// The norm.
    pub norm: Norm,
    /// What its radii are written in.
    pub unit: Unit,
    /// The radii, their values in the norm (plain Euclidean for l2), their spelling in the unit; may be empty when no attack
    /// needs one.
    pub eps: Vec<Number>,
    /// The goal.
    pub goal: Goal,
    /// How targets are chosen, where the goal has one.
    pub target: Option<TargetRule>,
}

/// A combination that is run, as indices into the lists of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Combination {
    pub(crate) model: usize,
    pub(crate) stack: usize,
    pub(crate) attack: usize,
    pub(crate) threat: usize,
}

/// Combinations by name; an empty list means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) model: Vec<String>,
    pub(crate) stack: Vec<String>,
    pub(crate) attack: Vec<String>,
    pub(crate) threat: Vec<String>,
}

impl Filter {
    /// Whether it covers a combination.
    pub(crate) fn covers(&self, model: &str, stack: &str, attack: &str, threat: &str) -> bool {
        let covers = |names: &[String], name: &str| names.is_empty() || names.iter().any(|other| other == name);
        covers(&self.model, model)
            && covers(&self.stack, stack)
            && covers(&self.attack, attack)
            && covers(&self.threat, threat)
    }
}

/// What a paper says, or what should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// What it is about.
    pub selector: Selector,
    /// The quantity.
    pub metric: Metric,
    /// What is said about it.
    pub claim: Claim,
    /// Where it is said.
    pub source: Option<String>,
}

/// Cells by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    /// The id of the model.
    pub model: String,
    /// The name of the stack.
    pub stack: String,
    /// The attack, or what stands for it.
    pub attack: Aim,
    /// The id of the threat model; none for clean accuracy.
    pub threat: Option<String>,
    /// The radius; none for clean accuracy and distances, and for orderings that hold at all radii.
    pub eps: Option<Number>,
    /// The seed; none for the mean over all.
    pub seed: Option<u64>,
}

/// What is measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The attack of that id.
    Attack(String),
    /// The union of all attacks, sample by sample.
    WorstCase,
    /// Nothing: clean images.
    Clean,
}

impl Aim {
    /// The word that specs and reports use.
    pub fn name(&self) -> &str {
        match self {
            Self::Attack(id) => id,
            Self::WorstCase => "worst-case",
            Self::Clean => "clean",
        }
    }
}

/// A quantity that a spec can expect something of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// The share of all samples that are classified correctly and stay so.
    RobustAccuracy,
    /// The share of all samples whose clean image is classified correctly.
    CleanAccuracy,
    /// The share of initially correct samples that are broken.
    SuccessRate,
    /// The share of all samples that are proven to be classified correctly, whatever the attacker does.
    CertifiedAccuracy,
    /// The median distance of the adversarials; of certificates, the median radius.
    MedianDistance,
    /// The mean number of queries, of all samples.
    MeanQueries,
    /// The mean number of queries, of the initially correct samples that are broken.
    MeanQueriesOfSuccesses,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 7] = [
        Self::RobustAccuracy,
        Self::CleanAccuracy,
        Self::SuccessRate,
        Self::CertifiedAccuracy,
        Self::MedianDistance,
        Self::MeanQueries,
        Self::MeanQueriesOfSuccesses,
    ];

    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RobustAccuracy => "robust-accuracy",
            Self::CleanAccuracy => "clean-accuracy",
            Self::SuccessRate => "success-rate",
            Self::CertifiedAccuracy => "certified-accuracy",
            Self::MedianDistance => "median-distance",
            Self::MeanQueries => "mean-queries",
            Self::MeanQueriesOfSuccesses => "mean-queries-of-successes",
        }
    }

    /// Whether it is a share of the samples.
    pub const fn is_rate(self) -> bool {
        matches!(self, Self::RobustAccuracy | Self::CleanAccuracy | Self::SuccessRate | Self::CertifiedAccuracy)
    }
}

/// What is said about a quantity.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is this, give or take.
    Value {
        /// The value.
        value: f64,
        /// The largest difference that still agrees.
        tolerance: f64,
        /// How many samples the published value was measured on.
        samples: Option<u64>,
    },
    /// It is larger or smaller than another one.
    Order {
        /// Which of both.
        relation: Relation,
        /// The other one.
        other: Selector,
        /// The radius from which on it holds; none for all.
        from_eps: Option<Number>,
        /// What the other one is multiplied by; 1 for rates.
        factor: f64,
        /// By how much it must be larger or smaller.
        margin: f64,
    },
}

/// How two quantities compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The first is larger.
    Above,
    /// The first is smaller.
    Below,
}

impl Relation {
    /// The word that specs and reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::Below => "below",
        }
    }
}

/// A training run.
#[derive(Clone, Debug)]
pub struct TrainingSpec {
    /// Its name: kebab case.
    pub id: String,
    /// What it is about, in words; may be empty.
    pub title: String,
    /// The file that it was read from.
    pub source: PathBuf,
    /// The seed of every random stream.
    pub seed: u64,
    /// The images.
    pub data: Arc<Chosen>,
    /// Which images, as indices into the dataset, ascending.
    pub samples: Vec<u32>,
    /// Channels, height and width of the images.
    pub shape: [usize; 3],
    /// How many classes there are.
    pub classes: usize,
    /// The defenses in front of the network, outermost first, with the gradients that adversarial recipes see.
    pub defenses: Vec<StackLayer>,
    /// The network; where it has weights, training goes on from them.
    pub model: Arc<Chosen>,
    /// Static networks whose adversarial images the recipe trains on, for the recipes that need them.
    pub sources: Vec<Arc<Chosen>>,
    /// How it is trained.
    pub recipe: Chosen,
    /// The device that the spec asks for.
    pub device: Option<String>,
}
