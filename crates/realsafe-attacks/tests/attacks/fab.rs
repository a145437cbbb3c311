//! FAB and FAB-T: the distance on linear models, to the percent that overshooting by a twentieth of the last steps costs,
//! and every step on a network of two layers.

use std::sync::Arc;

use realsafe_core::{Model, Samples, Verdict};
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, linear_problem, logit, run, samples, scatter};

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

fn dual(norm: Norm, gradient: impl Iterator<Item = f64>) -> f64 {
    match norm {
        Norm::Linf => gradient.map(f64::abs).sum(),
        Norm::L2 => gradient.map(|slope| slope * slope).sum::<f64>().sqrt(),
        _ => gradient.map(f64::abs).fold(0.0, f64::max),
    }
}

/// The distance to the boundary between two classes of a linear model. For l1 the box matters even to small changes, because they
/// meet in one pixel after the other; for linf and l2 the boundary is taken to be nearer than the box.
fn exact(weights: &[Vec<f32>], image: &[f32], label: usize, class: usize, norm: Norm) -> f64 {
    let slopes = weights[label].iter().zip(&weights[class]).map(|(a, b)| f64::from(*a) - f64::from(*b));
    let mut missing = logit(&weights[label], image) - logit(&weights[class], image);
    if norm != Norm::L1 {
        return missing / dual(norm, slopes);
    }
    let room = |slope: f64, pixel: f32| f64::from(if slope > 0.0 { pixel } else { 1.0 - pixel });
    let mut pixels: Vec<(f64, f64)> =
        slopes.zip(image).map(|(slope, pixel)| (slope.abs(), room(slope, *pixel))).collect();
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut distance = 0.0;
    for (slope, room) in pixels {
        let by = room.min(missing / slope);
        distance += by;
        missing -= by * slope;
    }
    distance
}

#[test]
fn both_find_the_distance_to_a_linear_model() {
    // Small margins, for the box to be far away.
    let (weights, _, grey) = linear_problem();
    let images = grey.pixels.chunks(12).zip(&grey.labels).map(|(image, label)| {
        let margin = |class: usize| logit(&weights[*label as usize], image) - logit(&weights[class], image);
        (image, *label, (0..3).filter(|class| *class != *label as usize).map(margin).fold(f64::INFINITY, f64::min))
    });
    let mut near: Vec<_> = images.collect();
    near.sort_by(|a, b| a.2.total_cmp(&b.2));
    near.truncate(6);
    let pixels: Vec<Vec<f32>> = near.iter().map(|(image, ..)| image.to_vec()).collect();
    let labels: Vec<u32> = near.iter().map(|(_, label, _)| *label).collect();
    let (model, samples) = (Arc::new(Linear::new(&weights, &[0.0; 3])) as Arc<dyn Model>, samples(&pixels, &labels));
    for norm in NORMS {
        for attack in ["fab", "fab-t"] {
            let setting = Setting::untargeted(norm, None, Success::AnyIterate);
            let judged = run((attack, "steps = 60"), &model, &samples, &setting);
            for (judged, (image, label)) in judged.iter().zip(pixels.iter().zip(&labels)) {
                let label = *label as usize;
                let others = (0..3).filter(|class| *class != label);
                let distance =
                    others.map(|class| exact(&weights, image, label, class, norm)).fold(f64::INFINITY, f64::min);
                assert_eq!(judged.verdict, Verdict::Broken);
                let excess = judged.distances.in_norm(norm) / distance;
                assert!((0.9999..1.01).contains(&excess), "{attack} {norm:?} found {excess} times the exact distance");
            }
        }
    }
}

#[test]
fn the_box_is_taken_into_account() {
    // One pixel cannot move at all; the other two must go further.
    let weights = [vec![1.0, 1.0, -1.0], vec![-1.0, -1.0, 1.0]];
    let model: Arc<dyn Model> = Arc::new(Linear::new(&weights, &[0.0; 2]));
    let samples = samples(&[vec![0.0, 0.9, 0.5]], &[0]);
    for (norm, distance) in [(Norm::Linf, 0.2), (Norm::L2, 0.08_f64.sqrt()), (Norm::L1, 0.4)] {
        let setting = Setting::untargeted(norm, None, Success::AnyIterate);
        for attack in ["fab", "fab-t"] {
            let judged = &run((attack, "steps = 60"), &model, &samples, &setting)[0];
            let found = judged.distances.in_norm(norm);
            assert!((0.9999..1.01).contains(&(found / distance)), "{attack} {norm:?} {found} instead of {distance}");
        }
    }
}

