//! Max-Mahalanobis-center adversarial training (AT-MMC): the features of perturbed images are drawn to a fixed centre.
//!
//! ## What it does
//! As in `mmc`, the update lowers the mean of `½ ‖z(x') - μ_y‖²`, here for adversarial images only: for each batch, `steps` steps
//! raise the same distance to the label's centre, by the sign of its gradient (linf) or the unit vector along it (l2) times
//! `step-size`, each projected onto the ball of radius `eps` around the clean image and onto the box `[0, 1]`. With
//! `random-start` the first point is uniform in the cube (linf), or a Gaussian direction times a uniform radius (l2). The
//! network needs `head = "max-mahalanobis"`. The training accuracy is that on the adversarial images.
//!
//! Adversarial images are made against the network in evaluation state.
//!
//! ## Cost
//! `steps` + 1 times that of standard training.
//!
//! ## Reference
//! Pang, Xu, Dong, Du, Chen, Zhu: Rethinking Softmax Cross-Entropy Loss for Adversarial Robustness, ICLR 2020
//! (arXiv:1905.10626): 10 steps.

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, Traits, Values};

use super::mmc::{check, distance};
use crate::adversary::{Adversary, Aim, Start};
use crate::parameters::{EPS, EPS_WARM_UP, NORM, RANDOM_START, STEP_SIZE, STEPS, recipe_parameters};

struct AdversarialCenter {
    adversary: Adversary,
}

impl AdversarialCenter {
    fn from(values: &Values) -> Self {
        Self { adversary: Adversary::from(values, Start::of(values)) }
    }
}

impl Recipe for AdversarialCenter {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        check(network)
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Distance)?;
        Ok(distance(images, network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "mmc-at",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mmc_at.rs"),
            parameters: recipe_parameters![
                NORM,
                EPS,
                EPS_WARM_UP,
                Parameter { fallback: Fallback::Value("10"), ..STEPS },
                STEP_SIZE,
                RANDOM_START,
            ],
            example: "eps = \"8/255\"\nsteps = 7\nstep-size = \"2/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(AdversarialCenter::from(values)),
    }
}
