//! The attacks that look for the smallest distance by gradients: on linear models it is known exactly, and on a network of
//! two layers every image that they ask about follows from the definitions.

use realsafe_core::Verdict;
use realsafe_plan::{Cost, Goal, Norm, Success};

use crate::bench::{Setting, Spy, matrix, run};
use crate::problems::grey;
use crate::reference::{
    Image, Network, clipped, cross_entropy, dual, greyish, margin, plus, scaled, size, steepest, unit, within,
};
use crate::sample::Sample;

const CW: &str = "steps = 200\ninitial-constant = 0.1\nlearning-rate = 0.005";

/// Attacks, the norms in which they find the smallest distance of a linear model, and how much more they may find.
const EXACT: [(&str, &str, &[Norm], f64); 4] = [
    ("deepfool", "", &Norm::DENSE, 0.0201),
    ("ddn", "steps = 600\nradius-adaptation = 0.02\ninitial-radius = 0.1", &[Norm::L2], 0.025),
    ("fmn", "steps = 300", &[Norm::Linf, Norm::L2, Norm::L1], 0.01),
    ("cw", CW, &[Norm::L2], 0.02),
];

fn minimal(norm: Norm) -> Setting {
    Setting::untargeted(norm, None, Success::AnyIterate)
}

#[test]
fn the_smallest_distance_of_a_linear_model_is_found() {
    for (id, parameters, norms, excess) in EXACT {
        // Only DeepFool looks for the nearest of several boundaries; the others follow the strongest rival.
        let problem = grey(if id == "deepfool" { 3 } else { 2 });
        for norm in norms {
            problem.finds_the_distance((id, parameters), &minimal(*norm), excess);
        }
    }
}

#[test]
fn the_smallest_distance_to_a_target_is_found() {
    // With two classes it is that to the other one.
    for (id, parameters, norms, excess) in EXACT {
        for goal in [Goal::Targeted, Goal::TargetedMisclassify] {
            for norm in norms.iter().filter(|_| id != "deepfool") {
                grey(2).finds_the_distance((id, parameters), &Setting { goal, ..minimal(*norm) }, excess);
            }
        }
    }
}

#[test]
fn fmn_changes_as_few_values_of_a_linear_model_as_possible() {
    let problem = grey(3);
    let judged = problem.run(("fmn", "steps = 300"), &minimal(Norm::L0));
    let excess = |(row, l0): (usize, f64)| l0 - problem.distance(row, Norm::L0);
    let excess: Vec<f64> = judged.iter().map(|judged| judged.distances.l0).enumerate().map(excess).collect();
    assert!(excess.iter().all(|excess| (0.0..=1.0).contains(excess)), "{excess:?}");
    assert!(excess.iter().filter(|excess| **excess == 0.0).count() >= 10, "{excess:?}");
}

#[test]
fn deepfool_pays_for_the_candidates_and_only_until_it_arrives() {
    // One step on a linear model, and one gradient to see that it was enough.
    for (parameters, rivals) in [("", 2), ("candidates = 2", 1)] {
        for judged in grey(3).run(("deepfool", parameters), &minimal(Norm::L2)) {
            assert_eq!(judged.spent, Cost::gradient(rivals + 1));
        }
    }
}

#[test]
fn the_confidence_of_cw_pushes_iterates_past_the_boundary() {
    // Large constants only: every iterate is far behind the boundary once the margin is pushed.
    let problem = grey(2);
    let distance = |confidence: &str| {
        let parameters = format!("search-steps = 1\nsteps = 300\ninitial-constant = 100\n{confidence}");
        let (model, seen) = Spy::around(problem.model.clone());
        run(("cw", &parameters), &model, &problem.alone(0), &minimal(Norm::L2));
        let asked = seen.lock().unwrap();
        let last: Image = asked[asked.len() - 2].iter().map(|pixel| f64::from(*pixel)).collect();
        size(Norm::L2, &plus(&last, -1.0, &problem.image(0)))
    };
    let (near, far) = (distance(""), distance("confidence = 0.4"));
    assert!(far > 1.2 * near, "{near} {far}");
}

