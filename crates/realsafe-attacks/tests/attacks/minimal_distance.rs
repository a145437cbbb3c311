//! The attacks that look for the smallest distance by gradients: on linear models it is known exactly, and on a network of
//! two layers every image that they ask about follows from the definitions, written out in double precision.

use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use realsafe_core::{Draws, Judgement, Model, Samples, Stop, Verdict, read};
use realsafe_plan::{Cost, Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, logit, run, samples, scatter};

const PIXELS: usize = 12;

/// A linear model around grey images, far enough from the box that it does not matter.
struct Halves {
    weights: Vec<Vec<f32>>,
    model: Arc<dyn Model>,
    samples: Samples,
}

impl Halves {
    fn new(classes: usize) -> Self {
        let weight = |class: usize, pixel: usize| scatter(7000 + class * PIXELS + pixel);
        let weights: Vec<Vec<f32>> =
            (0..classes).map(|class| (0..PIXELS).map(|pixel| weight(class, pixel)).collect()).collect();
        let pixel = |row: usize, at: usize| 0.5 + 0.1 * scatter(8000 + row * PIXELS + at);
        let pixels: Vec<Vec<f32>> = (0..12).map(|row| (0..PIXELS).map(|at| pixel(row, at)).collect()).collect();
        // Grey gives no class an advantage.
        let bias: Vec<f32> = weights.iter().map(|row| -0.5 * row.iter().sum::<f32>()).collect();
        let score = |image: &[f32], class: usize| logit(&weights[class], image) + f64::from(bias[class]);
        let label =
            |image: &Vec<f32>| (0..classes).max_by(|a, b| score(image, *a).total_cmp(&score(image, *b))).unwrap();
        let labels: Vec<u32> = pixels.iter().map(|image| u32::try_from(label(image)).unwrap()).collect();
        let model = Arc::new(Linear::new(&weights, &bias));
        Self { samples: samples(&pixels, &labels), model, weights }
    }

    /// The smallest change that makes another class as large as the label.
    fn exact(&self, row: usize, norm: Norm) -> f64 {
        let image = &self.samples.pixels[row * PIXELS..(row + 1) * PIXELS];
        let label = self.samples.labels[row] as usize;
        let rivals = (0..self.weights.len()).filter(|class| *class != label);
        let distance = |rival: usize| {
            let pairs = self.weights[label].iter().zip(&self.weights[rival]);
            let slope: Vec<f64> = pairs.map(|(label, rival)| f64::from(*rival) - f64::from(*label)).collect();
            let terms = slope.iter().zip(image);
            let gap: f64 = -terms.map(|(slope, pixel)| slope * (f64::from(*pixel) - 0.5)).sum::<f64>();
            match norm {
                Norm::Linf => gap / slope.iter().map(|slope| slope.abs()).sum::<f64>(),
                Norm::L2 => gap / length(&slope),
                Norm::L1 => gap / slope.iter().fold(0.0, |largest: f64, slope| largest.max(slope.abs())),
                Norm::L0 => {
                    let room = |slope: f64, pixel: f32| {
                        slope.abs() * if slope > 0.0 { 1.0 - f64::from(pixel) } else { f64::from(pixel) }
                    };
                    let mut rises: Vec<f64> = slope.iter().zip(image).map(|(slope, at)| room(*slope, *at)).collect();
                    rises.sort_by(|a, b| b.total_cmp(a));
                    let reached = |count: &usize| rises[..*count].iter().sum::<f64>() > gap;
                    (1..=PIXELS).find(reached).unwrap() as f64
                }
            }
        };
        rivals.map(distance).fold(f64::INFINITY, f64::min)
    }

