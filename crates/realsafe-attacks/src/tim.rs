//! Translation-invariant method (TIM, TI-FGSM): momentum steps along gradients smoothed by a Gaussian kernel.
//!
//! ## What it does
//! Convolves the gradient at each step with a Gaussian kernel of `kernel-size` by `kernel-size` pixels whose sum is one, with
//! zeros around the gradient, as if the loss were averaged over translated images. The result goes into the momentum
//! of `mim`: `m ← decay · m + ∇ / ‖∇‖₁`, with steps along the sign (linf) or the unit vector (l2) of `m`, from the clean image.
//! With `diversity-probability` above 0, gradients are those of `dim` before they are smoothed (TI-DIM).
//!
//! `sigma` defaults to a third of the kernel's radius, as in the code of the authors and in all libraries that follow it. The
//! paper's text says that it is the radius over √3.
//!
//! ## Threat model
//! White-box gradients, or transfer from surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Dong, Pang, Su, Zhu: Evading Defenses to Transferable Adversarial Examples by Translation-Invariant Attacks, CVPR 2019
//! (arXiv:1904.02884).

use burn::tensor::Tensor;
use realsafe_core::{AttackEntry, Batch, Gradients, Stop, inventory};
use realsafe_plan::{Component, Cost, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::{LOSS, STEP_SIZE, iterative, step_size_relative, steps};
use crate::shared::diversity::{Diversity, INTERPOLATION, RESIZE_SHARE, probability};
use crate::shared::momentum::{DECAY, Momentum, MomentumAttack, Source, Walk};
use crate::shared::separable::Separable;

/// The smoothed gradient.
struct Smoothed {
    diversity: Diversity,
    size: usize,
    sigma: f64,
}

impl Source for Smoothed {
    fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        momentum: &Momentum,
        walk: &Walk,
    ) -> Result<Tensor<4>, Stop> {
        let gradient = self.diversity.gradient(victim, batch, walk.images(), &*momentum.loss)?;
        let [_, height, width] = batch.shape();
        Ok(Separable::gaussian(self.size, self.sigma, [height, width], &batch.device()).apply(gradient))
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "tim",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("tim.rs"),
            parameters: &[
                steps("10"),
                STEP_SIZE,
                step_size_relative("1"),
                DECAY,
                Parameter {
                    name: "kernel-size",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1001 },
                    unit: "pixels, odd",
                    fallback: Fallback::Value("15"),
                    documentation: "The side of the kernel; 1 smooths nothing. The paper's 15 is for images of 299 pixels.",
                },
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 0.01, maximum: 1000.0 },
                    unit: "pixels",
                    fallback: Fallback::Unset,
                    documentation: "The standard deviation of the kernel; (kernel-size - 1) / 6 where it is not set.",
                },
                probability("0"),
                RESIZE_SHARE,
                INTERPOLATION,
                LOSS,
            ],
            example: "steps = 10\nkernel-size = 7\nsigma = 1.5",
            traits: iterative(&|values| match values.count("kernel-size") {
                size if size % 2 == 0 => Err(format!("a kernel of {size} pixels has no centre: make `kernel-size` odd")),
                _ => Ok(Cost::gradient(values.count("steps"))),
            }),
        },
        build: &|values, context| {
            let size = values.count("kernel-size") as usize;
            // A kernel of one pixel is the same for every sigma but zero.
            let sigma = if values.is_set("sigma") { values.number("sigma") } else { (size as f64 - 1.0).max(1.0) / 6.0 };
            let source = Smoothed { diversity: Diversity::from(values), size, sigma };
            Ok(Box::new(MomentumAttack { momentum: Momentum::from(values, context)?, source }))
        },
    }
}
