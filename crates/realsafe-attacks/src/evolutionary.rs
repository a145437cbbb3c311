//! Evolutionary attack (l2): a (1+1) evolution strategy with diagonal covariance, from labels alone.
//!
//! ## What it does
//! First looks for a start: images of uniform noise, then images of the same dataset, in an order of the sample's own,
//! until one fulfils the goal; with the goal `targeted` images of the target come first. Ten bisections of the line to the clean image bring it near
//! the boundary. Then, from the current adversarial at distance d, each query
//!
//! 1. chooses a twentieth of the coordinates without replacement, with probabilities in proportion to their variances C, and draws
//!    z = √C · Gaussian there and 0 elsewhere;
//! 2. moves the current adversarial by the share `bias` towards the clean image, adds z, scaled to sigma · d, and goes back to the distance
//!    that the biased point had;
//! 3. keeps the image if it is adversarial: the path p becomes path-decay · p + √(1 - path-decay²) · z, and C becomes (1 - covariance-rate) · C + covariance-rate · p².
//!
//! After every 30 queries the bias is multiplied by exp(share of successes - 0.2). With dimension-reduction z lives on a square grid of that side per
//! channel, and is enlarged bilinearly to the image.
//!
//! The nearest adversarial of all queries is the result. Looking for the start is charged like everything else.
//! RealSafe starts at the noise itself, and tries noise only.
//!
//! ## Threat model
//! Predicted labels; l2; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! One forward pass per query.
//!
//! ## References
//! Dong, Su, Wu, Li, Liu, Zhang, Zhu: Efficient Decision-Based Black-Box Adversarial Attacks on Face Recognition, CVPR 2019
//! (arXiv:1904.04433); defaults as in RealSafe (Dong et al., CVPR 2020).

use std::sync::Arc;

use rand::seq::index::sample_weighted;
use rand_chacha::ChaCha8Rng;
use realsafe_core::projection::Distances;
use realsafe_core::{AttackEntry, fill_gaussian, inventory, length};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::noise::{DIMENSION_REDUCTION, Noise};
use crate::shared::starts::{Kind, Starts};
use crate::shared::walk::{self, Walk, Walker};

/// The part of the coordinates that changes at once.
const PART: usize = 20;
/// How many queries pass before the bias adapts.
const WINDOW: u32 = 30;
/// The share of successes at which the bias stays.
const BALANCE: f64 = 0.2;

struct Evolutionary {
    bias: f64,
    sigma: f64,
    path_decay: f32,
    covariance_rate: f32,
    noise: Noise,
}

/// One sample's strategy.
#[derive(Clone)]
struct Strategist {
    clean: Arc<[f32]>,
    current: Vec<f32>,
    bias: f64,
    /// The variances, by coordinate.
    covariance: Vec<f32>,
    path: Vec<f32>,
    /// What was added last.
    mutation: Vec<f32>,
    tried: u32,
    succeeded: u32,
}

impl Strategist {
    fn mutate(&mut self, random: &mut ChaCha8Rng) {
        let coordinates = self.covariance.len();
        let chosen = coordinates.div_ceil(PART);
        let chosen = sample_weighted(random, coordinates, |at| f64::from(self.covariance[at]), chosen)
            .expect("variances are positive and finite");
        let mut values = vec![0.0; chosen.len()];
        fill_gaussian(random, &mut values);
        self.mutation.fill(0.0);
        for (at, value) in chosen.into_iter().zip(values) {
            self.mutation[at] = self.covariance[at].sqrt() * value;
        }
    }
}

impl Strategist {
    /// Keeps the variances in the range of single precision; nothing depends on their common scale.
    fn rescale(&mut self) {
        let largest = self.covariance.iter().copied().fold(0.0, f32::max);
        if largest < 1e-12 {
            self.covariance
                .iter_mut()
                .for_each(|covariance| *covariance = (*covariance / largest).max(f32::MIN_POSITIVE));
            self.path.iter_mut().for_each(|path| *path /= largest.sqrt());
        }
    }
}

impl Walker for Strategist {
    type Settings = Evolutionary;

