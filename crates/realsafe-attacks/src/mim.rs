//! Momentum iterative method (MIM, MI-FGSM): BIM along an accumulated gradient.
//!
//! ## What it does
//! Keeps `m ← decay · m + ∇loss / ‖∇loss‖₁` per sample, from zero, and steps along the sign (linf) or the unit vector
//! (l2) of `m`. A gradient of zero adds nothing. It starts at the clean image, so two runs give the same result.
//!
//! ## Threat model
//! White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Dong, Liao, Pang, Su, Zhu, Hu, Li: Boosting Adversarial Attacks with Momentum, CVPR 2018 (arXiv:1710.06081).

use realsafe_core::{AttackEntry, inventory};
use realsafe_plan::{Component, Origin};

use burn::tensor::Tensor;
use realsafe_core::projection::sum_per_row;
use realsafe_core::{Attack, AttackEntry, Batch, Gradients, Loss, Role, Stop, inventory, state};
use realsafe_plan::{Component, Cost, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{ITERATIVE, LOSS, STEP_SIZE, StepSize, step_size_relative, steps};

struct Mim {
    steps: u64,
    step_size: StepSize,
    decay: f64,
    loss: Arc<dyn Loss>,
}

state! {
    struct Momentum {
        images: Tensor<4>,
        momentum: Tensor<4>,
    }
}

impl Attack for Mim {
    type Door = dyn Gradients;
    type State = Momentum;

    fn steps(&self) -> u32 {
        u32::try_from(self.steps).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn is_stationary(&self) -> bool {
        self.steps > 1
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Momentum, Stop> {
        Ok(Momentum { images: batch.images.clone(), momentum: batch.images.zeros_like() })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Momentum) -> Result<(), Stop> {
        let (_, gradient) = victim.gradient(batch, &state.images, &*self.loss, Role::Iterate)?;
        let length = sum_per_row(gradient.clone().abs()).clamp_min(f32::MIN_POSITIVE);
        state.momentum = state.momentum.clone() * self.decay + gradient / length;
        state.images = self.step_size.advance(batch, state.images.clone(), state.momentum.clone())?;
        Ok(())
    }

    fn iterates(&self, _: &Batch, state: &Momentum) -> Tensor<4> {
        state.images.clone()
    }
}
use crate::shared::ascent::{ITERATIVE, LOSS, STEP_SIZE, step_size_relative, steps};
use crate::shared::momentum::{AtIterate, DECAY, Momentum, MomentumAttack};

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "mim",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("mim.rs"),
            parameters: &[steps("10"), STEP_SIZE, step_size_relative("1"), DECAY, LOSS],
            example: "steps = 10\ndecay = 1.0",
            traits: ITERATIVE,
        },
        build: &|values, context| {
            Ok(Box::new(MomentumAttack { momentum: Momentum::from(values, context)?, source: AtIterate { residual_decay: None } }))
        },
    }
}
