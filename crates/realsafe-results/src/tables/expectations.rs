//! `expectations.csv`: what papers say beside what was measured.
//!
//! A published value has one row, an ordering one per eps. Verdicts:
//!
//! - `pass`: within the stated tolerance; the ordering holds.
//! - `within-error`: outside the tolerance, but within two standard errors, from our number of samples and the published
//!   one where it is known; for distances and queries, within the 95 % interval of ours.
//! - `unclear`: the ordering is violated, but not significantly at 95 % on the same samples.
//! - `fail`: neither.
//! - `missing`: the cells are not all there.
//!
//! Without a seed, values are means over all seeds. Samples that ended in errors are counted both ways, and the worse
//! verdict stands; the measured value is empty then.

use std::collections::BTreeMap;

use realsafe_plan::{Aim, Claim, Expectation, Experiment, Metric, Number, Relation, Selector};
use serde::Serialize;

use super::entry::{Entry, WORST_CASE};
use super::group::{Judged, Rate};
use crate::statistics::{Paired, QUANTILE, deviation, mean, mean_error, median, median_interval, rate_error};

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
    /// Not measured.
    Missing,
}

impl Verdict {
    /// The word that reports use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::WithinError => "within-error",
            Self::Unclear => "unclear",
            Self::Fail => "fail",
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
                let measured = Measured::of(&select(entries, selector), *metric);
                vec![value_row(blank, *value, *tolerance, *samples, measured.as_ref())]
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

/// How often a sample counts for a rate; none after an error. The outer option leaves out samples that the rate is not
/// about.
#[expect(clippy::option_option, reason = "an error is not the same as a sample that the rate is not about")]
fn answer(judged: &Judged, metric: Metric) -> Option<Option<f64>> {
    match metric {
        Metric::CleanAccuracy => Some(judged.clean_share()),
        Metric::RobustAccuracy | Metric::CertifiedAccuracy => Some(judged.robust_share()),
        Metric::SuccessRate => {
            (judged.clean_answer() != Some(false)).then(|| judged.robust_share().map(|share| 1.0 - share))
        }
        Metric::MedianDistance | Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => None,
    }
}

/// The queries of a sample; none where they do not count.
fn queries(judged: &Judged, metric: Metric) -> Option<f64> {
    let success = judged.broken == Some(true) && judged.clean_answer() == Some(true);
    (success || metric == Metric::MeanQueries).then_some(judged.queries as f64)
}

/// A quantity over all seeds.
struct Measured {
    /// With all errors counting against, and for.
    bounds: (f64, f64),
    low: f64,
    high: f64,
    /// The standard error of a rate.
    error: Option<f64>,
}

impl Measured {
    /// None unless all cells are there.
    fn of(entries: &[&Entry], metric: Metric) -> Option<Self> {
        let seeds = entries.iter().map(|entry| Self::of_seed(entry, metric)).collect::<Option<Vec<Self>>>()?;
        let average = |of: fn(&Self) -> f64| mean(&seeds.iter().map(of).collect::<Vec<_>>());
        let bounds = (average(|seed| seed.bounds.0)?, average(|seed| seed.bounds.1)?);
        let spread = deviation(&seeds.iter().map(|seed| seed.bounds.0).collect::<Vec<_>>()).unwrap_or(0.0);
        // The images are the same for all seeds, so that their share of the error does not shrink.
        let errors = seeds.iter().map(|seed| seed.error).collect::<Option<Vec<f64>>>();
        let error = errors.and_then(|errors| Some(mean(&errors)?.hypot(spread / (seeds.len() as f64).sqrt())));
        Some(Self { bounds, low: average(|seed| seed.low)?, high: average(|seed| seed.high)?, error })
    }

    fn of_seed(entry: &Entry, metric: Metric) -> Option<Self> {
        if !entry.is_complete() {
            return None;
        }
        if metric == Metric::MedianDistance {
            let distances = entry.distances();
            let ((low, high), middle) = (median_interval(&distances)?, median(&distances)?);
            return Some(Self { bounds: (middle, middle), low, high, error: None });
        }
        if matches!(metric, Metric::MeanQueries | Metric::MeanQueriesOfSuccesses) {
            let queries: Vec<f64> = entry.judged.iter().filter_map(|judged| queries(judged, metric)).collect();
            let (middle, half) = (mean(&queries)?, QUANTILE * mean_error(&queries).unwrap_or(f64::INFINITY));
            return Some(Self { bounds: (middle, middle), low: middle - half, high: middle + half, error: None });
        }
        let rate = Rate::of_shares(entry.judged.iter().filter_map(|judged| answer(judged, metric)));
        let (bounds, (low, high)) = (rate.bounds()?, rate.interval()?);
        Some(Self { bounds, low, high, error: Some(rate_error(f64::midpoint(bounds.0, bounds.1), rate.total)) })
    }

    /// The same, multiplied by a factor that is 1 for rates.
    fn scaled(self, factor: f64) -> Self {
        let Self { bounds, low, high, error } = self;
        Self { bounds: (factor * bounds.0, factor * bounds.1), low: factor * low, high: factor * high, error }
    }

    /// The value, unless errors leave it open.
    fn value(&self) -> Option<f64> {
        (self.bounds.0 == self.bounds.1).then_some(self.bounds.0)
    }

