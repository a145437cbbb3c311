//! Random gradient-free attack (RGF): climbs along a gradient estimated from the victim's scores in random directions.
//!
//! ## What it does
//! With f the loss that the attacker raises, an iteration draws q random unit vectors u (`directions`), measures the slopes
//! `(f(x + σ u) − f(x)) / σ`, and steps along `Σ slope · u`: along its sign (linf) or its unit vector (l2), by
//! step-size-share · eps, back into the ball and the box. The new iterate is queried, which tells whether it is
//! adversarial and is the `f(x)` of the next iteration; the first query is the clean image.
//!
//! With `data-prior`, u is constant on the cells of a coarse grid (RGF_D): gradients of images are smooth. That helps on
//! large images; on CIFAR-10, where the grid has 5 × 5 cells, it needs more queries than it saves.
//!
//! Where all differences of an iteration are exactly zero, σ doubles for that sample, for good, and no step is made. The last iteration
//! uses as many directions as are still paid for. Points at which slopes are measured may leave the box by σ, as in the
//! authors' code; iterates never do.
//!
//! ## Threat model
//! Scores (logits); linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass per query: one for the clean image, and directions + 1 per iteration. `queries` are spent to the last
//! one; a `budget` of the spec ends a sample where it does not cover an iteration.
//!
//! ## References
//! Nesterov, Spokoiny: Random Gradient-Free Minimization of Convex Functions, 2017; Cheng, Dong, Pang, Su, Zhu: Improving
//! Black-box Adversarial Attacks with a Transfer-based Prior, NeurIPS 2019 (arXiv:1906.06919), whose defaults are used.

use burn::tensor::Tensor;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, Scores, Stop, inventory};
use realsafe_plan::{Access, AttackTraits, Component, Cost, Goal, Norm, Origin, Surrogates, Traits};

use crate::shared::ascent::{LOSS, STEP_SIZE};
use crate::shared::finite_differences::{Climb, Climber, DATA_PRIOR, DIRECTIONS, SIGMA, add, queries, step_share};
use crate::shared::grid::Grid;

struct Rgf {
    climber: Climber,
    directions: u64,
    grid: Grid,
}

impl Attack for Rgf {
    type Door = dyn Scores;
    type State = Climb;

    fn steps(&self) -> u32 {
        u32::try_from((self.climber.queries - 1).div_ceil(self.directions)).unwrap_or(u32::MAX)
    }

    fn start_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn step_cost(&self) -> Cost {
        Cost::forward((self.directions + 1).min(self.climber.queries - 1))
    }

    fn next_cost(&self, _: u32, state: &Climb, row: usize) -> Cost {
        state.cost(row, self.step_cost())
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Climb, Stop> {
        self.climber.start(victim, batch)
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Climb) -> Result<(), Stop> {
        let mut streams: Vec<_> = (0..batch.len()).map(|row| batch.stream(row, Purpose::Step)).collect();
        let wanted: Vec<u64> = (0..batch.len()).map(|row| state.affordable(row, self.directions)).collect();
        let mut estimates = vec![vec![0.0; self.grid.pixels()]; batch.len()];
        self.climber.probe(
            victim,
            batch,
            state,
            &wanted,
            |row, direction| self.grid.draw(&mut streams[row], direction),
            |row, slope, direction| add(&mut estimates[row], slope, direction),
        )?;
        self.climber.advance(victim, batch, state, &estimates)
    }

    fn has_ended(&self, state: &Climb, row: usize) -> bool {
        state.has_ended(row)
    }

    fn iterates(&self, batch: &Batch, state: &Climb) -> Tensor<4> {
        batch.upload(state.images().concat())
    }
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "rgf",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("rgf.rs"),
            parameters: &[queries("10000"), DIRECTIONS, SIGMA, STEP_SIZE, step_share("0.1"), DATA_PRIOR, LOSS],
            example: "queries = 2000\ndirections = 50",
            traits: Traits::Attack(AttackTraits {
                access: Access::Scores,
                surrogates: Surrogates::Unused,
                norms: &Norm::DENSE,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|values| Ok(Cost::forward(values.count("queries"))),
            }),
        },
        build: &|values, context| Ok(Box::new(Rgf {
            climber: Climber::new(values, context.shape.iter().product(), context.loss(values, "loss")?),
            directions: values.count("directions"),
            grid: if values.flag("data-prior") { Grid::scaled(context.shape) } else { Grid::fine(context.shape) },
        })),
    }
}
