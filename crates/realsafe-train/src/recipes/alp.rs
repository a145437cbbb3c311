//! Adversarial logit pairing (ALP): clean and adversarial images are to have the same logits.
//!
//! ## What it does
//! The update lowers the cross-entropy of clean and adversarial images, `clean-weight` telling their shares, plus
//! `pairing-weight` times the mean, over batch and classes, of the squared difference between the logits of each clean image
//! and of its adversarial one. Adversarial images are those of `pgd-at`, untargeted. Clean and adversarial images go
//! through the network together, so that batch norm takes its statistics over both. The training accuracy is that on the
//! adversarial images. Without pairing it is mixed-minibatch PGD.
//!
//! Adversarial images are made against the network in evaluation state, as by the authors. On ImageNet they attack
//! towards the least likely or a random class; here the cross-entropy of the label is raised, as on their MNIST.
//!
//! ## What an attacker sees
//! Gradients that are much harder to follow: many more steps are needed than against PGD-AT. The published ImageNet model fell to PGD with
//! 1000 steps (Engstrom, Ilyas, Athalye 2018, arXiv:1807.10272). Attack it with many steps and restarts.
//!
//! ## Cost
//! `steps` + 2 times that of standard training.
//!
//! ## Reference
//! Kannan, Kurakin, Goodfellow: Adversarial Logit Pairing, 2018 (arXiv:1803.06373).

use burn::tensor::Tensor;
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits, Values};

use crate::adversary::{Adversary, Aim, Start};
use crate::losses::cross_entropy;
use crate::parameters::{
    CLEAN_WEIGHT, EPS, EPS_WARM_UP, LABEL_SMOOTHING, NORM, RANDOM_START, STEP_SIZE, STEPS, recipe_parameters, weight,
};

struct LogitPairing {
    adversary: Adversary,
    clean_weight: f64,
    pairing_weight: f64,
    smoothing: f64,
}

impl LogitPairing {
    fn from(values: &Values) -> Self {
        Self {
            adversary: Adversary::from(values, Start::of(values)),
            clean_weight: values.number("clean-weight"),
            pairing_weight: values.number("pairing-weight"),
            smoothing: values.number("label-smoothing"),
        }
    }
}

impl Recipe for LogitPairing {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Label)?;
        let rows = batch.labels.len();
        let both = network.forward(Tensor::cat(vec![batch.images.clone(), images], 0).autodiff());
        let clean = both.clone().narrow(0, 0, rows);
        let logits = both.narrow(0, rows, rows);
        let loss = |logits: &Tensor<2>| cross_entropy(logits.clone(), &batch.labels, self.smoothing);
        let labelled = loss(&clean) * self.clean_weight + loss(&logits) * (1.0 - self.clean_weight);
        let paired = (clean - logits.clone()).powi_scalar(2).mean();
        Ok(Objective { loss: labelled + paired * self.pairing_weight, logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "alp",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("alp.rs"),
            parameters: recipe_parameters![
                NORM,
                EPS,
                EPS_WARM_UP,
                STEPS,
                STEP_SIZE,
                RANDOM_START,
                CLEAN_WEIGHT,
                weight("pairing-weight", "per squared logit", "0.5", "The weight of the mean squared difference between paired logits."),
                LABEL_SMOOTHING,
            ],
            example: "eps = \"8/255\"\nsteps = 7\nstep-size = \"2/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(LogitPairing::from(values)),
    }
}
