//! `plugin trust`: notes which libraries may be loaded. It loads none.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use realsafe_host::{Lock, Verdict};

use super::{components, digest, manifest, plain};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::{LOCK, here, unreadable};
use crate::terminal::print;

/// Trust plugins as they are now: note their BLAKE3 in ./realsafe.lock, without loading them
#[derive(clap::Args)]
pub(crate) struct Trust {
    /// Shared libraries
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Trust {
    pub(crate) fn execute(&self) -> Outcome {
        let path = Path::new(LOCK);
        let lock = Lock::read(path).map_err(unreadable)?;
        let digests = self.files.iter().map(|file| digest(file)).collect::<Result<Vec<_>, Failure>>()?;
        let mut text = String::new();
        for (file, digest) in self.files.iter().zip(digests) {
            let manifest = manifest(file);
            let name = manifest.as_ref().map(|manifest| manifest.name.as_str());
            Lock::trust(path, file, digest, name).map_err(unreadable)?;
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{}: trusted\n  blake3      {digest}", here(&fs_err::canonicalize(file)?));
            match lock.verdict(path, file, digest) {
                Verdict::Changed(before) => {
                    let _ = writeln!(text, "  before      {before}: it was trusted with another digest before");
                }
                Verdict::Trusted | Verdict::Unknown => {}
            }
            let _ = match &manifest {
                Some(manifest) => writeln!(
                    text,
                    "  says it is  {} {}: {}",
                    plain(&manifest.name),
                    plain(&manifest.version),
                    components(manifest)
                ),
                None => writeln!(text, "  no manifest says what is in it; `realsafe-spec plugin show` does"),
            };
        }
        print(&text)?;
        Ok(Exit::Done)
    }
}
