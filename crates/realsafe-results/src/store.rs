//! The store: a folder with one folder per computed cell, named by the cell's key.
//!
//! ```text
//! format                     a number, the version of this layout
//! cells/ab/<key>/cell.json   what the cell is, how it failed, its warnings, the BLAKE3 of the files beside it
//!                samples.csv trace.csv adversarials.safetensors
//! conflicts/<key>/           a second, different result of a cell that the store already holds
//! journal/<worker>.jsonl     who computed what, and for how long
//! temporary/                 cells being written
//! ```
//!
//! A cell is written under `temporary/`, synced and renamed, so that it is either absent or complete, whenever the
//! program dies. Several threads and processes may write to one store. A result is never overwritten by a different
//! one. A failure, where no sample of the cell got an image, is provisional: `cell.json` is marked with it, and
//! whatever the cell gives next takes its place.

mod contest;
mod scratch;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fs_err as fs;
use realsafe_plan::{Cell, Key};

use self::contest::{Contest, contest};
use self::scratch::{Scratch, folders, wait_for_turn};
use crate::files::{digest, sync_directory, write_atomically, write_durably};
use crate::record::{ADVERSARIALS, DESCRIPTION, Description, Files, decode, encode, is_failed_cell};
use crate::{CellRecord, Error, Result};

/// The version of the layout.
const FORMAT: u32 = 1;

/// The folder of cells being written.
const TEMPORARY: &str = "temporary";

/// A folder of computed cells.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    scratch: Mutex<Option<Scratch>>,
    warnings: Mutex<Vec<String>>,
}

/// What became of a cell that was put into a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The store holds it now.
    Stored,
    /// The store held the same already, or something that a failure does not replace.
    Known,
    /// The store holds a different result and keeps it.
    Conflicting(Conflict),
}

/// Nondeterminism: two results of one cell that should be the same byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The cell.
    pub key: Key,
    /// The folder of the result that stays.
    pub kept: PathBuf,
    /// The folder of the other result.
    pub other: PathBuf,
    /// The files that differ.
    pub files: Vec<String>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, other) = (self.kept.display(), self.other.display());
        let files = self.files.join(", ");
        write!(formatter, "not deterministic: {files} of one cell differ between {kept} (kept) and {other}")
    }
}

