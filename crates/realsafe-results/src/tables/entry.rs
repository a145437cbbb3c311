//! What all tables count in: an attack at one eps on one defended model, judged sample by sample, and the worst cases.

use std::collections::BTreeMap;

use realsafe_plan::Number;

use super::group::{Group, Judged, Rate, Subject};
use crate::Shares;
use crate::statistics::mean;

/// The attack of worst-case rows: a sample is broken when any attack breaks it.
pub const WORST_CASE: &str = "worst-case";

/// How an attacker fares among some samples.
pub(crate) struct Successes {
    /// Samples that certainly belong to them.
    pub(crate) belonging: u64,
    /// Broken ones among all that may.
    pub(crate) broken: u64,
    /// Their share; empty with errors.
    pub(crate) rate: Option<f64>,
}

/// A group at one eps, with the row's place in the summary.
pub(crate) struct Entry {
    /// Which group; none for a worst case.
    pub(crate) group: Option<usize>,
    pub(crate) subject: Subject,
    pub(crate) eps: Option<Number>,
    pub(crate) seed: u64,
    pub(crate) judged: Vec<Judged>,
    pub(crate) is_certificate: bool,
    pub(crate) cells: u64,
    pub(crate) cells_expected: u64,
    pub(crate) warnings: Vec<String>,
}

/// The entries of one experiment: each attack at each eps in plan order, then the worst cases. `radii` gives the eps
/// list of a group that minimises the distance.
pub(crate) fn entries(groups: &[Group], radii: impl Fn(&Subject) -> Vec<Number>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let radii = match &group.eps {
            Some(eps) => vec![Some(eps.clone())],
            None => {
                let listed = radii(&group.subject);
                if listed.is_empty() { vec![None] } else { listed.into_iter().map(Some).collect() }
            }
        };
        entries.extend(radii.into_iter().map(|eps| Entry {
            group: Some(index),
            subject: group.subject.clone(),
            judged: group.judge(eps.as_ref().map_or(f64::MAX, Number::value)),
            eps,
            seed: group.seed,
            is_certificate: group.is_certificate,
            cells: group.cells,
            cells_expected: group.cells_expected,
            warnings: group.warnings.clone(),
        }));
    }
    let worst = worst_cases(&entries);
    entries.extend(worst);
    entries
}

/// One entry per defended model, threat model, eps and seed: the union over its attacks, sample by sample.
fn worst_cases(entries: &[Entry]) -> Vec<Entry> {
    let mut worst: Vec<Entry> = Vec::new();
    let mut places = BTreeMap::new();
    let mut rows: Vec<BTreeMap<u32, Judged>> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_attack()) {
        let Subject { model, defense, threat, .. } = &entry.subject;
        let eps = entry.eps.as_ref().map(|eps| eps.text());
        let place = *places.entry((model, defense, threat, eps, entry.seed)).or_insert(worst.len());
        if place == worst.len() {
            let subject = Subject { attack: WORST_CASE.to_owned(), ..entry.subject.clone() };
            let (cells, cells_expected, warnings) = (0, 0, Vec::new());
            let (eps, seed, judged) = (entry.eps.clone(), entry.seed, Vec::new());
            let is_certificate = false;
            worst.push(Entry {
                group: None,
                subject,
                eps,
                seed,
                judged,
                is_certificate,
                cells,
                cells_expected,
                warnings,
            });
            rows.push(BTreeMap::new());
        }
        worst[place].cells += entry.cells;
        worst[place].cells_expected += entry.cells_expected;
        for judged in &entry.judged {
            let union = |known: &mut Judged| *known = worse(known, judged);
            rows[place].entry(judged.sample).and_modify(union).or_insert_with(|| judged.clone());
        }
    }
    for (entry, rows) in worst.iter_mut().zip(rows) {
        entry.judged = rows.into_values().collect();
    }
    worst
}

/// The better of two attacks on one sample, at the price of both.
fn worse(a: &Judged, b: &Judged) -> Judged {
    let broken = match (a.broken, b.broken) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    let wrong = |judged: &&Judged| judged.pred.is_some_and(|pred| pred != judged.label);
    // Without a wrong prediction, an unknown one might have been wrong.
    let pred = match [a, b].into_iter().find(wrong) {
        Some(judged) => judged.pred,
        None => a.pred.and(b.pred),
    };
    let shares = a.shares.zip(b.shares).map(|(a, b)| Shares {
        correct: a.correct.min(b.correct),
        robust: a.robust.min(b.robust),
        ..a
    });
    Judged {
        shares,
        clean_pred: a.clean_pred.or(b.clean_pred),
        broken,
        pred,
        distance: a.distance.min(b.distance),
        queries: a.queries + b.queries,
        forwards: a.forwards + b.forwards,
        backwards: a.backwards + b.backwards,
        ..a.clone()
    }
}

impl Entry {
    /// Whether it is about one attack: no worst case, and no certificate.
    pub(crate) const fn is_attack(&self) -> bool {
        self.group.is_some() && !self.is_certificate
    }

    /// Share of samples that the attacker does not break; of a certificate, that no attacker can.
    pub(crate) fn robust_accuracy(&self) -> Rate {
        Rate::of_shares(self.judged.iter().map(Judged::robust_share))
    }

    /// Share of predictions on attacked images that equal the label.
    pub(crate) fn accuracy(&self) -> Rate {
        Rate::of_shares(self.judged.iter().map(Judged::correct_share))
    }

    /// How the attacker fares among the samples that may belong to some.
    pub(crate) fn success_among(&self, belongs: impl Fn(&Judged) -> Option<bool>) -> Successes {
        let possible = || self.judged.iter().filter(|judged| belongs(judged) != Some(false));
        Successes {
            belonging: self.judged.iter().filter(|judged| belongs(judged) == Some(true)).count() as u64,
            broken: possible().filter(|judged| judged.broken == Some(true)).count() as u64,
            rate: Rate::of_shares(possible().map(|judged| judged.robust_share().map(|share| 1.0 - share))).value(),
        }
    }

    /// Whether all cells are there.
    pub(crate) const fn is_complete(&self) -> bool {
        self.cells == self.cells_expected
    }

    /// The distances of all samples without errors.
    pub(crate) fn distances(&self) -> Vec<f64> {
        self.judged.iter().filter(|judged| judged.broken.is_some()).map(|judged| judged.distance).collect()
    }

    /// Mean of something over all samples.
    pub(crate) fn mean(&self, of: impl Fn(&Judged) -> u64) -> Option<f64> {
        mean(&self.judged.iter().map(|judged| of(judged) as f64).collect::<Vec<_>>())
    }
}