#[test]
fn targets_are_reached() {
    let (_, model, samples) = linear_problem();
    for norm in NORMS {
        for goal in [Goal::Targeted, Goal::TargetedMisclassify] {
            let setting = Setting { goal, ..Setting::untargeted(norm, None, Success::AnyIterate) };
            for judged in run(("fab", "steps = 60"), &model, &samples, &setting) {
                assert_eq!(judged.verdict, Verdict::Broken, "{norm:?} {goal:?}");
                // One boundary per step.
                assert!(judged.spent.backwards <= 60 && judged.spent.forwards <= 120);
            }
        }
    }
}

const PIXELS: usize = 6;
const HIDDEN: usize = 8;
const CLASSES: usize = 4;

fn first(row: usize, column: usize) -> f32 {
    2.0 * scatter(row * PIXELS + column)
}

fn second(row: usize, column: usize) -> f32 {
    1.5 * scatter(100 + row * HIDDEN + column)
}

fn network() -> Arc<dyn Model> {
    let layer = |rows: usize, columns: usize, weight: fn(usize, usize) -> f32| -> Vec<Vec<f32>> {
        (0..rows).map(|row| (0..columns).map(|column| weight(row, column)).collect()).collect()
    };
    Arc::new(TwoLayers {
        first: Linear::new(&layer(HIDDEN, PIXELS, first), &[0.0; HIDDEN]),
        second: Linear::new(&layer(CLASSES, HIDDEN, second), &[0.0; CLASSES]),
    })
}

type Image = [f64; PIXELS];

/// The logits, and the gradient of each.
fn linearised(image: &Image) -> [(f64, Image); CLASSES] {
    let hidden: [f64; HIDDEN] = std::array::from_fn(|row| {
        (0..PIXELS).map(|column| f64::from(first(row, column)) * image[column]).sum::<f64>().tanh()
    });
    std::array::from_fn(|class| {
        let weight = |row: usize| f64::from(second(class, row));
        let slope = |at: usize| {
            (0..HIDDEN).map(|row| weight(row) * (1.0 - hidden[row] * hidden[row]) * f64::from(first(row, at))).sum()
        };
        ((0..HIDDEN).map(|row| weight(row) * hidden[row]).sum(), std::array::from_fn(slope))
    })
}

fn predict(image: &Image) -> usize {
    let logits = linearised(image);
    (0..CLASSES).max_by(|a, b| logits[*a].0.total_cmp(&logits[*b].0)).unwrap()
}

fn size(norm: Norm, change: &Image) -> f64 {
    match norm {
        Norm::Linf => change.iter().fold(0.0, |largest, by| by.abs().max(largest)),
        Norm::L2 => change.iter().map(|by| by * by).sum::<f64>().sqrt(),
        _ => change.iter().map(|by| by.abs()).sum(),
    }
}

/// The smallest change onto the hyperplane where `value + slopes · change` is zero, by bisection over a Lagrange multiplier:
/// each pixel minimises its own part of the Lagrangian inside the box. For l1 the multiplier is one of the slopes, and the
/// pixel at which it is has the rest.
fn projection(norm: Norm, image: &Image, slopes: &Image, value: f64) -> Image {
    let room = |at: usize| if slopes[at] * value > 0.0 { -image[at] } else { 1.0 - image[at] };
    let gained = |change: &Image| (0..PIXELS).map(|at| -change[at] * slopes[at] * value.signum()).sum::<f64>();
    if norm == Norm::L1 {
        let mut change = [0.0; PIXELS];
        let mut places: Vec<usize> = (0..PIXELS).collect();
        places.sort_by(|a, b| slopes[*b].abs().total_cmp(&slopes[*a].abs()));
        for at in places {
            let missing = (value.abs() - gained(&change)).max(0.0) / slopes[at].abs();
            change[at] = room(at).signum() * room(at).abs().min(missing);
        }
        return change;
    }
    let moved = |multiplier: f64| -> Image {
        std::array::from_fn(|at| {
            let free = if norm == Norm::L2 { multiplier * slopes[at].abs() } else { multiplier };
            room(at).signum() * free.min(room(at).abs())
        })
    };
    let (mut low, mut high) = (0.0, 1e4);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if gained(&moved(middle)) < value.abs() { low = middle } else { high = middle }
    }
    moved(high)
}

