//! Chain of attacks: each member gets what the ones before did not break.
//!
//! ## What it does
//! Runs its members in order. A member starts from the clean images of the samples that are still robust, and draws what it
//! would draw alone; what it breaks is credited to it. The report says of every member how many samples it got, how many it
//! broke, what it spent, and what accuracy it left.
//!
//! `members` is a list of attacks with their parameters, each with `restarts` and `eot` where needed; or a table of such
//! lists by norm. Members that minimise the distance run at the radius of the threat model, and stop at their first
//! adversarial inside it.
//!
//! ## Threat model
//! That of its members; each must support the norm and the goal.
//!
//! ## Cost
//! The sum of its members', less what broken samples save.
//!
//! ## References
//! Croce, Hein: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks, ICML 2020
//! (arXiv:2003.01690).

use realsafe_core::{ChainEntry, inventory};
use realsafe_plan::{ChainTraits, Component, Goal, Norm, Origin, Traits};

inventory::submit! {
    ChainEntry {
        component: Component {
            id: "chain",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("chain.rs"),
            parameters: &[],
            example: "members = [{ use = \"pgd\", restarts = 5 }, { use = \"square\", queries = 1000 }]",
            traits: Traits::Chain(ChainTraits { norms: &Norm::ALL, goals: &Goal::ALL, members: None }),
        },
    }
}
