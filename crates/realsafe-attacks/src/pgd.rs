//! Projected gradient descent (PGD): BIM from a random point of the ball, usually with restarts.
//!
//! ## What it does
//! Starts at a random point and repeats `x ← project(x + step-size · direction)` as BIM does. With `restarts = n` it
//! starts anew, from other points, on the samples that are not broken yet.
//!
//! The start is uniform in the cube of radius start-radius · eps (linf), or a Gaussian direction times a uniform
//! radius up to it (l2). `start = "scaled-cube"` is RealSafe's: a point of the cube times one uniform number per sample
//! (for l2, a direction from the cube instead of a Gaussian one). The start is projected like every iterate.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step, restart and sample.
//!
//! ## References
//! Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018
//! (arXiv:1706.06083).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{Descent, ITERATIVE, LOSS, STEP_SIZE, Start, StepSize, step_size_relative, steps};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "pgd",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("pgd.rs"),
            parameters: &[
                steps("40"),
                STEP_SIZE,
                step_size_relative("2.5"),
                LOSS,
                Parameter {
                    name: "start",
                    kind: ParameterKind::Choice(&["ball", "scaled-cube", "none"]),
                    unit: "",
                    fallback: Fallback::Value("ball"),
                    documentation: "How the starting point is drawn.",
                },
                Parameter {
                    name: "start-radius",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "eps",
                    fallback: Fallback::Value("1"),
                    documentation: "The radius within which the starting point is drawn.",
                },
            ],
            example: "steps = 100\nstep-size = \"0.01\"",
            traits: ITERATIVE,
        },
        build: &|values, context| Ok(Box::new(Descent {
            start: Start::from(values),
            steps: values.count("steps"),
            step_size: StepSize::from(values),
            loss: context.loss(values, "loss")?,
        })),
    }
}
