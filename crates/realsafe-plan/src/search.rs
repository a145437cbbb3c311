//! Searches for the smallest radius at which an attack of fixed radius still succeeds, sample by sample.

use crate::Number;

/// Which radii are tried. What comes out is the lower envelope over all that were: a sample counts as broken at every
/// radius from the smallest success on.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// The radii of the threat model, from the largest down: what each breaks needs no more than the next smaller ones.
    List(Vec<Number>),
    /// Doubling a radius until it is enough, then halving the gap.
    Exponential {
        /// The first radius.
        start: Number,
        /// How often it is doubled at most.
        doublings: u32,
        /// How often the gap between failure and success is halved.
        bisections: u32,
    },
    /// Evenly spaced radii upwards until one is enough, then halving the gap: for attacks that a larger radius may weaken.
    Linear {
        /// The largest radius.
        largest: Number,
        /// How many radii there are.
        points: u32,
        /// How often the gap between failure and success is halved.
        bisections: u32,
    },
}

impl Search {
    /// The largest radius that is tried: how robust a sample is beyond it stays open.
    pub fn largest(&self) -> f64 {
        match self {
            Self::List(radii) => radii.iter().map(Number::value).fold(0.0, f64::max),
            Self::Exponential { start, doublings, .. } => start.value() * f64::from(*doublings).exp2(),
            Self::Linear { largest, .. } => largest.value(),
        }
    }

    /// How often an attack is run on a sample at most.
    pub fn runs(&self) -> u64 {
        match self {
            Self::List(radii) => radii.len() as u64,
            Self::Exponential { doublings, bisections, .. } => 1 + u64::from(*doublings) + u64::from(*bisections),
            Self::Linear { points, bisections, .. } => u64::from(*points) + u64::from(*bisections),
        }
    }
}
