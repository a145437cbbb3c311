//! What attacks on labels have in common: a walk per sample that asks for one image per step.
//!
//! The search for a start, the way from it to the boundary and the nearest adversarial so far are kept here; where to go
//! from there is the business of each attack.

use std::sync::Arc;

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use realsafe_core::projection::Distances;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, Batch, Labels, Role, Stop, read};
use realsafe_plan::{
    Access, AttackTraits, Cost, Fallback, Goal, Norm, Parameter, ParameterKind, Surrogates, Traits, Values,
};

use super::starts::{Candidates, Starts};

/// How many images are sent.
pub(crate) const QUERIES: Parameter = Parameter {
    name: "queries",
    kind: ParameterKind::Count { minimum: 1, maximum: 10_000_000 },
    unit: "queries",
    fallback: Fallback::Value("20000"),
    documentation: "How many images are sent, those tried as a start included.",
};

/// What is near enough to the boundary for a walk that does not depend on how near: ten bisections.
pub(crate) const NEAR: f64 = 1.0 / 1024.0;

/// What attacks on labels have in common.
pub(crate) const fn traits(norms: &'static [Norm]) -> Traits {
    Traits::Attack(AttackTraits {
        access: Access::Labels,
        surrogates: Surrogates::Unused,
        norms,
        goals: &Goal::ALL,
        minimises_distance: true,
        cost: &|values: &Values| Ok(Cost::forward(values.count("queries"))),
    })
}

/// How a sample walks once it has a start.
pub(crate) trait Walker: Clone + 'static {
    /// What is the same for all samples.
    type Settings: Send + Sync;

    /// How near to the boundary the start is brought before the walk begins, as a share of the start's distance; none
    /// where the walk begins at the start itself.
    fn approach(settings: &Self::Settings, norm: Norm, pixels: usize) -> Option<f64>;

    /// Begins at an adversarial image.
    fn begin(settings: &Self::Settings, norm: Norm, clean: &Arc<[f32]>, start: Vec<f32>) -> Self;

    /// The next image to query.
    fn ask(&mut self, settings: &Self::Settings, random: &mut ChaCha8Rng) -> Vec<f32>;

    /// Takes the answer to it.
    fn learn(&mut self, settings: &Self::Settings, image: &[f32], adversarial: bool);

    /// Whether there is nothing left to ask.
    fn has_ended(&self, _: &Self::Settings) -> bool {
        false
    }
}

/// An attack that walks.
pub(crate) struct Walk<W: Walker> {
    pub(crate) queries: u64,
    pub(crate) starts: Starts,
    pub(crate) settings: W::Settings,
}

/// One sample's place.
#[derive(Clone)]
pub(crate) struct Place<W> {
    clean: Arc<[f32]>,
    stage: Stage<W>,
    /// What was asked last.
    asked: Vec<f32>,
    /// The nearest adversarial, and its distance.
    nearest: Option<(f64, Vec<f32>)>,
}

#[derive(Clone)]
enum Stage<W> {
    Start(Candidates),
    Approach(Bisection),
    Walk(W),
}

impl<W: Walker> Place<W> {
    fn ask(&mut self, walk: &Walk<W>, random: &mut ChaCha8Rng) -> Result<(), Stop> {
        self.asked = match &mut self.stage {
            Stage::Start(candidates) => walk.starts.next(candidates, &self.clean, random)?,
            Stage::Approach(bisection) => bisection.ask(&self.clean),
            Stage::Walk(walker) => walker.ask(&walk.settings, random),
        };
        Ok(())
    }

    fn learn(&mut self, walk: &Walk<W>, norm: Norm, adversarial: bool) {
        if adversarial {
            let distance = Distances::between(&self.clean, &self.asked).in_norm(norm);
            if self.nearest.as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
                self.nearest = Some((distance, self.asked.clone()));
            }
        }
        match &mut self.stage {
            Stage::Start(_) if adversarial => {
                self.stage = match W::approach(&walk.settings, norm, self.clean.len()) {
                    Some(tolerance) => {
                        Stage::Approach(Bisection::new(norm, &self.clean, self.asked.clone(), tolerance))
                    }
                    None => Stage::Walk(W::begin(&walk.settings, norm, &self.clean, self.asked.clone())),
                };
            }
            Stage::Start(_) => {}
            Stage::Approach(bisection) => {
                if let Some(reached) = bisection.learn(&self.asked, adversarial) {
                    self.stage = Stage::Walk(W::begin(&walk.settings, norm, &self.clean, reached));
                }
            }
            Stage::Walk(walker) => walker.learn(&walk.settings, &self.asked, adversarial),
        }
    }
}

