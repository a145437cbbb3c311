//! PGD adversarial training (PGD-AT): the network only ever sees images that PGD has perturbed against it.
//!
//! ## What it does
//! For each batch, `steps` steps `x ← project(x + step-size · direction)` raise the cross-entropy of the label, where
//! the direction is the sign of the gradient (linf) or the unit vector along it (l2), and the projection is onto the
//! ball of radius `eps` around the clean image and onto the box `[0, 1]`. The update then lowers the mean cross-entropy
//! of the results. With `random-start` the first point is uniform in the cube (linf), or a Gaussian direction times a
//! uniform radius (l2), drawn anew in every epoch. Clean images are not shown. The training accuracy is that on the
//! adversarial images, each batch before its update.
//!
//! Adversarial images are made against the network in evaluation state: batch norm uses its running statistics and
//! does not change them, dropout is off. The update is in training state, as usual.
//!
//! ## Cost
//! `steps` + 1 times that of standard training.
//!
//! ## Reference
//! Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018
//! (arXiv:1706.06083).

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits, Values};

use super::standard::Standard;
use crate::adversary::{Adversary, Aim, Start};
use crate::parameters::{EPS, EPS_WARM_UP, LABEL_SMOOTHING, NORM, RANDOM_START, STEP_SIZE, STEPS, recipe_parameters};

struct PgdTraining {
    adversary: Adversary,
    standard: Standard,
}

impl PgdTraining {
    fn from(values: &Values) -> Self {
        Self { adversary: Adversary::from(values, Start::of(values)), standard: Standard::from(values) }
    }
}

impl Recipe for PgdTraining {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Label)?;
        Ok(self.standard.of(images, network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "pgd-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("pgd_at.rs"),
            parameters: recipe_parameters![NORM, EPS, EPS_WARM_UP, STEPS, STEP_SIZE, RANDOM_START, LABEL_SMOOTHING],
            example: "eps = \"8/255\"\nsteps = 7\nstep-size = \"2/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(PgdTraining::from(values)),
    }
}
