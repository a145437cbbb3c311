//! `expectations.csv`: what papers say beside what was measured.
//!
//! A published value has one row, an ordering one per eps. Verdicts:
//!
//! - `pass`: within the stated tolerance; the ordering holds.
//! - `within-error`: outside the tolerance, but chance explains it at 95 %: of rates, by the score test, from our number of
//!   samples and the published one where it is known; for distances and queries, within the 95 % interval of ours.
//! - `unclear`: the ordering is violated, but not significantly at 95 % on the same samples.
//! - `fail`: neither.
//! - `undefined`: there is nothing to take the mean of, as for the queries of successes where none of the samples is broken.
//! - `missing`: the cells are not all there.
//!
//! Without a seed, values are means over all seeds. Samples that ended in errors are counted both ways, as broken and as robust,
//! as near as can be and infinitely far, and the worse verdict stands; the measured value is empty then, unless they do not matter.
//! Queries are those of the samples whose cells did not fail. The column `errors` says how many ended in an error.

mod measured;
mod orders;

use realsafe_plan::{Aim, Claim, Expectation, Experiment, Metric, Number, Selector};
use serde::Serialize;

use self::measured::Measured;
use self::orders::{Order, order_row};
use super::entry::Entry;
use super::group::WORST_CASE;
use super::judged::Judged;

/// How a measurement compares with what was expected, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Outside the tolerance, but chance explains it.
    WithinError,
    /// The wrong way round, but chance explains it.
    Unclear,
    /// Not as expected.
    Fail,
    /// Measured on nothing.
    Undefined,
    /// Not measured.
    Missing,
}

impl Verdict {
    /// Every verdict.
    pub(crate) const ALL: [Self; 6] =
        [Self::Pass, Self::WithinError, Self::Unclear, Self::Fail, Self::Undefined, Self::Missing];

    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::WithinError => "within-error",
            Self::Unclear => "unclear",
            Self::Fail => "fail",
            Self::Undefined => "undefined",
            Self::Missing => "missing",
        }
    }
}

/// A row of `expectations.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExpectationRow {
    /// The experiment.
    pub experiment: String,
    /// The model.
    pub model: String,
    /// The defense stack, or `none`.
    pub defense: String,
    /// The attack, `worst-case` or `clean`.
    pub attack: String,
    /// The threat model; empty for clean accuracy.
    pub threat: String,
    /// The radius; empty where there is none.
    pub eps: String,
    /// The seed; empty for the mean over all.
    pub seed: Option<u64>,
    /// The quantity.
    pub metric: String,
    /// `value`, `above` or `below`.
    pub claim: String,
    /// What it is above or below: model, defense, attack, threat model, radius and seed.
    pub other: String,
    /// The published value; for orderings, the measured value of the other.
    pub published: Option<f64>,
    /// The tolerance of a value, or the margin of an ordering.
    pub tolerance: f64,
    /// What was measured.
    pub measured: Option<f64>,
    /// Lower end of its 95 % interval.
    pub low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub high: Option<f64>,
    /// Measured minus published.
    pub difference: Option<f64>,
    /// Samples that ended in an error, over all seeds.
    pub errors: Option<u64>,
    /// How they compare.
    pub verdict: Option<Verdict>,
    /// Where it is published.
    pub source: String,
}

/// The rows of an experiment's expectations.
pub(crate) fn expectation_rows(experiment: &Experiment, entries: &[Entry]) -> Vec<ExpectationRow> {
    let rows = experiment.expectations.iter().flat_map(|expectation| {
        let Expectation { selector, metric, claim, source } = expectation;
        let blank = ExpectationRow {
            experiment: experiment.id.clone(),
            metric: metric.name().to_owned(),
            source: source.clone().unwrap_or_default(),
            ..about(selector)
        };
        match claim {
            Claim::Value { value, tolerance, samples } => {
                let selected = select(entries, selector);
                let measured = Measured::of(&selected, *metric);
                let blank = ExpectationRow { errors: errors(&selected, *metric), ..blank };
                vec![value_row(blank, *value, *tolerance, *samples, measured)]
            }
            Claim::Order { relation, other, from_eps, factor, margin } => {
                let blank = ExpectationRow { claim: relation.name().to_owned(), tolerance: *margin, ..blank };
                let radii = radii(experiment, selector, *metric, from_eps.as_ref());
                let row = |eps: Option<Number>| {
                    let at = |selector: &Selector| Selector {
                        eps: selector.eps.clone().or(eps.clone()),
                        ..selector.clone()
                    };
                    let order = Order { relation: *relation, factor: *factor, margin: *margin, metric: *metric };
                    order_row(blank.clone(), [&at(selector), &at(other)], order, entries)
                };
                radii.into_iter().map(row).collect()
            }
        }
    });
    rows.collect()
}

