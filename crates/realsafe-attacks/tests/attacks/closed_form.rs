//! On a linear model the smallest perturbation is the margin over the dual norm of the difference of weights, where the box
//! leaves room: an attack must break a sample just above it, and cannot below it.

use realsafe_core::Verdict;
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::Setting;
use crate::problems::{binary, linear_problem};

#[test]
fn gradient_attacks_break_a_linear_model_exactly_above_its_margin() {
    let problem = binary();
    for norm in Norm::DENSE {
        for success in [Success::Last, Success::AnyIterate] {
            for attack in [
                ("fgsm", ""),
                ("bim", "steps = 20"),
                ("mim", "steps = 20"),
                ("pgd", "steps = 60"),
                ("pgd", "start = \"none\""),
                ("dim", "diversity-probability = 0"),
                ("tim", "kernel-size = 1"),
                ("si-ni-fgsm", ""),
                ("vmi", "neighbours = 3"),
                ("sgm", ""),
            ] {
                problem.breaks_exactly_above(attack, norm, success, 1.02);
            }
        }
    }
}

#[test]
fn pgd_from_realsafes_start_breaks_it_too() {
    for norm in Norm::DENSE {
        let attack = ("pgd", "start = \"scaled-cube\"\nsteps = 60");
        binary().breaks_exactly_above(attack, norm, Success::Last, 1.02);
    }
}

#[test]
fn a_targeted_step_reaches_the_target_of_a_linear_model() {
    let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.5, Success::Last) };
    for attack in [("bim", "steps = 40\nloss = \"margin\""), ("pgd", "steps = 40\nloss = \"margin\"")] {
        for judged in linear_problem().run(attack, &setting) {
            assert_eq!(judged.verdict, Verdict::Broken, "{attack:?}");
        }
    }
}
