//! Decoupled direction and norm (DDN, l2): steps along the gradient, projected on a sphere that shrinks and grows.
//!
//! ## What it does
//! Keeps a change and a radius per sample, from zero and initial-radius. A step asks the model about the current image, adds
//! the unit vector of the gradient of the loss times the step size to the change, multiplies the radius by
//! 1 − radius-adaptation if the image was adversarial and by 1 + radius-adaptation if it was not, scales the change to the
//! new radius and clips the image to the box. The step size falls from step-size to final-step-size on half a cosine wave.
//! The radius never exceeds the largest change that the box allows.
//!
//! The nearest adversarial of all iterates is the result. A gradient of zero is replaced by a random unit vector, so that the
//! attack is random only there. AdvLib takes Gaussian noise that is not scaled, which at the clean image is the same.
//! The paper rounds every iterate to 256 levels; here that is done if levels says so.
//!
//! ## Threat model
//! White-box gradients; l2; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every
//! eps.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger: Decoupling Direction and Norm for Efficient Gradient-Based L2
//! Adversarial Attacks and Defenses, CVPR 2019 (arXiv:1811.09600); step sizes as in AdvLib 0.2.8.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::projection::{l2_length, per_row};
use realsafe_core::{Ascent, Attack, AttackEntry, Batch, Gradients, Loss, Role, Stop, inventory, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::ascent::{LOSS, steps};
use crate::shared::nearest::{Nearest, adversarial, annealed, largest_sizes, sizes, unit};

struct Ddn {
    steps: u64,
    initial_radius: f32,
    radius_adaptation: f32,
    step_size: f64,
    final_step_size: f64,
    levels: Option<u64>,
    loss: Arc<dyn Loss>,
}

state! {
    struct Sphere {
        images: Tensor<4>,
        radii: Vec<f32>,
        largest: Vec<f32>,
        nearest: Nearest,
    }
}

impl Attack for Ddn {
    type Door = dyn Gradients;
    type State = Sphere;

    fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Sphere, Stop> {
        let (images, radii) = (batch.images.clone(), vec![self.initial_radius; batch.len()]);
        Ok(Sphere { images, radii, largest: largest_sizes(batch)?, nearest: Nearest::new(batch) })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Sphere) -> Result<(), Stop> {
        let Ascent { logits, gradient, .. } = victim.gradient(batch, &state.images, &*self.loss, Role::Iterate)?;
        let change = state.images.clone() - batch.images.clone();
        let adversarial = adversarial(batch, &logits);
        state.nearest.offer(&state.images, &sizes(Norm::L2, change.clone())?, &adversarial);
        for ((radius, largest), adversarial) in state.radii.iter_mut().zip(&state.largest).zip(adversarial) {
            let sign = if adversarial { -1.0 } else { 1.0 };
            *radius = (*radius * (1.0 + sign * self.radius_adaptation)).min(*largest);
        }
        let step_size = annealed(self.step_size, self.final_step_size, batch.step, self.steps);
        let moved = change + unit(batch, gradient)? * step_size;
        let scale = per_row(&state.radii, &moved) / l2_length(moved.clone()).clamp_min(f32::MIN_POSITIVE);
        let images = (batch.images.clone() + moved * scale).clamp(0.0, 1.0);
        state.images = match self.levels {
            Some(levels) => (images * (levels - 1) as f64).round() / (levels - 1) as f64,
            None => images,
        };
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Sphere) -> Tensor<4> {
        state.nearest.images()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "ddn",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("ddn.rs"),
            parameters: &[
                steps("100"),
                Parameter {
                    name: "initial-radius",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in l2",
                    fallback: Fallback::Value("1"),
                    documentation: "The radius before the first step.",
                },
                Parameter {
                    name: "radius-adaptation",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 0.99 },
                    unit: "share of the radius",
                    fallback: Fallback::Value("0.05"),
                    documentation: "How much the radius shrinks or grows per step; the paper's gamma.",
                },
                Parameter {
                    name: "step-size",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in l2",
                    fallback: Fallback::Value("1"),
                    documentation: "The length of the first step, before the change is scaled to the radius.",
                },
                Parameter {
                    name: "final-step-size",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "pixel range 0 to 1, in l2",
                    fallback: Fallback::Value("0.01"),
                    documentation: "What the length of a step falls to.",
                },
                Parameter {
                    name: "levels",
                    kind: ParameterKind::Count { minimum: 2, maximum: 65536 },
                    unit: "levels",
                    fallback: Fallback::Unset,
                    documentation: "How many values a pixel can take: 256 rounds every iterate to 8 bits; unset rounds nothing.",
                },
                LOSS,
            ],
            example: "steps = 100",
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                surrogates: Surrogates::Transfer,
                norms: &[Norm::L2],
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| Ok(Cost::gradient(values.count("steps"))),
            }),
        },
        #[expect(clippy::cast_possible_truncation, reason = "radii are single precision on every device")]
        build: &|values, context| Ok(Box::new(Ddn {
            steps: values.count("steps"),
            initial_radius: values.number("initial-radius") as f32,
            radius_adaptation: values.number("radius-adaptation") as f32,
            step_size: values.number("step-size"),
            final_step_size: values.number("final-step-size"),
            levels: values.is_set("levels").then(|| values.count("levels")),
            loss: context.loss(values, "loss")?,
        })),
    }
}
