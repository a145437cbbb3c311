//! A cell before its attack: its images, its victim, and what that says of them.

use rand::RngExt;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{ComponentFailure, DefendedModel, Draws, Logits, Samples, Stop, most_frequent};
use realsafe_plan::{Cell, TargetRule};
use realsafe_results::Status;

use crate::workshop::{BuildError, Workshop};

/// Why a cell gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CellError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Stop(#[from] Stop),
    #[error("the model `{model}` gives NaN for the clean image of sample {sample}")]
    NotANumber { model: String, sample: u32 },
}

impl CellError {
    /// How samples are recorded that this happened to; none where it may be gone next time and says nothing about them.
    pub(crate) const fn status(&self) -> Option<Status> {
        match self {
            Self::Build(_) | Self::NotANumber { .. } => Some(Status::Failed),
            Self::Stop(Stop::Cancelled | Stop::Device(_)) => None,
            Self::Stop(Stop::Budget { .. }) => Some(Status::OverBudget),
            Self::Stop(Stop::Component { failure, .. }) => Some(match failure {
                ComponentFailure::Failed => Status::Failed,
                ComponentFailure::Crashed => Status::Crashed,
                ComponentFailure::TimedOut => Status::TimedOut,
                ComponentFailure::OutOfMemory => Status::OutOfMemory,
            }),
        }
    }
}

/// A cell before its attack.
pub(crate) struct Prepared {
    pub(crate) samples: Samples,
    pub(crate) model: DefendedModel,
    /// The prediction of each clean image; of a randomised victim, the most frequent one.
    pub(crate) predictions: Vec<u32>,
    /// How often each clean image is predicted as its label.
    pub(crate) clean_shares: Vec<f64>,
    pub(crate) targets: Vec<Option<u32>>,
    /// Whether the model gives probabilities where logits belong.
    pub(crate) softened: bool,
}

/// Reads the images, builds the victim and asks it for the clean images.
pub(crate) fn prepare(cell: &Cell, workshop: &Workshop) -> Result<Prepared, CellError> {
    let samples = workshop.samples(&cell.data, &cell.samples)?;
    let model = workshop.defended(&cell.model, &cell.stack)?;
    let clean_on = |draw: u32| {
        workshop.clean(cell, draw, || {
            let draws = cell.samples.iter().map(|sample| (*sample, draw.into()));
            model.judge(&samples, &Draws::new(0, Purpose::Verification, draws), workshop.device())
        })
    };
    let clean = clean_on(0)?;
    let mut on_draws = vec![clean.predictions()];
    for draw in 1..cell.draws.unwrap_or(1) {
        on_draws.push(clean_on(draw)?.predictions());
    }
    let (mut predictions, mut clean_shares) = (Vec::new(), Vec::new());
    for (row, &sample) in cell.samples.iter().enumerate() {
        let of_row: Vec<Option<u32>> = on_draws.iter().map(|predictions| predictions[row]).collect();
        let nan = || CellError::NotANumber { model: cell.model.id.clone(), sample };
        predictions.push(most_frequent(&of_row).ok_or_else(nan)?);
        let correct = of_row.iter().filter(|prediction| **prediction == Some(samples.labels[row])).count();
        clean_shares.push(correct as f64 / of_row.len() as f64);
    }
    let targets = targets(cell, &samples, &clean)?;
    Ok(Prepared { samples, model, predictions, clean_shares, targets, softened: are_probabilities(&clean) })
}

/// Whether every row lies in `[0, 1]` and sums to one.
fn are_probabilities(logits: &Logits) -> bool {
    let is_distribution = |row: &[f32]| {
        let inside = row.iter().all(|value| (-1e-5..=1.0 + 1e-5).contains(value));
        inside && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5
    };
    logits.rows().all(is_distribution)
}

/// The target of each sample, where the goal has one.
pub(crate) fn targets(cell: &Cell, samples: &Samples, clean: &Logits) -> Result<Vec<Option<u32>>, BuildError> {
    let count = samples.labels.len();
    let Some(rule) = &cell.threat.target else { return Ok(vec![None; count]) };
    let classes = u32::try_from(clean.classes()).unwrap_or(u32::MAX);
    let labels = samples.labels.iter().copied();
    Ok(match rule {
        TargetRule::Next => labels.map(|label| Some((label + 1) % classes)).collect(),
        TargetRule::Random => {
            labels.zip(&cell.samples).map(|(label, sample)| Some(random(cell.seed, *sample, label, classes))).collect()
        }
        TargetRule::LeastLikely => {
            labels.zip(clean.rows()).map(|(label, logits)| Some(least_likely(label, logits))).collect()
        }
        TargetRule::Dataset => match &samples.targets {
            Some(targets) => targets.iter().copied().map(Some).collect(),
            None => return Err(BuildError::without_targets(&cell.data)),
        },
    })
}

fn random(seed: u64, sample: u32, label: u32, classes: u32) -> u32 {
    let key = StreamKey { seed, purpose: Purpose::Target, sample: sample.into(), restart: 0, step: 0 };
    let drawn = stream(key).random_range(0..classes - 1);
    if drawn >= label { drawn + 1 } else { drawn }
}

fn least_likely(label: u32, logits: &[f32]) -> u32 {
    let others = (0..logits.len()).filter(|class| *class != label as usize);
    let least = others.reduce(|least, class| if logits[class] < logits[least] { class } else { least });
    u32::try_from(least.unwrap_or_default()).unwrap_or_default()
}
