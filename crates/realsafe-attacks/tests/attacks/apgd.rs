//! APGD and APGD-T on linear models: what they break, and what that costs.

use realsafe_core::Verdict;
use realsafe_plan::{Cost, Goal, Norm, Success};

use crate::bench::{Setting, scatter};
use crate::problems::{Problem, linear_problem, two_and_a_far_third};
use crate::reference::{Image, NORMS};

fn breaks_exactly_above(attack: (&str, &str), problem: &Problem) {
    for norm in NORMS {
        for success in [Success::Last, Success::AnyIterate] {
            problem.breaks_exactly_above(attack, norm, success, 1.02);
        }
    }
}

#[test]
fn it_breaks_a_linear_model_exactly_above_its_margin() {
    for parameters in [
        "",
        "loss = \"margin\"\nstart = \"none\"",
        "loss = \"dlr\"",
        "loss = \"dlr-targeted\"\nlarge-radii = true",
        "loss = \"max-mahalanobis\"",
    ] {
        breaks_exactly_above(("apgd", parameters), &two_and_a_far_third());
    }
}

/// With more classes the nearest boundary is found by going towards each of them.
#[test]
fn several_targets_find_the_nearest_of_several_boundaries() {
    let problem = linear_problem().first(6);
    for parameters in ["", "large-radii = true"] {
        breaks_exactly_above(("apgd-t", parameters), &problem);
    }
}

#[test]
fn it_reaches_targets() {
    let problem = linear_problem();
    for loss in ["cross-entropy", "margin", "dlr", "dlr-targeted", "max-mahalanobis"] {
        let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate) };
        for judged in problem.run(("apgd", &format!("loss = \"{loss}\"")), &setting) {
            assert_eq!(judged.verdict, Verdict::Broken, "{loss}");
        }
    }
}

#[test]
fn survivors_pay_for_every_point_once_and_the_broken_for_no_more() {
    let problem = linear_problem();
    let spent = |attack, eps| problem.run(attack, &Setting::untargeted(Norm::Linf, eps, Success::AnyIterate));
    for judged in spent(("apgd", "steps = 20"), 1e-6) {
        assert_eq!(judged.spent, Cost { queries: 21, forwards: 21, backwards: 20 });
    }
    // Two classes beside the label, and the ranking.
    for judged in spent(("apgd-t", "steps = 20"), 1e-6) {
        assert_eq!(judged.spent, Cost { queries: 43, forwards: 43, backwards: 40 });
    }
    for judged in spent(("apgd", "steps = 20"), 0.9) {
        assert_eq!(judged.first_success, Some(judged.spent.queries));
        assert!(judged.spent.queries < 10);
    }
}

/// A model that is so certain that its loss and its gradient are next to nothing in single precision.
fn saturated(gap: f32) -> Problem {
    let weights: Vec<f32> = (0..8).map(|at| 400.0 * scatter(at)).collect();
    let at_grey = 0.5 * weights.iter().sum::<f32>();
    let opposite = weights.iter().map(|weight| -weight).collect();
    Problem::new(&[weights, opposite], &[gap / 2.0 - at_grey, at_grey - gap / 2.0], [1, 2, 4], &[vec![0.5; 8]])
}

#[test]
fn it_breaks_a_model_that_is_certain() {
    let breaks = |gap, norm| {
        for parameters in ["", "start = \"none\""] {
            saturated(gap).breaks_exactly_above(("apgd", parameters), norm, Success::AnyIterate, 1.05);
        }
    };
    for gap in [20.0, 60.0, 101.0, 103.0] {
        NORMS.into_iter().for_each(|norm| breaks(gap, norm));
    }
    // Here all losses round to zero: the gradient still leads on, but what is sparse cannot be compared.
    for gap in [105.0, 200.0, 1000.0] {
        [Norm::Linf, Norm::L2].into_iter().for_each(|norm| breaks(gap, norm));
    }
}

#[test]
fn it_returns_where_a_model_that_is_certain_is_least_so() {
    for gap in [60.0, 101.0, 103.0] {
        let problem = saturated(gap);
        for norm in NORMS {
            for parameters in ["", "start = \"none\""] {
                // There one class still has next to all of the probability.
                let setting = Setting::untargeted(norm, 0.4 * problem.distance(0, norm), Success::Last);
                let judged = &problem.run(("apgd", parameters), &setting)[0];
                let image: Image = judged.pixels.iter().map(|pixel| f64::from(*pixel)).collect();
                let logits = problem.logits(&image);
                let left = (logits[0] - logits[1]).abs() / f64::from(gap);
                assert!((0.58..0.62).contains(&left), "{gap} {norm:?} {parameters}: {left} of it are left");
            }
        }
    }
}
