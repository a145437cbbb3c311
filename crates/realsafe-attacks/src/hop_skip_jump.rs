//! HopSkipJump (l2, linf): steps along a gradient that is estimated from labels at the decision boundary.
//!
//! ## What it does
//! First looks for a start: images of uniform noise, then images of the same dataset, in an order of the sample's own,
//! until one fulfils the goal; with the goal `targeted` images of the target come first. Then repeats, in round t from 1:
//!
//! 1. Bisection towards the clean image, until the boundary is known to a share θ of the distance: along the line for l2, by
//!    clipping the change for linf. θ is gamma / n^1.5, n the number of pixel values, and no less than single precision resolves.
//! 2. min(initial-evaluations · √t, max-evaluations) images at δ times random unit directions from there, Gaussian for l2, uniform for
//!    linf. δ is 0.1 in the first round, then gamma / n times the distance for l2 and gamma / √n times for linf. The mean of the directions, as far as clipping
//!    to the box left them, weighted with +1 where the image is adversarial, -1 where not, and less the mean of those weights, is the gradient.
//! 3. A step along the unit gradient (l2) or its sign (linf), of the distance over √t, halved until the image is adversarial.
//!    After 30 halvings the point stays where it is.
//!
//! The distance in δ is that after the bisection, where the authors' program takes the one before it.
//! The nearest adversarial of all queries is the result. Looking for the start is charged like everything else.
//! For linf the paper has θ = gamma / n² and δ = gamma / n times the distance, √n less of both. But a change of every pixel value by the distance is √n
//! times as long in l2, in which δ is measured: with the paper's δ probes are so near that rounding decides on them, and its θ takes more queries.
//! gamma = 1 / √n gives the paper's values. Foolbox normalises the gradients of a batch together, so that its steps get shorter with the batch; here every sample has its own.
//!
//! ## Threat model
//! Predicted labels; l2 and linf; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! One forward pass per query.
//!
//! ## References
//! Chen, Jordan, Wainwright: HopSkipJumpAttack: A Query-Efficient Decision-Based Attack, IEEE S&P 2020 (arXiv:1904.02144).

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::projection::Distances;
use realsafe_core::{AttackEntry, fill_gaussian, fill_uniform, inventory, length};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::starts::{Kind, Starts};
use crate::shared::walk::{self, Bisection, Walk, Walker};

/// How often a step is halved before it is given up.
const HALVINGS: u32 = 30;
/// The distance of the first probes.
const FIRST_PROBES: f64 = 0.1;

struct HopSkipJump {
    initial_evaluations: u64,
    max_evaluations: u64,
    gamma: f64,
}

impl HopSkipJump {
    /// How well the boundary is known, as a share of the distance.
    fn tolerance(&self, pixels: usize) -> f64 {
        (self.gamma / (pixels as f64).powf(1.5)).max(f64::from(f32::EPSILON))
    }

    /// How many directions are probed in a round.
    fn evaluations(&self, round: u32) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of images")]
        let evaluations = (self.initial_evaluations as f64 * f64::from(round).sqrt()) as u64;
        evaluations.min(self.max_evaluations)
    }
}

/// One sample's place on the boundary.
#[derive(Clone)]
struct Hopper {
    norm: Norm,
    clean: Arc<[f32]>,
    boundary: Vec<f32>,
    distance: f64,
    round: u32,
    stage: Stage,
}

#[derive(Clone)]
enum Stage {
    Probe(Estimate),
    Step { update: Vec<f32>, size: f64, halvings: u32 },
    Return(Bisection),
}

/// Sums over the directions that were probed.
#[derive(Clone)]
struct Estimate {
    probes: u64,
    adversarial: u64,
    /// The sum of all directions.
    all: Vec<f64>,
    /// The sum of those that are adversarial.
    inside: Vec<f64>,
}

impl Estimate {
    fn new(pixels: usize) -> Self {
        Self { probes: 0, adversarial: 0, all: vec![0.0; pixels], inside: vec![0.0; pixels] }
    }

    fn add(&mut self, boundary: &[f32], probe: &[f32], adversarial: bool) {
        self.probes += 1;
        self.adversarial += u64::from(adversarial);
        let sums = self.all.iter_mut().zip(&mut self.inside);
        for ((all, inside), (boundary, probe)) in sums.zip(boundary.iter().zip(probe)) {
            let direction = f64::from(*probe) - f64::from(*boundary);
            *all += direction;
            if adversarial {
                *inside += direction;
            }
        }
    }

    /// The direction of the gradient: of unit length for l2, signs for linf.
    fn direction(&self, norm: Norm) -> Vec<f32> {
        let mean = 2.0 * self.adversarial as f64 / self.probes as f64 - 1.0;
        // Where all weights are the same, nothing would be left of them.
        let mean = if mean.abs() == 1.0 { 0.0 } else { mean };
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let gradient =
            self.all.iter().zip(&self.inside).map(|(all, inside)| (2.0 * inside - (1.0 + mean) * all) as f32);
        let mut gradient: Vec<f32> = gradient.collect();
        let length = length(&gradient).max(f32::MIN_POSITIVE);
        for value in &mut gradient {
            *value = match norm {
                Norm::Linf if *value == 0.0 => 0.0,
                Norm::Linf => value.signum(),
                _ => *value / length,
            };
        }
        gradient
    }
}

