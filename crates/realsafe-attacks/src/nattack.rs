//! NATTACK: learns the mean of a Gaussian of changes of which many are adversarial, from the victim's scores.
//!
//! ## What it does
//! A change z moves the image in the space of the inverse hyperbolic tangent: `x(z) = (tanh(atanh(2 x₀ − 1) + z) + 1) / 2`,
//! of which the difference to the clean image x₀ is clipped to eps (linf) or scaled back to it (l2). With f the loss that the
//! attacker raises, a draw measures f at `x(μ + σ u)` for samples-per-draw standard normal u. These losses, less their mean and
//! divided by their standard deviation, weigh the u: `μ ← μ + learning-rate · mean(weight · u) / σ`. μ starts at noise of
//! initial-distortion. With dimension-reduction, μ and u lie on a coarse grid and every pixel has the value of its cell.
//!
//! The iterate is x(μ). It is queried after each draw, which tells whether it is adversarial, and the query is counted. The last
//! draw takes as many points as are still paid for. Black and white pixels are at ±7.25 in that space and hardly move, as in the
//! authors' code, so that the attack is weak on images that have little else. Losses that are all the same
//! move nothing.
//!
//! ## Threat model
//! Scores (logits); linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query: samples-per-draw + 1 per draw; a `budget` of the spec ends a sample where it does not cover
//! one.
//!
//! ## References
//! Li, Li, Wang, Zhang, Gong: NATTACK: Learning the Distributions of Adversarial Examples for an Improved Black-Box Attack on
//! Deep Neural Networks, ICML 2019 (arXiv:1905.00441).

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, project};
use realsafe_core::random::Purpose;
use realsafe_core::{
    Attack, AttackEntry, Batch, Loss, Role, Scores, Stop, fill_gaussian, inventory, length, read, state,
};
use realsafe_plan::{Component, Cost, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::finite_differences::{add, host_rows, queries};
use crate::shared::grid::Grid;
use crate::shared::population::{DIMENSION_REDUCTION, MARGIN, Population, TRAITS, grid, measure, samples_per_draw};
use crate::shared::squash::{squash, unsquash};

struct Nattack {
    population: Population,
    sigma: f32,
    learning_rate: f64,
    initial_distortion: f32,
    grid: Grid,
    loss: Arc<dyn Loss>,
}

state! {
    struct Distribution {
        clean: Vec<Vec<f32>>,
        /// Where the clean images are in the space of the inverse hyperbolic tangent.
        places: Vec<Vec<f32>>,
        /// The mean change of each cell.
        means: Vec<Vec<f32>>,
        images: Tensor<4>,
    }
}

impl Attack for Nattack {
    type Door = dyn Scores;
    type State = Distribution;

    fn steps(&self) -> u32 {
        self.population.steps()
    }

    fn step_cost(&self) -> Cost {
        self.population.step_cost()
    }

    fn next_cost(&self, step: u32, _: &Distribution, _: usize) -> Cost {
        self.population.cost_of(step)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Distribution, Stop> {
        let clean = host_rows(read(batch.images.clone())?, batch.len());
        let place = |image: &Vec<f32>| image.iter().map(|pixel| unsquash(*pixel)).collect();
        let mean = |row| {
            let mut mean = vec![0.0; self.grid.cells()];
            fill_gaussian(&mut batch.stream(row, Purpose::Start), &mut mean);
            mean.iter_mut().for_each(|value| *value *= self.initial_distortion);
            mean
        };
        Ok(Distribution {
            places: clean.iter().map(place).collect(),
            means: (0..batch.len()).map(mean).collect(),
            images: batch.images.clone(),
            clean,
        })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Distribution) -> Result<(), Stop> {
        let samples = self.population.samples(batch.step);
        let cells = self.grid.cells();
        let draw = |row: usize, points: &mut Vec<f32>| {
            let mut noise = vec![0.0; samples * cells];
            fill_gaussian(&mut batch.stream(row, Purpose::Step), &mut noise);
            let mut change = vec![0.0; cells];
            for noise in noise.chunks_exact(cells) {
                let means = change.iter_mut().zip(&state.means[row]).zip(noise);
                means.for_each(|((change, mean), noise)| *change = mean + self.sigma * noise);
                points.extend(self.image(batch, state, row, &change));
            }
            noise
        };
        let mut changes = Vec::with_capacity(batch.len());
        measure(victim, batch, &*self.loss, samples, draw, |_, noise, losses| {
            let mut change = vec![0.0; cells];
            let factor = self.learning_rate / (samples as f64 * f64::from(self.sigma));
            for (weight, noise) in weights(losses).into_iter().zip(noise.chunks_exact(cells)) {
                add(&mut change, factor * weight, noise);
            }
            changes.push(change);
        })?;
        for (mean, change) in state.means.iter_mut().zip(&changes) {
            add(mean, 1.0, change);
        }
        let means = (0..batch.len()).flat_map(|row| self.image(batch, state, row, &state.means[row])).collect();
        // Single precision may have left tiny balls.
        let eps = per_row(&batch.eps, &batch.images);
        state.images = project(batch.norm, batch.upload(means), &batch.images, &eps)?;
        victim.scores(batch, &state.images, Role::Iterate).map(drop)
    }

    fn iterates(&self, _: &Batch, state: &Distribution) -> Tensor<4> {
        state.images.clone()
    }
}

impl Nattack {
    /// The image to which a change of the cells leads.
    fn image(&self, batch: &Batch, state: &Distribution, row: usize, change: &[f32]) -> Vec<f32> {
        let clean = &state.clean[row];
        let mut image = vec![0.0; clean.len()];
        self.grid.enlarge(change, &mut image);
        for ((value, place), clean) in image.iter_mut().zip(&state.places[row]).zip(clean) {
            *value = squash(place + *value) - clean;
        }
        let eps = batch.eps[row];
        if batch.norm == Norm::Linf {
            image.iter_mut().for_each(|change| *change = change.clamp(-eps, eps));
        } else {
            let scale = (eps / length(&image).max(f32::MIN_POSITIVE)).min(1.0);
            image.iter_mut().for_each(|change| *change *= scale);
        }
        image.iter_mut().zip(clean).for_each(|(value, clean)| *value = (clean + *value).clamp(0.0, 1.0));
        image
    }
}

/// Losses less their mean, divided by their standard deviation. Those that are no numbers weigh nothing.
fn weights(losses: &[f32]) -> Vec<f64> {
    let known = || losses.iter().map(|loss| f64::from(*loss)).filter(|loss| loss.is_finite());
    let count = known().count().max(1) as f64;
    let mean = known().sum::<f64>() / count;
    let deviation = (known().map(|loss| (loss - mean).powi(2)).sum::<f64>() / count).sqrt() + 1e-7;
    let weight = |loss: &f32| if loss.is_finite() { (f64::from(*loss) - mean) / deviation } else { 0.0 };
    losses.iter().map(weight).collect()
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "nattack",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("nattack.rs"),
            parameters: &[
                queries("10000"),
                samples_per_draw("100"),
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1e3 },
                    unit: "space of the inverse hyperbolic tangent",
                    fallback: Fallback::Value("0.1"),
                    documentation: "The standard deviation of the Gaussian.",
                },
                Parameter {
                    name: "learning-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "space of the inverse hyperbolic tangent",
                    fallback: Fallback::Value("0.02"),
                    documentation: "The step size on the mean of the Gaussian.",
                },
                Parameter {
                    name: "initial-distortion",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e3 },
                    unit: "space of the inverse hyperbolic tangent",
                    fallback: Fallback::Value("0.001"),
                    documentation: "The standard deviation of the noise at which the mean starts.",
                },
                DIMENSION_REDUCTION,
                MARGIN,
            ],
            example: "queries = 2000\nsamples-per-draw = 50",
            traits: TRAITS,
        },
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision on every device")]
        build: &|values, context| Ok(Box::new(Nattack {
            population: Population::from(values),
            sigma: values.number("sigma") as f32,
            learning_rate: values.number("learning-rate"),
            initial_distortion: values.number("initial-distortion") as f32,
            grid: grid(values, context.shape),
            loss: context.loss(values, "loss")?,
        })),
    }
}
