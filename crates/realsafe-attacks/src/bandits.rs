//! Bandits (BanditsTD): keeps a running guess of the gradient on a coarse grid and corrects it by two queries at a time.
//!
//! ## What it does
//! The guess p has a value per cell of a grid over the image (data prior) and is carried from step to step (time prior). An
//! iteration draws `δ = exploration · N(0, 1) / √cells`, measures the loss that the attacker raises at
//! `x ± fd-eta · unit(p ± δ)`, enlarged to the image, takes `Δ = (f₊ − f₋) / (fd-eta · exploration) · δ` as the gradient of
//! p, and makes a step on p: for l2 `p ← p + prior-learning-rate · Δ`, for linf by exponentiated gradients
//! `p ← tanh(atanh p + prior-learning-rate · Δ)`. Then the image steps along p, by its sign (linf) or its unit vector (l2),
//! back into the ball and the box.
//!
//! Here every query counts, the one that tells whether the iterate is adversarial, too. It is made after an iteration in
//! which one of the two measurements, both next to the iterate, reached the goal; the authors' code looks at every iterate
//! and does not count it. atanh p is kept instead of p, which in single precision would stick at ±1.
//!
//! ## Threat model
//! Scores (logits); linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query: two per iteration, and one more for every iterate that is looked at.
//!
//! ## References
//! Ilyas, Engstrom, Madry: Prior Convictions: Black-box Adversarial Attacks with Bandits and Priors, ICLR 2019
//! (arXiv:1807.07978).

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Loss, Role, Scores, Stop, fill_gaussian, inventory, read, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
};

use crate::shared::ascent::{LOSS, STEP_SIZE, StepSize};
use crate::shared::finite_differences::{ask, host_rows, queries, step, step_share, step_size};
use crate::shared::grid::{Grid, normalise};

/// How many cells a side of the grid has at least by default: on CIFAR-10 the share of an image that the paper's have on ImageNet
/// would be five.
const FEWEST_CELLS: usize = 16;

struct Bandits {
    queries: u64,
    exploration: f32,
    fd_eta: f32,
    prior_learning_rate: f32,
    step_size: StepSize,
    grid: Grid,
    loss: Arc<dyn Loss>,
}

state! {
    struct Guesses {
        images: Vec<Vec<f32>>,
        /// The guess per cell: p for l2, atanh p for linf.
        guesses: Vec<Vec<f32>>,
        /// How many queries are left.
        left: Vec<u64>,
    }
}

impl Attack for Bandits {
    type Door = dyn Scores;
    type State = Guesses;

    fn steps(&self) -> u32 {
        u32::try_from(self.queries / 2).unwrap_or(u32::MAX)
    }

    fn step_cost(&self) -> Cost {
        Cost::forward(3.min(self.queries))
    }

    fn next_cost(&self, _: u32, state: &Guesses, row: usize) -> Cost {
        Cost::forward(3.min(state.left[row]))
    }

    fn has_ended(&self, state: &Guesses, row: usize) -> bool {
        state.left[row] < 2
    }

    fn start(&self, _: &mut Self::Door, batch: &Batch) -> Result<Guesses, Stop> {
        Ok(Guesses {
            images: host_rows(read(batch.images.clone())?, batch.len()),
            guesses: vec![vec![0.0; self.grid.cells()]; batch.len()],
            left: vec![self.queries; batch.len()],
        })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Guesses) -> Result<(), Stop> {
        let rows: Vec<usize> = (0..batch.len()).collect();
        let (explored, points) = self.explore(batch, state);
        let owners = rows.iter().flat_map(|&row| [row, row]).collect();
        let (losses, reached) = ask(victim, batch, &*self.loss, owners, points, Role::Probe)?;
        let mut directions = vec![vec![0.0; self.grid.pixels()]; batch.len()];
        for ((row, noise), losses) in explored.into_iter().enumerate().zip(losses.chunks_exact(2)) {
            state.left[row] -= 2;
            let slope = (losses[0] - losses[1]) / (self.fd_eta * self.exploration);
            if slope.is_finite() {
                let factor = self.prior_learning_rate * slope;
                state.guesses[row].iter_mut().zip(&noise).for_each(|(guess, noise)| *guess += factor * noise);
            }
            self.grid.enlarge(&guess(batch.norm, &state.guesses[row]), &mut directions[row]);
        }
        let moved = step(batch, &self.step_size, &rows, &state.images, &directions)?;
        let mut promising = Vec::new();
        for ((row, image), reached) in moved.into_iter().enumerate().zip(reached.chunks_exact(2)) {
            state.images[row] = image;
            if (reached[0] || reached[1]) && state.left[row] > 0 {
                state.left[row] -= 1;
                promising.push(row);
            }
        }
        if promising.is_empty() {
            return Ok(());
        }
        let points = promising.iter().flat_map(|&row| &state.images[row]).copied().collect();
        ask(victim, batch, &*self.loss, promising, points, Role::Iterate).map(drop)
    }

