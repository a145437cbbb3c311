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
//! - `random-answers`: an adversarial was not verified, because the defended model answered the same image otherwise
//!   (`disputed` samples): it draws random numbers without saying so, or its answers hang by rounding.
//! - `black-box-member-wins`: in a chain, the members without gradients after the last one with gradients break more
//!   than 0.2 points of all samples beyond what was broken before them (a warning of AutoAttack about Square; Croce,
//!   Hein 2020, arXiv:2003.01690).
//! - `certificate-broken`: an attack breaks a sample within the radius that a certificate proves for it. Proofs that rest on
//!   random draws may be wrong with a small probability.
//!
//! Of attacks on each other, "more" and "fewer" mean by more than one point of robust accuracy and by more than two standard errors of the
//! difference on the same samples. Samples that ended in an error are left out; `unbounded` counts them as broken.

use std::collections::{BTreeMap, BTreeSet};

use realsafe_plan::{Access, Norm, Number};
use serde::Serialize;

use super::entry::Entry;
use super::group::{Group, Judged, Rate};
use crate::statistics::Paired;
use crate::{Outcome, Status, TracePoint};

/// The difference, and the share of samples, that must be exceeded.
const POINT: f64 = 0.01;
/// The share of samples that the members without gradients may still break.
const MEMBER_SHARE: f64 = 0.002;
/// The standard errors that must be exceeded.
const ERRORS: f64 = 2.0;
/// Decimal fractions are not exact in binary: a point is not more than a point.
const ROUNDING: f64 = 1e-12;

/// What makes a result suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Samples stay robust at any distance.
    Unbounded,
    /// Attacks without gradients break more.
    BlackBoxWins,
    /// Earlier iterates break more.
    MoreIterationsHurt,
    /// An attack of one step breaks more.
    OneStepWins,
    /// First gradients are zero or not a number.
    ZeroGradients,
    /// The same image gets different answers.
    RandomAnswers,
    /// Members of a chain without gradients break what those with gradients left.
    BlackBoxMemberWins,
    /// What is proven does not hold.
    CertificateBroken,
}

impl Check {
    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbounded => "unbounded",
            Self::BlackBoxWins => "black-box-wins",
            Self::MoreIterationsHurt => "more-iterations-hurt",
            Self::OneStepWins => "one-step-wins",
            Self::ZeroGradients => "zero-gradients",
            Self::RandomAnswers => "random-answers",
            Self::BlackBoxMemberWins => "black-box-member-wins",
            Self::CertificateBroken => "certificate-broken",
        }
    }

    /// Whether an attack that minimises the distance passes it or not radius by radius, and not as a whole.
    pub(crate) const fn is_about_a_radius(self) -> bool {
        !matches!(self, Self::Unbounded | Self::ZeroGradients | Self::RandomAnswers | Self::CertificateBroken)
    }
}

/// Why a result is suspect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// The check that it does not pass.
    pub check: Check,
    /// What was measured, in words.
    pub evidence: String,
}

/// The suspicions about each entry; `values` is how many values an image has.
pub(crate) fn suspicions(groups: &[Group], entries: &[Entry], values: usize) -> Vec<Vec<Suspicion>> {
    let of_entry = |entry: &Entry| {
        let Some(group) = entry.group.map(|index| &groups[index]) else {
            return Vec::new();
        };
        if group.is_certificate {
            let evidence = certificate_broken(group, groups);
            return Vec::from_iter(evidence.map(|evidence| Suspicion { check: Check::CertificateBroken, evidence }));
        }
        let rivals: Vec<(&Group, &Entry)> = entries
            .iter()
            .filter(|other| other.is_attack())
            .filter_map(|other| Some((&groups[other.group?], other)))
            .filter(|(_, other)| is_comparable(entry, other))
            .collect();
        let checks = [
            (Check::Unbounded, unbounded(group, entry, values)),
            (Check::BlackBoxWins, black_box_wins(group, &rivals)),
            (Check::MoreIterationsHurt, more_iterations_hurt(group)),
            (Check::OneStepWins, one_step_wins(group, entry, &rivals)),
            (Check::ZeroGradients, zero_gradients(group)),
            (Check::RandomAnswers, random_answers(group)),
            (Check::BlackBoxMemberWins, black_box_member_wins(group)),
        ];
        checks.into_iter().filter_map(|(check, evidence)| Some(Suspicion { check, evidence: evidence? })).collect()
    };
    entries.iter().map(of_entry).collect()
}

fn is_comparable(entry: &Entry, other: &Entry) -> bool {
    let eps = |entry: &Entry| entry.eps.as_ref().map(Number::value);
    entry.seed == other.seed && eps(entry) == eps(other) && entry.subject.same_victim(&other.subject)
}

