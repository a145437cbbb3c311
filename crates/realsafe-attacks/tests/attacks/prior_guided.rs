//! Attacks that estimate gradients from differences of scores: RGF, P-RGF and bandits.

use std::sync::Arc;

use realsafe_core::{Judgement, Model, Verdict};
use realsafe_plan::{Budget, Goal, Norm, Success};

use crate::bench::{Linear, Setting, run};
use crate::problems::{binary, linear_problem, quarters};

#[test]
fn a_linear_model_breaks_just_above_its_margin_and_not_below() {
    let problem = binary().first(6);
    for (attack, norms) in [
        (("rgf", "queries = 3000\nsigma = 0.01"), &Norm::DENSE[..]),
        (("p-rgf", "queries = 1000\nsigma = 0.01"), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"fixed-lambda\""), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"fixed-lambda\"\nlambda = 1"), &Norm::DENSE),
        (("p-rgf", "queries = 1000\nsigma = 0.01\nestimator = \"averaging\""), &Norm::DENSE),
        (("bandits", "queries = 4000\ntile-size = 4\nprior-learning-rate = 5"), &[Norm::Linf]),
        (("bandits", "queries = 4000\ntile-size = 4"), &[Norm::L2]),
    ] {
        for &norm in norms {
            problem.breaks_exactly_above(attack, norm, Success::AnyIterate, 1.05);
        }
    }
}

#[test]
fn targets_are_reached() {
    let problem = linear_problem();
    for goal in [Goal::Targeted, Goal::TargetedMisclassify] {
        for (id, more) in [("rgf", ""), ("p-rgf", ""), ("bandits", "tile-size = 12")] {
            let setting = Setting { goal, ..Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate) };
            for judged in problem.run((id, &format!("queries = 3000\nloss = \"margin\"\n{more}")), &setting) {
                assert_eq!(judged.verdict, Verdict::Broken, "{id} {goal:?}");
            }
        }
    }
}

#[test]
fn within_the_coarse_grid_a_coarse_gradient_is_found_in_fewer_queries() {
    let problem = quarters(40);
    for norm in Norm::DENSE {
        let queries = |data_prior: bool| {
            let parameters = format!("queries = 400\nsigma = 0.01\ndirections = 8\ndata-prior = {data_prior}");
            let spent = (0..problem.rows()).map(|row| {
                let setting = Setting::untargeted(norm, 1.05 * problem.distance(row, norm), Success::AnyIterate);
                let judged = &run(("rgf", &parameters), &problem.model, &problem.alone(row), &setting)[0];
                assert!(judged.verdict == Verdict::Broken || !data_prior, "{norm:?} row {row}");
                judged.spent.queries
            });
            spent.sum::<u64>()
        };
        let (with, without) = (queries(true), queries(false));
        assert!(2 * with < without, "{norm:?}: {with} queries, {without} without the grid");
    }
}

#[test]
fn a_prior_within_the_coarse_grid_breaks_just_above_the_margin_and_not_below() {
    let problem = quarters(40);
    let surrogates = vec![quarters(80).model];
    let estimators = ["optimal-lambda", "averaging"];
    for (norm, estimator) in Norm::DENSE.into_iter().flat_map(|norm| estimators.map(|estimator| (norm, estimator))) {
        let parameters = format!("queries = 1500\nsigma = 0.01\ndata-prior = true\nestimator = \"{estimator}\"");
        for row in 0..problem.rows() {
            for (factor, expected) in [(0.99, Verdict::Robust), (1.05, Verdict::Broken)] {
                let eps = factor * problem.distance(row, norm);
                let setting =
                    Setting { surrogates: surrogates.clone(), ..Setting::untargeted(norm, eps, Success::AnyIterate) };
                let judged = &run(("p-rgf", &parameters), &problem.model, &problem.alone(row), &setting)[0];
                assert_eq!(judged.verdict, expected, "{estimator} {norm:?} row {row} at {factor} of the distance");
            }
        }
    }
}

fn spent(judged: &[Judgement]) -> Vec<u64> {
    judged.iter().map(|judged| judged.spent.queries).collect()
}

#[test]
fn every_query_is_spent_and_none_beyond() {
    let problem = linear_problem();
    let setting = Setting::untargeted(Norm::Linf, 1e-6, Success::AnyIterate);
    for queries in [1, 2, 3, 60, 113, 200] {
        for id in ["rgf", "p-rgf"] {
            let judged = problem.run((id, &format!("queries = {queries}\nsigma = 0.1")), &setting);
            // One query alone cannot pay for a measurement and for where it leads.
            assert!(spent(&judged).iter().all(|spent| (queries - 1..=queries).contains(spent)), "{id} {queries}");
        }
        // The iterates of bandits are not looked at where nothing near them is adversarial.
        let judged = problem.run(("bandits", &format!("queries = {queries}")), &setting);
        assert!(spent(&judged).iter().all(|spent| *spent == queries / 2 * 2), "bandits {queries}");
    }
}

#[test]
fn a_good_prior_costs_two_queries_per_step_and_a_useless_one_is_not_followed() {
    let problem = binary().first(6);
    let setting = Setting::untargeted(Norm::L2, 1e-6, Success::Last);
    // The surrogate is the victim: α is 1, so nothing is drawn but for the length of the gradient.
    let record = |surrogate: &Arc<dyn Model>| {
        let budget = Budget { queries: Some(400), ..Budget::default() };
        let setting = Setting { surrogates: vec![Arc::clone(surrogate)], budget, ..setting.clone() };
        let judged = problem.run(("p-rgf", "queries = 100\nsigma = 0.1\ndirections = 5"), &setting);
        judged.into_iter().map(|judged| judged.surrogates.backwards).collect::<Vec<_>>()
    };
    // 1 + 10 + 2, then 2 each, and 10 more at iterations 3, 10, 20 and 30: 100 queries last for 29 iterations.
    let good = record(&problem.model);
    assert!(good.iter().all(|iterations| (27..=32).contains(iterations)), "{good:?}");
    let useless = record(&problem.across());
    assert!(useless.iter().all(|iterations| *iterations <= 12), "{useless:?}");
}

#[test]
fn a_surrogate_without_gradient_leaves_plain_rgf() {
    let problem = linear_problem();
    let flat: Arc<dyn Model> = Arc::new(Linear::new(&vec![vec![0.0; 12]; 3], &[0.0; 3]));
    let setting = Setting::untargeted(Norm::L2, 0.05, Success::Last);
    let guided = Setting { surrogates: vec![flat], ..setting.clone() };
    let parameters = "queries = 120\nsigma = 0.1\ndirections = 7";
    let pixels = |judged: Vec<Judgement>| judged.into_iter().map(|judged| judged.pixels).collect::<Vec<_>>();
    let guided_parameters = format!("{parameters}\nestimator = \"fixed-lambda\"");
    assert_eq!(
        pixels(problem.run(("p-rgf", &guided_parameters), &guided)),
        pixels(problem.run(("rgf", parameters), &setting))
    );
}

#[test]
fn where_differences_vanish_sigma_doubles_until_they_do_not() {
    // At a distance of 1e-9 single precision shows no difference, at some thousand times that it does.
    let setting = Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate);
    let judged = linear_problem().run(("rgf", "queries = 4000\nsigma = 1e-9\ndirections = 20"), &setting);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Broken));
}
