//! MART: misclassification-aware adversarial training.
//!
//! ## What it does
//! The update lowers the mean over the batch of
//! `BCE(p(x'), y) + beta · KL(p(x) ‖ p(x')) · (1 - p_y(x))`, with the boosted cross-entropy
//! `BCE(p, y) = -log p_y - log(1 - max_{k≠y} p_k)`. So the network is pushed away from the strongest wrong class too, and its outputs
//! are held together most where the clean image is itself in doubt. Gradients flow through both outputs. `x'` is found
//! by `steps` projected steps that raise the cross-entropy of the label, from a Gaussian point of standard deviation
//! 0.001 around the clean image; steps are signs (linf) or unit vectors (l2) times `step-size`. The training accuracy
//! is that on the adversarial images.
//!
//! As in the authors' code, logarithms are of `1.0001 - p` and `p + 1e-12`, and the weight is `1.0000001 - p_y`; adversarial
//! images are made against the network in evaluation state. The update is in training state, clean images first.
//!
//! ## Cost
//! `steps` + 2 times that of standard training.
//!
//! ## Reference
//! Wang, Zou, Yi, Bailey, Ma, Gu: Improving Adversarial Robustness Requires Revisiting Misclassified Examples, ICLR 2020;
//! `beta` is λ there.

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use realsafe_core::{
    Logits, Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory, strongest_rival,
};
use realsafe_plan::{Component, Fallback, Origin, Parameter, Traits, Values};

use crate::adversary::{Adversary, Aim, Start};
use crate::losses::{cross_entropy, on_device};
use crate::parameters::{EPS, EPS_WARM_UP, NORM, STEP_SIZE, STEPS, recipe_parameters, weight};

struct Mart {
    adversary: Adversary,
    beta: f64,
}

impl Mart {
    fn from(values: &Values) -> Self {
        Self { adversary: Adversary::from(values, Start::NearClean), beta: values.number("beta") }
    }

    /// The loss from the logits of clean and adversarial images, `[n, classes]` each.
    fn loss(&self, clean: Tensor<2>, adversarial: Tensor<2>, labels: &[u32]) -> Result<Tensor<1>, Stop> {
        let device = adversarial.device();
        let rows = labels.len();
        let column = |classes: &[u32]| on_device(classes, &device).reshape([rows, 1]);
        let host = Logits::read(adversarial.clone().inner())?;
        let rivals: Vec<u32> =
            host.rows().zip(labels).map(|(logits, &label)| strongest_rival(logits, label as usize) as u32).collect();
        let labelled = cross_entropy(adversarial.clone(), labels, 0.0);
        let (clean, adversarial) = (softmax(clean, 1), softmax(adversarial, 1));
        let rival = adversarial.clone().gather(1, column(&rivals));
        let boosted = labelled - (-rival + 1.0001).log().mean();
        let logs = clean.clone().clamp_min(f32::MIN_POSITIVE).log() - (adversarial + 1e-12).log();
        let doubt = -clean.clone().gather(1, column(labels)) + 1.000_000_1;
        let robust = ((clean * logs).sum_dim(1) * doubt).mean();
        Ok(boosted + robust * self.beta)
    }
}

impl Recipe for Mart {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        let images = self.adversary.adversarials(network.snapshot(), batch, Aim::Label)?;
        let clean = network.forward(batch.images.clone().autodiff());
        let logits = network.forward(images.autodiff());
        Ok(Objective { loss: self.loss(clean, logits.clone(), &batch.labels)?, logits })
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "mart",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mart.rs"),
            parameters: recipe_parameters![
                NORM,
                EPS,
                EPS_WARM_UP,
                Parameter { fallback: Fallback::Value("10"), ..STEPS },
                STEP_SIZE,
                weight("beta", "", "5", "The weight of the divergence between clean and adversarial outputs."),
            ],
            example: "eps = \"8/255\"\nsteps = 10\nstep-size = \"2/255\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(Mart::from(values)),
    }
}
