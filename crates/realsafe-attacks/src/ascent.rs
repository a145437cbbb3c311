//! What the iterative gradient attacks share: the step size and the projected step.

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, project, steepest};
use realsafe_core::{Batch, Loss};
use realsafe_plan::{Fallback, Parameter, ParameterKind, Values};

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
    documentation: "The length of a step; where it is set, step-size-relative is ignored.",
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
    kind: ParameterKind::Choice(Loss::NAMES),
    unit: "",
    fallback: Fallback::Value("cross-entropy"),
    documentation: "What is raised for the label, or lowered for the target.",
};

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
    pub(crate) fn advance(&self, batch: &Batch, images: Tensor<4>, gradient: Tensor<4>) -> Tensor<4> {
        let lengths: Vec<f32> = match self {
            Self::Absolute(length) => vec![*length; batch.len()],
            Self::ShareOfEps(share) => batch.eps.iter().map(|eps| share * eps).collect(),
        };
        let moved = images + steepest(batch.norm, gradient) * per_row(&lengths, &batch.images);
        project(batch.norm, moved, &batch.images, &per_row(&batch.eps, &batch.images))
    }
}
