//! Attacks on labels on linear models: how near they come to the exact distance, and where they start.

use realsafe_core::Verdict;
use realsafe_plan::{Budget, Goal, Norm, Success};

use crate::bench::Setting;
use crate::problems::{binary, linear_problem};

fn minimal(norm: Norm) -> Setting {
    Setting::untargeted(norm, None, Success::AnyIterate)
}

#[test]
fn every_attack_on_labels_finds_the_nearest_point_of_a_linear_model() {
    for (attack, norm, excess) in [
        (("hop-skip-jump", "queries = 6000\ngamma = 0.01"), Norm::L2, 0.01),
        (("hop-skip-jump", "queries = 6000\ngamma = 0.01"), Norm::Linf, 0.02),
        (("evolutionary", "queries = 6000"), Norm::L2, 0.02),
        (("rays", "queries = 1500\nsearch-tolerance = 1e-6"), Norm::Linf, 0.001),
        (("boundary", "queries = 6000\nspherical-step = 0.1\nsource-step = 0.1"), Norm::L2, 0.01),
    ] {
        binary().finds_the_distance(attack, &minimal(norm), excess);
    }
}

#[test]
fn targets_are_reached_from_images_of_their_class() {
    let problem = linear_problem();
    for (attack, norm) in [
        ("boundary", Norm::L2),
        ("evolutionary", Norm::L2),
        ("hop-skip-jump", Norm::L2),
        ("hop-skip-jump", Norm::Linf),
        ("rays", Norm::Linf),
    ] {
        let setting = Setting { goal: Goal::Targeted, ..minimal(norm) };
        for (row, judged) in problem.run((attack, "queries = 400"), &setting).into_iter().enumerate() {
            assert_eq!(judged.verdict, Verdict::Broken, "{attack}");
            let target = (problem.samples.labels[row] + 1) % 3;
            // Labels are what the model predicts, so the first image of the class will do; RayS looks in its direction only.
            if problem.samples.labels.contains(&target) && attack != "rays" {
                assert_eq!(judged.first_success, Some(1), "{attack}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "dimension-reduction = 2 is more than the images have, 1 x 12 pixels")]
fn a_grid_that_is_finer_than_the_images_is_refused() {
    linear_problem().run(("evolutionary", "dimension-reduction = 2"), &minimal(Norm::L2));
}

#[test]
fn without_a_start_a_sample_is_robust_at_infinite_distance() {
    let budget = Budget { queries: Some(0), ..Budget::default() };
    for (attack, norm) in
        [("boundary", Norm::L2), ("evolutionary", Norm::L2), ("hop-skip-jump", Norm::Linf), ("rays", Norm::Linf)]
    {
        for judged in binary().run((attack, ""), &Setting { budget, ..minimal(norm) }) {
            let found = (judged.verdict, judged.distances.in_norm(norm), judged.spent.queries);
            assert_eq!(found, (Verdict::Robust, f64::INFINITY, 0), "{attack}");
        }
    }
}
