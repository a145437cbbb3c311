//! `summary.csv`: a row per attack, defended model, threat model and seed; the worst case over all attacks; and mean
//! and standard deviation over seeds.
//!
//! Rates are empty when a sample ended in an error: then they lie between the columns that count all errors as broken
//! and all as robust, and the 95 % interval is widened by both. Clean accuracy is empty when the model itself failed on
//! a clean image, and so are rates among samples of which it is then unknown whether they belong. A sample is robust when its status says so; for
//! attacks that minimise the distance, when its distance exceeds eps. Accuracy is the share of predictions on the
//! attacked images that equal the label.
//!
//! Rows of certificates are marked: their robust accuracy is certified accuracy, the share of samples that are proven to
//! be classified correctly within eps, and their distances are the radii of the proofs. They are no part of the worst case,
//! and columns about attacks are empty.
//!
//! Of randomised victims, accuracies and rates are means over samples of the share of draws, also in the worst case, where
//! the attack counts that leaves a sample the smallest share. Counts and membership (`initially_correct`) go by the majority
//! of a sample's draws. Intervals are Wilson's with the mean in place of the rate: rather too wide, as shares vary less than
//! a yes or no.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::entry::Entry;
use super::gate::Suspicion;
use super::group::{Judged, Rate, Subject};
use crate::statistics::{deviation, mean, median};

/// A row of `summary.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SummaryRow {
    /// The experiment.
    pub experiment: String,
    /// The model.
    pub model: String,
    /// The defense stack, or `none`.
    pub defense: String,
    /// The attack, or `worst-case`.
    pub attack: String,
    /// The threat model.
    pub threat: String,
    /// Its norm.
    pub norm: String,
    /// Its goal.
    pub goal: String,
    /// Its radius, as the spec spells it; empty where a minimal distance is all there is.
    pub eps: String,
    /// The seed, or `mean` or `deviation` over all seeds.
    pub seed: String,
    /// Samples in the store.
    pub samples: Option<u64>,
    /// Share of clean predictions that equal the label.
    pub clean_accuracy: Option<f64>,
    /// Share of predictions on attacked images that equal the label.
    pub accuracy: Option<f64>,
    /// Share of samples that the attacker does not break.
    pub robust_accuracy: Option<f64>,
    /// Lower end of its 95 % interval, with all errors broken.
    pub robust_accuracy_low: Option<f64>,
    /// Upper end of its 95 % interval, with all errors robust.
    pub robust_accuracy_high: Option<f64>,
    /// Robust accuracy with all errors broken.
    pub robust_accuracy_low_errors: Option<f64>,
    /// Robust accuracy with all errors robust.
    pub robust_accuracy_high_errors: Option<f64>,
    /// Samples that the attacker breaks.
    pub success: Option<u64>,
    /// Their share of all samples.
    pub success_rate: Option<f64>,
    /// Samples whose clean prediction equals the label.
    pub initially_correct: Option<u64>,
    /// Those among them that the attacker breaks.
    pub success_initially_correct: Option<u64>,
    /// Their share.
    pub success_rate_initially_correct: Option<f64>,
    /// Samples whose clean prediction is not the target; empty without targets.
    pub initially_not_target: Option<u64>,
    /// Those among them that the attacker breaks.
    pub success_initially_not_target: Option<u64>,
    /// Their share.
    pub success_rate_initially_not_target: Option<f64>,
    /// Samples that ended in an error.
    pub errors: Option<u64>,
    /// Median distance of adversarials in the norm, over all samples without errors; infinite where there is none.
    pub median_distance: Option<f64>,
    /// Mean distance of adversarials in the norm.
    pub mean_distance: Option<f64>,
    /// Local optimality (AttackBench) of an attack that minimises the distance, among the attacks of the experiment.
    pub local_optimality: Option<f64>,
    /// Mean images sent to the defended system per sample.
    pub mean_queries: Option<f64>,
    /// Mean forward passes per sample.
    pub mean_forwards: Option<f64>,
    /// Mean backward passes per sample.
    pub mean_backwards: Option<f64>,
    /// Cells in the store.
    pub cells: Option<u64>,
    /// Cells of the plan.
    pub cells_expected: Option<u64>,
    /// Whether the row is a certificate, so that robust accuracy is certified accuracy, a lower bound.
    pub certified: bool,
    /// Whether all cells are there.
    pub complete: bool,
    /// What looked wrong, joined by `; `.
    pub warnings: String,
    /// The checks of the gradient-masking gate that the result does not pass, joined by `; `.
    pub suspect: String,
}

