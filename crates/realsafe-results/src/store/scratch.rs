//! Where cells are written before they get their place, and who may take one away.

use std::fs::File;
use std::path::{Path, PathBuf};

use fs_err as fs;
use tempfile::TempDir;

use crate::Result;
use crate::files::staging;

/// The folder under `temporary/` of one open store. The lock on a file in it lasts as long as the process, so that
/// others can tell what a killed process left behind.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: TempDir,
    used: u64,
    _lock: File,
}

impl Scratch {
    /// A new folder under `parent`, after those of killed processes are gone.
    pub(super) fn new(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        // Where the file system has no locks, leftovers stay.
        let turn = wait_for_turn(parent)?;
        if turn.is_some() {
            for leftover in folders(parent)? {
                let unused = File::open(leftover.join("lock")).map_or(true, |lock| lock.try_lock().is_ok());
                if unused {
                    // Its owner may be removing it this moment.
                    let _ = fs::remove_dir_all(&leftover);
                }
            }
        }
        let directory = staging(parent)?;
        let lock = File::create(directory.path().join("lock"))?;
        // Fails only where there are no locks, and then nobody cleans up.
        let _ = lock.try_lock();
        Ok(Self { directory, used: 0, _lock: lock })
    }

    /// A path for a folder to be made.
    pub(super) fn next(&mut self) -> PathBuf {
        self.used += 1;
        self.directory.path().join(self.used.to_string())
    }
}

/// Held by one worker at a time while folders come and go; none where the file system has no locks.
pub(super) fn wait_for_turn(temporary: &Path) -> Result<Option<File>> {
    let turn = File::create(temporary.join("lock"))?;
    Ok(turn.lock().is_ok().then_some(turn))
}

/// The folders in a folder, which need not exist.
pub(super) fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}
