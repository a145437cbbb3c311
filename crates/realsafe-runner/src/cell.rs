//! Computes one cell.

use std::sync::Arc;

use realsafe_core::{
    Control, DefendedModel, Driver, Judged, Judgement, Member, Recorded, Shares as CoreShares, Task, Verdict,
};
use realsafe_plan::{Access, Cell, Chosen, Cost, Number, StackLayer};
use realsafe_results::{Adversarials, CellRecord, MemberRecord, Outcome, Shares, Spent, Status, TracePoint};

use crate::certificate::certify;
use crate::prepared::{CellError, Prepared, prepare, targets_of};
use crate::workshop::{BuildError, BuiltMember, Made, Workshop};

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
    let Prepared { samples, mut model, predictions, clean_shares, targets, softened, random_answers } =
        prepare(cell, workshop)?;
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
    Ok(CellRecord { outcomes, trace, members, zero_gradients, random_answers, adversarials, warnings })
}

/// The record of a cell that failed: every sample an error, so that no rate counts it on either side.
///
/// What is known of the clean images is told; nothing is computed anew, since that may be what failed.
pub(crate) fn failed(cell: &Cell, workshop: &Workshop, status: Status, reason: &str) -> Result<CellRecord, CellError> {
    let samples = workshop.samples(&cell.data, &cell.samples)?;
    let clean = workshop.known_clean(cell);
    let unknown = || vec![None; cell.samples.len()];
    let predictions = clean.as_ref().map_or_else(unknown, |clean| clean.logits.predictions());
    let targets = clean.map_or_else(|| Ok(unknown()), |clean| targets_of(cell, &samples, &clean.logits))?;
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
        random_answers: 0,
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
