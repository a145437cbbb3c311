//! RandMix: adds noise, and replaces every pixel by a mixture of a few colours of the image.
//!
//! ## What it does
//! Two copies of the image get Gaussian noise each. `centres` pixels of the first copy, drawn anew for every image of every
//! pass, are the colours; a pixel of the second copy at squared distances d² from them becomes their mean with the weights
//! exp(−`sharpness` · d²). Colours with noise can lie a little outside of `[0, 1]`, and are left there.
//!
//! The defaults are those of RealSafe's code, on the pixel range `[0, 1]` instead of `[−1, 1]` (noise 32/255 and sharpness 10
//! there). Its draws of centres are uniform, too, though its function is named after k-means++, which is there as `seeding`. It
//! averages the logits of ten passes; here a pass is one answer, unless `prediction-averaging` stands in front, which averages
//! probabilities.
//!
//! ## What an attacker sees
//! `exact`: with its draws fixed a pass is smooth, the pixels that are the centres included. `identity` passes over the mixing
//! (BPDA). Attacks average with `eot`.
//!
//! ## References
//! Zhang, Liang: Defending against Whitebox Adversarial Attacks via Randomized Discretization, AISTATS 2019 (arXiv:1903.10586).
//! Evaluated by Dong et al.: Benchmarking Adversarial Robustness on Image Classification, CVPR 2020 (arXiv:1912.11852).

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, GradientMode, Origin, Traits};

use crate::shared::discretization::{CENTRES, Discretization, NOISE, SEEDING, SHARPNESS};

struct RandMix {
    discretization: Discretization,
    sharpness: f64,
}

impl Defense for RandMix {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = images.dims();
        Ok(self.discretization.clusters(images, draws)?.mixture(self.sharpness).reshape(dims))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "rand-mix",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("rand_mix.rs"),
            parameters: &[NOISE, CENTRES, SEEDING, SHARPNESS],
            example: "centres = 5",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                randomised: true,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(RandMix {
            discretization: Discretization::from(values),
            sharpness: values.number(SHARPNESS.name),
        })),
    }
}