impl Store {
    /// Opens a store, or makes one where there is none.
    ///
    /// # Errors
    /// When the folder cannot be written or a later version of the program wrote it.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        let format = directory.join("format");
        if !format.exists() {
            write_atomically(&format, format!("{FORMAT}\n").as_bytes())?;
        }
        Self::existing(directory)
    }

    /// Opens a store that must be there.
    ///
    /// # Errors
    /// When the folder is no store, cannot be read or was written by a later version of the program.
    pub fn existing(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        let format = directory.join("format");
        if !format.exists() {
            return Err(Error::NotAStore(directory));
        }
        let text = fs::read_to_string(&format)?;
        match text.trim().parse::<u32>() {
            Ok(found) if found > FORMAT => Err(Error::Newer { path: directory, found, known: FORMAT }),
            Ok(_) => Ok(Self { directory, scratch: Mutex::default(), warnings: Mutex::default() }),
            Err(_) => Err(Error::malformed(format, format!("`{}` is not the number of a format", text.trim()))),
        }
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What was found damaged so far, with place and cause.
    pub fn warnings(&self) -> Vec<String> {
        lock(&self.warnings).clone()
    }

    /// Whether there is a result or a failure under the key, unread.
    pub fn contains(&self, key: &Key) -> bool {
        self.folder(key).join(DESCRIPTION).exists()
    }

    /// Whether there is a result under the key, so that the cell need not be computed: neither a failure nor damaged,
    /// of which [`Store::warnings`] tells. Compares digests without reading what the files say; final images are left
    /// out.
    pub fn is_done(&self, key: &Key) -> bool {
        self.inspect(key, false, |files| Ok(!is_failed_cell(&files))).unwrap_or(false)
    }

    /// The keys of all cells, sorted.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let mut keys = Vec::new();
        for shard in folders(&self.directory.join("cells"))? {
            let names = folders(&shard)?.into_iter();
            keys.extend(names.filter_map(|folder| folder.file_name()?.to_str()?.parse::<Key>().ok()));
        }
        keys.sort();
        Ok(keys)
    }

    /// What was computed for the key. A damaged cell counts as missing, and [`Store::warnings`] tells of it.
    ///
    /// # Errors
    /// Only what makes the whole store unreadable.
    pub fn get(&self, key: &Key) -> Result<Option<CellRecord>> {
        Ok(self.load(key, true)?.map(|(_, record)| record))
    }

    /// Like [`Store::get`], without the final images.
    pub(crate) fn get_numbers(&self, key: &Key) -> Result<Option<CellRecord>> {
        Ok(self.load(key, false)?.map(|(_, record)| record))
    }

    /// Stores what was computed for a cell.
    ///
    /// The same result without its final images is replaced by the one with them; a damaged one and a failure are
    /// replaced; a different one is kept, and the new one goes under `conflicts/`, unless that is a failure, which is
    /// dropped.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn put(&self, cell: &Cell, record: &CellRecord) -> Result<Put> {
        self.install(&cell.key, &encode(cell, record)?, None)
    }

    /// The files of a cell with what they say, or none if the cell is missing or damaged.
    pub(crate) fn load(&self, key: &Key, images: bool) -> Result<Option<(Files, CellRecord)>> {
        Ok(self.inspect(key, images, |files| decode(&files).map(|record| (files, record))))
    }

    /// What the intact files of a cell say, or none if the cell is missing or damaged.
    fn inspect<T>(
        &self,
        key: &Key,
        images: bool,
        read: impl FnOnce(Files) -> std::result::Result<T, String>,
    ) -> Option<T> {
        let folder = self.folder(key);
        if !folder.exists() {
            return None;
        }
        // Reports repeat it, wherever the store lies.
        let name = cell_path(key);
        let damaged = |cause| self.warn(format!("{}: damaged, taken as missing: {cause}", name.display()));
        read_files(&folder, images).and_then(read).map_err(damaged).ok()
    }

    fn warn(&self, warning: String) {
        let mut warnings = lock(&self.warnings);
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Puts the files of a cell in place. `origin` is where they lie; without one, conflicting files are kept.
    pub(crate) fn install(&self, key: &Key, files: &Files, origin: Option<&Path>) -> Result<Put> {
        let target = self.folder(key);
        let part = self.scratch_folder()?;
        let occupied = target.exists();
        // What is there is judged and taken away in one turn, or another worker's result might be taken instead.
        let turn = if occupied { wait_for_turn(&self.directory.join(TEMPORARY))? } else { None };
        let known = self.load(key, true)?.map(|(files, _)| files);
        let differing = match known.map(|known| contest(&known, files, origin.is_some())) {
            Some(Contest::Keep) => return Ok(Put::Known),
            Some(Contest::Conflict(differing)) => match origin {
                Some(origin) => return Ok(self.conflict(key, origin.to_owned(), differing)),
                None => differing,
            },
            Some(Contest::Replace) | None => Vec::new(),
        };
        fs::create_dir(&part)?;
        for (name, bytes) in files {
            write_durably(&part.join(name), bytes)?;
        }
        sync_directory(&part)?;
        if !differing.is_empty() {
            let other = self.directory.join("conflicts").join(key.as_str());
            self.remove(&other)?;
            place(&part, &other)?;
            return Ok(self.conflict(key, other, differing));
        }
        if occupied {
            // The same with fewer files, a failure, or a damaged one: nothing is lost by taking it away first.
            self.remove(&target)?;
        }
        let placed = place(&part, &target);
        drop(turn);
        match placed {
            Ok(()) => Ok(Put::Stored),
            // Another worker was faster: judge against its result.
            Err(_) if target.exists() => self.install(key, files, origin),
            Err(error) => Err(error),
        }
    }

    fn conflict(&self, key: &Key, other: PathBuf, files: Vec<String>) -> Put {
        Put::Conflicting(Conflict { key: key.clone(), kept: self.folder(key), other, files })
    }

    /// Moves a folder out of the way; it goes when the store is closed.
    fn remove(&self, folder: &Path) -> Result<()> {
        match fs::rename(folder, self.scratch_folder()?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(crate) fn folder(&self, key: &Key) -> PathBuf {
        self.directory.join(cell_path(key))
    }

    /// A path for a folder to be made, on the file system of the store.
    fn scratch_folder(&self) -> Result<PathBuf> {
        let mut scratch = lock(&self.scratch);
        let scratch = match &mut *scratch {
            Some(scratch) => scratch,
            none => none.insert(Scratch::new(&self.directory.join(TEMPORARY))?),
        };
        Ok(scratch.next())
    }
}

/// Where a cell lies in a store.
fn cell_path(key: &Key) -> PathBuf {
    Path::new("cells").join(&key.as_str()[..2]).join(key.as_str())
}

/// The files of a cell, if they are what was written; the error tells no path.
fn read_files(folder: &Path, images: bool) -> std::result::Result<Files, String> {
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let text = read(DESCRIPTION)?;
    let mut files = Files::new();
    for (name, expected) in Description::parse(&text)?.files {
        if name == ADVERSARIALS && !images {
            continue;
        }
        let bytes = read(&name)?;
        if digest(&bytes) != expected {
            return Err(format!("{name} is not what was written"));
        }
        files.insert(name, bytes);
    }
    files.insert(DESCRIPTION.to_owned(), text);
    Ok(files)
}

/// Renames a complete folder to its final name, which must be free.
fn place(part: &Path, target: &Path) -> Result<()> {
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent)?;
    fs::rename(part, target)?;
    sync_directory(parent)?;
    if let Some(grandparent) = parent.parent() {
        sync_directory(grandparent)?;
    }
    Ok(())
}

/// A panic elsewhere cannot leave these values half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
