//! Objectives of smooth networks against PyTorch in double precision; `tests/training/reference.py` makes the numbers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::activation::{log_softmax, tanh};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use realsafe_core::{Draws, Model, RecipeEntry, Stop, Trainable, TrainingBatch, TrainingState, inventory, read};

use super::{recipe, run, spec};

const NUMBERS: &str = include_str!("../../../../tests/training/reference.txt");
const ROWS: usize = 9;
const PIXELS: usize = 4;
const HIDDEN: usize = 5;
const CLASSES: usize = 4;

/// Two layers, each with its bias.
type Layers = [Tensor<2>; 4];

fn wave(shape: [usize; 2], first: usize, scale: f64) -> Tensor<2> {
    let values = (0..shape[0] * shape[1]).map(|place| (scale * ((first + place) as f64).sin()) as f32);
    Tensor::from_data(TensorData::new(values.collect(), shape), &Device::flex())
}

fn layers(member: usize) -> Layers {
    let shift = 100 * member;
    [
        wave([PIXELS, HIDDEN], 1 + shift, 1.2),
        wave([1, HIDDEN], 40 + shift, 0.3),
        wave([HIDDEN, CLASSES], 60 + shift, 1.2),
        wave([1, CLASSES], 90 + shift, 0.2),
    ]
}

fn logits([first, first_bias, second, second_bias]: &Layers, images: Tensor<4>) -> Tensor<2> {
    let hidden = tanh(images.flatten::<2>(1, 3).matmul(first.clone()) + first_bias.clone());
    hidden.matmul(second.clone()) + second_bias.clone()
}

/// A network, or several that are asked together.
struct Smooth(Vec<Layers>);

impl Smooth {
    fn new(members: usize) -> Self {
        Self((0..members).map(|member| layers(member).map(|layer| layer.autodiff().require_grad())).collect())
    }
}

impl Model for Smooth {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        Ok(Trainable::forward(self, images))
    }
}

impl Trainable for Smooth {
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match &self.0[..] {
            [single] => logits(single, images),
            members => {
                let outputs = members.iter().map(|member| log_softmax(logits(member, images.clone()), 1).exp());
                outputs.reduce(|sum, part| sum + part).unwrap().log()
            }
        }
    }

    fn has_members(&self) -> bool {
        self.0.len() > 1
    }

    fn member_logits(&self, images: Tensor<4>) -> Option<Vec<Tensor<2>>> {
        Some(self.0.iter().map(|member| logits(member, images.clone())).collect())
    }

    fn update(&mut self, _: f64, _: &mut Gradients) {
        unreachable!("only the trainer updates")
    }

    fn snapshot(&self) -> Arc<dyn Model> {
        Arc::new(Self(self.0.iter().map(|layers| layers.clone().map(Tensor::inner)).collect()))
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

fn batch() -> TrainingBatch {
    let pixel = |place: usize| {
        let (row, pixel) = (place / PIXELS, place % PIXELS);
        (0.5 + 0.45 * ((7 * row + 3 * pixel) as f64 + 0.5).sin()) as f32
    };
    let pixels: Vec<f32> = (0..ROWS * PIXELS).map(pixel).collect();
    TrainingBatch {
        images: Tensor::from_data(TensorData::new(pixels, [ROWS, 1, 2, 2]), &Device::flex()),
        labels: (0..ROWS).map(|row| (row % CLASSES) as u32).collect(),
        samples: (0..ROWS as u32).collect(),
        sources: Vec::new(),
        seed: 0,
        epoch: 0,
        time: 0.5,
    }
}

/// The loss of a recipe and its derivatives, against the line of that name.
fn agrees(line: &str, name: &str, table: &str, members: usize) {
    let numbers = NUMBERS.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' ')).unwrap();
    let numbers: Vec<f64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    let network = Smooth::new(members);
    let entry = inventory::iter::<RecipeEntry>().find(|entry| entry.component.id == name).unwrap();
    let loss = (entry.build)(&recipe(name, table).values).objective(&network, &batch()).unwrap().loss;
    let mut found = read(loss.clone().inner()).unwrap();
    let mut gradients = loss.backward();
    for layer in network.0.iter().flatten() {
        found.extend(read(layer.grad_remove(&mut gradients).unwrap()).unwrap());
    }
    assert_eq!(found.len(), numbers.len(), "{line}");
    let scale = numbers.iter().fold(0.0_f64, |scale, number| scale.max(number.abs()));
    for (place, (found, expected)) in found.into_iter().zip(numbers).enumerate() {
        assert!((f64::from(found) - expected).abs() < 1e-3 * scale, "{line} {place}: {found}, not {expected}");
    }
}

/// The reference differentiates gradients; here they are differences of outputs.
#[test]
fn deep_defense_differentiates_distances_to_boundaries() {
    let table = "c = 5\nd = 2\nlambda = 2";
    agrees("deep-defense-1", "deep-defense", &format!("{table}\nsteps = 1"), 1);
    agrees("deep-defense-3", "deep-defense", &format!("{table}\nsteps = 3"), 1);
}

#[test]
fn adaptive_diversity_is_entropy_and_determinant() {
    agrees("adp", "adp", "alpha = 2\nbeta = 0.5", 3);
}

#[test]
fn deep_defense_refuses_networks_that_draw_numbers() {
    let mut refused = spec("digits-deep-defense.toml", &[]);
    refused.model = spec("digits-random-self-ensemble.toml", &[]).model;
    let error = run(&refused, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("cannot train the model: it draws random numbers in training"), "{error}");
}
