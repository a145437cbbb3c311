//! Calling a function of a plugin, and what its status means.

use realsafe_abi::{
    REALSAFE_BAD_VALUE, REALSAFE_BUDGET, REALSAFE_CANCELLED, REALSAFE_OK, REALSAFE_PANICKED, REALSAFE_UNSUPPORTED,
    RealsafeHost, RealsafeStatus,
};

use crate::context::Context;
use crate::gate::Gate;
use crate::thunks::table;
use crate::{Failure, FailureKind};

/// Calls a function of a plugin with a host table of the gate's rights, and judges its status.
pub(crate) fn call(
    component: &str,
    gate: &mut Gate<'_>,
    function: impl FnOnce(*const RealsafeHost) -> RealsafeStatus,
) -> Result<(), Failure> {
    let mut context = Context { gate, message: None };
    let rights = context.gate.rights();
    let host = table(&raw mut context, rights);
    let status = function(&host);
    let kind = match status {
        REALSAFE_OK => return Ok(()),
        REALSAFE_CANCELLED => FailureKind::Cancelled,
        REALSAFE_BUDGET => FailureKind::Budget,
        REALSAFE_BAD_VALUE => FailureKind::BadValue,
        REALSAFE_UNSUPPORTED => FailureKind::Unsupported,
        REALSAFE_PANICKED => FailureKind::Panicked,
        _ => FailureKind::Failed,
    };
    let reason = match kind {
        FailureKind::Cancelled => "stopped because the run was stopped",
        FailureKind::Budget => "needs more than the budget",
        FailureKind::BadValue => "does not take these values, and does not say why",
        FailureKind::Unsupported => "does not support this, and does not say why",
        FailureKind::Panicked => "panicked",
        _ => "failed, and does not say why",
    };
    Err(Failure::new(kind, context.message.unwrap_or_else(|| format!("`{component}` {reason} (status {status})"))))
}
