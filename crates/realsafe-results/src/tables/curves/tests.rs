//! Tests of curves.

use super::*;
use crate::fixture::{cell, outcome, record};
use crate::{Status, Store, TracePoint};

#[test]
fn minimal_distances_give_a_step_function_and_iterations_per_eps() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let cell = cell("net", "walk", None, 0..4, 0);
    let distances =
        [(Status::Broken, 0.0), (Status::Broken, 0.2), (Status::Broken, 0.5), (Status::Robust, f64::INFINITY)];
    let outcomes = (0..).zip(distances).map(|(sample, (status, distance))| outcome(sample, status, distance));
    let mut computed = record(outcomes.collect());
    let point = |sample: u32, step: u32, distance: f64| {
        let queries = u64::from(10 * sample + step);
        TracePoint { sample, step, queries, pred: 2, distance, broken: distance.is_finite() }
    };
    computed.outcomes[0].clean_pred = Some(2);
    // Sample 0 needs no step; sample 3 never succeeds.
    computed.trace = vec![
        point(1, 1, 0.9),
        point(1, 2, 0.2),
        point(1, 3, 0.2),
        point(2, 1, 0.7),
        point(2, 2, 0.6),
        point(2, 3, 0.5),
        point(3, 1, f64::INFINITY),
    ];
    store.put(&cell, &computed).unwrap();
    let groups = Group::load(&[&cell], &store).unwrap();
    let radii: [Number; 1] = ["0.3".parse().unwrap()];
    let rows = curve_rows(&groups, |_| &radii);
    let points: Vec<_> = rows.iter().map(|row| (row.values.x_axis, row.values.x, row.values.rate.unwrap())).collect();
    assert_eq!(
        points,
        [
            ("eps", 0.0, 0.75),
            ("eps", 0.2, 0.5),
            ("eps", 0.3, 0.5),
            ("eps", 0.5, 0.25),
            // At 0.3: after 12 queries sample 1 is so near; the end is at 10, where the fixture stops counting.
            ("queries", 0.0, 0.75),
            ("queries", 10.0, 0.75),
            ("queries", 12.0, 0.5),
            ("iterations", 0.0, 0.75),
            ("iterations", 1.0, 0.75),
            ("iterations", 2.0, 0.5),
            ("iterations", 3.0, 0.5),
        ]
    );
    assert!(rows.iter().all(|row| row.values.low < row.values.rate && row.values.rate < row.values.high));
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
    let points: Vec<_> =
        rows.iter().map(|Row { about, values }| (values.x_axis, about.eps.as_str(), values.x, values.rate)).collect();
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
    let points: Vec<_> =
        rows.iter().filter(|row| row.values.certified).map(|row| (row.about.attack.as_str(), row.values.x)).collect();
    assert_eq!(points, [0.0, 0.125, 0.2, 0.25, 0.5].map(|x| ("proof", x)));
    let rates: Vec<Option<f64>> = rows.iter().filter(|row| row.values.certified).map(|row| row.values.rate).collect();
    let third = Some(1.0 / 3.0);
    assert_eq!(rates, [Some(2.0 / 3.0), Some(2.0 / 3.0), third, third, Some(0.0)]);
    assert!(rows.iter().all(|row| row.values.certified == (row.about.attack == "proof")));
    // It is no part of the worst case, which a single attack does not have in curves.
    let entries = crate::tables::entry::entries(&groups, |subject| radii(subject).to_vec());
    assert_eq!(worst_case_rows(&groups, &entries, |_| &[]).len(), 0);
    let nothing = vec![Vec::new(); entries.len()];
    let summary = crate::tables::summary::summary_rows(&entries, &nothing, &vec![None; groups.len()]);
    let proofs: Vec<_> = summary.iter().filter(|row| row.values.certified).collect();
    assert_eq!(proofs.iter().map(|row| row.about.eps.as_str()).collect::<Vec<_>>(), ["1/8", "1/4"]);
    for (Row { values: row, .. }, rate) in proofs.into_iter().zip([2.0 / 3.0, 1.0 / 3.0]) {
        assert_eq!((row.robust_accuracy, row.clean_accuracy), (Some(rate), Some(0.9)));
        assert_eq!((row.accuracy, row.success, row.success_rate, row.errors), (None, None, None, Some(0)));
        assert_eq!((row.median_distance, row.mean_distance), (Some(0.2), Some((0.2 + 0.5) / 3.0)));
    }
    let worst: Vec<_> = summary.iter().filter(|row| row.about.attack == "worst-case").collect();
    let close = |rate: Option<f64>| (rate.unwrap() - 0.7).abs() < 1e-12;
    assert!(worst.len() == 2 && worst.iter().all(|row| close(row.values.robust_accuracy) && !row.values.certified));
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
    assert!(rows.iter().all(|row| row.values.x_axis == "eps"), "queries before the last decide nothing");
    assert_eq!(rows.len(), 4);
    for Row { about, values: row } in &rows {
        let expected = if row.x == 0.0 {
            0.9
        } else if about.attack == "step" {
            2.0 / 3.0
        } else {
            1.3 / 3.0
        };
        close(row.rate.unwrap(), expected);
        assert!(row.low < row.rate && row.rate < row.high);
    }
    let entries = crate::tables::entry::entries(&groups, |_| Vec::new());
    let worst = worst_case_rows(&groups, &entries, |_| &[]);
    close(worst[0].values.rate.unwrap(), 0.9);
    close(worst[1].values.rate.unwrap(), (0.5 + 0.75 + 0.0) / 3.0);
}

