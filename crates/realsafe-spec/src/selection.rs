//! Which experiments a command is about, and what the command line lays over them.

use std::num::NonZeroUsize;

use realsafe_plan::{Catalogue, Diagnostic, Diagnostics, Document, Experiment, load_spec};

use crate::catalogue::Components;
use crate::data_directory::DataDirectory;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::find::{Found, Role, find};
use crate::plugins::PluginOptions;

/// The arguments that select experiments.
#[derive(clap::Args, Debug)]
pub(crate) struct Selection {
    /// Specs, folders that are searched for them, or patterns such as 'specs/mnist-*.toml'
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<String>,
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Where to compute, as in `flex` or `tch:cuda:0` [default: what `[run] device` says, else `flex`]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
}

/// What the command line lays over specs.
#[derive(clap::Args, Debug)]
pub(crate) struct Overrides {
    /// Lay a value over the specs, as in data.samples=100 or attack.pgd.steps=5
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Use no more than the first N samples
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) data: DataDirectory,
    #[command(flatten)]
    pub(crate) plugins: PluginOptions,
}

impl Selection {
    /// All components that the specs can name.
    ///
    /// # Errors
    /// A plugin that cannot be used.
    pub(crate) fn components(&self) -> Result<Components, Failure> {
        let found = find(&self.paths)?;
        self.overrides.plugins.components(&found.iter().map(|found| found.path.as_path()).collect::<Vec<_>>())
    }

    /// Reads all experiments.
    ///
    /// # Errors
    /// All mistakes of all files.
    pub(crate) fn experiments(&self, catalogue: &Catalogue) -> Result<Vec<Experiment>, Failure> {
        let mut experiments = Vec::new();
        let mut mistakes = Diagnostics::default();
        let found = find(&self.paths)?;
        for found in found.iter().filter(|found| matches!(found.role, Role::Named | Role::Experiment)) {
            match self.overrides.load(found, catalogue) {
                Ok(Document::Experiment(experiment)) => experiments.push(experiment),
                Ok(Document::Training(_)) => mistakes.push(training_instead(found)),
                Err(diagnostics) => mistakes.merge(diagnostics),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes.into());
        }
        if experiments.is_empty() {
            let message = format!("there is no experiment in {}", self.paths.join(", "));
            return Err(Failure::new(Exit::Usage, message).hint("an experiment is a `.toml` file with `[experiment]`"));
        }
        Ok(experiments)
    }

    /// The device on which an experiment is computed.
    pub(crate) fn device_of(&self, experiment: &Experiment) -> String {
        self.device.clone().or_else(|| experiment.device.clone()).unwrap_or_else(|| "flex".to_owned())
    }
}

impl Overrides {
    /// Reads a spec.
    ///
    /// # Errors
    /// All its mistakes.
    pub(crate) fn load(&self, found: &Found, catalogue: &Catalogue) -> Result<Document, Diagnostics> {
        let mut document = load_spec(&found.path, &self.set, catalogue, &self.data.environment())?;
        if let Some(limit) = self.limit {
            match &mut document {
                Document::Experiment(experiment) => experiment.samples.truncate(limit.get()),
                Document::Training(training) => training.samples.truncate(limit.get()),
            }
        }
        Ok(document)
    }
}

fn training_instead(found: &Found) -> Diagnostic {
    let path = found.path.display();
    Diagnostic::new(format!("`{path}` is a training run, not an experiment"))
        .help(format!("run it with `realsafe-spec train {path}`"))
}
