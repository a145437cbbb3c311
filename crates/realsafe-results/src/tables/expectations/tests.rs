//! Tests of verdicts.

use super::measured::Estimate;
use super::orders::is_significantly_below;
use super::*;
use crate::fixture::{failure_of, outcome, plan, record, record_of};
use crate::tables::entry::entries;
use crate::tables::group::Group;
use crate::{CellRecord, Status, Store};

#[test]
fn values_are_judged_by_tolerance_then_by_error() {
    let measured = |value: f64, (low, high): (f64, f64), samples| Measured {
        ends: [Estimate { value, low, high }; 2],
        samples,
        spread: 0.0,
    };
    let rate = |value: f64, samples: u64| measured(value, (0.0, 1.0), Some(samples));
    let median = |value: f64, low: f64, high: f64| measured(value, (low, high), None);
    let infinity = f64::INFINITY;
    for (measured, published, tolerance, samples, expected) in [
        (rate(0.893, 10_000), 0.873, 0.02, None, Verdict::Pass),
        (rate(0.853, 10_000), 0.873, 0.02, None, Verdict::Pass),
        (rate(0.900, 400), 0.873, 0.02, None, Verdict::WithinError),
        (rate(0.900, 10_000), 0.873, 0.02, None, Verdict::Fail),
        // 1.96 standard errors of 0.873 over 400 samples are 0.033.
        (rate(0.900, 10_000), 0.873, 0.02, Some(400), Verdict::WithinError),
        (rate(0.900, 10_000), 0.873, 0.02, Some(10_000), Verdict::Fail),
        // None of 100 samples is robust: up to 3.7 % of all may be, says Wilson's interval.
        (rate(0.0, 100), 0.03, 0.01, None, Verdict::WithinError),
        (rate(1.0, 100), 0.97, 0.01, None, Verdict::WithinError),
        (rate(0.0, 100), 0.04, 0.01, None, Verdict::Fail),
        (rate(0.0, 1000), 0.03, 0.01, None, Verdict::Fail),
        (median(0.5, 0.4, 0.7), 0.6, 0.05, None, Verdict::WithinError),
        (median(0.5, 0.4, 0.7), 0.8, 0.05, None, Verdict::Fail),
        (median(infinity, 0.9, infinity), 0.8, 0.05, None, Verdict::Fail),
        (median(infinity, 0.9, infinity), 1.0, 0.05, None, Verdict::WithinError),
    ] {
        let found = measured.verdict(published, tolerance, samples);
        assert_eq!(
            found, expected,
            "{published} ± {tolerance}, {samples:?} samples, measured {}",
            measured.ends[0].value
        );
    }
}

/// The rows of an expectation about two models, whose 12 samples end as the letters say.
fn judge(expectation: &str, plain: &str, trained: &str) -> Vec<ExpectationRow> {
    let spec = format!(
        r#"
        experiment = {{ id = "order" }}
        data = {{ use = "dots", samples = 12 }}
        model = [{{ id = "plain", use = "net" }}, {{ id = "trained", use = "other-net" }}]
        threat = {{ norm = "linf", eps = ["1/8", "1/4"] }}
        attack = [{{ use = "step" }}]
        expect = [{{ {expectation} }}]
        "#
    );
    let plan = plan(&[&spec]);
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for cell in &plan.cells {
        let letters = if cell.model.id == "plain" { plain } else { trained };
        let record: CellRecord = record_of(0, letters);
        store.put(cell, &record).unwrap();
    }
    let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
    expectation_rows(&plan.experiments[0], &entries(&groups, |_| Vec::new()))
}

#[test]
fn orderings_fail_only_on_evidence() {
    let above = r#"model = "trained", metric = "robust-accuracy", above = { model = "plain" }"#;
    let margin = r#"model = "trained", metric = "robust-accuracy", margin = 0.25, above = { model = "plain" }"#;
    let below = r#"model = "trained", metric = "success-rate", below = { model = "plain" }"#;
    let (none, few, most, all) = ("rrrrrrrrrrrr", "bbrrrrrrrrrr", "bbbbbbbbbbrr", "bbbbbbbbbbbb");
    for (expectation, plain, trained, expected) in [
        (above, most, few, Verdict::Pass),
        (above, few, few, Verdict::Pass),
        (above, none, few, Verdict::Unclear),
        (above, few, most, Verdict::Fail),
        (below, most, few, Verdict::Pass),
        (below, none, few, Verdict::Unclear),
        (below, none, all, Verdict::Fail),
        (margin, most, few, Verdict::Pass),
        (margin, few, none, Verdict::Unclear),
        (margin, none, few, Verdict::Fail),
        // The errors might all have been broken.
        (above, few, "ffrrrrrrrrrr", Verdict::Pass),
        (above, "brrrrrrrrrrr", "ffrrrrrrrrrr", Verdict::Unclear),
        (above, none, "ffffffffffff", Verdict::Fail),
        // And those of the other one robust.
        (above, "ffffffffffff", most, Verdict::Fail),
        (below, none, "ffffffffffff", Verdict::Fail),
    ] {
        let rows = judge(expectation, plain, trained);
        let found: Vec<_> = rows.iter().map(|row| (row.eps.as_str(), row.verdict.unwrap())).collect();
        assert_eq!(found, [("1/8", expected), ("1/4", expected)], "{expectation}: {plain} and {trained}");
    }
}

#[test]
fn orderings_may_begin_at_an_eps() {
    let from = r#"model = "trained", metric = "robust-accuracy", from-eps = "1/4", above = { model = "plain" }"#;
    let rows = judge(from, "bbrrrrrrrrrr", "rrrrrrrrrrrr");
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((row.eps.as_str(), row.other.as_str()), ("1/4", "plain none step linf 1/4"));
    assert_eq!((row.published, row.measured, row.claim.as_str()), (Some(10.0 / 12.0), Some(1.0), "above"));
}

