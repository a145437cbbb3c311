//! Rows of tables: what they are about, and what is said of that.

use serde::Serialize;

/// What a row is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct About {
    /// The experiment.
    pub experiment: String,
    /// The model.
    pub model: String,
    /// The defense stack, or `none`.
    pub defense: String,
    /// The attack, or `worst-case`.
    pub attack: String,
    /// The threat model.
    pub threat: String,
    /// Its norm, as the spec has it: `l2-rms` stands for radii and distances in that unit.
    pub norm: String,
    /// Its goal.
    pub goal: String,
    /// Its radius, as the spec spells it; empty where smallest distances are all there is.
    pub eps: String,
}

impl About {
    /// Whether both are about the same defended model.
    pub(crate) fn same_victim(&self, other: &Self) -> bool {
        (&self.model, &self.defense) == (&other.model, &other.defense)
    }

    /// Whether both are about the same defended model in the same threat model at the same radius.
    pub(crate) fn same_row(&self, other: &Self) -> bool {
        self.same_victim(other) && (&self.threat, &self.eps) == (&other.threat, &other.eps)
    }
}

/// A row of a table. In CSV, the columns of what it is about come first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row<T> {
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
    /// What is said.
    #[serde(flatten)]
    pub values: T,
}