impl Hopper {
    /// How far away probes are.
    fn reach(&self, settings: &HopSkipJump) -> f64 {
        let pixels = self.clean.len() as f64;
        match self.norm {
            _ if self.round == 1 => FIRST_PROBES,
            Norm::Linf => settings.gamma / pixels.sqrt() * self.distance,
            _ => settings.gamma / pixels * self.distance,
        }
    }

    fn arrive(&mut self, boundary: Vec<f32>) {
        self.distance = Distances::between(&self.clean, &boundary).in_norm(self.norm);
        self.boundary = boundary;
        self.round += 1;
        self.stage = Stage::Probe(Estimate::new(self.clean.len()));
    }
}

/// The image at a multiple of a direction.
fn moved(image: &[f32], direction: &[f32], size: f64) -> Vec<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
    let moved = image.iter().zip(direction).map(|(pixel, by)| (f64::from(*pixel) + size * f64::from(*by)) as f32);
    moved.map(|pixel| pixel.clamp(0.0, 1.0)).collect()
}

impl Walker for Hopper {
    type Settings = HopSkipJump;

    fn approach(settings: &HopSkipJump, _: Norm, pixels: usize) -> Option<f64> {
        Some(settings.tolerance(pixels))
    }

    fn begin(_: &HopSkipJump, norm: Norm, clean: &Arc<[f32]>, start: Vec<f32>) -> Self {
        let stage = Stage::Probe(Estimate::new(clean.len()));
        let mut hopper = Self { norm, clean: Arc::clone(clean), boundary: Vec::new(), distance: 0.0, round: 0, stage };
        hopper.arrive(start);
        hopper
    }

    fn ask(&mut self, settings: &HopSkipJump, random: &mut ChaCha8Rng) -> Vec<f32> {
        match &self.stage {
            Stage::Probe(_) => {
                let mut direction = vec![0.0; self.clean.len()];
                match self.norm {
                    Norm::Linf => fill_uniform(random, &mut direction),
                    _ => fill_gaussian(random, &mut direction),
                }
                let length = f64::from(length(&direction).max(f32::MIN_POSITIVE));
                moved(&self.boundary, &direction, self.reach(settings) / length)
            }
            Stage::Step { update, size, .. } => moved(&self.boundary, update, *size),
            Stage::Return(bisection) => bisection.ask(&self.clean),
        }
    }

    fn learn(&mut self, settings: &HopSkipJump, image: &[f32], adversarial: bool) {
        match &mut self.stage {
            Stage::Probe(estimate) => {
                estimate.add(&self.boundary, image, adversarial);
                if estimate.probes >= settings.evaluations(self.round) {
                    let size = self.distance / f64::from(self.round).sqrt();
                    self.stage = Stage::Step { update: estimate.direction(self.norm), size, halvings: 0 };
                }
            }
            Stage::Step { .. } if adversarial => {
                let tolerance = settings.tolerance(self.clean.len());
                self.stage = Stage::Return(Bisection::new(self.norm, &self.clean, image.to_vec(), tolerance));
            }
            Stage::Step { size, halvings, .. } => {
                *size /= 2.0;
                *halvings += 1;
                if *halvings == HALVINGS {
                    let boundary = std::mem::take(&mut self.boundary);
                    self.arrive(boundary);
                }
            }
            Stage::Return(bisection) => {
                if let Some(boundary) = bisection.learn(image, adversarial) {
                    self.arrive(boundary);
                }
            }
        }
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "hop-skip-jump",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("hop_skip_jump.rs"),
            parameters: &[
                walk::QUERIES,
                Parameter {
                    name: "initial-evaluations",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1_000_000 },
                    unit: "queries",
                    fallback: Fallback::Value("100"),
                    documentation: "How many directions are probed in the first round.",
                },
                Parameter {
                    name: "max-evaluations",
                    kind: ParameterKind::Count { minimum: 1, maximum: 1_000_000 },
                    unit: "queries",
                    fallback: Fallback::Value("10000"),
                    documentation: "How many directions are probed in a round at most.",
                },
                Parameter {
                    name: "gamma",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e6 },
                    unit: "",
                    fallback: Fallback::Value("1"),
                    documentation: "How far away probes are, and how well the boundary is known for that.",
                },
            ],
            example: "queries = 1000\ninitial-evaluations = 50",
            traits: walk::traits(&[Norm::L2, Norm::Linf]),
        },
        build: &|values, context| Ok(Box::new(Walk::<Hopper> {
            queries: values.count("queries"),
            starts: Starts::new(Kind::Images, context),
            settings: HopSkipJump {
                initial_evaluations: values.count("initial-evaluations"),
                max_evaluations: values.count("max-evaluations"),
                gamma: values.number("gamma"),
            },
        })),
    }
}