/// The entry of an attack that minimises the distance, given how its samples end.
fn minimal(ends: &[(Status, f64)]) -> Entry {
    let plan = plan(&[&format!(
        r#"
        experiment = {{ id = "distances" }}
        data = {{ use = "dots", samples = {} }}
        model = [{{ use = "net" }}]
        threat = {{ norm = "linf" }}
        attack = [{{ use = "walk" }}]
        "#,
        ends.len()
    )]);
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let outcomes = (0..).zip(ends).map(|(sample, (status, distance))| outcome(sample, *status, *distance));
    store.put(&plan.cells[0], &record(outcomes.collect())).unwrap();
    let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
    entries(&groups, |_| Vec::new()).remove(0)
}

#[test]
fn errors_may_be_at_any_distance() {
    let at = |distance: f64| (Status::Broken, distance);
    let error = (Status::Invalid, 7.0);
    let median = |ends: &[(Status, f64)]| Measured::of(&[&minimal(ends)], Metric::MedianDistance).unwrap();
    let certain = median(&[at(0.1), at(0.2), at(0.3)]);
    assert_eq!((certain.value(), certain.verdict(0.2, 0.01, None)), (Some(0.2), Verdict::Pass));
    let open = median(&[at(0.1), at(0.2), at(0.3), error, error]);
    assert_eq!((open.value(), open.ends.map(|end| end.value)), (None, [0.1, 0.3]));
    assert_eq!(open.verdict(0.2, 0.15, None), Verdict::Pass);
    assert_eq!(open.verdict(0.1, 0.01, None), Verdict::WithinError, "as far as can be, it is 0.3");
    // Where most agree, few errors do not matter.
    let few = median(&[at(0.2), at(0.2), at(0.2), error]);
    assert_eq!((few.value(), few.low(), few.high()), (Some(0.2), 0.0, f64::INFINITY));
    // Nobody is below a median whose samples may all be at 0.
    let (near, errors) = (minimal(&[at(0.1); 12]), minimal(&[error; 12]));
    let below = |larger: &Entry, smaller: &Entry| {
        is_significantly_below((&[larger], 1.0), (&[smaller], 1.0), 0.0, Metric::MedianDistance)
    };
    assert!(below(&errors, &near) && below(&near, &errors) && !below(&near, &near));
}

#[test]
fn queries_of_failed_cells_are_unknown_and_means_of_nothing_undefined() {
    let spec = r#"
        experiment = { id = "queries" }
        data = { use = "dots", samples = 4 }
        run = { chunk = 2 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "step" }]
        expect = [
            { metric = "mean-queries", value = 10, tolerance = 0.1 },
            { metric = "mean-queries-of-successes", value = 10, tolerance = 0.1 },
        ]
    "#;
    let judge = |second: &CellRecord| {
        let plan = plan(&[spec]);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.put(&plan.cells[0], &record_of(0, "rr")).unwrap();
        store.put(&plan.cells[1], second).unwrap();
        let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
        let rows = expectation_rows(&plan.experiments[0], &entries(&groups, |_| Vec::new()));
        rows.into_iter().map(|row| (row.measured, row.errors, row.verdict.unwrap())).collect::<Vec<_>>()
    };
    let nothing_broken = (None, Some(0), Verdict::Undefined);
    assert_eq!(judge(&record_of(2, "rr")), [(Some(10.0), Some(0), Verdict::Pass), nothing_broken]);
    let mut failed = failure_of(2, Status::Crashed);
    failed.outcomes.iter_mut().for_each(|outcome| outcome.spent = crate::Spent::default());
    let nothing_broken = (None, Some(2), Verdict::Undefined);
    assert_eq!(judge(&failed), [(Some(10.0), Some(2), Verdict::Pass), nothing_broken]);
}

#[test]
fn queries_are_compared_by_their_means() {
    let entry = |queries: [u64; 4]| {
        let plan = plan(&[r#"
            experiment = { id = "order" }
            data = { use = "dots", samples = 4 }
            model = [{ use = "net" }]
            threat = { norm = "linf", eps = "1/8" }
            attack = [{ use = "step" }]
        "#]);
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut record = record_of(0, "bbbr");
        for (outcome, queries) in record.outcomes.iter_mut().zip(queries) {
            outcome.spent.queries = queries;
        }
        store.put(&plan.cells[0], &record).unwrap();
        let groups = Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap();
        entries(&groups, |_| Vec::new()).remove(0)
    };
    let (many, few, spread) = (entry([100, 110, 120, 130]), entry([90, 90, 100, 100]), entry([10, 10, 10, 430]));
    let mean = |entry| Measured::of(&[entry], Metric::MeanQueries).unwrap();
    assert_eq!((mean(&many).value(), mean(&spread).value()), (Some(115.0), Some(115.0)));
    let successes = Measured::of(&[&many], Metric::MeanQueriesOfSuccesses).unwrap();
    assert_eq!(successes.value(), Some(110.0), "the last one is robust");
    // The differences are 10, 20, 20 and 30: 20 ± 4.
    let below = |larger, smaller, factor, margin| {
        is_significantly_below((&[larger], factor), (&[smaller], 1.0), margin, Metric::MeanQueries)
    };
    assert!(!below(&many, &few, 1.0, 0.0));
    assert!(!below(&many, &few, 1.0, 20.0));
    assert!(below(&many, &few, 1.0, 30.0));
    assert!(below(&few, &many, 1.0, 0.0));
    assert!(below(&many, &few, 0.5, 0.0));
    assert!(!below(&spread, &many, 1.0, 10.0), "one sample of four proves nothing");
}