    fn run(&self, attack: (&str, &str), norm: Norm, goal: Goal) -> Vec<Judgement> {
        let setting = Setting { goal, ..Setting::untargeted(norm, None, Success::AnyIterate) };
        run(attack, &self.model, &self.samples, &setting)
    }
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

const CW: &str = "steps = 200\ninitial-constant = 0.1\nlearning-rate = 0.005";

/// Attacks, the norms in which they find the smallest distance of a linear model, and how much more they may find.
const EXACT: [(&str, &str, &[Norm], f64); 4] = [
    ("deepfool", "", &Norm::DENSE, 1.0201),
    ("ddn", "steps = 600\nradius-adaptation = 0.02\ninitial-radius = 0.1", &[Norm::L2], 1.025),
    ("fmn", "steps = 300", &[Norm::Linf, Norm::L2, Norm::L1], 1.01),
    ("cw", CW, &[Norm::L2], 1.02),
];

#[test]
fn the_smallest_distance_of_a_linear_model_is_found() {
    for (id, parameters, norms, most) in EXACT {
        // Only DeepFool looks for the nearest of several boundaries; the others follow the strongest rival.
        let halves = Halves::new(if id == "deepfool" { 3 } else { 2 });
        for norm in norms {
            for (row, judged) in halves.run((id, parameters), *norm, Goal::Untargeted).iter().enumerate() {
                let excess = judged.distances.in_norm(*norm) / halves.exact(row, *norm);
                assert_eq!(judged.verdict, Verdict::Broken, "{id} {norm:?} row {row}");
                assert!((0.9999..most).contains(&excess), "{id} {norm:?} row {row}: {excess} times the distance");
            }
        }
    }
}

#[test]
fn the_smallest_distance_to_a_target_is_found() {
    // With two classes it is that to the other one.
    let halves = Halves::new(2);
    for (id, parameters, norms, most) in EXACT {
        for goal in [Goal::Targeted, Goal::TargetedMisclassify] {
            for norm in norms.iter().filter(|_| id != "deepfool") {
                for (row, judged) in halves.run((id, parameters), *norm, goal).iter().enumerate() {
                    let excess = judged.distances.in_norm(*norm) / halves.exact(row, *norm);
                    assert!((0.9999..most).contains(&excess), "{id} {norm:?} {goal:?} row {row}: {excess}");
                }
            }
        }
    }
}

#[test]
fn fmn_changes_as_few_values_of_a_linear_model_as_possible() {
    let halves = Halves::new(3);
    let judged = halves.run(("fmn", "steps = 300"), Norm::L0, Goal::Untargeted);
    let excess: Vec<f64> =
        judged.iter().enumerate().map(|(row, judged)| judged.distances.l0 - halves.exact(row, Norm::L0)).collect();
    assert!(excess.iter().all(|excess| (0.0..=1.0).contains(excess)), "{excess:?}");
    assert!(excess.iter().filter(|excess| **excess == 0.0).count() >= 10, "{excess:?}");
}

#[test]
fn deepfool_pays_for_the_candidates_and_only_until_it_arrives() {
    let halves = Halves::new(3);
    // One step on a linear model, and one gradient to see that it was enough.
    for (parameters, rivals) in [("", 2), ("candidates = 2", 1)] {
        for judged in halves.run(("deepfool", parameters), Norm::L2, Goal::Untargeted) {
            assert_eq!(judged.spent, Cost::gradient(rivals + 1));
        }
    }
}

#[test]
fn the_confidence_of_cw_pushes_iterates_past_the_boundary() {
    // Large constants only: every iterate is far behind the boundary once the margin is pushed.
    let halves = Halves::new(2);
    let distance = |confidence: &str| {
        let parameters = format!("search-steps = 1\nsteps = 300\ninitial-constant = 100\n{confidence}");
        let (spy, model) = Spy::around(Arc::clone(&halves.model));
        let one = Samples {
            pixels: halves.samples.pixels[..PIXELS].to_vec(),
            labels: halves.samples.labels[..1].to_vec(),
            ..halves.samples.clone()
        };
        run(("cw", &parameters), &model, &one, &Setting::untargeted(Norm::L2, None, Success::AnyIterate));
        let asked = spy.seen.lock().unwrap();
        let last = &asked[asked.len() - 2];
        let change: Vec<f64> = last.iter().zip(&one.pixels).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
        length(&change)
    };
    let (near, far) = (distance(""), distance("confidence = 0.4"));
    assert!(far > 1.2 * near, "{near} {far}");
}

/// A model that notes the first image of every batch that it is asked about.
struct Spy {
    model: Arc<dyn Model>,
    seen: Mutex<Vec<Vec<f32>>>,
}

impl Spy {
    fn around(model: Arc<dyn Model>) -> (Arc<Self>, Arc<dyn Model>) {
        let spy = Arc::new(Self { model, seen: Mutex::new(Vec::new()) });
        (Arc::clone(&spy), spy)
    }
}

impl Model for Spy {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let [_, channels, height, width] = images.dims();
        let first = read(images.clone())?[..channels * height * width].to_vec();
        self.seen.lock().unwrap().push(first);
        self.model.logits(images, draws)
    }
}

/// A network of two layers in double precision, with an image and its label.
struct Reference {
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    clean: Vec<f64>,
    label: usize,
}

