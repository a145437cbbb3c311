//! The host side of plugins: reading their tables, loading them, trusting them, and calling them, in this process or in
//! a worker process. No burn, so that the crate builds in seconds and can be run under valgrind.
//!
//! What a plugin may ask of its host is the trait [`Callbacks`]; a component's instance is the same to its user whether it
//! lives in this process or in another one.

mod callbacks;
mod failure;
mod problem;

pub use callbacks::{Callbacks, NoCallbacks};
pub use failure::{Failure, FailureKind};
pub use problem::{Argument, BatchView, Plan, Problem, Shape, Work};
