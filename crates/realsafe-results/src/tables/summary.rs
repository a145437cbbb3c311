//! `summary.csv`: a row per attack, defended model, threat model and seed; the worst case over all attacks; and mean
//! and standard deviation over seeds.
//!
//! Rates are empty when a sample ended in an error: then they lie between the columns that count all errors as broken
//! and all as robust, and the 95 % interval is widened by both. The median distance is empty when errors leave it open: their
//! distances may be anything. Clean accuracy is empty when the model itself failed on
//! a clean image, and so are rates among samples of which it is then unknown whether they belong. A sample is robust when its status says so; for
//! attacks that minimise the distance, when its distance exceeds eps. Accuracy is the share of predictions on the
//! attacked images that equal the label. Means of what was spent leave out the samples of cells that failed, which `failed` counts.
//!
//! Over several seeds, counts are sums, and rates, distances and the ends of intervals means: the images are the same for all, so
//! that seeds do not narrow what is known.
//!
//! Rows of certificates are marked: their robust accuracy is certified accuracy, the share of samples that are proven to
//! be classified correctly within eps, and their distances are the radii of the proofs. They are no part of the worst case,
//! and columns about attacks are empty.
//!
//! Of randomised victims, accuracies and rates are means over samples of the share of draws, also in the worst case, where
//! the attack counts that leaves a sample the smallest share. Counts and membership (`initially_correct`) go by the majority
//! of a sample's draws. Intervals are Wilson's with the mean in place of the rate: rather too wide, as shares vary less than
//! a yes or no.

use std::collections::BTreeSet;

use serde::Serialize;

use super::entry::Entry;
use super::gate::Suspicion;
use super::judged::Judged;
use super::rate::Rate;
use super::row::{About, Row};
use crate::grouping::grouped;
use crate::statistics::{deviation, mean, median};

/// A row of `summary.csv`.
pub type SummaryRow = Row<Summary>;

/// The seed of rows that are means over all seeds.
pub(crate) const MEAN: &str = "mean";
/// The seed of rows that are standard deviations over all seeds.
pub(crate) const DEVIATION: &str = "deviation";

/// What a row of `summary.csv` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The seed, or `mean` or `deviation` over all seeds.
    pub seed: String,
    /// Samples in the store.
    pub samples: Option<u64>,
    /// Samples of the plan.
    pub samples_expected: Option<u64>,
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
    /// Samples among them whose cell failed, so that nothing was judged, and nobody knows what was spent.
    pub failed: Option<u64>,
    /// Median distance of adversarials in the norm, over all samples; infinite where there is none.
    pub median_distance: Option<f64>,
    /// Mean distance of the adversarials that there are, in the norm.
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
    /// Whether the attack minimises the distance, so that distances are what it is about.
    pub minimises_distance: bool,
    /// Whether all cells are there.
    pub complete: bool,
    /// What looked wrong, joined by `; `.
    pub warnings: String,
    /// The checks of the gradient-masking gate that the result does not pass, joined by `; `.
    pub suspect: String,
}

/// What is said of an entry.
fn summary(entry: &Entry) -> Summary {
    let robust = entry.robust_accuracy();
    let (interval, bounds) = (robust.interval(), robust.bounds());
    let success = entry.success_among(|_| Some(true));
    let correct = entry.success_among(Judged::clean_answer);
    let not_target = entry.subject.goal.has_target().then(|| entry.success_among(Judged::not_target_answer));
    let [nearest, distances] = [0.0, f64::INFINITY].map(|of_errors| entry.distances(of_errors));
    let finite: Vec<f64> = distances.iter().copied().filter(|distance| distance.is_finite()).collect();
    let summary = Summary {
        seed: entry.seed.to_string(),
        samples: Some(robust.total),
        samples_expected: Some(entry.samples_expected),
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
        failed: Some(entry.failed()),
        median_distance: median(&distances).filter(|median_distance| median(&nearest) == Some(*median_distance)),
        mean_distance: mean(&finite),
        local_optimality: None,
        mean_queries: entry.mean_spent(|spent| spent.queries),
        mean_forwards: entry.mean_spent(|spent| spent.forwards),
        mean_backwards: entry.mean_spent(|spent| spent.backwards),
        cells: Some(entry.cells),
        cells_expected: Some(entry.cells_expected),
        certified: entry.is_certificate,
        minimises_distance: entry.minimises_distance,
        complete: entry.is_complete(),
        warnings: entry.warnings.join("; "),
        suspect: String::new(),
    };
    if !entry.is_certificate {
        return summary;
    }
    // Nothing was attacked.
    Summary {
        success: None,
        success_rate: None,
        success_initially_correct: None,
        success_rate_initially_correct: None,
        success_initially_not_target: None,
        success_rate_initially_not_target: None,
        ..summary
    }
}

