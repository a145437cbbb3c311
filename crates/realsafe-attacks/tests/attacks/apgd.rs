//! APGD: distances on a linear model, and every point that it visits against its definition in double precision.

use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use realsafe_core::{Draws, Model, Samples, Stop, Verdict, read};
use realsafe_plan::{Cost, Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, linear_problem, logit, run, samples, scatter};

const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// The smallest distance from an image to where another class is as likely as the label, inside the box.
fn exact(weights: &[Vec<f32>], image: &[f32], label: usize, norm: Norm) -> f64 {
    let to = |other: usize| {
        let slopes: Vec<f64> =
            weights[other].iter().zip(&weights[label]).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        let margin = logit(&weights[label], image) - logit(&weights[other], image);
        let sum = |term: fn(f64) -> f64| slopes.iter().map(|slope| term(*slope)).sum::<f64>();
        match norm {
            Norm::Linf => margin / sum(f64::abs),
            Norm::L2 => margin / sum(|slope| slope * slope).sqrt(),
            _ => {
                // The steepest pixels first, each as far as the box allows.
                let mut places: Vec<usize> = (0..slopes.len()).collect();
                places.sort_by(|&a, &b| slopes[b].abs().total_cmp(&slopes[a].abs()));
                let (mut left, mut distance) = (margin, 0.0);
                for at in places {
                    let pixel = f64::from(image[at]);
                    let room = if slopes[at] > 0.0 { 1.0 - pixel } else { pixel };
                    let moved = room.min(left / slopes[at].abs());
                    distance += moved;
                    left -= moved * slopes[at].abs();
                }
                assert!(left < 1e-9, "the boundary lies in the box");
                distance
            }
        }
    };
    (0..weights.len()).filter(|other| *other != label).map(to).fold(f64::INFINITY, f64::min)
}

/// Two classes that matter and a third that is far below, for losses that need three.
fn two_and_a_far_third() -> (Vec<Vec<f32>>, Arc<dyn Model>, Samples) {
    let weights: Vec<f32> = (0..12).map(|at| if at % 2 == 0 { scatter(at) } else { -scatter(at - 1) }).collect();
    let opposite: Vec<f32> = weights.iter().map(|weight| -weight).collect();
    let pixels: Vec<Vec<f32>> =
        (0..5).map(|row| (0..12).map(|at| 0.5 + 0.05 * scatter(500 + row * 12 + at)).collect()).collect();
    let labels: Vec<u32> = pixels.iter().map(|image| u32::from(logit(&weights, image) < 0.0)).collect();
    let model = Linear::new(&[weights.clone(), opposite.clone(), vec![0.0; 12]], &[0.0, 0.0, -10.0]);
    (vec![weights, opposite], Arc::new(model), samples(&pixels, &labels))
}

fn breaks_exactly_above(attacks: &[(&str, &str)], (weights, model, all): (Vec<Vec<f32>>, Arc<dyn Model>, Samples)) {
    for norm in NORMS {
        for (image, &label) in all.pixels.chunks(12).zip(&all.labels).take(6) {
            let distance = exact(&weights, image, label as usize, norm);
            let alone = samples(&[image.to_vec()], &[label]);
            for &attack in attacks {
                for success in [Success::Last, Success::AnyIterate] {
                    for (factor, expected) in [(0.99, Verdict::Robust), (1.02, Verdict::Broken)] {
                        let setting = Setting::untargeted(norm, distance * factor, success);
                        let judged = &run(attack, &model, &alone, &setting)[0];
                        assert_eq!(judged.verdict, expected, "{attack:?} {norm:?} at {factor} of {distance}");
                    }
                }
            }
        }
    }
}

#[test]
fn it_breaks_a_linear_model_exactly_above_its_margin() {
    let attacks = [
        ("apgd", ""),
        ("apgd", "loss = \"margin\"\nstart = \"none\""),
        ("apgd", "loss = \"dlr\""),
        ("apgd", "loss = \"dlr-targeted\"\nlarge-radii = true"),
        ("apgd", "loss = \"max-mahalanobis\""),
    ];
    breaks_exactly_above(&attacks, two_and_a_far_third());
}

/// With more classes the nearest boundary is found by going towards each of them.
#[test]
fn several_targets_find_the_nearest_of_several_boundaries() {
    breaks_exactly_above(&[("apgd-t", ""), ("apgd-t", "large-radii = true")], linear_problem());
}

