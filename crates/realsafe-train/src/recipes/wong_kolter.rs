//! The dual bound of Wong and Kolter: certified training on the convex outer adversarial polytope.
//!
//! ## What it does
//! The update lowers `CE(ẑ, y)`. `ẑ` are the worst logits that the bounds cannot exclude for the images within `eps` of `x` (linf) in
//! the box `[0, 1]`: zero for the label, and for every other class minus a lower bound of the label's lead over it. Where
//! all leads are above zero, no image in the cube is misclassified, and that is a proof. Nothing is attacked. With `clean-weight` the
//! cross-entropy of the clean images has a share of the loss.
//!
//! Every relu that may be on either side of zero is replaced by a convex set, the triangle above it; a feasible solution of the dual
//! of the linear program over these sets, computed in one backward pass through the layers, is the bound. The ends of each
//! layer's inputs are found in the same way. They are cut to intervals where these are tighter, and to the box, which the
//! authors do not do; max-pooling has linear bounds of its own. `certificate` with
//! `bounds = "duality"` proves by the same bounds.
//!
//! The radius grows linearly from zero to `eps` during `eps-warm-up`. The training accuracy is that on the clean images.
//!
//! Layers of more than 2²⁴ products of inputs and outputs are bounded by intervals, as the convolutions of `lenet` and `small-cnn`.
//! Bounds go through the networks through which intervals do, which `interval-bound-propagation` names. Others are refused.
//!
//! ## Cost
//! Memory and time grow with the product of the sizes of neighbouring layers: a batch of 16 in `digits-cnn` takes about 2 GiB.
//! Take small batches.
//!
//! ## Reference
//! Wong, Kolter: Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope, ICML 2018
//! (arXiv:1711.00851).

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, Traits, Values};

use super::interval_bound_propagation::check;
use crate::losses::cross_entropy;
use crate::parameters::{CLEAN_WEIGHT, EPS, EPS_WARM_UP, recipe_parameters};
use crate::schedule::grown;

struct DualTraining {
    eps: f64,
    warm_up: f64,
    clean_weight: f64,
}

impl DualTraining {
    fn from(values: &Values) -> Self {
        Self {
            eps: values.number("eps"),
            warm_up: values.number("eps-warm-up"),
            clean_weight: values.number("clean-weight"),
        }
    }
}

impl Recipe for DualTraining {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        check(network)
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let eps = self.eps * grown(batch.time, self.warm_up);
        let images = batch.images.clone().autodiff();
        let logits = network.forward(images.clone());
        let margins = network
            .dual_margins(images, &batch.labels, eps)
            .expect("a network without bounds was refused before anything was trained");
        let clean = cross_entropy(logits.clone(), &batch.labels, 0.0);
        let worst = cross_entropy(-margins, &batch.labels, 0.0);
        Ok(Objective { loss: clean * self.clean_weight + worst * (1.0 - self.clean_weight), logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "wong-kolter",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("wong_kolter.rs"),
            parameters: recipe_parameters![
                EPS,
                EPS_WARM_UP,
                Parameter {
                    fallback: Fallback::Value("0"),
                    documentation: "The share of the clean images in the loss; the worst logits have the rest.",
                    ..CLEAN_WEIGHT
                },
            ],
            example: "eps = \"0.1\"\nepochs = 1\nbatch-size = 8",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(DualTraining::from(values)),
    }
}
