//! Prior-guided random gradient-free attack (P-RGF): RGF whose random directions lean towards a surrogate's gradient.
//!
//! ## What it does
//! Like `rgf`, with the unit vector v of the surrogates' gradient at the iterate as a prior. `estimator` says how it is
//! used:
//!
//! - `optimal-lambda`: directions are `√λ v + √(1 − λ) · unit((I − v vᵀ) ξ)` with ξ random. λ follows from how well the prior
//!   agrees with the victim's gradient, α = cos(v, ∇f): it is 0 for `α² ≤ 1 / (D + 2q − 2)`, 1 for
//!   `α² ≥ (2q − 1) / (D + 2q − 2)`, and between them the value that is best for q directions in D dimensions. At λ = 1
//!   the step goes along v, and no directions are drawn.
//! - `fixed-lambda`: the same with λ = `lambda`, and nothing to measure.
//! - `averaging`: the estimate ĝ of `rgf` and v are added as unit vectors, each times how much the loss rises along it, or
//!   not at all where it falls. For `α ≥ √(2q / (D + q − 1))` the step goes along v, and no directions are drawn.
//!
//! α is measured: the slope along v, one query, over the length of the gradient, which is estimated as the root of D times the
//! mean squared slope in 10 random directions at iterations 0, 3, 10, 20, 30… Where the slope is negative v is
//! turned round. With `data-prior` (P-RGF_D), ξ is constant on the cells of a coarse grid, d cells in all, 1 − α² becomes
//! A², the share of the energy of the surrogates' gradient that lies in that subspace, and D − 1 becomes d; the authors' code
//! takes A² = 3.5 d / D instead. That helps on large images; on CIFAR-10, where the grid has 5 × 5 cells, it saves queries on
//! most images and does not break some at all.
//!
//! Beyond the authors' code: averaging takes the rise along v from the slope that α is made of, and saves that query; a
//! sample all of whose differences are exactly zero has twice the σ from then on, where theirs asks again; where the surrogates'
//! gradient is zero the iteration is one of `rgf`.
//!
//! ## Threat model
//! Scores (logits) of the victim and gradients of surrogates; linf and l2; untargeted, targeted and targeted-misclassify.
//!
//! ## Cost
//! One forward pass of the victim per query: one for the clean image; per iteration directions + 1, plus 1 to measure α
//! and 10 where lengths are estimated, plus 1 for averaging; 2 where the step goes along v. One gradient of every surrogate
//! per iteration, which is counted apart. `queries` are spent to the last one; a `budget` of the spec ends a sample where it
//! does not cover the dearest iteration.
//!
//! ## References
//! Cheng, Dong, Pang, Su, Zhu: Improving Black-box Adversarial Attacks with a Transfer-based Prior, NeurIPS 2019
//! (arXiv:1906.06919); gradient averaging and the subspace in its extended version (arXiv:2203.06560).

use burn::tensor::Tensor;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::Purpose;
use realsafe_core::{Attack, AttackEntry, Batch, ScoresAndSurrogates, Stop, inventory, read, state};
use realsafe_plan::{
    Access, AttackTraits, Component, Cost, Fallback, Goal, Norm, Origin, Parameter, ParameterKind, Surrogates, Traits,
    Values,
};

use crate::shared::ascent::{LOSS, STEP_SIZE};
use crate::shared::finite_differences::{
    Climb, Climber, DATA_PRIOR, DIRECTIONS, SIGMA, add, host_rows, queries, step_share,
};
use crate::shared::grid::{Grid, normalise};

/// In how many directions slopes are measured to estimate the length of the gradient (S).
const LENGTH_DIRECTIONS: u64 = 10;

#[derive(Clone, Copy)]
enum Estimator {
    OptimalLambda,
    FixedLambda(f64),
    Averaging,
}

impl Estimator {
    fn from(values: &Values) -> Self {
        match values.text("estimator") {
            "fixed-lambda" => Self::FixedLambda(values.number("lambda")),
            "averaging" => Self::Averaging,
            _ => Self::OptimalLambda,
        }
    }

    const fn measures_alpha(self) -> bool {
        !matches!(self, Self::FixedLambda(_))
    }
}

struct PriorGuided {
    climber: Climber,
    directions: u64,
    estimator: Estimator,
    data_prior: bool,
    grid: Grid,
}

state! {
    struct Guided {
        climb: Climb,
        /// The estimated length of the gradient.
        length: Vec<f64>,
    }
}

/// What the surrogates say about a row.
struct Prior {
    /// The unit vector of their gradient.
    direction: Vec<f32>,
    /// The share of its energy that lies in the subspace that random directions are drawn from.
    share: f64,
    /// The victim's slope along it, once measured: not negative then.
    slope: f64,
    /// The share λ of it in the directions that are drawn.
    lambda: f64,
}

