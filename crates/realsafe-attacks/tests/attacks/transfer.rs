//! The momentum attacks that are made to transfer, step by step against their definitions on small images of two channels,
//! and transfers from ensembles.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::random::Purpose;
use realsafe_core::{Draws, Model, Stop, fill_ball};
use realsafe_plan::{Cost, Ensemble, Goal, Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, matrix, run};
use crate::reference::{
    Aim, Image, Network, cross_entropy, greyish, plus, random, scaled, size, softmax, times, times_transposed,
};
use crate::sample::{Sample, assert_same};

const SHAPE: [usize; 3] = [CHANNELS, HEIGHT, WIDTH];
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

fn network(seed: usize) -> Network {
    Network::new(matrix(HIDDEN, PIXELS, 0.5, seed), matrix(CLASSES, HIDDEN, 0.5, seed + 500))
}

fn sample() -> Sample {
    let clean = greyish(PIXELS, 0.45, 9000);
    Sample { network: network(0), shape: SHAPE, clean, label: LABEL, goal: Goal::Untargeted }
}

/// The gradient that is climbed in a network.
fn gradient(network: &Network, image: &[f64]) -> Image {
    network.rise(cross_entropy, sample().aim(), image).1
}

/// The derivative of the cross-entropy of the label with respect to the logits.
fn error(logits: &[f64]) -> Vec<f64> {
    cross_entropy(logits, Aim { label: LABEL, target: None }).1
}

fn sum(a: &[f64], b: &[f64]) -> Image {
    plus(a, 1.0, b)
}

/// The iterates of momentum steps along a gradient that is given the step, the image and the momentum.
fn walk(norm: Norm, mut gradient: impl FnMut(u64, &[f64], &[f64]) -> Image) -> Vec<Image> {
    let sample = sample();
    let mut image = sample.clean.clone();
    let mut momentum = vec![0.0; PIXELS];
    let mut iterates = Vec::new();
    for step in 0..STEPS as u64 {
        let gradient = gradient(step, &image, &momentum);
        momentum = plus(&scaled(&momentum, DECAY), 1.0 / size(Norm::L1, &gradient), &gradient);
        image = sample.advanced(norm, &image, &momentum, STEP, EPS);
        iterates.push(image.clone());
    }
    iterates
}

/// Compares each iterate of an attack, which is what it returns if it stops there.
fn follows((id, more): (&str, &str), model: &Arc<dyn Model>, setting: &Setting, expected: &[Image]) {
    for (steps, expected) in (1..).zip(expected) {
        let parameters = format!("steps = {steps}\nstep-size = {STEP}\ndecay = {DECAY}\n{more}");
        let found = &run((id, &parameters), model, &sample().samples(), setting)[0].pixels;
        assert_same(found, expected, &format!("{id} {more} {:?} step {steps}", setting.norm));
    }
}

fn last(norm: Norm) -> Setting {
    sample().setting(norm, EPS, Success::Last)
}

#[test]
fn si_ni_fgsm_follows_its_definition_step_by_step() {
    let network = network(0);
    for norm in Norm::DENSE {
        for copies in [1, 4] {
            let expected = walk(norm, |_, image, momentum| {
                let values = PIXELS as f64;
                let ahead = STEP * DECAY * if norm == Norm::Linf { values } else { values.sqrt() };
                let ahead = sum(image, &scaled(momentum, ahead));
                let copy = |at: i32| {
                    let scale = 0.5_f64.powi(at);
                    scaled(&gradient(&network, &scaled(&ahead, scale)), scale)
                };
                (0..copies).map(copy).reduce(|a, b| sum(&a, &b)).unwrap()
            });
            follows(("si-ni-fgsm", &format!("scale-copies = {copies}")), &network.model(), &last(norm), &expected);
        }
    }
}

