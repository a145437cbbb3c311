//! Objectives of a linear network, inner attack included, against double precision; gradients against differences.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::RngExt;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{
    Draws, Model, Objective, RecipeEntry, Stop, Trainable, TrainingBatch, TrainingState, fill_ball, fill_gaussian,
    inventory, read,
};
use realsafe_plan::Norm;

use super::recipe;
use crate::adversary::{Aim, Start};

type Weights = [[f64; 3]; 4];
type Image = [f64; 4];

const WEIGHTS: Weights = [[1.5, -0.7, 0.2], [-1.1, 0.9, 0.4], [0.3, 1.2, -1.6], [-0.5, -0.8, 1.9]];
const OTHER: Weights = [[-0.4, 1.3, -0.2], [0.8, -1.5, 0.6], [1.1, 0.1, -0.9], [-1.2, 0.7, 0.5]];

fn tensor(weights: &Weights) -> Tensor<2> {
    let values: Vec<f32> = weights.iter().flatten().map(|&weight| weight as f32).collect();
    Tensor::from_data(TensorData::new(values, [4, 3]), &Device::flex())
}

/// Logits that are linear in the pixels.
struct Linear(Tensor<2>);

impl Linear {
    fn new(weights: &Weights) -> Self {
        Self(tensor(weights).autodiff().require_grad())
    }
}

struct Frozen(Tensor<2>);

impl Model for Frozen {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        Ok(images.flatten::<2>(1, 3).matmul(self.0.clone()))
    }
}

impl Trainable for Linear {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        images.flatten::<2>(1, 3).matmul(self.0.clone())
    }

    fn has_centres(&self) -> bool {
        true
    }

    fn update(&mut self, rate: f64, gradients: &mut Gradients) {
        let gradient = self.0.grad_remove(gradients).unwrap();
        self.0 = (self.0.clone().inner() - gradient * rate).autodiff().require_grad();
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(Frozen(self.0.clone().inner()))
    }

    fn average(&mut self, _: f64) {
        unreachable!("only the trainer averages")
    }

    fn outcome(&self) -> Arc<dyn Model> {
        self.snapshot()
    }

    fn save(&self, _: &Path) -> Result<Vec<PathBuf>, String> {
        unreachable!("only the trainer saves")
    }

    fn load(&mut self, _: &Path) -> Result<(), String> {
        unreachable!("only the trainer loads")
    }

    fn state(&self) -> Result<TrainingState, String> {
        unreachable!("only the trainer keeps states")
    }

    fn restore(&mut self, _: TrainingState) -> Result<(), String> {
        unreachable!("only the trainer keeps states")
    }
}

/// Random images; the classes are dealt out in turn.
fn batch(rows: usize, seed: u64) -> TrainingBatch {
    let mut random = stream(StreamKey { seed, purpose: Purpose::Training, sample: 0, restart: 0, step: 9 });
    let pixels: Vec<f32> = (0..4 * rows).map(|_| random.random()).collect();
    TrainingBatch {
        images: Tensor::from_data(TensorData::new(pixels, [rows, 1, 2, 2]), &Device::flex()),
        labels: (0..rows as u32).map(|row| row % 3).collect(),
        samples: (0..rows as u32).map(|row| 7 * row).collect(),
        sources: Vec::new(),
        seed,
        epoch: 2,
        time: 0.5,
    }
}

fn images(batch: &TrainingBatch) -> Vec<Image> {
    let pixels = read(batch.images.clone()).unwrap();
    pixels.chunks_exact(4).map(|row| std::array::from_fn(|pixel| row[pixel].into())).collect()
}

fn probabilities(weights: &Weights, image: &Image) -> [f64; 3] {
    let logits = logits(weights, image);
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.map(|logit| logit.exp() / total)
}

fn logits(weights: &Weights, image: &Image) -> [f64; 3] {
    std::array::from_fn(|class| (0..4).map(|pixel| image[pixel] * weights[pixel][class]).sum())
}

fn cross_entropy(weights: &Weights, image: &Image, label: usize) -> f64 {
    -probabilities(weights, image)[label].ln()
}

fn divergence(from: [f64; 3], to: [f64; 3]) -> f64 {
    from.iter().zip(to).map(|(p, q)| p * (p / q).ln()).sum()
}

