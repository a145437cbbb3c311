//! Per-image standardisation: every image gets mean zero and deviation one. The input of several published networks.
//!
//! ## What it does
//! `(x − mean) / max(deviation, 1/√N)` with mean and population deviation over all N pixels and channels of the image, which are
//! in `[0, white]`. The floor is that of TensorFlow's function of this name; it matters for nearly constant images only. What
//! comes out is not in `[0, 1]`, so this stands last, right before the network.
//!
//! ## What an attacker sees
//! `exact`: the function is smooth. `identity` passes over it, which an attacker who knows of it has no reason to do.
//!
//! ## References
//! Part of the networks of Madry, Makelov, Schmidt, Tsipras, Vladu: Towards Deep Learning Models Resistant to Adversarial
//! Attacks, ICLR 2018 (arXiv:1706.06083), which take pixels up to 255, and of the ResNet-56 of Dong et al.: Benchmarking
//! Adversarial Robustness on Image Classification, CVPR 2020, which takes pixels up to 1.

use burn::tensor::Tensor;
use realsafe_core::{Defense, DefenseEntry, Draws, Stop, inventory};
use realsafe_plan::{Component, DefenseTraits, GradientMode, Origin, Traits};

use crate::shared::standardisation::{WHITE, centred, images};

struct PerImageStandardisation {
    white: f64,
}

impl Defense for PerImageStandardisation {
    fn forward(&self, pixels: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = pixels.dims();
        let centred = centred(pixels * self.white);
        let count = centred.dims()[1];
        // The floor comes before the root, whose derivative at zero is infinite.
        let variance = centred.clone().square().mean_dim(1).clamp_min(1.0 / count as f64);
        Ok(images(centred / variance.sqrt(), dims))
    }
}

inventory::submit! {
    DefenseEntry {
        component: Component {
            id: "per-image-standardisation",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("per_image_standardisation.rs"),
            parameters: &[WHITE],
            example: "white = 255",
            traits: Traits::Defense(DefenseTraits {
                gradients: &[GradientMode::Exact, GradientMode::Identity, GradientMode::Blocked],
                ..DefenseTraits::PLAIN
            }),
        },
        build: &|values, _| Ok(Box::new(PerImageStandardisation { white: values.number(WHITE.name) })),
    }
}
