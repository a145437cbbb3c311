//! What several attacks have in common.

pub(crate) mod apgd;
pub(crate) mod ascent;
