//! What can go wrong around stored results.

use std::io;
use std::path::PathBuf;

/// An error with its place and cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file does not hold what it should.
    #[error("{path}: {cause}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out where there is one.
        cause: String,
    },
    /// The folder is not a store.
    #[error("{path} holds no results: there is no file `format` in it; give the folder that `run` wrote", path = .0.display())]
    NotAStore(PathBuf),
    /// A later version of the program wrote the store.
    #[error(
        "{path} has format {found}, but this program reads formats up to {known}: use the version that wrote it, \
         or another output folder",
        path = path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// The format of the store.
        found: u32,
        /// The latest format known here.
        known: u32,
    },
    /// The plan and the store hold nothing of what was asked for.
    #[error("{0}")]
    Nothing(String),
}

/// The result of everything that touches files.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn malformed(path: impl Into<PathBuf>, cause: impl ToString) -> Self {
        Self::Malformed { path: path.into(), cause: cause.to_string() }
    }
}
