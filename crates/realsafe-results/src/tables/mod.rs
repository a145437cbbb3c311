//! Tidy CSV: pure functions of plan and store, one observation per row, no clock and no host.

pub(crate) mod curves;
pub(crate) mod entry;
pub(crate) mod expectations;
pub(crate) mod gate;
pub(crate) mod group;
pub(crate) mod judged;
pub(crate) mod members;
pub(crate) mod optimality;
pub(crate) mod rate;
pub(crate) mod rejections;
pub(crate) mod row;
pub(crate) mod samples;
pub(crate) mod summary;
pub(crate) mod timings;
