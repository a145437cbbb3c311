//! `curves.csv`: robust accuracy against eps, queries and iterations.
//!
//! - `eps`: a point at 0, from the clean predictions, and one per eps of the list; for attacks that minimise the distance an exact step function instead, with
//!   a point at 0, at every distance and at every eps of the list. Of attacks that search for the smallest radius (`search`
//!   in the spec) it is the lower envelope over all radii that were tried: a sample counts as broken from the smallest
//!   success on, although the attack might fail at a larger radius. `envelope` marks the rows of such curves. Where several
//!   attacks run, `worst-case` has their worst case as in the summary, at 0 and at every eps of the list. Certificates have exact
//!   step functions as well, which are lower bounds of the accuracy; `certified` marks their rows.
//! - `queries`: a step function with a point at 0, at every number of queries that first broke a sample, and at the most
//!   that any sample took. Left out where the distance is minimised, because there the first adversarial decides nothing, and
//!   of randomised victims, of which only final images are judged.
//! - `iterations`: a point per recorded step, of randomised victims judged on one draw. A sample without a record at a step left the attack before it, and counts
//!   as it ended.
//!
//! Errors leave the rate empty and widen the interval, as in the summary.

use std::collections::{BTreeMap, BTreeSet};

use realsafe_plan::{Experiment, Goal, Number};
use serde::Serialize;

use super::entry::Entry;
use super::group::{Group, Judged, Rate, Subject};
use crate::TracePoint;

/// A row of `curves.csv`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CurveRow {
    pub(crate) experiment: String,
    pub(crate) model: String,
    pub(crate) defense: String,
    pub(crate) attack: String,
    pub(crate) threat: String,
    pub(crate) norm: &'static str,
    pub(crate) goal: &'static str,
    /// The radius of the whole curve; empty where it is the axis.
    pub(crate) eps: String,
    pub(crate) seed: u64,
    pub(crate) x_axis: &'static str,
    pub(crate) x: f64,
    pub(crate) rate: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Whether the rate is a lower envelope over the radii of a search.
    pub(crate) envelope: bool,
    /// Whether the rate is certified: a lower bound of robust accuracy.
    pub(crate) certified: bool,
}

/// Whether curves of an attack are those of a certificate.
pub(crate) fn is_certificate(experiment: &Experiment, attack: &str) -> bool {
    experiment.attacks.iter().any(|spec| spec.choice.chosen.id == attack && spec.is_certificate())
}

/// Whether curves of an attack against eps are lower envelopes over the radii of a search.
pub(crate) fn is_envelope(experiment: &Experiment, attack: &str) -> bool {
    experiment.attacks.iter().any(|spec| spec.choice.chosen.id == attack && spec.search.is_some())
}

/// The curves of one experiment's groups. `radii` gives the eps list of a group that minimises the distance.
pub(crate) fn curve_rows<'a>(groups: &[Group], radii: impl Fn(&Subject) -> &'a [Number]) -> Vec<CurveRow> {
    let mut rows = eps_curves(groups, &radii);
    for group in groups {
        match &group.eps {
            Some(eps) => {
                rows.extend(queries_curve(group));
                rows.extend(iterations_curve(group, eps));
            }
            None => rows.extend(radii(&group.subject).iter().flat_map(|eps| iterations_curve(group, eps))),
        }
    }
    rows
}

/// The worst case over several attacks against eps: what the summary says at each listed radius.
pub(crate) fn worst_case_rows(entries: &[Entry]) -> Vec<CurveRow> {
    let is_beaten = |entry: &&Entry| {
        let of_attacks = entries.iter().filter(|other| other.is_attack() && entry.subject.same_victim(&other.subject));
        let attacks: BTreeSet<&str> = of_attacks.map(|other| other.subject.attack.as_str()).collect();
        attacks.len() > 1 && !entry.judged.is_empty()
    };
    let worst = entries.iter().filter(|entry| entry.group.is_none()).filter(is_beaten);
    let mut curves: BTreeMap<_, Vec<CurveRow>> = BTreeMap::new();
    for entry in worst {
        let Entry { subject, eps: Some(eps), seed, judged, .. } = entry else { continue };
        let point = |x, rate| row(subject, *seed, None, "eps", x, rate);
        let clean = || Rate::of_shares(judged.iter().map(|judged| unattacked_share(judged, subject.goal)));
        let curve = curves.entry((subject.key(), *seed)).or_insert_with(|| vec![point(0.0, clean())]);
        curve.push(point(eps.value(), entry.robust_accuracy()));
    }
    curves.values_mut().for_each(|curve| curve.sort_by(|a, b| a.x.total_cmp(&b.x)));
    curves.into_values().flatten().collect()
}

