//! Basic iterative method (BIM, I-FGSM): small steepest steps from the clean image, projected after each.
//!
//! ## What it does
//! Repeats `x ← project(x + step-size · direction)`, where the direction is the sign (linf) or the unit vector (l2) of
//! the gradient, and the projection goes to the ball of radius eps and then to the box `[0, 1]`. It starts at the
//! clean image, so two runs give the same result.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Kurakin, Goodfellow, Bengio: Adversarial Examples in the Physical World, 2016 (arXiv:1607.02533).
//! The default step of 1.5 · eps / steps is that of RealSafe's curves (Dong et al., CVPR 2020).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Origin};

use crate::shared::ascent::{Descent, ITERATIVE, LOSS, STEP_SIZE, Start, StepSize, step_size_relative, steps};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "bim",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("bim.rs"),
            parameters: &[steps("20"), STEP_SIZE, step_size_relative("1.5"), LOSS],
            example: "steps = 10\nstep-size = \"1/255\"",
            traits: ITERATIVE,
        },
        build: &|values, context| Ok(Box::new(Descent {
            start: Start::Clean,
            steps: values.count("steps"),
            step_size: StepSize::from(values),
            loss: context.loss(values, "loss")?,
        })),
    }
}
