//! The loop around attacks: which runs begin, what is left of earlier ones, and what restarts and chains end with.

use realsafe_core::{Judged, Judgement, Verdict};
use realsafe_plan::{Budget, Cost, Norm, Number, Search, Success};

use crate::bench::{Listed, Setting, drive_listed, entry, parse, run, traits};
use crate::problems::{Problem, binary, crooked, linear_problem};

fn queries(queries: u64) -> Budget {
    Budget { queries: Some(queries), ..Budget::default() }
}

fn pixels(judged: &[Judgement]) -> Vec<&[f32]> {
    judged.iter().map(|judged| judged.pixels.as_slice()).collect()
}

/// Runs a chain of attacks, given by their ids and parameters, on a row of a problem alone.
fn chain(attacks: &[(&str, &str)], problem: &Problem, row: usize, setting: &Setting) -> Judged {
    let members: Vec<Listed> = attacks.iter().map(|(id, parameters)| Listed::new(id, parameters)).collect();
    drive_listed(&members, &problem.model, &problem.alone(row), &[0], setting).unwrap()
}

#[test]
fn a_run_begins_only_where_the_budget_covers_start_and_first_step() {
    let problem = linear_problem();
    // A random point of so large a ball is adversarial more often than not.
    for success in Success::ALL {
        for (attack, budget) in [
            (("pgd", ""), queries(0)),
            (("pgd", ""), Budget { backwards: Some(0), ..Budget::default() }),
            (("square", "queries = 50"), queries(1)),
            (("fab-t", ""), queries(2)),
            (("apgd", ""), queries(0)),
            (("rgf", "directions = 5"), queries(6)),
        ] {
            let eps = (attack.0 != "fab-t").then_some(1.0);
            let setting = Setting { budget, ..Setting::untargeted(Norm::Linf, eps, success) };
            for (row, judged) in problem.run(attack, &setting).into_iter().enumerate() {
                assert_eq!((judged.verdict, judged.spent), (Verdict::Robust, Cost::default()), "{attack:?} {row}");
                assert_eq!(judged.pixels, problem.alone(row).pixels, "{attack:?}: nothing was attacked");
            }
        }
    }
}

#[test]
fn a_restart_that_the_budget_does_not_cover_leaves_what_was_reached() {
    let problem = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, 0.05, Success::Last);
    for (attack, each) in [(("pgd", "steps = 5"), 5), (("square", "queries = 6"), 6), (("apgd", "steps = 4"), 5)] {
        let once = problem.run(attack, &setting);
        assert!(once.iter().any(|judged| judged.verdict == Verdict::Robust));
        let limited = Setting { restarts: 4, budget: queries(each), ..setting.clone() };
        let judged = problem.run(attack, &limited);
        assert_eq!(pixels(&judged), pixels(&once), "{attack:?}");
        assert!(judged.iter().all(|judged| judged.spent.queries == each), "{attack:?}");
    }
}

/// Asserts that a second member leaves what the first one ends with, and adds what it costs.
fn changes_the_costs_only(members: &[((&str, &str), Budget, Cost)], success: Success) {
    let problem = binary();
    let first = ("bim", "steps = 5");
    for row in 0..problem.rows() {
        let eps = 0.9 * problem.distance(row, Norm::L2);
        let setting = Setting::untargeted(Norm::L2, eps, success);
        let alone = chain(&[first], &problem, row, &setting).judgements.remove(0);
        assert_eq!(alone.verdict, Verdict::Robust);
        for (second, budget, costs) in members {
            let setting = Setting { budget: *budget, ..setting.clone() };
            let judged = chain(&[first, *second], &problem, row, &setting).judgements.remove(0);
            let known =
                |judged: &Judgement| (judged.verdict, judged.pixels.clone(), judged.prediction, judged.distances);
            assert_eq!(known(&judged), known(&alone), "{second:?} row {row}");
            assert_eq!(judged.spent, alone.spent.plus(*costs), "{second:?} row {row}");
        }
    }
}

#[test]
fn a_member_that_did_not_run_changes_nothing() {
    for success in Success::ALL {
        let members = [(("square", "queries = 50"), queries(6)), (("fab-t", "steps = 10"), queries(7))];
        changes_the_costs_only(&members.map(|(member, budget)| (member, budget, Cost::default())), success);
    }
}

