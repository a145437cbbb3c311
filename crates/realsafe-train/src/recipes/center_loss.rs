//! Center loss: cross-entropy, and features that stay close to a learned centre of their class.
//!
//! ## What it does
//! The update lowers the mean over the batch of `CE(z(x), y) + lambda/2 ‖f(x) - c_y‖²`, where `f` are the features that the last
//! linear layer is given. Centres `c_k` start at zero and are moved after each batch, towards the mean of the features
//! of their class in it: by `centre-rate · Σ (f - c_k) / (1 + count)` over the images of the class. They are part of
//! the checkpoint, and not of the weights. Images are shown as they are, unless `augmentation` says otherwise. The training
//! accuracy is that on the batches, each before its update.
//!
//! It is the baseline of `mmc`, whose centres are fixed and far apart. It needs a network that tells its features:
//! `digits-cnn`, `lenet`, `cifar-resnet` or `cifar-resnet-v2`.
//!
//! ## Cost
//! That of standard training.
//!
//! ## Reference
//! Wen, Zhang, Li, Qiao: A Discriminative Feature Learning Approach for Deep Face Recognition, ECCV 2016.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory, read};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use crate::losses::{cross_entropy, on_device};
use crate::parameters::{recipe_parameters, weight};

struct CenterLoss {
    lambda: f64,
    rate: f64,
    carried: Mutex<Carried>,
}

#[derive(Default)]
struct Carried {
    /// The centres, class after class; empty before the first batch.
    centres: Vec<f32>,
    /// Features `[n, features]` and labels of the last objective.
    last: Option<(Tensor<2>, Vec<u32>)>,
}

impl CenterLoss {
    fn from(values: &Values) -> Self {
        Self { lambda: values.number("lambda"), rate: values.number("centre-rate"), carried: Mutex::default() }
    }

    fn carried(&self) -> MutexGuard<'_, Carried> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves every centre towards the features of its class.
#[expect(clippy::cast_possible_truncation, reason = "centres are single precision, as features are")]
fn moved(centres: &mut [f32], features: &[f32], labels: &[u32], rate: f64) {
    let width = features.len() / labels.len();
    for (class, centre) in centres.chunks_exact_mut(width).enumerate() {
        let own = || features.chunks_exact(width).zip(labels).filter(|(_, label)| **label as usize == class);
        let count = own().count() as f64;
        for (place, value) in centre.iter_mut().enumerate() {
            let away: f64 = own().map(|(feature, _)| f64::from(feature[place]) - f64::from(*value)).sum();
            *value += (rate * away / (1.0 + count)) as f32;
        }
    }
}

impl Recipe for CenterLoss {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        if network.tells_features() {
            return Ok(());
        }
        Err("it does not tell its features; take `digits-cnn`, `lenet`, `cifar-resnet` or `cifar-resnet-v2`".to_owned())
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let [features, logits] = network
            .features_and_logits(batch.images.clone().autodiff())
            .expect("a network without features was refused before anything was trained");
        let ([_, width], [_, classes]) = (features.dims(), logits.dims());
        let mut carried = self.carried();
        if carried.centres.is_empty() {
            carried.centres = vec![0.0; classes * width];
        }
        let device = features.device();
        let data = TensorData::new(carried.centres.clone(), [classes, width]);
        let own = Tensor::<2>::from_data(data, &device).select(0, on_device(&batch.labels, &device));
        let distances = (features.clone() - own).square().sum_dim(1).mean();
        carried.last = Some((features.inner(), batch.labels.clone()));
        let loss = cross_entropy(logits.clone(), &batch.labels, 0.0) + distances * (0.5 * self.lambda);
        Ok(Objective { loss, logits })
    }

    fn learn(&self, _: &mut Gradients) -> Result<(), Stop> {
        let mut carried = self.carried();
        if let Some((features, labels)) = carried.last.take() {
            moved(&mut carried.centres, &read(features)?, &labels, self.rate);
        }
        Ok(())
    }

    fn state(&self) -> Result<Vec<u8>, Stop> {
        Ok(self.carried().centres.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn restore(&self, state: &[u8], _: &Device) -> Result<(), String> {
        let (values, rest) = state.as_chunks::<4>();
        if !rest.is_empty() {
            return Err("its centres are cut off".to_owned());
        }
        self.carried().centres = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(())
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "center-loss",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("center_loss.rs"),
            parameters: recipe_parameters![
                weight("lambda", "", "0.003", "The weight of the squared distances to the centres."),
                Parameter {
                    name: "centre-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "",
                    fallback: Fallback::Value("0.5"),
                    documentation: "How far centres follow the features of their class after each batch.",
                },
            ],
            example: "lambda = \"0.01\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(CenterLoss::from(values)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_follow_the_features_of_their_class_only() {
        let mut centres = vec![1.0, 2.0, 0.0, 0.0, 5.0, 5.0];
        // Two of class 0, one of class 1, none of class 2.
        moved(&mut centres, &[2.0, 2.0, 4.0, 0.0, 1.0, -1.0], &[0, 0, 1], 0.6);
        let expected = [1.0 + 0.6 * 4.0 / 3.0, 2.0 - 0.6 * 2.0 / 3.0, 0.3, -0.3, 5.0, 5.0];
        assert!(centres.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{centres:?}");
    }
}
