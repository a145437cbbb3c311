//! Skip gradient method (SGM): momentum steps along gradients that prefer the shortcuts of residual networks.
//!
//! ## What it does
//! Multiplies the gradient by `residual-decay` wherever the backward pass goes through the residual branch of a block, and leaves
//! it as it is where it goes through the shortcut. Forward passes do not change. The result goes into the momentum of `mim`:
//! `m ← decay · m + ∇ / ‖∇‖₁`, with steps along the sign (linf) or the unit vector (l2) of `m`, from the clean image. With
//! `residual-decay = 1` it is `mim`.
//!
//! The networks whose gradients it uses, the surrogates of a transfer or else the victim, must be residual networks of this
//! program: `cifar-resnet` or `small-resnet`. As in the paper's equations a branch is multiplied once, at its end, whatever is in
//! it; the authors' code also divides gradients by their deviation at each block, which this one does not.
//!
//! ## Threat model
//! White-box gradients, or transfer from surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Wu, Wang, Xia, Bailey, Ma: Skip Connections Matter: On the Transferability of Adversarial Examples Generated with ResNets,
//! ICLR 2020 (arXiv:2002.05990).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{ITERATIVE, LOSS, STEP_SIZE, step_size_relative, steps};
use crate::shared::momentum::{AtIterate, DECAY, Momentum, MomentumAttack};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "sgm",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("sgm.rs"),
            parameters: &[
                steps("10"),
                STEP_SIZE,
                step_size_relative("1"),
                DECAY,
                Parameter {
                    name: "residual-decay",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "share of the gradient kept per residual branch",
                    fallback: Fallback::Value("0.5"),
                    documentation: "What gradients through a residual branch are multiplied by: the paper's gamma.",
                },
                LOSS,
            ],
            example: "steps = 10\nresidual-decay = 0.5",
            traits: ITERATIVE,
        },
        build: &|values, context| {
            let source = AtIterate { residual_decay: Some(values.number("residual-decay")) };
            Ok(Box::new(MomentumAttack { momentum: Momentum::from(values, context)?, source }))
        },
    }
}
