//! What several attacks have in common.

pub(crate) mod ascent;
pub(crate) mod finite_differences;
pub(crate) mod grid;
