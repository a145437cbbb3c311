//! What several attacks have in common.

pub(crate) mod ascent;
pub(crate) mod starts;
pub(crate) mod walk;