#[test]
fn it_reaches_targets() {
    let (_, model, samples) = linear_problem();
    for loss in ["cross-entropy", "margin", "dlr", "dlr-targeted", "max-mahalanobis"] {
        let setting = Setting { goal: Goal::Targeted, ..Setting::untargeted(Norm::Linf, 0.5, Success::AnyIterate) };
        for judged in run(("apgd", &format!("loss = \"{loss}\"")), &model, &samples, &setting) {
            assert_eq!(judged.verdict, Verdict::Broken, "{loss}");
        }
    }
}

#[test]
fn survivors_pay_for_every_point_once_and_the_broken_for_no_more() {
    let (_, model, samples) = linear_problem();
    let spent = |attack, eps| run(attack, &model, &samples, &Setting::untargeted(Norm::Linf, eps, Success::AnyIterate));
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

const PIXELS: usize = 10;
const HIDDEN: usize = 8;
const CLASSES: usize = 5;
const LABEL: usize = 1;
const STEPS: usize = 100;

type Image = [f64; PIXELS];

fn first(row: usize, column: usize) -> f32 {
    2.5 * scatter(7000 + row * PIXELS + column)
}

fn second(row: usize, column: usize) -> f32 {
    2.0 * scatter(8000 + row * HIDDEN + column)
}

fn clean(seed: usize) -> Image {
    std::array::from_fn(|at| f64::from(0.5 + 0.45 * scatter(9000 + 100 * seed + at)))
}

fn matrix(rows: usize, columns: usize, weight: fn(usize, usize) -> f32) -> Vec<Vec<f32>> {
    (0..rows).map(|row| (0..columns).map(|column| weight(row, column)).collect()).collect()
}

/// A network that remembers the first image of every batch.
struct Observed {
    network: TwoLayers,
    seen: Arc<Mutex<Vec<Vec<f32>>>>,
}

impl Model for Observed {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let pixels = read(images.clone())?;
        self.seen.lock().unwrap().push(pixels[..PIXELS].to_vec());
        self.network.logits(images, draws)
    }
}

/// A loss as a function of logits, with its derivative.
type Loss = fn(&[f64; CLASSES]) -> (f64, [f64; CLASSES]);

fn cross_entropy(logits: &[f64; CLASSES]) -> (f64, [f64; CLASSES]) {
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let slope = |class: usize| logits[class].exp() / total - f64::from(u8::from(class == LABEL));
    (total.ln() - logits[LABEL], std::array::from_fn(slope))
}

/// The derivative by central differences, which are exact enough away from ties.
fn by_differences(value: fn(&[f64; CLASSES]) -> f64, logits: &[f64; CLASSES]) -> (f64, [f64; CLASSES]) {
    let moved = |class: usize, by: f64| {
        let mut moved = *logits;
        moved[class] += by;
        value(&moved)
    };
    (value(logits), std::array::from_fn(|class| (moved(class, 1e-5) - moved(class, -1e-5)) / 2e-5))
}

fn sorted(logits: &[f64; CLASSES]) -> [f64; CLASSES] {
    let mut sorted = *logits;
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted
}

fn dlr(logits: &[f64; CLASSES]) -> (f64, [f64; CLASSES]) {
    by_differences(
        |logits| {
            let order = sorted(logits);
            let rival = if order[0] == logits[LABEL] { order[1] } else { order[0] };
            (rival - logits[LABEL]) / (order[0] - order[2])
        },
        logits,
    )
}

/// Towards the class after the label.
fn dlr_targeted(logits: &[f64; CLASSES]) -> (f64, [f64; CLASSES]) {
    by_differences(
        |logits| {
            let order = sorted(logits);
            (logits[LABEL + 1] - logits[LABEL]) / (order[0] - (order[2] + order[3]) / 2.0)
        },
        logits,
    )
}

