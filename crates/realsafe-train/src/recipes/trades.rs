//! TRADES: accuracy on clean images, and outputs that change little around them, with a price between both.
//!
//! ## What it does
//! The update lowers `CE(f(x), y) + beta · KL(f(x) ‖ f(x'))`, both as means over the batch: the cross-entropy of clean
//! images, and the Kullback-Leibler divergence of the probabilities at an adversarial image `x'` from those at the
//! clean one. Gradients flow through both outputs. `x'` is found by `steps` projected steps that raise that same divergence,
//! whatever the label, from a Gaussian point of standard deviation 0.001 around the clean image: at the clean image
//! itself the gradient is zero. Steps are signs (linf) or unit vectors (l2) times `step-size`. The training accuracy is that on
//! clean images. With beta 0 it is standard training.
//!
//! Adversarial images are made against the network in evaluation state, as by the authors. The update is in training
//! state, clean images first: batch norm takes statistics of each kind of images on its own. In l2, the authors
//! optimise with momentum-free gradient descent of a length derived from eps and steps; here steps are as long as
//! `step-size` says.
//!
//! ## Cost
//! `steps` + 2 times that of standard training.
//!
//! ## Reference
//! Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan: Theoretically Principled Trade-off between Robustness and Accuracy,
//! ICML 2019 (arXiv:1901.08573); `beta` is 1/λ there.

use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, Traits, Values};

use super::standard::Standard;
use crate::adversary::{Adversary, Aim, Start};
use crate::losses::divergence;
use crate::parameters::{EPS, EPS_WARM_UP, LABEL_SMOOTHING, NORM, STEP_SIZE, STEPS, recipe_parameters, weight};

struct Trades {
    adversary: Adversary,
    beta: f64,
    standard: Standard,
}

impl Trades {
    fn from(values: &Values) -> Self {
        Self {
            adversary: Adversary::from(values, Start::NearClean),
            beta: values.number("beta"),
            standard: Standard::from(values),
        }
    }
}

impl Recipe for Trades {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::CleanOutput)?;
        let Objective { loss, logits } = self.standard.of(batch.images.clone(), network, batch);
        let adversarial = network.forward(images.autodiff());
        let robust = divergence(logits.clone(), adversarial).mean();
        Ok(Objective { loss: loss + robust * self.beta, logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "trades",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("trades.rs"),
            parameters: recipe_parameters![
                NORM,
                EPS,
                EPS_WARM_UP,
                Parameter { fallback: Fallback::Value("10"), ..STEPS },
                STEP_SIZE,
                weight("beta", "", "6", "The weight of the divergence; more is more robust and less accurate."),
                LABEL_SMOOTHING,
            ],
            example: "eps = \"8/255\"\nsteps = 10\nstep-size = \"2/255\"\nbeta = 6\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(Trades::from(values)),
    }
}
