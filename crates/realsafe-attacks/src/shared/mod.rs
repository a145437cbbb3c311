//! What several attacks have in common.

pub(crate) mod ascent;
pub(crate) mod bumps;
pub(crate) mod fab;
mod hyperplane;
