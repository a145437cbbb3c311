//! Max-Mahalanobis-center training (MMC): features are drawn to a fixed centre of their class.
//!
//! ## What it does
//! The update lowers the mean over the batch of `½ ‖z(x) - μ_y‖²`, where `z` are the features of the network and `μ_y` is the
//! centre of the label: fixed, equally long, and as far apart as centres can be. The network's logits are
//! `-‖z - μ_k‖²`, so that it predicts the nearest centre. It needs `head = "max-mahalanobis"` in the table of the model, with
//! `feature-dimension` and `centre-norm`. Unlike the softmax cross-entropy, the loss does not look at other classes, and
//! features of a class gather densely around its centre. Images are shown as they are, unless `augmentation` says otherwise. The
//! training accuracy is that on the batches, each before its update.
//!
//! It is a defense whose robustness falls under attacks that know it: a softmax over such logits saturates. Attack it with the
//! loss `max-mahalanobis` or `margin`, not with the cross-entropy alone.
//!
//! ## Cost
//! That of standard training.
//!
//! ## Reference
//! Pang, Xu, Dong, Du, Chen, Zhu: Rethinking Softmax Cross-Entropy Loss for Adversarial Robustness, ICLR 2020
//! (arXiv:1905.10626): centres of norm 10 in 256 dimensions, SGD with momentum at a learning rate of 0.01.

use burn::tensor::Tensor;
use realsafe_core::{Objective, Recipe, RecipeEntry, Stop, Trainable, TrainingBatch, inventory};
use realsafe_plan::{Component, Origin, Traits};

use crate::losses::on_device;
use crate::parameters::recipe_parameters;

/// Whether a network has the centres that the loss needs.
///
/// # Errors
/// Which parameter gives it centres.
pub(super) fn check(network: &dyn Trainable) -> Result<(), String> {
    if network.has_centres() {
        return Ok(());
    }
    let message = "this recipe draws features to fixed centres, and the network has none: add `head = \"max-mahalanobis\"` to \
                   a [[model]] that has that parameter, such as `digits-cnn`, `lenet`, `cifar-resnet` or `cifar-resnet-v2`";
    Err(message.to_owned())
}

/// The objective for images `[n, channels, height, width]` with the labels of a batch: half the mean squared distance to the
/// label's centre, which is minus half the label's logit.
pub(super) fn distance(images: Tensor<4>, network: &dyn Trainable, batch: &TrainingBatch) -> Objective {
    let logits = network.forward(images.autodiff());
    let labels = on_device(&batch.labels, &logits.device()).reshape([batch.labels.len(), 1]);
    Objective { loss: logits.clone().gather(1, labels).mean() * -0.5, logits }
}

struct MaxMahalanobisCenter;

impl Recipe for MaxMahalanobisCenter {
    fn check(&self, network: &dyn Trainable) -> Result<(), String> {
        check(network)
    }

    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop> {
        Ok(distance(batch.images.clone(), network, batch))
    }
}

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "mmc",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mmc.rs"),
            parameters: recipe_parameters![],
            example: "epochs = 10\nlearning-rate = \"0.001\"",
            traits: Traits::Recipe,
        },
        build: |_| Box::new(MaxMahalanobisCenter),
    }
}