/// An inner attack.
#[derive(Clone, Copy)]
struct Inner {
    norm: Norm,
    eps: f64,
    steps: usize,
    step_size: f64,
    start: Start,
    aim: Aim,
}

impl Inner {
    const ONE_STEP: Self =
        Self { norm: Norm::Linf, eps: 0.2, steps: 1, step_size: 0.2, start: Start::Clean, aim: Aim::Label };

    fn adversarial(self, weights: &Weights, clean: &Image, label: usize, batch: &TrainingBatch, row: usize) -> Image {
        let (mut noise, mut random) = ([0.0_f32; 4], batch.stream(row));
        match self.start {
            Start::Clean => {}
            Start::NearClean => {
                fill_gaussian(&mut random, &mut noise);
                noise.iter_mut().for_each(|pixel| *pixel *= 0.001);
            }
            Start::Ball => fill_ball(self.norm, self.eps as f32, &mut random, &mut noise),
        }
        let project = |image: Image| -> Image {
            let change: Image = std::array::from_fn(|pixel| image[pixel] - clean[pixel]);
            let length = change.iter().map(|change| change * change).sum::<f64>().sqrt();
            std::array::from_fn(|pixel| {
                let change = match self.norm {
                    Norm::Linf => change[pixel].clamp(-self.eps, self.eps),
                    _ => change[pixel] * (self.eps / length).min(1.0),
                };
                (clean[pixel] + change).clamp(0.0, 1.0)
            })
        };
        let mut image = project(std::array::from_fn(|pixel| clean[pixel] + f64::from(noise[pixel])));
        for _ in 0..self.steps {
            let now = probabilities(weights, &image);
            let of_label: [f64; 3] = std::array::from_fn(|class| f64::from(u8::from(class == label)));
            let slope: [f64; 3] = match self.aim {
                Aim::Label => std::array::from_fn(|class| now[class] - of_label[class]),
                Aim::CleanOutput => {
                    let goal = probabilities(weights, clean);
                    std::array::from_fn(|class| now[class] - goal[class])
                }
                Aim::Distance => of_label.map(|label| -label),
            };
            let gradient: Image =
                std::array::from_fn(|pixel| (0..3).map(|class| weights[pixel][class] * slope[class]).sum());
            let length = gradient.iter().map(|entry| entry * entry).sum::<f64>().sqrt();
            image = project(std::array::from_fn(|pixel| {
                let direction = match self.norm {
                    Norm::Linf => gradient[pixel].signum(),
                    _ => gradient[pixel] / length,
                };
                image[pixel] + self.step_size * direction
            }));
        }
        image
    }
}

/// The loss of a row: weights, clean image, adversarial image, label.
type RowLoss = fn(&Weights, &Image, &Image, usize) -> f64;

/// What a recipe says, against the mean of `loss` over the rows with their adversarial images.
fn agrees(name: &str, table: &str, batch: &TrainingBatch, adversarials: &[Image], loss: RowLoss) {
    let network = Linear::new(&WEIGHTS);
    let entry = inventory::iter::<RecipeEntry>().find(|entry| entry.component.id == name).unwrap();
    let objective = (entry.build)(&recipe(name, table).values).objective(&network, batch).unwrap();
    let clean = images(batch);
    let mean = |weights: &Weights| {
        let rows = clean.iter().zip(adversarials).zip(&batch.labels);
        let sum: f64 = rows.map(|((clean, other), label)| loss(weights, clean, other, *label as usize)).sum();
        sum / clean.len() as f64
    };
    let measured = f64::from(read(objective.loss.clone().inner()).unwrap()[0]);
    assert!((measured - mean(&WEIGHTS)).abs() < 2e-5, "{name} {table}: {measured}, not {}", mean(&WEIGHTS));
    let gradient = read(network.0.grad_remove(&mut objective.loss.backward()).unwrap()).unwrap();
    for (place, measured) in gradient.into_iter().enumerate() {
        let shifted = |by: f64| {
            let mut weights = WEIGHTS;
            weights[place / 3][place % 3] += by;
            mean(&weights)
        };
        let expected = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
        assert!((f64::from(measured) - expected).abs() < 1e-4, "{name} {table}: {measured}, not {expected}");
    }
}

