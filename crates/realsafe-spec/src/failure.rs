//! Why a command ends early, as `error:` and `hint:` lines.

use realsafe_core::device::DeviceProblem;
use realsafe_plan::Diagnostics;
use realsafe_results::Error;
use realsafe_runner::{BuildError, RunError};

use crate::exit::Exit;
use crate::terminal;

/// What a command gives.
pub(crate) type Outcome = Result<Exit, Failure>;

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Mistakes in specs.
    Mistakes(Diagnostics),
    /// Anything else.
    Error {
        /// The exit code.
        exit: Exit,
        /// What is wrong, in lower case and without a full stop.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Error { exit, message: message.into(), hint: None }
    }

    /// With a way out.
    pub(crate) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Error { exit, message, .. } => Self::Error { exit, message, hint: Some(text.into()) },
            mistakes @ Self::Mistakes(_) => mistakes,
        }
    }

    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Mistakes(_) => Exit::Invalid,
            Self::Error { exit, .. } => *exit,
        }
    }

    /// Tells the user.
    pub(crate) fn show(&self) {
        match self {
            Self::Mistakes(diagnostics) => terminal::tell(&diagnostics.render(terminal::colours_stderr())),
            Self::Error { message, hint, .. } => {
                terminal::error(message);
                if let Some(hint) = hint {
                    terminal::hint(hint);
                }
            }
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Mistakes(diagnostics)
    }
}

impl From<DeviceProblem> for Failure {
    fn from(problem: DeviceProblem) -> Self {
        let hint = "`realsafe-spec devices` lists what is compiled in and what answers";
        Self::new(Exit::Unavailable, problem.to_string()).hint(hint)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Internal, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Io(_) => Exit::Internal,
            Error::Malformed { .. } => Exit::Invalid,
            Error::NotAStore(_) | Error::Newer { .. } | Error::Nothing(_) => Exit::Usage,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::new(Exit::Invalid, error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Build(error) => error.into(),
            RunError::Store(error) => error.into(),
            RunError::Images(_) => Self::new(Exit::Invalid, error.to_string()),
            RunError::Stop(_) => Self::new(Exit::Unavailable, error.to_string()),
            RunError::Threads(_) => Self::new(Exit::Internal, error.to_string()),
        }
    }
}
