//! `rejections.csv`: how often images are rejected; absent where no defense rejects.
//!
//! A row per attack, defended model whose defense may reject, threat model, radius and seed, as far as its cells are there.
//! A rejected clean image is an error, and counts in no accuracy; a rejected image of an attack is no success. Of randomised
//! victims, the most frequent answer counts. Rates are empty when an image is missing after an error.

use serde::Serialize;

use super::entry::Entry;
use super::group::Group;
use super::judged::Judged;
use super::rate::Rate;
use super::row::Row;

/// A row of `rejections.csv`.
pub type RejectionRow = Row<Rejections>;

/// What a row of `rejections.csv` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rejections {
    /// The seed.
    pub seed: u64,
    /// Samples in the store.
    pub samples: u64,
    /// Share of clean images that are rejected.
    pub clean_rejected: Option<f64>,
    /// Share of final images of the attack that are rejected.
    pub rejected: Option<f64>,
}

/// The rows of all entries whose victims may reject, worst cases left out.
pub(crate) fn rejection_rows(groups: &[Group], entries: &[Entry]) -> Vec<RejectionRow> {
    let of_entry = |entry: &Entry| {
        let group = &groups[entry.group?];
        (group.rejects && !group.outcomes.is_empty()).then(|| row(entry))
    };
    entries.iter().filter_map(of_entry).collect()
}

fn row(entry: &Entry) -> RejectionRow {
    let share = |of: fn(&Judged) -> Option<bool>| Rate::of(entry.judged.iter().map(of));
    let clean = share(Judged::clean_rejected);
    let values = Rejections {
        seed: entry.seed,
        samples: clean.total,
        clean_rejected: clean.value(),
        rejected: share(Judged::rejected).value(),
    };
    Row { about: entry.about(), values }
}