impl Reference {
    const INPUTS: usize = 6;
    const HIDDEN: usize = 5;
    const CLASSES: usize = 4;

    /// With an image of one's choice.
    fn new(image: usize) -> Self {
        let layer = |rows: usize, columns: usize, from: usize| -> Vec<Vec<f32>> {
            (0..rows).map(|row| (0..columns).map(|at| 1.5 * scatter(from + row * columns + at)).collect()).collect()
        };
        let mut reference = Self {
            first: layer(Self::HIDDEN, Self::INPUTS, 0),
            second: layer(Self::CLASSES, Self::HIDDEN, 100),
            clean: (0..Self::INPUTS)
                .map(|at| f64::from(0.5 + 0.4 * scatter(300 + image * Self::INPUTS + at)))
                .collect(),
            label: 0,
        };
        let logits = reference.logits(&reference.clean);
        reference.label = (0..Self::CLASSES).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        reference
    }

    fn hidden(&self, image: &[f64]) -> Vec<f64> {
        self.first.iter().map(|row| row.iter().zip(image).map(|(w, x)| f64::from(*w) * x).sum::<f64>().tanh()).collect()
    }

    fn logits(&self, image: &[f64]) -> Vec<f64> {
        let hidden = self.hidden(image);
        self.second.iter().map(|row| row.iter().zip(&hidden).map(|(w, h)| f64::from(*w) * h).sum()).collect()
    }

    /// The gradient of the sum of logits times weights.
    fn pull(&self, image: &[f64], weights: &[f64]) -> Vec<f64> {
        let hidden = self.hidden(image);
        let back = |at: usize| {
            let sum: f64 = weights.iter().zip(&self.second).map(|(weight, row)| weight * f64::from(row[at])).sum();
            sum * (1.0 - hidden[at] * hidden[at])
        };
        let back: Vec<f64> = (0..Self::HIDDEN).map(back).collect();
        (0..Self::INPUTS).map(|at| back.iter().zip(&self.first).map(|(b, row)| b * f64::from(row[at])).sum()).collect()
    }

    fn rival(&self, logits: &[f64]) -> usize {
        let others = (0..Self::CLASSES).filter(|class| *class != self.label);
        others.max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap()
    }

    /// The largest other logit minus that of the label, and its gradient.
    fn margin(&self, image: &[f64]) -> (f64, Vec<f64>) {
        let logits = self.logits(image);
        let rival = self.rival(&logits);
        (logits[rival] - logits[self.label], self.pull(image, &self.difference(rival)))
    }

    /// The weights of logits in the difference of a class and the label.
    fn difference(&self, class: usize) -> Vec<f64> {
        let mut weights = vec![0.0; Self::CLASSES];
        (weights[class], weights[self.label]) = (1.0, -1.0);
        weights
    }

    /// The gradient of the cross-entropy of the label.
    fn cross_entropy(&self, image: &[f64]) -> Vec<f64> {
        let exponentials: Vec<f64> = self.logits(image).iter().map(|logit| logit.exp()).collect();
        let total: f64 = exponentials.iter().sum();
        let mut weights: Vec<f64> = exponentials.iter().map(|value| value / total).collect();
        weights[self.label] -= 1.0;
        self.pull(image, &weights)
    }

    fn change(&self, image: &[f64]) -> Vec<f64> {
        image.iter().zip(&self.clean).map(|(image, clean)| image - clean).collect()
    }

    fn boxed(&self, change: &[f64]) -> Vec<f64> {
        change.iter().zip(&self.clean).map(|(change, clean)| (clean + change).clamp(0.0, 1.0)).collect()
    }

    /// The largest change that the box allows.
    fn room(&self) -> Vec<f64> {
        self.clean.iter().map(|clean| clean.max(1.0 - clean)).collect()
    }

