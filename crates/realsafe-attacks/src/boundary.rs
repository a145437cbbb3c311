//! Boundary attack (l2): a random walk along the decision boundary, from labels alone, towards the clean image.
//!
//! ## What it does
//! First looks for a start: images of uniform noise, then images of the same dataset, in an order of the sample's own,
//! until one fulfils the goal; with the goal `targeted` images of the target come first. Ten bisections of the line to the clean image bring it near
//! the boundary. Then, each query draws a Gaussian direction from the current adversarial at
//! distance d, removes its part along the line to the clean image, scales it to spherical-step · d, goes back to the sphere of
//! radius d, moves source-step · d towards the clean image, and keeps the candidate if it is adversarial. For every fifth direction the point
//! on the sphere is queried first, and the candidate is skipped if that is not adversarial. With dimension-reduction the direction
//! is drawn on a square grid of that side per channel, and enlarged bilinearly.
//!
//! After 10 such points both step sizes are multiplied by step-adaptation if more than half of them were adversarial, and divided by it
//! if less than a fifth were. After 20 other candidates the source step alone is multiplied if more than a quarter were
//! adversarial, and divided if less than a tenth were.
//!
//! The authors and RealSafe check every tenth walking step only, of up to 25 directions each, and wait for 100 points on the sphere and 30 candidates
//! after them: within a few thousand queries the steps hardly adapt. Foolbox, whose quarter and tenth these are, needs
//! 1,000 and 300 queries.
//!
//! The nearest adversarial of all queries is the result. Looking for the start is charged like everything else.
//!
//! ## Threat model
//! Predicted labels; l2; untargeted, targeted and targeted-misclassify. It minimises the distance: one run serves every eps.
//!
//! ## Cost
//! One forward pass per query.
//!
//! ## References
//! Brendel, Rauber, Bethge: Decision-Based Adversarial Attacks, ICLR 2018 (arXiv:1712.04248).

use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::{AttackEntry, fill_gaussian, inventory};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::noise::{DIMENSION_REDUCTION, Noise};
use crate::shared::starts::{Kind, Starts};
use crate::shared::walk::{self, Walk, Walker};

/// For which directions the point on the sphere is queried first.
const CHECKED: u64 = 5;
/// Points on the sphere after which the step sizes adapt, and the rates of success between which they stay.
const SPHERICAL: (u32, f64, f64) = (10, 0.2, 0.5);
/// Candidates after which the source step adapts, and the rates of success between which it stays.
const SOURCE: (u32, f64, f64) = (20, 0.1, 0.25);

struct Boundary {
    noise: Noise,
    spherical_step: f64,
    source_step: f64,
    step_adaptation: f64,
}

/// One sample's walk.
#[derive(Clone)]
struct Wanderer {
    clean: Arc<[f32]>,
    current: Vec<f32>,
    directions: u64,
    spherical_step: f64,
    source_step: f64,
    spherical: Successes,
    source: Successes,
    asked: Asked,
}

/// What the last query was, and what follows if it was adversarial.
#[derive(Clone)]
enum Asked {
    Sphere { candidate: Vec<f32> },
    Candidate { counted: bool },
}

/// Successes since the last adaptation.
#[derive(Clone, Copy, Default)]
struct Successes {
    tried: u32,
    succeeded: u32,
}

impl Successes {
    /// Counts one more, and gives the power of the factor by which a step size adapts.
    fn count(&mut self, success: bool, (window, least, most): (u32, f64, f64)) -> i32 {
        self.tried += 1;
        self.succeeded += u32::from(success);
        if self.tried < window {
            return 0;
        }
        let rate = f64::from(self.succeeded) / f64::from(self.tried);
        *self = Self::default();
        i32::from(rate > most) - i32::from(rate < least)
    }
}

impl Walker for Wanderer {
    type Settings = Boundary;

    fn approach(_: &Boundary, _: Norm, _: usize) -> Option<f64> {
        Some(walk::NEAR)
    }

    fn begin(boundary: &Boundary, _: Norm, clean: &Arc<[f32]>, start: Vec<f32>) -> Self {
        Self {
            clean: Arc::clone(clean),
            current: start,
            directions: 0,
            spherical_step: boundary.spherical_step,
            source_step: boundary.source_step,
            spherical: Successes::default(),
            source: Successes::default(),
            asked: Asked::Candidate { counted: false },
        }
    }

