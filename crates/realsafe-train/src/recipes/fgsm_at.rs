//! FGSM adversarial training (FGSM-AT): clean images together with those that one full step has perturbed.
//!
//! ## What it does
//! The update lowers `α J(x) + (1 - α) J(x + eps · sign ∇J(x))`, where `J` is the mean cross-entropy of a batch and α is
//! `clean-weight`; the step starts from the clean image, in linf, and its result is clipped to the box `[0, 1]`. The
//! training accuracy is that on the adversarial images.
//!
//! Adversarial images are made against the network in evaluation state. The update is in training state, clean images
//! first: batch norm takes statistics of each kind of images on its own.
//!
//! ## What an attacker sees
//! Usually a network that resists the very step that it was trained on, and little else. Accuracy under FGSM may even
//! exceed clean accuracy: a single step from a clean image depends on the label, and the network learns to read the label from
//! it (label leaking). Many small steps from a random point are the test.
//!
//! ## Cost
//! Three times that of standard training.
//!
//! ## References
//! Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015 (arXiv:1412.6572), with
//! α = 0.5.
//! Kurakin, Goodfellow, Bengio: Adversarial Machine Learning at Scale, ICLR 2017 (arXiv:1611.01236): label leaking.

use burn::tensor::Tensor;
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits, Values};

use super::standard::Standard;
use crate::adversary::{Adversary, Aim, Start};
use crate::parameters::{CLEAN_WEIGHT, EPS, LABEL_SMOOTHING, recipe_parameters};

/// Clean images together with those that one full step has perturbed, whoever the step is made against.
pub(super) struct FgsmTraining {
    pub(super) adversary: Adversary,
    clean_weight: f64,
    standard: Standard,
}

impl FgsmTraining {
    pub(super) fn from(values: &Values) -> Self {
        let eps = values.number("eps");
        Self {
            adversary: Adversary::one_step(eps, eps, Start::Clean),
            clean_weight: values.number("clean-weight"),
            standard: Standard::from(values),
        }
    }

    /// The objective for a batch and its perturbed images.
    pub(super) fn of(&self, images: Tensor<4>, network: &dyn Trainable, batch: &TrainingBatch) -> Objective {
        self.standard.mixture(self.clean_weight, images, network, batch)
    }
}

impl Recipe for FgsmTraining {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Label)?;
        Ok(self.of(images, network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "fgsm-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fgsm_at.rs"),
            parameters: recipe_parameters![EPS, CLEAN_WEIGHT, LABEL_SMOOTHING],
            example: "eps = \"0.25\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(FgsmTraining::from(values)),
    }
}
