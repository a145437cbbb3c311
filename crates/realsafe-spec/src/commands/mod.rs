//! The commands, one file each.

mod check;
mod completions;
mod devices;
mod explain;
mod list;
mod merge;
mod plan;
mod plugin;
mod report;
mod run;
mod schema;
mod train;
mod verify_adversarials;

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::plugins;

/// What is to be done.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Run),
    Check(check::Check),
    Plan(plan::Plan),
    List(list::List),
    Explain(explain::Explain),
    Plugin(plugin::Plugins),
    Devices(devices::Devices),
    Report(report::Report),
    Merge(merge::Merge),
    Train(train::Train),
    VerifyAdversarials(verify_adversarials::VerifyAdversarials),
    Schema(schema::Schema),
    Completions(completions::Completions),
    #[command(hide = true)]
    ProbeDevice(devices::Probe),
    /// A worker process of a plugin
    #[command(hide = true, name = plugins::WORKER)]
    PluginWorker,
}

impl Command {
    pub(crate) fn execute(&self) -> Outcome {
        match self {
            Self::Run(command) => command.execute(),
            Self::Check(command) => command.execute(),
            Self::Plan(command) => command.execute(),
            Self::List(command) => command.execute(),
            Self::Explain(command) => command.execute(),
            Self::Plugin(command) => command.execute(),
            Self::Devices(command) => command.execute(),
            Self::Report(command) => command.execute(),
            Self::Merge(command) => command.execute(),
            Self::Train(command) => command.execute(),
            Self::VerifyAdversarials(command) => command.execute(),
            Self::Schema(command) => command.execute(),
            Self::Completions(command) => command.execute(),
            Self::ProbeDevice(command) => command.execute(),
            Self::PluginWorker => worker(),
        }
    }
}

/// Serves the host that started this process.
fn worker() -> Outcome {
    if realsafe_host::serve() == std::process::ExitCode::SUCCESS {
        Ok(Exit::Done)
    } else {
        Err(Failure::new(Exit::Usage, "this command is for the program itself"))
    }
}