    fn iterates(&self, batch: &Batch, state: &Guesses) -> Tensor<4> {
        batch.upload(state.images.concat())
    }
}

impl Bandits {
    /// What the guesses are moved by, and the two points that each row asks for.
    fn explore(&self, batch: &Batch, state: &Guesses) -> (Vec<Vec<f32>>, Vec<f32>) {
        let scale = self.exploration / (self.grid.cells() as f32).sqrt();
        let mut points = Vec::with_capacity(2 * batch.len() * self.grid.pixels());
        let mut direction = vec![0.0; self.grid.pixels()];
        let mut explored = Vec::with_capacity(batch.len());
        for row in 0..batch.len() {
            let mut noise = vec![0.0; self.grid.cells()];
            fill_gaussian(&mut batch.stream(row, Purpose::Step), &mut noise);
            noise.iter_mut().for_each(|noise| *noise *= scale);
            let guess = guess(batch.norm, &state.guesses[row]);
            for sign in [1.0, -1.0] {
                let cells: Vec<f32> = guess.iter().zip(&noise).map(|(guess, noise)| guess + sign * noise).collect();
                self.grid.enlarge(&cells, &mut direction);
                normalise(&mut direction);
                points.extend(state.images[row].iter().zip(&direction).map(|(pixel, by)| pixel + self.fd_eta * by));
            }
            explored.push(noise);
        }
        (explored, points)
    }
}

/// The guess of the gradient per cell.
fn guess(norm: Norm, kept: &[f32]) -> Vec<f32> {
    if norm == Norm::Linf { kept.iter().map(|kept| kept.tanh()).collect() } else { kept.to_vec() }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "bandits",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("bandits.rs"),
            parameters: &[
                queries("10000"),
                Parameter {
                    name: "exploration",
                    kind: ParameterKind::Number { minimum: 1e-6, maximum: 1e3 },
                    unit: "length of the change of the guess",
                    fallback: Fallback::Unset,
                    documentation: "How far each of the two guesses of an iteration is from the one between; unset it is 1 for linf, 0.01 for l2.",
                },
                Parameter {
                    name: "fd-eta",
                    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1e3 },
                    unit: "pixel range 0 to 1, Euclidean",
                    fallback: Fallback::Unset,
                    documentation: "How far from the iterate losses are measured; unset it is 0.1 for linf, 0.01 for l2.",
                },
                Parameter {
                    name: "prior-learning-rate",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
                    unit: "",
                    fallback: Fallback::Unset,
                    documentation: "The step size on the guess; unset it is 100 for linf, 0.1 for l2.",
                },
                Parameter {
                    name: "tile-size",
                    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
                    unit: "cells along the longer side",
                    fallback: Fallback::Unset,
                    documentation: "The side of the grid, at most that of the image; unset it is 50 per 299 pixels, but 16 at least.",
                },
                STEP_SIZE,
                step_share("0.1"),
                LOSS,
            ],
            example: "queries = 2000\ntile-size = 10",
            traits: Traits::Attack(AttackTraits {
                access: Access::Scores,
                surrogates: Surrogates::Unused,
                norms: &Norm::DENSE,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|values| Ok(Cost::forward(values.count("queries"))),
            }),
        },
        build: &|values, context| {
            let or = |name: &str, linf: f64, l2: f64| {
                let unset = if context.norm == Norm::Linf { linf } else { l2 };
                #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
                let value = (if values.is_set(name) { values.number(name) } else { unset }) as f32;
                value
            };
            let side = |cells: u64| usize::try_from(cells).unwrap_or(usize::MAX);
            Ok(Box::new(Bandits {
                queries: values.count("queries"),
                exploration: or("exploration", 1.0, 0.01),
                fd_eta: or("fd-eta", 0.1, 0.01),
                prior_learning_rate: or("prior-learning-rate", 100.0, 0.1),
                step_size: step_size(values),
                grid: if values.is_set("tile-size") {
                    Grid::with_side(context.shape, side(values.count("tile-size")))
                } else {
                    Grid::with_side(context.shape, Grid::scaled(context.shape).side().max(FEWEST_CELLS))
                },
                loss: context.loss(values, "loss")?,
            }))
        },
    }
}
