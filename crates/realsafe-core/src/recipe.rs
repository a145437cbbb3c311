//! Training recipes: what a network is shown, and which loss is lowered.

use std::sync::Arc;

use burn::tensor::{Device, Gradients, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::random::{Purpose, StreamKey, stream};
use crate::{Model, Stop, Trainable};

/// A way to train: a training-time defense, or none.
///
/// The trainer owns the loop and reads the number of epochs, the optimizer and the schedule from the same parameters.
pub trait Recipe: Send + Sync {
    /// Whether the recipe can train this network; asked before anything is trained.
    ///
    /// # Errors
    /// A message that says what the network lacks, and which networks have it.
    fn check(&self, _network: &dyn Trainable) -> Result<(), String> {
        Ok(())
    }

    /// The loss of a batch, on autodiff, such that its gradient updates the network.
    ///
    /// # Errors
    /// The device's own message when reading from it fails.
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop>;

    /// How many updates are made of each batch, one objective each.
    fn replays(&self) -> u64 {
        1
    }

    /// Takes what the recipe wants from the backward pass of its last objective, before the network is updated.
    ///
    /// # Errors
    /// The device's own message when it fails.
    fn learn(&self, _gradients: &mut Gradients) -> Result<(), Stop> {
        Ok(())
    }

    /// What the recipe itself carries from batch to batch, in a format that only [`Recipe::restore`] reads.
    ///
    /// # Errors
    /// The device's own message when reading from it fails.
    fn state(&self) -> Result<Vec<u8>, Stop> {
        Ok(Vec::new())
    }

    /// Takes up a state; what follows is as if it had never been left.
    ///
    /// # Errors
    /// What is damaged.
    fn restore(&self, state: &[u8], _device: &Device) -> Result<(), String> {
        if state.is_empty() { Ok(()) } else { Err("it has a state of a recipe that has none".to_owned()) }
    }
}

/// What a recipe makes of a batch.
pub struct Objective {
    /// The mean loss, on autodiff.
    pub loss: Tensor<1>,
    /// The logits `[n, classes]` whose accuracy is told as the training accuracy.
    pub logits: Tensor<2>,
}

/// The samples of one update.
pub struct TrainingBatch {
    /// The images `[n, channels, height, width]`, not on autodiff.
    pub images: Tensor<4>,
    /// The true class of each row.
    pub labels: Vec<u32>,
    /// The index of each row in the dataset.
    pub samples: Vec<u32>,
    /// The static networks of the spec, for recipes that need them.
    pub sources: Vec<Arc<dyn Model>>,
    /// The seed of the training run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u32,
    /// The share of the run that is over, from 0 to 1.
    pub time: f64,
}

impl TrainingBatch {
    /// The random stream of a row in this epoch.
    pub fn stream(&self, row: usize) -> ChaCha8Rng {
        let (sample, restart) = (self.samples[row].into(), self.epoch.into());
        stream(StreamKey { seed: self.seed, purpose: Purpose::Training, sample, restart, step: 0 })
    }
}
