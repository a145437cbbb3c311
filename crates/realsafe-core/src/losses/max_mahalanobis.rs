//! Adaptive loss for Max-Mahalanobis networks: differences of logits without a softmax.
//!
//! ## What it does
//! Such a network's logits are `−‖z − μ_k‖²` for features z and fixed centres μ_k of equal length. A softmax over them saturates, and
//! attacks on its cross-entropy then find no gradient. For the label y this raises `max_{j≠y} logit_j − logit_y`, in which
//! the squares of z cancel: it is linear in the features, and the same as the margin. For a target it raises the target's logit and
//! nothing else, which pulls the features straight to the target's centre, where the margin would also push them off the
//! strongest other one.
//!
//! ## References
//! Pang, Xu, Dong, Du, Chen, Zhu: Rethinking Softmax Cross-Entropy Loss for Adversarial Robustness, ICLR 2020
//! (arXiv:1905.10626), section 4 (adaptive attacks).

use realsafe_plan::{Component, LossTraits, Origin, Traits};

use super::RowLoss;
use super::margin::rise_of_rival;
use crate::LossEntry;

/// The margin of the label, or the target's logit alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaxMahalanobis;

impl RowLoss for MaxMahalanobis {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        match target {
            None => rise_of_rival(logits, label, derivative),
            Some(target) => {
                derivative.fill(0.0);
                derivative[target] = 1.0;
                logits[target]
            }
        }
    }
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "max-mahalanobis",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("max_mahalanobis.rs"),
            parameters: &[],
            example: "",
            traits: Traits::Loss(LossTraits::TWO_CLASSES),
        },
        build: &|_, _| Ok(Box::new(MaxMahalanobis)),
    }
}
