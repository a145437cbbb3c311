//! AutoAttack: the ensemble of parameter-free attacks by which the field compares defenses.
//!
//! ## What it does
//! A chain whose members are fixed by the version and the norm, with the parameters of the official code:
//!
//! - `standard`: APGD on the cross-entropy, APGD on the targeted DLR loss (9 targets), targeted FAB (9 targets), Square
//!   (5,000 queries). In l1 the APGD members walk down from larger radii, the first with 5 restarts and the second with
//!   5 targets.
//! - `plus`: 5 restarts of APGD on the cross-entropy, on DLR, and of FAB; Square; then the targeted members.
//! - `rand`: for randomised defenses, APGD on the cross-entropy and on DLR, each answer the mean of 20 draws.
//!
//! The resolved spec lists the members with all their parameters, so that a result says what was run; "AutoAttack" names
//! different attacks in different libraries. A sample leaves as soon as it is broken, where the official code makes all
//! steps with all samples of a member: the accuracy is the same, the number of propagations is not.
//!
//! ## Threat model
//! White-box gradients; linf, l2 and l1; untargeted.
//!
//! ## Cost
//! Per sample that stays robust under `standard`, at most 1,900 gradients and 5,912 further forward passes with 10 classes; `plan` says what
//! the other versions cost.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690); in l1 Croce, Hein: Mind the Box, ICML 2021 (arXiv:2103.01208).

use realsafe_core::{ChainEntry, inventory};
use realsafe_plan::{ChainTraits, Component, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Traits, Values};

fn members(values: &Values, norm: Norm) -> Option<&'static str> {
    match (values.text("version"), norm) {
        (_, Norm::L0) => None,
        ("standard", Norm::L1) => Some(include_str!("../autoattack/standard-l1.toml")),
        ("standard", _) => Some(include_str!("../autoattack/standard.toml")),
        ("plus", Norm::L1) => Some(include_str!("../autoattack/plus-l1.toml")),
        ("plus", _) => Some(include_str!("../autoattack/plus.toml")),
        (_, Norm::L1) => Some(include_str!("../autoattack/rand-l1.toml")),
        _ => Some(include_str!("../autoattack/rand.toml")),
    }
}

inventory::submit! {
    ChainEntry {
        component: Component {
            id: "autoattack",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("autoattack.rs"),
            parameters: &[Parameter {
                name: "version",
                kind: ParameterKind::Choice(&["standard", "plus", "rand"]),
                unit: "",
                fallback: Fallback::Value("standard"),
                documentation: "Which ensemble is run.",
            }],
            example: "version = \"standard\"",
            traits: Traits::Chain(ChainTraits {
                norms: &[Norm::Linf, Norm::L2, Norm::L1],
                goals: &[Goal::Untargeted],
                members: Some(members),
            }),
        },
    }
}
