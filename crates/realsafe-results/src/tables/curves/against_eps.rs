//! Curves against eps: of attacks, certificates and worst cases.

use std::collections::{BTreeMap, BTreeSet};

use realsafe_plan::{CurveAxis, Number};

use super::{Blank, CurvePoint, CurveRow, unattacked};
use crate::grouping::grouped;
use crate::tables::entry::Entry;
use crate::tables::group::{Group, Subject, nearest};
use crate::tables::judged::Judged;
use crate::tables::rate::Rate;
use crate::tables::row::Row;

/// The curves of attacks and certificates, each in one piece although its points are groups of their own.
pub(super) fn eps_curves<'a>(groups: &[Group], radii: &impl Fn(&Subject) -> &'a [Number]) -> Vec<CurveRow> {
    let there = groups.iter().filter(|group| !group.outcomes.is_empty());
    let curve = |(_, groups): (_, Vec<&Group>)| {
        let first = groups[0];
        let blank = Blank { steps: first.eps.is_none(), ..blank(&first.subject, first.seed) };
        let point = |x, rate| {
            let CurveRow { about, values } = blank.point(x, rate);
            Row {
                about,
                values: CurvePoint { envelope: first.search.is_some(), certified: first.is_certificate, ..values },
            }
        };
        let at_zero = first.eps.is_some().then(|| point(0.0, unattacked(first, &first.judge(0.0))));
        let points = groups.into_iter().flat_map(|group| {
            let radii = match &group.eps {
                Some(eps) => vec![listed(eps)],
                None => {
                    let distances = group.outcomes.iter().map(|outcome| group.distance(outcome));
                    let listed = radii(&group.subject).iter().filter(|eps| group.reaches(eps.value()));
                    step_positions(&group.subject, distances, listed)
                }
            };
            let rate = |radius| Rate::of_shares(group.judge(radius).iter().map(Judged::robust_share));
            radii.into_iter().map(|(radius, x)| point(x, rate(radius))).collect::<Vec<_>>()
        });
        sorted(at_zero.into_iter().chain(points).collect())
    };
    grouped(there, |group| (group.subject.about(None), group.seed)).into_iter().flat_map(curve).collect()
}

/// The worst case over several attacks; `entries` are those of the summary.
pub(crate) fn worst_case_rows<'a>(
    groups: &[Group],
    entries: &[Entry],
    radii: impl Fn(&Subject) -> &'a [Number],
) -> Vec<CurveRow> {
    let attacks = groups.iter().filter(|group| !group.is_certificate && !group.outcomes.is_empty());
    let victim = |group: &&Group| (group.subject.worst_case().about(None), group.seed);
    let worst = |(_, attacks): (_, Vec<&Group>)| {
        let names: BTreeSet<&str> = attacks.iter().map(|attack| attack.subject.attack.as_str()).collect();
        if names.len() < 2 {
            Vec::new()
        } else if attacks.iter().any(|attack| attack.eps.is_none()) {
            envelope(&attacks, radii(&attacks[0].subject))
        } else {
            listed_points(attacks[0], entries)
        }
    };
    grouped(attacks, victim).into_iter().flat_map(worst).collect()
}

/// The worst case at the listed radii, as the summary has it.
fn listed_points(attack: &Group, entries: &[Entry]) -> Vec<CurveRow> {
    let subject = attack.subject.worst_case();
    let blank = blank(&subject, attack.seed);
    let of_victim =
        |entry: &&Entry| entry.group.is_none() && entry.seed == attack.seed && entry.subject.same_victim(&subject);
    let mut points = Vec::new();
    for entry in entries.iter().filter(of_victim).filter(|entry| !entry.judged.is_empty()) {
        let Some(eps) = &entry.eps else { continue };
        if points.is_empty() {
            points.push(blank.point(0.0, unattacked(attack, &entry.judged)));
        }
        points.push(blank.point(eps.written(), entry.robust_accuracy()));
    }
    sorted(points)
}

/// The worst case as a step function: a sample is broken from its nearest adversarial on, and open where none is so near and an
/// attack ended in an error.
fn envelope(attacks: &[&Group], radii: &[Number]) -> Vec<CurveRow> {
    let subject = attacks[0].subject.worst_case();
    let nearest: BTreeMap<u32, f64> = nearest(attacks.iter().copied());
    let outcomes = attacks.iter().flat_map(|attack| &attack.outcomes);
    let open: BTreeSet<u32> =
        outcomes.filter(|outcome| outcome.status.is_error()).map(|outcome| outcome.sample).collect();
    let blank = Blank { steps: true, ..blank(&subject, attacks[0].seed) };
    let rate = |radius: f64| {
        let reached = subject.norm.tolerance(radius);
        let robust = |(sample, distance): (&u32, &f64)| match *distance <= reached {
            true => Some(false),
            false => (!open.contains(sample)).then_some(true),
        };
        Rate::of(nearest.iter().map(robust))
    };
    let positions = step_positions(&subject, nearest.values().copied(), radii.iter());
    positions.into_iter().map(|(radius, x)| blank.point(x, rate(radius))).collect()
}

const fn blank(subject: &Subject, seed: u64) -> Blank<'_> {
    Blank { subject, seed, eps: None, axis: CurveAxis::Eps, steps: false }
}

fn sorted(mut points: Vec<CurveRow>) -> Vec<CurveRow> {
    points.sort_by(|a, b| a.values.x.total_cmp(&b.values.x));
    points
}

/// Where the accuracy can change, and the listed radii: each in the norm and in the unit of the threat model, ascending.
fn step_positions<'a>(
    subject: &Subject,
    distances: impl Iterator<Item = f64>,
    radii: impl Iterator<Item = &'a Number>,
) -> Vec<(f64, f64)> {
    let steps = distances.filter(|distance| distance.is_finite()).chain([0.0]);
    let steps = steps.map(|distance| (distance, subject.unit.told(distance)));
    let mut positions: Vec<(f64, f64)> = radii.map(listed).chain(steps).collect();
    positions.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    positions.dedup_by_key(|(radius, _)| *radius);
    positions
}

/// A listed radius in the norm and in the unit of the threat model.
fn listed(eps: &Number) -> (f64, f64) {
    (eps.value(), eps.written())
}
