//! Tests of the store: round trips, conflicts, damage, leftovers.

use proptest::prelude::*;
use realsafe_plan::REJECTED;
use tempfile::TempDir;

use super::*;
use crate::fixture::{cell, failure_of, record, record_of};
use crate::{Adversarials, Outcome, Spent, Status, TracePoint};

fn temporary() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn images(value: f32) -> Option<Adversarials> {
    Some(Adversarials { shape: [1, 2, 2], pixels: vec![value; 12] })
}

prop_compose! {
    fn outcomes()(
        sample in any::<u32>(), label in any::<u32>(), clean_pred in prop_oneof![any::<Option<u32>>(), Just(Some(REJECTED))],
        target in any::<Option<u32>>(), adv_pred in any::<Option<u32>>(), first_success in any::<Option<u64>>(),
        status in prop::sample::select(&Status::ALL[..]),
        distances in prop::array::uniform4(prop_oneof![Just(f64::INFINITY), prop::num::f64::POSITIVE | prop::num::f64::ZERO]),
        counts in prop::array::uniform5(any::<u64>()),
    ) -> Outcome {
        let [dist_linf, dist_l2, dist_l1, dist_l0] = distances;
        let [queries, forwards, backwards, surrogate_forwards, surrogate_backwards] = counts;
        let spent = Spent { queries, forwards, backwards, surrogate_forwards, surrogate_backwards };
        Outcome { sample, label, target, clean_pred, adv_pred, status, dist_linf, dist_l2, dist_l1, dist_l0, spent, first_success, broken_by: None, failed_at: None, shares: None }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn records_come_back_exactly(
        outcomes in prop::collection::vec(outcomes(), 0..6),
        distances in prop::collection::vec(prop::num::f64::POSITIVE, 0..4),
        pixels in prop::option::of(prop::collection::vec(prop::num::f32::NORMAL, 12)),
        warnings in prop::collection::vec(".*", 0..3),
    ) {
        let (_directory, store) = temporary();
        let trace = distances.into_iter().map(|distance| TracePoint { sample: 3, step: 1, queries: 9, pred: 4, distance, broken: true });
        let adversarials = pixels.map(|pixels| Adversarials { shape: [3, 2, 1], pixels });
        let record = CellRecord { outcomes, trace: trace.collect(), members: Vec::new(), zero_gradients: 0, random_answers: 2, adversarials, warnings };
        let cell = cell("net", "pgd", Some("8/255"), 0..6, 0);
        prop_assert_eq!(store.put(&cell, &record).unwrap(), Put::Stored);
        prop_assert_eq!(store.put(&cell, &record).unwrap(), Put::Known);
        prop_assert_eq!(store.get(&cell.key).unwrap(), Some(record));
        prop_assert_eq!(store.keys().unwrap(), vec![cell.key]);
    }
}

#[test]
fn a_different_result_is_reported_and_kept_aside() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", Some("0.3"), 0..3, 0);
    store.put(&cell, &record_of(0, "rrb")).unwrap();
    let Put::Conflicting(conflict) = store.put(&cell, &record_of(0, "rbb")).unwrap() else {
        panic!("a conflict");
    };
    assert_eq!(conflict.files, ["samples.csv"]);
    assert!(conflict.other.join("samples.csv").exists() && conflict.kept.join("samples.csv").exists());
    assert!(conflict.to_string().starts_with("not deterministic: samples.csv of one cell"), "{conflict}");
    assert_eq!(store.get(&cell.key).unwrap(), Some(record_of(0, "rrb")));
}

#[test]
fn what_reports_tell_beside_the_samples_is_part_of_a_result() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", Some("0.3"), 0..3, 0);
    store.put(&cell, &record_of(0, "rrb")).unwrap();
    let conflicts = |cell: &realsafe_plan::Cell, record: CellRecord| match store.put(cell, &record).unwrap() {
        Put::Conflicting(conflict) => conflict.files,
        _ => Vec::new(),
    };
    for other in [
        CellRecord { zero_gradients: 1, ..record_of(0, "rrb") },
        CellRecord { random_answers: 1, ..record_of(0, "rrb") },
        CellRecord { warnings: vec!["odd".to_owned()], ..record_of(0, "rrb") },
    ] {
        assert_eq!(conflicts(&cell, other), [DESCRIPTION]);
    }
    // Under another name, warnings have other words.
    let renamed = realsafe_plan::Cell { experiment: "other".to_owned(), ..cell.clone() };
    assert!(conflicts(&renamed, CellRecord { warnings: vec!["odd".to_owned()], ..record_of(0, "rrb") }).is_empty());
}

