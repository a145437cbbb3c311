//! Simultaneous perturbation stochastic approximation (SPSA): Adam on a gradient estimated from the victim's scores at pairs of
//! opposite points that differ by the same amount in every pixel.
//!
//! ## What it does
//! With f the loss that the attacker raises, a draw measures f at `x + σ u` and `x − σ u` for samples-per-draw / 2 random
//! u with entries of ±1, estimates the gradient as the mean of `(f(x + σ u) − f(x − σ u)) / (2 σ) · u`, and makes a step of
//! Adam (0.9, 0.999, 1e-8) on the image along it, back into the ball and the box. With dimension-reduction, u is drawn on a
//! coarse grid and every pixel has the value of its cell.
//!
//! The iterate after each draw is queried, which tells whether it is adversarial, and the query is counted. The last draw takes as
//! many points as are still paid for. Points may leave the box by σ, as in the authors' code; iterates never do.
//! The learning rate is by default a share of eps, in l2 of the change per pixel that eps allows if it is spread over all
//! of them.
//!
//! ## Threat model
//! Scores (logits); linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query: samples-per-draw + 1 per draw; a `budget` of the spec ends a sample where it does not cover
//! one.
//!
//! ## References
//! Uesato, O'Donoghue, van den Oord, Kohli: Adversarial Risk and the Dangers of Evaluating Against Weak Attacks, ICML 2018
//! (arXiv:1802.05666).

use std::sync::Arc;

use burn::tensor::Tensor;
use rand::RngExt;
use realsafe_core::projection::per_row;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Loss, Scores, Stop, inventory, read, state};
use realsafe_plan::{Component, Cost, Fallback, Norm, Origin, Parameter, ParameterKind};

use crate::shared::adam::Adam;
use crate::shared::ascent::StepSize;
use crate::shared::finite_differences::{host_rows, queries};
use crate::shared::grid::Grid;
use crate::shared::population::{
    DIMENSION_REDUCTION, LEARNING_RATE, MARGIN, Population, TRAITS, antithetic, go, grid, learning_rate,
    learning_rate_relative, samples_per_draw,
};

struct Spsa {
    population: Population,
    sigma: f32,
    learning_rate: StepSize,
    grid: Grid,
    loss: Arc<dyn Loss>,
}

state! {
    struct Climb {
        images: Vec<Vec<f32>>,
        adam: Adam,
    }
}

impl Attack for Spsa {
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
        Ok(Climb { images, adam: Adam::new(&batch.images) })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Climb) -> Result<(), Stop> {
        let mut streams: Vec<_> = (0..batch.len()).map(|row| batch.stream(row, Purpose::Step)).collect();
        let samples = self.population.samples(batch.step);
        let estimates = antithetic(victim, batch, &*self.loss, &state.images, self.sigma, samples, |row, pixels| {
            self.grid.fill(pixels, |cells| cells.fill_with(|| if streams[row].random() { 1.0 } else { -1.0 }));
        })?;
        let gradient = batch.upload(estimates.into_iter().flat_map(|estimate| estimate.gradient).collect());
        let rates = per_row(&self.learning_rate.lengths(batch), &batch.images);
        let change = state.adam.step(gradient, batch.step.into()) * rates;
        go(victim, batch, &mut state.images, change)
    }

    fn iterates(&self, batch: &Batch, state: &Climb) -> Tensor<4> {
        batch.upload(state.images.concat())
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "spsa",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("spsa.rs"),
            parameters: &[
                queries("10000"),
                samples_per_draw("100"),
                Parameter {
                    name: "sigma",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1e3 },
                    unit: "pixel range 0 to 1",
                    fallback: Fallback::Value("0.01"),
                    documentation: "By how much every pixel is changed for a measurement.",
                },
                LEARNING_RATE,
                learning_rate_relative("1", "eps; eps / √(number of values of an image) for l2"),
                DIMENSION_REDUCTION,
                MARGIN,
            ],
            example: "queries = 2000\nsamples-per-draw = 50",
            traits: TRAITS,
        },
        #[expect(clippy::cast_possible_truncation, reason = "pixels and steps are single precision on every device")]
        build: &|values, context| {
            let pixels: usize = context.shape.iter().product();
            let spread = if context.norm == Norm::L2 { (pixels as f64).sqrt().recip() } else { 1.0 };
            Ok(Box::new(Spsa {
                population: Population::from(values),
                sigma: values.number("sigma") as f32,
                learning_rate: learning_rate(values, spread),
                grid: grid(values, context.shape),
                loss: context.loss(values, "loss")?,
            }))
        },
    }
}