/// The rows of some entries, followed by mean and standard deviation wherever there are several seeds. What is suspect
/// is told per entry, the local optimality per group.
pub(crate) fn summary_rows(
    entries: &[Entry],
    suspicions: &[Vec<Suspicion>],
    optimality: &[Option<f64>],
) -> Vec<SummaryRow> {
    let row = |(entry, suspicions): (&Entry, &Vec<Suspicion>)| Row {
        about: entry.about(),
        values: Summary {
            local_optimality: entry.group.and_then(|group| optimality[group]),
            suspect: distinct(suspicions.iter().map(|suspicion| suspicion.check.name())),
            ..summary(entry)
        },
    };
    let mut rows: Vec<SummaryRow> = entries.iter().zip(suspicions).map(row).collect();
    let over_seeds: Vec<SummaryRow> = grouped(&rows, |row| row.about.clone())
        .into_iter()
        .filter(|(_, of_seeds)| of_seeds.len() > 1)
        .flat_map(|(about, of_seeds)| over_seeds(&about, &of_seeds))
        .collect();
    rows.extend(over_seeds);
    rows
}

/// Different words, in order, joined by `; `.
fn distinct<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words
        .into_iter()
        .filter(|word| !word.is_empty())
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join("; ")
}

/// Mean and standard deviation over seeds; empty where a seed lacks the number. Counts are summed up beside the mean.
fn over_seeds(about: &About, rows: &[&SummaryRow]) -> [SummaryRow; 2] {
    let with = |seed: &str, statistic: fn(&[f64]) -> Option<f64>| {
        let over = |of: fn(&Summary) -> Option<f64>| {
            let values = rows.iter().map(|row| of(&row.values)).collect::<Option<Vec<f64>>>()?;
            statistic(&values)
        };
        Summary {
            seed: seed.to_owned(),
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
            certified: rows.iter().all(|row| row.values.certified),
            minimises_distance: rows.iter().all(|row| row.values.minimises_distance),
            complete: rows.iter().all(|row| row.values.complete),
            suspect: distinct(rows.iter().flat_map(|row| row.values.suspect.split("; "))),
            ..Summary::default()
        }
    };
    let sum = |of: fn(&Summary) -> Option<u64>| rows.iter().map(|row| of(&row.values)).sum::<Option<u64>>();
    let ends =
        |of: fn(&Summary) -> Option<f64>| mean(&rows.iter().map(|row| of(&row.values)).collect::<Option<Vec<f64>>>()?);
    let middle = Summary {
        samples: sum(|row| row.samples),
        samples_expected: sum(|row| row.samples_expected),
        robust_accuracy_low: ends(|row| row.robust_accuracy_low),
        robust_accuracy_high: ends(|row| row.robust_accuracy_high),
        errors: sum(|row| row.errors),
        failed: sum(|row| row.failed),
        cells: sum(|row| row.cells),
        cells_expected: sum(|row| row.cells_expected),
        ..with(MEAN, mean)
    };
    [middle, with(DEVIATION, deviation)].map(|values| Row { about: about.clone(), values })
}
