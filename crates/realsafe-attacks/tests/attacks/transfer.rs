//! The momentum attacks that are made to transfer, step by step against their definitions in double precision on small
//! images of two channels, and transfers from ensembles.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Draws, Model, Samples, Stop, fill_ball};
use realsafe_plan::{Cost, Ensemble, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, run, scatter};
use crate::closed_form::breaks_exactly_above;

const CHANNELS: usize = 2;
const HEIGHT: usize = 5;
const WIDTH: usize = 6;
const PIXELS: usize = CHANNELS * HEIGHT * WIDTH;
const HIDDEN: usize = 7;
const CLASSES: usize = 3;
const LABEL: usize = 1;
const EPS: f64 = 0.1;
const STEP: f64 = 0.02;
const DECAY: f64 = 0.9;
const STEPS: usize = 6;

type Matrix = Vec<Vec<f32>>;

fn matrix(rows: usize, columns: usize, seed: usize) -> Matrix {
    (0..rows).map(|row| (0..columns).map(|column| 0.5 * scatter(seed + row * columns + column)).collect()).collect()
}

fn linear(weights: &Matrix) -> Linear {
    Linear::new(weights, &vec![0.0; weights.len()])
}

fn times(weights: &Matrix, vector: &[f64]) -> Vec<f64> {
    weights.iter().map(|row| row.iter().zip(vector).map(|(weight, value)| f64::from(*weight) * value).sum()).collect()
}

fn times_transposed(weights: &Matrix, vector: &[f64]) -> Vec<f64> {
    let column = |at: usize| weights.iter().zip(vector).map(|(row, value)| f64::from(row[at]) * value).sum();
    (0..weights[0].len()).map(column).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.iter().map(|logit| logit.exp() / total).collect()
}

/// The derivative of the cross-entropy of the label with respect to the logits.
fn error(logits: &[f64]) -> Vec<f64> {
    let probabilities = softmax(logits).into_iter().enumerate();
    probabilities.map(|(class, probability)| probability - f64::from(u8::from(class == LABEL))).collect()
}

/// `second · tanh(first · x)` in double precision.
struct Network {
    first: Matrix,
    second: Matrix,
}

impl Network {
    fn new(seed: usize) -> Self {
        Self { first: matrix(HIDDEN, PIXELS, seed), second: matrix(CLASSES, HIDDEN, seed + 500) }
    }

    fn model(&self) -> Arc<dyn Model> {
        Arc::new(TwoLayers { first: linear(&self.first), second: linear(&self.second) })
    }

    fn hidden(&self, image: &[f64]) -> Vec<f64> {
        times(&self.first, image).into_iter().map(f64::tanh).collect()
    }

    fn logits(&self, image: &[f64]) -> Vec<f64> {
        times(&self.second, &self.hidden(image))
    }

    fn pull(&self, image: &[f64], cotangent: &[f64]) -> Vec<f64> {
        let back = times_transposed(&self.second, cotangent);
        let back: Vec<f64> =
            back.iter().zip(self.hidden(image)).map(|(back, hidden)| back * (1.0 - hidden * hidden)).collect();
        times_transposed(&self.first, &back)
    }

    fn gradient(&self, image: &[f64]) -> Vec<f64> {
        self.pull(image, &error(&self.logits(image)))
    }
}

fn clean() -> Vec<f32> {
    (0..PIXELS).map(|at| 0.5 + 0.45 * scatter(9000 + at)).collect()
}

fn samples() -> Samples {
    let label = u32::try_from(LABEL).unwrap();
    Samples { shape: [CHANNELS, HEIGHT, WIDTH], pixels: clean(), labels: vec![label], targets: None }
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn scaled(vector: &[f64], by: f64) -> Vec<f64> {
    vector.iter().map(|value| value * by).collect()
}

fn l1(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value.abs()).sum()
}

