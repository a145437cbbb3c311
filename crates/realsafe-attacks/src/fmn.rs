//! Fast minimum norm (FMN, all norms): gradient steps, projected on a ball that closes in on the boundary.
//!
//! ## What it does
//! Starts at the clean image. A step asks the model about the current image, sets the radius, adds the unit vector of the
//! gradient of the margin, times the step size, to the change, and projects on the ball and the box. The radius is
//! - before the first adversarial of the sample: the size of the change plus the distance to the boundary as the gradient
//!   tells it, margin over dual norm;
//! - after it: multiplied by 1 − radius-adaptation, or set to the smallest distance so far if that is less, where the image
//!   was adversarial; multiplied by 1 + radius-adaptation where it was not.
//!
//! For l0 it is a number of values from 1, changed by at least 1 per step. It never exceeds the largest change that the box
//! allows. Step size and adaptation fall on half cosine waves. The step size is a length in l2, whatever the norm.
//!
//! The nearest adversarial of all iterates is the result. A gradient of zero is replaced by a random unit vector, so that the
//! attack is random only there.
//!
//! Differences to AdvLib and the authors' program: before the first adversarial, the radius is larger by what rounding takes
//! off, without which a sample can stay just short of the boundary for ever; for l1 and l0, the ball and the box are projected
//! on together, where both programs clip afterwards. For l2, every change is scaled to the surface of the ball, as in both
//! programs; the paper leaves changes inside the ball where they are, with which two fifths of the images of an adversarially
//! trained LeNet-5 were never broken.
//!
//! ## Threat model
//! White-box gradients; linf, l2, l1 and l0; untargeted, targeted and targeted-misclassify. It minimises the distance: one
//! run serves every eps.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Pintor, Roli, Brendel, Biggio: Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints, NeurIPS 2021
//! (arXiv:2102.12827).

use burn::tensor::Tensor;
use realsafe_core::projection::{l2_length, per_row, project};
use realsafe_core::{Ascent, Attack, AttackEntry, Batch, Gradients, Margin, Role, Stop, inventory, margin, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::ascent::steps;
use crate::shared::nearest::{Nearest, adversarial, annealed, dual, largest_sizes, rounding, sizes, unit};

struct Fmn {
    steps: u64,
    step_size: f64,
    final_step_size: f64,
    radius_adaptation: f64,
    final_radius_adaptation: f64,
}

state! {
    struct Ball {
        images: Tensor<4>,
        radii: Vec<f32>,
        largest: Vec<f32>,
        nearest: Nearest,
    }
}

impl Attack for Fmn {
    type Door = dyn Gradients;
    type State = Ball;

    fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Ball, Stop> {
        let radius = if batch.norm == Norm::L0 { 1.0 } else { f32::INFINITY };
        let (images, radii) = (batch.images.clone(), vec![radius; batch.len()]);
        Ok(Ball { images, radii, largest: largest_sizes(batch)?, nearest: Nearest::new(batch) })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Ball) -> Result<(), Stop> {
        let Ascent { logits, gradient, .. } = victim.gradient(batch, &state.images, &Margin, Role::Iterate)?;
        let change = state.images.clone() - batch.images.clone();
        let distances = sizes(batch.norm, change.clone())?;
        let adversarial = adversarial(batch, &logits);
        state.nearest.offer(&state.images, &distances, &adversarial);
        let slopes = sizes(dual(batch.norm), gradient.clone())?;
        let adaptation = annealed(self.radius_adaptation, self.final_radius_adaptation, batch.step, self.steps) as f32;
        for (row, (radius, logits)) in state.radii.iter_mut().zip(logits.rows()).enumerate() {
            let best = state.nearest.distances()[row];
            let next = if batch.norm == Norm::L0 {
                next_count(*radius, adversarial[row], best, adaptation)
            } else if adversarial[row] {
                (*radius * (1.0 - adaptation)).min(best)
            } else if best.is_finite() {
                *radius * (1.0 + adaptation)
            } else {
                let boundary = margin(logits, batch.aim(row).0).abs() / slopes[row].max(f32::MIN_POSITIVE);
                distances[row] + boundary + rounding(batch)
            };
            // A margin that is not a number leaves the box as the only limit.
            *radius = next.min(state.largest[row]);
        }
        let step_size = annealed(self.step_size, self.final_step_size, batch.step, self.steps);
        let moved = change + unit(batch, gradient)? * step_size;
        let radii = per_row(&state.radii, &moved);
        state.images = if batch.norm == Norm::L2 {
            let scale = radii / l2_length(moved.clone()).clamp_min(f32::MIN_POSITIVE);
            (batch.images.clone() + moved * scale).clamp(0.0, 1.0)
        } else {
            project(batch.norm, batch.images.clone() + moved, &batch.images, &radii)?
        };
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Ball) -> Tensor<4> {
        state.nearest.images()
    }
}

/// The next radius for l0, which changes by at least one value.
fn next_count(radius: f32, adversarial: bool, best: f32, adaptation: f32) -> f32 {
    if adversarial {
        (radius - 1.0).min((radius * (1.0 - adaptation)).floor()).min(best).max(0.0)
    } else {
        (radius + 1.0).max((radius * (1.0 + adaptation)).floor())
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "fmn",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("fmn.rs"),
            parameters: &[
                steps("100"),
                Parameter {
                    name: "step-size",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in l2",
                    fallback: Fallback::Value("1"),
                    documentation: "The length of the first step, before the projection.",
                },
                Parameter {
                    name: "final-step-size",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in l2",
                    fallback: Fallback::Value("0.01"),
                    documentation: "What the length of a step falls to.",
                },
                Parameter {
                    name: "radius-adaptation",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 0.99 },
                    unit: "share of the radius",
                    fallback: Fallback::Value("0.05"),
                    documentation: "How much the radius shrinks or grows at first; the paper's gamma.",
                },
                Parameter {
                    name: "final-radius-adaptation",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 0.99 },
                    unit: "share of the radius",
                    fallback: Fallback::Value("0.001"),
                    documentation: "What that share falls to.",
                },
            ],
            example: "steps = 100",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &Norm::ALL,
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| Ok(Cost::gradient(values.count("steps"))),
            }),
        },
        build: &|values, _| Ok(Box::new(Fmn {
            steps: values.count("steps"),
            step_size: values.number("step-size"),
            final_step_size: values.number("final-step-size"),
            radius_adaptation: values.number("radius-adaptation"),
            final_radius_adaptation: values.number("final-radius-adaptation"),
        })),
    }
}
