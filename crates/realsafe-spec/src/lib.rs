//! The command `realsafe-spec`.
//!
//! [`main`] is the whole program: a binary that links in more components needs three lines,
//!
//! ```no_run
//! // extern crate my_attacks as _;
//! fn main() -> std::process::ExitCode {
//!     realsafe_spec::main()
//! }
//! ```
//!
//! and so does one that links in a plugin, whose `PLUGIN` is what `realsafe_plugin::plugin!` makes:
//!
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     realsafe_spec::main_with(&[my_plugin::PLUGIN.table()])
//! }
//! ```
//!
//! Exit codes are public: see [`Exit`]. Results go to standard output, everything else to standard error.

mod catalogue;
mod commands;
mod data_directory;
mod exit;
mod failure;
mod find;
mod interruption;
mod plugins;
mod progress;
mod selection;
mod terminal;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
pub use exit::Exit;
use failure::Failure;

/// Runs declarative experiments on adversarial robustness
#[derive(Parser)]
#[command(name = "realsafe-spec", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: commands::Command,
}

/// The program: reads the command line, does what it says, and gives the exit code.
pub fn main() -> ExitCode {
    main_with(&[])
}

/// The program with plugins that are linked into it. They run in its own process.
pub fn main_with(linked: &[&'static realsafe_abi::RealsafePlugin]) -> ExitCode {
    plugins::link(linked);
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output and may meet a closed pipe.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| arguments.command.execute()));
    let outcome = outcome.unwrap_or_else(|panic| {
        let reason = realsafe_core::panic_message(&*panic);
        let hint = "this is a mistake of the program: please report it with the command that led here";
        Err(Failure::new(Exit::Internal, format!("internal error: {reason}")).hint(hint))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.show();
            failure.exit().into()
        }
    }
}
