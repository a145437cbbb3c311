//! What a plugin may ask of its host.

use crate::{Failure, FailureKind, Work};

/// The questions of an attack, as `realsafe_abi::RealsafeHost` lists them. Numbers are those of the ABI.
///
/// Image i belongs to row `rows[i]` of the batch. Lengths and row numbers are checked before.
pub trait Callbacks {
    /// The predicted class of each image, or `REALSAFE_NO_CLASS`.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    fn labels(&mut self, rows: &[u32], images: &[f32], role: u32) -> Result<Vec<u32>, Failure>;

    /// The logits of each image from a network.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    fn scores(&mut self, network: u32, rows: &[u32], images: &[f32], role: u32) -> Result<Vec<f32>, Failure>;

    /// The logits of each image, and the gradients of the objective.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    fn gradient(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        loss: u64,
        role: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), Failure>;

    /// The logits of each image, and the number of the tape that is kept of it.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    fn forward(&mut self, network: u32, rows: &[u32], images: &[f32], role: u32) -> Result<(Vec<f32>, u64), Failure>;

    /// The gradients of a tape's logits times cotangents. The tape is gone afterwards.
    ///
    /// # Errors
    /// Budget, cancellation, an unknown tape, or what failed.
    fn pull(&mut self, tape: u64, cotangents: &[f32]) -> Result<Vec<f32>, Failure>;

    /// Gives up a tape.
    ///
    /// # Errors
    /// An unknown tape.
    fn discard(&mut self, tape: u64) -> Result<(), Failure>;

    /// Fills with numbers from a stream of a row's sample.
    ///
    /// # Errors
    /// An unknown distribution.
    fn random(
        &mut self,
        row: u32,
        stream: u32,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Failure>;

    /// The seed of a stream of a row's sample.
    ///
    /// # Errors
    /// What failed.
    fn stream_seed(&mut self, row: u32, stream: u32) -> Result<[u8; 32], Failure>;

    /// Replaces gradients by directions of steepest ascent.
    ///
    /// # Errors
    /// What failed.
    fn steepest(&mut self, rows: &[u32], gradients: &mut [f32]) -> Result<(), Failure>;

    /// Projects images onto the ball of their rows, then onto the box.
    ///
    /// # Errors
    /// What failed.
    fn project(&mut self, rows: &[u32], images: &mut [f32]) -> Result<(), Failure>;

    /// What a row's sample may still spend during the call; `REALSAFE_UNLIMITED` where there is no limit.
    ///
    /// # Errors
    /// What failed.
    fn remaining(&mut self, row: u32) -> Result<Work, Failure>;

    /// Whether the user stopped the run.
    fn cancelled(&mut self) -> bool;

    /// Takes a message.
    fn log(&mut self, level: u32, message: &str);
}

/// The callbacks of components that are not attacks: none but messages, which nobody reads, and cancellation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoCallbacks;

fn closed<T>() -> Result<T, Failure> {
    Err(Failure::new(FailureKind::Unsupported, "only attacks may ask anything of their host"))
}

impl Callbacks for NoCallbacks {
    fn labels(&mut self, _: &[u32], _: &[f32], _: u32) -> Result<Vec<u32>, Failure> {
        closed()
    }

    fn scores(&mut self, _: u32, _: &[u32], _: &[f32], _: u32) -> Result<Vec<f32>, Failure> {
        closed()
    }

    fn gradient(&mut self, _: u32, _: &[u32], _: &[f32], _: u64, _: u32) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        closed()
    }

    fn forward(&mut self, _: u32, _: &[u32], _: &[f32], _: u32) -> Result<(Vec<f32>, u64), Failure> {
        closed()
    }

    fn pull(&mut self, _: u64, _: &[f32]) -> Result<Vec<f32>, Failure> {
        closed()
    }

    fn discard(&mut self, _: u64) -> Result<(), Failure> {
        closed()
    }

    fn random(&mut self, _: u32, _: u32, _: u32, _: f32, _: &mut [f32]) -> Result<(), Failure> {
        closed()
    }

    fn stream_seed(&mut self, _: u32, _: u32) -> Result<[u8; 32], Failure> {
        closed()
    }

    fn steepest(&mut self, _: &[u32], _: &mut [f32]) -> Result<(), Failure> {
        closed()
    }

    fn project(&mut self, _: &[u32], _: &mut [f32]) -> Result<(), Failure> {
        closed()
    }

    fn remaining(&mut self, _: u32) -> Result<Work, Failure> {
        closed()
    }

    fn cancelled(&mut self) -> bool {
        false
    }

    fn log(&mut self, _: u32, _: &str) {}
}
