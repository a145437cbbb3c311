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

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::projection::{per_row, project};
use realsafe_core::random::Purpose;
use realsafe_core::{
    Attack, AttackEntry, Batch, Gradients, Loss, Role, Stop, fill_gaussian, fill_uniform, inventory, state,
};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Parameter, ParameterKind, Traits, Values,
};

use crate::ascent::{LOSS, STEP_SIZE, StepSize, step_size_relative, steps};

/// Where the first step starts.
pub(crate) enum Start {
    Clean,
    Ball { radius: f32 },
    ScaledCube { radius: f32 },
}

impl Start {
    #[expect(clippy::cast_possible_truncation, reason = "radii are single precision on every device")]
    fn from(values: &Values) -> Self {
        let radius = values.number("start-radius") as f32;
        match values.text("start") {
            "none" => Self::Clean,
            "scaled-cube" => Self::ScaledCube { radius },
            _ => Self::Ball { radius },
        }
    }

    fn images(&self, batch: &Batch) -> Tensor<4> {
        let (radius, scaled) = match *self {
            Self::Clean => return batch.images.clone(),
            Self::Ball { radius } => (radius, false),
            Self::ScaledCube { radius } => (radius, true),
        };
        let noise = batch.draw(Purpose::Start, |row, random, pixels| {
            let gaussian = batch.norm == Norm::L2 && !scaled;
            let length = if batch.norm == Norm::L2 || scaled { random.random::<f32>() } else { 1.0 };
            if gaussian {
                fill_gaussian(random, pixels)
            } else {
                fill_uniform(random, pixels)
            }
            let size = match batch.norm {
                Norm::Linf => 1.0,
                Norm::L2 => pixels.iter().map(|pixel| pixel * pixel).sum::<f32>().sqrt(),
            };
            let scale = radius * batch.eps[row] * length / size;
            pixels.iter_mut().for_each(|pixel| *pixel *= scale);
        });
        project(batch.norm, batch.images.clone() + noise, &batch.images, &per_row(&batch.eps, &batch.images))
    }
}

/// Projected steepest steps from a start: BIM and PGD.
pub(crate) struct Descent {
    pub(crate) start: Start,
    pub(crate) steps: u64,
    pub(crate) step_size: StepSize,
    pub(crate) loss: Loss,
}

state! {
    pub(crate) struct Iterate {
        images: Tensor<4>,
    }
}

impl Attack for Descent {
    type Door = dyn Gradients;
    type State = Iterate;

    fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Iterate, Stop> {
        Ok(Iterate { images: self.start.images(batch) })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Iterate) -> Result<(), Stop> {
        let (_, gradient) = victim.gradient(batch, &state.images, self.loss, Role::Iterate)?;
        state.images = self.step_size.advance(batch, state.images.clone(), gradient);
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Iterate) -> Tensor<4> {
        state.images.clone()
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "pgd",
            revision: 1,
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
            traits: Traits::Attack(AttackTraits {
                access: Access::Gradients,
                norms: &Norm::ALL,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: |values| Cost::gradient(values.count("steps")),
            }),
        },
        build: |values, _| Box::new(Descent {
            start: Start::from(values),
            steps: values.count("steps"),
            step_size: StepSize::from(values),
            loss: Loss::named(values.text("loss")),
        }),
    }
}
