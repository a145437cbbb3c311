//! Curves against queries and against iterations, at one radius each.

use std::collections::{BTreeMap, BTreeSet};

use realsafe_plan::{Access, CurveAxis, Number, Success};

use super::{Blank, CurveRow, unattacked};
use crate::TracePoint;
use crate::tables::group::Group;
use crate::tables::judged::Judged;
use crate::tables::rate::Rate;

pub(super) fn queries_curve(group: &Group, eps: &Number) -> Vec<CurveRow> {
    let only_last = group.success == Success::Last;
    let minimises = group.eps.is_none();
    let is_told = !minimises || only_last || !group.trace.is_empty();
    let judged = group.judge(eps.value());
    let is_randomised = judged.iter().any(|judged| judged.shares.is_some());
    if !is_told || is_randomised || group.access == Access::Nothing {
        return Vec::new();
    }
    let most = judged.iter().filter_map(|judged| judged.spent).map(|spent| spent.queries).max();
    let blank = Blank {
        subject: &group.subject,
        seed: group.seed,
        eps: Some(eps),
        axis: CurveAxis::Queries,
        steps: !only_last,
    };
    if only_last {
        let end = Rate::of_shares(judged.iter().map(Judged::robust_share));
        let end = most.map(|most| blank.point(most as f64, end));
        return [blank.point(0.0, unattacked(group, &judged))].into_iter().chain(end).collect();
    }
    // Per sample: robust throughout (infinite), broken after some queries, or unknown after an error.
    let times: Vec<Option<u64>> =
        if minimises { known_after(group, eps, &judged) } else { broken_after(group, &judged) };
    let broken = times.iter().flatten().copied().filter(|time| *time < u64::MAX);
    let positions: BTreeSet<u64> = broken.chain([0]).chain(most).collect();
    let rate = |queries: u64| Rate::of(times.iter().map(|time| time.map(|time| time > queries)));
    positions.into_iter().map(|queries| blank.point(queries as f64, rate(queries))).collect()
}

/// After how many queries each sample was first broken.
fn broken_after(group: &Group, judged: &[Judged]) -> Vec<Option<u64>> {
    let time = |(judged, first): (&Judged, Option<u64>)| {
        let end = judged.spent.map_or(0, |spent| spent.queries);
        judged.broken.map(|broken| if broken { first.unwrap_or(end) } else { u64::MAX })
    };
    judged.iter().zip(group.outcomes.iter().map(|outcome| outcome.first_success)).map(time).collect()
}

/// After how many queries each sample was first seen to have an adversarial within a radius: at a recorded step, or at the end.
fn known_after(group: &Group, eps: &Number, judged: &[Judged]) -> Vec<Option<u64>> {
    let within = group.subject.norm.tolerance(eps.value());
    let points = points(group);
    let time = |judged: &Judged| {
        let end = judged.spent.map_or(0, |spent| spent.queries);
        // What the clean image breaks takes no query.
        let end = if judged.distance == 0.0 { 0 } else { end };
        let recorded = points.get(&judged.sample).into_iter().flatten();
        let seen = recorded.filter(|point| point.distance <= within).map(|point| point.queries).min();
        judged.broken.map(|broken| if broken { seen.unwrap_or(end) } else { u64::MAX })
    };
    judged.iter().map(time).collect()
}

pub(super) fn iterations_curve(group: &Group, eps: &Number) -> Vec<CurveRow> {
    if group.trace.is_empty() {
        return Vec::new();
    }
    let points = points(group);
    let steps: BTreeSet<u32> = group.trace.iter().map(|point| point.step).collect();
    let judged = group.judge(eps.value());
    let within = group.subject.norm.tolerance(eps.value());
    let blank =
        Blank { subject: &group.subject, seed: group.seed, eps: Some(eps), axis: CurveAxis::Iterations, steps: false };
    let rate = |step: u32| {
        let robust = judged.iter().map(|judged| {
            let mut recorded = points.get(&judged.sample).into_iter().flatten();
            let broken = match recorded.find(|point| point.step == step) {
                None => return judged.robust_share(),
                Some(point) if group.eps.is_some() => point.broken,
                Some(point) => point.distance <= within,
            };
            judged.broken.map(|_| f64::from(u8::from(!broken)))
        });
        Rate::of_shares(robust)
    };
    let at_zero = blank.point(0.0, unattacked(group, &judged));
    [at_zero].into_iter().chain(steps.into_iter().map(|step| blank.point(f64::from(step), rate(step)))).collect()
}

/// The recorded steps of each sample, in order.
fn points(group: &Group) -> BTreeMap<u32, Vec<&TracePoint>> {
    let mut points: BTreeMap<u32, Vec<&TracePoint>> = BTreeMap::new();
    for point in &group.trace {
        points.entry(point.sample).or_default().push(point);
    }
    points
}
