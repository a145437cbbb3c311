//! Deep Defense: images are pushed away from the boundaries that DeepFool finds, and mistakes towards theirs.
//!
//! ## What it does
//! The update lowers `CE(z(x), y) + lambda · mean(R)`, where R is `exp(-c · r / ‖x‖)` for an image that is classified
//! correctly and `exp(d · r / ‖x‖)` for one that is not. `r` is the l2 distance that DeepFool finds: for a correct image that to
//! the nearest other class among the `candidates` likeliest, for a mistake that to its label. Images are shown as they are,
//! unless `augmentation` says otherwise; the training accuracy is that on them.
//!
//! DeepFool makes up to `steps` steps on the network in evaluation state, without overshoot and without clipping, and stops
//! where 1.02 times the change does what it is meant to. The last step replaces the network, near the point `p` where
//! it begins, by a linear function; with `g` the difference of the two logits, `r` is the distance from the clean image to the zeros of that
//! function, `r = (g(p) + ∇g(p)·(x - p)) / ‖∇g(p)‖`. With one step it is the length of DeepFool's step; with more, the
//! authors take the length of the sum of the steps instead, which is a little more than the distance where the boundary is
//! curved. `r / ‖x‖` is held between 0 and 1.
//!
//! The derivative of `r` with respect to the weights needs derivatives of gradients. Where the authors build a second network
//! for them, here directional derivatives are differences: `‖∇g‖` has the same derivative as `u·∇g` with the direction
//! `u = ∇g/‖∇g‖` held constant, and `u·∇g(p)` is `(g(p + hu) - g(p - hu)) / 2h` with `h = 0.01`, which is exact where the network is
//! linear in between and off by the order of `h²` elsewhere. It is a function of logits alone, differentiated as any other.
//! That `p` moves with the weights is left out; where DeepFool has converged this changes nothing, since the distance to a
//! boundary does not depend, to first order, on where on the boundary its nearest point is looked for.
//!
//! All points go through the network together, so that batch norm takes its statistics over all of them. Networks with dropout or
//! noise are refused: differences of their outputs would be those of their draws.
//!
//! The authors fine-tune trained networks with few epochs; name the file of one as the model's `weights` to do the same.
//!
//! ## What an attacker sees
//! Ordinary gradients. What is trained for is a larger l2 distance: measure it with minimum-distance attacks.
//!
//! ## Cost
//! Up to `steps` · (`candidates` - 1) + 6 times that of standard training.
//!
//! ## Reference
//! Yan, Guo, Zhang: Deep Defense: Training DNNs with Improved Adversarial Robustness, NeurIPS 2018 (arXiv:1803.00404). Usual
//! values are those of the authors' program.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use realsafe_core::{
    Draws, Logits, Model, Objective, Recipe, RecipeEntry, Rows, Select, Stop, Trainable, TrainingBatch, inventory, read,
};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use crate::losses::{cross_entropy, on_device};
use crate::parameters::{recipe_parameters, weight};

/// How far points lie apart, to either side, whose logits give directional derivatives, in l2.
const APART: f64 = 0.01;
/// How much farther than its steps DeepFool looks for success.
const OVERSHOOT: f32 = 0.02;
/// What lengths are at least before something is divided by them.
const LEAST: f64 = 1e-6;

struct DeepDefense {
    lambda: f64,
    correct_rate: f64,
    wrong_rate: f64,
    steps: u64,
    candidates: usize,
}

/// The boundary of each row, of the network made linear at a point.
struct Boundaries {
    /// Where the network is made linear.
    points: Tensor<4>,
    /// The gradients of the difference of the two logits there, towards `to`.
    gradients: Tensor<4>,
    /// The class on the image's side.
    from: Vec<u32>,
    /// The class on the other side.
    to: Vec<u32>,
    /// Whether the image is classified correctly.
    correct: Vec<bool>,
}

impl DeepDefense {
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer classes than that")]
    fn from(values: &Values) -> Self {
        Self {
            lambda: values.number("lambda"),
            correct_rate: -values.number("c"),
            wrong_rate: values.number("d"),
            steps: values.count("steps"),
            candidates: values.count("candidates") as usize,
        }
    }

