//! `report`: rebuilds a report from what is stored.

use std::path::PathBuf;

use realsafe_results::write_report;

use crate::commands::run::{show, verdict};
use crate::failure::Outcome;
use crate::selection::Selection;
use crate::terminal::Format;
use crate::work::{Work, existing_store};

/// Rebuild a report from what is stored, without computing anything
#[derive(clap::Args)]
pub(crate) struct Report {
    #[command(flatten)]
    selection: Selection,
    /// Where the results are
    #[arg(long, value_name = "DIR", default_value = "results")]
    out: PathBuf,
    /// Report what another machine computed: its class of devices, which `manifest.json` has in parentheses
    #[arg(long, value_name = "CLASS")]
    device_class: Option<String>,
    /// How the report is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Report {
    pub(crate) fn execute(&self) -> Outcome {
        let store = existing_store(&self.out)?;
        let work = match &self.device_class {
            Some(class) => Work::of_class(&self.selection, class)?,
            None => Work::new(&self.selection)?,
        };
        let report = write_report(&work.plan, &store, &self.out, &work.facts())?;
        show(&report, self.format)?;
        Ok(verdict(&report, 0))
    }
}
