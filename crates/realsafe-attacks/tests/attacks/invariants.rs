//! What every attack and chain must keep, whatever the model: ball, box, budget, determinism, and independence of the batch.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use realsafe_core::{AttackEntry, Judgement, Model, Verdict, inventory};
use realsafe_plan::{Budget, Cost, Norm, Number, Search, Success};

use crate::bench::{Setting, Threefold, traits};
use crate::problems::{crooked, crooked_surrogate};
use crate::tested::{ATTACKS, Drawn, Tested, radii};

/// Draws so many settings for every attack and chain, and asserts a property of each.
fn every_attack<S: Strategy>(
    cases: u32,
    strategy: impl Fn() -> S,
    property: impl Fn(Tested, S::Value) -> TestCaseResult,
) {
    for tested in Tested::every() {
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let result = runner.run(&strategy(), |drawn| property(tested, drawn));
        result.unwrap_or_else(|error| panic!("{tested:?}: {error}"));
    }
}

fn all() -> Vec<usize> {
    (0..12).collect()
}

/// What must not depend on anything else.
fn outcome(judged: &Judgement) -> (&[f32], Verdict, [Cost; 2], Option<u64>, Option<f64>) {
    (&judged.pixels, judged.verdict, [judged.spent, judged.surrogates], judged.first_success, judged.failed_at)
}

#[test]
fn every_registered_attack_is_looked_at() {
    let registered: BTreeSet<&str> = inventory::iter::<AttackEntry>().map(|entry| entry.component.id).collect();
    assert_eq!(ATTACKS.iter().map(|attack| attack.0).collect::<BTreeSet<_>>(), registered);
}

#[test]
fn results_stay_in_ball_and_box_and_verify() {
    let (model, _) = crooked();
    every_attack(50, Drawn::any, |tested, drawn| {
        let setting = drawn.setting(tested);
        for judged in tested.run(&model, &all(), &setting).judgements {
            prop_assert!(matches!(judged.verdict, Verdict::Robust | Verdict::Broken), "{setting} {judged:?}");
            prop_assert!(judged.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)), "{setting}");
            let distance = judged.distances.in_norm(setting.norm);
            let inside = setting.eps.is_none_or(|eps| distance <= setting.norm.tolerance(eps));
            prop_assert!(inside, "{setting}: {distance}");
            prop_assert!(judged.first_success.is_none_or(|queries| queries <= judged.spent.queries), "{setting}");
            prop_assert_eq!(judged.first_success.is_some(), judged.verdict == Verdict::Broken, "{}", setting);
        }
        Ok(())
    });
}

/// Any part of the samples, in any order, gives for each of them what all samples together give.
#[test]
fn neighbours_do_not_matter() {
    let (model, _) = crooked();
    let part = || prop::sample::subsequence(all(), 1..12).prop_shuffle();
    every_attack(
        20,
        || (Drawn::any(), part(), 1..4_u32),
        |tested, (drawn, rows, restarts)| {
            let setting = Setting { restarts, ..drawn.setting(tested) };
            let together = tested.run(&model, &all(), &setting).judgements;
            for (judged, &row) in tested.run(&model, &rows, &setting).judgements.iter().zip(&rows) {
                prop_assert_eq!(outcome(judged), outcome(&together[row]), "{} row {}", setting, row);
            }
            Ok(())
        },
    );
}

/// Rows of one batch whose radii differ, as those of a search do, give what each gives alone.
#[test]
fn radii_of_neighbours_do_not_matter() {
    let (model, _) = crooked();
    let mixed = Cell::new(0);
    let drawn = || (Drawn::any(), any::<bool>(), 0..12_usize);
    every_attack(8, drawn, |tested, (drawn, list, row)| {
        let fixed = drawn.setting(tested);
        let Some(eps) = fixed.eps.filter(|_| matches!(tested, Tested::Attack(..)) && !fixed.transfers) else {
            return Ok(());
        };
        let search = if list {
            Search::List(radii(fixed.norm).map(Number::from).to_vec())
        } else {
            Search::Exponential { start: Number::from(eps), doublings: 2, bisections: 3 }
        };
        let setting = Setting { eps: None, search: Some(search), ..fixed };
        let together = tested.run(&model, &all(), &setting).judgements;
        let alone = tested.run(&model, &[row], &setting).judgements;
        prop_assert_eq!(outcome(&alone[0]), outcome(&together[row]), "{} row {}", setting, row);
        let different: BTreeSet<_> = together.iter().map(|judged| judged.failed_at.unwrap().to_bits()).collect();
        mixed.set(mixed.get() + u32::from(different.len() > 2));
        Ok(())
    });
    assert!(mixed.get() > 50, "rows of {} batches only had different radii", mixed.get());
}

#[test]
fn two_runs_are_the_same() {
    let (model, _) = crooked();
    every_attack(8, Drawn::any, |tested, drawn| {
        let setting = drawn.setting(tested);
        let [first, second] = [(); 2].map(|()| tested.run(&model, &all(), &setting));
        for (first, second) in first.judgements.iter().zip(&second.judgements) {
            prop_assert_eq!(outcome(first), outcome(second), "{}", setting);
        }
        prop_assert_eq!(first.contributions, second.contributions, "{}", setting);
        Ok(())
    });
}

