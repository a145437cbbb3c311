//! Training recipes: what a network is shown, and which loss is lowered.

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;

use crate::random::{Purpose, StreamKey, stream};
use crate::{Stop, Trainable};

/// A way to train: a training-time defense, or none.
///
/// The trainer owns the loop and reads the number of epochs, the optimizer and the schedule from the same parameters.
pub trait Recipe: Send + Sync {
    /// The loss of a batch, on autodiff, such that its gradient updates the network.
    ///
    /// # Errors
    /// The device's own message when reading from it fails.
    fn objective(&self, network: &dyn Trainable, batch: &TrainingBatch) -> Result<Objective, Stop>;
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
    /// The seed of the training run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u32,
}

impl TrainingBatch {
    /// The random stream of a row in this epoch.
    pub fn stream(&self, row: usize) -> ChaCha8Rng {
        let (sample, restart) = (self.samples[row].into(), self.epoch.into());
        stream(StreamKey { seed: self.seed, purpose: Purpose::Training, sample, restart, step: 0 })
    }
}
