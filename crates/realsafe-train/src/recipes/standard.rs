//! Standard training: the cross-entropy of clean images, and no defense.
//!
//! ## What it does
//! In every epoch the samples are shuffled and cut into batches; each batch lowers its mean softmax cross-entropy by one
//! update. Images are shown as they are, without augmentation. The training accuracy is that on the batches, each
//! before its update.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Tensor, TensorData};
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits};

use crate::parameters::{
    BATCH_SIZE, DECAY, EPOCHS, LEARNING_RATE, MILESTONES, MOMENTUM, OPTIMIZER, SCHEDULE, WEIGHT_DECAY,
};

/// The mean cross-entropy of images `[n, channels, height, width]` with the labels of a batch.
pub(crate) fn cross_entropy(network: &dyn Trainable, images: Tensor<4>, batch: &TrainingBatch) -> Objective {
    let images = images.autodiff();
    let device = images.device();
    let labels: Vec<i64> = batch.labels.iter().map(|&label| label.into()).collect();
    let labels = Tensor::from_data(TensorData::from(labels.as_slice()), &device);
    let logits = network.forward(images);
    Objective { loss: CrossEntropyLossConfig::new().init(&device).forward(logits.clone(), labels), logits }
}

struct Standard;

impl Recipe for Standard {
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        Ok(cross_entropy(network, batch.images.clone(), batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "standard",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("standard.rs"),
            parameters: &[
                EPOCHS,
                BATCH_SIZE,
                OPTIMIZER,
                LEARNING_RATE,
                MOMENTUM,
                WEIGHT_DECAY,
                SCHEDULE,
                MILESTONES,
                DECAY,
            ],
            example: "epochs = 10\nschedule = \"cosine\"",
            traits: Traits::Recipe,
        },
        build: |_| Box::new(Standard),
    }
}
