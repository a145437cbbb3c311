//! Auto-PGD (APGD): PGD with momentum that sets its own step size from how the loss gets on.
//!
//! ## What it does
//! From a random point of the surface of the ball (linf: uniform noise over its largest entry; l2: a Gaussian direction; l1: Gaussian noise
//! projected), with steps of length 2 eps:
//!
//! - `z = project(x + η · direction)`, with the sign of the gradient (linf) or its unit vector (l2);
//! - `x ← project(x + 0.75 (z − x) + 0.25 (x − x_before))`, without the second term at the first step.
//!
//! After 22 % of the steps, then after windows that are each 3 % shorter, but not shorter than 6 % (of 100: 22, 41, 57, 70, 80, 87, 93, 99), a
//! sample halves its η and goes back to its best point, if no more than `rho` of the window's steps raised the loss, or if η
//! was not halved at the last checkpoint and the best loss has not risen since.
//!
//! **l1** has no momentum. A step of length η = eps goes equally along the signs of the largest entries of the gradient: 20 % of
//! the pixels at first. Every 4 % of the steps their number becomes the number of pixels that the best point changes, over 1.5. Where
//! the best point got sparser by 5 %, η is eps again and the search goes on from there; elsewhere η is divided by 1.5, down to
//! eps / 10. Points are projected onto the intersection of ball and box. `large-radii`, meant for l1, makes 30 % of the steps in a ball of
//! 3 eps, 30 % in one of 2 eps and the rest in that of eps; each starts from the best point before, projected.
//!
//! It returns the point with the largest loss in the ball. With `success = "any-iterate"` the first adversarial among all points counts, which
//! is how the official implementation judges; that one attacks a sample to the end, this one leaves it at once. AutoAttack's member is
//! `apgd` with `success = "any-iterate"`; for l1 with `large-radii = true` and `restarts = 5`.
//!
//! Differences to the official code: random numbers belong to samples, not to batches; whether the first step raised the loss is
//! judged against the loss of the start, as the paper has it, and not against 0; the number of pixels of a sparse step is rounded down and not
//! up, so that it can come down to one.
//!
//! ## Threat model
//! White-box gradients; linf, l2 and l1; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step, restart and sample, and one forward pass for the last point; with
//! `large-radii`, for the last point of each of the three radii. The start and every step are steps to `record`.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690). Croce, Hein: Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers, ICML 2021
//! (arXiv:2103.01208).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Access, AttackTraits, Component, Goal, Origin, Surrogates, Traits};

use crate::shared::apgd::{Apgd, LARGE_RADII, NORMS, RHO, START, cost};
use crate::shared::ascent::{LOSS, steps};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "apgd",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("apgd.rs"),
            parameters: &[steps("100"), LOSS, START, RHO, LARGE_RADII],
            example: "steps = 50\nloss = \"dlr\"",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &NORMS,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|values| Ok(cost(values, 0)),
            }),
        },
        build: &|values, context| Ok(Box::new(Apgd::new(values, 0, context.loss(values, "loss")?))),
    }
}
