//! Descriptions of components: one constant table per attack, defense, model, dataset or training recipe.
//!
//! The table feeds `check`, `list`, `explain`, the editor schema, the resolved spec and the cell key alike.

use std::collections::BTreeMap;
use std::fmt;

use crate::{Goal, Norm, Values};

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Looks for adversarial examples.
    Attack,
    /// Stands in front of a model.
    Defense,
    /// Maps images to logits.
    Model,
    /// Provides images and labels.
    Dataset,
    /// Trains a model.
    Recipe,
    /// What attacks raise.
    Loss,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::Attack, Self::Defense, Self::Model, Self::Dataset, Self::Recipe, Self::Loss];

    /// The word that specs and messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Defense => "defense",
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Recipe => "recipe",
            Self::Loss => "loss",
        }
    }
}

/// Something that a component derives from the values of its parameters.
pub type FromValues<T> = &'static (dyn Fn(&Values) -> T + Send + Sync);

/// Where a component comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A crate that is linked into the program, by its name.
    Crate(&'static str),
    /// A plugin.
    Plugin {
        /// Its name.
        name: &'static str,
        /// Its version.
        version: &'static str,
        /// BLAKE3 of its file, hexadecimal; none where it is linked into the program.
        blake3: Option<&'static str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crate(name) => write!(formatter, "the crate `{name}`"),
            Self::Plugin { name, version, blake3: None } => {
                write!(formatter, "the plugin `{name}` {version}, linked into the program")
            }
            Self::Plugin { name, version, blake3: Some(blake3) } => {
                write!(formatter, "the plugin `{name}` {version} ({})", blake3.get(..16).unwrap_or(blake3))
            }
        }
    }
}

/// A component as everything but its own code sees it.
pub struct Component {
    /// The name that `use` takes, in kebab case.
    pub id: &'static str,
    /// Raised by hand whenever the component's numbers may change; part of every cell key.
    pub revision: u32,
    /// Where it comes from.
    pub origin: Origin,
    /// The text of the source file, whose `//!` header is the component's manual; or the manual itself.
    pub source: &'static str,
    /// Everything that can be set, in the order of the manual.
    pub parameters: &'static [Parameter],
    /// Keys of an example table, as TOML without `use`; a test parses, builds and runs it.
    pub example: &'static str,
    /// What is particular to the kind.
    pub traits: Traits,
}

