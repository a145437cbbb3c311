//! Cells and records for the tests of this crate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use realsafe_plan::{
    Access, AttackChoice, AttackTraits, Budget, Catalogue, Cell, CertificateTraits, ChainTraits, Chosen, Component,
    Cost, DatasetTraits, Document, Ensemble, Environment, FromValues, Goal, Key, ModelTraits, Norm, Origin, Plan,
    Success, Surrogates, Threat, Traits, Unit, Value, Values, load_spec,
};

use crate::{CellRecord, MemberRecord, Outcome, Spent, Status};

const fn attack(id: &'static str, minimises_distance: bool) -> Component {
    attack_with(id, minimises_distance, Access::Labels, &|_| Ok(Cost::forward(1)))
}

const fn attack_with(
    id: &'static str,
    minimises_distance: bool,
    access: Access,
    cost: FromValues<Result<Cost, String>>,
) -> Component {
    let (norms, goals) = (&Norm::ALL, &Goal::ALL);
    let surrogates = Surrogates::Unused;
    component(id, Traits::Attack(AttackTraits { access, surrogates, norms, goals, minimises_distance, cost }))
}

const fn component(id: &'static str, traits: Traits) -> Component {
    Component {
        id,
        revision: 1,
        origin: Origin::Crate("tests"),
        source: "//! A thing.",
        parameters: &[],
        example: "",
        traits,
    }
}

static THING: Component = attack("thing", false);

const NET: Traits = Traits::Model(ModelTraits {
    input: &|_| Ok([1, 2, 2]),
    classes: &|_| Ok(3),
    differentiable: true,
    randomised: &|_| false,
});

static CATALOGUE: [Component; 9] = [
    component(
        "dots",
        Traits::Dataset(DatasetTraits {
            shape: |_| [1, 2, 2],
            classes: |_| 3,
            samples: |_| Some(1000),
            files: |_| Vec::new(),
        }),
    ),
    component("net", NET),
    component("other-net", NET),
    attack("step", false),
    attack("walk", true),
    attack_with("leap", false, Access::Gradients, &|_| Ok(Cost::gradient(1))),
    attack_with("climb", false, Access::Gradients, &|_| Ok(Cost::gradient(10))),
    component("chain", Traits::Chain(ChainTraits { norms: &Norm::ALL, goals: &Goal::ALL, members: None })),
    component("proof", Traits::Certificate(CertificateTraits { norms: &Norm::ALL, goals: &Goal::ALL })),
];

/// The plan of specs; the catalogue has the dataset `dots`, the models `net` and `other-net`, the attack `step` and the attack `walk`,
/// which minimises the distance, both of labels; with gradients `leap`, of one step, and `climb`, of ten; `chain`; and the certificate `proof`.
pub(crate) fn plan(specs: &[&str]) -> Plan {
    let catalogue = Catalogue::new(&CATALOGUE).unwrap();
    let environment =
        Environment { data: PathBuf::new(), data_origin: "the test".to_owned(), builtin: &|_| None, read_files: false };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spec.toml");
    let experiments = specs.iter().map(|spec| {
        fs_err::write(&path, spec).unwrap();
        match load_spec(&path, &[], &catalogue, &environment) {
            Ok(Document::Experiment(experiment)) => experiment,
            other => panic!("{other:?}"),
        }
    });
    Plan::new(experiments.collect(), "test").unwrap()
}

fn chosen(id: &str) -> Arc<Chosen> {
    let mut values = Values::default();
    values.insert("steps", Value::Count(10));
    Arc::new(Chosen { id: id.to_owned(), component: &THING, values, files: BTreeMap::new() })
}

/// A key made of a text.
pub(crate) fn key(text: &str) -> Key {
    blake3::hash(text.as_bytes()).to_string().parse().unwrap()
}

