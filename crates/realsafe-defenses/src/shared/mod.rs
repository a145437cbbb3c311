//! What several defenses are made of.

pub(crate) mod discretization;
pub(crate) mod resampling;
pub(crate) mod standardisation;

#[cfg(test)]
pub(crate) mod reference;
