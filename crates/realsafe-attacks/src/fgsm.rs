//! Fast gradient sign method (FGSM): one step of length eps along the steepest direction of the loss.
//!
//! ## What it does
//! Adds `eps · sign(∇loss)` (linf) or `eps · ∇loss / ‖∇loss‖₂` (l2) to the image and clips to the box `[0, 1]`.
//! It makes no random start. Accuracy under FGSM need not fall with eps, so an attack that beats it is no proof of anything;
//! a single step that beats many steps is a sign of gradient masking.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per sample.
//!
//! ## References
//! Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015 (arXiv:1412.6572).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Access, AttackTraits, Component, Cost, Goal, Norm, Origin, Surrogates, Traits};

use crate::shared::ascent::{Descent, LOSS, Start, StepSize};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "fgsm",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fgsm.rs"),
            parameters: &[LOSS],
            example: "",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &Norm::DENSE,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|_| Ok(Cost::gradient(1)),
            }),
        },
        build: &|values, context| Ok(Box::new(Descent {
            start: Start::Clean,
            steps: 1,
            step_size: StepSize::ShareOfEps(1.0),
            loss: context.loss(values, "loss")?,
        })),
    }
}
