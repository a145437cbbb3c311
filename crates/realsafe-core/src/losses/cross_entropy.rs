//! Softmax cross-entropy: minus the logarithm of the probability of the class.
//!
//! ## What it does
//! Raises `log Σ exp(logits) − logit` of the label, or lowers that of the target. It is computed in double precision from the
//! weights of the other classes: a model that is certain still has a loss, and a gradient, where `log p` and `p − 1` would round
//! to zero.

use realsafe_plan::{Component, LossTraits, Origin, Traits};

use super::{Loss, row_by_row};
use crate::{Logits, LossEntry, Stop};

/// Softmax cross-entropy of the class.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy;

impl Loss for CrossEntropy {
    fn evaluate(
        &self,
        logits: &Logits,
        labels: &[u32],
        targets: &[Option<u32>],
        derivatives: &mut [f32],
    ) -> Result<Vec<f32>, Stop> {
        Ok(row_by_row(logits, labels, targets, derivatives, row))
    }
}

fn row(logits: &[f32], class: usize, derivative: &mut [f32]) -> f32 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let others: f64 = weights.iter().enumerate().filter(|(other, _)| *other != class).map(|(_, weight)| weight).sum();
    for (derivative, weight) in derivative.iter_mut().zip(&weights) {
        *derivative = (weight / total) as f32;
    }
    derivative[class] = -(others / total) as f32;
    if weights[class] == 1.0 {
        return others.ln_1p() as f32;
    }
    (total.ln() - (f64::from(logits[class]) - largest)) as f32
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "cross-entropy",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cross_entropy.rs"),
            parameters: &[],
            example: "",
            traits: Traits::Loss(LossTraits::TWO_CLASSES),
        },
        build: &|_, _| Ok(Box::new(CrossEntropy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_keeps_a_loss_and_a_gradient() {
        let mut derivative = [0.0; 2];
        let loss = row(&[50.0, 0.0], 0, &mut derivative);
        assert!((loss / (-50.0_f32).exp() - 1.0).abs() < 1e-6);
        assert!(derivative[0] < 0.0 && derivative[1] > 0.0);
    }
}
