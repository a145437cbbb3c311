//! Diverse inputs method (DIM, M-DI²-FGSM): momentum steps along gradients at randomly shrunk and padded images.
//!
//! ## What it does
//! At each step and for each sample, with probability `diversity-probability`, the image `x` is shrunk to a random size,
//! put at a random place and surrounded by zeros: `T(x)`. The gradient `∇ loss(T(x))` with respect to `x` then goes into the
//! momentum of `mim`: `m ← decay · m + ∇ / ‖∇‖₁`, with steps along the sign (linf) or the unit vector (l2) of `m`, from the
//! clean image. With `diversity-probability = 0` it is `mim`, with `decay = 0` it is DI²-FGSM.
//!
//! The paper enlarges images of 299 pixels to up to 330, which networks of one input size do not take; like RealSafe and
//! others this one shrinks them, to `resize-share` of their side and more. RealSafe has `diversity-probability = 0.9`,
//! `resize-share = 0.5` and `interpolation = "nearest"`. Each sample draws its own transformation; other libraries draw one
//! for the whole batch. All places are equally likely; others never put the image at the bottom or the right.
//!
//! Transformed images lie outside the ball: where any iterate decides, only steps that leave the image as it is, and the last
//! one, can find an adversarial.
//!
//! ## Threat model
//! White-box gradients, or transfer from surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward and one backward pass per step and sample.
//!
//! ## References
//! Xie, Zhang, Zhou, Bai, Wang, Ren, Yuille: Improving Transferability of Adversarial Examples with Input Diversity,
//! CVPR 2019 (arXiv:1803.06978).

use burn::tensor::Tensor;
use realsafe_core::{AttackEntry, Batch, Gradients, Stop, inventory};
use realsafe_plan::{Component, Origin};

use crate::shared::ascent::{ITERATIVE, LOSS, STEP_SIZE, step_size_relative, steps};
use crate::shared::diversity::{Diversity, INTERPOLATION, RESIZE_SHARE, probability};
use crate::shared::momentum::{DECAY, Momentum, MomentumAttack, Source, Walk};

impl Source for Diversity {
    fn gradient(
        &self,
        victim: &mut dyn Gradients,
        batch: &Batch,
        momentum: &Momentum,
        walk: &Walk,
    ) -> Result<Tensor<4>, Stop> {
        self.gradient(victim, batch, walk.images(), &*momentum.loss)
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "dim",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("dim.rs"),
            parameters: &[
                steps("10"),
                STEP_SIZE,
                step_size_relative("1"),
                DECAY,
                probability("0.5"),
                RESIZE_SHARE,
                INTERPOLATION,
                LOSS,
            ],
            example: "steps = 10\ndiversity-probability = 0.9\nresize-share = 0.5\ninterpolation = \"nearest\"",
            traits: ITERATIVE,
        },
        build: &|values, context| {
            let momentum = Momentum::from(values, context)?;
            Ok(Box::new(MomentumAttack { momentum, source: Diversity::from(values) }))
        },
    }
}
