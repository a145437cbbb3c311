//! What several attacks have in common.

pub(crate) mod ascent;