impl Attack for PriorGuided {
    type Door = dyn ScoresAndSurrogates;
    type State = Guided;

    fn steps(&self) -> u32 {
        // The cheapest iteration measures α and queries the iterate.
        u32::try_from((self.climber.queries - 1).div_ceil(2)).unwrap_or(u32::MAX)
    }

    fn start_cost(&self) -> Cost {
        Cost::forward(1)
    }

    fn step_cost(&self) -> Cost {
        let measured = match self.estimator {
            Estimator::OptimalLambda => LENGTH_DIRECTIONS + 1,
            Estimator::FixedLambda(_) => 0,
            Estimator::Averaging => LENGTH_DIRECTIONS + 2,
        };
        Cost::forward((measured + self.directions + 1).min(self.climber.queries - 1))
    }

    fn next_cost(&self, _: u32, state: &Guided, row: usize) -> Cost {
        state.climb.cost(row, self.step_cost())
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Guided, Stop> {
        Ok(Guided { climb: self.climber.start(victim, batch)?, length: vec![0.0; batch.len()] })
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Guided) -> Result<(), Stop> {
        let mut priors = self.priors(victim, batch, &state.climb)?;
        let mut streams: Vec<_> = (0..batch.len()).map(|row| batch.stream(row, Purpose::Step)).collect();
        if self.estimator.measures_alpha() {
            if batch.step == 3 || batch.step.is_multiple_of(10) {
                self.measure_length(victim, batch, state, &priors, &mut streams)?;
            }
            self.measure_alpha(victim, batch, state, &mut priors)?;
        }
        let estimates = self.estimate(victim, batch, &mut state.climb, &priors, &mut streams)?;
        self.climber.advance(victim, batch, &mut state.climb, &estimates)
    }

    fn has_ended(&self, state: &Guided, row: usize) -> bool {
        state.climb.has_ended(row)
    }

    fn iterates(&self, batch: &Batch, state: &Guided) -> Tensor<4> {
        batch.upload(state.climb.images().concat())
    }
}

impl PriorGuided {
    /// The priors of the rows that have one.
    fn priors(
        &self,
        surrogates: &mut dyn ScoresAndSurrogates,
        batch: &Batch,
        climb: &Climb,
    ) -> Result<Vec<Option<Prior>>, Stop> {
        let images = batch.upload(climb.images().concat());
        let gradients = surrogates.surrogate_gradient(batch, &images, &*self.climber.loss)?;
        let prior = |mut direction: Vec<f32>| {
            normalise(&mut direction).then(|| {
                let lambda = if let Estimator::FixedLambda(lambda) = self.estimator { lambda } else { 0.0 };
                let share = if self.data_prior { self.grid.share(&direction) } else { 1.0 };
                Prior { direction, share, slope: 0.0, lambda }
            })
        };
        Ok(host_rows(read(gradients)?, batch.len()).into_iter().map(prior).collect())
    }

    /// Estimates the length of the gradient: in D dimensions a random unit vector has 1 / D of its square on average.
    fn measure_length(
        &self,
        victim: &mut dyn ScoresAndSurrogates,
        batch: &Batch,
        state: &mut Guided,
        priors: &[Option<Prior>],
        streams: &mut [ChaCha8Rng],
    ) -> Result<(), Stop> {
        let everywhere = Grid::fine(batch.shape());
        let wanted = |(row, prior): (usize, &Option<Prior>)| match prior {
            Some(_) => state.climb.affordable(row, LENGTH_DIRECTIONS),
            None => 0,
        };
        let wanted: Vec<u64> = priors.iter().enumerate().map(wanted).collect();
        let mut squares = vec![0.0; batch.len()];
        self.climber.probe(
            victim,
            batch,
            &mut state.climb,
            &wanted,
            |row, direction| everywhere.draw(&mut streams[row], direction),
            |row, slope, _| squares[row] += slope * slope,
        )?;
        for (row, (square, wanted)) in squares.into_iter().zip(wanted).enumerate() {
            if square > 0.0 {
                state.length[row] = (square * everywhere.pixels() as f64 / wanted as f64).sqrt();
            }
        }
        Ok(())
    }

