//! RandDisc: adds noise, and replaces every pixel by the nearest of a few colours of the image.
//!
//! ## What it does
//! Two copies of the image get Gaussian noise each. `centres` pixels of the first copy, drawn anew for every image of every
//! pass, are the colours; a pixel of the second copy becomes the nearest of them. Colours with noise can lie a little outside
//! of `[0, 1]`, and are left there. The defaults are those of `rand-mix`.
//!
//! ## What an attacker sees
//! The default is `smooth`: the derivative of `rand-mix` with the same draws and `sharpness`. `exact` only moves the pixels that
//! are the colours, since a small change does not make another colour the nearest. Attacks average with `eot`.
//!
//! ## References
//! Zhang, Liang: Defending against Whitebox Adversarial Attacks via Randomized Discretization, AISTATS 2019 (arXiv:1903.10586).

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, GradientMode, Origin, Traits};

use crate::shared::discretization::{CENTRES, Discretization, NOISE, SEEDING, SHARPNESS};

struct RandDisc {
    discretization: Discretization,
    sharpness: f64,
}

impl Defense for RandDisc {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = images.dims();
        Ok(self.discretization.clusters(images, draws)?.nearest().reshape(dims))
    }

    fn smooth(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = images.dims();
        Ok(self.discretization.clusters(images, draws)?.mixture(self.sharpness).reshape(dims))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "rand-disc",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("rand_disc.rs"),
            parameters: &[NOISE, CENTRES, SEEDING, SHARPNESS],
            example: "centres = 5",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Smooth, GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                randomised: true,
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(RandDisc {
            discretization: Discretization::from(values),
            sharpness: values.number(SHARPNESS.name),
        })),
    }
}