/// The loss of an image and its gradient.
fn evaluate(loss: Loss, image: &Image) -> (f64, Image) {
    let hidden: [f64; HIDDEN] = std::array::from_fn(|row| {
        (0..PIXELS).map(|column| f64::from(first(row, column)) * image[column]).sum::<f64>().tanh()
    });
    let logits: [f64; CLASSES] =
        std::array::from_fn(|row| (0..HIDDEN).map(|column| f64::from(second(row, column)) * hidden[column]).sum());
    let (value, slopes) = loss(&logits);
    let back: [f64; HIDDEN] = std::array::from_fn(|at| {
        let sum: f64 = (0..CLASSES).map(|class| f64::from(second(class, at)) * slopes[class]).sum();
        sum * (1.0 - hidden[at] * hidden[at])
    });
    (value, std::array::from_fn(|at| (0..HIDDEN).map(|row| f64::from(first(row, at)) * back[row]).sum()))
}

fn projected(norm: Norm, image: &Image, clean: &Image, eps: f64) -> Image {
    let change: Image = std::array::from_fn(|at| image[at] - clean[at]);
    let inside: Image = match norm {
        Norm::Linf => change.map(|value| value.clamp(-eps, eps)),
        Norm::L2 => {
            let length = change.iter().map(|value| value * value).sum::<f64>().sqrt();
            change.map(|value| value * (eps / length).min(1.0))
        }
        _ => {
            let shrunk = |by: f64| -> Image {
                std::array::from_fn(|at| {
                    let kept = (change[at].abs() - by).max(0.0) * change[at].signum();
                    kept.clamp(-clean[at], 1.0 - clean[at])
                })
            };
            let sum = |by: f64| shrunk(by).iter().map(|value| value.abs()).sum::<f64>();
            let (mut low, mut high) = (0.0, 2.0);
            for _ in 0..100 {
                let middle = 0.5 * (low + high);
                if sum(middle) > eps { low = middle } else { high = middle }
            }
            if sum(0.0) <= eps { shrunk(0.0) } else { shrunk(high) }
        }
    };
    std::array::from_fn(|at| (clean[at] + inside[at]).clamp(0.0, 1.0))
}

/// Where steps of a dense attack are checked, and how long the window before was.
const CHECKPOINTS: [(usize, usize); 8] = [(22, 22), (41, 19), (57, 16), (70, 13), (80, 10), (87, 7), (93, 6), (99, 6)];

/// Every point that the attack visits from the clean image, and how often it went back to the best one.
fn dense(norm: Norm, loss: Loss, clean: &Image, eps: f64) -> (Vec<Image>, usize) {
    let mut image = *clean;
    let mut before = image;
    let (mut value, mut gradient) = evaluate(loss, &image);
    let (mut best, mut best_value, mut best_gradient) = (image, value, gradient);
    let (mut step_size, mut rises, mut returns) = (2.0 * eps, 0, 0);
    let (mut halved, mut checked) = (true, value);
    let mut points = vec![image];
    for step in 1..=STEPS {
        let length = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        let direction = gradient.map(|slope| if norm == Norm::Linf { slope.signum() } else { slope / length });
        let ahead = projected(norm, &std::array::from_fn(|at| image[at] + step_size * direction[at]), clean, eps);
        let share = if step == 1 { 1.0 } else { 0.75 };
        let mixed = |at: usize| image[at] + share * (ahead[at] - image[at]) + (1.0 - share) * (image[at] - before[at]);
        let next = projected(norm, &std::array::from_fn(mixed), clean, eps);
        (before, image) = (image, next);
        points.push(image);
        let last = value;
        (value, gradient) = evaluate(loss, &image);
        rises += usize::from(value > last);
        if value > best_value {
            (best, best_value, best_gradient) = (image, value, gradient);
        }
        if let Some((_, window)) = CHECKPOINTS.iter().find(|(at, _)| *at == step) {
            halved = rises as f64 <= 0.75 * *window as f64 || (!halved && best_value <= checked);
            if halved {
                step_size /= 2.0;
                (image, gradient) = (best, best_gradient);
                returns += 1;
            }
            (checked, rises) = (best_value, 0);
        }
    }
    (points, returns)
}