    /// Compares the images that an attack asks about with those of a reference.
    fn check(&self, attack: (&str, &str), norm: Norm, expected: &[Vec<f64>]) {
        let (first, second) = (Linear::new(&self.first, &[0.0; 5]), Linear::new(&self.second, &[0.0; 4]));
        let (spy, model) = Spy::around(Arc::new(TwoLayers { first, second }));
        let pixels: Vec<f32> = self.clean.iter().map(|pixel| *pixel as f32).collect();
        let sample = samples(&[pixels], &[u32::try_from(self.label).unwrap()]);
        let judged = run(attack, &model, &sample, &Setting::untargeted(norm, None, Success::AnyIterate));
        assert_eq!(judged[0].verdict, Verdict::Broken, "{attack:?} {norm:?}");
        let seen = spy.seen.lock().unwrap();
        // The first two questions are about the clean image, the last one judges.
        let asked = &seen[2..seen.len() - 1];
        assert_eq!(asked.len(), expected.len(), "{attack:?} {norm:?}");
        for (step, (asked, expected)) in asked.iter().zip(expected).enumerate() {
            for (asked, expected) in asked.iter().zip(expected) {
                let difference = (f64::from(*asked) - expected).abs();
                assert!(difference < 1e-5, "{attack:?} {norm:?} step {step}: {asked} {expected}");
            }
        }
    }
}

fn unit(vector: &[f64]) -> Vec<f64> {
    let length = length(vector);
    vector.iter().map(|value| value / length).collect()
}

fn moved(change: &[f64], direction: &[f64], by: f64) -> Vec<f64> {
    change.iter().zip(direction).map(|(change, direction)| change + by * direction).collect()
}

fn annealed(first: f64, last: f64, step: usize, steps: usize) -> f64 {
    last + (first - last) * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

fn size(norm: Norm, change: &[f64]) -> f64 {
    let absolute = change.iter().map(|value| value.abs());
    match norm {
        Norm::Linf => absolute.fold(0.0, f64::max),
        Norm::L2 => length(change),
        Norm::L1 => absolute.sum(),
        Norm::L0 => absolute.filter(|value| *value > 0.0).count() as f64,
    }
}

#[test]
fn ddn_follows_its_definition_step_by_step() {
    let reference = Reference::new(0);
    let steps = 40;
    let mut image = reference.clean.clone();
    let mut radius: f64 = 0.3;
    let mut asked = Vec::new();
    for step in 0..steps {
        asked.push(image.clone());
        radius *= if reference.margin(&image).0 > 0.0 { 0.95 } else { 1.05 };
        radius = radius.min(length(&reference.room()));
        let direction = unit(&reference.cross_entropy(&image));
        let change = moved(&reference.change(&image), &direction, annealed(1.0, 0.01, step, steps));
        let scale = radius / length(&change);
        image = reference.boxed(&change.iter().map(|value| value * scale).collect::<Vec<_>>());
    }
    reference.check(("ddn", "steps = 40\ninitial-radius = 0.3"), Norm::L2, &asked);
}

/// Projects a change on a ball, and for l1 and l0 on the box, too.
fn projected(reference: &Reference, norm: Norm, change: Vec<f64>, radius: f64) -> Vec<f64> {
    match norm {
        Norm::Linf => change.into_iter().map(|value| value.clamp(-radius, radius)).collect(),
        Norm::L2 => {
            // On the surface, not only inside.
            let scale = radius / length(&change);
            change.into_iter().map(|value| value * scale).collect()
        }
        Norm::L1 => {
            // What every change loses is found by bisection.
            let shrunk = |loss: f64| {
                let kept = |value: &f64| (value.abs() - loss).max(0.0).copysign(*value);
                reference.change(&reference.boxed(&change.iter().map(kept).collect::<Vec<_>>()))
            };
            if size(Norm::L1, &shrunk(0.0)) <= radius {
                return shrunk(0.0);
            }
            let (mut low, mut high) = (0.0, 10.0);
            for _ in 0..100 {
                let middle = (low + high) / 2.0;
                if size(Norm::L1, &shrunk(middle)) > radius { low = middle } else { high = middle }
            }
            shrunk(high)
        }
        Norm::L0 => {
            let mut kept = reference.change(&reference.boxed(&change));
            let mut sizes: Vec<f64> = kept.iter().map(|value| value.abs()).collect();
            sizes.sort_by(|a, b| b.total_cmp(a));
            let least = if radius < 1.0 { f64::INFINITY } else { sizes[(radius as usize).min(sizes.len()) - 1] };
            kept.iter_mut().for_each(|value| *value = if value.abs() < least { 0.0 } else { *value });
            kept
        }
    }
}

#[test]
fn fmn_follows_its_definition_step_by_step_in_every_norm() {
    let reference = Reference::new(0);
    let steps = 30;
    for (norm, dual) in [(Norm::Linf, Norm::L1), (Norm::L2, Norm::L2), (Norm::L1, Norm::Linf), (Norm::L0, Norm::Linf)] {
        let mut image = reference.clean.clone();
        let mut radius: f64 = 1.0;
        let mut best = f64::INFINITY;
        let mut asked = Vec::new();
        for step in 0..steps {
            asked.push(image.clone());
            let share = annealed(0.05, 0.001, step, steps);
            let (margin, gradient) = reference.margin(&image);
            let change = reference.change(&image);
            let distance = size(norm, &change);
            if margin > 0.0 {
                best = best.min(distance);
            }
            radius = match norm {
                Norm::L0 if margin > 0.0 => (radius - 1.0).min((radius * (1.0 - share)).floor()).min(best).max(0.0),
                Norm::L0 => (radius + 1.0).max((radius * (1.0 + share)).floor()),
                _ if margin > 0.0 => (radius * (1.0 - share)).min(best),
                _ if best.is_finite() => radius * (1.0 + share),
                _ => distance + margin.abs() / size(dual, &gradient),
            };
            radius = radius.min(size(norm, &reference.room()));
            let change = moved(&change, &unit(&gradient), annealed(0.5, 0.02, step, steps));
            image = reference.boxed(&projected(&reference, norm, change, radius));
        }
        let parameters = "steps = 30\nstep-size = 0.5\nfinal-step-size = 0.02";
        reference.check(("fmn", parameters), norm, &asked);
    }
}

#[test]
fn cw_follows_its_definition_step_by_step() {
    let reference = Reference::new(0);
    let start: Vec<f64> = reference.clean.iter().map(|clean| ((2.0 * clean - 1.0) * (1.0 - 1e-6)).atanh()).collect();
    for warm in [false, true] {
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
                let image: Vec<f64> = position.iter().map(|at| (at.tanh() + 1.0) / 2.0).collect();
                let (margin, gradient) = reference.margin(&image);
                found |= margin > 0.0;
                let change = reference.change(&image);
                for at in 0..position.len() {
                    let push = if margin < 0.0 { constant * gradient[at] } else { 0.0 };
                    let slope = (1.0 - position[at].tanh().powi(2)) / 2.0;
                    let total = (2.0 * change[at] - push) * slope;
                    mean[at] = 0.9 * mean[at] + 0.1 * total;
                    square[at] = 0.999 * square[at] + 0.001 * total * total;
                    let root = (square[at] / (1.0 - 0.999_f64.powi(step))).sqrt();
                    position[at] -= 0.05 * mean[at] / (1.0 - 0.9_f64.powi(step)) / (root + 1e-8);
                }
                asked.push(image);
            }
            if found {
                large_enough = constant
            } else {
                too_small = constant
            }
            constant = if large_enough.is_finite() { (too_small + large_enough) / 2.0 } else { constant * 10.0 };
        }
        let parameters =
            format!("search-steps = 6\nsteps = 30\ninitial-constant = 0.1\nlearning-rate = 0.05\nwarm-start = {warm}");
        reference.check(("cw", &parameters), Norm::L2, &asked);
    }
}