#[test]
fn a_member_that_found_an_adversarial_outside_the_ball_changes_the_costs_only() {
    for success in Success::ALL {
        changes_the_costs_only(&[(("boundary", "queries = 60"), Budget::default(), Cost::forward(60))], success);
    }
}

#[test]
fn a_member_that_found_nothing_changes_the_costs_only() {
    let twice = Cost::gradient(10).plus(Cost::forward(10));
    for success in Success::ALL {
        for (member, costs) in [
            (("fab-t", "steps = 10"), twice.plus(Cost::forward(1))),
            (("fab", "steps = 10"), twice),
            (("ddn", "steps = 10\ninitial-radius = 1e-6"), Cost::gradient(10)),
        ] {
            changes_the_costs_only(&[(member, Budget::default(), costs)], success);
        }
    }
}

#[test]
fn members_that_minimise_the_distance_break_what_has_an_adversarial_in_the_ball() {
    let problem = binary();
    let ddn = ("ddn", "steps = 600\nradius-adaptation = 0.02\ninitial-radius = 0.1");
    let boundary = ("boundary", "queries = 3000\nspherical-step = 0.1\nsource-step = 0.1");
    // The draws of a victim that draws nothing are all the same.
    for (draws, success) in
        [(None, Success::Last), (None, Success::AnyIterate), (None, Success::AnyQuery), (Some(8), Success::Last)]
    {
        for second in [("fab-t", "steps = 40"), ("fab", "steps = 40"), ("deepfool", ""), ddn, boundary] {
            for row in 0..3 {
                for (factor, verdict, by) in [(0.95, Verdict::Robust, None), (1.1, Verdict::Broken, Some(1))] {
                    let eps = factor * problem.distance(row, Norm::L2);
                    let setting = Setting { draws, ..Setting::untargeted(Norm::L2, eps, success) };
                    // The first member hardly moves.
                    let first = ("bim", "steps = 2\nstep-size = 1e-5");
                    let judged = chain(&[first, second], &problem, row, &setting).judgements.remove(0);
                    let what = format!("{second:?} {success:?} {draws:?} row {row} at {factor}");
                    assert_eq!((judged.verdict, judged.broken_by), (verdict, by), "{what}");
                    assert!(judged.distances.l2 <= Norm::L2.tolerance(eps), "{what}");
                    let robust = if verdict == Verdict::Broken { 0.0 } else { 1.0 };
                    assert_eq!(judged.shares.map(|shares| shares.robust), draws.map(|_| robust), "{what}");
                }
            }
        }
    }
}

#[test]
fn restarts_keep_the_nearest_adversarial_of_all() {
    let (model, samples) = crooked();
    for success in Success::ALL {
        for (norm, parameters) in [
            (Norm::Linf, "steps = 5\nstart-radius = 0.02"),
            (Norm::L2, "steps = 2\nstart-radius = 0.1"),
            (Norm::L1, "steps = 10\nstart-radius = 1"),
        ] {
            let distances = |restarts| {
                let setting = Setting { restarts, ..Setting::untargeted(norm, None, success) };
                let judged = run(("fab", parameters), &model, &samples, &setting);
                judged.iter().map(|judged| judged.distances.in_norm(norm)).collect::<Vec<_>>()
            };
            let mut before = distances(1);
            let mut nearer = 0;
            for restarts in 2..7 {
                let now = distances(restarts);
                for (row, (now, before)) in now.iter().zip(&before).enumerate() {
                    assert!(now <= before, "{success:?} {norm:?} row {row}: {now} with {restarts}, {before} before");
                    nearer += usize::from(now < before);
                }
                before = now;
            }
            assert!(nearer > 0, "{success:?} {norm:?}: some restart finds something nearer");
        }
    }
}

/// Attacks that draw nothing, and what one run of them costs a sample that it does not break.
const FIXED: [(&str, &str, Norm, u64); 7] = [
    ("bim", "steps = 4", Norm::Linf, 4),
    ("fgsm", "", Norm::L2, 1),
    ("mim", "steps = 4", Norm::Linf, 4),
    ("sgm", "steps = 4", Norm::Linf, 4),
    ("tim", "steps = 4\nkernel-size = 1\ndiversity-probability = 0", Norm::Linf, 4),
    ("si-ni-fgsm", "steps = 4\nscale-copies = 2", Norm::Linf, 8),
    ("apgd", "steps = 4\nstart = \"none\"", Norm::Linf, 5),
];