fn unbounded(group: &Group, entry: &Entry, values: usize) -> Option<String> {
    let whole_box = match group.subject.norm {
        Norm::Linf => 1.0,
        Norm::L2 => (values as f64).sqrt(),
        Norm::L1 | Norm::L0 => values as f64,
    };
    if group.largest_radius() < whole_box {
        return None;
    }
    let rate = match &group.eps {
        Some(_) => Rate::of_shares(entry.judged.iter().map(Judged::robust_share)),
        None => Rate::of_shares(group.judge(f64::MAX).iter().map(Judged::robust_share)),
    };
    let (robust, _) = rate.bounds().filter(|(robust, _)| *robust > POINT)?;
    Some(format!("{} stay robust although any image may be chosen", percent(robust)))
}

fn black_box_wins(group: &Group, rivals: &[(&Group, &Entry)]) -> Option<String> {
    if group.access != Access::Gradients {
        return None;
    }
    let robust = |entry: &Entry| entry.robust_accuracy().bounds().map_or(1.0, |(low, high)| f64::midpoint(low, high));
    let with_gradients = rivals.iter().filter(|(rival, _)| rival.access == Access::Gradients);
    let (_, best) = with_gradients.min_by(|(_, a), (_, b)| robust(a).total_cmp(&robust(b)))?;
    let without = rivals.iter().filter(|(rival, _)| rival.access != Access::Gradients);
    let (paired, (_, winner)) =
        without.filter_map(|rival| Some((exceeds(best, rival.1)?, rival))).max_by(|(a, _), (b, _)| larger(a, b))?;
    let difference = describe(&paired);
    Some(format!(
        "{} breaks more without gradients than {}, the best with them: {difference}",
        winner.subject.attack, best.subject.attack
    ))
}

fn one_step_wins(group: &Group, entry: &Entry, rivals: &[(&Group, &Entry)]) -> Option<String> {
    if group.access != Access::Gradients || group.gradients < 2 || group.eps.is_none() {
        return None;
    }
    let single = rivals.iter().filter(|(rival, _)| rival.access == Access::Gradients && rival.gradients == 1);
    let (paired, (_, winner)) =
        single.filter_map(|rival| Some((exceeds(entry, rival.1)?, rival))).max_by(|(a, _), (b, _)| larger(a, b))?;
    Some(format!("{} breaks more in one step: {}", winner.subject.attack, describe(&paired)))
}

fn more_iterations_hurt(group: &Group) -> Option<String> {
    let single = group.restarts == 1 && group.members.is_empty();
    let eps = group.eps.as_ref().filter(|_| single && group.access == Access::Gradients)?;
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
    let last = *steps.last()?;
    let end = robust_at(last);
    let compared = steps.into_iter().filter_map(|step| Some((surpasses(&end, &robust_at(step))?, step)));
    let (paired, step) = compared.max_by(|(a, _), (b, _)| larger(a, b))?;
    Some(format!("the iterates of step {step} break more than those of step {last}: {}", describe(&paired)))
}

fn zero_gradients(group: &Group) -> Option<String> {
    let took_one = |outcome: &&Outcome| outcome.spent.backwards + outcome.spent.surrogate_backwards > 0;
    let (zero, all) = (group.zero_gradients, group.outcomes.iter().filter(took_one).count() as u64);
    let share = zero as f64 / all.max(1) as f64;
    (share > POINT + ROUNDING).then(|| {
        format!("the first gradient was zero or not a number for {zero} of {all} samples ({})", percent(share))
    })
}

fn random_answers(group: &Group) -> Option<String> {
    let disputed = group.outcomes.iter().filter(|outcome| outcome.status == Status::Disputed).count();
    let all = group.outcomes.len();
    (disputed > 0)
        .then(|| format!("the adversarials of {disputed} of {all} samples got another answer when they were verified"))
}

fn black_box_member_wins(group: &Group) -> Option<String> {
    let with_gradients = group.members.iter().rposition(|member| member.access == Access::Gradients)?;
    let without = &group.members[with_gradients + 1..];
    let (broken, all) = (without.iter().map(|member| member.broken).sum::<u64>(), group.outcomes.len());
    let share = broken as f64 / all.max(1) as f64;
    let names: Vec<&str> = without.iter().filter(|member| member.broken > 0).map(|member| member.id.as_str()).collect();
    (share > MEMBER_SHARE + ROUNDING).then(|| {
        let names = names.join(" and ");
        format!(
            "without gradients, {names} broke {broken} of {all} samples ({:.2} %) that the members with gradients left",
            100.0 * share
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
    let share = |count: f64| percent(count / paired.total().max(1.0));
    let (difference, error) = (paired.difference().unwrap_or(0.0), paired.error().unwrap_or(0.0));
    format!(
        "robust accuracy {} against {}, {:.1} points (standard error {:.1})",
        share(paired.both + paired.second),
        share(paired.both + paired.first),
        100.0 * difference,
        100.0 * error
    )
}

fn percent(rate: f64) -> String {
    format!("{:.1} %", 100.0 * rate)
}

#[cfg(test)]
mod tests;