/// The row of the summary.
fn row(entry: &Entry) -> SummaryRow {
    let robust = entry.robust_accuracy();
    let (interval, bounds) = (robust.interval(), robust.bounds());
    let success = entry.success_among(|_| Some(true));
    let correct = entry.success_among(Judged::clean_answer);
    let not_target = entry.subject.goal.has_target().then(|| entry.success_among(Judged::not_target_answer));
    let distances = entry.distances();
    let finite: Vec<f64> = distances.iter().copied().filter(|distance| distance.is_finite()).collect();
    let row = SummaryRow {
        seed: entry.seed.to_string(),
        samples: Some(robust.total),
        clean_accuracy: Rate::of_shares(entry.judged.iter().map(Judged::clean_share)).value(),
        accuracy: entry.accuracy().value(),
        robust_accuracy: robust.value(),
        robust_accuracy_low: interval.map(|(low, _)| low),
        robust_accuracy_high: interval.map(|(_, high)| high),
        robust_accuracy_low_errors: bounds.map(|(low, _)| low),
        robust_accuracy_high_errors: bounds.map(|(_, high)| high),
        success: Some(success.broken),
        success_rate: success.rate,
        initially_correct: Some(correct.belonging),
        success_initially_correct: Some(correct.broken),
        success_rate_initially_correct: correct.rate,
        initially_not_target: not_target.as_ref().map(|some| some.belonging),
        success_initially_not_target: not_target.as_ref().map(|some| some.broken),
        success_rate_initially_not_target: not_target.and_then(|some| some.rate),
        errors: Some(robust.errors),
        median_distance: median(&distances),
        mean_distance: mean(&finite),
        mean_queries: entry.mean(|judged| judged.queries),
        mean_forwards: entry.mean(|judged| judged.forwards),
        mean_backwards: entry.mean(|judged| judged.backwards),
        cells: Some(entry.cells),
        cells_expected: Some(entry.cells_expected),
        complete: entry.is_complete(),
        certified: entry.is_certificate,
        warnings: entry.warnings.join("; "),
        ..blank(entry)
    };
    if !entry.is_certificate {
        return row;
    }
    // Nothing was attacked.
    SummaryRow {
        success: None,
        success_rate: None,
        success_initially_correct: None,
        success_rate_initially_correct: None,
        success_initially_not_target: None,
        success_rate_initially_not_target: None,
        ..row
    }
}

/// A row that says only what it is about.
fn blank(entry: &Entry) -> SummaryRow {
    let Subject { experiment, model, defense, attack, threat, norm, goal } = entry.subject.clone();
    SummaryRow {
        experiment,
        model,
        defense,
        attack,
        threat,
        norm: norm.name().to_owned(),
        goal: goal.name().to_owned(),
        eps: entry.eps.as_ref().map(|eps| eps.text().to_owned()).unwrap_or_default(),
        ..SummaryRow::default()
    }
}

/// The rows of some entries, followed by mean and standard deviation wherever there are several seeds. What is suspect
/// is told per entry, the local optimality per group.
pub(crate) fn summary_rows(
    entries: &[Entry],
    suspicions: &[Vec<Suspicion>],
    optimality: &[Option<f64>],
) -> Vec<SummaryRow> {
    let row = |(entry, suspicions): (&Entry, &Vec<Suspicion>)| SummaryRow {
        local_optimality: entry.group.and_then(|group| optimality[group]),
        suspect: words(suspicions.iter().map(|suspicion| suspicion.check.name())),
        ..row(entry)
    };
    let mut rows: Vec<SummaryRow> = entries.iter().zip(suspicions).map(row).collect();
    let mut seeds: Vec<Vec<usize>> = Vec::new();
    let mut places = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let place =
            *places.entry((entry.subject.key(), entry.eps.as_ref().map(|eps| eps.text()))).or_insert(seeds.len());
        if place == seeds.len() {
            seeds.push(Vec::new());
        }
        seeds[place].push(index);
    }
    for indices in seeds.iter().filter(|indices| indices.len() > 1) {
        let of_seeds: Vec<SummaryRow> = indices.iter().map(|index| rows[*index].clone()).collect();
        let blank = blank(&entries[indices[0]]);
        rows.push(over_seeds("mean", &blank, &of_seeds, mean));
        rows.push(over_seeds("deviation", &blank, &of_seeds, deviation));
    }
    rows
}

/// Different words, in order, joined by `; `.
fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join("; ")
}

/// A statistic over seeds of everything that is not a count; empty where a seed lacks it.
fn over_seeds(name: &str, blank: &SummaryRow, rows: &[SummaryRow], statistic: fn(&[f64]) -> Option<f64>) -> SummaryRow {
    let over = |of: fn(&SummaryRow) -> Option<f64>| {
        rows.iter().map(of).collect::<Option<Vec<f64>>>().and_then(|values| statistic(&values))
    };
    SummaryRow {
        seed: name.to_owned(),
        clean_accuracy: over(|row| row.clean_accuracy),
        accuracy: over(|row| row.accuracy),
        robust_accuracy: over(|row| row.robust_accuracy),
        robust_accuracy_low_errors: over(|row| row.robust_accuracy_low_errors),
        robust_accuracy_high_errors: over(|row| row.robust_accuracy_high_errors),
        success_rate: over(|row| row.success_rate),
        success_rate_initially_correct: over(|row| row.success_rate_initially_correct),
        success_rate_initially_not_target: over(|row| row.success_rate_initially_not_target),
        median_distance: over(|row| row.median_distance),
        mean_distance: over(|row| row.mean_distance),
        local_optimality: over(|row| row.local_optimality),
        mean_queries: over(|row| row.mean_queries),
        mean_forwards: over(|row| row.mean_forwards),
        mean_backwards: over(|row| row.mean_backwards),
        certified: rows.iter().all(|row| row.certified),
        complete: rows.iter().all(|row| row.complete),
        suspect: words(rows.iter().flat_map(|row| row.suspect.split("; "))),
        ..blank.clone()
    }
}
