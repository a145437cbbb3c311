//! `schema`: the JSON Schema of specs, for editors.

use std::path::PathBuf;

use realsafe_plan::schema;

use crate::catalogue::catalogue;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::terminal::print;

/// Print the JSON Schema of specs, for editors
#[derive(clap::Args)]
pub(crate) struct Schema {
    /// Write it to a file instead
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Schema {
    pub(crate) fn execute(&self) -> Outcome {
        let text = format!("{:#}\n", schema(&catalogue()?));
        match &self.write {
            Some(file) => fs_err::write(file, text)?,
            None => print(&text)?,
        }
        Ok(Exit::Done)
    }
}
