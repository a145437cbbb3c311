//! What attacks along an accumulated gradient have in common.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::projection::sum_per_row;
use realsafe_core::{Attack, AttackContext, Batch, Gradients, Loss, Role, Stop, state};
use realsafe_plan::{Cost, Fallback, Parameter, ParameterKind, Values};

use crate::shared::ascent::StepSize;

/// How much of the accumulated gradient is kept.
pub(crate) const DECAY: Parameter = Parameter {
    name: "decay",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
    unit: "share of the momentum kept per step",
    fallback: Fallback::Value("1"),
    documentation: "How much of the accumulated gradient is carried over; 0 is BIM.",
};

state! {
    /// An image on its way, and the gradient that it accumulated.
    pub(crate) struct Walk {
        images: Tensor<4>,
        momentum: Tensor<4>,
    }
}

impl Walk {
    /// At the clean images, without momentum.
    pub(crate) fn start(batch: &Batch) -> Self {
        Self { images: batch.images.clone(), momentum: batch.images.zeros_like() }
    }

    pub(crate) const fn images(&self) -> &Tensor<4> {
        &self.images
    }

    pub(crate) const fn momentum(&self) -> &Tensor<4> {
        &self.momentum
    }
}

/// Steps along `m ← decay · m + gradient / ‖gradient‖₁`.
pub(crate) struct Momentum {
    pub(crate) steps: u64,
    pub(crate) step_size: StepSize,
    pub(crate) decay: f64,
    pub(crate) loss: Arc<dyn Loss>,
}

impl Momentum {
    /// From the parameters `steps`, `step-size`, `step-size-relative`, `decay` and `loss`.
    ///
    /// # Errors
    /// What is wrong with the loss.
    pub(crate) fn from(values: &Values, context: &AttackContext) -> Result<Self, String> {
        Ok(Self {
            steps: values.count("steps"),
            step_size: StepSize::from(values),
            decay: values.number("decay"),
            loss: context.loss(values, "loss")?,
        })
    }

    pub(crate) fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    /// Adds a gradient to the momentum, and steps along it.
    pub(crate) fn advance(&self, batch: &Batch, walk: &mut Walk, gradient: Tensor<4>) -> Result<(), Stop> {
        let length = sum_per_row(gradient.clone().abs()).clamp_min(f32::MIN_POSITIVE);
        walk.momentum = walk.momentum.clone() * self.decay + gradient / length;
        walk.images = self.step_size.advance(batch, walk.images.clone(), walk.momentum.clone())?;
        Ok(())
    }
}

/// Where the gradient of a step comes from.
pub(crate) trait Source: Send + Sync + 'static {
    /// How many gradients it asks for.
    fn gradients(&self) -> u64 {
        1
    }

    /// See [`Attack::residual_decay`].
    fn residual_decay(&self) -> Option<f64> {
        None
    }

    /// The gradient along which the next step is made.
    fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        momentum: &Momentum,
        walk: &Walk,
    ) -> Result<Tensor<4>, Stop>;
}

/// The gradient at the iterate, of the network itself or of one whose residual branches are damped.
pub(crate) struct AtIterate {
    pub(crate) residual_decay: Option<f64>,
}

impl Source for AtIterate {
    fn residual_decay(&self) -> Option<f64> {
        self.residual_decay
    }

    fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        momentum: &Momentum,
        walk: &Walk,
    ) -> Result<Tensor<4>, Stop> {
        Ok(victim.gradient(batch, &walk.images, &*momentum.loss, Role::Iterate)?.gradient)
    }
}

/// A momentum method with a gradient of its own.
pub(crate) struct MomentumAttack<S> {
    pub(crate) momentum: Momentum,
    pub(crate) source: S,
}

impl<S: Source> Attack for MomentumAttack<S> {
    type Door = dyn Gradients;
    type State = Walk;

    fn steps(&self) -> u32 {
        self.momentum.steps()
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(self.source.gradients())
    }

    fn residual_decay(&self) -> Option<f64> {
        self.source.residual_decay()
    }

    fn is_stationary(&self) -> bool {
        self.momentum.steps > 1
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Walk, Stop> {
        Ok(Walk::start(batch))
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, walk: &mut Walk) -> Result<(), Stop> {
        let gradient = self.source.gradient(victim, batch, &self.momentum, walk)?;
        self.momentum.advance(batch, walk, gradient)
    }

    fn iterates(&self, _: &Batch, walk: &Walk) -> Tensor<4> {
        walk.images.clone()
    }
}