    /// Measures how well the priors agree with the victim, turns round those that point downhill, and decides on λ.
    fn measure_alpha(
        &self,
        victim: &mut dyn ScoresAndSurrogates,
        batch: &Batch,
        state: &mut Guided,
        priors: &mut [Option<Prior>],
    ) -> Result<(), Stop> {
        let wanted: Vec<u64> = priors
            .iter()
            .enumerate()
            .map(|(row, prior)| if prior.is_some() { state.climb.affordable(row, 1) } else { 0 })
            .collect();
        let mut slopes = vec![0.0; batch.len()];
        self.climber.probe(
            victim,
            batch,
            &mut state.climb,
            &wanted,
            |row, direction| direction.copy_from_slice(&priors[row].as_ref().expect("a prior is asked for").direction),
            |row, slope, _| slopes[row] = slope,
        )?;
        for ((prior, slope), length) in priors.iter_mut().zip(slopes).zip(&state.length) {
            let Some(prior) = prior else { continue };
            if slope < 0.0 {
                prior.direction.iter_mut().for_each(|value| *value = -*value);
            }
            prior.slope = slope.abs();
            // Without an estimate of the length, nothing speaks for the prior.
            let alpha = if *length > 0.0 { (prior.slope / length).min(1.0) } else { 0.0 };
            prior.lambda = self.lambda(alpha * alpha, prior.share);
        }
        Ok(())
    }

    /// The share of the prior in directions, for a measured α² and the share of the gradient's energy that random directions
    /// can find.
    fn lambda(&self, alpha_squared: f64, share: f64) -> f64 {
        let (directions, dimensions) = (self.directions as f64, self.grid.cells() as f64);
        match self.estimator {
            Estimator::FixedLambda(lambda) => lambda,
            Estimator::OptimalLambda if self.data_prior => optimal_lambda(alpha_squared, share, dimensions, directions),
            Estimator::OptimalLambda => {
                optimal_lambda(alpha_squared, 1.0 - alpha_squared, dimensions - 1.0, directions)
            }
            Estimator::Averaging => {
                f64::from(alpha_squared >= 2.0 * share * directions / (dimensions + directions - 1.0))
            }
        }
    }

    /// The direction in which each row steps.
    fn estimate(
        &self,
        victim: &mut dyn ScoresAndSurrogates,
        batch: &Batch,
        climb: &mut Climb,
        priors: &[Option<Prior>],
        streams: &mut [ChaCha8Rng],
    ) -> Result<Vec<Vec<f32>>, Stop> {
        let mut estimates = vec![vec![0.0; self.grid.pixels()]; batch.len()];
        let mut wanted = vec![0; batch.len()];
        for (row, prior) in priors.iter().enumerate() {
            wanted[row] = match prior {
                Some(prior) if prior.lambda >= 1.0 && self.estimator.measures_alpha() => {
                    estimates[row].copy_from_slice(&prior.direction);
                    0
                }
                // All directions are the same.
                Some(prior) if prior.lambda >= 1.0 => climb.affordable(row, 1),
                _ => climb.affordable(row, self.directions),
            };
        }
        self.climber.probe(
            victim,
            batch,
            climb,
            &wanted,
            |row, direction| self.draw(priors[row].as_ref(), &mut streams[row], direction),
            |row, slope, direction| add(&mut estimates[row], slope, direction),
        )?;
        if matches!(self.estimator, Estimator::Averaging) {
            self.average(victim, batch, climb, priors, &mut estimates)?;
        }
        Ok(estimates)
    }

