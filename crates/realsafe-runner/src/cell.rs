//! Computes one cell.

use std::sync::Arc;

use rand::RngExt;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{
    ComponentFailure, Control, DefendedModel, Draws, Driver, Judged, Judgement, Logits, Member, Recorded, Samples,
    Shares as CoreShares, Stop, Task, Verdict, most_frequent,
};
use realsafe_plan::{Access, Cell, Chosen, Cost, Number, StackLayer, TargetRule};
use realsafe_results::{Adversarials, CellRecord, MemberRecord, Outcome, Shares, Spent, Status, TracePoint};

use crate::certificate::certify;
use crate::workshop::{BuildError, BuiltMember, Made, Workshop};

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
    targets: Vec<Option<u32>>,
    /// Whether the model gives probabilities where logits belong.
    softened: bool,
}

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

/// Runs the attack of a cell and turns what the host judged into outcomes.
pub(crate) fn compute(
    cell: &Cell,
    workshop: &Workshop,
    control: Control<'_>,
    keep_images: bool,
) -> Result<CellRecord, CellError> {
    if cell.attack.chosen.component.is_certificate() {
        return certify(cell, workshop, control);
    }
    let Prepared { samples, mut model, predictions, clean_shares, targets, softened } = prepare(cell, workshop)?;
    let attacks = workshop.attacks(cell)?;
    let mut surrogates = workshop.surrogates(cell)?;
    let transfers = cell.attack.access() == Access::Nothing;
    if let Some(decay) = attacks.iter().find_map(|member| member.attack.residual_decay()) {
        if attacks.len() > 1 {
            return Err(BuildError::in_chain(&cell.attack.chosen).into());
        }
        let damp = |(network, chosen): (&mut DefendedModel, &Arc<Chosen>)| -> Result<(), BuildError> {
            let damped = network.with_residual_decay(decay);
            *network = damped.ok_or_else(|| BuildError::without_branches(&cell.attack.chosen, chosen))?;
            Ok(())
        };
        if transfers {
            surrogates.iter_mut().zip(&cell.attack.surrogates).try_for_each(damp)
        } else {
            damp((&mut model, &cell.model))
        }?;
    }
    let shape = samples.shape;
    let task = Task {
        model,
        surrogates,
        ensemble: cell.attack.ensemble,
        transfers,
        samples,
        indices: cell.samples.clone(),
        targets: targets.clone(),
        clean: predictions.clone(),
        norm: cell.threat.norm,
        goal: cell.threat.goal,
        eps: cell.threat.eps.as_ref().map(Number::value),
        search: cell.attack.search.clone(),
        success: cell.attack.success,
        budget: cell.attack.budget,
        record: cell.attack.record.clone(),
        seed: cell.seed,
        draws: cell.draws,
    };
    let labels = task.samples.labels.clone();
    let members: Vec<Member<'_>> = attacks.iter().map(BuiltMember::member).collect();
    let run = |task| Driver::run(task, &members, workshop.device(), control);
    let warnings = || attacks.iter().flat_map(|member| member.attack.warnings()).collect::<Vec<String>>();
    // Where steps are recorded, the victim judges these too; where it has no eps, it decides which clean images are done.
    let (judged, mut warnings) = if transfers && task.record.is_empty() && task.eps.is_some() {
        let bytes = size_of_val(task.samples.pixels.as_slice());
        let mut first = false;
        let made = workshop.made(cell, &targets, bytes, || {
            first = true;
            Ok(Made { judged: run(task.clone())?, warnings: warnings() })
        })?;
        let mut judged = made.judged.clone();
        if !first {
            let member = members[0];
            judged.judgements = Driver::judge(task, member, &made.judged.judgements, workshop.device(), control)?;
        }
        (judged, made.warnings.clone())
    } else {
        (run(task)?, warnings())
    };
    if softened {
        warnings.push(format!(
            "the model `{}` gives probabilities: losses of logits hardly change where it is certain; leave out its softmax",
            cell.model.id
        ));
    }
    if cell.draws.is_some() && cell.attack.access() >= Access::Scores && averages_nothing(cell) {
        warnings.push(format!(
            "the victim is randomised, and `{}` goes by single draws of it: raise `eot` (version = \"rand\" of AutoAttack), as one draw says little about the next",
            cell.attack.chosen.id
        ));
    }
    if cell.attack.chosen.component.chain().is_some()
        && let Some(layer) = cell.stack.iter().find(|layer| optimises(layer))
    {
        warnings.push(format!(
            "the defense `{}` solves an optimisation problem for every image, which `{}` was not made for: it may miss adversarials that an attack adapted to the defense finds",
            layer.defense.id, cell.attack.chosen.id
        ));
    }
    let Judged { judgements, recorded, contributions, zero_gradients } = judged;
    let outcomes = judgements.iter().enumerate().map(|(slot, judgement)| Outcome {
        sample: cell.samples[slot],
        label: labels[slot],
        target: targets[slot],
        clean_pred: Some(predictions[slot]),
        adv_pred: judgement.prediction,
        status: status(judgement.verdict),
        dist_linf: judgement.distances.linf,
        dist_l2: judgement.distances.l2,
        dist_l1: judgement.distances.l1,
        dist_l0: judgement.distances.l0,
        spent: spent(judgement.spent, judgement.surrogates),
        first_success: judgement.first_success,
        failed_at: judgement.failed_at,
        shares: judgement.shares.map(|CoreShares { correct, robust }| Shares {
            clean: clean_shares[slot],
            correct,
            robust,
        }),
        broken_by: judgement.broken_by.and_then(|place| Some(cell.attack.members.get(place)?.chosen.id.clone())),
    });
    let outcomes = outcomes.collect();
    let trace = recorded.iter().filter_map(|point| trace_point(cell, point)).collect();
    let images = |judgements: Vec<Judgement>| judgements.into_iter().flat_map(|judgement| judgement.pixels).collect();
    let adversarials = keep_images.then(|| Adversarials { shape, pixels: images(judgements) });
    let members = cell.attack.members.iter().zip(contributions).map(|(member, contribution)| MemberRecord {
        id: member.chosen.id.clone(),
        attacked: contribution.attacked,
        broken: contribution.broken,
        spent: spent(contribution.spent, contribution.surrogates),
    });
    let members = members.collect();
    Ok(CellRecord { outcomes, trace, members, zero_gradients, adversarials, warnings })
}