/// The points of the curves against an axis.
fn against(rows: &[CurveRow], axis: &str) -> Vec<(f64, f64)> {
    let values = rows.iter().map(|row| &row.values).filter(|values| values.x_axis == axis);
    values.map(|values| (values.x, values.rate.unwrap())).collect()
}

fn load(cells: &[(realsafe_plan::Cell, crate::CellRecord)]) -> Vec<Group> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    cells.iter().for_each(|(cell, record)| drop(store.put(cell, record).unwrap()));
    Group::load(&cells.iter().map(|(cell, _)| cell).collect::<Vec<_>>(), &store).unwrap()
}

#[test]
fn where_final_images_count_nothing_is_known_between_the_ends() {
    let mut cell = cell("net", "step", Some("1/2"), 0..4, 0);
    cell.attack.success = realsafe_plan::Success::Last;
    let mut computed = crate::fixture::record_of(0, "bbrr");
    computed.outcomes[0].clean_pred = Some(2);
    computed.outcomes.iter_mut().for_each(|outcome| outcome.first_success = Some(10));
    let rows = curve_rows(&load(&[(cell, computed)]), |_| &[]);
    assert_eq!(against(&rows, "queries"), [(0.0, 0.75), (10.0, 0.5)]);
    assert!(rows.iter().all(|row| !row.values.steps));
}

#[test]
fn radii_of_curves_are_in_the_unit_of_the_threat_model() {
    // Half in l2-rms is 1 in l2, as images have four values.
    let plan = crate::fixture::plan(&[r#"
        experiment = { id = "units" }
        data = { use = "dots", samples = 2 }
        model = [{ use = "net" }]
        threat = { norm = "l2-rms", eps = "0.5" }
        attack = [{ use = "walk" }]
    "#]);
    // The fixture's distances in l2 are twice those in linf.
    let ends = [(Status::Broken, 0.25), (Status::Robust, f64::INFINITY)];
    let outcomes = (0..).zip(ends).map(|(sample, (status, distance))| outcome(sample, status, distance));
    let groups = load(&[(plan.cells[0].clone(), record(outcomes.collect()))]);
    let radii = plan.experiments[0].threats[0].eps.as_slice();
    let rows = curve_rows(&groups, |_| radii);
    assert_eq!(against(&rows, "eps"), [(0.0, 1.0), (0.25, 0.5), (0.5, 0.5)]);
    assert_eq!((rows[0].about.norm.as_str(), radii[0].text()), ("l2-rms", "0.5"));
    let entries = crate::tables::entry::entries(&groups, |_| radii.to_vec());
    assert_eq!((entries[0].about().eps.as_str(), entries[0].distances(0.0)), ("0.5", vec![0.25, f64::INFINITY]));
}

#[test]
fn a_search_says_nothing_beyond_its_largest_radius() {
    let mut cell = cell("net", "step", None, 0..2, 0);
    let number = |text: &str| text.parse::<Number>().unwrap();
    cell.attack.search = Some(realsafe_plan::Search::Linear { largest: number("1/4"), points: 4, bisections: 0 });
    let groups = load(&[(cell, crate::fixture::record_of(0, "rb"))]);
    let radii = ["1/8", "1/4", "1/2"].map(number);
    let rows = curve_rows(&groups, |_| &radii);
    assert_eq!(against(&rows, "eps"), [(0.0, 1.0), (0.125, 1.0), (0.25, 0.5)]);
    let entries = crate::tables::entry::entries(&groups, |_| radii.to_vec());
    let told: Vec<_> = entries.iter().filter(|entry| entry.group.is_some()).map(|entry| entry.eps.clone()).collect();
    assert_eq!(told, [Some(number("1/8")), Some(number("1/4"))]);
}

#[test]
fn the_worst_case_is_exact_beside_minimal_distances_and_needs_no_list() {
    let distances = |distances: [f64; 3]| {
        let end = |distance: f64| if distance.is_finite() { Status::Broken } else { Status::Robust };
        let outcomes = (0..).zip(distances).map(|(sample, distance)| outcome(sample, end(distance), distance));
        record(outcomes.collect())
    };
    let walk = (cell("net", "walk", None, 0..3, 0), distances([0.1, 0.4, f64::INFINITY]));
    let run = (cell("net", "run", None, 0..3, 0), distances([0.2, 0.3, f64::INFINITY]));
    let worst = |cells: &[(realsafe_plan::Cell, crate::CellRecord)]| worst_case_rows(&load(cells), &[], |_| &[]);
    let close = |found: Vec<(f64, f64)>, expected: &[(f64, f64)]| {
        assert!(found.len() == expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-12, "{found:?}, not {expected:?}");
        }
    };
    let third = 1.0 / 3.0;
    let both = worst(&[walk.clone(), run.clone()]);
    close(against(&both, "eps"), &[(0.0, 1.0), (0.1, 2.0 * third), (0.3, third)]);
    assert!(both.iter().all(|row| row.values.steps && row.about.attack == "worst-case"));
    assert!(worst(std::slice::from_ref(&walk)).is_empty());
    // What is not broken after an error is open.
    let mut failed = run;
    failed.1.outcomes.iter_mut().for_each(|outcome| outcome.status = Status::Invalid);
    let rates: Vec<_> = worst(&[walk, failed]).into_iter().map(|row| (row.values.x, row.values.rate)).collect();
    assert_eq!(rates, [(0.0, None), (0.1, None), (0.4, None)]);
}
