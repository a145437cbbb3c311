//! `schema`: the JSON Schema of specs, for editors.

use std::path::PathBuf;

use realsafe_plan::schema;

use crate::exit::Exit;
use crate::failure::Outcome;
use crate::plugins::PluginOptions;
use crate::terminal::print;

/// Print the JSON Schema of specs, for editors
#[derive(clap::Args)]
pub(crate) struct Schema {
    #[command(flatten)]
    plugins: PluginOptions,
    /// Write it to a file instead
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

impl Schema {
    pub(crate) fn execute(&self) -> Outcome {
        let text = format!("{:#}\n", schema(&self.plugins.components(&[])?.catalogue));
        match &self.write {
            Some(file) => fs_err::write(file, text)?,
            None => print(&text)?,
        }
        Ok(Exit::Done)
    }
}
