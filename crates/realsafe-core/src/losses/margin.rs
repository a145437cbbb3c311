//! Margin: the largest other logit minus the logit of the class; positive when misclassified.
//!
//! ## What it does
//! Raises the margin of the label, or lowers that of the target. The derivative is 1 for the strongest rival and −1 for the class.
//!
//! ## References
//! Carlini, Wagner: Towards Evaluating the Robustness of Neural Networks, IEEE S&P 2017 (arXiv:1608.04644), f₆ without
//! its confidence.

use realsafe_plan::{Component, LossTraits, Origin, Traits};

use super::{RowLoss, for_or_against};
use crate::LossEntry;

/// The largest other logit minus the logit of the class.
#[derive(Clone, Copy, Debug)]
pub struct Margin;

impl RowLoss for Margin {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        for_or_against(label, target, derivative, |class, derivative| rise_of_rival(logits, class, derivative))
    }
}

/// The strongest rival's logit minus that of the class, and its derivative.
pub(super) fn rise_of_rival(logits: &[f32], class: usize, derivative: &mut [f32]) -> f32 {
    let rival = strongest_rival(logits, class);
    derivative.fill(0.0);
    derivative[rival] = 1.0;
    derivative[class] = -1.0;
    logits[rival] - logits[class]
}

/// The class with the largest logit among all but `class`.
///
/// # Panics
/// If there is no other class.
pub fn strongest_rival(logits: &[f32], class: usize) -> usize {
    let others = (0..logits.len()).filter(|other| *other != class);
    others.reduce(|best, other| if logits[other] > logits[best] { other } else { best }).expect("at least two classes")
}

/// The margin of `class`: its logit minus the largest other one; negative when another class is predicted.
pub fn margin(logits: &[f32], class: u32) -> f32 {
    logits[class as usize] - logits[strongest_rival(logits, class as usize)]
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "margin",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("margin.rs"),
            parameters: &[],
            example: "",
            traits: Traits::Loss(LossTraits::TWO_CLASSES),
        },
        build: &|_, _| Ok(Box::new(Margin)),
    }
}
