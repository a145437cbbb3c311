//! The gradient-masking gate: results that say more about the attack than about the model.
//!
//! A result is suspect when one of these holds (Athalye et al. 2018, arXiv:1802.00420; Carlini et al. 2019,
//! arXiv:1902.06705):
//!
//! - `unbounded`: more than 1 % of the samples stay robust although the attack may choose any image: at a radius that
//!   spans the box, or at whatever distance. Of a search, the largest radius that it tries counts.
//! - `black-box-wins`: an attack without the victim's gradients breaks more samples than the best one with them, on the
//!   same model, stack, threat model, radius and seed. All attacks with gradients there are suspect.
//! - `more-iterations-hurt`: fewer of the recorded iterates are adversarial after the last recorded step than after an
//!   earlier one. Of attacks with gradients, a fixed radius and no restarts, but not of chains.
//! - `one-step-wins`: an attack of one gradient breaks more samples than one of several at the same radius.
//! - `zero-gradients`: of the samples that a gradient was taken of, the first one was zero or not a number for more
//!   than 1 %.
//! - `random-answers`: the defended model, which does not say that it draws random numbers, answered an image otherwise when it
//!   was asked again: other logits for a clean image, to the last bit, or another prediction for an adversarial (`disputed`
//!   samples). It draws after all, or its answers hang by rounding.
//! - `black-box-member-wins`: in a chain, the members without gradients after the last one with gradients break more
//!   than 0.2 points of all samples beyond what was broken before them (a warning of AutoAttack about Square; Croce,
//!   Hein 2020, arXiv:2003.01690).
//! - `certificate-broken`: an attack breaks a sample within the radius that a certificate proves for it. Proofs that rest on
//!   random draws may be wrong with a small probability.
//!
//! Of attacks on each other, "more" and "fewer" mean by more than one point of robust accuracy and by more than two standard errors of the
//! difference on the same samples. Samples that ended in an error are left out; `unbounded` counts them as broken.
//!
//! What an experiment gives no occasion for is told as not checked.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use realsafe_plan::{Access, Norm, Number};

pub use self::check::{Check, Suspicion};
use super::entry::Entry;
use super::group::Group;
use super::judged::Judged;
use super::rate::Rate;
use crate::statistics::Paired;
use crate::text::percent;
use crate::{Outcome, Status, TracePoint};

/// The difference, and the share of samples, that must be exceeded.
const POINT: f64 = 0.01;
/// The share of samples that the members without gradients may still break.
const MEMBER_SHARE: f64 = 0.002;
/// The standard errors that must be exceeded.
const ERRORS: f64 = 2.0;
/// Decimal fractions are not exact in binary: a point is not more than a point.
const ROUNDING: f64 = 1e-12;

/// What a check says of a result.
enum Finding {
    /// Nothing: there is no occasion for it.
    Unchecked,
    /// It is passed.
    Passed,
    /// It is not, with what was measured, in words.
    Suspect(String),
}

impl Finding {
    /// Of a check that was made.
    fn of(evidence: Option<String>) -> Self {
        evidence.map_or(Self::Passed, Self::Suspect)
    }
}

/// What the gate says of an experiment.
pub(crate) struct Verdicts {
    /// The suspicions about each entry.
    pub(crate) suspicions: Vec<Vec<Suspicion>>,
    /// The checks that its attacks give no occasion for, and could.
    pub(crate) unchecked: Vec<Check>,
}

/// Looks at all entries; `values` is how many values an image has.
pub(crate) fn judge(groups: &[Group], entries: &[Entry], values: usize) -> Verdicts {
    let mut made = BTreeSet::new();
    let suspicions = entries.iter().map(|entry| {
        let found = findings(entry, groups, entries, values).into_iter().filter_map(|(check, finding)| {
            if !matches!(finding, Finding::Unchecked) {
                made.insert(check);
            }
            let Finding::Suspect(evidence) = finding else { return None };
            Some(Suspicion { check, evidence })
        });
        found.collect()
    });
    let suspicions = suspicions.collect();
    // Where nothing is attacked, or nothing there yet, there is nothing to check.
    let is_attacked = entries.iter().any(|entry| entry.is_attack() && !entry.judged.is_empty());
    let unchecked =
        Check::ALL.into_iter().filter(|check| is_attacked && check.needs().is_some() && !made.contains(check));
    Verdicts { suspicions, unchecked: unchecked.collect() }
}

