//! `merge`: unites what several machines computed.

use std::path::{Path, PathBuf};

use realsafe_results::{Store, merge};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::terminal::{count, print, warning};
use crate::work::open_store;

/// Unite the results of several runs or shares of one
#[derive(clap::Args)]
pub(crate) struct Merge {
    /// Output folders of runs
    #[arg(required = true, value_name = "DIR")]
    sources: Vec<PathBuf>,
    /// Where the united results go
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
}

impl Merge {
    pub(crate) fn execute(&self) -> Outcome {
        let sources =
            self.sources.iter().map(|source| source_store(source)).collect::<Result<Vec<Store>, Failure>>()?;
        let merged = merge(&open_store(&self.out)?, &sources)?;
        merged.warnings.iter().for_each(|text| warning(text));
        for conflict in &merged.conflicts {
            warning(&conflict.to_string());
        }
        let (stored, known) = (count(merged.stored.len(), "cell"), merged.known);
        print(&format!("{stored} added to {}, {known} known already\n", self.out.display()))?;
        if merged.conflicts.is_empty() { Ok(Exit::Done) } else { Ok(Exit::Failed) }
    }
}

/// The store of an output folder, or the folder itself where it is one.
fn source_store(source: &Path) -> Result<Store, Failure> {
    let inner = source.join("store");
    Ok(Store::existing(if inner.exists() { &inner } else { source })?)
}
