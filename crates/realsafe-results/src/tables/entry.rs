//! What all tables count in: an attack at one eps on one defended model, judged sample by sample, and the worst cases.

use std::collections::BTreeMap;

use realsafe_plan::Number;

use super::group::{Group, Subject};
use super::judged::Judged;
use super::rate::Rate;
use super::row::About;
use crate::grouping::grouped;
use crate::statistics::mean;
use crate::{Shares, Spent};

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
    /// Whether distances are what is measured.
    pub(crate) minimises_distance: bool,
    pub(crate) samples_expected: u64,
    pub(crate) cells: u64,
    pub(crate) cells_expected: u64,
    pub(crate) warnings: Vec<String>,
}

/// The entries of one experiment: each attack at each eps in plan order, then the worst cases. `radii` gives the eps
/// list of a group that minimises the distance, of which it is judged at those that it reaches.
pub(crate) fn entries(groups: &[Group], radii: impl Fn(&Subject) -> Vec<Number>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let radii = match &group.eps {
            Some(eps) => vec![Some(eps.clone())],
            None => match radii(&group.subject) {
                listed if listed.is_empty() => vec![None],
                listed => listed.into_iter().filter(|eps| group.reaches(eps.value())).map(Some).collect(),
            },
        };
        entries.extend(radii.into_iter().map(|eps| Entry {
            group: Some(index),
            subject: group.subject.clone(),
            judged: group.judge(eps.as_ref().map_or(f64::INFINITY, Number::value)),
            eps,
            seed: group.seed,
            is_certificate: group.is_certificate,
            minimises_distance: group.eps.is_none(),
            samples_expected: group.samples_expected,
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
    let victim = |entry: &&Entry| (entry.subject.worst_case().about(entry.eps.as_ref()), entry.seed);
    let attacks = entries.iter().filter(|entry| entry.is_attack());
    let worst = grouped(attacks, victim).into_iter().map(|(_, attacks)| {
        let mut rows: BTreeMap<u32, Judged> = BTreeMap::new();
        for judged in attacks.iter().flat_map(|attack| &attack.judged) {
            let union = |known: &mut Judged| *known = worse(known, judged);
            rows.entry(judged.sample).and_modify(union).or_insert_with(|| judged.clone());
        }
        let sum = |of: fn(&Entry) -> u64| attacks.iter().map(|attack| of(attack)).sum();
        Entry {
            group: None,
            subject: attacks[0].subject.worst_case(),
            eps: attacks[0].eps.clone(),
            seed: attacks[0].seed,
            judged: rows.into_values().collect(),
            is_certificate: false,
            minimises_distance: attacks.iter().all(|attack| attack.minimises_distance),
            samples_expected: attacks.iter().map(|attack| attack.samples_expected).max().unwrap_or(0),
            cells: sum(|attack| attack.cells),
            cells_expected: sum(|attack| attack.cells_expected),
            warnings: Vec::new(),
        }
    });
    worst.collect()
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
        spent: a.spent.zip(b.spent).map(|(a, b)| a.plus(b)),
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
            rate: Rate::of_shares(possible().map(Judged::success_share)).value(),
        }
    }

    /// What a row about it begins with.
    pub(crate) fn about(&self) -> About {
        self.subject.about(self.eps.as_ref())
    }

    /// Whether all cells are there.
    pub(crate) const fn is_complete(&self) -> bool {
        self.cells == self.cells_expected
    }

    /// The distances of all samples in the unit of the threat model; after errors, what is to be taken for them.
    pub(crate) fn distances(&self, of_errors: f64) -> Vec<f64> {
        self.judged.iter().map(|judged| judged.distance_or(of_errors)).collect()
    }

    /// Samples whose cell failed, so that nobody knows what was spent on them.
    pub(crate) fn failed(&self) -> u64 {
        self.judged.iter().filter(|judged| judged.spent.is_none()).count() as u64
    }

    /// Mean of something that was spent, over the samples of which that is known.
    pub(crate) fn mean_spent(&self, of: impl Fn(Spent) -> u64) -> Option<f64> {
        let known = self.judged.iter().filter_map(|judged| judged.spent);
        mean(&known.map(|spent| of(spent) as f64).collect::<Vec<_>>())
    }
}
