//! Boundary attack (l2): a random walk along the decision boundary, from labels alone, towards the clean image.
//!
//! ## What it does
//! First looks for a start: images of uniform noise, then images of the same dataset, in an order of the sample's own,
//! until one fulfils the goal. Then, from the current adversarial at distance d, draws a Gaussian direction, removes its part
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

use burn::tensor::Tensor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Labels, Role, Samples, Stop, fill_gaussian, inventory, read, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

/// Images of noise that are tried before images of the dataset.
const NOISE_STARTS: usize = 20;
/// How many spherical points are known before the step sizes adapt.
const SPHERICAL_WINDOW: usize = 100;
/// How many candidates are known before the step sizes adapt.
const SOURCE_WINDOW: usize = 30;

struct Boundary {
    queries: u64,
    max_directions: u64,
    spherical_step: f64,
    source_step: f64,
    step_adaptation: f64,
    pool: Arc<Samples>,
}

state! {
    struct Walk {
        walkers: Vec<Walker>,
    }
}

/// One sample's walk.
#[derive(Clone)]
struct Walker {
    clean: Arc<[f32]>,
    /// Images of the dataset that are still to be tried as a start, last first.
    starts: Vec<usize>,
    tried: usize,
    /// The current adversarial, once a start is found.
    current: Option<Vec<f32>>,
    step: u64,
    directions: u64,
    spherical_step: f64,
    source_step: f64,
    spherical: VecDeque<bool>,
    source: VecDeque<bool>,
    /// What the last query was, and what follows if it was adversarial.
    asked: Asked,
}

#[derive(Clone)]
enum Asked {
    Start(Vec<f32>),
    Sphere { candidate: Vec<f32> },
    Candidate { image: Vec<f32>, counted: bool },
}

impl Walker {
    /// The next image to query.
    fn ask(&mut self, boundary: &Boundary, random: &mut ChaCha8Rng) -> Vec<f32> {
        let Some(current) = &self.current else {
            let image = self.next_start(&boundary.pool, random);
            self.asked = Asked::Start(image.clone());
            return image;
        };
        if let Asked::Sphere { candidate } = &mut self.asked {
            let image = std::mem::take(candidate);
            self.asked = Asked::Candidate { image: image.clone(), counted: true };
            return image;
        }
        let (sphere, candidate) = propose(&self.clean, current, self.spherical_step, self.source_step, random);
        if self.step.is_multiple_of(10) {
            self.asked = Asked::Sphere { candidate };
            return sphere;
        }
        self.asked = Asked::Candidate { image: candidate.clone(), counted: false };
        candidate
    }

    fn next_start(&mut self, pool: &Samples, random: &mut ChaCha8Rng) -> Vec<f32> {
        self.tried += 1;
        let size = self.clean.len();
        let start = if self.tried > NOISE_STARTS { self.starts.pop() } else { None };
        match start {
            Some(index) => pool.pixels[index * size..(index + 1) * size].to_vec(),
            None => (0..size).map(|_| random.random()).collect(),
        }
    }

    /// Takes the answer to the last query.
    fn learn(&mut self, adversarial: bool, boundary: &Boundary) {
        match std::mem::replace(&mut self.asked, Asked::Candidate { image: Vec::new(), counted: false }) {
            Asked::Start(image) => {
                if adversarial {
                    self.current = Some(image);
                    self.step = 1;
                }
            }
            Asked::Sphere { candidate } => {
                remember(&mut self.spherical, adversarial, SPHERICAL_WINDOW);
                if adversarial {
                    self.asked = Asked::Sphere { candidate };
                } else {
                    self.next_direction(false, boundary);
                }
            }
            Asked::Candidate { image, counted } => {
                if counted {
                    remember(&mut self.source, adversarial, SOURCE_WINDOW);
                }
                if adversarial {
                    self.current = Some(image);
                }
                self.next_direction(adversarial, boundary);
            }
        }
    }

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

impl Attack for Boundary {
    type Door = dyn Labels;
    type State = Walk;

    fn steps(&self) -> u32 {
        u32::try_from(self.queries).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Walk, Stop> {
        let [channels, height, width] = batch.shape();
        let clean = read(batch.images.clone())?;
        let walker = |(row, clean): (usize, &[f32])| Walker {
            clean: Arc::from(clean),
            starts: self.starts(batch, row),
            tried: 0,
            current: None,
            step: 0,
            directions: 0,
            spherical_step: self.spherical_step,
            source_step: self.source_step,
            spherical: VecDeque::new(),
            source: VecDeque::new(),
            asked: Asked::Start(Vec::new()),
        };
        Ok(Walk { walkers: clean.chunks_exact(channels * height * width).enumerate().map(walker).collect() })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Walk) -> Result<(), Stop> {
        let ask = |(row, walker): (usize, &mut Walker)| walker.ask(self, &mut batch.stream(row, Purpose::Step));
        let images: Vec<Vec<f32>> = state.walkers.iter_mut().enumerate().map(ask).collect();
        let labels = victim.labels(batch, &batch.upload(images.concat()), Role::Iterate)?;
        for (row, (walker, label)) in state.walkers.iter_mut().zip(labels).enumerate() {
            walker.learn(batch.reached(row, label), self);
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Walk) -> Tensor<4> {
        let images = state.walkers.iter().map(|walker| walker.current.as_deref().unwrap_or(&walker.clean));
        batch.upload(images.collect::<Vec<_>>().concat())
    }
}

impl Boundary {
    /// The images of the pool that may fulfil the goal of a row, in an order of its own.
    fn starts(&self, batch: &Batch, row: usize) -> Vec<usize> {
        let fits = |label: u32| batch.goal.reached(label, batch.labels[row], batch.targets[row]);
        let mut starts: Vec<usize> =
            (0..self.pool.labels.len()).filter(|&index| fits(self.pool.labels[index])).collect();
        let mut random = batch.stream(row, Purpose::Start);
        for place in (1..starts.len()).rev() {
            starts.swap(place, random.random_range(0..=place));
        }
        starts
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "boundary",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("boundary.rs"),
            parameters: &[
                Parameter {
                    name: "queries",
                    kind: ParameterKind::Count { minimum: 1, maximum: 10_000_000 },
                    unit: "queries",
                    fallback: Fallback::Value("20000"),
                    documentation: "How many images are sent, those tried as a start included.",
                },
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
            traits: Traits::Attack(AttackTraits {
                access: Access::Labels,
                surrogates: Surrogates::Unused,
                norms: &[Norm::L2],
                goals: &Goal::ALL,
                minimises_distance: true,
                cost: &|values| Ok(Cost::forward(values.count("queries"))),
            }),
        },
        build: &|values, context| Ok(Box::new(Boundary {
            queries: values.count("queries"),
            max_directions: values.count("max-directions"),
            spherical_step: values.number("spherical-step"),
            source_step: values.number("source-step"),
            step_adaptation: values.number("step-adaptation"),
            pool: Arc::clone(&context.pool),
        })),
    }
}
