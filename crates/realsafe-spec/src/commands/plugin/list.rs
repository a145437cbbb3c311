//! `plugin list`: the libraries that are found, and what their manifests say. It loads none.

use std::path::{Path, PathBuf};

use realsafe_host::{Candidate, Digest, Lock, Manifest, Verdict};
use realsafe_results::table;
use serde_json::{Value, json};

use super::{components, digest, manifest, plain};
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins::{LOCK, candidates, here, unreadable};
use crate::terminal::{Format, print, print_json};

/// List plugins that are found, what their manifests say, and whether they are trusted; none is loaded
#[derive(clap::Args)]
pub(crate) struct List {
    /// Look at a file, too, beside $REALSAFE_PLUGIN_PATH and ./plugins
    #[arg(long = "plugin", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the list is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A library that was found.
struct Found {
    candidate: Candidate,
    digest: Digest,
    status: &'static str,
    manifest: Option<Manifest>,
}

impl List {
    pub(crate) fn execute(&self) -> Outcome {
        let path = Path::new(LOCK);
        let lock = Lock::read(path).map_err(unreadable)?;
        let look = |candidate: Candidate| {
            let digest = digest(&candidate.path)?;
            let status = match lock.verdict(path, &candidate.path, digest) {
                Verdict::Trusted => "trusted",
                Verdict::Changed(_) => "changed",
                Verdict::Unknown => "not trusted",
            };
            Ok(Found { digest, status, manifest: manifest(&candidate.path), candidate })
        };
        let found = candidates(&self.files, &[])?.into_iter().map(look).collect::<Result<Vec<Found>, Failure>>()?;
        match self.format {
            Format::Text if found.is_empty() => {
                print("no plugins in ./plugins, in $REALSAFE_PLUGIN_PATH, or named with --plugin\n")?;
            }
            Format::Text => {
                print(&table(&["file", "status", "plugin", "version", "components"], 5..5, found.iter().map(row)))?;
            }
            Format::Json => print_json(&found.iter().map(object).collect())?,
        }
        Ok(Exit::Done)
    }
}

fn row(found: &Found) -> Vec<String> {
    let said = found.manifest.as_ref().map_or_else(
        || ["no manifest".to_owned(), String::new(), String::new()],
        |manifest| [plain(&manifest.name), plain(&manifest.version), components(manifest)],
    );
    [here(&found.candidate.path), found.status.to_owned()].into_iter().chain(said).collect()
}

fn object(found: &Found) -> Value {
    json!({
        "path": found.candidate.path.display().to_string(),
        "from": found.candidate.origin,
        "blake3": found.digest.to_string(),
        "status": found.status,
        "manifest": found.manifest.as_ref().map(|manifest| json!({
            "name": manifest.name,
            "version": manifest.version,
            "licence": manifest.licence,
            "abi": manifest.abi,
            "components": manifest.components.iter().map(|component| json!({
                "kind": component.kind,
                "name": component.id,
                "summary": component.summary,
            })).collect::<Value>(),
        })),
    })
}
