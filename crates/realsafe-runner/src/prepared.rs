//! A cell before its attack: its images, its victim, and what that says of them.

use rand::RngExt;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{ComponentFailure, DefendedModel, Draws, Logits, Samples, Stop, most_frequent};
use realsafe_plan::{Cell, Chosen, TargetRule};
use realsafe_results::Status;

use crate::workshop::{BuildError, Clean, Workshop};

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
    /// Clean images that got other logits when the victim was asked again.
    pub(crate) random_answers: u64,
}

/// Reads the images, builds the victim and asks it for the clean images.
pub(crate) fn prepare(cell: &Cell, workshop: &Workshop) -> Result<Prepared, CellError> {
    let samples = workshop.samples(&cell.data, &cell.samples)?;
    let model = workshop.defended(&cell.model, &cell.stack)?;
    let clean_on = |draw: u32| {
        workshop.clean(cell, draw, || {
            let ask = |samples: &Samples| {
                let draws = cell.samples.iter().take(samples.labels.len()).map(|sample| (*sample, draw.into()));
                model.judge(samples, &Draws::new(0, Purpose::Verification, draws), workshop.device())
            };
            let random_answers = if cell.draws.is_some() { 0 } else { differing(ask, &samples)? };
            Ok(Clean { logits: ask(&samples)?, random_answers })
        })
    };
    let clean = clean_on(0)?;
    let mut on_draws = vec![clean.logits.predictions()];
    for draw in 1..cell.draws.unwrap_or(1) {
        on_draws.push(clean_on(draw)?.logits.predictions());
    }
    let (mut predictions, mut clean_shares) = (Vec::new(), Vec::new());
    for (row, &sample) in cell.samples.iter().enumerate() {
        let of_row: Vec<Option<u32>> = on_draws.iter().map(|predictions| predictions[row]).collect();
        let nan = || CellError::NotANumber { model: cell.model.id.clone(), sample };
        predictions.push(most_frequent(&of_row).ok_or_else(nan)?);
        let correct = of_row.iter().filter(|prediction| **prediction == Some(samples.labels[row])).count();
        clean_shares.push(correct as f64 / of_row.len() as f64);
    }
    let Clean { logits, random_answers } = &*clean;
    let targets = targets_of(cell, &samples, logits)?;
    let (softened, random_answers) = (are_probabilities(logits), *random_answers);
    Ok(Prepared { samples, model, predictions, clean_shares, targets, softened, random_answers })
}

/// How many images are asked about twice: few, so that it costs little beside any attack.
const ASKED_TWICE: usize = 8;

/// How many of the first images get other logits, to the last bit, when they are asked about again.
fn differing(ask: impl Fn(&Samples) -> Result<Logits, Stop>, samples: &Samples) -> Result<u64, Stop> {
    let count = samples.labels.len().min(ASKED_TWICE);
    let size: usize = samples.shape.iter().product();
    let first = Samples {
        shape: samples.shape,
        pixels: samples.pixels[..count * size].to_vec(),
        labels: samples.labels[..count].to_vec(),
        targets: None,
    };
    let (once, again) = (ask(&first)?, ask(&first)?);
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    // The logit of rejection shows in the predictions.
    let rows = once.rows().zip(again.rows()).map(|(once, again)| bits(once) != bits(again));
    let predictions = once.predictions().into_iter().zip(again.predictions()).map(|(once, again)| once != again);
    Ok(rows.zip(predictions).filter(|(row, prediction)| *row || *prediction).count() as u64)
}

/// Whether every row lies in `[0, 1]` and sums to one.
fn are_probabilities(logits: &Logits) -> bool {
    let is_distribution = |row: &[f32]| {
        let inside = row.iter().all(|value| (-1e-5..=1.0 + 1e-5).contains(value));
        inside && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5
    };
    logits.rows().all(is_distribution)
}

/// The target of each sample of a cell, where the goal has one.
pub(crate) fn targets_of(cell: &Cell, samples: &Samples, clean: &Logits) -> Result<Vec<Option<u32>>, BuildError> {
    let targets = Targets { data: &cell.data, indices: &cell.samples, samples, clean, seed: cell.seed };
    targets.by(cell.threat.target.as_ref())
}

/// What targets are chosen from.
pub(crate) struct Targets<'a> {
    pub(crate) data: &'a Chosen,
    /// The index of each sample in the dataset.
    pub(crate) indices: &'a [u32],
    pub(crate) samples: &'a Samples,
    /// The logits of the clean images.
    pub(crate) clean: &'a Logits,
    pub(crate) seed: u64,
}

impl Targets<'_> {
    /// The targets by a rule; none without one.
    pub(crate) fn by(&self, rule: Option<&TargetRule>) -> Result<Vec<Option<u32>>, BuildError> {
        let Self { data, indices, samples, clean, seed } = *self;
        let classes = u32::try_from(clean.classes()).unwrap_or(u32::MAX);
        let labels = samples.labels.iter().copied();
        Ok(match rule {
            None => vec![None; samples.labels.len()],
            Some(TargetRule::Next) => labels.map(|label| Some((label + 1) % classes)).collect(),
            Some(TargetRule::Random) => {
                labels.zip(indices).map(|(label, sample)| Some(random(seed, *sample, label, classes))).collect()
            }
            Some(TargetRule::LeastLikely) => {
                labels.zip(clean.rows()).map(|(label, logits)| Some(least_likely(label, logits))).collect()
            }
            Some(TargetRule::Dataset) => match &samples.targets {
                Some(targets) => targets.iter().copied().map(Some).collect(),
                None => return Err(BuildError::without_targets(data)),
            },
        })
    }
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
