//! Figures: which curves of `curves.csv` are drawn, and how they are spread over panels and lines.

use crate::Number;
use crate::experiment::Filter;

/// Curves that are drawn together. What neither panels nor lines tell apart gets an image of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name: kebab case, unique in an experiment.
    pub id: String,
    /// What it shows, in words; may be empty.
    pub title: String,
    /// What robust accuracy is drawn against.
    pub axis: CurveAxis,
    /// Whether that is on a logarithmic scale.
    pub logarithmic: bool,
    /// What has a panel each.
    pub panels: Vec<Facet>,
    /// What has a line each.
    pub series: Vec<Facet>,
    /// The radii of curves against queries and iterations; empty for all.
    pub eps: Vec<Number>,
    pub(crate) filter: Filter,
}

impl Figure {
    /// Whether curves of this model, stack, attack and threat model belong to it.
    pub fn covers(&self, model: &str, stack: &str, attack: &str, threat: &str) -> bool {
        self.filter.covers(model, stack, attack, threat)
    }

    /// What tells its curves apart.
    pub fn facets(&self) -> &'static [Facet] {
        if self.axis == CurveAxis::Eps { &Facet::ALL[..4] } else { &Facet::ALL }
    }

    /// The figures of a spec that names none: one per axis that has curves, at the middle radius of each list.
    pub(crate) fn defaults(axes: impl IntoIterator<Item = CurveAxis>, middle: &[Number]) -> Vec<Self> {
        let figure = |axis: CurveAxis| Self {
            id: axis.name().to_owned(),
            title: String::new(),
            axis,
            logarithmic: false,
            panels: Self::PANELS.to_vec(),
            series: Self::SERIES.to_vec(),
            eps: if axis == CurveAxis::Eps { Vec::new() } else { middle.to_vec() },
            filter: Filter::default(),
        };
        axes.into_iter().map(figure).collect()
    }

    /// What has a panel each, unless a spec says otherwise.
    pub(crate) const PANELS: [Facet; 2] = [Facet::Model, Facet::Stack];
    /// What has a line each, unless a spec says otherwise.
    pub(crate) const SERIES: [Facet; 1] = [Facet::Attack];
}

/// What a curve is drawn against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CurveAxis {
    /// The radius of the threat model.
    Eps,
    /// Images sent to the defended system.
    Queries,
    /// Recorded steps of the attack.
    Iterations,
}

impl CurveAxis {
    /// Every axis.
    pub const ALL: [Self; 3] = [Self::Eps, Self::Queries, Self::Iterations];

    /// The word that specs and `curves.csv` use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eps => "eps",
            Self::Queries => "queries",
            Self::Iterations => "iterations",
        }
    }
}

/// What tells curves apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facet {
    /// The model.
    Model,
    /// The defense stack.
    Stack,
    /// The attack.
    Attack,
    /// The threat model.
    Threat,
    /// The radius, unless it is the axis.
    Eps,
}

impl Facet {
    /// Every facet; the radius, which is not always one, comes last.
    pub const ALL: [Self; 5] = [Self::Model, Self::Stack, Self::Attack, Self::Threat, Self::Eps];

    /// The word that specs use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Stack => "stack",
            Self::Attack => "attack",
            Self::Threat => "threat",
            Self::Eps => "eps",
        }
    }
}
