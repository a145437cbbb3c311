//! What attacks do, in double precision: a network of two layers, what is raised there, the geometry of norms, and random
//! numbers.

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Model, fill_gaussian, fill_uniform};
use realsafe_plan::Norm;

use crate::bench::{Linear, TwoLayers, matrix, scatter};

pub(crate) type Image = Vec<f64>;

/// The norms in which distances to linear boundaries are sums over pixels.
pub(crate) const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// The seed of all random streams.
pub(crate) const SEED: u64 = 11;

/// `second · tanh(first · x) + bias`.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) first: Vec<Vec<f32>>,
    pub(crate) second: Vec<Vec<f32>>,
    pub(crate) bias: Vec<f32>,
}

pub(crate) fn times(weights: &[Vec<f32>], vector: &[f64]) -> Image {
    weights.iter().map(|row| row.iter().zip(vector).map(|(weight, value)| f64::from(*weight) * value).sum()).collect()
}

pub(crate) fn times_transposed(weights: &[Vec<f32>], vector: &[f64]) -> Image {
    let column = |at: usize| weights.iter().zip(vector).map(|(row, value)| f64::from(row[at]) * value).sum();
    (0..weights[0].len()).map(column).collect()
}

impl Network {
    /// With these weights and no bias.
    pub(crate) fn new(first: Vec<Vec<f32>>, second: Vec<Vec<f32>>) -> Self {
        Self { bias: vec![0.0; second.len()], first, second }
    }

    /// With weights of its own, of a scale in the first layer at which hidden units neither are linear nor saturate.
    pub(crate) fn scattered([pixels, hidden, classes]: [usize; 3], from: usize) -> Self {
        let scale = 4.0 / (pixels as f32).sqrt();
        Self::new(matrix(hidden, pixels, scale, from), matrix(classes, hidden, 1.5, from + 50_000))
    }

    pub(crate) fn model(&self) -> Arc<dyn Model> {
        Arc::new(TwoLayers {
            first: Linear::new(&self.first, &vec![0.0; self.first.len()]),
            second: Linear::new(&self.second, &self.bias),
        })
    }

    pub(crate) fn classes(&self) -> usize {
        self.second.len()
    }

    fn hidden(&self, image: &[f64]) -> Image {
        times(&self.first, image).into_iter().map(f64::tanh).collect()
    }

    pub(crate) fn logits(&self, image: &[f64]) -> Vec<f64> {
        let bias = self.bias.iter().map(|bias| f64::from(*bias));
        times(&self.second, &self.hidden(image)).into_iter().zip(bias).map(|(logit, bias)| logit + bias).collect()
    }

    pub(crate) fn predict(&self, image: &[f64]) -> usize {
        largest(&self.logits(image), |_| true)
    }

    /// The gradient of the sum of logits times weights.
    pub(crate) fn pull(&self, image: &[f64], weights: &[f64]) -> Image {
        let back = times_transposed(&self.second, weights);
        let back = back.iter().zip(self.hidden(image)).map(|(back, hidden)| back * (1.0 - hidden * hidden));
        times_transposed(&self.first, &back.collect::<Vec<_>>())
    }

    /// What is raised at an image, and its gradient.
    pub(crate) fn rise(&self, loss: Loss, aim: Aim, image: &[f64]) -> (f64, Image) {
        let (value, slopes) = loss(&self.logits(image), aim);
        (value, self.pull(image, &slopes))
    }

    /// The difference of the logits of two classes, and its gradient.
    pub(crate) fn difference(&self, image: &[f64], class: usize, other: usize) -> (f64, Image) {
        let logits = self.logits(image);
        let weights = unit_difference(self.classes(), class, other);
        (logits[class] - logits[other], self.pull(image, &weights))
    }
}

/// The class with the largest of some logits.
pub(crate) fn largest(logits: &[f64], allowed: impl Fn(usize) -> bool) -> usize {
    let classes = (0..logits.len()).rev().filter(|class| allowed(*class));
    classes.max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("a class")
}

fn unit_difference(classes: usize, class: usize, other: usize) -> Vec<f64> {
    let mut weights = vec![0.0; classes];
    (weights[class], weights[other]) = (1.0, -1.0);
    weights
}

