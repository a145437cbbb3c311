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
    Start,
    /// What an attack draws at a step.
    Step,
    /// Which class is the target.
    Target,
    /// What training draws: order, initial weights, starting points.
    Training,
    /// What randomised defenses draw when an attack asks.
    Defense,
    /// What randomised defenses draw when a result is judged.
    Verification,
    /// What proofs that rest on random draws draw.
    Certificate,
    /// What a plugin numbers itself.
    Own(u32),
}

impl Purpose {
    /// The first of the numbers that are free for plugins.
    pub const FIRST_OWN: u32 = 256;

    const fn number(self) -> u64 {
        match self {
            Self::Start => 0,
            Self::Step => 1,
            Self::Target => 2,
            Self::Training => 3,
            Self::Defense => 4,
            Self::Verification => 5,
            Self::Certificate => 6,
            Self::Own(number) => Self::FIRST_OWN as u64 + number as u64,
        }
    }
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
    ChaCha8Rng::from_seed(seed(key))
}

/// What the generator of a stream is seeded with.
pub fn seed(key: StreamKey) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("realsafe random stream 1");
    for word in [key.seed, key.purpose.number(), key.sample, key.restart, key.step] {
        hasher.update(&word.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}
