//! On a linear model with a binary choice of classes the smallest perturbation is the margin over the dual norm of the
//! difference of weights: an attack must break a sample just above it, and cannot below it.

use std::sync::Arc;

use realsafe_core::{Model, Samples, Verdict};
use realsafe_plan::{Budget, Goal, Norm, Success};

use crate::bench::{Linear, Setting, linear_problem, logit, run, samples, scatter};

/// Two classes, so that the exact distance has one candidate only.
pub(crate) fn binary() -> (Vec<f32>, Arc<dyn Model>, Samples) {
    // Weights that sum to zero, so that both classes occur around grey images.
    let weights: Vec<f32> = (0..16).map(|at| if at % 2 == 0 { scatter(at) } else { -scatter(at - 1) }).collect();
    let opposite: Vec<f32> = weights.iter().map(|weight| -weight).collect();
    let pixels: Vec<Vec<f32>> =
        (0..9).map(|row| (0..16).map(|at| 0.5 + 0.05 * scatter(500 + row * 16 + at)).collect()).collect();
    let labels: Vec<u32> = pixels.iter().map(|image| u32::from(logit(&weights, image) < 0.0)).collect();
    let samples = samples(&pixels, &labels);
    (weights.clone(), Arc::new(Linear::new(&[weights, opposite], &[0.0; 2])), samples)
}

/// The smallest distance to the boundary, which is where the first logit is zero.
pub(crate) fn exact(weights: &[f32], image: &[f32], norm: Norm) -> f64 {
    let dual = match norm {
        Norm::Linf => weights.iter().map(|weight| f64::from(weight.abs())).sum(),
        Norm::L2 => weights.iter().map(|weight| f64::from(*weight).powi(2)).sum::<f64>().sqrt(),
        Norm::L1 => weights.iter().map(|weight| f64::from(weight.abs())).fold(0.0, f64::max),
        Norm::L0 => unreachable!("a sum of the largest changes that the box allows"),
    };
    logit(weights, image).abs() / dual
}

pub(crate) fn breaks_exactly_above(attack: (&str, &str), norm: Norm, success: Success) {
    let (weights, model, samples) = binary();
    for (row, image) in samples.pixels.chunks(16).enumerate() {
        let distance = exact(&weights, image, norm);
        for (factor, expected) in [(0.99, Verdict::Robust), (1.02, Verdict::Broken)] {
            let setting = Setting::untargeted(norm, distance * factor, success);
            let judged = &run(attack, &model, &samples, &setting)[row];
            assert_eq!(judged.verdict, expected, "{attack:?} {norm:?} row {row} at {factor} of the distance");
            assert!(judged.distances.in_norm(norm) <= norm.tolerance(distance * factor));
        }
    }
}

#[test]
fn gradient_attacks_break_a_linear_model_exactly_above_its_margin() {
    for norm in Norm::DENSE {
        for success in [Success::Last, Success::AnyIterate] {
            for attack in [
                ("fgsm", ""),
                ("bim", "steps = 20"),
                ("mim", "steps = 20"),
                ("pgd", "steps = 60"),
                ("pgd", "start = \"none\""),
            ] {
                breaks_exactly_above(attack, norm, success);
            }
        }
    }
}

#[test]
fn pgd_from_realsafes_start_breaks_it_too() {
    breaks_exactly_above(("pgd", "start = \"scaled-cube\"\nsteps = 60"), Norm::Linf, Success::Last);
    breaks_exactly_above(("pgd", "start = \"scaled-cube\"\nsteps = 60"), Norm::L2, Success::Last);
}

#[test]
fn a_targeted_step_reaches_the_target_of_a_linear_model() {
    let (_, model, samples) = linear_problem();
    let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.5, Success::Last) };
    for attack in [("bim", "steps = 40\nloss = \"margin\""), ("pgd", "steps = 40\nloss = \"margin\"")] {
        for judged in run(attack, &model, &samples, &setting) {
            assert_eq!(judged.verdict, Verdict::Broken, "{attack:?}");
        }
    }
}

#[test]
fn square_finds_the_corner_of_the_ball_that_breaks_a_linear_model() {
    let (weights, model, samples) = binary();
    for (row, image) in samples.pixels.chunks(16).enumerate() {
        let distance = exact(&weights, image, Norm::Linf);
        for (factor, expected) in [(0.99, Verdict::Robust), (1.05, Verdict::Broken)] {
            let setting = Setting::untargeted(Norm::Linf, distance * factor, Success::AnyIterate);
            let judged = &run(("square", "queries = 3000"), &model, &samples, &setting)[row];
            assert_eq!(judged.verdict, expected, "row {row} at {factor} of the distance");
        }
    }
}

#[test]
fn boundary_walks_to_the_nearest_point_of_a_linear_model() {
    let (weights, model, samples) = binary();
    let setting = Setting::untargeted(Norm::L2, None, Success::AnyIterate);
    let judged =
        run(("boundary", "queries = 6000\nspherical-step = 0.1\nsource-step = 0.1"), &model, &samples, &setting);
    for (judged, image) in judged.iter().zip(samples.pixels.chunks(16)) {
        let distance = exact(&weights, image, Norm::L2);
        assert_eq!(judged.verdict, Verdict::Broken);
        let excess = judged.distances.l2 / distance;
        // Rounding to single precision may cross the boundary a little earlier.
        assert!((0.999_999..1.01).contains(&excess), "found {excess} times the exact distance");
    }
}

#[test]
fn boundary_starts_from_images_of_the_target() {
    let (_, model, samples) = linear_problem();
    let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::L2, None, Success::AnyIterate) };
    for judged in run(("boundary", "queries = 400"), &model, &samples, &setting) {
        assert_eq!(judged.verdict, Verdict::Broken);
    }
}

#[test]
fn without_a_start_a_boundary_sample_is_robust_at_infinite_distance() {
    let (_, model, samples) = binary();
    let budget = Budget { queries: Some(0), ..Budget::default() };
    let setting = Setting { budget, ..Setting::untargeted(Norm::L2, None, Success::AnyIterate) };
    for judged in run(("boundary", ""), &model, &samples, &setting) {
        assert_eq!((judged.verdict, judged.distances.l2, judged.spent.queries), (Verdict::Robust, f64::INFINITY, 0));
    }
}
