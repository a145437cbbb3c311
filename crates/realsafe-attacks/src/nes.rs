//! Natural evolution strategies (NES): steps along a gradient estimated from the victim's scores at pairs of opposite
//! Gaussian points.
//!
//! ## What it does
//! With f the loss that the attacker raises, a draw measures f at `x + σ u` and `x − σ u` for samples-per-draw / 2 standard
//! normal u, and estimates the gradient as the mean of `f · u / σ` over all these points, each with its own sign of u. Of the
//! estimates, a running mean is kept, `g ← momentum · g + (1 − momentum) · estimate`, and the step goes along its sign (linf) or
//! its unit vector (l2), back into the ball and the box. With dimension-reduction, u is drawn on a coarse grid and every pixel has
//! the value of its cell.
//!
//! The learning rate falls on a plateau: where the mean loss of a draw is lower than that of the first of the last
//! plateau-length draws, it is halved, down to minimum-learning-rate, and the comparison starts afresh.
//!
//! The iterate after each draw is queried, which tells whether it is adversarial, and the query is counted; RealSafe does not
//! count it. The last draw takes as many points as are still paid for. Points may leave the box by the noise, as in the authors'
//! code; iterates never do. Unlike there, the learning rate is by default a share of eps. RealSafe has no momentum.
//!
//! ## Threat model
//! Scores (logits); linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query: samples-per-draw + 1 per draw; a `budget` of the spec ends a sample where it does not cover
//! one.
//!
//! ## References
//! Ilyas, Engstrom, Athalye, Lin: Black-box Adversarial Attacks with Limited Queries and Information, ICML 2018
//! (arXiv:1804.08598); the plateau is their code's.

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, steepest};
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Loss, Scores, Stop, fill_gaussian, inventory, read, state};
use realsafe_plan::{Component, Cost, Fallback, Origin, Parameter, ParameterKind};

use crate::shared::ascent::StepSize;
use crate::shared::finite_differences::{host_rows, queries};
use crate::shared::grid::Grid;
use crate::shared::population::{
    DIMENSION_REDUCTION, LEARNING_RATE, MARGIN, Population, TRAITS, antithetic, go, grid, learning_rate,
    learning_rate_relative, samples_per_draw,
};

struct Nes {
    population: Population,
    sigma: f32,
    learning_rate: StepSize,
    minimum_learning_rate: f32,
    plateau_length: usize,
    momentum: f32,
    grid: Grid,
    loss: Arc<dyn Loss>,
}

state! {
    struct Climb {
        images: Vec<Vec<f32>>,
        /// The running means of the estimates.
        gradients: Vec<Vec<f32>>,
        rates: Vec<Rate>,
    }
}

/// How the learning rate of a row falls.
#[derive(Clone)]
struct Rate {
    /// What is left of the first learning rate.
    share: f32,
    /// The mean losses of the draws since it fell.
    means: Vec<f32>,
}

impl Rate {
    fn note(&mut self, mean: f32, plateau_length: usize, minimum: f32) {
        self.means.push(mean);
        if self.means.len() > plateau_length {
            self.means.remove(0);
        }
        if self.means.len() == plateau_length && mean < self.means[0] {
            self.share = (self.share / 2.0).max(minimum);
            self.means.clear();
        }
    }
}

impl Attack for Nes {
    type Door = dyn Scores;
    type State = Climb;

    fn steps(&self) -> u32 {
        self.population.steps()
    }

    fn step_cost(&self) -> Cost {
        self.population.step_cost()
    }

    fn next_cost(&self, step: u32, _: &Climb, _: usize) -> Cost {
        self.population.cost_of(step)
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Climb, Stop> {
        let images = host_rows(read(batch.images.clone())?, batch.len());
        let gradients = vec![vec![0.0; images[0].len()]; batch.len()];
        Ok(Climb { images, gradients, rates: vec![Rate { share: 1.0, means: Vec::new() }; batch.len()] })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Climb) -> Result<(), Stop> {
        let mut streams: Vec<_> = (0..batch.len()).map(|row| batch.stream(row, Purpose::Step)).collect();
        let samples = self.population.samples(batch.step);
        let estimates = antithetic(victim, batch, &*self.loss, &state.images, self.sigma, samples, |row, pixels| {
            self.grid.fill(pixels, |cells| fill_gaussian(&mut streams[row], cells));
        })?;
        let mut lengths = self.learning_rate.lengths(batch);
        for ((rate, estimate), length) in state.rates.iter_mut().zip(&estimates).zip(&mut lengths) {
            rate.note(estimate.mean, self.plateau_length, self.minimum_learning_rate);
            *length *= rate.share;
        }
        for (kept, estimate) in state.gradients.iter_mut().zip(estimates) {
            for (kept, new) in kept.iter_mut().zip(estimate.gradient) {
                *kept = self.momentum * *kept + (1.0 - self.momentum) * new;
            }
        }
        let gradient = batch.upload(state.gradients.concat());
        go(victim, batch, &mut state.images, steepest(batch.norm, gradient) * per_row(&lengths, &batch.images))
    }

    fn iterates(&self, batch: &Batch, state: &Climb) -> Tensor<4> {
        batch.upload(state.images.concat())
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "nes",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("nes.rs"),
            parameters: &[
                queries("10000"),
                samples_per_draw("100"),
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1e3 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.001"),
                    documentation: "The standard deviation of the noise, per pixel.",
                },
                Parameter {
                    name: "momentum",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "",
                    fallback: Fallback::Value("0.9"),
                    documentation: "The share of the running mean that stays when an estimate is added.",
                },
                LEARNING_RATE,
                learning_rate_relative("0.25", "eps"),
                Parameter {
                    name: "minimum-learning-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "share of the first learning rate",
                    fallback: Fallback::Value("0.01"),
                    documentation: "What the learning rate does not fall below; at 1 it stays as it is.",
                },
                Parameter {
                    name: "plateau-length",
                    kind: ParameterKind::Count { minimum: 2, maximum: 1_000_000 },
                    unit: "draws",
                    fallback: Fallback::Value("5"),
                    documentation: "Over how many draws the mean loss has to rise, or the learning rate is halved.",
                },
                DIMENSION_REDUCTION,
                MARGIN,
            ],
            example: "queries = 2000\nsamples-per-draw = 50",
            traits: TRAITS,
        },
        #[expect(clippy::cast_possible_truncation, reason = "pixels and steps are single precision on every device")]
        build: &|values, context| Ok(Box::new(Nes {
            population: Population::from(values),
            sigma: values.number("sigma") as f32,
            learning_rate: learning_rate(values, 1.0),
            minimum_learning_rate: values.number("minimum-learning-rate") as f32,
            plateau_length: usize::try_from(values.count("plateau-length")).unwrap_or(usize::MAX),
            momentum: values.number("momentum") as f32,
            grid: grid(values, context.shape),
            loss: context.loss(values, "loss")?,
        })),
    }
}