#[test]
fn deepfool_follows_its_definition_step_by_step() {
    let mut longest = 0;
    for (norm, image) in Norm::DENSE.into_iter().flat_map(|norm| (0..20).map(move |image| (norm, image))) {
        let reference = Reference::new(image);
        let mut image = reference.clean.clone();
        let mut asked = Vec::new();
        for _ in 0..10 {
            // Once for the strongest rival, once for all others together.
            asked.push(image.clone());
            if reference.margin(&image).0 > 0.0 {
                break;
            }
            asked.push(image.clone());
            let logits = reference.logits(&image);
            let boundary = |class: usize| {
                let gradient = reference.pull(&image, &reference.difference(class));
                let dual = if norm == Norm::L2 { length(&gradient) } else { size(Norm::L1, &gradient) };
                ((logits[reference.label] - logits[class]) / dual, gradient)
            };
            let rivals = (0..Reference::CLASSES).filter(|class| *class != reference.label);
            let (distance, gradient) = rivals.map(boundary).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
            let direction: Vec<f64> =
                if norm == Norm::L2 { unit(&gradient) } else { gradient.iter().map(|value| value.signum()).collect() };
            image = reference.boxed(&moved(&reference.change(&image), &direction, 1.005 * distance));
        }
        // Where the box is in the way, it may never arrive.
        if reference.margin(&image).0 < 0.0 {
            continue;
        }
        longest = longest.max(asked.len());
        reference.check(("deepfool", "overshoot = 0.005"), norm, &asked);
    }
    assert!(longest > 4, "one step does not tell much");
}
