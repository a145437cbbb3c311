//! Adam, row by row.

use burn::tensor::Tensor;
use realsafe_core::state;

/// How much of the mean of gradients is kept per step.
const KEPT_MEAN: f64 = 0.9;
/// How much of the mean of squared gradients is kept per step.
const KEPT_SQUARE: f64 = 0.999;

state! {
    /// The means of gradients and of their squares.
    pub(crate) struct Adam {
        mean: Tensor<4>,
        square: Tensor<4>,
    }
}

impl Adam {
    pub(crate) fn new(like: &Tensor<4>) -> Self {
        Self { mean: like.zeros_like(), square: like.zeros_like() }
    }

    /// The step along a gradient for a learning rate of 1, after `before` others. Entries that are not numbers count as zero.
    pub(crate) fn step(&mut self, gradient: Tensor<4>, before: u64) -> Tensor<4> {
        let unknown = gradient.clone().is_nan();
        let gradient = gradient.mask_fill(unknown, 0.0);
        self.mean = self.mean.clone() * KEPT_MEAN + gradient.clone() * (1.0 - KEPT_MEAN);
        self.square = self.square.clone() * KEPT_SQUARE + gradient.clone() * gradient * (1.0 - KEPT_SQUARE);
        let share = |kept: f64| 1.0 - kept.powf(before as f64 + 1.0);
        let root = self.square.clone().sqrt() / share(KEPT_SQUARE).sqrt() + 1e-8;
        self.mean.clone() / share(KEPT_MEAN) / root
    }
}