/// The record of a cell that failed: every sample an error, so that no rate counts it on either side.
///
/// What is known of the clean images is told; nothing is computed anew, since that may be what failed.
pub(crate) fn failed(cell: &Cell, workshop: &Workshop, status: Status, reason: &str) -> Result<CellRecord, CellError> {
    let samples = workshop.samples(&cell.data, &cell.samples)?;
    let clean = workshop.known_clean(cell);
    let unknown = || vec![None; cell.samples.len()];
    let predictions = clean.as_ref().map_or_else(unknown, |clean| clean.predictions());
    let targets = clean.map_or_else(|| Ok(unknown()), |clean| targets(cell, &samples, &clean))?;
    let outcome = |slot: usize| Outcome {
        sample: cell.samples[slot],
        label: samples.labels[slot],
        target: targets[slot],
        clean_pred: predictions[slot],
        adv_pred: None,
        status,
        dist_linf: f64::INFINITY,
        dist_l2: f64::INFINITY,
        dist_l1: f64::INFINITY,
        dist_l0: f64::INFINITY,
        spent: Spent::default(),
        first_success: None,
        failed_at: None,
        broken_by: None,
        shares: None,
    };
    let outcomes = (0..cell.samples.len()).map(outcome).collect();
    Ok(CellRecord {
        outcomes,
        trace: Vec::new(),
        members: Vec::new(),
        zero_gradients: 0,
        adversarials: None,
        warnings: vec![reason.to_owned()],
    })
}

/// Whether no answer that the attack gets is a mean over draws.
fn averages_nothing(cell: &Cell) -> bool {
    cell.attack.eot == 1 && cell.attack.members.iter().all(|member| member.eot == 1)
}

/// Whether a defense solves an optimisation problem for every image.
fn optimises(layer: &StackLayer) -> bool {
    layer.defense.component.defense().is_some_and(|traits| traits.optimises)
}

/// Whether every row lies in `[0, 1]` and sums to one.
fn are_probabilities(logits: &Logits) -> bool {
    let is_distribution = |row: &[f32]| {
        let inside = row.iter().all(|value| (-1e-5..=1.0 + 1e-5).contains(value));
        inside && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5
    };
    logits.rows().all(is_distribution)
}

const fn spent(victim: Cost, surrogates: Cost) -> Spent {
    Spent {
        queries: victim.queries,
        forwards: victim.forwards,
        backwards: victim.backwards,
        surrogate_forwards: surrogates.forwards,
        surrogate_backwards: surrogates.backwards,
    }
}

const fn status(verdict: Verdict) -> Status {
    match verdict {
        Verdict::Robust => Status::Robust,
        Verdict::Broken => Status::Broken,
        Verdict::Invalid => Status::Invalid,
        Verdict::Disputed => Status::Disputed,
    }
}

/// A recorded step; none where the model gave NaN, which the final verdict reports.
fn trace_point(cell: &Cell, point: &Recorded) -> Option<TracePoint> {
    let (sample, step, queries) = (cell.samples[point.slot], point.step, point.queries);
    let (pred, distance, broken) = (point.prediction?, point.distance, point.broken);
    Some(TracePoint { sample, step, queries, pred, distance, broken })
}

/// The target of each sample, where the goal has one.
fn targets(cell: &Cell, samples: &Samples, clean: &Logits) -> Result<Vec<Option<u32>>, BuildError> {
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
