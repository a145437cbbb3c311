//! Journals: who computed which cell, where, and for how long.
//!
//! One file per worker, one JSON object per line, only ever appended to. Journals are advisory: the store alone says
//! what is done. A torn line, as a killed process leaves it, is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use fs_err as fs;
use realsafe_plan::Key;
use serde::{Deserialize, Serialize};

use crate::files::write_atomically;
use crate::{Result, Store};

/// What happened to a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A worker began it.
    Started,
    /// It is in the store.
    Finished,
    /// It ended without a result.
    Failed,
}

/// A line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What happened.
    pub(crate) event: Event,
    /// The key of the cell.
    pub(crate) cell: String,
    /// Since the worker began the cell; 0 when it begins.
    pub(crate) seconds: f64,
    /// The machine.
    pub(crate) host: String,
    /// The device.
    pub(crate) device: String,
}

/// The journal of one worker, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: fs::File,
    host: String,
    device: String,
}

impl Journal {
    /// Opens the journal of a worker. Its name must be its own as long as it lives, such as host and process id.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(store: &Store, worker: &str, host: &str, device: &str) -> Result<Self> {
        let directory = store.directory().join("journal");
        fs::create_dir_all(&directory)?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        let path = directory.join(format!("{}.jsonl", worker.chars().map(plain).collect::<String>()));
        let torn = fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n'));
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        if torn {
            file.write_all(b"\n")?;
        }
        Ok(Self { file, host: host.to_owned(), device: device.to_owned() })
    }

    /// Notes an event, `seconds` after the worker began the cell.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, event: Event, key: &Key, seconds: f64) -> Result<()> {
        let (host, device) = (self.host.clone(), self.device.clone());
        let entry = Entry { event, cell: key.as_str().to_owned(), seconds, host, device };
        let mut line = serde_json::to_vec(&entry).map_err(std::io::Error::from)?;
        line.push(b'\n');
        // One call, so that the line is torn by a crash only, not by another writer.
        self.file.write_all(&line)?;
        Ok(())
    }
}

/// All journals of a store: worker and entry, by worker, in the order in which they were written.
pub(crate) fn read_journals(store: &Store) -> Result<Vec<(String, Entry)>> {
    let mut entries = Vec::new();
    for (worker, text) in journal_files(store.directory())? {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok());
        entries.extend(lines.map(|entry| (worker.clone(), entry)));
    }
    Ok(entries)
}

/// Appends the lines of other journals that this store's journals lack.
pub(crate) fn merge_journals(destination: &Store, source: &Store) -> Result<()> {
    let directory = destination.directory().join("journal");
    let known: BTreeMap<String, String> = journal_files(destination.directory())?.into_iter().collect();
    for (worker, text) in journal_files(source.directory())? {
        let mut merged = known.get(&worker).cloned().unwrap_or_default();
        if merged.lines().collect::<Vec<_>>() == text.lines().collect::<Vec<_>>() {
            continue;
        }
        if !merged.is_empty() && !merged.ends_with('\n') {
            merged.push('\n');
        }
        let held: BTreeSet<String> = merged.lines().map(str::to_owned).collect();
        for line in text.lines().filter(|line| !held.contains(*line)) {
            merged.push_str(line);
            merged.push('\n');
        }
        write_atomically(&directory.join(format!("{worker}.jsonl")), merged.as_bytes())?;
    }
    Ok(())
}

/// Worker and text of the journals of a store, sorted by worker.
fn journal_files(store: &Path) -> Result<Vec<(String, String)>> {
    let directory = store.join("journal");
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let (Some(worker), Some("jsonl")) =
            (path.file_stem(), path.extension().and_then(|extension| extension.to_str()))
        else {
            continue;
        };
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        files.push((worker.to_string_lossy().into_owned(), text));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::key;

    #[test]
    fn torn_lines_are_passed_over_and_appending_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let (first, second) = (key("first"), key("second"));
        let mut journal = Journal::open(&store, "host/7", "host", "flex").unwrap();
        journal.note(Event::Started, &first, 0.0).unwrap();
        journal.note(Event::Finished, &first, 1.25).unwrap();
        journal.note(Event::Started, &second, 0.0).unwrap();
        drop(journal);

        let path = directory.path().join("journal").join("host-7.jsonl");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        let events = || read_journals(&store).unwrap().into_iter().map(|(_, entry)| entry.event).collect::<Vec<_>>();
        assert_eq!(events(), [Event::Started, Event::Finished]);

        let mut journal = Journal::open(&store, "host/7", "host", "flex").unwrap();
        journal.note(Event::Failed, &second, 0.5).unwrap();
        assert_eq!(events(), [Event::Started, Event::Finished, Event::Failed]);
        let (worker, entry) = read_journals(&store).unwrap().pop().unwrap();
        assert_eq!((worker.as_str(), entry.cell.as_str(), entry.seconds), ("host-7", second.as_str(), 0.5));
    }
}