    fn approach(_: &Evolutionary, _: Norm, _: usize) -> Option<f64> {
        Some(walk::NEAR)
    }

    fn begin(settings: &Evolutionary, _: Norm, clean: &Arc<[f32]>, start: Vec<f32>) -> Self {
        let coordinates = settings.noise.coordinates();
        Self {
            clean: Arc::clone(clean),
            current: start,
            bias: settings.bias,
            covariance: vec![1.0; coordinates],
            path: vec![0.0; coordinates],
            mutation: vec![0.0; coordinates],
            tried: 0,
            succeeded: 0,
        }
    }

    fn ask(&mut self, settings: &Evolutionary, random: &mut ChaCha8Rng) -> Vec<f32> {
        self.mutate(random);
        let mutation = settings.noise.enlarge(&self.mutation);
        let distance = Distances::between(&self.clean, &self.current).l2;
        let scale = settings.sigma * distance / f64::from(length(&mutation).max(f32::MIN_POSITIVE));
        // What the candidate differs by from the clean image.
        let pixels = self.clean.iter().zip(&self.current).zip(mutation.iter());
        let change: Vec<f64> = pixels
            .map(|((clean, current), mutation)| {
                (1.0 - self.bias) * (f64::from(*current) - f64::from(*clean)) + scale * f64::from(*mutation)
            })
            .collect();
        let length = change.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let shrink = (1.0 - self.bias).abs() * distance / length;
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let candidate = self.clean.iter().zip(change).map(|(clean, by)| (f64::from(*clean) + shrink * by) as f32);
        candidate.map(|pixel| pixel.clamp(0.0, 1.0)).collect()
    }

    fn learn(&mut self, settings: &Evolutionary, image: &[f32], adversarial: bool) {
        if adversarial {
            self.current.copy_from_slice(image);
            let Evolutionary { path_decay: decay, covariance_rate: rate, .. } = settings;
            let fresh = (1.0 - decay * decay).sqrt();
            for ((path, covariance), mutation) in self.path.iter_mut().zip(&mut self.covariance).zip(&self.mutation) {
                *path = decay * *path + fresh * mutation;
                *covariance = (1.0 - rate) * *covariance + rate * *path * *path;
            }
            self.rescale();
        }
        self.tried += 1;
        self.succeeded += u32::from(adversarial);
        if self.tried == WINDOW {
            // A bias beyond one would leave the clean image behind.
            self.bias = (self.bias * (f64::from(self.succeeded) / f64::from(WINDOW) - BALANCE).exp()).min(1.0);
            (self.tried, self.succeeded) = (0, 0);
        }
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "evolutionary",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("evolutionary.rs"),
            parameters: &[
                walk::QUERIES,
                Parameter {
                    name: "bias",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1.0 },
                    unit: "distance to the clean image",
                    fallback: Fallback::Value("0.01"),
                    documentation: "The first step towards the clean image.",
                },
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 10.0 },
                    unit: "distance to the clean image",
                    fallback: Fallback::Value("0.03"),
                    documentation: "The length of what is added.",
                },
                Parameter {
                    name: "path-decay",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "",
                    fallback: Fallback::Value("0.99"),
                    documentation: "What is kept of the evolution path at a success.",
                },
                Parameter {
                    name: "covariance-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 0.99 },
                    unit: "",
                    fallback: Fallback::Value("0.001"),
                    documentation: "What the squared path replaces of the variances at a success.",
                },
                DIMENSION_REDUCTION,
            ],
            example: "queries = 2000\ndimension-reduction = 1",
            traits: walk::traits(&[Norm::L2]),
        },
        build: &|values, context| {
            #[expect(clippy::cast_possible_truncation, reason = "single precision is enough for sums of noise")]
            let number = |name: &str| values.number(name) as f32;
            Ok(Box::new(Walk::<Strategist> {
                queries: values.count("queries"),
                starts: Starts::new(Kind::Images, context),
                settings: Evolutionary {
                    bias: values.number("bias"),
                    sigma: values.number("sigma"),
                    path_decay: number("path-decay"),
                    covariance_rate: number("covariance-rate"),
                    noise: Noise::from(values, context.shape)?,
                },
            }))
        },
    }
}