    /// Where DeepFool meets the boundary, or would if it went on.
    fn boundaries(&self, model: &Arc<dyn Model>, batch: &TrainingBatch) -> Result<Boundaries, Stop> {
        let (images, labels) = (&batch.images, &batch.labels);
        let (rows, device) = (labels.len(), images.device());
        let mut found = Boundaries {
            points: images.clone(),
            gradients: images.zeros_like(),
            from: labels.clone(),
            to: labels.clone(),
            correct: Vec::new(),
        };
        let mut now = images.clone();
        let mut arrived = vec![false; rows];
        for _ in 0..self.steps {
            let logits = Logits::read(model.logits(now.clone(), &Draws::none(rows))?)?;
            let predicted = predictions(&logits, labels);
            if found.correct.is_empty() {
                found.correct = predicted.iter().zip(labels).map(|(predicted, label)| predicted == label).collect();
            }
            let ways: Vec<Vec<[u32; 2]>> = (0..rows)
                .map(|row| match found.correct[row] {
                    true => self.rivals(logits.rows().nth(row).unwrap_or_default(), labels[row]),
                    false => vec![[predicted[row], labels[row]]],
                })
                .collect();
            let ranks = ways.iter().map(Vec::len).max().unwrap_or(0);
            let way = |row: usize, rank: usize| ways[row][rank.min(ways[row].len() - 1)];
            let mut gradients = Vec::new();
            for rank in 0..ranks {
                let tape = model.forward(now.clone(), &Draws::none(rows))?;
                let (dims, mut cotangents) = (tape.logits.dims(), vec![0.0; rows * logits.classes()]);
                for (row, cotangents) in cotangents.chunks_exact_mut(logits.classes()).enumerate() {
                    let [from, to] = way(row, rank);
                    (cotangents[from as usize], cotangents[to as usize]) = (-1.0, 1.0);
                }
                gradients.push(tape.pull(Tensor::from_data(TensorData::new(cotangents, dims), &device))?);
            }
            let gradients = Tensor::cat(gradients, 0);
            let slopes = read(lengths(gradients.clone()))?;
            // A class whose boundary has no direction is infinitely far away.
            let distance = |row: usize, rank: usize| {
                let [from, to] = way(row, rank);
                let logits = logits.rows().nth(row).unwrap_or_default();
                let distance = (logits[from as usize] - logits[to as usize]).abs() / slopes[rank * rows + row];
                if distance.is_finite() { distance } else { f32::INFINITY }
            };
            let nearest: Vec<usize> = (0..rows)
                .map(|row| (0..ranks).min_by(|a, b| distance(row, *a).total_cmp(&distance(row, *b))).unwrap_or(0))
                .collect();
            let chosen = nearest.iter().enumerate().map(|(row, rank)| rank * rows + row).collect();
            let gradients = gradients.choose(&Rows::new(chosen, &device));
            let steps: Vec<f32> = (0..rows)
                .map(|row| distance(row, nearest[row]) / slopes[nearest[row] * rows + row])
                .map(|step| if step.is_finite() { step } else { 0.0 })
                .collect();
            let steps = Tensor::<4>::from_data(TensorData::new(steps, [rows, 1, 1, 1]), &device);
            let moved = now.clone() + gradients.clone() * steps;
            // Rows that have arrived keep what they have.
            let places = arrived.iter().enumerate().map(|(row, arrived)| if *arrived { row } else { rows + row });
            let places = Rows::new(places.collect(), &device);
            let keep = |old: Tensor<4>, new: Tensor<4>| Tensor::cat(vec![old, new], 0).choose(&places);
            found.points = keep(found.points, now.clone());
            found.gradients = keep(found.gradients, gradients);
            now = keep(now, moved);
            for row in (0..rows).filter(|row| !arrived[*row]) {
                [found.from[row], found.to[row]] = way(row, nearest[row]);
            }
            let beyond = now.clone() + (now.clone() - images.clone()) * OVERSHOOT;
            let logits = Logits::read(model.logits(beyond, &Draws::none(rows))?)?;
            for (row, predicted) in predictions(&logits, labels).into_iter().enumerate() {
                arrived[row] |= (predicted == labels[row]) != found.correct[row];
            }
            if arrived.iter().all(|arrived| *arrived) {
                break;
            }
        }
        Ok(found)
    }