/// The label, and the class that is to be reached, if there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) label: usize,
    pub(crate) target: Option<usize>,
}

impl Aim {
    /// The class that a loss is taken for, and the sign with which it is raised.
    fn class(self) -> (usize, f64) {
        self.target.map_or((self.label, 1.0), |target| (target, -1.0))
    }
}

/// What an attacker raises as a function of logits, and its derivative.
pub(crate) type Loss = fn(&[f64], Aim) -> (f64, Vec<f64>);

/// The cross-entropy of the label, or minus that of the target.
pub(crate) fn cross_entropy(logits: &[f64], aim: Aim) -> (f64, Vec<f64>) {
    let (class, sign) = aim.class();
    let probabilities = softmax(logits);
    let slope = |(at, share): (usize, &f64)| sign * (share - f64::from(u8::from(at == class)));
    (-sign * probabilities[class].ln(), probabilities.iter().enumerate().map(slope).collect())
}

pub(crate) fn softmax(logits: &[f64]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / total).collect()
}

/// By how much the strongest rival exceeds the label, or the target its strongest rival.
pub(crate) fn margin(logits: &[f64], aim: Aim) -> (f64, Vec<f64>) {
    let (class, sign) = aim.class();
    let rival = largest(logits, |other| other != class);
    let slopes = unit_difference(logits.len(), rival, class).into_iter().map(|slope| sign * slope).collect();
    (sign * (logits[rival] - logits[class]), slopes)
}

pub(crate) fn dlr(logits: &[f64], aim: Aim) -> (f64, Vec<f64>) {
    by_differences(logits, |logits| {
        let order = descending(logits);
        margin(logits, aim).0 / (order[0] - order[2])
    })
}

pub(crate) fn dlr_targeted(logits: &[f64], aim: Aim) -> (f64, Vec<f64>) {
    by_differences(logits, |logits| {
        let order = descending(logits);
        let target = aim.target.expect("a target");
        (logits[target] - logits[aim.label]) / (order[0] - (order[2] + order[3]) / 2.0)
    })
}

/// The derivative by central differences, which are exact enough away from ties.
fn by_differences(logits: &[f64], value: impl Fn(&[f64]) -> f64) -> (f64, Vec<f64>) {
    let moved = |class: usize, by: f64| {
        let mut moved = logits.to_vec();
        moved[class] += by;
        value(&moved)
    };
    let slope = |class| (moved(class, 1e-5) - moved(class, -1e-5)) / 2e-5;
    (value(logits), (0..logits.len()).map(slope).collect())
}

