//! Label smoothing: clean images, whose labels are made a little less certain.
//!
//! ## What it does
//! The same as `standard`, but the cross-entropy is that of a softened label: `1 - label-smoothing` for the true class,
//! plus `label-smoothing / classes` for every class. The network is kept from growing arbitrarily confident.
//!
//! ## What an attacker sees
//! Logits that saturate less, and gradients that point less clearly: single gradient steps and attacks with few steps
//! do worse than on a standard network, while strong ones with many steps and restarts, or with a margin loss, still
//! find nearly everything. It is not a defense, but a good test of attacks.
//!
//! ## Cost
//! That of standard training.
//!
//! ## References
//! Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: Rethinking the Inception Architecture for Computer Vision, CVPR 2016
//! (arXiv:1512.00567).
//! Warde-Farley, Goodfellow: Adversarial Perturbations of Deep Neural Networks, in: Perturbations, Optimization, and
//! Statistics, MIT Press 2016: as a defense.

use realsafe_core::{RecipeEntry, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, Traits};

use super::standard::Standard;
use crate::parameters::{LABEL_SMOOTHING, recipe_parameters};

inventory::submit! {
    RecipeEntry {
        component: Component {
            id: "label-smoothing",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("label_smoothing.rs"),
            parameters: recipe_parameters![Parameter { fallback: Fallback::Value("0.1"), ..LABEL_SMOOTHING }],
            example: "label-smoothing = \"0.1\"\nepochs = 10",
            traits: Traits::Recipe,
        },
        build: |values| Box::new(Standard::from(values)),
    }
}
