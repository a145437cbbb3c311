//! Why a call of a plugin gave nothing.

use serde::{Deserialize, Serialize};

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What the plugin said, or what happened to it.
    pub message: String,
}

impl Failure {
    /// A failure with its reason.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The user stopped the run.
    Cancelled,
    /// More was asked for than the budget or the declared cost allows.
    Budget,
    /// A parameter, or a file that it names, does not fit.
    BadValue,
    /// The component asked for what it did not declare.
    Unsupported,
    /// The plugin says that it failed, or what it did makes no sense.
    Failed,
    /// The plugin panicked, and caught it.
    Panicked,
    /// The device of the host failed.
    Device,
    /// The worker process ended.
    Crashed,
    /// The plugin did not answer within its deadline.
    TimedOut,
    /// The worker process took more memory than it may.
    OutOfMemory,
}
