//! The host side of plugins: reading their tables, loading them, trusting them, and calling them, in this process or in
//! a worker process. No burn, so that the crate builds in seconds and can be run under valgrind.
//!
//! What a plugin may ask of its host is the trait [`Callbacks`]; a component's instance is the same to its user whether it
//! lives in this process or in another one.
//!
//! A file is found ([`find`]), looked up in the lock ([`Lock`]), and only then loaded ([`Plugin`]).

mod aligned;
mod arguments;
mod call;
mod callbacks;
mod context;
mod description;
mod digest;
mod failure;
mod find;
mod frame;
mod gate;
mod instance;
mod load;
mod local;
mod manifest;
mod operation;
mod place;
mod plugin;
mod problem;
mod process;
mod protocol;
mod remote;
mod tables;
mod thunks;
mod trust;
mod worker;

pub use callbacks::Callbacks;
pub(crate) use callbacks::NoCallbacks;
pub use description::{Attack, Component, Defense, Description, Fallback, Interface, Model, Parameter, ParameterKind};
pub use digest::Digest;
pub use failure::{Failure, FailureKind};
pub use find::{Candidate, PATH_VARIABLE, find};
pub use instance::{AttackInstance, DefenseInstance, LossInstance, ModelInstance};
pub use load::LoadError;
pub use manifest::{Manifest, ManifestComponent, ManifestError, manifest_path};
pub use place::is_kebab_case;
pub use plugin::Plugin;
pub use problem::{Argument, BatchView, Plan, Problem, Shape, Work};
pub use process::{Limits, Workers};
pub use trust::{Lock, LockError, Pin, Verdict};
pub use worker::serve;
