//! Descriptions of components: one constant table per attack, defense, model, dataset or training recipe.
//!
//! The table feeds `check`, `list`, `explain`, the editor schema, the resolved spec and the cell key alike.

use std::collections::BTreeMap;

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
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::Attack, Self::Defense, Self::Model, Self::Dataset, Self::Recipe];

    /// The word that specs and messages use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Defense => "defense",
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Recipe => "recipe",
        }
    }
}

/// A component as everything but its own code sees it.
#[derive(Debug)]
pub struct Component {
    /// The name that `use` takes, in kebab case.
    pub id: &'static str,
    /// Raised by hand whenever the component's numbers may change; part of every cell key.
    pub revision: u32,
    /// The text of the source file; its `//!` header is the component's manual.
    pub source: &'static str,
    /// Everything that can be set, in the order of the manual.
    pub parameters: &'static [Parameter],
    /// Keys of an example table, as TOML without `use`; a test parses, builds and runs it.
    pub example: &'static str,
    /// What is particular to the kind.
    pub traits: Traits,
}

impl Component {
    /// The kind of the component.
    pub const fn kind(&self) -> Kind {
        match self.traits {
            Traits::Attack(_) => Kind::Attack,
            Traits::Defense(_) => Kind::Defense,
            Traits::Model(_) => Kind::Model,
            Traits::Dataset(_) => Kind::Dataset,
            Traits::Recipe => Kind::Recipe,
        }
    }

    /// The manual: the lines of the `//!` header of [`Component::source`], as Markdown.
    pub fn manual(&self) -> String {
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

    /// What is particular to datasets.
    pub const fn dataset(&self) -> Option<&DatasetTraits> {
        match &self.traits {
            Traits::Dataset(traits) => Some(traits),
            _ => None,
        }
    }
}

/// What is particular to a kind of component.
#[derive(Debug)]
pub enum Traits {
    /// See [`AttackTraits`].
    Attack(AttackTraits),
    /// See [`DefenseTraits`].
    Defense(DefenseTraits),
    /// See [`ModelTraits`].
    Model(ModelTraits),
    /// See [`DatasetTraits`].
    Dataset(DatasetTraits),
    /// A training recipe has nothing beside its parameters.
    Recipe,
}

/// What an attack needs, supports and costs.
#[derive(Debug)]
pub struct AttackTraits {
    /// The door it goes through.
    pub access: Access,
    /// The norms in which it works.
    pub norms: &'static [Norm],
    /// The goals that it can pursue.
    pub goals: &'static [Goal],
    /// Whether it looks for the smallest distance: then it runs once, whatever the list of eps.
    pub minimises_distance: bool,
    /// The most that one sample can cost in one run; the plan multiplies it by the restarts of the spec.
    pub cost: fn(&Values) -> Cost,
}

/// What an attack may ask of the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
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
}

/// The gradient of a defense, as an attacker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GradientMode {
    /// The derivative of what the forward pass computes.
    Exact,
    /// The identity: backward pass differentiable approximation (BPDA).
    Identity,
    /// None: the attacker gets zeros.
    Blocked,
}

impl GradientMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Identity, Self::Blocked];

    /// The word that specs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Identity => "identity",
            Self::Blocked => "blocked",
        }
    }
}

/// The shapes of a model, from its parameters.
#[derive(Debug)]
pub struct ModelTraits {
    /// Channels, height and width of the images it takes.
    pub input: fn(&Values) -> [usize; 3],
    /// How many logits it gives.
    pub classes: fn(&Values) -> usize,
}

/// The shapes and files of a dataset, from its parameters.
#[derive(Debug)]
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
}

impl Catalogue {
    /// Collects components.
    ///
    /// # Errors
    /// Names the first component whose kind and name another one already has.
    pub fn new(components: impl IntoIterator<Item = &'static Component>) -> Result<Self, String> {
        let mut catalogue = Self::default();
        for component in components {
            let kind = component.kind();
            if catalogue.components.insert((kind, component.id), component).is_some() {
                return Err(format!("two {kind}s are named `{id}`", kind = kind.name(), id = component.id));
            }
        }
        Ok(catalogue)
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