fn row(subject: &Subject, seed: u64, eps: Option<&Number>, x_axis: &'static str, x: f64, rate: Rate) -> CurveRow {
    let Subject { experiment, model, defense, attack, threat, norm, goal } = subject.clone();
    let interval = rate.interval();
    CurveRow {
        experiment,
        model,
        defense,
        attack,
        threat,
        norm: norm.name(),
        goal: goal.name(),
        eps: eps.map(|eps| eps.text().to_owned()).unwrap_or_default(),
        seed,
        x_axis,
        x,
        rate: rate.value(),
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        envelope: false,
        certified: false,
    }
}

/// The curves against eps, each in one piece although its points are groups of their own.
fn eps_curves<'a>(groups: &[Group], radii: &impl Fn(&Subject) -> &'a [Number]) -> Vec<CurveRow> {
    let mut curves: Vec<Vec<CurveRow>> = Vec::new();
    let mut places = BTreeMap::new();
    for group in groups.iter().filter(|group| !group.outcomes.is_empty()) {
        let point = |x, rate| CurveRow {
            envelope: group.search.is_some(),
            certified: group.is_certificate,
            ..row(&group.subject, group.seed, None, "eps", x, rate)
        };
        let place = *places.entry((group.subject.key(), group.seed)).or_insert(curves.len());
        if place == curves.len() {
            curves.push(Vec::from_iter(group.eps.is_some().then(|| point(0.0, unattacked(group)))));
        }
        let points = match &group.eps {
            Some(eps) => vec![eps.value()],
            None => step_positions(group, radii(&group.subject)),
        };
        curves[place].extend(
            points
                .into_iter()
                .map(|radius| point(radius, Rate::of_shares(group.judge(radius).iter().map(Judged::robust_share)))),
        );
    }
    curves.iter_mut().for_each(|curve| curve.sort_by(|a, b| a.x.total_cmp(&b.x)));
    curves.into_iter().flatten().collect()
}

/// The share of samples whose clean image is not what the attacker wants.
fn unattacked(group: &Group) -> Rate {
    let judged = group.judge(0.0);
    Rate::of_shares(judged.iter().map(|judged| unattacked_share(judged, group.subject.goal)))
}

/// How often the clean image is not what the attacker wants; where that is a class, the most frequent prediction decides.
fn unattacked_share(judged: &Judged, goal: Goal) -> Option<f64> {
    let robust = !goal.reached_by_clean(judged.clean_pred?, judged.label, judged.target);
    match judged.shares {
        Some(shares) if goal != Goal::Targeted => Some(shares.clean),
        _ => Some(f64::from(u8::from(robust))),
    }
}

/// Where the accuracy of a minimal-distance attack can change, and the listed radii; ascending.
fn step_positions(group: &Group, radii: &[Number]) -> Vec<f64> {
    let distances =
        group.outcomes.iter().map(|outcome| group.distance(outcome)).filter(|distance| distance.is_finite());
    let mut positions: Vec<f64> = distances.chain(radii.iter().map(Number::value)).chain([0.0]).collect();
    positions.sort_by(f64::total_cmp);
    positions.dedup();
    positions
}

fn queries_curve(group: &Group) -> Vec<CurveRow> {
    // Per sample: robust throughout (infinite), broken after some queries, or unknown after an error.
    let broken_after = |judged: &Judged, first: Option<u64>| {
        judged.broken.map(|broken| if broken { first.unwrap_or(judged.queries) } else { u64::MAX })
    };
    let judged = group.judge(f64::MAX);
    let times: Vec<Option<u64>> = judged
        .iter()
        .zip(&group.outcomes)
        .map(|(judged, outcome)| broken_after(judged, outcome.first_success))
        .collect();
    if times.is_empty() || judged.iter().any(|judged| judged.shares.is_some()) {
        return Vec::new();
    }
    let broken = times.iter().flatten().copied().filter(|time| *time < u64::MAX);
    let most = judged.iter().map(|judged| judged.queries).max();
    let positions: BTreeSet<u64> = broken.chain([0]).chain(most).collect();
    let point = |queries: u64| {
        let rate = Rate::of(times.iter().map(|time| time.map(|time| time > queries)));
        row(&group.subject, group.seed, group.eps.as_ref(), "queries", queries as f64, rate)
    };
    positions.into_iter().map(point).collect()
}

