//! `plugin`: plugins before a spec names them, one subcommand each.

mod check;
mod list;
mod new;
mod show;
mod trust;

use std::path::Path;

use realsafe_host::{Candidate, Digest, Lock, Manifest, Plugin, Verdict};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::{Hosting, LOCK, changed, refused, unknown, unreadable};
use crate::terminal;

/// Write, check, trust, list and show plugins: attacks, defenses, models and losses in shared libraries
#[derive(clap::Args)]
pub(crate) struct Plugins {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    New(new::New),
    Check(check::Check),
    Trust(trust::Trust),
    List(list::List),
    Show(show::Show),
}

impl Plugins {
    pub(crate) fn execute(&self) -> Outcome {
        match &self.command {
            Command::New(command) => command.execute(),
            Command::Check(command) => command.execute(),
            Command::Trust(command) => command.execute(),
            Command::List(command) => command.execute(),
            Command::Show(command) => command.execute(),
        }
    }
}

/// The digest of a file that the user names.
fn digest(file: &Path) -> Result<Digest, Failure> {
    Digest::of_file(file).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

/// Loads a file that the user names, if it is trusted.
fn load(file: &Path, hosting: &Hosting) -> Result<Plugin, Failure> {
    let digest = digest(file)?;
    let candidate = Candidate { path: fs_err::canonicalize(file)?, origin: "the command line".to_owned() };
    let lock = Path::new(LOCK);
    match Lock::read(lock).map_err(unreadable)?.verdict(lock, &candidate.path, digest) {
        Verdict::Trusted => hosting.load(&candidate.path, digest).map_err(|error| refused(&error)),
        Verdict::Changed(_) => Err(changed(&candidate)),
        Verdict::Unknown => Err(unknown(&candidate)),
    }
}

/// The manifest beside a library, which whoever gave the library wrote: one that is malformed is told, and passed over.
fn manifest(library: &Path) -> Option<Manifest> {
    Manifest::beside(library).unwrap_or_else(|error| {
        terminal::warning(&format!("the manifest is passed over: {}", plain(&error.to_string())));
        None
    })
}

/// The components of a manifest: `attack simba, loss slope`.
fn components(manifest: &Manifest) -> String {
    let names = manifest.components.iter().map(|component| format!("{} {}", component.kind, component.id));
    plain(&names.collect::<Vec<_>>().join(", "))
}

/// A text that nobody vouches for, without what terminals obey.
fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || *character == '\n').collect()
}