/// Components are what they are by their place in memory: a program has each of them once.
impl PartialEq for Component {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}` from {}", self.kind().name(), self.id, self.origin)
    }
}

impl Component {
    /// The kind of the component.
    pub const fn kind(&self) -> Kind {
        match self.traits {
            Traits::Attack(_) | Traits::Chain(_) | Traits::Certificate(_) => Kind::Attack,
            Traits::Defense(_) => Kind::Defense,
            Traits::Model(_) => Kind::Model,
            Traits::Dataset(_) => Kind::Dataset,
            Traits::Recipe | Traits::RecipeWithSources => Kind::Recipe,
            Traits::Loss(_) => Kind::Loss,
        }
    }

    /// The manual, as Markdown.
    pub fn manual(&self) -> String {
        if !self.source.starts_with("//!") {
            return self.source.to_owned();
        }
        let header = self.source.lines().take_while(|line| line.starts_with("//!"));
        let lines: Vec<&str> = header.map(|line| line[3..].strip_prefix(' ').unwrap_or(&line[3..])).collect();
        lines.join("\n")
    }

    /// The first sentence of the manual, for lists.
    pub fn summary(&self) -> String {
        let manual = self.manual();
        let paragraph = manual.split("\n\n").next().unwrap_or_default().replace('\n', " ");
        paragraph.trim_end_matches('.').to_owned()
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// What is particular to attacks.
    pub const fn attack(&self) -> Option<&AttackTraits> {
        match &self.traits {
            Traits::Attack(traits) => Some(traits),
            _ => None,
        }
    }

    /// What is particular to chains of attacks.
    pub const fn chain(&self) -> Option<&ChainTraits> {
        match &self.traits {
            Traits::Chain(traits) => Some(traits),
            _ => None,
        }
    }

    /// Whether it asks the victim for proofs instead of attacking it.
    pub const fn is_certificate(&self) -> bool {
        matches!(self.traits, Traits::Certificate(_))
    }

    /// The norms and goals of an attack, a chain of attacks or a certificate.
    pub const fn threats(&self) -> Option<(&'static [Norm], &'static [Goal])> {
        match &self.traits {
            Traits::Attack(AttackTraits { norms, goals, .. })
            | Traits::Chain(ChainTraits { norms, goals, .. })
            | Traits::Certificate(CertificateTraits { norms, goals }) => Some((norms, goals)),
            _ => None,
        }
    }

    /// What is particular to defenses.
    pub const fn defense(&self) -> Option<&DefenseTraits> {
        match &self.traits {
            Traits::Defense(traits) => Some(traits),
            _ => None,
        }
    }

    /// What is particular to models.
    pub const fn model(&self) -> Option<&ModelTraits> {
        match &self.traits {
            Traits::Model(traits) => Some(traits),
            _ => None,
        }
    }

    /// What is particular to losses.
    pub const fn loss(&self) -> Option<&LossTraits> {
        match &self.traits {
            Traits::Loss(traits) => Some(traits),
            _ => None,
        }
    }

    /// What is particular to datasets.
    pub const fn dataset(&self) -> Option<&DatasetTraits> {
        match &self.traits {
            Traits::Dataset(traits) => Some(traits),
            _ => None,
        }
    }
}

/// What is particular to a kind of component.
pub enum Traits {
    /// See [`AttackTraits`].
    Attack(AttackTraits),
    /// See [`ChainTraits`].
    Chain(ChainTraits),
    /// See [`CertificateTraits`].
    Certificate(CertificateTraits),
    /// See [`DefenseTraits`].
    Defense(DefenseTraits),
    /// See [`ModelTraits`].
    Model(ModelTraits),
    /// See [`DatasetTraits`].
    Dataset(DatasetTraits),
    /// A training recipe has nothing beside its parameters.
    Recipe,
    /// A training recipe that needs static networks beside the one that it trains: `[[source]]`.
    RecipeWithSources,
    /// See [`LossTraits`].
    Loss(LossTraits),
}

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
    /// attack can vary the codes ([`VARIABLES`]).
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

/// What an attack varies, for those that leave the choice.
pub const VARIABLES: Parameter = Parameter {
    name: "variables",
    kind: ParameterKind::Choice(&["pixels", "codes"]),
    unit: "",
    fallback: Fallback::Value("pixels"),
    documentation: "What is varied: pixels, or the codes of the outermost defense, which must be one that projects",
};

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

/// A parameter of a component.
#[derive(Debug)]
pub struct Parameter {
    /// Its key in the component's table, in kebab case.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParameterKind,
    /// Its unit in words; empty where there is none.
    pub unit: &'static str,
    /// What it is when the spec says nothing.
    pub fallback: Fallback,
    /// What it does, in a sentence.
    pub documentation: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParameterKind {
    /// `true` or `false`.
    Flag,
    /// A whole number in this closed range.
    Count {
        /// The least.
        minimum: u64,
        /// The most.
        maximum: u64,
    },
    /// A float, an integer or a string such as `"8/255"`, in this closed range.
    Number {
        /// The least.
        minimum: f64,
        /// The most.
        maximum: f64,
    },
    /// A list of numbers, each in this closed range.
    Numbers {
        /// The least.
        minimum: f64,
        /// The most.
        maximum: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A file: relative to the data directory, or `builtin:NAME` for one that the program carries. Its digest goes into
    /// the key.
    File,
    /// A loss of the catalogue: its name, or a table with `use` and its parameters.
    Loss,
    /// A dataset of the catalogue, likewise. Its files go into the key.
    Dataset,
    /// At least two models: ids of other models of the spec, or tables with `use` and its parameters. Their files go into
    /// the key.
    Models,
}

impl ParameterKind {
    /// The kind of the component that it takes, if it takes one.
    pub(crate) const fn component(self) -> Option<Kind> {
        match self {
            Self::Loss => Some(Kind::Loss),
            Self::Dataset => Some(Kind::Dataset),
            _ => None,
        }
    }
}

/// What a parameter is when the spec says nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fallback {
    /// The spec must say it.
    Required,
    /// It stays unset.
    Unset,
    /// This value, written as in a spec: `"40"`, `"8/255"`, `"true"`, `"cube"`, `"0.5, 0.5"`.
    Value(&'static str),
}

/// All components that a program knows, by kind and name.
#[derive(Default)]
pub struct Catalogue {
    components: BTreeMap<(Kind, &'static str), &'static Component>,
    offers: BTreeMap<(Kind, String), String>,
}

impl Catalogue {
    /// Collects components.
    ///
    /// # Errors
    /// Names the first component whose kind and name another one already has, and where both come from.
    pub fn new(components: impl IntoIterator<Item = &'static Component>) -> Result<Self, String> {
        let mut catalogue = Self::default();
        for component in components {
            let (kind, id) = (component.kind(), component.id);
            if let Some(other) = catalogue.components.insert((kind, id), component) {
                let (kind, first, second) = (kind.name(), other.origin, component.origin);
                return Err(format!("the {kind} `{id}` is there twice: from {first} and from {second}"));
            }
        }
        Ok(catalogue)
    }

    /// Notes that something else has a component, and what to do to get it.
    pub fn offer(&mut self, kind: Kind, id: &str, way: impl Into<String>) {
        self.offers.insert((kind, id.to_owned()), way.into());
    }

    /// What to do to get a component that is not there.
    pub(crate) fn offered(&self, kind: Kind, id: &str) -> Option<String> {
        self.offers.get(&(kind, id.to_owned())).cloned()
    }

    /// The component of that kind and name.
    pub fn get(&self, kind: Kind, id: &str) -> Option<&'static Component> {
        self.of_kind(kind).find(|component| component.id == id)
    }

    /// The components of a kind, sorted by name.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &'static Component> {
        self.components.iter().filter(move |((other, _), _)| *other == kind).map(|(_, component)| *component)
    }

    /// All components, sorted by kind and name.
    pub fn iter(&self) -> impl Iterator<Item = &'static Component> {
        self.components.values().copied()
    }
}
