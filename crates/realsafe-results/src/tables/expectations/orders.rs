//! Orderings: one quantity above or below another one, on the same samples.

use std::collections::BTreeMap;

use realsafe_plan::{Metric, Relation, Selector};

use super::measured::{Measured, answer, queries};
use super::{Entry, ExpectationRow, Verdict, about, errors, select};
use crate::statistics::{Paired, QUANTILE, mean, mean_error};
use crate::tables::judged::Judged;
use crate::text::words;

/// What an ordering says of two quantities.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub(super) relation: Relation,
    /// What the other one is multiplied by.
    pub(super) factor: f64,
    pub(super) margin: f64,
    pub(super) metric: Metric,
}

pub(super) fn order_row(
    blank: ExpectationRow,
    selectors: [&Selector; 2],
    order: Order,
    entries: &[Entry],
) -> ExpectationRow {
    let Order { relation, factor, margin, metric } = order;
    let selected = selectors.map(|selector| select(entries, selector));
    let [eps, other] = [selectors[0], selectors[1]].map(about);
    let seed = other.seed.map(|seed| seed.to_string()).unwrap_or_default();
    let times = if factor == 1.0 { String::new() } else { format!("{factor} ×") };
    let blank = ExpectationRow {
        eps: eps.eps,
        other: words(
            [&times, &other.model, &other.defense, &other.attack, &other.threat, &other.eps, &seed].map(String::as_str),
        ),
        errors: errors(&selected[0], metric),
        ..blank
    };
    let measured = (Measured::of(&selected[0], metric), Measured::of(&selected[1], metric));
    let (own, other) = match measured {
        (Ok(own), Ok(other)) => (own, other.scaled(factor)),
        (own, other) => {
            let verdict = [own.err(), other.err()].into_iter().flatten().max();
            return ExpectationRow { verdict, ..blank };
        }
    };
    let ((larger, of_larger), (smaller, of_smaller)) = match relation {
        Relation::Above => ((&own, (&*selected[0], 1.0)), (&other, (&*selected[1], factor))),
        Relation::Below => ((&other, (&*selected[1], factor)), (&own, (&*selected[0], 1.0))),
    };
    // The worse way to count errors: the larger one as small, and the smaller one as large as can be.
    let verdict = if minus(larger.ends[0].value, smaller.ends[1].value) >= margin - 1e-12 {
        Verdict::Pass
    } else if is_significantly_below(of_larger, of_smaller, margin, metric) {
        Verdict::Fail
    } else {
        Verdict::Unclear
    };
    ExpectationRow {
        published: other.value(),
        measured: own.value(),
        low: Some(own.low()),
        high: Some(own.high()),
        difference: own.value().zip(other.value()).map(|(own, other)| minus(own, other)),
        verdict: Some(verdict),
        ..blank
    }
}

/// The difference of two quantities, where infinite ones are equal.
fn minus(first: f64, second: f64) -> f64 {
    if first == second { 0.0 } else { first - second }
}

/// Whether the quantity of `larger` minus that of `smaller`, each times its factor, falls short of a margin on the same
/// samples by more than chance explains, errors counting against both. Medians are compared by the signs of the differences,
/// means by their standard error.
pub(super) fn is_significantly_below(
    larger: (&[&Entry], f64),
    smaller: (&[&Entry], f64),
    margin: f64,
    metric: Metric,
) -> bool {
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
                    let near = larger.1 * first.distance_or(0.0);
                    let difference = minus(near, smaller.1 * second.distance_or(f64::INFINITY));
                    paired.add(f64::from(u8::from(difference > margin)), f64::from(u8::from(difference < margin)));
                }
                Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => {
                    if let (Some(first), Some(second)) = (queries(first, metric), queries(second, metric)) {
                        differences.push(larger.1 * first - smaller.1 * second);
                    }
                }
                _ => {
                    if let (Some(first), Some(second)) = (answer(first, metric), answer(second, metric)) {
                        paired.add(first.unwrap_or(0.0), second.unwrap_or(1.0));
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