#[test]
fn warnings_do_not_tell_where_the_store_lies() {
    let (directory, store) = temporary();
    let cell = cell("net", "pgd", None, 0..3, 0);
    store.put(&cell, &record_of(0, "rrb")).unwrap();
    fs::remove_file(store.folder(&cell.key).join("samples.csv")).unwrap();
    assert_eq!(store.get(&cell.key).unwrap(), None);
    let [warning] = store.warnings().try_into().unwrap();
    assert!(!warning.contains(directory.path().to_str().unwrap()), "{warning}");
    assert!(warning.starts_with(&format!("cells/{}/{}: damaged", &cell.key.as_str()[..2], cell.key)), "{warning}");
}

#[test]
fn final_images_can_be_added_later() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", Some("0.3"), 0..3, 0);
    let with = |value| CellRecord { adversarials: images(value), ..record_of(0, "rrb") };
    store.put(&cell, &record_of(0, "rrb")).unwrap();
    assert_eq!(store.put(&cell, &with(0.5)).unwrap(), Put::Stored);
    assert_eq!(store.put(&cell, &record_of(0, "rrb")).unwrap(), Put::Known);
    assert_eq!(store.get(&cell.key).unwrap(), Some(with(0.5)));
    assert_eq!(store.get_numbers(&cell.key).unwrap(), Some(record_of(0, "rrb")));
    assert!(
        matches!(store.put(&cell, &with(0.25)).unwrap(), Put::Conflicting(conflict) if conflict.files == [ADVERSARIALS])
    );
}

#[test]
fn a_damaged_cell_is_missing_until_it_is_computed_again() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", None, 0..3, 0);
    for name in ["samples.csv", DESCRIPTION] {
        store.put(&cell, &record_of(0, "rrb")).unwrap();
        let path = store.folder(&cell.key).join(name);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(store.get(&cell.key).unwrap(), None);
        assert!(store.warnings().last().unwrap().contains(name), "{:?}", store.warnings());
        assert_eq!(store.put(&cell, &record_of(0, "rrb")).unwrap(), Put::Stored);
        assert_eq!(store.get(&cell.key).unwrap(), Some(record_of(0, "rrb")));
    }
}

#[test]
fn leftovers_of_killed_processes_go_and_live_ones_stay() {
    let (directory, living) = temporary();
    living.put(&cell("net", "a", None, 0..1, 0), &record_of(0, "r")).unwrap();
    let temporary = directory.path().join("temporary");
    let leftover = temporary.join(".part-killed");
    fs::create_dir_all(leftover.join("1")).unwrap();
    fs::write(leftover.join("lock"), "").unwrap();
    fs::write(leftover.join("1").join("samples.csv"), "sample,la").unwrap();
    assert_eq!(folders(&temporary).unwrap().len(), 2);

    let resumed = Store::open(directory.path()).unwrap();
    assert_eq!(resumed.keys().unwrap().len(), 1);
    resumed.put(&cell("net", "b", None, 0..1, 0), &record_of(0, "r")).unwrap();
    assert!(!leftover.exists());
    assert_eq!(folders(&temporary).unwrap().len(), 2);
    living.put(&cell("net", "c", None, 0..1, 0), &record_of(0, "r")).unwrap();
    assert_eq!(resumed.keys().unwrap().len(), 3);
    drop((living, resumed));
    assert_eq!(folders(&temporary).unwrap().len(), 0);
}

#[test]
fn failures_are_replaced_by_whatever_comes_next_and_results_never() {
    let (directory, store) = temporary();
    let cell = cell("net", "pgd", Some("0.3"), 0..2, 0);
    let state = || (store.contains(&cell.key), store.is_done(&cell.key), store.get(&cell.key).unwrap());
    assert_eq!(state(), (false, false, None));

    let crashed = failure_of(0, Status::Crashed);
    let timed_out = CellRecord { warnings: vec!["no answer".to_owned()], ..failure_of(0, Status::TimedOut) };
    let still = CellRecord { warnings: vec!["no answer again".to_owned()], ..timed_out.clone() };
    for (failure, put) in [
        (&crashed, Put::Stored),
        (&crashed, Put::Known),
        (&timed_out, Put::Stored),
        (&still, Put::Stored),
        (&crashed, Put::Stored),
    ] {
        assert_eq!(store.put(&cell, failure).unwrap(), put);
        assert_eq!(state(), (true, false, Some(failure.clone())));
    }
    let result = record_of(0, "rf");
    assert_eq!(store.put(&cell, &result).unwrap(), Put::Stored);
    assert_eq!(state(), (true, true, Some(result.clone())));
    assert_eq!(store.put(&cell, &timed_out).unwrap(), Put::Known);
    assert_eq!(state(), (true, true, Some(result)));
    assert!(matches!(store.put(&cell, &record_of(0, "rr")).unwrap(), Put::Conflicting(_)));
    assert_eq!(folders(&directory.path().join("conflicts")).unwrap().len(), 1);
    assert_eq!(store.warnings(), Vec::<String>::new());
}