/// The same for l1, and how often the best point had got sparser.
fn sparse(loss: Loss, clean: &Image, eps: f64) -> (Vec<Image>, usize) {
    let changed = |image: &Image| image.iter().zip(clean).filter(|(a, b)| a != b).count() as f64;
    let mut image = *clean;
    let (mut best_value, mut gradient) = evaluate(loss, &image);
    let (mut best, mut best_gradient) = (image, gradient);
    let (mut step_size, mut density, mut support, mut returns) = (eps, 0.2, PIXELS as f64, 0);
    let mut points = vec![image];
    for step in 1..=STEPS {
        let mut sizes = gradient.map(f64::abs);
        sizes.sort_by(f64::total_cmp);
        let least = sizes[PIXELS - ((density * PIXELS as f64 + 1e-3) as usize).max(1)];
        let sign = gradient.map(|slope| if slope.abs() >= least { slope.signum() } else { 0.0 });
        let count: f64 = sign.iter().map(|sign| sign.abs()).sum();
        let moved = std::array::from_fn(|at| image[at] + step_size * sign[at] / count);
        image = projected(Norm::L1, &moved, clean, eps);
        points.push(image);
        let value;
        (value, gradient) = evaluate(loss, &image);
        if value > best_value {
            (best, best_value, best_gradient) = (image, value, gradient);
        }
        if step % 4 == 0 {
            let now = changed(&best);
            let sparser = now / support < 0.95;
            density = now / PIXELS as f64 / 1.5;
            step_size = if sparser { eps } else { (step_size / 1.5).max(eps / 10.0) };
            support = now;
            if sparser {
                (image, gradient) = (best, best_gradient);
                returns += 1;
            }
        }
    }
    (points, returns)
}

/// The points that the attack sends to the network.
fn visited(norm: Norm, loss: &str, clean: &Image, eps: f64, goal: Goal) -> Vec<Vec<f32>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let network = TwoLayers {
        first: Linear::new(&matrix(HIDDEN, PIXELS, first), &[0.0; HIDDEN]),
        second: Linear::new(&matrix(CLASSES, HIDDEN, second), &[0.0; CLASSES]),
    };
    let model: Arc<dyn Model> = Arc::new(Observed { network, seen: Arc::clone(&seen) });
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    let samples = samples(&[clean.map(|pixel| pixel as f32).to_vec()], &[u32::try_from(LABEL).unwrap()]);
    let setting = Setting { goal, ..Setting::untargeted(norm, eps, Success::Last) };
    run(("apgd", &format!("start = \"none\"\nloss = \"{loss}\"")), &model, &samples, &setting);
    let seen = seen.lock().unwrap();
    // Clean images are judged before, the result after.
    seen[seen.len() - STEPS - 2..seen.len() - 1].to_vec()
}

/// From clean images at which no decision of the schedule hangs on the last bit of a loss: single precision would decide some of
/// those differently, where the search has come to rest.
#[test]
fn every_point_of_a_hundred_steps_is_that_of_the_definition() {
    let cross_entropy = |norm, seeds| (norm, "cross-entropy", cross_entropy as Loss, Goal::Untargeted, seeds);
    let dlr = |norm, seeds| (norm, "dlr", dlr as Loss, Goal::Untargeted, seeds);
    let dlr_targeted = |norm, seeds| (norm, "dlr-targeted", dlr_targeted as Loss, Goal::Targeted, seeds);
    let cases = [
        cross_entropy(Norm::Linf, [1, 4, 6]),
        cross_entropy(Norm::L2, [0, 4, 7]),
        cross_entropy(Norm::L1, [1, 2, 3]),
        dlr(Norm::Linf, [0, 1, 2]),
        dlr(Norm::L2, [0, 1, 2]),
        dlr(Norm::L1, [0, 1, 2]),
        dlr_targeted(Norm::Linf, [0, 1, 2]),
        dlr_targeted(Norm::L2, [0, 1, 2]),
        dlr_targeted(Norm::L1, [0, 1, 2]),
    ];
    for (norm, name, loss, goal, seeds) in cases {
        let mut returns = 0;
        for seed in seeds {
            let clean = clean(seed);
            let eps = if norm == Norm::Linf { 0.1 } else { 0.4 };
            let (expected, times) =
                if norm == Norm::L1 { sparse(loss, &clean, eps) } else { dense(norm, loss, &clean, eps) };
            returns += times;
            let found = visited(norm, name, &clean, eps, goal);
            assert_eq!(found.len(), expected.len());
            for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
                for (found, expected) in found.iter().zip(expected) {
                    let error = (f64::from(*found) - expected).abs();
                    assert!(error < 1e-5, "{norm:?} {name} seed {seed} step {step}: {error}");
                }
            }
        }
        assert!(returns >= seeds.len(), "{norm:?} {name}: the schedule was not at work");
    }
}