impl<W: Walker> Attack for Walk<W> {
    type Door = dyn Labels;
    type State = Vec<Place<W>>;

    fn steps(&self) -> u32 {
        u32::try_from(self.queries).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Self::State, Stop> {
        let [channels, height, width] = batch.shape();
        let clean = read(batch.images.clone())?;
        let place = |(row, clean): (usize, &[f32])| Place {
            clean: Arc::from(clean),
            stage: Stage::Start(self.starts.candidates(batch, row)),
            asked: Vec::new(),
            nearest: None,
        };
        Ok(clean.chunks_exact(channels * height * width).enumerate().map(place).collect())
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Self::State) -> Result<(), Stop> {
        for (row, place) in state.iter_mut().enumerate() {
            place.ask(self, &mut batch.stream(row, Purpose::Step))?;
        }
        let images: Vec<&[f32]> = state.iter().map(|place| place.asked.as_slice()).collect();
        let labels = victim.labels(batch, &batch.upload(images.concat()), Role::Iterate)?;
        for (row, (place, label)) in state.iter_mut().zip(labels).enumerate() {
            place.learn(self, batch.norm, batch.reached(row, label));
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Self::State) -> Tensor<4> {
        let nearest =
            |place: &Place<W>| place.nearest.as_ref().map_or_else(|| place.clean.to_vec(), |(_, image)| image.clone());
        batch.upload(state.iter().flat_map(nearest).collect())
    }

    fn has_ended(&self, state: &Self::State, row: usize) -> bool {
        matches!(&state[row].stage, Stage::Walk(walker) if walker.has_ended(&self.settings))
    }

    fn warnings(&self) -> Vec<String> {
        self.starts.warnings()
    }
}

/// Bisection between a clean image and an adversarial one: along the line for l2, in the size of the largest change for linf.
#[derive(Clone)]
pub(crate) struct Bisection {
    far: Vec<f32>,
    /// The largest change that is allowed at the far end; none for l2.
    largest: Option<f64>,
    /// The share of the distance that was found too small, and the one that was found enough.
    low: f64,
    high: f64,
    tolerance: f64,
    reached: Vec<f32>,
}

impl Bisection {
    pub(crate) fn new(norm: Norm, clean: &[f32], far: Vec<f32>, tolerance: f64) -> Self {
        let largest = (norm == Norm::Linf).then(|| Distances::between(clean, &far).linf);
        Self { reached: far.clone(), far, largest, low: 0.0, high: 1.0, tolerance }
    }

    const fn middle(&self) -> f64 {
        f64::midpoint(self.low, self.high)
    }

    pub(crate) fn ask(&self, clean: &[f32]) -> Vec<f32> {
        let share = self.middle();
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let point = |(clean, far): (&f32, &f32)| {
            let (clean, far) = (f64::from(*clean), f64::from(*far));
            let change = match self.largest {
                Some(largest) => (far - clean).clamp(-share * largest, share * largest),
                None => share * (far - clean),
            };
            ((clean + change) as f32).clamp(0.0, 1.0)
        };
        clean.iter().zip(&self.far).map(point).collect()
    }

    /// Takes the answer, and gives the last adversarial once that is near enough to the boundary.
    pub(crate) fn learn(&mut self, image: &[f32], adversarial: bool) -> Option<Vec<f32>> {
        let middle = self.middle();
        if adversarial {
            self.high = middle;
            self.reached.copy_from_slice(image);
        } else {
            self.low = middle;
        }
        (self.high - self.low <= self.tolerance).then(|| std::mem::take(&mut self.reached))
    }
}
