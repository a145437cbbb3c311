//! `verify-adversarials`: judges images that anybody made.

use std::io;
use std::path::PathBuf;

use realsafe_core::device;
use realsafe_results::{Error, percent, read_adversarials, table};
use realsafe_runner::{InBall, Verified, Workshop, verify};
use serde_json::{Value, json};

use crate::catalogue::Components;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::selection::Selection;
use crate::terminal::{Format, print, print_json};

/// Judge a set of images, made by anybody, against the models and defenses of an experiment
#[derive(clap::Args)]
pub(crate) struct VerifyAdversarials {
    /// A `.safetensors` file (`images` [n, c, h, w] in [0, 1], `samples` [n] if they are not the first ones, `labels` [n] to be
    /// compared, `targets` [n]) or a `.npy` file
    file: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl VerifyAdversarials {
    pub(crate) fn execute(&self) -> Outcome {
        let set = read_adversarials(&self.file).map_err(|error| match error {
            Error::Io(error) => {
                Failure::new(Exit::Usage, error.to_string()).hint("paths are relative to the current folder")
            }
            other => other.into(),
        })?;
        let locations = self.selection.overrides.data.locations();
        let mut judged = Vec::new();
        let Components { registry, catalogue } = self.selection.components()?;
        for experiment in self.selection.experiments(&catalogue)? {
            let device = device::open(&self.selection.device_of(&experiment))?;
            let verified = verify(&experiment, &set, &Workshop::new(&device, &registry, &locations))?;
            judged.extend(verified.into_iter().map(|verified| (experiment.id.clone(), verified)));
        }
        self.show(&judged)?;
        Ok(Exit::Done)
    }

    fn show(&self, judged: &[(String, Verified)]) -> io::Result<()> {
        match self.format {
            Format::Text => {
                let header = [
                    "experiment",
                    "model",
                    "defense",
                    "threat",
                    "samples",
                    "clean",
                    "accuracy",
                    "inside",
                    "robust accuracy",
                ];
                print(&table(
                    &header,
                    4..9,
                    judged.iter().flat_map(|(experiment, verified)| rows(experiment, verified)),
                ))
            }
            Format::Json => {
                print_json(&judged.iter().map(|(experiment, verified)| object(experiment, verified)).collect())
            }
        }
    }
}

/// A row per ball; one for the images as they are where the experiment has no radius.
fn rows(experiment: &str, verified: &Verified) -> Vec<Vec<String>> {
    let row = |threat: String, inside: String, robust: String| {
        let names = [experiment, &verified.model, &verified.stack].map(str::to_owned);
        let rates = [verified.clean_accuracy, verified.accuracy].map(|share| percent(share, 2));
        let mut row = names.to_vec();
        row.extend([threat, verified.samples.to_string()]);
        row.extend(rates);
        row.extend([inside, robust]);
        row
    };
    let ball = |ball: &InBall| {
        row(format!("{} {}", ball.threat, ball.eps), percent(ball.inside, 2), percent(ball.robust_accuracy, 2))
    };
    if verified.balls.is_empty() {
        vec![row(String::new(), String::new(), String::new())]
    } else {
        verified.balls.iter().map(ball).collect()
    }
}

fn object(experiment: &str, verified: &Verified) -> Value {
    let ball = |ball: &InBall| json!({ "threat": ball.threat, "eps": ball.eps, "inside": ball.inside, "robust_accuracy": ball.robust_accuracy });
    json!({
        "experiment": experiment,
        "model": verified.model,
        "defense": verified.stack,
        "samples": verified.samples,
        "clean_accuracy": verified.clean_accuracy,
        "accuracy": verified.accuracy,
        "outside_box": verified.outside_box,
        "balls": verified.balls.iter().map(ball).collect::<Vec<_>>(),
    })
}