/// What a recipe says, against `loss` with the adversarial images of an inner attack.
fn agrees_with(name: &str, table: &str, inner: Inner, loss: RowLoss) {
    let batch = batch(7, 3);
    let rows = images(&batch).into_iter().zip(&batch.labels).enumerate();
    let adversarials: Vec<Image> =
        rows.map(|(row, (clean, label))| inner.adversarial(&WEIGHTS, &clean, *label as usize, &batch, row)).collect();
    agrees(name, table, &batch, &adversarials, loss);
}

#[test]
fn clean_objectives_are_those_of_double_precision() {
    agrees_with("standard", "", Inner::ONE_STEP, |weights, clean, _, label| cross_entropy(weights, clean, label));
    agrees_with("label-smoothing", "label-smoothing = 0.3", Inner::ONE_STEP, |weights, clean, _, label| {
        (0..3).map(|class| (if class == label { 0.8 } else { 0.1 }) * cross_entropy(weights, clean, class)).sum()
    });
}

/// The logits of a linear network stand for minus squared distances; its sign is no matter to the objective.
#[test]
fn center_objectives_are_those_of_double_precision() {
    let half: RowLoss = |weights, _, other, label| -0.5 * logits(weights, other)[label];
    agrees_with("mmc", "", Inner::ONE_STEP, |weights, clean, _, label| -0.5 * logits(weights, clean)[label]);
    let inner = Inner { steps: 3, step_size: 0.08, start: Start::Ball, aim: Aim::Distance, ..Inner::ONE_STEP };
    agrees_with("mmc-at", "eps = 0.2\nsteps = 3\nstep-size = 0.08", inner, half);
}

#[test]
fn adversarial_objectives_are_those_of_double_precision() {
    let adversarial: RowLoss = |weights, _, other, label| cross_entropy(weights, other, label);
    let inner = Inner { steps: 3, step_size: 0.08, start: Start::Ball, ..Inner::ONE_STEP };
    agrees_with("pgd-at", "eps = 0.2\nsteps = 3\nstep-size = 0.08", inner, adversarial);
    let inner = Inner { norm: Norm::L2, start: Start::Clean, ..inner };
    let table = "norm = \"l2\"\neps = 0.2\nsteps = 3\nstep-size = 0.08\nrandom-start = false";
    agrees_with("pgd-at", table, inner, adversarial);
    let inner = Inner { step_size: 0.25, start: Start::Ball, ..Inner::ONE_STEP };
    agrees_with("fast-at", "eps = 0.2", inner, adversarial);
    agrees_with("fgsm-at", "eps = 0.2\nclean-weight = 0.3", Inner::ONE_STEP, |weights, clean, other, label| {
        0.3 * cross_entropy(weights, clean, label) + 0.7 * cross_entropy(weights, other, label)
    });
}

#[test]
fn trades_mart_and_alp_are_those_of_double_precision() {
    for norm in [Norm::Linf, Norm::L2] {
        let table = format!("norm = \"{}\"\neps = 0.2\nsteps = 4\nstep-size = 0.08", norm.name());
        let inner = Inner { norm, steps: 4, step_size: 0.08, start: Start::NearClean, ..Inner::ONE_STEP };
        let outputs = Inner { aim: Aim::CleanOutput, ..inner };
        agrees_with("trades", &format!("{table}\nbeta = 3"), outputs, |weights, clean, other, label| {
            let apart = divergence(probabilities(weights, clean), probabilities(weights, other));
            cross_entropy(weights, clean, label) + 3.0 * apart
        });
        agrees_with("mart", &format!("{table}\nbeta = 3"), inner, |weights, clean, other, label| {
            let (before, after) = (probabilities(weights, clean), probabilities(weights, other));
            let rival = (0..3).filter(|class| *class != label).map(|class| after[class]).fold(0.0, f64::max);
            let boosted = cross_entropy(weights, other, label) - (1.0001 - rival).ln();
            boosted + 3.0 * divergence(before, after) * (1.000_000_1 - before[label])
        });
        let table = format!("{table}\nclean-weight = 0.3\npairing-weight = 0.7");
        agrees_with("alp", &table, Inner { start: Start::Ball, ..inner }, |weights, clean, other, label| {
            let (before, after) = (logits(weights, clean), logits(weights, other));
            let squares: f64 = before.iter().zip(after).map(|(before, after)| (before - after).powi(2)).sum();
            let labelled = 0.3 * cross_entropy(weights, clean, label) + 0.7 * cross_entropy(weights, other, label);
            labelled + 0.7 * squares / 3.0
        });
    }
}

