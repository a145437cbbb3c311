//! Momentum iterative method (MIM, MI-FGSM): BIM along an accumulated gradient.
//!
//! ## What it does
//! Keeps `m ← decay · m + ∇loss / ‖∇loss‖₁` per sample, from zero, and steps along the sign (linf) or the unit vector
//! (l2) of `m`. A gradient of zero adds nothing. It starts at the clean image, so two runs give the same result.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Dong, Liao, Pang, Su, Zhu, Hu, Li: Boosting Adversarial Attacks with Momentum, CVPR 2018 (arXiv:1710.06081).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Origin};

use crate::shared::ascent::{ITERATIVE, LOSS, STEP_SIZE, step_size_relative, steps};
use crate::shared::momentum::{AtIterate, DECAY, Momentum, MomentumAttack};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "mim",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mim.rs"),
            parameters: &[steps("10"), STEP_SIZE, step_size_relative("1"), DECAY, LOSS],
            example: "steps = 10\ndecay = 1.0",
            traits: ITERATIVE,
        },
        build: &|values, context| {
            Ok(Box::new(MomentumAttack { momentum: Momentum::from(values, context)?, source: AtIterate { residual_decay: None } }))
        },
    }
}