fn findings(entry: &Entry, groups: &[Group], entries: &[Entry], values: usize) -> Vec<(Check, Finding)> {
    let Some(group) = entry.group.map(|index| &groups[index]) else {
        return Vec::new();
    };
    if group.is_certificate {
        return vec![(Check::CertificateBroken, Finding::of(certificate_broken(group, groups)))];
    }
    let rivals: Vec<(&Group, &Entry)> = entries
        .iter()
        .filter(|other| other.is_attack())
        .filter_map(|other| Some((&groups[other.group?], other)))
        .filter(|(_, other)| is_comparable(entry, other))
        .collect();
    vec![
        (Check::Unbounded, unbounded(group, entry, values)),
        (Check::BlackBoxWins, black_box_wins(group, &rivals)),
        (Check::MoreIterationsHurt, more_iterations_hurt(group)),
        (Check::OneStepWins, one_step_wins(group, entry, &rivals)),
        (Check::ZeroGradients, Finding::of(zero_gradients(group))),
        (Check::RandomAnswers, Finding::of(random_answers(group))),
        (Check::BlackBoxMemberWins, Finding::of(black_box_member_wins(group))),
    ]
}

fn is_comparable(entry: &Entry, other: &Entry) -> bool {
    let eps = |entry: &Entry| entry.eps.as_ref().map(Number::value);
    entry.seed == other.seed && eps(entry) == eps(other) && entry.subject.same_victim(&other.subject)
}

fn unbounded(group: &Group, entry: &Entry, values: usize) -> Finding {
    let whole_box = match group.subject.norm {
        Norm::Linf => 1.0,
        Norm::L2 => (values as f64).sqrt(),
        Norm::L1 | Norm::L0 => values as f64,
    };
    if group.largest_radius() < whole_box {
        return Finding::Unchecked;
    }
    let rate = match &group.eps {
        Some(_) => entry.robust_accuracy(),
        None => Rate::of_shares(group.judge(f64::INFINITY).iter().map(Judged::robust_share)),
    };
    let robust = rate.bounds().map(|(robust, _)| robust).filter(|robust| *robust > POINT);
    Finding::of(robust.map(|robust| format!("{} stay robust although any image may be chosen", percent(robust, 1))))
}

fn black_box_wins(group: &Group, rivals: &[(&Group, &Entry)]) -> Finding {
    let robust = |entry: &Entry| entry.robust_accuracy().bounds().map_or(1.0, |(low, high)| f64::midpoint(low, high));
    let with_gradients = rivals.iter().filter(|(rival, _)| rival.access == Access::Gradients);
    let best = with_gradients.min_by(|(_, a), (_, b)| robust(a).total_cmp(&robust(b)));
    let without = || rivals.iter().filter(|(rival, _)| rival.access != Access::Gradients);
    let Some((_, best)) = best.filter(|_| group.access == Access::Gradients && without().next().is_some()) else {
        return Finding::Unchecked;
    };
    let winner =
        without().filter_map(|rival| Some((exceeds(best, rival.1)?, rival))).max_by(|(a, _), (b, _)| larger(a, b));
    Finding::of(winner.map(|(paired, (_, winner))| {
        let difference = describe(&paired);
        format!(
            "{} breaks more without gradients than {}, the best with them: {difference}",
            winner.subject.attack, best.subject.attack
        )
    }))
}

fn one_step_wins(group: &Group, entry: &Entry, rivals: &[(&Group, &Entry)]) -> Finding {
    let single = || rivals.iter().filter(|(rival, _)| rival.access == Access::Gradients && rival.gradients == 1);
    let has_several = group.access == Access::Gradients && group.gradients > 1 && group.eps.is_some();
    if !has_several || single().next().is_none() {
        return Finding::Unchecked;
    }
    let winner =
        single().filter_map(|rival| Some((exceeds(entry, rival.1)?, rival))).max_by(|(a, _), (b, _)| larger(a, b));
    Finding::of(winner.map(|(paired, (_, winner))| {
        format!("{} breaks more in one step: {}", winner.subject.attack, describe(&paired))
    }))
}

fn more_iterations_hurt(group: &Group) -> Finding {
    let single = group.restarts == 1 && group.members.is_empty() && group.access == Access::Gradients;
    let Some(eps) = group.eps.as_ref().filter(|_| single && group.recorded_steps > 1) else {
        return Finding::Unchecked;
    };
    let mut points: BTreeMap<u32, BTreeMap<u32, &TracePoint>> = BTreeMap::new();
    for point in &group.trace {
        points.entry(point.sample).or_default().insert(point.step, point);
    }
    let judged = group.judge(eps.value());
    let most = group.subject.norm.tolerance(eps.value());
    let goal = group.subject.goal;
    // Without a record, a sample had left the attack and stays what it is.
    let robust_at = |step: u32| -> Vec<(u32, f64)> {
        let robust = judged.iter().filter_map(|judged| {
            let point = points.get(&judged.sample).and_then(|points| points.get(&step));
            let iterate =
                point.map(|point| point.distance > most || !goal.reached(point.pred, judged.label, judged.target));
            let iterate = iterate.map(|robust| f64::from(u8::from(robust)));
            Some((judged.sample, judged.robust_share().map(|end| iterate.unwrap_or(end))?))
        });
        robust.collect()
    };
    let steps: BTreeSet<u32> = group.trace.iter().map(|point| point.step).collect();
    let Some(last) = steps.last().copied() else { return Finding::Passed };
    let end = robust_at(last);
    let compared = steps.into_iter().filter_map(|step| Some((surpasses(&end, &robust_at(step))?, step)));
    let worst = compared.max_by(|(a, _), (b, _)| larger(a, b));
    Finding::of(worst.map(|(paired, step)| {
        format!("the iterates of step {step} break more than those of step {last}: {}", describe(&paired))
    }))
}