fn about(selector: &Selector) -> ExpectationRow {
    ExpectationRow {
        model: selector.model.clone(),
        defense: selector.stack.clone(),
        attack: selector.attack.name().to_owned(),
        threat: selector.threat.clone().unwrap_or_default(),
        eps: selector.eps.as_ref().map(|eps| eps.text().to_owned()).unwrap_or_default(),
        seed: selector.seed,
        ..ExpectationRow::default()
    }
}

/// What a selector means: one entry per seed.
fn select<'a>(entries: &'a [Entry], selector: &Selector) -> Vec<&'a Entry> {
    let mut selected: Vec<&Entry> = Vec::new();
    for entry in entries.iter().filter(|entry| matches(entry, selector)) {
        if selected.iter().all(|other| other.seed != entry.seed) {
            selected.push(entry);
        }
    }
    selected
}

fn matches(entry: &Entry, selector: &Selector) -> bool {
    let attack = match &selector.attack {
        Aim::Attack(id) => entry.subject.attack == *id,
        Aim::WorstCase => entry.subject.attack == WORST_CASE,
        Aim::Clean => true,
    };
    let eps = |eps: &Number| entry.eps.as_ref().is_some_and(|other| other.value() == eps.value());
    attack
        && entry.subject.model == selector.model
        && entry.subject.defense == selector.stack
        && selector.threat.as_ref().is_none_or(|threat| entry.subject.threat == *threat)
        && selector.eps.as_ref().is_none_or(eps)
        && selector.seed.is_none_or(|seed| entry.seed == seed)
}

/// The radii at which an ordering is judged: the one it names, or all from a first one on. A single `None` where there
/// is nothing to go through.
fn radii(experiment: &Experiment, selector: &Selector, metric: Metric, from: Option<&Number>) -> Vec<Option<Number>> {
    if selector.eps.is_some() || matches!(metric, Metric::CleanAccuracy | Metric::MedianDistance) {
        return vec![None];
    }
    let threats = experiment.threats.iter().filter(|threat| Some(&threat.id) == selector.threat.as_ref());
    let reached = |eps: &&Number| from.is_none_or(|from| eps.value() >= from.value());
    let radii: Vec<Option<Number>> =
        threats.flat_map(|threat| &threat.eps).filter(reached).cloned().map(Some).collect();
    if radii.is_empty() { vec![None] } else { radii }
}

/// How many samples ended in an error, or gave no clean prediction where that counts; none where nothing is there.
fn errors(entries: &[&Entry], metric: Metric) -> Option<u64> {
    let is_error = |judged: &&Judged| match metric {
        Metric::CleanAccuracy => judged.clean_pred.is_none(),
        _ => judged.broken.is_none(),
    };
    let count = |entry: &&Entry| entry.judged.iter().filter(is_error).count() as u64;
    (!entries.is_empty()).then(|| entries.iter().map(count).sum())
}

fn value_row(
    blank: ExpectationRow,
    published: f64,
    tolerance: f64,
    samples: Option<u64>,
    measured: Result<Measured, Verdict>,
) -> ExpectationRow {
    let blank = ExpectationRow { claim: "value".to_owned(), published: Some(published), tolerance, ..blank };
    let measured = match measured {
        Ok(measured) => measured,
        Err(verdict) => return ExpectationRow { verdict: Some(verdict), ..blank },
    };
    let value = measured.value();
    ExpectationRow {
        measured: value,
        low: Some(measured.low()),
        high: Some(measured.high()),
        difference: value.map(|value| value - published),
        verdict: Some(measured.verdict(published, tolerance, samples)),
        ..blank
    }
}

#[cfg(test)]
mod tests;