#[test]
fn only_failures_are_marked() {
    let (_directory, store) = temporary();
    let description = |record: &CellRecord| -> serde_json::Map<String, serde_json::Value> {
        let cell = cell("net", "pgd", None, 0..2, 0);
        store.remove(&store.folder(&cell.key)).unwrap();
        store.put(&cell, record).unwrap();
        serde_json::from_slice(&fs::read(store.folder(&cell.key).join(DESCRIPTION)).unwrap()).unwrap()
    };
    let names = |record: &CellRecord| description(record).keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&record_of(0, "rf")), ["cell", "files", "warnings"]);
    assert_eq!(names(&record(Vec::new())), ["cell", "files", "warnings"]);
    assert_eq!(description(&failure_of(0, Status::OutOfMemory))["failed"], "out-of-memory");
}

#[test]
fn a_damaged_cell_is_not_done() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", None, 0..3, 0);
    for (name, damage) in [("samples.csv", Some("")), (DESCRIPTION, Some("{}")), ("samples.csv", None)] {
        store.put(&cell, &record_of(0, "rrb")).unwrap();
        assert!(store.is_done(&cell.key));
        let path = store.folder(&cell.key).join(name);
        match damage {
            Some(text) => fs::write(path, text).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        assert!(!store.is_done(&cell.key), "{name}");
        assert!(store.warnings().last().unwrap().contains(name), "{:?}", store.warnings());
    }
}

#[test]
fn no_failure_takes_away_a_result_that_another_worker_puts_meanwhile() {
    let (directory, store) = temporary();
    let cells: Vec<_> = (0..16).map(|seed| cell("net", "pgd", None, 0..2, seed)).collect();
    let fail = |status| {
        let own = Store::open(directory.path()).unwrap();
        for _ in 0..4 {
            cells.iter().for_each(|cell| drop(own.put(cell, &failure_of(0, status)).unwrap()));
        }
    };
    std::thread::scope(|scope| {
        for status in [Status::Failed, Status::Crashed, Status::TimedOut] {
            scope.spawn(move || fail(status));
        }
        for cell in &cells {
            assert_eq!(store.put(cell, &record_of(0, "rb")).unwrap(), Put::Stored);
        }
    });
    assert!(cells.iter().all(|cell| store.get(&cell.key).unwrap() == Some(record_of(0, "rb"))));
}

#[test]
fn many_threads_agree_on_one_result() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", None, 0..1, 0);
    let put = || store.put(&cell, &record_of(0, "r")).unwrap();
    let puts: Vec<Put> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(put)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(puts.iter().filter(|put| **put == Put::Stored).count(), 1, "{puts:?}");
    assert!(puts.iter().all(|put| matches!(put, Put::Stored | Put::Known)), "{puts:?}");
}

#[test]
fn foreign_and_newer_folders_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(Store::existing(directory.path()), Err(Error::NotAStore(_))));
    fs::write(directory.path().join("format"), "2\n").unwrap();
    let message = Store::open(directory.path()).unwrap_err().to_string();
    assert!(message.contains("has format 2, but this program reads formats up to 1"), "{message}");
    fs::write(directory.path().join("format"), "two\n").unwrap();
    assert!(matches!(Store::open(directory.path()), Err(Error::Malformed { .. })));
}

#[test]
fn an_empty_record_is_a_record() {
    let (_directory, store) = temporary();
    let cell = cell("net", "pgd", None, 0..0, 0);
    assert!(!store.contains(&cell.key));
    store.put(&cell, &record(Vec::new())).unwrap();
    assert!(store.contains(&cell.key));
    assert_eq!(store.get(&cell.key).unwrap(), Some(record(Vec::new())));
}
