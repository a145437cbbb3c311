//! Fast adaptive boundary attack (FAB; linf, l2 and l1): projections onto linearised boundaries, drawn to the clean image.
//!
//! ## What it does
//! Starts at the clean image. A step takes, for each class among the most likely ones, the difference of its logit and the
//! label's and the gradient of that difference, and makes the boundary linear that is then nearest (difference over dual
//! norm of the gradient). The current point and the clean image are both moved onto that hyperplane by the smallest change
//! that the box allows, 1 + overshoot times as far; the next point is the mean of both, in which the clean image weighs as
//! the current point's share of the two distances, and at most maximal-bias. A point that fulfils the goal is kept if it is the
//! nearest so far, and goes back to backward-step of its change before the next step.
//!
//! Targeted: the boundary between the target and its strongest rival; where the nearest image of the target lies on two such
//! boundaries, steps may go back and forth between them and not arrive. Targeted-misclassify: between the target and the label.
//! Restarts begin at a random point at half of start-radius: uniform noise scaled to that distance for linf, Gaussian noise
//! for l2 and l1.
//!
//! Differences to other implementations: the projections are exact, in double precision and without sorting; a point that
//! is still adversarial after going back counts, which costs nothing because it is propagated anyway; of many classes the
//! likeliest are looked at instead of all. AutoAttack's program takes the gradient of each logit, here that of each
//! difference is taken, one less.
//!
//! ## Threat model
//! White-box gradients; linf, l2 and l1; untargeted, targeted and targeted-misclassify. It minimises the distance: one run
//! serves every eps.
//!
//! ## Cost
//! Per step, candidates − 1 forward and backward passes (one with a target), at most one less than there are classes, and one
//! forward pass.
//!
//! ## References
//! Croce, Hein: Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020
//! (arXiv:1907.02044); steps and restarts as in the authors' program, which is part of AutoAttack.

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::fab::{BACKWARD_STEP, Boundaries, Fab, MAXIMAL_BIAS, NORMS, OVERSHOOT, START_RADIUS, STEPS};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "fab",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fab.rs"),
            parameters: &[
                STEPS,
                Parameter {
                    name: "candidates",
                    kind: ParameterKind::Count { minimum: 2, maximum: 100_000 },
                    unit: "classes",
                    fallback: Fallback::Value("10"),
                    documentation: "How many of the most likely classes are looked at, the label among them.",
                },
                MAXIMAL_BIAS,
                OVERSHOOT,
                BACKWARD_STEP,
                START_RADIUS,
            ],
            example: "steps = 20\ncandidates = 10",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: NORMS,
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| {
                    let step = Cost::gradient(values.count("candidates") - 1).plus(Cost::forward(1));
                    Ok(step.times(values.count("steps")))
                },
            }),
        },
        build: &|values, context| {
            let rivals = (values.count("candidates") as usize).min(context.classes) - 1;
            let boundaries = if context.goal == Goal::Untargeted { rivals } else { 1 };
            Ok(Box::new(Fab::new(values, Boundaries::AtOnce(boundaries))))
        },
    }
}
