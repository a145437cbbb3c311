//! Where plugins are looked for.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fs_err as fs;

/// The variable that lists files and folders with plugins, separated by colons.
pub const PATH_VARIABLE: &str = "REALSAFE_PLUGIN_PATH";

/// A file that was found. It was not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The file, as a canonical path.
    pub path: PathBuf,
    /// Who named it, in words.
    pub origin: String,
}

/// Finds plugins: the files that are named, with who names them; the entries of [`PATH_VARIABLE`]; and `./plugins`.
/// Each file comes once, in this order, and sorted by name within a folder.
///
/// # Errors
/// A file or folder that is named does not exist or cannot be read.
pub fn find(named: &[(PathBuf, String)], variable: Option<&OsStr>, folder: &Path) -> std::io::Result<Vec<Candidate>> {
    let mut found = Found::default();
    for (path, origin) in named {
        found.add(path, origin)?;
    }
    for path in variable.map(std::env::split_paths).into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
        if fs::metadata(&path)?.is_dir() {
            found.add_folder(&path, &format!("{PATH_VARIABLE} ({})", path.display()))?;
        } else {
            found.add(&path, PATH_VARIABLE)?;
        }
    }
    if folder.is_dir() {
        found.add_folder(folder, &format!("the folder {}", folder.display()))?;
    }
    Ok(found.candidates)
}

#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    seen: BTreeSet<PathBuf>,
}

impl Found {
    fn add(&mut self, path: &Path, origin: &str) -> std::io::Result<()> {
        let path = fs::canonicalize(path)?;
        if self.seen.insert(path.clone()) {
            self.candidates.push(Candidate { path, origin: origin.to_owned() });
        }
        Ok(())
    }

    fn add_folder(&mut self, folder: &Path, origin: &str) -> std::io::Result<()> {
        let mut files = Vec::new();
        for item in fs::read_dir(folder)? {
            let path = item?.path();
            let library = path.extension().is_some_and(|extension| extension == "so" || extension == "dylib");
            if library && path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        files.iter().try_for_each(|file| self.add(file, origin))
    }
}
