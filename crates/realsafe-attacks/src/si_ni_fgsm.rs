//! SI-NI-FGSM: momentum steps along gradients at a look-ahead point, averaged over darkened copies of the image.
//!
//! ## What it does
//! Looks ahead along the momentum, `y = x + decay · step size · m'`, averages the gradients of `loss(y / 2ⁱ)` with respect to `y`
//! over `i = 0 … scale-copies − 1`, and gives the result to the momentum of `mim`: `m ← decay · m + ∇ / ‖∇‖₁`, with steps along
//! the sign (linf) or the unit vector (l2) of `m`, from the clean image. Scaling is towards black, in pixels from 0 to 1, and
//! neither `y` nor its copies are clipped. With `scale-copies = 1` it is NI-FGSM.
//!
//! The paper divides gradients by their l1 norm, which makes them so small that there is no looking ahead; the authors' code,
//! and the libraries that follow it, divide by the mean absolute value. So does this one: `m'` is `m` times the number of
//! pixel values. For l2, which the paper lacks, it is `m` times the root of their number, so that a fresh gradient has a length
//! of about one.
//!
//! The network sees only points that lie ahead, which are no candidates: where any iterate decides, the last one does.
//!
//! ## Threat model
//! White-box gradients, or transfer from surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! `scale-copies` forward and backward passes per step and sample.
//!
//! ## References
//! Lin, Song, He, Wang, Hopcroft: Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks, ICLR 2020
//! (arXiv:1908.06281).

use burn::tensor::Tensor;
use realsafe_core::projection::per_row;
use realsafe_core::{AttackEntry, Batch, Gradients, Role, Stop, inventory};
use realsafe_plan::{Component, Cost, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{LOSS, STEP_SIZE, iterative, step_size_relative, steps};
use crate::shared::momentum::{DECAY, Momentum, MomentumAttack, Source, Walk};

/// The mean gradient of scaled copies of the look-ahead point.
struct ScaledAhead {
    copies: u64,
}

impl Source for ScaledAhead {
    fn gradients(&self) -> u64 {
        self.copies
    }

    fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        momentum: &Momentum,
        walk: &Walk,
    ) -> Result<Tensor<4>, Stop> {
        let values = batch.shape().iter().product::<usize>() as f64;
        let fresh = if batch.norm == Norm::L2 { values.sqrt() } else { values };
        let lengths = per_row(&momentum.step_size.lengths(batch), &batch.images);
        let ahead = walk.images().clone() + walk.momentum().clone() * lengths * (momentum.decay * fresh);
        let mut sum = batch.images.zeros_like();
        let mut scale = 1.0;
        for _ in 0..self.copies {
            let gradient = victim.gradient(batch, &(ahead.clone() * scale), &*momentum.loss, Role::Probe)?.gradient;
            sum = sum + gradient * scale;
            scale *= 0.5;
        }
        // The momentum divides by the length, and a sum has the direction of its mean.
        Ok(sum)
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "si-ni-fgsm",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("si_ni_fgsm.rs"),
            parameters: &[
                steps("10"),
                STEP_SIZE,
                step_size_relative("1"),
                DECAY,
                Parameter {
                    name: "scale-copies",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100 },
                    unit: "gradients per step",
                    fallback: Fallback::Value("5"),
                    documentation: "How many copies there are, each half as bright as the one before.",
                },
                LOSS,
            ],
            example: "steps = 10\nscale-copies = 5",
            traits: iterative(&|values| Ok(Cost::gradient(values.count("steps") * values.count("scale-copies")))),
        },
        build: &|values, context| {
            let source = ScaledAhead { copies: values.count("scale-copies") };
            Ok(Box::new(MomentumAttack { momentum: Momentum::from(values, context)?, source }))
        },
    }
}
