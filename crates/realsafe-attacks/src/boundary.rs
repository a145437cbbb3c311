//! Boundary attack (l2): a random walk along the decision boundary, from labels alone, towards the clean image.
//!
//! ## What it does
//! First looks for a start: images of uniform noise, then images of the same dataset, in an order of the sample's own,
//! until one fulfils the goal; with a target the images of its class come first. Ten bisections of the line to the clean image bring it near
//! the boundary. Then, from the current adversarial at distance d, draws a Gaussian direction, removes its part
//! along the line to the clean image, scales it to spherical-step · d, goes back to the sphere of radius d, moves
//! source-step · d towards the clean image, and keeps the candidate if it is adversarial. Up to max-directions
//! candidates are tried per walking step. On every tenth one the point on the sphere is queried first, and skipped if it is not
//! adversarial; once 100 of those and 30 of the candidates after them are known, a step size is multiplied by step-adaptation where more than
//! half succeeded and divided by it where less than a fifth did.
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
//! Brendel, Rauber, Bethge: Decision-Based Adversarial Attacks, ICLR 2018 (arXiv:1712.04248); defaults and adaptation as
//! in RealSafe (Dong et al., CVPR 2020).

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use realsafe_core::{AttackEntry, fill_gaussian, inventory};
use realsafe_plan::{Component, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::starts::{Kind, Starts};
use crate::shared::walk::{self, Walk, Walker};

/// How many spherical points are known before the step sizes adapt.
const SPHERICAL_WINDOW: usize = 100;
/// How many candidates are known before the step sizes adapt.
const SOURCE_WINDOW: usize = 30;

struct Boundary {
    max_directions: u64,
    spherical_step: f64,
    source_step: f64,
    step_adaptation: f64,
}

/// One sample's walk.
#[derive(Clone)]
struct Wanderer {
    clean: Arc<[f32]>,
    current: Vec<f32>,
    step: u64,
    directions: u64,
    spherical_step: f64,
    source_step: f64,
    spherical: VecDeque<bool>,
    source: VecDeque<bool>,
    asked: Asked,
}

/// What the last query was, and what follows if it was adversarial.
#[derive(Clone)]
enum Asked {
    Sphere { candidate: Vec<f32> },
    Candidate { counted: bool },
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
            step: 1,
            directions: 0,
            spherical_step: boundary.spherical_step,
            source_step: boundary.source_step,
            spherical: VecDeque::new(),
            source: VecDeque::new(),
            asked: Asked::Candidate { counted: false },
        }
    }

    fn ask(&mut self, _: &Boundary, random: &mut ChaCha8Rng) -> Vec<f32> {
        if let Asked::Sphere { candidate } = &mut self.asked {
            let candidate = std::mem::take(candidate);
            self.asked = Asked::Candidate { counted: true };
            return candidate;
        }
        let (sphere, candidate) = propose(&self.clean, &self.current, self.spherical_step, self.source_step, random);
        if self.step.is_multiple_of(10) {
            self.asked = Asked::Sphere { candidate };
            return sphere;
        }
        self.asked = Asked::Candidate { counted: false };
        candidate
    }

    fn learn(&mut self, boundary: &Boundary, image: &[f32], adversarial: bool) {
        match self.asked {
            Asked::Sphere { .. } => {
                remember(&mut self.spherical, adversarial, SPHERICAL_WINDOW);
                if !adversarial {
                    self.asked = Asked::Candidate { counted: false };
                    self.next_direction(false, boundary);
                }
            }
            Asked::Candidate { counted } => {
                if counted {
                    remember(&mut self.source, adversarial, SOURCE_WINDOW);
                }
                if adversarial {
                    self.current.copy_from_slice(image);
                }
                self.next_direction(adversarial, boundary);
            }
        }
    }
}

impl Wanderer {
    fn next_direction(&mut self, accepted: bool, boundary: &Boundary) {
        self.directions += 1;
        if accepted || self.directions >= boundary.max_directions {
            self.step += 1;
            self.directions = 0;
            self.adapt(boundary.step_adaptation);
        }
    }

    fn adapt(&mut self, factor: f64) {
        if self.spherical.len() < SPHERICAL_WINDOW || self.source.len() < SOURCE_WINDOW {
            return;
        }
        let rate = |known: &VecDeque<bool>| known.iter().filter(|known| **known).count() as f64 / known.len() as f64;
        let factor = |rate: f64| match rate {
            _ if rate > 0.5 => Some(factor),
            _ if rate < 0.2 => Some(1.0 / factor),
            _ => None,
        };
        if let Some(factor) = factor(rate(&self.spherical)) {
            self.spherical_step *= factor;
            self.source_step *= factor;
            self.spherical.clear();
        }
        if let Some(factor) = factor(rate(&self.source)) {
            self.source_step *= factor;
            self.source.clear();
        }
    }
}

fn remember(window: &mut VecDeque<bool>, value: bool, length: usize) {
    if window.len() == length {
        window.pop_front();
    }
    window.push_back(value);
}

/// A point on the sphere through `current` around `clean`, and the candidate between it and `clean`.
fn propose(
    clean: &[f32],
    current: &[f32],
    spherical_step: f64,
    source_step: f64,
    random: &mut ChaCha8Rng,
) -> (Vec<f32>, Vec<f32>) {
    let inward: Vec<f64> = clean.iter().zip(current).map(|(clean, current)| f64::from(clean - current)).collect();
    let distance = length(&inward);
    let mut noise = vec![0.0_f32; clean.len()];
    fill_gaussian(random, &mut noise);
    let along: f64 = noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) * inward).sum::<f64>()
        / (distance * distance);
    let tangent: Vec<f64> =
        noise.iter().zip(&inward).map(|(noise, inward)| f64::from(*noise) - along * inward).collect();
    let scale = spherical_step * distance / length(&tangent);
    let shrink = (1.0 + spherical_step * spherical_step).sqrt().recip();
    let moved = tangent.iter().zip(&inward).zip(clean);
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

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE)
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "boundary",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("boundary.rs"),
            parameters: &[
                walk::QUERIES,
                Parameter {
                    name: "max-directions",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
                    unit: "directions",
                    fallback: Fallback::Value("25"),
                    documentation: "How many candidates are tried per walking step.",
                },
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
            ],
            example: "queries = 2000",
            traits: walk::traits(&[Norm::L2]),
        },
        build: &|values, context| Ok(Box::new(Walk::<Wanderer> {
            queries: values.count("queries"),
            starts: Starts::new(Kind::Images, context),
            settings: Boundary {
                max_directions: values.count("max-directions"),
                spherical_step: values.number("spherical-step"),
                source_step: values.number("source-step"),
                step_adaptation: values.number("step-adaptation"),
            },
        })),
    }
}
