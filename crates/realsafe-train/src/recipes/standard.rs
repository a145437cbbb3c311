//! Standard training: the cross-entropy of clean images, and no defense.
//!
//! ## What it does
//! In every epoch the samples are shuffled and cut into batches; each batch lowers its mean softmax cross-entropy by one
//! update. Images are shown as they are, unless `augmentation` says otherwise. The training accuracy is that on the
//! batches, each before its update.
//!
//! ## Cost
//! A forward and a backward pass of each sample in each epoch.

use burn::tensor::Tensor;
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits, Values};

use crate::losses::cross_entropy;
use crate::parameters::{LABEL_SMOOTHING, recipe_parameters};

/// The mean cross-entropy of images, whichever they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standard {
    smoothing: f64,
}

impl Standard {
    /// From the parameter `label-smoothing`.
    pub(crate) fn from(values: &Values) -> Self {
        Self { smoothing: values.number("label-smoothing") }
    }

    /// The objective for images `[n, channels, height, width]` with the labels of a batch.
    pub(crate) fn of(self, images: Tensor<4>, network: &dyn Trainable, batch: &TrainingBatch) -> Objective {
        let logits = network.forward(images.autodiff());
        Objective { loss: cross_entropy(logits.clone(), &batch.labels, self.smoothing), logits }
    }

    /// `share` times the objective for clean images plus the rest of that for adversarial ones, whose logits it has.
    pub(crate) fn mixture(
        self,
        share: f64,
        adversarials: Tensor<4>,
        network: &dyn Trainable,
        batch: &TrainingBatch,
    ) -> Objective {
        let clean = self.of(batch.images.clone(), network, batch);
        let adversarial = self.of(adversarials, network, batch);
        Objective { loss: clean.loss * share + adversarial.loss * (1.0 - share), logits: adversarial.logits }
    }
}

impl Recipe for Standard {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        Ok(self.of(batch.images.clone(), network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "standard",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("standard.rs"),
            parameters: recipe_parameters![LABEL_SMOOTHING],
            example: "epochs = 10\nschedule = \"cosine\"",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(Standard::from(values)),
    }
}