    /// A random unit vector with the share λ of the prior, if there is one.
    fn draw(&self, prior: Option<&Prior>, random: &mut ChaCha8Rng, direction: &mut [f32]) {
        let Some(prior) = prior.filter(|prior| prior.lambda > 0.0) else {
            return self.grid.draw(random, direction);
        };
        if prior.lambda >= 1.0 {
            return direction.copy_from_slice(&prior.direction);
        }
        self.grid.draw(random, direction);
        let along = direction.iter().zip(&prior.direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        add(direction, -along, &prior.direction);
        normalise(direction);
        #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
        let across = (1.0 - prior.lambda).sqrt() as f32;
        direction.iter_mut().for_each(|value| *value *= across);
        add(direction, prior.lambda.sqrt(), &prior.direction);
    }

    /// Adds priors to estimates, each of length 1 times how much the loss rises along it.
    fn average(
        &self,
        victim: &mut dyn ScoresAndSurrogates,
        batch: &Batch,
        climb: &mut Climb,
        priors: &[Option<Prior>],
        estimates: &mut [Vec<f32>],
    ) -> Result<(), Stop> {
        let mut wanted = vec![0; batch.len()];
        for (row, prior) in priors.iter().enumerate() {
            if prior.as_ref().is_some_and(|prior| prior.lambda < 1.0 && prior.slope > 0.0)
                && normalise(&mut estimates[row])
            {
                wanted[row] = climb.affordable(row, 1);
            }
        }
        let mut slopes = vec![0.0; batch.len()];
        let unit: &[Vec<f32>] = estimates;
        self.climber.probe(
            victim,
            batch,
            climb,
            &wanted,
            |row, direction| direction.copy_from_slice(&unit[row]),
            |row, slope, _| slopes[row] = slope.max(0.0),
        )?;
        for (row, prior) in priors.iter().enumerate() {
            if let Some(prior) = prior.as_ref().filter(|_| wanted[row] > 0) {
                #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
                let weight = slopes[row] as f32;
                estimates[row].iter_mut().for_each(|value| *value *= weight);
                add(&mut estimates[row], prior.slope, &prior.direction);
            }
        }
        Ok(())
    }
}

/// The λ that makes the expected cosine of estimate and gradient largest: for `directions` draws, a prior that has the
/// share `alpha_squared` of the gradient's energy, and `dimensions` others that have `share` of it.
fn optimal_lambda(alpha_squared: f64, share: f64, dimensions: f64, directions: f64) -> f64 {
    let spread = dimensions + 2.0 * directions - 2.0;
    if alpha_squared * spread <= share {
        return 0.0;
    }
    if alpha_squared * dimensions >= share * (2.0 * directions - 1.0) {
        return 1.0;
    }
    let mixed = directions * (dimensions + 1.0) - 1.0;
    let below = share * share + (alpha_squared * dimensions).powi(2) - 2.0 * share * alpha_squared * mixed;
    share * (share - alpha_squared * spread) / below
}

inventory::submit! {
    AttackEntry {
        component: Component {
            id: "p-rgf",
            revision: 1,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("p_rgf.rs"),
            parameters: &[
                queries("10000"),
                DIRECTIONS,
                Parameter {
                    name: "estimator",
                    kind: ParameterKind::Choice(&["optimal-lambda", "fixed-lambda", "averaging"]),
                    unit: "",
                    fallback: Fallback::Value("optimal-lambda"),
                    documentation: "How the surrogates' gradient and random directions are combined.",
                },
                Parameter {
                    name: "lambda",
                    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
                    unit: "share of squared length",
                    fallback: Fallback::Value("0.5"),
                    documentation: "The share of the surrogates' gradient in every direction, for fixed-lambda.",
                },
                SIGMA,
                STEP_SIZE,
                step_share("0.1"),
                DATA_PRIOR,
                LOSS,
            ],
            example: "queries = 2000\ndata-prior = true",
            traits: Traits::Attack(AttackTraits {
                access: Access::Scores,
                surrogates: Surrogates::Needed,
                norms: &Norm::DENSE,
                goals: &Goal::ALL,
                minimises_distance: false,
                cost: &|values| Ok(Cost::forward(values.count("queries"))),
            }),
        },
        build: &|values, context| {
            let data_prior = values.flag("data-prior");
            Ok(Box::new(PriorGuided {
                climber: Climber::new(values, context.shape.iter().product(), context.loss(values, "loss")?),
                directions: values.count("directions"),
                estimator: Estimator::from(values),
                data_prior,
                grid: if data_prior { Grid::scaled(context.shape) } else { Grid::fine(context.shape) },
            }))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The squared expected cosine, up to a factor: (gᵀCg)² / gᵀ((1 − 1/q) C² + C gᵀCg / q) g for unit g and the covariance C of
    /// directions, which has λ along the prior and (1 − λ) / d across.
    fn quality(lambda: f64, alpha_squared: f64, share: f64, dimensions: f64, directions: f64) -> f64 {
        let across = (1.0 - lambda) / dimensions;
        let first = lambda * alpha_squared + across * share;
        let second = lambda * lambda * alpha_squared + across * across * share;
        first * first / ((1.0 - 1.0 / directions) * second + first / directions)
    }

    #[test]
    fn lambda_is_where_the_expected_cosine_is_largest() {
        for (alpha_squared, dimensions, directions) in [
            (1e-4, 3071.0, 50.0),
            (1e-3, 3071.0, 50.0),
            (0.01, 3071.0, 50.0),
            (0.03, 3071.0, 50.0),
            (0.2, 75.0, 50.0),
            (0.1, 11.0, 5.0),
        ] {
            for share in [1.0 - alpha_squared, 0.3] {
                let lambda = optimal_lambda(alpha_squared, share, dimensions, directions);
                let best = (0..=10_000)
                    .map(|step| f64::from(step) / 10_000.0)
                    .max_by(|a, b| {
                        let of = |lambda| quality(lambda, alpha_squared, share, dimensions, directions);
                        of(*a).total_cmp(&of(*b))
                    })
                    .unwrap();
                assert!((lambda - best).abs() < 2e-4, "{alpha_squared} {share} {dimensions}: {lambda}, not {best}");
            }
        }
    }
}
