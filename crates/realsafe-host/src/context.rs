//! What a host keeps while a function of a plugin runs, and how it refuses what that asks.

use realsafe_abi::{
    REALSAFE_BAD_VALUE, REALSAFE_BUDGET, REALSAFE_CANCELLED, REALSAFE_FAILED, REALSAFE_UNSUPPORTED, RealsafeStatus,
};

use crate::gate::Gate;
use crate::{Failure, FailureKind};

/// What the context of a host table points to.
pub(crate) struct Context<'a, 'b> {
    pub(crate) gate: &'a mut Gate<'b>,
    /// What the plugin says, or why a question was refused.
    pub(crate) message: Option<String>,
}

/// The status that a failure is for a plugin.
pub(crate) fn status(failure: &Failure) -> RealsafeStatus {
    match failure.kind {
        FailureKind::Cancelled => REALSAFE_CANCELLED,
        FailureKind::Budget => REALSAFE_BUDGET,
        FailureKind::BadValue => REALSAFE_BAD_VALUE,
        FailureKind::Unsupported => REALSAFE_UNSUPPORTED,
        _ => REALSAFE_FAILED,
    }
}
