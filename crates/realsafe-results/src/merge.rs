//! The union of stores, as a cluster of workers without a common file system needs it.

use realsafe_plan::Key;

use crate::journal::merge_journals;
use crate::{Conflict, Put, Result, Store};

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Cells that the destination did not hold, or held damaged, failed or without their final images.
    pub stored: Vec<Key>,
    /// How many cells the destination held already; a failure adds nothing to any of them.
    pub known: usize,
    /// Cells with two different results; the destination's stay.
    pub conflicts: Vec<Conflict>,
    /// Damaged cells, with place and cause; they were left out.
    pub warnings: Vec<String>,
}

/// Adds the cells and journals of `sources` to `destination`. Merging again changes nothing. A result takes the place
/// of a failure, whichever comes first; of two failures the first stays.
///
/// # Errors
/// When a store cannot be read or written.
pub fn merge(destination: &Store, sources: &[Store]) -> Result<Merged> {
    let mut merged = Merged::default();
    for source in sources {
        for key in source.keys()? {
            let Some((files, _)) = source.load(&key, true)? else {
                continue;
            };
            let folder = source.folder(&key);
            match destination.install(&key, &files, Some(&folder))? {
                Put::Stored => merged.stored.push(key),
                Put::Known => merged.known += 1,
                Put::Conflicting(conflict) => merged.conflicts.push(conflict),
            }
        }
        merge_journals(destination, source)?;
        merged.warnings.extend(source.warnings());
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{cell, failure_of, record_of};
    use crate::journal::read_journals;
    use crate::{CellRecord, Event, Journal, Status};

    fn store_with(worker: &str, cells: &[(&str, &str)]) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut journal = Journal::open(&store, worker, "host", "flex").unwrap();
        for (attack, letters) in cells {
            let cell = cell("net", attack, None, 0..2, 0);
            store.put(&cell, &record_of(0, letters)).unwrap();
            journal.note(Event::Finished, &cell.key, 1.5).unwrap();
        }
        (directory, store)
    }

    #[test]
    fn merging_unites_and_reports_contradictions_once_and_again() {
        let (_a, first) = store_with("one", &[("a", "rr"), ("b", "rb")]);
        let (_b, second) = store_with("two", &[("b", "bb"), ("c", "rb")]);
        let (_d, destination) = store_with("none", &[]);
        let sources = [first, second];

        let merged = merge(&destination, &sources).unwrap();
        assert_eq!((merged.stored.len(), merged.known, merged.warnings.len()), (3, 0, 0));
        let [conflict] = merged.conflicts.as_slice() else {
            panic!("one conflict, not {:?}", merged.conflicts);
        };
        let key = cell("net", "b", None, 0..2, 0).key;
        assert_eq!(conflict.kept, destination.folder(&key));
        assert_eq!(conflict.other, sources[1].folder(&key));
        assert_eq!(destination.get(&key).unwrap(), Some(record_of(0, "rb")));
        let journals = read_journals(&destination).unwrap();
        assert_eq!(journals.len(), 4);

        let again = merge(&destination, &sources).unwrap();
        assert_eq!((again.stored.len(), again.known, again.conflicts.len()), (0, 3, 1));
        assert_eq!(read_journals(&destination).unwrap(), journals);
    }

    #[test]
    fn damaged_cells_of_a_source_are_left_out() {
        let (_a, source) = store_with("one", &[("a", "rr"), ("b", "rb")]);
        let damaged = cell("net", "a", None, 0..2, 0).key;
        fs_err::write(source.folder(&damaged).join("samples.csv"), "").unwrap();
        let (_d, destination) = store_with("none", &[]);
        let merged = merge(&destination, &[source]).unwrap();
        assert_eq!((merged.stored.len(), merged.warnings.len()), (1, 1));
        assert!(!destination.contains(&damaged));
    }

    fn store_of(record: &CellRecord) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.put(&cell("net", "a", None, 0..2, 0), record).unwrap();
        (directory, store)
    }

    #[test]
    fn of_two_failures_the_first_stays_without_a_conflict() {
        let key = cell("net", "a", None, 0..2, 0).key;
        let (_s, source) = store_of(&failure_of(0, Status::TimedOut));
        let (_d, destination) = store_of(&failure_of(0, Status::Crashed));
        let merged = merge(&destination, &[source]).unwrap();
        assert_eq!(merged, Merged { known: 1, ..Merged::default() });
        assert_eq!(destination.get(&key).unwrap(), Some(failure_of(0, Status::Crashed)));
        assert!(!destination.is_done(&key));
    }

    fn failures() -> impl Strategy<Value = CellRecord> {
        prop::sample::select(&Status::ALL[..])
            .prop_filter_map("a failure", |status| status.is_failure().then(|| failure_of(0, status)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_result_beats_failures_in_any_order(
            records in prop::collection::vec(failures(), 0..4)
                .prop_map(|mut records| { records.push(record_of(0, "rb")); records })
                .prop_shuffle(),
            occupied in any::<bool>(),
        ) {
            let key = cell("net", "a", None, 0..2, 0).key;
            let (_directories, mut stores): (Vec<_>, Vec<_>) = records.iter().map(store_of).unzip();
            let (_d, destination) = if occupied { (None, stores.remove(0)) } else {
                let (directory, empty) = store_with("none", &[]);
                (Some(directory), empty)
            };
            for _ in 0..2 {
                let merged = merge(&destination, &stores).unwrap();
                prop_assert_eq!((&merged.conflicts, &merged.warnings), (&Vec::new(), &Vec::new()));
                prop_assert_eq!(merged.stored.len() + merged.known, stores.len());
                prop_assert_eq!(destination.get(&key).unwrap(), Some(record_of(0, "rb")));
            }
            prop_assert!(destination.is_done(&key));
            prop_assert!(!destination.directory().join("conflicts").exists());
        }
    }
}