#[test]
fn ensemble_training_attacks_the_network_that_is_drawn_for_each_image() {
    let mut batch = batch(12, 5);
    batch.sources = vec![Arc::new(Frozen(tensor(&OTHER)))];
    let mut counts = [0; 2];
    let mut adversarials = Vec::new();
    for (row, (clean, label)) in images(&batch).iter().zip(&batch.labels).enumerate() {
        let drawn = batch.stream(row).random_range(0..2_usize);
        counts[drawn] += 1;
        adversarials.push(Inner::ONE_STEP.adversarial([&OTHER, &WEIGHTS][drawn], clean, *label as usize, &batch, row));
    }
    assert!(counts.iter().all(|count| *count > 2), "{counts:?}");
    agrees("ensemble-at", "eps = 0.2", &batch, &adversarials, |weights, clean, other, label| {
        0.5 * cross_entropy(weights, clean, label) + 0.5 * cross_entropy(weights, other, label)
    });
}

#[test]
fn free_training_moves_images_and_weights_at_once_and_carries_on() {
    let (eps, step_size, rate) = (0.2, 0.15, 0.5);
    let chosen = recipe("free-at", "eps = 0.2\nstep-size = 0.15\nreplays = 2");
    let entry = inventory::iter::<RecipeEntry>().find(|entry| entry.component.id == "free-at").unwrap();
    let mut free = (entry.build)(&chosen.values);
    let mut network = Linear::new(&WEIGHTS);
    let mut weights = WEIGHTS;
    let mut carried = [[0.0; 4]; 5];
    assert_eq!((free.replays(), free.state().unwrap()), (2, Vec::new()));
    // The third batch is smaller: it moves the first perturbations only, and the fourth starts from all of them.
    for (rows, seed) in [(5, 0), (5, 1), (2, 2), (5, 3)] {
        let batch = batch(rows, seed);
        for _ in 0..free.replays() {
            let Objective { loss, .. } = free.objective(&network, &batch).unwrap();
            let mut gradients = loss.clone().backward();
            free.learn(&mut gradients).unwrap();
            network.update(rate, &mut gradients);
            let (mut expected, mut step) = (0.0, [[0.0; 3]; 4]);
            for (row, clean) in images(&batch).iter().enumerate() {
                let label = batch.labels[row] as usize;
                let image: Image = std::array::from_fn(|pixel| (clean[pixel] + carried[row][pixel]).clamp(0.0, 1.0));
                expected += cross_entropy(&weights, &image, label) / rows as f64;
                let mut derivative = probabilities(&weights, &image);
                derivative[label] -= 1.0;
                for pixel in 0..4 {
                    (0..3).for_each(|class| step[pixel][class] += image[pixel] * derivative[class] / rows as f64);
                    let inside = (0.0..=1.0).contains(&(clean[pixel] + carried[row][pixel]));
                    let gradient: f64 = (0..3).map(|class| weights[pixel][class] * derivative[class]).sum();
                    let sign = if inside { gradient.signum() } else { 0.0 };
                    carried[row][pixel] = (carried[row][pixel] + step_size * sign).clamp(-eps, eps);
                }
            }
            for (weights, step) in weights.iter_mut().zip(step) {
                weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= rate * step);
            }
            let measured = f64::from(read(loss.inner()).unwrap()[0]);
            assert!((measured - expected).abs() < 2e-5, "{measured}, not {expected}");
        }
        // What another run of the program takes up goes on alike.
        let resumed = (entry.build)(&chosen.values);
        resumed.restore(&free.state().unwrap(), &Device::flex()).unwrap();
        free = resumed;
    }
    let error = free.restore(&[1, 2, 3], &Device::flex()).unwrap_err();
    assert!(!error.is_empty());
}
