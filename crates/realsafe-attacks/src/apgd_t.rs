//! Multi-target APGD (APGD-T): one run of APGD towards each of the likeliest other classes.
//!
//! ## What it does
//! Ranks the classes other than the label by their logits on the clean image, and makes one run of `apgd`, from a start of its own,
//! towards each of the first `targets`. The loss is taken for that class, but any other class than the label is success:
//! targets are a way to try several directions, and the attack is untargeted. With fewer classes there are fewer targets. A
//! sample leaves as soon as a point breaks it (`success = "any-iterate"`).
//!
//! It returns the point with the largest loss over all targets. AutoAttack's member is this attack with `success = "any-iterate"`, for l1 with
//! `targets = 5` and `large-radii = true`.
//!
//! ## Threat model
//! White-box gradients; linf, l2 and l1; untargeted.
//!
//! ## Cost
//! One forward pass for the ranking, then per target what `apgd` costs.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690). Gowal, Uesato, Qin, Huang, Mann, Kohli: An Alternative Surrogate Loss for PGD-based Adversarial
//! Testing (MultiTargeted), 2019 (arXiv:1910.09338).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{
    Access, AttackTraits, Component, Fallback, Goal, Origin, Parameter, ParameterKind, Surrogates, Traits, Values,
};

use crate::shared::apgd::{Apgd, LARGE_RADII, NORMS, RHO, START, cost};
use crate::shared::ascent::steps;

fn targets(values: &Values) -> usize {
    usize::try_from(values.count("targets")).unwrap_or(usize::MAX)
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "apgd-t",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("apgd_t.rs"),
            parameters: &[
                steps("100"),
                Parameter {
                    name: "targets",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1000 },
                    unit: "classes",
                    fallback: Fallback::Value("9"),
                    documentation: "How many classes are targets in turn, the likeliest first.",
                },
                Parameter {
                    name: "loss",
                    kind: ParameterKind::Loss,
                    unit: "",
                    fallback: Fallback::Value("dlr-targeted"),
                    documentation: "What is raised for each target.",
                },
                START,
                RHO,
                LARGE_RADII,
            ],
            example: "steps = 20\ntargets = 3",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &NORMS,
                goals: &[Goal::Untargeted],
                minimises_distance: false,
                cost: &|values| Ok(cost(values, targets(values))),
            }),
        },
        build: &|values, context| {
            let targets = targets(values).min(context.classes.saturating_sub(1)).max(1);
            Ok(Box::new(Apgd::new(values, targets, context.loss(values, "loss")?)))
        },
    }
}