fn l2(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The iterates of momentum steps along a gradient that is given the step, the image and the momentum.
fn walk(norm: Norm, mut gradient: impl FnMut(u64, &[f64], &[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let clean: Vec<f64> = clean().into_iter().map(f64::from).collect();
    let mut image = clean.clone();
    let mut momentum = vec![0.0; PIXELS];
    let mut iterates = Vec::new();
    for step in 0..STEPS as u64 {
        let gradient = gradient(step, &image, &momentum);
        momentum = sum(&scaled(&momentum, DECAY), &scaled(&gradient, 1.0 / l1(&gradient)));
        let change = sum(&image, &scaled(&clean, -1.0));
        let change = match norm {
            Norm::Linf => {
                let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
                change.iter().zip(&momentum).map(|(c, m)| (c + STEP * sign(*m)).clamp(-EPS, EPS)).collect()
            }
            _ => {
                let moved = sum(&change, &scaled(&momentum, STEP / l2(&momentum)));
                scaled(&moved, (EPS / l2(&moved)).min(1.0))
            }
        };
        image = sum(&clean, &change).into_iter().map(|pixel| pixel.clamp(0.0, 1.0)).collect();
        iterates.push(image.clone());
    }
    iterates
}

/// Compares each iterate of an attack, which is what it returns if it stops there.
fn follows(attack: (&str, &str), model: &Arc<dyn Model>, setting: &Setting, expected: &[Vec<f64>]) {
    let (id, more) = attack;
    for (steps, expected) in (1..).zip(expected) {
        let parameters = format!("steps = {steps}\nstep-size = {STEP}\ndecay = {DECAY}\n{more}");
        let found = &run((id, &parameters), model, &samples(), setting)[0].pixels;
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            let difference = (f64::from(*found) - expected).abs();
            assert!(difference < 1e-5, "{id} {more} {:?} step {steps} pixel {at}: {difference}", setting.norm);
        }
    }
}

fn last(norm: Norm) -> Setting {
    Setting::untargeted(norm, EPS, Success::Last)
}

/// The random numbers of the sample at a step.
fn random(step: u64) -> ChaCha8Rng {
    stream(StreamKey { seed: 0, purpose: Purpose::Step, sample: 0, restart: 0, step })
}

#[test]
fn si_ni_fgsm_follows_its_definition_step_by_step() {
    let network = Network::new(0);
    for norm in Norm::DENSE {
        for copies in [1, 4] {
            let expected = walk(norm, |_, image, momentum| {
                let values = PIXELS as f64;
                let ahead = STEP * DECAY * if norm == Norm::Linf { values } else { values.sqrt() };
                let ahead = sum(image, &scaled(momentum, ahead));
                let copy = |at: i32| {
                    let scale = 0.5_f64.powi(at);
                    scaled(&network.gradient(&scaled(&ahead, scale)), scale)
                };
                (0..copies).map(copy).reduce(|a, b| sum(&a, &b)).unwrap()
            });
            follows(("si-ni-fgsm", &format!("scale-copies = {copies}")), &network.model(), &last(norm), &expected);
        }
    }
}

#[test]
fn vmi_follows_its_definition_step_by_step() {
    let network = Network::new(0);
    for norm in Norm::DENSE {
        let mut variance = vec![0.0; PIXELS];
        let expected = walk(norm, |step, image, _| {
            let gradient = network.gradient(image);
            let tuned = sum(&gradient, &variance);
            let mut random = random(step);
            let mut neighbour = || {
                let mut noise = vec![0.0; PIXELS];
                fill_ball(norm, 1.5 * EPS as f32, &mut random, &mut noise);
                let noise: Vec<f64> = noise.into_iter().map(f64::from).collect();
                network.gradient(&sum(image, &noise))
            };
            let total = (0..3).map(|_| neighbour()).reduce(|a, b| sum(&a, &b)).unwrap();
            variance = sum(&scaled(&total, 1.0 / 3.0), &scaled(&gradient, -1.0));
            tuned
        });
        follows(("vmi", "neighbours = 3"), &network.model(), &last(norm), &expected);
    }
}

#[test]
fn tim_follows_its_definition_step_by_step() {
    let network = Network::new(0);
    for norm in Norm::DENSE {
        for (parameters, radius, sigma) in
            [("kernel-size = 3\nsigma = 0.8", 1, 0.8), ("kernel-size = 7", 3, 1.0), ("kernel-size = 15", 7, 7.0 / 3.0)]
        {
            let weight = |y: i32, x: i32| (-f64::from(y * y + x * x) / (2.0 * sigma * sigma)).exp();
            let window = || (-radius..=radius).flat_map(|y| (-radius..=radius).map(move |x| (y, x)));
            let total: f64 = window().map(|(y, x)| weight(y, x)).sum();
            let expected = walk(norm, |_, image, _| {
                let gradient = network.gradient(image);
                let pixel = |channel: usize, y: i32, x: i32| {
                    let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
                    (y < HEIGHT && x < WIDTH).then(|| gradient[(channel * HEIGHT + y) * WIDTH + x])
                };
                let smooth = |at: usize| {
                    let place = |index: usize| i32::try_from(index).unwrap();
                    let (y, x) = (place(at / WIDTH % HEIGHT), place(at % WIDTH));
                    let around = window().map(|(dy, dx)| {
                        weight(dy, dx) / total * pixel(at / (HEIGHT * WIDTH), y + dy, x + dx).unwrap_or(0.0)
                    });
                    around.sum()
                };
                (0..PIXELS).map(smooth).collect()
            });
            follows(("tim", parameters), &network.model(), &last(norm), &expected);
        }
    }
}

/// For each pixel of a shrunk and padded image, the pixels of the image that it is made of, and their shares.
fn transform(step: u64, probability: f64, share: f64, bilinear: bool) -> Vec<Vec<(usize, f64)>> {
    let mut random = random(step);
    let transformed = random.random_bool(probability);
    let size: f64 = random.random();
    let mut axis = |side: usize| -> Vec<Vec<(usize, f64)>> {
        let smallest = (share * side as f64).floor();
        let shrunk = if transformed { smallest + ((side as f64 - smallest) * size).floor() } else { side as f64 };
        let offset = random.random_range(0..=side - shrunk as usize);
        let source = |place: usize| {
            let Some(at) = place.checked_sub(offset).filter(|at| (*at as f64) < shrunk) else { return Vec::new() };
            let scale = side as f64 / shrunk;
            if !bilinear {
                return vec![((at as f64 * scale).floor() as usize, 1.0)];
            }
            let centre = ((at as f64 + 0.5) * scale - 0.5).clamp(0.0, side as f64 - 1.0);
            let share = centre.fract();
            vec![(centre as usize, 1.0 - share), ((centre as usize + 1).min(side - 1), share)]
        };
        (0..side).map(source).collect()
    };
    let (rows, columns) = (axis(HEIGHT), axis(WIDTH));
    let pixel = |at: usize| {
        let (channel, row, column) = (at / (HEIGHT * WIDTH), &rows[at / WIDTH % HEIGHT], &columns[at % WIDTH]);
        let place = |y: usize, x: usize| (channel * HEIGHT + y) * WIDTH + x;
        row.iter().flat_map(|(y, a)| column.iter().map(move |(x, b)| (place(*y, *x), a * b))).collect()
    };
    (0..PIXELS).map(pixel).collect()
}

#[test]
fn dim_follows_its_definition_step_by_step() {
    let network = Network::new(0);
    for norm in Norm::DENSE {
        for (probability, share, interpolation) in
            [(1.0, 0.5, "nearest"), (1.0, 0.6, "bilinear"), (0.5, 0.9, "bilinear")]
        {
            let mut changed = 0;
            let expected = walk(norm, |step, image, _| {
                let sources = transform(step, probability, share, interpolation == "bilinear");
                let seen: Vec<f64> = sources
                    .iter()
                    .map(|source| source.iter().map(|(from, share)| share * image[*from]).sum())
                    .collect();
                changed += usize::from(seen != image);
                let mut gradient = vec![0.0; PIXELS];
                for (slope, source) in network.gradient(&seen).into_iter().zip(&sources) {
                    source.iter().for_each(|(from, share)| gradient[*from] += share * slope);
                }
                gradient
            });
            assert!(if probability == 1.0 { changed == STEPS } else { (1..STEPS).contains(&changed) }, "{changed}");
            let parameters = format!(
                "diversity-probability = {probability}\nresize-share = {share}\ninterpolation = \"{interpolation}\""
            );
            follows(("dim", &parameters), &network.model(), &last(norm), &expected);
            // A kernel of one pixel smooths nothing.
            follows(("tim", &format!("kernel-size = 1\n{parameters}")), &network.model(), &last(norm), &expected);
        }
    }
}

/// A network with a residual branch: `head · tanh(x + branch(x))`.
struct Residual {
    branch: TwoLayers,
    head: Linear,
    decay: f64,
}

impl Residual {
    fn new(inner: &Matrix, outer: &Matrix, head: &Matrix, decay: f64) -> Self {
        Self { branch: TwoLayers { first: linear(inner), second: linear(outer) }, head: linear(head), decay }
    }
}

impl Model for Residual {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        let dims = images.dims();
        let branch = self.branch.logits(images.clone(), draws)?.reshape(dims);
        let branch = branch.clone() * self.decay + branch.detach() * (1.0 - self.decay);
        self.head.logits((images + branch).tanh(), draws)
    }

    fn with_residual_decay(&self, decay: f64) -> Option<Arc<dyn Model>> {
        let (inner, outer, head) = residual_weights();
        Some(Arc::new(Self::new(&inner, &outer, &head, decay)))
    }
}

fn residual_weights() -> (Matrix, Matrix, Matrix) {
    (matrix(HIDDEN, PIXELS, 0), matrix(PIXELS, HIDDEN, 500), matrix(CLASSES, PIXELS, 1500))
}

#[test]
fn sgm_follows_its_definition_step_by_step_white_box_and_from_a_surrogate() {
    let (inner, outer, head) = residual_weights();
    let model: Arc<dyn Model> = Arc::new(Residual::new(&inner, &outer, &head, 1.0));
    let branch = Network { first: inner, second: outer };
    for norm in Norm::DENSE {
        for decay in [1.0, 0.3, 0.0] {
            let expected = walk(norm, |_, image, _| {
                let hidden: Vec<f64> = sum(image, &branch.logits(image)).into_iter().map(f64::tanh).collect();
                let back = times_transposed(&head, &error(&times(&head, &hidden)));
                let back: Vec<f64> =
                    back.iter().zip(hidden).map(|(back, hidden)| back * (1.0 - hidden * hidden)).collect();
                sum(&back, &scaled(&branch.pull(image, &back), decay))
            });
            let attack = ("sgm", &*format!("residual-decay = {decay}"));
            follows(attack, &model, &last(norm), &expected);
            let from_surrogate = Setting { surrogates: vec![Arc::clone(&model)], ..last(norm) };
            follows(attack, &Network::new(3000).model(), &from_surrogate, &expected);
        }
    }
}

#[test]
fn an_ensemble_is_followed_in_logits_probabilities_and_loss_and_the_victim_is_charged_nothing() {
    let networks = [Network::new(0), Network::new(4000), Network::new(7000)];
    let share = 1.0 / networks.len() as f64;
    let victim = Network::new(3000).model();
    for norm in Norm::DENSE {
        for ensemble in Ensemble::ALL {
            let expected = walk(norm, |_, image, _| {
                let logits: Vec<Vec<f64>> = networks.iter().map(|network| network.logits(image)).collect();
                let mean = |parts: Vec<Vec<f64>>| scaled(&parts.into_iter().reduce(|a, b| sum(&a, &b)).unwrap(), share);
                let cotangents: Vec<Vec<f64>> = match ensemble {
                    Ensemble::Loss => logits.iter().map(|logits| error(logits)).collect(),
                    Ensemble::Logits => vec![error(&mean(logits)); networks.len()],
                    Ensemble::Probabilities => {
                        // The loss is minus the logarithm of the label's mean probability.
                        let probabilities: Vec<Vec<f64>> = logits.iter().map(|logits| softmax(logits)).collect();
                        let label = mean(probabilities.clone())[LABEL];
                        let own = |own: &Vec<f64>| {
                            let delta = |class: usize| f64::from(u8::from(class == LABEL));
                            let slope = |class: usize| own[LABEL] / label * (own[class] - delta(class));
                            (0..CLASSES).map(slope).collect()
                        };
                        probabilities.iter().map(own).collect()
                    }
                };
                let parts = networks.iter().zip(&cotangents).map(|(network, back)| network.pull(image, back));
                mean(parts.collect())
            });
            let surrogates: Vec<_> = networks.iter().map(Network::model).collect();
            let setting = Setting { surrogates, ensemble, ..last(norm) };
            follows(("mim", ""), &victim, &setting, &expected);
            for (attack, each) in [
                (("mim", "steps = 4"), 4),
                (("dim", "steps = 4"), 4),
                (("tim", "steps = 4"), 4),
                (("sgm", "steps = 4"), 4),
                (("si-ni-fgsm", "steps = 4\nscale-copies = 3"), 12),
                (("vmi", "steps = 4\nneighbours = 5"), 19),
            ] {
                let judged = &run(attack, &victim, &samples(), &setting)[0];
                assert_eq!(judged.spent, Cost::default(), "{attack:?}");
                assert_eq!(judged.surrogates, Cost::gradient(3 * each), "{attack:?}");
            }
        }
    }
}

#[test]
fn they_break_a_linear_model_exactly_above_its_margin() {
    for norm in Norm::DENSE {
        for success in [Success::Last, Success::AnyIterate] {
            for attack in [
                ("dim", "diversity-probability = 0"),
                ("tim", "kernel-size = 1"),
                ("si-ni-fgsm", ""),
                ("vmi", "neighbours = 3"),
                ("sgm", ""),
            ] {
                breaks_exactly_above(attack, norm, success);
            }
        }
    }
}