    fn ask(&mut self, settings: &Boundary, random: &mut ChaCha8Rng) -> Vec<f32> {
        if let Asked::Sphere { candidate } = &mut self.asked {
            let candidate = std::mem::take(candidate);
            self.asked = Asked::Candidate { counted: false };
            return candidate;
        }
        let mut noise = vec![0.0; settings.noise.coordinates()];
        fill_gaussian(random, &mut noise);
        let noise = settings.noise.enlarge(&noise);
        let (sphere, candidate) = self.propose(&noise);
        self.directions += 1;
        if self.directions.is_multiple_of(CHECKED) {
            self.asked = Asked::Sphere { candidate };
            return sphere;
        }
        self.asked = Asked::Candidate { counted: true };
        candidate
    }

    fn learn(&mut self, boundary: &Boundary, image: &[f32], adversarial: bool) {
        match self.asked {
            Asked::Sphere { .. } => {
                let factor = boundary.step_adaptation.powi(self.spherical.count(adversarial, SPHERICAL));
                self.spherical_step *= factor;
                self.source_step *= factor;
                if !adversarial {
                    self.asked = Asked::Candidate { counted: false };
                }
            }
            Asked::Candidate { counted } => {
                if counted {
                    self.source_step *= boundary.step_adaptation.powi(self.source.count(adversarial, SOURCE));
                }
                if adversarial {
                    self.current.copy_from_slice(image);
                }
            }
        }
    }
}

impl Wanderer {
    /// The point in the direction of `noise` on the sphere through the current one around the clean image, and the candidate between
    /// it and the clean image.
    fn propose(&self, noise: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Self { clean, current, spherical_step, source_step, .. } = self;
        let inward: Vec<f64> = clean.iter().zip(current).map(|(clean, current)| f64::from(clean - current)).collect();
        let distance = length(&inward);
        let along: f64 = noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) * inward).sum::<f64>()
            / (distance * distance);
        let tangent: Vec<f64> =
            noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) - along * inward).collect();
        let scale = spherical_step * distance / length(&tangent);
        let shrink = (1.0 + spherical_step * spherical_step).sqrt().recip();
        let moved = tangent.iter().zip(&inward).zip(clean.iter());
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let sphere: Vec<f32> = moved
            .map(|((tangent, inward), clean)| (f64::from(*clean) + (tangent * scale - inward) * shrink) as f32)
            .map(|pixel| pixel.clamp(0.0, 1.0))
            .collect();
        let back: Vec<f64> = clean.iter().zip(&sphere).map(|(clean, point)| f64::from(clean - point)).collect();
        let reached = length(&back);
        let share = ((source_step * distance + reached - distance).max(0.0) / reached).min(1.0);
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let candidate = sphere.iter().zip(&back).map(|(point, back)| (f64::from(*point) + share * back) as f32);
        let candidate = candidate.map(|pixel| pixel.clamp(0.0, 1.0)).collect();
        (sphere, candidate)
    }
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "boundary",
            revision: 3,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("boundary.rs"),
            parameters: &[
                walk::QUERIES,
                Parameter {
                    name: "spherical-step",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 10.0 },
                    unit: "distance to the clean image",
                    fallback: Fallback::Value("0.01"),
                    documentation: "The first step along the sphere.",
                },
                Parameter {
                    name: "source-step",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "distance to the clean image",
                    fallback: Fallback::Value("0.01"),
                    documentation: "The first step towards the clean image.",
                },
                Parameter {
                    name: "step-adaptation",
                    kind: ParameterKind::Number { minimum: 1.0, maximum: 100.0 },
                    unit: "factor",
                    fallback: Fallback::Value("1.5"),
                    documentation: "How fast the step sizes adapt.",
                },
                DIMENSION_REDUCTION,
            ],
            example: "queries = 2000",
            traits: walk::traits(&[Norm::L2]),
        },
        build: &|values, context| Ok(Box::new(Walk::<Wanderer> {
            queries: values.count("queries"),
            starts: Starts::new(Kind::Images, context),
            settings: Boundary {
                noise: Noise::from(values, context.shape)?,
                spherical_step: values.number("spherical-step"),
                source_step: values.number("source-step"),
                step_adaptation: values.number("step-adaptation"),
            },
        })),
    }
}