/// The nearest adversarial after each step from the clean image; `targets` are the classes whose boundary a step looks at.
fn trace(norm: Norm, clean: &Image, steps: usize, targets: &[usize]) -> Vec<Option<Image>> {
    let label = predict(clean);
    let change = |image: &Image| -> Image { std::array::from_fn(|at| image[at] - clean[at]) };
    let (mut point, mut nearest) = (*clean, None::<Image>);
    let mut history = Vec::new();
    for _ in 0..steps {
        let mut keep = |point: &Image| {
            let nearer = nearest.is_none_or(|nearest| size(norm, &change(point)) < size(norm, &change(&nearest)));
            if predict(point) != label && nearer {
                nearest = Some(*point);
            }
        };
        keep(&point);
        let logits = linearised(&point);
        let boundaries = targets.iter().map(|&class| {
            let slopes: Image = std::array::from_fn(|at| logits[class].1[at] - logits[label].1[at]);
            (logits[class].0 - logits[label].0, slopes)
        });
        let distance = |(value, slopes): &(f64, Image)| value.abs() / (1e-12 + dual(norm, slopes.iter().copied()));
        let (value, slopes) = boundaries.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
        let back = change(&point);
        let value_clean = value - (0..PIXELS).map(|at| slopes[at] * back[at]).sum::<f64>();
        let (near, far) = (projection(norm, &point, &slopes, value), projection(norm, clean, &slopes, value_clean));
        let (a, b) = (size(norm, &near).max(1e-8), size(norm, &far).max(1e-8));
        let alpha = (a / (a + b)).min(0.1);
        point = std::array::from_fn(|at| {
            ((1.0 - alpha) * (point[at] + 1.05 * near[at]) + alpha * (clean[at] + 1.05 * far[at])).clamp(0.0, 1.0)
        });
        keep(&point);
        if predict(&point) != label {
            point = std::array::from_fn(|at| clean[at] + 0.9 * (point[at] - clean[at]));
        }
        history.push(nearest);
    }
    history
}

/// Images of several classes, some pixels at the edge of the box.
fn images() -> (Vec<Image>, Samples) {
    let image = |row: usize| -> Image {
        std::array::from_fn(|at| f64::from((0.5 + 0.6 * scatter(300 + row * PIXELS + at)).clamp(0.0, 1.0)))
    };
    let images: Vec<Image> = (0..8).map(image).collect();
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    let pixels: Vec<Vec<f32>> = images.iter().map(|image| image.map(|pixel| pixel as f32).to_vec()).collect();
    let labels: Vec<u32> = images.iter().map(|image| u32::try_from(predict(image)).unwrap()).collect();
    (images, samples(&pixels, &labels))
}

fn follows(norm: Norm, attack: (&str, &str), model: &Arc<dyn Model>, samples: &Samples, expected: &[Option<Image>]) {
    let setting = Setting::untargeted(norm, None, Success::AnyIterate);
    for (judged, expected) in run(attack, model, samples, &setting).iter().zip(expected) {
        assert_eq!(judged.verdict == Verdict::Broken, expected.is_some(), "{attack:?} {norm:?}");
        for (found, expected) in judged.pixels.iter().zip(expected.iter().flatten()) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{attack:?} {norm:?}: {found} {expected}");
        }
    }
}

#[test]
fn fab_follows_its_definition_step_by_step() {
    let (images, samples) = images();
    for norm in NORMS {
        let others = |image: &Image| (0..CLASSES).filter(|class| *class != predict(image)).collect::<Vec<_>>();
        let traces: Vec<_> = images.iter().map(|image| trace(norm, image, 12, &others(image))).collect();
        assert!(traces.iter().any(|trace| trace[0].is_none() && trace[11].is_some()), "{norm:?} takes several steps");
        for steps in 1..=12 {
            let expected: Vec<_> = traces.iter().map(|trace| trace[steps - 1]).collect();
            follows(norm, ("fab", &format!("steps = {steps}")), &network(), &samples, &expected);
        }
    }
}

#[test]
fn fab_t_aims_at_the_likeliest_classes_in_turn() {
    let (images, samples) = images();
    for norm in NORMS {
        for targets in 1..CLASSES {
            let nearest = |image: &Image| {
                let logits = linearised(image);
                let mut classes: Vec<usize> = (0..CLASSES).filter(|class| *class != predict(image)).collect();
                classes.sort_by(|a, b| logits[*b].0.total_cmp(&logits[*a].0));
                let change = |found: &Image| -> Image { std::array::from_fn(|at| found[at] - image[at]) };
                let found = classes[..targets].iter().filter_map(|class| trace(norm, image, 10, &[*class])[9]);
                found.min_by(|a, b| size(norm, &change(a)).total_cmp(&size(norm, &change(b))))
            };
            let expected: Vec<_> = images.iter().map(nearest).collect();
            let parameters = format!("steps = 10\ntargets = {targets}");
            follows(norm, ("fab-t", &parameters), &network(), &samples, &expected);
        }
    }
}
