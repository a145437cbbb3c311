//! Targeted fast adaptive boundary attack (FAB-T; linf, l2 and l1): FAB towards one class after the other.
//!
//! ## What it does
//! As `fab`, but a step makes one boundary linear, that between the label and a class: first the likeliest other class on the
//! clean image, for so many steps as steps says, then from the start again the next likeliest, and so on for as many classes
//! as targets says. Any image that is not predicted as the label is an adversarial, whichever class was aimed at. A step
//! costs one gradient however many classes there are, so this is FAB for many classes, and a member of AutoAttack.
//!
//! Restarts go through all classes again, from random points at half of start-radius; AutoAttack's program makes all
//! restarts of a class before the next class. The other differences are those of `fab`.
//!
//! ## Threat model
//! White-box gradients; linf, l2 and l1; untargeted. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! One forward and one backward pass and one more forward pass per step and class, with at most one class less than there
//! are, and one forward pass that ranks them.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690), and Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack, ICML 2020
//! (arXiv:1907.02044).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::fab::{BACKWARD_STEP, Boundaries, Fab, MAXIMAL_BIAS, NORMS, OVERSHOOT, START_RADIUS, STEPS};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "fab-t",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fab_t.rs"),
            parameters: &[
                STEPS,
                Parameter {
                    name: "targets",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "classes",
                    fallback: Fallback::Value("9"),
                    documentation: "How many of the likeliest other classes are aimed at, one after the other.",
                },
                MAXIMAL_BIAS,
                OVERSHOOT,
                BACKWARD_STEP,
                START_RADIUS,
            ],
            example: "steps = 20\ntargets = 3",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: NORMS,
                goals: &[Goal::Untargeted],
                minimises_distance: true,
                cost: &|values| {
                    let steps = values.count("steps").saturating_mul(values.count("targets"));
                    Ok(Cost::gradient(1).plus(Cost::forward(1)).times(steps).plus(Cost::forward(1)))
                },
            }),
        },
        build: &|values, context| {
            let targets = (values.count("targets") as usize).min(context.classes - 1);
            Ok(Box::new(Fab::new(values, Boundaries::InTurn(targets))))
        },
    }
}
