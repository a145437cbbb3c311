//! `completions`: scripts that complete the command line.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Arguments;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::terminal::print;

/// Print a script that completes the command line of a shell
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn execute(&self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "realsafe-spec", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}
