//! Exit codes.

use std::process::ExitCode;

/// What the exit code of the program says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: an expectation or a cell failed.
    Failed = 1,
    /// 2: the command line is wrong.
    Usage = 2,
    /// 65: a spec, or a file that it names, is wrong.
    Invalid = 65,
    /// 69: a device or backend is not available.
    Unavailable = 69,
    /// 70: an internal error.
    Internal = 70,
    /// 75: interrupted; the same command goes on where it stopped.
    Interrupted = 75,
    /// 77: a plugin is refused.
    Refused = 77,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The list of exit codes, below the help.
pub(crate) const HELP: &str = "\
Exit codes:
   0  done
   1  an expectation or a cell failed
   2  the command line is wrong
  65  a spec, or a file that it names, is wrong
  69  a device or backend is not available
  70  internal error
  75  interrupted; the same command goes on where it stopped
  77  a plugin is refused";
