//! Descriptions of components: one constant table per attack, defense, model, dataset or training recipe.
//!
//! The table feeds `check`, `list`, `explain`, the editor schema, the resolved spec and the cell key alike.

use std::fmt;

use crate::{
    AttackTraits, CertificateTraits, ChainTraits, DatasetTraits, DefenseTraits, Goal, LossTraits, ModelTraits, Norm,
};

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

/// What an attack varies, for those that leave the choice.
pub const VARIABLES: Parameter = Parameter {
    name: "variables",
    kind: ParameterKind::Choice(&["pixels", "codes"]),
    unit: "",
    fallback: Fallback::Value("pixels"),
    documentation: "What is varied: pixels, or the codes of the outermost defense, which must be one that projects",
};