/// Attacks that draw no random numbers where there is a gradient; `rays` does only where neither white nor black is a start,
/// FAB only in restarts.
const DETERMINISTIC: [&str; 13] =
    ["bim", "cw", "ddn", "deepfool", "fab", "fab-t", "fgsm", "fmn", "mim", "rays", "sgm", "si-ni-fgsm", "tim"];

#[test]
fn another_seed_gives_something_else_where_an_attack_is_random() {
    let (model, _) = crooked();
    for (id, parameters) in ATTACKS {
        let traits = traits(id);
        let eps = (!traits.minimises_distance).then_some(0.02);
        let results = |seed| {
            let surrogates = if id == "p-rgf" { vec![crooked_surrogate()] } else { Vec::new() };
            let setting = Setting { seed, surrogates, ..Setting::untargeted(traits.norms[0], eps, Success::Last) };
            let judged = Tested::Attack(id, parameters).run(&model, &all(), &setting).judgements;
            judged.into_iter().map(|judged| judged.pixels).collect::<Vec<_>>()
        };
        // Where nothing is left to draw: no start, no directions beside the prior.
        let is_fixed = ["start = \"none\"", "lambda = 1"].iter().any(|fixed| parameters.contains(fixed));
        let draws = parameters.contains("diversity") || !(is_fixed || DETERMINISTIC.contains(&id));
        assert_eq!(results(0) != results(1), draws, "{id} {parameters}");
    }
}

fn within(spent: Cost, most: Cost) -> bool {
    spent.queries <= most.queries && spent.forwards <= most.forwards && spent.backwards <= most.backwards
}

#[test]
fn no_attack_costs_more_than_it_declares() {
    let (model, _) = crooked();
    every_attack(
        12,
        || (Drawn::any(), 1..4_u32, 1..4_u32),
        |tested, (drawn, restarts, eot)| {
            let setting = Setting { restarts, eot, ..drawn.setting(tested) };
            let most = tested.declared(&setting);
            for judged in tested.run(&model, &all(), &setting).judgements {
                prop_assert!(within(judged.spent, most), "{}: {:?} of {:?}", setting, judged.spent, most);
            }
            Ok(())
        },
    );
}

#[test]
fn a_budget_of_the_declared_cost_changes_nothing() {
    let (model, _) = crooked();
    every_attack(4, Drawn::any, |tested, drawn| {
        let setting = drawn.setting(tested);
        let Cost { queries, forwards, backwards } = tested.declared(&setting);
        let budget = Budget { queries: Some(queries), forwards: Some(forwards), backwards: Some(backwards) };
        let limited = tested.run(&model, &all(), &Setting { budget, ..setting.clone() }).judgements;
        for (limited, free) in limited.iter().zip(&tested.run(&model, &all(), &setting).judgements) {
            prop_assert_eq!(outcome(limited), outcome(free), "{}", setting);
        }
        Ok(())
    });
}

#[test]
fn budgets_are_never_exceeded() {
    // An answer takes three passes.
    let model: Arc<dyn Model> = Arc::new(Threefold(crooked().0));
    let limit = || prop::option::weighted(0.7, 0..80_u64);
    every_attack(
        40,
        || (Drawn::any(), (limit(), limit(), limit()), 1..4_u32),
        |tested, (drawn, limits, restarts)| {
            let (queries, forwards, backwards) = limits;
            let budget = Budget { queries, forwards, backwards };
            let setting = Setting { budget, restarts, ..drawn.setting(tested) };
            let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
            let most = Cost { queries: most(queries), forwards: most(forwards), backwards: most(backwards) };
            for judged in tested.run(&model, &all(), &setting).judgements {
                prop_assert!(within(judged.spent, most), "{}: {:?}", setting, judged.spent);
                prop_assert!(matches!(judged.verdict, Verdict::Robust | Verdict::Broken), "{setting} {judged:?}");
            }
            Ok(())
        },
    );
}

#[test]
fn exhausted_samples_are_not_broken_by_decree() {
    let (model, samples) = crooked();
    let nothing = Setting::untargeted(Norm::Linf, 0.0, Success::Last);
    let clean = Tested::Attack("fgsm", "").run(&model, &all(), &nothing).judgements;
    let predictions: Vec<u32> = clean.iter().map(|judged| judged.prediction.unwrap()).collect();
    every_attack(
        15,
        || (Drawn::any(), 0..3_u64),
        |tested, (drawn, limit)| {
            let budget = Budget { queries: Some(limit), forwards: Some(0), backwards: Some(limit) };
            let setting = Setting { budget, restarts: 3, transfers: false, ..drawn.setting(tested) };
            for (row, judged) in tested.run(&model, &all(), &setting).judgements.iter().enumerate() {
                let target = setting.goal.has_target().then_some((samples.labels[row] + 1) % 4);
                let reached = setting.goal.reached(predictions[row], samples.labels[row], target);
                prop_assert_eq!(judged.verdict == Verdict::Broken, reached, "{} row {}", setting, row);
                prop_assert_eq!(judged.spent, Cost::default(), "{} row {}", setting, row);
                let clean = &samples.pixels[row * 70..(row + 1) * 70];
                prop_assert_eq!(judged.pixels.as_slice(), clean, "{} row {}", setting, row);
            }
            Ok(())
        },
    );
}
