//! The files that components read: where they are looked for, and their digests.

use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Place};
use crate::{RequiredFile, ResolvedFile};

/// Where files come from.
pub struct Environment<'a> {
    /// The data directory.
    pub data: PathBuf,
    /// Where the data directory was set, in words: `--data`, `REALSAFE_DATA`, `the default`.
    pub data_origin: String,
    /// The bytes of `builtin:NAME`.
    pub builtin: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// Whether files are looked for and hashed. Without it, specs are checked as far as that goes, and keys mean
    /// nothing.
    pub read_files: bool,
}

impl Environment<'_> {
    /// Finds the file that a parameter names, and hashes it.
    pub(crate) fn parameter_file(&self, name: &str, place: &Place) -> Result<ResolvedFile, Diagnostic> {
        if let Some(builtin) = name.strip_prefix("builtin:") {
            let unknown = || {
                Diagnostic::at(place, format!("the program carries no file `{builtin}`")).help(
                    "`builtin:` names files that the program carries; other files are relative to the data directory",
                )
            };
            let bytes = (self.builtin)(builtin).ok_or_else(unknown)?;
            return Ok(ResolvedFile { path: None, blake3: blake3::hash(&bytes).to_hex().to_string() });
        }
        let path = self.data.join(name);
        if self.read_files && !path.is_file() {
            let help = format!("looked for {}\n{}", path.display(), self.directory_help());
            return Err(Diagnostic::at(place, format!("the file `{name}` does not exist")).help(help));
        }
        self.found(path, place)
    }

    /// Finds a file that a dataset reads, and hashes it; returns the path relative to the data directory, too.
    pub(crate) fn dataset_file(
        &self,
        file: &RequiredFile,
        place: &Place,
    ) -> Result<(String, ResolvedFile), Diagnostic> {
        let exists = |candidate: &&String| !self.read_files || self.data.join(candidate).is_file();
        let Some(candidate) = file.candidates.iter().find(exists) else {
            let names = file.candidates.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
            let checksum = file.md5.map(|md5| format!(" (MD5 of the unpacked content: {md5})")).unwrap_or_default();
            let help = format!(
                "get it from {}{checksum} and put it into {}\n{}",
                file.origin,
                self.data.display(),
                self.directory_help()
            );
            return Err(
                Diagnostic::at(place, format!("the dataset needs the file {names}, which does not exist")).help(help)
            );
        };
        Ok((candidate.clone(), self.found(self.data.join(candidate), place)?))
    }

    fn found(&self, path: PathBuf, place: &Place) -> Result<ResolvedFile, Diagnostic> {
        let blake3 = if self.read_files { digest(&path) } else { Ok(String::new()) };
        let blake3 = blake3.map_err(|error| Diagnostic::at(place, error.to_string()))?;
        Ok(ResolvedFile { path: Some(path), blake3 })
    }

    fn directory_help(&self) -> String {
        format!(
            "the data directory {} comes from {} and is set with --data DIR or REALSAFE_DATA",
            self.data.display(),
            self.data_origin
        )
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs_err::File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}
