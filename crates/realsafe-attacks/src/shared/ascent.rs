//! What the gradient attacks share: where they start, the step size and the projected step.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::projection::{per_row, project, steepest};
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, Batch, Gradients, Loss, Role, Stop, fill_ball, fill_uniform, length, state};
use realsafe_plan::{
    Access, AttackTraits, Cost, Fallback, FromValues, Goal, Norm, Parameter, ParameterKind, Surrogates, Traits, Values,
};

/// The number of steps.
pub(crate) const fn steps(fallback: &'static str) -> Parameter {
    Parameter {
        name: "steps",
        kind: ParameterKind::Count { minimum: 1, maximum: 1_000_000 },
        unit: "gradients",
        fallback: Fallback::Value(fallback),
        documentation: "How many gradient steps are made.",
    }
}

/// The absolute step size.
pub(crate) const STEP_SIZE: Parameter = Parameter {
    name: "step-size",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "pixel range 0 to 1, in the norm of the threat model",
    fallback: Fallback::Unset,
    documentation: "The length of a step; where it is set, that relative to eps is ignored.",
};

/// The step size as a multiple of eps / steps.
pub(crate) const fn step_size_relative(fallback: &'static str) -> Parameter {
    Parameter {
        name: "step-size-relative",
        kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
        unit: "eps / steps",
        fallback: Fallback::Value(fallback),
        documentation: "The length of a step as a multiple of eps / steps, which fits every eps of a list.",
    }
}

/// The loss that is raised.
pub(crate) const LOSS: Parameter = Parameter {
    name: "loss",
    kind: ParameterKind::Loss,
    unit: "",
    fallback: Fallback::Value("cross-entropy"),
    documentation: "What is raised for the label, or lowered for the target.",
};

/// What attacks of one gradient per step have in common.
pub(crate) const ITERATIVE: Traits = iterative(&|values| Ok(Cost::gradient(values.count("steps"))));

/// What attacks have in common that go along gradients, whatever these cost.
pub(crate) const fn iterative(cost: FromValues<Result<Cost, String>>) -> Traits {
    Traits::Attack(AttackTraits {
        access: Access::Gradients,
        surrogates: Surrogates::Transfer,
        norms: &Norm::DENSE,
        goals: &Goal::ALL,
        minimises_distance: false,
        cost,
    })
}

/// The length of a step, absolute or as a share of each row's radius.
pub(crate) enum StepSize {
    Absolute(f32),
    ShareOfEps(f32),
}

impl StepSize {
    #[expect(clippy::cast_possible_truncation, reason = "step sizes are single precision on every device")]
    pub(crate) fn from(values: &Values) -> Self {
        if values.is_set("step-size") {
            return Self::Absolute(values.number("step-size") as f32);
        }
        Self::ShareOfEps((values.number("step-size-relative") / values.count("steps") as f64) as f32)
    }

    /// Steps from `images` along the steepest direction of `gradient`, back into the ball and the box.
    pub(crate) fn advance(&self, batch: &Batch, images: Tensor<4>, gradient: Tensor<4>) -> Result<Tensor<4>, Stop> {
        let moved = images + steepest(batch.norm, gradient) * per_row(&self.lengths(batch), &batch.images);
        project(batch.norm, moved, &batch.images, &per_row(&batch.eps, &batch.images))
    }

    /// The length of a step of each row.
    pub(crate) fn lengths(&self, batch: &Batch) -> Vec<f32> {
        match self {
            Self::Absolute(length) => vec![*length; batch.len()],
            Self::ShareOfEps(share) => batch.eps.iter().map(|eps| share * eps).collect(),
        }
    }
}

/// Where the first step starts.
pub(crate) enum Start {
    Clean,
    Ball { radius: f32 },
    ScaledCube { radius: f32 },
}

impl Start {
    #[expect(clippy::cast_possible_truncation, reason = "radii are single precision on every device")]
    pub(crate) fn from(values: &Values) -> Self {
        let radius = values.number("start-radius") as f32;
        match values.text("start") {
            "none" => Self::Clean,
            "scaled-cube" => Self::ScaledCube { radius },
            _ => Self::Ball { radius },
        }
    }

    fn images(&self, batch: &Batch) -> Result<Tensor<4>, Stop> {
        let (radius, scaled) = match *self {
            Self::Clean => return Ok(batch.images.clone()),
            Self::Ball { radius } => (radius, false),
            Self::ScaledCube { radius } => (radius, true),
        };
        let noise = batch.draw(Purpose::Start, |row, random, pixels| {
            let radius = radius * batch.eps[row];
            if !scaled {
                return fill_ball(batch.norm, radius, random, pixels);
            }
            let radius = radius * random.random::<f32>();
            fill_uniform(random, pixels);
            let scale = if batch.norm == Norm::L2 { radius / length(pixels) } else { radius };
            pixels.iter_mut().for_each(|pixel| *pixel *= scale);
        });
        project(batch.norm, batch.images.clone() + noise, &batch.images, &per_row(&batch.eps, &batch.images))
    }
}

/// Projected steepest steps from a start: FGSM, BIM and PGD.
pub(crate) struct Descent {
    pub(crate) start: Start,
    pub(crate) steps: u64,
    pub(crate) step_size: StepSize,
    pub(crate) loss: Arc<dyn Loss>,
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

    fn is_stationary(&self) -> bool {
        // One step alone does not go on from anywhere.
        self.steps > 1
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Iterate, Stop> {
        Ok(Iterate { images: self.start.images(batch)? })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Iterate) -> Result<(), Stop> {
        let gradient = victim.gradient(batch, &state.images, &*self.loss, Role::Iterate)?.gradient;
        state.images = self.step_size.advance(batch, state.images.clone(), gradient)?;
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Iterate) -> Tensor<4> {
        state.images.clone()
    }
}
