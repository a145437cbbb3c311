//! Targeted difference of logits ratio: the target's logit minus the label's, divided by how far the logits spread.
//!
//! ## What it does
//! Raises `(z_t − z_y) / (z₍₁₎ − (z₍₃₎ + z₍₄₎) / 2 + 1e-12)`, where y is the label, t the target and z₍ₖ₎ the k-th largest logit. It is
//! positive when the target is above the label, which is not yet a targeted success: a third class may be above both (`dlr`
//! counts that). As a surrogate in an untargeted attack (`apgd-t`) that does not matter. With a goal that has no target the
//! strongest other class is the target.
//!
//! It needs at least three classes; with three there is no z₍₄₎, and z₍₃₎ takes its place.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690), equation 7.

use realsafe_plan::{Component, LossTraits, Origin, Traits};

use super::RowLoss;
use super::dlr::{descending, ratio};
use super::margin::strongest_rival;
use crate::LossEntry;

/// The target's logit minus the label's over the spread of the logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct DlrTargeted;

impl RowLoss for DlrTargeted {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        let order = descending(logits);
        let last = order.len() - 1;
        let spread = [(order[0], 1.0), (order[2.min(last)], -0.5), (order[3.min(last)], -0.5)];
        let target = target.unwrap_or_else(|| strongest_rival(logits, label));
        ratio(logits, (target, label), &spread, derivative)
    }
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "dlr-targeted",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("dlr_targeted.rs"),
            parameters: &[],
            example: "",
            traits: Traits::Loss(LossTraits { fewest_classes: 3 }),
        },
        build: &|_, _| Ok(Box::new(DlrTargeted)),
    }
}
