//! What randomised defenses draw.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;

use crate::random::{Purpose, StreamKey, stream};

/// 2^64 divided by the golden ratio, odd.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The random numbers of one pass of some images through a defended model: fresh for every pass of a sample, and the
/// same whenever the run is repeated, whatever other samples are around.
#[derive(Clone, Debug)]
pub struct Draws {
    keys: Vec<StreamKey>,
}

impl Draws {
    /// Of samples of a dataset, each at its own pass, counted from 0.
    pub fn new(seed: u64, purpose: Purpose, passes: impl IntoIterator<Item = (u32, u64)>) -> Self {
        let key =
            |(sample, pass): (u32, u64)| StreamKey { seed, purpose, sample: sample.into(), restart: pass, step: 0 };
        Self { keys: passes.into_iter().map(key).collect() }
    }

    /// Of so many images that belong to no sample, for defenses that draw nothing.
    pub fn none(rows: usize) -> Self {
        Self::new(0, Purpose::Verification, (0..).take(rows).map(|row| (row, 0)))
    }

    /// The stream of a row.
    pub fn stream(&self, row: usize) -> ChaCha8Rng {
        stream(self.keys[row])
    }

    /// Those of one defense of a stack, outermost first; the model comes last.
    pub(crate) fn of_layer(&self, layer: usize) -> Self {
        self.of_part(layer as u64)
    }

    /// Those of one of many parts of a pass, such as one member of an ensemble: independent of those of all other parts,
    /// and of parts of parts, however deep.
    pub fn of_part(&self, part: u64) -> Self {
        // Numbers of the path as digits of a number in an odd base that no sum of few small numbers comes near.
        let step = |key: &StreamKey| key.step.wrapping_mul(GOLDEN_RATIO).wrapping_add(part + 1);
        Self { keys: self.keys.iter().map(|key| StreamKey { step: step(key), ..*key }).collect() }
    }

    /// Those of some rows, the last one repeated up to a count.
    pub(crate) fn cut(&self, rows: Range<usize>, padded: usize) -> Self {
        let last = self.keys[rows.end - 1];
        let mut keys = self.keys[rows].to_vec();
        keys.resize(padded, last);
        Self { keys }
    }
}
