//! What several attacks have in common.

pub(crate) mod adam;
pub(crate) mod apgd;
pub(crate) mod ascent;
pub(crate) mod bumps;
pub(crate) mod diversity;
pub(crate) mod fab;
pub(crate) mod finite_differences;
pub(crate) mod grid;
mod hyperplane;
pub(crate) mod momentum;
pub(crate) mod nearest;
pub(crate) mod noise;
pub(crate) mod population;
pub(crate) mod separable;
pub(crate) mod squash;
pub(crate) mod starts;
pub(crate) mod walk;