    /// The ways from the label to the most likely other classes.
    #[expect(clippy::cast_possible_truncation, reason = "labels are of this width, too")]
    fn rivals(&self, logits: &[f32], label: u32) -> Vec<[u32; 2]> {
        let mut rivals: Vec<usize> = (0..logits.len()).filter(|class| *class != label as usize).collect();
        rivals.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
        rivals.into_iter().take(self.candidates - 1).map(|rival| [label, rival as u32]).collect()
    }
}

/// What each row is taken for; a row that is taken for nothing ends the run, whatever stands here.
fn predictions(logits: &Logits, labels: &[u32]) -> Vec<u32> {
    logits.predictions().into_iter().zip(labels).map(|(found, label)| found.unwrap_or(*label)).collect()
}

/// The l2 length of each row, `[n]`.
fn lengths(rows: Tensor<4>) -> Tensor<1> {
    rows.flatten::<2>(1, 3).square().sum_dim(1).sqrt().squeeze_dim(1)
}

impl Recipe for DeepDefense {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        if network.is_random() {
            let message = "it draws random numbers in training (dropout, or noise), and the recipe compares outputs of \
                           neighbouring images; take a network that does not";
            return Err(message.to_owned());
        }
        Ok(())
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let (images, rows) = (batch.images.clone(), batch.labels.len());
        let device = images.device();
        let Boundaries { points, gradients, from, to, correct } = self.boundaries(&network.snapshot(), batch)?;
        let per_image = |values: Tensor<1>| values.reshape([rows, 1, 1, 1]);
        let unit = |rows: Tensor<4>| rows.clone() / per_image(lengths(rows).clamp_min(LEAST));
        let back = images.clone() - points.clone();
        let (across, along) = (unit(gradients) * APART, unit(back.clone()) * APART);
        let around = |way: Tensor<4>| [points.clone() + way.clone(), points.clone() - way];
        let shown: Vec<Tensor<4>> =
            [images.clone(), points.clone()].into_iter().chain(around(across)).chain(around(along)).collect();
        let all = network.forward(Tensor::cat(shown, 0).autodiff());
        let logits = |part: usize| all.clone().narrow(0, part * rows, rows);
        let column = |classes: &[u32]| on_device(classes, &device).reshape([rows, 1]);
        let (from, to) = (column(&from), column(&to));
        let ahead = |part: usize| {
            let part = logits(part);
            (part.clone().gather(1, from.clone()) - part.gather(1, to.clone())).squeeze_dim::<1>(1)
        };
        let slope = (ahead(3) - ahead(2)) / (2.0 * APART);
        let height = ahead(1) + (ahead(4) - ahead(5)) * (lengths(back) / (2.0 * APART));
        let distance = height / slope.clamp_min(LEAST);
        let ratio = (distance / lengths(images).clamp_min(LEAST)).clamp(0.0, 1.0);
        let rate = |correct: &bool| if *correct { self.correct_rate } else { self.wrong_rate };
        let rates: Vec<f64> = correct.iter().map(rate).collect();
        let penalty = (ratio * Tensor::from_data(TensorData::from(rates.as_slice()), &device)).exp().mean();
        let logits = logits(0);
        Ok(Objective { loss: cross_entropy(logits.clone(), &batch.labels, 0.0) + penalty * self.lambda, logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "deep-defense",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("deep_defense.rs"),
            parameters: recipe_parameters![
                weight("lambda", "", "15", "The weight of the mean penalty."),
                weight("c", "per length of the image", "25", "How fast the penalty of a correct image falls with its distance."),
                Parameter {
                    // The penalty is at most e^d, which is far from the largest number.
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 50.0 },
                    ..weight("d", "per length of the image", "5", "How fast the penalty of a mistake grows with its distance.")
                },
                Parameter {
                    name: "steps",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1000 },
                    unit: "steps",
                    fallback: Fallback::Value("5"),
                    documentation: "How many steps DeepFool makes at most.",
                },
                Parameter {
                    name: "candidates",
                    kind: ParameterKind::Count { minimum: 2, maximum: 100_000 },
                    unit: "classes",
                    fallback: Fallback::Value("10"),
                    documentation: "How many of the most likely classes are looked at, the label among them.",
                },
            ],
            example: "lambda = 1\nsteps = 2\ncandidates = 3\nepochs = 2",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(DeepDefense::from(values)),
    }
}
