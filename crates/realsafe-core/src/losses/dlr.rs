//! Difference of logits ratio (DLR): the margin of the class, divided by how far the logits spread.
//!
//! ## What it does
//! Raises `(max_{j≠y} z_j − z_y) / (z₍₁₎ − z₍₃₎ + 1e-12)` of the label y, where z₍ₖ₎ is the k-th largest logit, or lowers it for the target.
//! It is positive when misclassified, and does not change when all logits are multiplied or shifted, so that a model cannot hide
//! its gradient by large logits. It needs at least three classes.
//!
//! For a target it is so raised above every other class; `dlr-targeted` raises it above the label only.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690), equation 6.

use realsafe_plan::{Component, LossTraits, Origin, Traits};

use super::margin::strongest_rival;
use super::{RowLoss, for_or_against};
use crate::LossEntry;

/// The margin of the class over the spread of the logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dlr;

impl RowLoss for Dlr {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        for_or_against(label, target, derivative, |class, derivative| {
            let order = descending(logits);
            let spread = [(order[0], 1.0), (order[2.min(order.len() - 1)], -1.0)];
            ratio(logits, (strongest_rival(logits, class), class), &spread, derivative)
        })
    }
}

/// The classes from the largest logit to the smallest; of equal ones the first comes first.
pub(super) fn descending(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order
}

/// The difference of two logits over a weighted sum of logits, and its derivative.
pub(super) fn ratio(
    logits: &[f32],
    (risen, fallen): (usize, usize),
    spread: &[(usize, f64)],
    derivative: &mut [f32],
) -> f32 {
    let difference = f64::from(logits[risen]) - f64::from(logits[fallen]);
    let width = spread.iter().map(|(class, weight)| weight * f64::from(logits[*class])).sum::<f64>() + 1e-12;
    let mut slopes = vec![0.0; logits.len()];
    slopes[risen] += 1.0 / width;
    slopes[fallen] -= 1.0 / width;
    for (class, weight) in spread {
        slopes[*class] -= weight * difference / (width * width);
    }
    derivative.iter_mut().zip(slopes).for_each(|(derivative, slope)| *derivative = slope as f32);
    (difference / width) as f32
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "dlr",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("dlr.rs"),
            parameters: &[],
            example: "",
            traits: Traits::Loss(LossTraits { fewest_classes: 3 }),
        },
        build: &|_, _| Ok(Box::new(Dlr)),
    }
}
