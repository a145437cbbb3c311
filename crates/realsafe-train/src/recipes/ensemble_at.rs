//! Ensemble adversarial training (Ens-AT): FGSM adversarial training with images from static networks as well.
//!
//! ## What it does
//! The update lowers `clean-weight` times the mean cross-entropy of clean images plus the rest times that of
//! perturbed ones. Each image is perturbed by one step `eps · sign ∇J` from the clean image, clipped to the box `[0, 1]`
//! (linf), against one of the networks that the spec names as `[[source]]`, or against the network in training itself;
//! which of them is drawn for every image anew, all with the same chance. So the network cannot make its own gradients useless
//! to escape, as it does in `fgsm-at`. The training accuracy is that on the perturbed images.
//!
//! The authors draw the network once per batch; here results do not depend on how samples are batched. Adversarial
//! images are made against the network in evaluation state.
//!
//! ## What an attacker sees
//! A network that resists transfer from networks like the sources better than one trained on its own adversarial
//! images, and that is nearly as easily broken by white-box attacks with many steps as a standard one.
//!
//! ## Cost
//! Three times that of standard training, with networks of the same size.
//!
//! ## Reference
//! Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel: Ensemble Adversarial Training: Attacks and Defenses,
//! ICLR 2018 (arXiv:1705.07204).

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::{Model, Objective, Recipe, RecipeEntry, Rows, Select, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits};

use super::fgsm_at::FgsmTraining;
use crate::adversary::Aim;
use crate::parameters::{CLEAN_WEIGHT, EPS, LABEL_SMOOTHING, recipe_parameters};

struct EnsembleTraining(FgsmTraining);

impl EnsembleTraining {
    /// The images of a batch, each perturbed against the network that is drawn for it.
    fn perturbed(&self, network: Arc<dyn Model>, batch: &TrainingBatch) -> Result<Tensor<4>, Stop> {
        let networks: Vec<&Arc<dyn Model>> = batch.sources.iter().chain([&network]).collect();
        let rows = 0..batch.labels.len();
        let drawn: Vec<usize> = rows.clone().map(|row| batch.stream(row).random_range(0..networks.len())).collect();
        let (mut parts, mut order) = (Vec::new(), Vec::new());
        for (number, network) in networks.into_iter().enumerate() {
            let own: Vec<usize> = rows.clone().filter(|&row| drawn[row] == number).collect();
            if !own.is_empty() {
                let part = chosen(batch, &own);
                parts.push(self.0.adversary.adversarials(network.clone(), &part, Aim::Label)?);
                order.extend(own);
            }
        }
        let mut places = vec![0; order.len()];
        order.into_iter().enumerate().for_each(|(place, row)| places[row] = place);
        Ok(Tensor::cat(parts, 0).choose(&Rows::new(places, &batch.images.device())))
    }
}

/// Some rows of a batch.
fn chosen(batch: &TrainingBatch, rows: &[usize]) -> TrainingBatch {
    let rows = Rows::new(rows.to_vec(), &batch.images.device());
    TrainingBatch {
        images: batch.images.choose(&rows),
        labels: batch.labels.choose(&rows),
        samples: batch.samples.choose(&rows),
        sources: Vec::new(),
        ..*batch
    }
}

impl Recipe for EnsembleTraining {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.perturbed(network.snapshot(), batch)?;
        Ok(self.0.of(images, network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "ensemble-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("ensemble_at.rs"),
            parameters: recipe_parameters![EPS, CLEAN_WEIGHT, LABEL_SMOOTHING],
            example: "eps = \"0.25\"\nepochs = 10",
            traits: Traits::RecipeWithSources,
        },
        build: |values| Box::new(EnsembleTraining(FgsmTraining::from(values))),
    }
}
