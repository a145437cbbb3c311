//! Which files are trusted: `realsafe.lock`. Nothing here loads anything.

use std::io::Write;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// The content of a lock: the libraries that the user trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// The entries, sorted by path.
    #[serde(default, rename = "plugin")]
    pub pins: Vec<Pin>,
}

/// A library that the user trusts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The file, relative to the lock's folder where it lies below it.
    pub path: PathBuf,
    /// The digest of the content.
    pub blake3: Digest,
    /// The plugin's name, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a lock says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The digest is in the lock, whatever the path.
    Trusted,
    /// The path is in the lock with another digest, this one.
    Changed(Digest),
    /// Neither is in the lock.
    Unknown,
}

/// Why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// It is not what a lock should be.
    #[error("{}:{line}: {reason}; correct it, or delete the file and trust the plugins again", path.display())]
    Malformed {
        /// The lock.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl Lock {
    /// Reads a lock. One that does not exist is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is malformed.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        toml::from_str(&text).map_err(|error| LockError::Malformed {
            path: path.to_owned(),
            line: text[..error.span().map_or(0, |span| span.start)].lines().count().max(1),
            reason: error.message().to_owned(),
        })
    }

    /// What the lock at `path`, whose content this is, says about a file.
    pub fn verdict(&self, path: &Path, file: &Path, digest: Digest) -> Verdict {
        if self.pins.iter().any(|pin| pin.blake3 == digest) {
            return Verdict::Trusted;
        }
        let file = entry(path, file);
        self.pins.iter().find(|pin| pin.path == file).map_or(Verdict::Unknown, |pin| Verdict::Changed(pin.blake3))
    }

    /// Adds a file to the lock at `path`, or replaces its digest. The lock is rewritten in one go, sorted.
    ///
    /// # Errors
    /// The lock cannot be read or written, or is malformed.
    pub fn trust(path: &Path, file: &Path, digest: Digest, name: Option<&str>) -> Result<Self, LockError> {
        let mut lock = Self::read(path)?;
        let pin = Pin { path: entry(path, file), blake3: digest, name: name.map(str::to_owned) };
        lock.pins.retain(|other| other.path != pin.path);
        lock.pins.push(pin);
        lock.pins.sort();
        let text = toml::to_string(&lock).map_err(std::io::Error::other)?;
        replace(path, &format!("# Plugins that may be loaded; written by `realsafe-spec plugin trust`.\n\n{text}"))?;
        Ok(lock)
    }
}

/// How a lock writes a file: relative to the lock's folder where it lies below it.
fn entry(lock: &Path, file: &Path) -> PathBuf {
    let absolute = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let folder = lock.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = absolute(file).unwrap_or_else(|_| file.to_owned());
    match absolute(folder) {
        Ok(folder) => file.strip_prefix(folder).map(Path::to_owned).unwrap_or(file),
        Err(_) => file,
    }
}

/// Replaces a file so that readers see the old content or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}