fn zero_gradients(group: &Group) -> Option<String> {
    let took_one = |outcome: &&Outcome| outcome.spent.backwards + outcome.spent.surrogate_backwards > 0;
    let (zero, all) = (group.zero_gradients, group.outcomes.iter().filter(took_one).count() as u64);
    let share = zero as f64 / all.max(1) as f64;
    (share > POINT + ROUNDING).then(|| {
        format!("the first gradient was zero or not a number for {zero} of {all} samples ({})", percent(share, 1))
    })
}

fn random_answers(group: &Group) -> Option<String> {
    let disputed = group.outcomes.iter().filter(|outcome| outcome.status == Status::Disputed).count();
    let all = group.outcomes.len();
    if disputed > 0 {
        return Some(format!(
            "the adversarials of {disputed} of {all} samples got another answer when they were verified"
        ));
    }
    let otherwise = group.random_answers;
    (otherwise > 0).then(|| format!("{otherwise} clean images got other logits when the victim was asked again"))
}

fn black_box_member_wins(group: &Group) -> Option<String> {
    let with_gradients = group.members.iter().rposition(|member| member.access == Access::Gradients)?;
    let without = &group.members[with_gradients + 1..];
    let (broken, all) = (without.iter().map(|member| member.broken).sum::<u64>(), group.outcomes.len());
    let share = broken as f64 / all.max(1) as f64;
    let names: Vec<&str> = without.iter().filter(|member| member.broken > 0).map(|member| member.id.as_str()).collect();
    (share > MEMBER_SHARE + ROUNDING).then(|| {
        let (names, share) = (names.join(" and "), percent(share, 2));
        format!(
            "without gradients, {names} broke {broken} of {all} samples ({share}) that the members with gradients left"
        )
    })
}

fn certificate_broken(group: &Group, groups: &[Group]) -> Option<String> {
    let radii: BTreeMap<u32, f64> =
        group.outcomes.iter().map(|outcome| (outcome.sample, group.distance(outcome))).collect();
    let attacks = groups.iter().filter(|other| !other.is_certificate && group.subject.same_victim(&other.subject));
    let broken_by = |attack: &Group| {
        let inside =
            |outcome: &&Outcome| radii.get(&outcome.sample).is_some_and(|radius| attack.distance(outcome) < *radius);
        attack.outcomes.iter().filter(inside).count()
    };
    let (broken, attack) = attacks
        .map(|attack| (broken_by(attack), attack))
        .max_by_key(|(broken, _)| *broken)
        .filter(|(broken, _)| *broken > 0)?;
    let (name, all) = (&attack.subject.attack, radii.len());
    Some(format!("{name} breaks {broken} of {all} samples within the radius that is proven for them"))
}

/// Both entries on the same samples, if the first is more robust by more than the thresholds.
fn exceeds(first: &Entry, second: &Entry) -> Option<Paired> {
    surpasses(&robust(first), &robust(second))
}

/// How often samples without errors are robust, in ascending order.
fn robust(entry: &Entry) -> Vec<(u32, f64)> {
    entry.judged.iter().filter_map(|judged| Some((judged.sample, judged.robust_share()?))).collect()
}

fn surpasses(first: &[(u32, f64)], second: &[(u32, f64)]) -> Option<Paired> {
    let mut paired = Paired::default();
    let mut others = second.iter().peekable();
    for (sample, first) in first {
        while others.next_if(|(other, _)| other < sample).is_some() {}
        if let Some((_, second)) = others.next_if(|(other, _)| other == sample) {
            paired.add(*first, *second);
        }
    }
    let (difference, error) = paired.difference().zip(paired.error())?;
    (difference > POINT + ROUNDING && difference > ERRORS * error).then_some(paired)
}

fn larger(a: &Paired, b: &Paired) -> std::cmp::Ordering {
    a.difference().unwrap_or(0.0).total_cmp(&b.difference().unwrap_or(0.0))
}

/// Robust accuracies of the second and the first, and their difference.
fn describe(paired: &Paired) -> String {
    let share = |count: f64| percent(count / paired.total().max(1.0), 1);
    let (difference, error) = (paired.difference().unwrap_or(0.0), paired.error().unwrap_or(0.0));
    format!(
        "robust accuracy {} against {}, {:.1} points (standard error {:.1})",
        share(paired.both + paired.second),
        share(paired.both + paired.first),
        100.0 * difference,
        100.0 * error
    )
}

#[cfg(test)]
mod tests;