fn iterations_curve(group: &Group, eps: &Number) -> Vec<CurveRow> {
    let mut points: BTreeMap<u32, Vec<&TracePoint>> = BTreeMap::new();
    for point in &group.trace {
        points.entry(point.sample).or_default().push(point);
    }
    let steps: BTreeSet<u32> = group.trace.iter().map(|point| point.step).collect();
    let judged = group.judge(eps.value());
    let point = |step: u32| {
        let robust = judged.iter().map(|judged| {
            let recorded = points.get(&judged.sample).map(Vec::as_slice).unwrap_or_default();
            let reached = |point: &&TracePoint| point.broken && point.distance <= eps.value();
            let broken = match recorded.iter().find(|point| point.step == step) {
                None => return judged.robust_share(),
                Some(point) if group.eps.is_some() => point.broken,
                Some(_) => recorded.iter().take_while(|point| point.step <= step).any(reached),
            };
            judged.broken.map(|_| f64::from(u8::from(!broken)))
        });
        row(&group.subject, group.seed, Some(eps), "iterations", f64::from(step), Rate::of_shares(robust))
    };
    steps.into_iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{cell, outcome, record};
    use crate::{Status, Store};

    #[test]
    fn minimal_distances_give_a_step_function_and_iterations_per_eps() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let cell = cell("net", "walk", None, 0..4, 0);
        let distances =
            [(Status::Broken, 0.0), (Status::Broken, 0.2), (Status::Broken, 0.5), (Status::Robust, f64::INFINITY)];
        let outcomes = (0..).zip(distances).map(|(sample, (status, distance))| outcome(sample, status, distance));
        let mut computed = record(outcomes.collect());
        let point = |sample, step, distance| TracePoint { sample, step, queries: 1, pred: 2, distance, broken: true };
        // Sample 1 comes closer and goes away again; sample 0 needs no step; sample 3 never succeeds.
        computed.trace = vec![
            point(1, 1, 0.9),
            point(1, 2, 0.2),
            point(1, 3, 0.4),
            point(2, 1, 0.7),
            point(2, 2, 0.6),
            point(2, 3, 0.5),
        ];
        store.put(&cell, &computed).unwrap();
        let groups = Group::load(&[&cell], &store).unwrap();
        let radii: [Number; 1] = ["0.3".parse().unwrap()];
        let rows = curve_rows(&groups, |_| &radii);
        let points: Vec<_> = rows.iter().map(|row| (row.x_axis, row.x, row.rate.unwrap())).collect();
        assert_eq!(
            points,
            [
                ("eps", 0.0, 0.75),
                ("eps", 0.2, 0.5),
                ("eps", 0.3, 0.5),
                ("eps", 0.5, 0.25),
                ("iterations", 1.0, 0.75),
                ("iterations", 2.0, 0.5),
                ("iterations", 3.0, 0.5),
            ]
        );
        assert!(rows.iter().all(|row| row.low < row.rate && row.rate < row.high));
    }

    #[test]
    fn fixed_budgets_share_one_curve_over_eps() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let cells = [("1/2", "bbrf"), ("1/4", "brrr")].map(|(eps, letters)| {
            let cell = cell("net", "step", Some(eps), 0..4, 0);
            store.put(&cell, &crate::fixture::record_of(0, letters)).unwrap();
            cell
        });
        let groups = Group::load(&cells.iter().collect::<Vec<_>>(), &store).unwrap();
        let rows = curve_rows(&groups, |_| &[]);
        let points: Vec<_> = rows.iter().map(|row| (row.x_axis, row.eps.as_str(), row.x, row.rate)).collect();
        assert_eq!(
            points,
            [
                ("eps", "", 0.0, Some(1.0)),
                ("eps", "", 0.25, Some(0.75)),
                ("eps", "", 0.5, None),
                ("queries", "1/2", 0.0, None),
                ("queries", "1/2", 1.0, None),
                ("queries", "1/2", 2.0, None),
                ("queries", "1/2", 10.0, None),
                ("queries", "1/4", 0.0, Some(1.0)),
                ("queries", "1/4", 1.0, Some(0.75)),
                ("queries", "1/4", 10.0, Some(0.75)),
            ]
        );
    }

    /// A certificate beside an attack on a randomised victim: radii of 0 (nothing proven), 0.2 and 0.5.
    #[test]
    fn certificates_give_a_marked_step_function_of_their_own() {
        let plan = crate::fixture::plan(&[r#"
            experiment = { id = "certified" }
            data = { use = "dots", samples = 3 }
            model = [{ use = "net" }]
            threat = { norm = "linf", eps = ["1/8", "1/4"] }
            attack = [{ use = "step" }, { use = "proof" }]
        "#]);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let shares = crate::Shares { clean: 0.9, correct: 0.8, robust: 0.7 };
        let ends = [(Status::Uncertified, 0.0), (Status::Certified, 0.2), (Status::Certified, 0.5)];
        for cell in &plan.cells {
            let mut computed = crate::fixture::record_of(0, "rrr");
            if cell.threat.eps.is_none() {
                let outcomes = (0..).zip(ends).map(|(sample, (status, radius))| outcome(sample, status, radius));
                computed = record(outcomes.collect());
                computed.outcomes.iter_mut().for_each(|outcome| outcome.adv_pred = None);
            }
            computed.outcomes.iter_mut().for_each(|outcome| outcome.shares = Some(shares));
            store.put(cell, &computed).unwrap();
        }
        let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
        let radii = |_: &Subject| plan.experiments[0].threats[0].eps.as_slice();
        let rows = curve_rows(&groups, radii);
        let points: Vec<_> = rows.iter().filter(|row| row.certified).map(|row| (row.attack.as_str(), row.x)).collect();
        assert_eq!(points, [0.0, 0.125, 0.2, 0.25, 0.5].map(|x| ("proof", x)));
        let rates: Vec<Option<f64>> = rows.iter().filter(|row| row.certified).map(|row| row.rate).collect();
        let third = Some(1.0 / 3.0);
        assert_eq!(rates, [Some(2.0 / 3.0), Some(2.0 / 3.0), third, third, Some(0.0)]);
        assert!(rows.iter().all(|row| row.certified == (row.attack == "proof")));
        // It is no part of the worst case, which a single attack does not have in curves.
        let entries = crate::tables::entry::entries(&groups, |subject| radii(subject).to_vec());
        assert_eq!(worst_case_rows(&entries).len(), 0);
        let nothing = vec![Vec::new(); entries.len()];
        let summary = crate::tables::summary::summary_rows(&entries, &nothing, &vec![None; groups.len()]);
        let proofs: Vec<_> = summary.iter().filter(|row| row.certified).collect();
        assert_eq!(proofs.iter().map(|row| row.eps.as_str()).collect::<Vec<_>>(), ["1/8", "1/4"]);
        for (row, rate) in proofs.iter().zip([2.0 / 3.0, 1.0 / 3.0]) {
            assert_eq!((row.robust_accuracy, row.clean_accuracy), (Some(rate), Some(0.9)));
            assert_eq!((row.accuracy, row.success, row.success_rate, row.errors), (None, None, None, Some(0)));
            assert_eq!((row.median_distance, row.mean_distance), (Some(0.2), Some((0.2 + 0.5) / 3.0)));
        }
        let worst: Vec<_> = summary.iter().filter(|row| row.attack == "worst-case").collect();
        let close = |rate: Option<f64>| (rate.unwrap() - 0.7).abs() < 1e-12;
        assert!(worst.len() == 2 && worst.iter().all(|row| close(row.robust_accuracy) && !row.certified));
    }

    #[test]
    fn randomised_victims_count_by_shares_and_the_worst_case_by_the_smallest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut cells = Vec::new();
        for (attack, robust) in [("step", [1.0, 0.75, 0.25]), ("leap", [0.5, 0.8, 0.0])] {
            let mut cell = cell("net", attack, Some("1/2"), 0..3, 0);
            cell.draws = Some(20);
            let mut computed = crate::fixture::record_of(0, "rrb");
            for (outcome, robust) in computed.outcomes.iter_mut().zip(robust) {
                outcome.shares = Some(crate::Shares { clean: 0.9, correct: robust, robust });
            }
            store.put(&cell, &computed).unwrap();
            assert_eq!(store.get(&cell.key).unwrap(), Some(computed), "what is stored is read again");
            cells.push(cell);
        }
        let groups = Group::load(&cells.iter().collect::<Vec<_>>(), &store).unwrap();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        let rows = curve_rows(&groups, |_| &[]);
        assert!(rows.iter().all(|row| row.x_axis == "eps"), "queries before the last decide nothing");
        assert_eq!(rows.len(), 4);
        for row in &rows {
            let expected = if row.x == 0.0 {
                0.9
            } else if row.attack == "step" {
                2.0 / 3.0
            } else {
                1.3 / 3.0
            };
            close(row.rate.unwrap(), expected);
            assert!(row.low < row.rate && row.rate < row.high);
        }
        let entries = crate::tables::entry::entries(&groups, |_| Vec::new());
        let worst = worst_case_rows(&entries);
        close(worst[0].rate.unwrap(), 0.9);
        close(worst[1].rate.unwrap(), (0.5 + 0.75 + 0.0) / 3.0);
    }
}
