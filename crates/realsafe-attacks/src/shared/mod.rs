//! What several attacks have in common.

pub(crate) mod ascent;
pub(crate) mod diversity;
pub(crate) mod momentum;
pub(crate) mod separable;
