//! `train`: runs a training spec.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use realsafe_core::device;
use realsafe_plan::{Diagnostic, Diagnostics, Document, TrainingSpec};
use realsafe_results::percent;
use realsafe_train::{EpochMetrics, Progress, TrainingError, Watch, train};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::find::{Found, Role};
use crate::interruption;
use crate::selection::Overrides;
use crate::terminal::{print, tell};

/// Train a network as a training spec says
#[derive(clap::Args)]
pub(crate) struct Train {
    /// A spec with `[training]`
    spec: PathBuf,
    /// Where weights, metrics and checkpoints go
    #[arg(long, value_name = "DIR", default_value = "training")]
    out: PathBuf,
    /// Where to compute, as in `flex` or `tch:cuda:0` [default: what `[run] device` says, else `flex`]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
}

impl Train {
    pub(crate) fn execute(&self) -> Outcome {
        let spec = self.load()?;
        let device = device::open(self.device.as_deref().or(spec.device.as_deref()).unwrap_or("flex"))?;
        let cancelled = interruption::listen()?;
        let bar = bar();
        let watch = Watch { cancelled: &cancelled, progress: &|progress| show(&bar, progress) };
        let summary = train(&spec, &self.overrides.data.locations(), &device, &self.out, watch);
        bar.finish_and_clear();
        let summary = summary.map_err(failure)?;
        for weights in summary.weights {
            print(&format!("{} (BLAKE3 {})\n", weights.file.display(), weights.blake3))?;
        }
        Ok(Exit::Done)
    }

    fn load(&self) -> Result<TrainingSpec, Failure> {
        let found = Found { path: self.spec.clone(), role: Role::Named };
        match self.overrides.load(&found, &self.overrides.plugins.components(&[&self.spec])?.catalogue)? {
            Document::Training(training) => Ok(training),
            Document::Experiment(_) => Err(Diagnostics::from(experiment_instead(&self.spec)).into()),
        }
    }
}

fn experiment_instead(path: &Path) -> Diagnostic {
    let path = path.display();
    Diagnostic::new(format!("`{path}` is an experiment, not a training run"))
        .help(format!("run it with `realsafe-spec run {path}`"))
}

/// A bar over the updates of an epoch; hidden where standard error is no terminal.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} updates  {msg}").expect("the template is fixed");
    let bar = ProgressBar::new(0).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn show(bar: &ProgressBar, progress: Progress<'_>) {
    match progress {
        Progress::Resumed { epochs } => bar.suspend(|| tell(&format!("going on after epoch {epochs}\n"))),
        Progress::Batch { epoch, batch, batches, loss } => {
            bar.set_length(batches as u64);
            bar.set_position(batch as u64);
            bar.set_message(format!("epoch {epoch}, loss {loss:.4}"));
        }
        Progress::Epoch(metrics) => bar.suspend(|| tell(&line(metrics))),
    }
}

fn line(metrics: &EpochMetrics) -> String {
    let EpochMetrics { epoch, train_loss, train_accuracy, test_accuracy, .. } = metrics;
    let test = test_accuracy.map_or(String::new(), |accuracy| format!(", test accuracy {}", percent(accuracy, 2)));
    format!("epoch {epoch}: loss {train_loss:.4}, training accuracy {}{test}\n", percent(*train_accuracy, 2))
}

fn failure(error: TrainingError) -> Failure {
    let exit = match error {
        TrainingError::Invalid(_) => Exit::Invalid,
        TrainingError::Device(_) => Exit::Unavailable,
        TrainingError::Diverged { .. } => Exit::Failed,
        TrainingError::Interrupted { .. } => Exit::Interrupted,
        TrainingError::File(_) => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}