fn sample(image: usize, goal: Goal) -> Sample {
    let network = Network::new(matrix(5, 6, 1.5, 33_000), matrix(4, 5, 1.5, 33_100));
    Sample::new(network, [1, 1, 6], greyish(6, 0.4, 300 + 6 * image), goal)
}

/// Samples, one per goal, whose goal can be reached.
fn samples() -> [Sample; 3] {
    Goal::ALL.map(|goal| sample(0, goal))
}

fn asks(sample: &Sample, attack: (&str, &str), norm: Norm, expected: &[Image]) {
    let judged = sample.asks(attack, &sample.setting(norm, None, Success::AnyIterate), expected);
    assert_eq!(judged.judgements[0].verdict, Verdict::Broken, "{attack:?} {norm:?} {:?}", sample.goal);
}

fn annealed(first: f64, last: f64, step: usize, steps: usize) -> f64 {
    last + (first - last) * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

/// The size of the largest change that the box allows.
fn room(sample: &Sample, norm: Norm) -> f64 {
    size(norm, &sample.clean.iter().map(|clean| clean.max(1.0 - clean)).collect::<Vec<_>>())
}

#[test]
fn ddn_follows_its_definition_step_by_step() {
    for sample in samples() {
        for levels in [None, Some(16)] {
            let mut image = sample.clean.clone();
            let mut radius: f64 = 0.3;
            let mut asked = Vec::new();
            for step in 0..40 {
                asked.push(image.clone());
                radius *= if sample.reached(&image) { 0.95 } else { 1.05 };
                radius = radius.min(room(&sample, Norm::L2));
                let direction = unit(&sample.rise(cross_entropy, &image).1);
                let change = plus(&sample.change(&image), annealed(1.0, 0.01, step, 40), &direction);
                image = clipped(&plus(&sample.clean, radius, &unit(&change)));
                if let Some(levels) = levels {
                    let steps = f64::from(levels - 1);
                    image.iter_mut().for_each(|pixel| *pixel = (*pixel * steps).round() / steps);
                }
            }
            let levels = levels.map_or(String::new(), |levels| format!("levels = {levels}"));
            asks(&sample, ("ddn", &format!("steps = 40\ninitial-radius = 0.3\n{levels}")), Norm::L2, &asked);
        }
    }
}

/// Projects a change on a ball and the box.
fn projected(sample: &Sample, norm: Norm, change: &[f64], radius: f64) -> Image {
    let moved = plus(&sample.clean, 1.0, change);
    match norm {
        // On the surface, not only inside.
        Norm::L2 => clipped(&plus(&sample.clean, radius, &unit(change))),
        Norm::L0 => {
            let mut kept = sample.change(&clipped(&moved));
            let square = |value: f64| value * value;
            let gains: Vec<f64> = change.iter().zip(&kept).map(|(by, left)| square(*by) - square(by - left)).collect();
            let mut sorted = gains.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let least = if radius < 1.0 { f64::INFINITY } else { sorted[(radius as usize).min(sorted.len()) - 1] };
            kept.iter_mut().zip(gains).for_each(|(left, gain)| *left = if gain < least { 0.0 } else { *left });
            plus(&sample.clean, 1.0, &kept)
        }
        _ => within(norm, &moved, &sample.clean, radius),
    }
}

#[test]
fn fmn_follows_its_definition_step_by_step_in_every_norm() {
    for (sample, norm) in samples().into_iter().flat_map(|sample| Norm::ALL.map(|norm| (sample.clone(), norm))) {
        let mut image = sample.clean.clone();
        let mut radius: f64 = 1.0;
        let mut best = f64::INFINITY;
        let mut asked = Vec::new();
        for step in 0..30 {
            asked.push(image.clone());
            let share = annealed(0.05, 0.001, step, 30);
            let (rise, gradient) = sample.rise(margin, &image);
            let change = sample.change(&image);
            let (distance, reached) = (size(norm, &change), sample.reached(&image));
            if reached {
                best = best.min(distance);
            }
            radius = match norm {
                Norm::L0 if reached => (radius - 1.0).min((radius * (1.0 - share)).floor()).min(best).max(0.0),
                Norm::L0 => (radius + 1.0).max((radius * (1.0 + share)).floor()),
                _ if reached => (radius * (1.0 - share)).min(best),
                _ if best.is_finite() => radius * (1.0 + share),
                _ => distance + rise.abs() / dual(norm, &gradient),
            };
            radius = radius.min(room(&sample, norm));
            let change = plus(&change, annealed(0.5, 0.02, step, 30), &unit(&gradient));
            image = projected(&sample, norm, &change, radius);
        }
        asks(&sample, ("fmn", "steps = 30\nstep-size = 0.5\nfinal-step-size = 0.02"), norm, &asked);
    }
}

#[test]
fn cw_follows_its_definition_step_by_step() {
    for (sample, warm) in samples().into_iter().flat_map(|sample| [(sample.clone(), false), (sample, true)]) {
        let start: Image = sample.clean.iter().map(|clean| ((2.0 * clean - 1.0) * (1.0 - 1e-6)).atanh()).collect();
        let (mut constant, mut too_small, mut large_enough) = (0.1, 0.0, f64::INFINITY);
        let mut position = start.clone();
        let mut asked = Vec::new();
        for _ in 0..6 {
            if !warm {
                position.clone_from(&start);
            }
            let (mut mean, mut square) = (vec![0.0; position.len()], vec![0.0; position.len()]);
            let mut found = false;
            for step in 1..=30 {
                let image: Image = position.iter().map(|at| (at.tanh() + 1.0) / 2.0).collect();
                let (rise, gradient) = sample.rise(margin, &image);
                found |= sample.reached(&image);
                let change = sample.change(&image);
                for at in 0..position.len() {
                    let push = if rise < 0.0 { constant * gradient[at] } else { 0.0 };
                    let slope = (1.0 - position[at].tanh().powi(2)) / 2.0;
                    let total = (2.0 * change[at] - push) * slope;
                    mean[at] = 0.9 * mean[at] + 0.1 * total;
                    square[at] = 0.999 * square[at] + 0.001 * total * total;
                    let root = (square[at] / (1.0 - 0.999_f64.powi(step))).sqrt();
                    position[at] -= 0.05 * mean[at] / (1.0 - 0.9_f64.powi(step)) / (root + 1e-8);
                }
                asked.push(image);
            }
            *(if found { &mut large_enough } else { &mut too_small }) = constant;
            constant = if large_enough.is_finite() { (too_small + large_enough) / 2.0 } else { constant * 10.0 };
        }
        let parameters =
            format!("search-steps = 6\nsteps = 30\ninitial-constant = 0.1\nlearning-rate = 0.05\nwarm-start = {warm}");
        asks(&sample, ("cw", &parameters), Norm::L2, &asked);
    }
}

#[test]
fn deepfool_follows_its_definition_step_by_step() {
    let mut longest = 0;
    for (norm, image) in Norm::DENSE.into_iter().flat_map(|norm| (0..20).map(move |image| (norm, image))) {
        let sample = sample(image, Goal::Untargeted);
        let mut image = sample.clean.clone();
        let mut asked = Vec::new();
        for _ in 0..10 {
            // Once for the strongest rival, once for all others together.
            asked.push(image.clone());
            if sample.reached(&image) {
                break;
            }
            asked.push(image.clone());
            let boundary = |class: usize| {
                let (value, slopes) = sample.network.difference(&image, class, sample.label);
                (-value / dual(norm, &slopes), slopes)
            };
            let rivals = (0..sample.network.classes()).filter(|class| *class != sample.label);
            let (distance, slopes) = rivals.map(boundary).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            image = clipped(&plus(&image, 1.0, &scaled(&steepest(norm, &slopes), 1.005 * distance)));
        }
        // Where the box is in the way, it may never arrive.
        if !sample.reached(&image) {
            continue;
        }
        longest = longest.max(asked.len());
        asks(&sample, ("deepfool", "overshoot = 0.005"), norm, &asked);
    }
    assert!(longest > 4, "one step does not tell much");
}