    /// Judges the measurement, if this is its value, against a published one.
    fn verdict(&self, value: f64, published: f64, tolerance: f64, samples: Option<u64>) -> Verdict {
        let distance = (value - published).abs();
        let explained = match self.error {
            Some(ours) => {
                let theirs = samples.map_or(0.0, |samples| rate_error(published, samples));
                distance <= 2.0 * ours.hypot(theirs)
            }
            None => (self.low..=self.high).contains(&published),
        };
        // Decimal fractions are not exact in binary: 0.893 - 0.873 exceeds 0.02 by a rounding error.
        match distance <= tolerance + 1e-12 {
            true => Verdict::Pass,
            false if explained => Verdict::WithinError,
            false => Verdict::Fail,
        }
    }
}

fn value_row(
    blank: ExpectationRow,
    published: f64,
    tolerance: f64,
    samples: Option<u64>,
    measured: Option<&Measured>,
) -> ExpectationRow {
    let ends = measured.map(|measured| {
        [measured.bounds.0, measured.bounds.1].map(|value| measured.verdict(value, published, tolerance, samples))
    });
    let value = measured.and_then(Measured::value);
    ExpectationRow {
        claim: "value".to_owned(),
        published: Some(published),
        tolerance,
        measured: value,
        low: measured.map(|measured| measured.low),
        high: measured.map(|measured| measured.high),
        difference: value.map(|value| value - published),
        verdict: Some(ends.map_or(Verdict::Missing, |[a, b]| a.max(b))),
        ..blank
    }
}

/// What an ordering says of two quantities.
#[derive(Clone, Copy)]
struct Order {
    relation: Relation,
    /// What the other one is multiplied by.
    factor: f64,
    margin: f64,
    metric: Metric,
}

fn order_row(blank: ExpectationRow, selectors: [&Selector; 2], order: Order, entries: &[Entry]) -> ExpectationRow {
    let Order { relation, factor, margin, metric } = order;
    let selected = selectors.map(|selector| select(entries, selector));
    let measured =
        [Measured::of(&selected[0], metric), Measured::of(&selected[1], metric).map(|other| other.scaled(factor))];
    let [eps, other] = [selectors[0], selectors[1]].map(about);
    let seed = other.seed.map(|seed| seed.to_string()).unwrap_or_default();
    let parts = [other.model, other.defense, other.attack, other.threat, other.eps, seed];
    let blank = ExpectationRow {
        eps: eps.eps,
        other: [if factor == 1.0 { String::new() } else { format!("{factor} ×") }]
            .into_iter()
            .chain(parts)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
        ..blank
    };
    let [Some(own), Some(other)] = &measured else {
        return ExpectationRow { verdict: Some(Verdict::Missing), ..blank };
    };
    let (larger, smaller) = match relation {
        Relation::Above => ((own, &selected[0], 1.0), (other, &selected[1], factor)),
        Relation::Below => ((other, &selected[1], factor), (own, &selected[0], 1.0)),
    };
    let verdict = if larger.0.bounds.0 - smaller.0.bounds.1 >= margin - 1e-12 {
        Verdict::Pass
    } else if is_significantly_below((larger.1, larger.2), (smaller.1, smaller.2), margin, metric) {
        Verdict::Fail
    } else {
        Verdict::Unclear
    };
    ExpectationRow {
        published: other.value(),
        measured: own.value(),
        low: Some(own.low),
        high: Some(own.high),
        difference: own.value().zip(other.value()).map(|(own, other)| own - other),
        verdict: Some(verdict),
        ..blank
    }
}

/// Whether the quantity of `larger` minus that of `smaller`, each times its factor, falls short of a margin on the same
/// samples by more than chance explains. Medians are compared by the signs of the differences, means by their standard error.
fn is_significantly_below(larger: (&[&Entry], f64), smaller: (&[&Entry], f64), margin: f64, metric: Metric) -> bool {
    let seeds = larger.0.len().max(1);
    let mut paired = Paired::default();
    let mut differences = Vec::new();
    for (first_entry, second_entry) in larger.0.iter().zip(smaller.0) {
        let partners: BTreeMap<u32, &Judged> =
            second_entry.judged.iter().map(|judged| (judged.sample, judged)).collect();
        for first in &first_entry.judged {
            let Some(second) = partners.get(&first.sample) else {
                continue;
            };
            match metric {
                Metric::MedianDistance => {
                    let difference = larger.1 * first.distance - smaller.1 * second.distance;
                    paired.add(f64::from(u8::from(difference > margin)), f64::from(u8::from(difference < margin)));
                }
                Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => {
                    if let (Some(first), Some(second)) = (queries(first, metric), queries(second, metric)) {
                        differences.push(larger.1 * first - smaller.1 * second);
                    }
                }
                _ => {
                    if let (Some(Some(first)), Some(Some(second))) = (answer(first, metric), answer(second, metric)) {
                        paired.add(first, second);
                    }
                }
            }
        }
    }
    match metric {
        Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => {
            // The images are the same for all seeds, so that their share of the error does not shrink.
            let error = mean_error(&differences).map(|error| error * (seeds as f64).sqrt());
            mean(&differences).zip(error).is_some_and(|(mean, error)| margin - mean > QUANTILE * error)
        }
        Metric::MedianDistance => paired.divided(seeds as u64).significantly_below(0.0),
        _ => paired.divided(seeds as u64).significantly_below(margin),
    }
}

#[cfg(test)]
mod tests;