/// The cell of a model and an attack in the threat model `near` (linf, untargeted) on the given samples.
pub(crate) fn cell(model: &str, attack: &str, eps: Option<&str>, samples: std::ops::Range<u32>, seed: u64) -> Cell {
    let eps = eps.map(|eps| eps.parse().unwrap());
    Cell {
        key: key(&format!("{model} {attack} {eps:?} {samples:?} {seed}")),
        experiment: "trial".to_owned(),
        data: chosen("digits"),
        samples: samples.collect(),
        model: chosen(model),
        stack: Vec::new(),
        attack: AttackChoice {
            chosen: chosen(attack),
            success: Success::AnyIterate,
            restarts: 1,
            budget: Budget::default(),
            record: Vec::new(),
            surrogates: Vec::new(),
            ensemble: Ensemble::default(),
            eot: 1,
            search: None,
            members: Vec::new(),
        },
        threat: Threat {
            id: "near".to_owned(),
            norm: Norm::Linf,
            unit: Unit::of(Norm::Linf),
            eps,
            goal: Goal::Untargeted,
            target: None,
        },
        seed,
        draws: None,
        cost: Cost::default(),
    }
}

/// A sample of class 1 that was classified correctly, attacked with 10 queries.
pub(crate) fn outcome(sample: u32, status: Status, distance: f64) -> Outcome {
    let broken = status == Status::Broken;
    Outcome {
        sample,
        label: 1,
        target: None,
        clean_pred: Some(1),
        adv_pred: (!status.is_error()).then_some(if broken { 2 } else { 1 }),
        status,
        dist_linf: distance,
        dist_l2: 2.0 * distance,
        dist_l1: 3.0 * distance,
        dist_l0: 4.0,
        spent: Spent { queries: 10, forwards: 10, backwards: 5, ..Spent::default() },
        first_success: broken.then_some(u64::from(sample) + 1),
        broken_by: None,
        failed_at: None,
        shares: None,
    }
}

/// A record of some outcomes.
pub(crate) fn record(outcomes: Vec<Outcome>) -> CellRecord {
    CellRecord {
        outcomes,
        trace: Vec::new(),
        members: Vec::new(),
        zero_gradients: 0,
        random_answers: 0,
        adversarials: None,
        warnings: Vec::new(),
    }
}

/// The record of a chain of `climb` and `step` on samples from `first` on, which end as the letters say: by the `c`lean
/// image, by the first member or by the `s`econd, else as for [`record_of`].
pub(crate) fn record_of_chain(first: u32, letters: &str) -> CellRecord {
    let count = |wanted: &str| letters.chars().filter(|letter| wanted.contains(*letter)).count() as u64;
    let member = |id: &str, attacked, broken| MemberRecord {
        id: id.to_owned(),
        attacked,
        broken,
        spent: Spent { queries: 2 * attacked, forwards: 3 * attacked, backwards: attacked, ..Spent::default() },
    };
    let mut chained = record_of(first, &letters.replace(['c', 's'], "b"));
    for (outcome, letter) in chained.outcomes.iter_mut().zip(letters.chars()) {
        outcome.broken_by = match letter {
            'b' => Some("climb".to_owned()),
            's' => Some("step".to_owned()),
            _ => None,
        };
    }
    chained.members = vec![member("climb", count("bsrf"), count("b")), member("step", count("srf"), count("s"))];
    chained
}

/// A record of samples from `first` on that end as the letters say: `r`obust, `b`roken, `f`ailed.
pub(crate) fn record_of(first: u32, letters: &str) -> CellRecord {
    let status = |letter| match letter {
        'r' => Status::Robust,
        'b' => Status::Broken,
        _ => Status::Failed,
    };
    record((first..).zip(letters.chars()).map(|(sample, letter)| outcome(sample, status(letter), 0.25)).collect())
}

/// The record of two samples from `first` on where the model itself did not live to see the clean images.
pub(crate) fn failure_of(first: u32, status: Status) -> CellRecord {
    let failed = |sample| Outcome { clean_pred: None, ..outcome(sample, status, f64::INFINITY) };
    record((first..first + 2).map(failed).collect())
}
