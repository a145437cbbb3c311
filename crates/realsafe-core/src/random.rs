//! Random numbers that belong to a sample, not to a batch.
//!
//! A stream is keyed by what it is for, so results do not depend on how samples are batched, sharded or resumed,
//! and the same attack draws the same numbers however it is linked in.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Where an attack starts.
    Start = 0,
    /// What an attack draws at a step.
    Step = 1,
    /// Which class is the target.
    Target = 2,
    /// What training draws: order, initial weights, starting points.
    Training = 3,
}

/// The address of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamKey {
    /// The seed of the cell.
    pub seed: u64,
    /// What the stream is for.
    pub purpose: Purpose,
    /// The index of the sample in the dataset.
    pub sample: u64,
    /// The restart.
    pub restart: u64,
    /// The step.
    pub step: u64,
}

/// The generator of a stream.
pub fn stream(key: StreamKey) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("realsafe random stream 1");
    for word in [key.seed, key.purpose as u64, key.sample, key.restart, key.step] {
        hasher.update(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}