#[test]
fn an_attack_that_draws_nothing_is_made_once_unless_the_victim_draws() {
    let problem = linear_problem();
    let judged = |attack, norm, draws| {
        let setting = Setting { restarts: 3, draws, ..Setting::untargeted(norm, 1e-6, Success::Last) };
        problem.run(attack, &setting)
    };
    for (id, parameters, norm, queries) in FIXED {
        let spent = |draws, each: u64| {
            let judged = judged((id, parameters), norm, draws);
            assert!(judged.iter().all(|judged| judged.spent.queries == each), "{id} {draws:?} {:?}", judged[0].spent);
        };
        spent(None, queries);
        spent(Some(4), 3 * queries);
    }
    for (id, parameters) in [
        ("pgd", "steps = 4\nstart = \"none\""),
        ("cw", "search-steps = 2\nsteps = 10"),
        ("ddn", "steps = 10"),
        ("fmn", "steps = 10"),
        ("deepfool", ""),
    ] {
        let eps = (!traits(id).minimises_distance).then_some(1e-6);
        let spent = |restarts| {
            let setting = Setting { restarts, ..Setting::untargeted(Norm::L2, eps, Success::Last) };
            problem.run((id, parameters), &setting).into_iter().map(|judged| judged.spent).collect::<Vec<_>>()
        };
        assert_eq!(spent(3), spent(1), "{id}");
    }
    // A search tries each radius again only where that may come to something else.
    let search = Search::Exponential { start: Number::from(1e-6), doublings: 2, bisections: 0 };
    for (id, factor) in [("bim", 1), ("pgd", 3)] {
        let search = Some(search.clone());
        let setting = Setting { restarts: 3, search, ..Setting::untargeted(Norm::Linf, None, Success::Last) };
        let judged = problem.run((id, "steps = 4"), &setting);
        assert!(judged.iter().all(|judged| judged.spent.queries == factor * 3 * 4), "{id} {:?}", judged[0].spent);
    }
    for (attack, each) in [(("pgd", "steps = 4"), 4), (("apgd", "steps = 4"), 5), (("square", "queries = 7"), 7)] {
        let judged = judged(attack, Norm::Linf, None);
        assert!(judged.iter().all(|judged| judged.spent.queries == 3 * each), "{attack:?} draws");
    }
}

#[test]
fn a_budget_of_the_declared_cost_lets_all_steps_be_made() {
    let problem = linear_problem();
    for (attack, norm) in [
        (("apgd", "steps = 20"), Norm::Linf),
        (("apgd", "steps = 20\nlarge-radii = true"), Norm::L1),
        (("apgd-t", "steps = 10\ntargets = 2"), Norm::L2),
        (("apgd-t", "steps = 10\ntargets = 2\nlarge-radii = true"), Norm::L1),
        (("vmi", "steps = 5\nneighbours = 3"), Norm::Linf),
        (("bim", "steps = 5"), Norm::Linf),
        (("si-ni-fgsm", "steps = 5\nscale-copies = 3"), Norm::Linf),
        (("square", "queries = 20"), Norm::Linf),
    ] {
        let cost = (traits(attack.0).cost)(&parse(&entry(attack.0).component, attack.1).values).unwrap();
        let setting = Setting::untargeted(norm, 1e-3, Success::Last);
        let free = problem.run(attack, &setting);
        assert!(free.iter().all(|judged| judged.spent == cost), "{attack:?} costs {cost:?}, not {:?}", free[0].spent);
        let Cost { queries, forwards, backwards } = cost;
        let budget = Budget { queries: Some(queries), forwards: Some(forwards), backwards: Some(backwards) };
        let limited = problem.run(attack, &Setting { budget, ..setting.clone() });
        assert_eq!(pixels(&limited), pixels(&free), "{attack:?}");
        assert!(limited.iter().all(|judged| judged.spent == cost), "{attack:?}: {:?}", limited[0].spent);
        // One query less is not enough.
        let budget = Budget { queries: Some(queries - 1), ..budget };
        let limited = problem.run(attack, &Setting { budget, ..setting });
        assert!(limited.iter().all(|judged| judged.spent.queries < queries), "{attack:?}");
    }
}