fn descending(logits: &[f64]) -> Vec<f64> {
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn plus(a: &[f64], factor: f64, b: &[f64]) -> Image {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

pub(crate) fn scaled(vector: &[f64], by: f64) -> Image {
    vector.iter().map(|value| value * by).collect()
}

pub(crate) fn clipped(image: &[f64]) -> Image {
    image.iter().map(|pixel| pixel.clamp(0.0, 1.0)).collect()
}

/// The size of a change in a norm.
pub(crate) fn size(norm: Norm, change: &[f64]) -> f64 {
    let absolute = change.iter().map(|value| value.abs());
    match norm {
        Norm::Linf => absolute.fold(0.0, f64::max),
        Norm::L2 => dot(change, change).sqrt(),
        Norm::L1 => absolute.sum(),
        Norm::L0 => absolute.filter(|value| *value > 0.0).count() as f64,
    }
}

/// The size of a gradient in the dual norm.
pub(crate) fn dual(norm: Norm, gradient: &[f64]) -> f64 {
    match norm {
        Norm::Linf => size(Norm::L1, gradient),
        Norm::L2 => size(Norm::L2, gradient),
        Norm::L1 | Norm::L0 => size(Norm::Linf, gradient),
    }
}

pub(crate) fn unit(vector: &[f64]) -> Image {
    scaled(vector, 1.0 / size(Norm::L2, vector))
}

/// Signs, or the unit vector.
pub(crate) fn steepest(norm: Norm, gradient: &[f64]) -> Image {
    match norm {
        Norm::Linf => gradient.iter().map(|value| if *value == 0.0 { 0.0 } else { value.signum() }).collect(),
        _ => unit(gradient),
    }
}

/// The number up to which a function that falls exceeds a limit.
fn bisect(mut high: f64, exceeds: impl Fn(f64) -> bool) -> f64 {
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if exceeds(middle) { low = middle } else { high = middle }
    }
    high
}

/// The image, brought back into the ball and the box: clipped, scaled and then clipped, or for l1 to the nearest point, where
/// every change loses the same, which is found by bisection.
pub(crate) fn within(norm: Norm, image: &[f64], clean: &[f64], eps: f64) -> Image {
    let change = plus(image, -1.0, clean);
    match norm {
        Norm::Linf => {
            clipped(&plus(clean, 1.0, &change.iter().map(|value| value.clamp(-eps, eps)).collect::<Vec<_>>()))
        }
        Norm::L2 => clipped(&plus(clean, (eps / size(norm, &change)).min(1.0), &change)),
        _ => {
            let shrunk = |by: f64| {
                let kept: Image = change.iter().map(|value| value.signum() * (value.abs() - by).max(0.0)).collect();
                clipped(&plus(clean, 1.0, &kept))
            };
            let exceeds = |by: f64| size(norm, &plus(&shrunk(by), -1.0, clean)) > eps;
            shrunk(if exceeds(0.0) { bisect(size(Norm::Linf, &change), exceeds) } else { 0.0 })
        }
    }
}

/// The smallest change in the box onto the hyperplane where `value + slopes · change` is zero, by bisection over a Lagrange
/// multiplier: each pixel minimises its own part of the Lagrangian. For l1 the multiplier is one of the slopes, and
/// the pixel at which it is has the rest.
pub(crate) fn onto_hyperplane(norm: Norm, image: &[f64], slopes: &[f64], value: f64) -> Image {
    let pixels = image.len();
    let room = |at: usize| if slopes[at] * value > 0.0 { -image[at] } else { 1.0 - image[at] };
    let gained = |change: &[f64]| -dot(change, slopes) * value.signum();
    if norm == Norm::L1 {
        let mut change = vec![0.0; pixels];
        let mut places: Vec<usize> = (0..pixels).collect();
        places.sort_by(|a, b| slopes[*b].abs().total_cmp(&slopes[*a].abs()));
        for at in places {
            let missing = (value.abs() - gained(&change)).max(0.0) / slopes[at].abs();
            change[at] = room(at).signum() * room(at).abs().min(missing);
        }
        return change;
    }
    let moved = |multiplier: f64| -> Image {
        let free = |at: usize| if norm == Norm::L2 { multiplier * slopes[at].abs() } else { multiplier };
        (0..pixels).map(|at| room(at).signum() * free(at).min(room(at).abs())).collect()
    };
    moved(bisect(1e4, |multiplier| gained(&moved(multiplier)) < value.abs()))
}

/// The random numbers of the sample at a step of the first run.
pub(crate) fn random(purpose: Purpose, step: u64) -> ChaCha8Rng {
    stream(StreamKey { seed: SEED, purpose, sample: 0, restart: 0, step })
}

pub(crate) fn gaussian(random: &mut ChaCha8Rng, count: usize) -> Image {
    let mut values = vec![0.0; count];
    fill_gaussian(random, &mut values);
    values.into_iter().map(f64::from).collect()
}

/// Uniform on `[-1, 1)`.
pub(crate) fn uniform(random: &mut ChaCha8Rng, count: usize) -> Image {
    let mut values = vec![0.0; count];
    fill_uniform(random, &mut values);
    values.into_iter().map(f64::from).collect()
}

/// The value of the cell of each pixel, for a grid of so many lines and columns on each channel.
pub(crate) fn coarse([channels, height, width]: [usize; 3], [lines, columns]: [usize; 2], cells: &[f64]) -> Image {
    let line = |at: usize| (at / height * lines + at % height * lines / height) * columns;
    let pixels = (0..channels * height).flat_map(|at| (0..width).map(move |column| (at, column)));
    pixels.map(|(at, column)| cells[line(at) + column * columns / width]).collect()
}

/// Grey with some scatter, in single precision.
pub(crate) fn greyish(pixels: usize, spread: f32, from: usize) -> Image {
    (0..pixels).map(|at| f64::from((0.5 + spread * scatter(from + at)).clamp(0.0, 1.0))).collect()
}
