//! Why something failed.

use std::error;
use std::fmt;

use realsafe_abi::{REALSAFE_BAD_VALUE, REALSAFE_FAILED, REALSAFE_PANICKED, REALSAFE_UNSUPPORTED, RealsafeStatus};

/// Why a call failed: the plugin's own reason, or the host's, which `?` passes on.
///
/// Texts become errors, too: `Err("the matrix is singular".into())`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: RealsafeStatus,
    message: String,
}

impl Error {
    /// The plugin cannot go on.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { status: REALSAFE_FAILED, message: message.into() }
    }

    /// A parameter, or a file that it names, does not fit. The message should name it, and say what would fit.
    pub fn bad_value(message: impl Into<String>) -> Self {
        Self { status: REALSAFE_BAD_VALUE, message: message.into() }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self { status: REALSAFE_UNSUPPORTED, message: message.into() }
    }

    pub(crate) fn panicked(message: String) -> Self {
        Self { status: REALSAFE_PANICKED, message }
    }

    /// What a function of the host returned; the host knows the reason.
    pub(crate) fn of_host(status: RealsafeStatus) -> Self {
        Self { status, message: String::new() }
    }

    pub(crate) fn status(&self) -> RealsafeStatus {
        self.status
    }

    /// The plugin's own reason; empty for failures of the host.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message.as_str() {
            "" => write!(formatter, "the host refused (status {})", self.status),
            message => formatter.write_str(message),
        }
    }
}

impl error::Error for Error {}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::failed(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::failed(message)
    }
}
