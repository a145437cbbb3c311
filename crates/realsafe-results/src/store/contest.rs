//! Which of two records of one cell stays.

use std::collections::BTreeSet;

use crate::record::{ADVERSARIALS, DESCRIPTION, Description, Files, is_failed_cell};

/// What becomes of a new record beside a known one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contest {
    /// The known one stays, and the new one adds nothing.
    Keep,
    /// The new one takes its place.
    Replace,
    /// They contradict each other in these files.
    Conflict(Vec<String>),
}

/// Compares the intact files of two records. A result beats a failure; between failures the later one counts, unless
/// stores are merged, which know nothing of when.
pub(super) fn contest(known: &Files, new: &Files, merging: bool) -> Contest {
    match (is_failed_cell(known), is_failed_cell(new)) {
        (false, true) => Contest::Keep,
        (true, false) => Contest::Replace,
        (true, true) if merging || known == new => Contest::Keep,
        (true, true) => Contest::Replace,
        (false, false) => {
            let differing = differences(known, new);
            let richer = !known.contains_key(ADVERSARIALS) && new.contains_key(ADVERSARIALS);
            match differing.is_empty() {
                false => Contest::Conflict(differing),
                true if richer => Contest::Replace,
                true => Contest::Keep,
            }
        }
    }
}

/// The files whose contents contradict each other; final images may be missing on one side, and the cell be called otherwise.
fn differences(known: &Files, new: &Files) -> Vec<String> {
    let names: BTreeSet<&String> = known.keys().chain(new.keys()).collect();
    let described = |bytes: &Vec<u8>| Description::parse(bytes).ok();
    let contradicts = |name: &&&String| match (known.get(**name), new.get(**name)) {
        (Some(known), Some(new)) if **name == DESCRIPTION => {
            described(known).zip(described(new)).is_none_or(|(known, new)| !known.agrees(&new))
        }
        (Some(known), Some(new)) => known != new,
        _ => **name != ADVERSARIALS,
    };
    names.iter().filter(contradicts).map(|name| (*name).clone()).collect()
}
