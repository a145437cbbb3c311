//! From a plan to a store: builds what cells name, runs them in parallel, and keeps what they give.

mod cell;
mod certificate;
mod plugins;
mod prepared;
mod run;
mod verify;
mod workshop;

pub use plugins::{Finding, components, conformance, register};
pub use run::{Event, Options, RunError, Totals, default_jobs, host, run};
pub use verify::{InBall, Verified, verify};
pub use workshop::{BuildError, Workshop};
