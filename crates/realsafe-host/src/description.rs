//! What a plugin says about itself.

use serde::{Deserialize, Serialize};

/// A plugin, as its table describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The name, in kebab case.
    pub name: String,
    /// The version, in words.
    pub version: String,
    /// The licence, as an SPDX expression.
    pub licence: String,
    /// What it is, in a sentence.
    pub documentation: String,
    /// Where to read more; empty where it says nothing.
    pub homepage: String,
    /// The minor version of the ABI that it was built with.
    pub minor: u32,
    /// The components of known kinds, in the order of the table.
    pub components: Vec<Component>,
    /// What was passed over while the table was read.
    pub warnings: Vec<String>,
}

/// A component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// The name that `use` takes, in kebab case.
    pub id: String,
    /// Raised whenever its numbers may change.
    pub revision: u32,
    /// The manual, in Markdown.
    pub documentation: String,
    /// Keys of an example table, as TOML.
    pub example: String,
    /// Everything that can be set.
    pub parameters: Vec<Parameter>,
    /// Its kind, and what it says about its interface.
    pub interface: Interface,
}

impl Component {
    /// The first paragraph of the documentation, on one line.
    pub fn summary(&self) -> String {
        let paragraph = self.documentation.trim().split("\n\n").next().unwrap_or_default();
        paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a component says about its interface, by kind. Numbers are those of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interface {
    /// It looks for adversarial examples.
    Attack(Attack),
    /// It stands in front of a model.
    Defense(Defense),
    /// It maps images to logits.
    Model(Model),
    /// Attacks raise it.
    Loss,
}

impl Interface {
    /// The kind in words: `attack`, `defense`, `model` or `loss`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Attack(_) => "attack",
            Self::Defense(_) => "defense",
            Self::Model(_) => "model",
            Self::Loss => "loss",
        }
    }
}

/// What an attack says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    /// One of `REALSAFE_ACCESS_...`.
    pub access: u32,
    /// Whether it uses surrogates.
    pub surrogates: bool,
    /// The norms in which it works, as bits; at least one that is known, and no unknown ones.
    pub norms: u32,
    /// The goals that it can pursue, as bits; at least one that is known, and no unknown ones.
    pub goals: u32,
    /// Whether it looks for the smallest distance and ignores eps.
    pub minimises_distance: bool,
}

/// What a defense says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defense {
    /// The gradient that attackers are given by default, one of `REALSAFE_GRADIENT_...`.
    pub gradient: u32,
    /// Whether it has a vector-Jacobian product of its own.
    pub pull: bool,
}

/// What a model says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Whether it has a vector-Jacobian product.
    pub pull: bool,
}

/// A parameter of a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its key in specs, in kebab case.
    pub name: String,
    /// What values it takes.
    pub kind: ParameterKind,
    /// Its unit in words; empty where there is none.
    pub unit: String,
    /// What it does, in a sentence.
    pub documentation: String,
    /// What it is when a spec does not set it.
    pub fallback: Fallback,
    /// The least value of a count or number, or of each number of a list.
    pub minimum: f64,
    /// The most.
    pub maximum: f64,
    /// The words of a choice.
    pub choices: Vec<String>,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterKind {
    /// True or false.
    Flag,
    /// A whole number.
    Count,
    /// A number.
    Number,
    /// A list of numbers.
    Numbers,
    /// One of several words.
    Choice,
    /// Any text.
    Text,
    /// A file, whose content the host reads.
    File,
    /// A loss of the catalogue.
    Loss,
}

/// What a parameter is when a spec does not set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fallback {
    /// The spec must set it.
    Required,
    /// It stays unset.
    Unset,
    /// The default as a spec would write it, without quotes.
    Default(String),
}
