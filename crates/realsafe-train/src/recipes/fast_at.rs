//! Fast adversarial training (Fast AT): one step from a random point.
//!
//! ## What it does
//! The first point is uniform in the cube of radius `eps` around the clean image, cut at the box `[0, 1]`. One step along
//! the sign of the gradient of the cross-entropy, `step-ratio` times `eps` long, is projected onto cube and box
//! (linf). The update lowers the mean cross-entropy of the results; clean images are not shown. It is `pgd-at` with one
//! step and that length. The training accuracy is that on the adversarial images.
//!
//! Adversarial images are made against the network in evaluation state. The authors' code leaves it in training state,
//! which matters where it has batch norm or dropout.
//!
//! ## What an attacker sees
//! Much the same as after PGD-AT, unless training has failed by catastrophic overfitting: within an epoch or two the
//! accuracy under PGD falls to nothing, while the training accuracy jumps up. Longer steps, larger `eps` and more
//! epochs make that likelier. Nothing here looks for it, so evaluate with many steps.
//!
//! ## Cost
//! Twice that of standard training. The authors need few epochs with the `cyclic` schedule.
//!
//! ## Reference
//! Wong, Rice, Kolter: Fast is Better than Free: Revisiting Adversarial Training, ICLR 2020 (arXiv:2001.03994).

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind, Traits, Values};

use super::standard::Standard;
use crate::adversary::{Adversary, Aim, Start};
use crate::parameters::{EPS, LABEL_SMOOTHING, recipe_parameters};

struct FastTraining {
    adversary: Adversary,
    standard: Standard,
}

impl FastTraining {
    fn from(values: &Values) -> Self {
        let eps = values.number("eps");
        let adversary = Adversary::one_step(eps, eps * values.number("step-ratio"), Start::Ball);
        Self { adversary, standard: Standard::from(values) }
    }
}

impl Recipe for FastTraining {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Label)?;
        Ok(self.standard.of(images, network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "fast-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fast_at.rs"),
            parameters: recipe_parameters![
                EPS,
                Parameter {
                    name: "step-ratio",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 100.0 },
                    unit: "eps",
                    fallback: Fallback::Value("1.25"),
                    documentation: "The length of the step.",
                },
                LABEL_SMOOTHING,
            ],
            example: "eps = \"8/255\"\nepochs = 10\nschedule = \"cyclic\"",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(FastTraining::from(values)),
    }
}