#[test]
fn vmi_follows_its_definition_step_by_step() {
    let network = network(0);
    for norm in Norm::DENSE {
        let mut variance = vec![0.0; PIXELS];
        let expected = walk(norm, |step, image, _| {
            let slopes = gradient(&network, image);
            let tuned = sum(&slopes, &variance);
            let mut random = random(Purpose::Step, step);
            let mut neighbour = || {
                let mut noise = vec![0.0; PIXELS];
                fill_ball(norm, 1.5 * EPS as f32, &mut random, &mut noise);
                let noise: Vec<f64> = noise.into_iter().map(f64::from).collect();
                gradient(&network, &sum(image, &noise))
            };
            let total = (0..3).map(|_| neighbour()).reduce(|a, b| sum(&a, &b)).unwrap();
            variance = plus(&scaled(&total, 1.0 / 3.0), -1.0, &slopes);
            tuned
        });
        follows(("vmi", "neighbours = 3"), &network.model(), &last(norm), &expected);
    }
}

#[test]
fn tim_follows_its_definition_step_by_step() {
    let network = network(0);
    for norm in Norm::DENSE {
        for (parameters, radius, sigma) in
            [("kernel-size = 3\nsigma = 0.8", 1, 0.8), ("kernel-size = 7", 3, 1.0), ("kernel-size = 15", 7, 7.0 / 3.0)]
        {
            let weight = |y: i32, x: i32| (-f64::from(y * y + x * x) / (2.0 * sigma * sigma)).exp();
            let window = || (-radius..=radius).flat_map(|y| (-radius..=radius).map(move |x| (y, x)));
            let total: f64 = window().map(|(y, x)| weight(y, x)).sum();
            let expected = walk(norm, |_, image, _| {
                let slopes = gradient(&network, image);
                let pixel = |channel: usize, y: i32, x: i32| {
                    let (y, x) = (usize::try_from(y).ok()?, usize::try_from(x).ok()?);
                    (y < HEIGHT && x < WIDTH).then(|| slopes[(channel * HEIGHT + y) * WIDTH + x])
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
    let mut random = random(Purpose::Step, step);
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
    let network = network(0);
    for norm in Norm::DENSE {
        for (probability, share, interpolation) in
            [(1.0, 0.5, "nearest"), (1.0, 0.6, "bilinear"), (0.3, 0.9, "bilinear")]
        {
            let mut changed = 0;
            let expected = walk(norm, |step, image, _| {
                let sources = transform(step, probability, share, interpolation == "bilinear");
                let seen: Vec<f64> = sources
                    .iter()
                    .map(|source| source.iter().map(|(from, share)| share * image[*from]).sum())
                    .collect();
                changed += usize::from(seen != image);
                let mut slopes = vec![0.0; PIXELS];
                for (slope, source) in gradient(&network, &seen).into_iter().zip(&sources) {
                    source.iter().for_each(|(from, share)| slopes[*from] += share * slope);
                }
                slopes
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
    fn new(inner: &[Vec<f32>], outer: &[Vec<f32>], head: &[Vec<f32>], decay: f64) -> Self {
        let linear = |weights: &[Vec<f32>]| Linear::new(weights, &vec![0.0; weights.len()]);
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
        let [inner, outer, head] = residual_weights();
        Some(Arc::new(Self::new(&inner, &outer, &head, decay)))
    }
}

fn residual_weights() -> [Vec<Vec<f32>>; 3] {
    [matrix(HIDDEN, PIXELS, 0.5, 0), matrix(PIXELS, HIDDEN, 0.5, 500), matrix(CLASSES, PIXELS, 0.5, 1500)]
}

#[test]
fn sgm_follows_its_definition_step_by_step_white_box_and_from_a_surrogate() {
    let [inner, outer, head] = residual_weights();
    let model: Arc<dyn Model> = Arc::new(Residual::new(&inner, &outer, &head, 1.0));
    let branch = Network::new(inner, outer);
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
            follows(attack, &network(3000).model(), &from_surrogate, &expected);
        }
    }
}

#[test]
fn an_ensemble_is_followed_in_logits_probabilities_and_loss_and_the_victim_is_charged_nothing() {
    let networks = [0, 4000, 7000].map(network);
    let share = 1.0 / networks.len() as f64;
    let victim = network(3000).model();
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
                let judged = &run(attack, &victim, &sample().samples(), &setting)[0];
                assert_eq!(judged.spent, Cost::default(), "{attack:?}");
                assert_eq!(judged.surrogates, Cost::gradient(3 * each), "{attack:?}");
            }
        }
    }
}
