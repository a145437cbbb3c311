//! What score attacks share that draw many points around where they are, ask for all of them, and then move.

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, project};
use realsafe_core::{Batch, Loss, Role, Scores, Stop, read};
use realsafe_plan::{
    Access, AttackTraits, Cost, Fallback, Goal, Norm, Parameter, ParameterKind, Surrogates, Traits, Values,
};

use super::ascent::{LOSS, StepSize};
use super::finite_differences::{IMAGES_AT_ONCE, add, ask, host_rows};
use super::grid::Grid;

/// How many points are asked for before a move.
pub(crate) const fn samples_per_draw(fallback: &'static str) -> Parameter {
    Parameter {
        name: "samples-per-draw",
        kind: ParameterKind::Count { minimum: 2, maximum: 10_000 },
        unit: "queries",
        fallback: Fallback::Value(fallback),
        documentation: "How many points an estimate is made of; an odd number counts as the even one below it.",
    }
}

/// The length of a step as it is.
pub(crate) const LEARNING_RATE: Parameter = Parameter {
    name: "learning-rate",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
    unit: "pixel range 0 to 1",
    fallback: Fallback::Unset,
    documentation: "The length of a step; where it is set, learning-rate-relative is ignored.",
};

/// The length of a step as a multiple of the radius.
pub(crate) const fn learning_rate_relative(fallback: &'static str, unit: &'static str) -> Parameter {
    Parameter {
        name: "learning-rate-relative",
        kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
        unit,
        fallback: Fallback::Value(fallback),
        documentation: "The length of a step as a multiple of the radius, which fits every eps of a list.",
    }
}

/// The length of a step, absolute or as a share of each row's radius times `spread`.
#[expect(clippy::cast_possible_truncation, reason = "step sizes are single precision on every device")]
pub(crate) fn learning_rate(values: &Values, spread: f64) -> StepSize {
    if values.is_set("learning-rate") {
        StepSize::Absolute(values.number("learning-rate") as f32)
    } else {
        StepSize::ShareOfEps((values.number("learning-rate-relative") * spread) as f32)
    }
}

/// The side of the grid of low-resolution noise.
pub(crate) const DIMENSION_REDUCTION: Parameter = Parameter {
    name: "dimension-reduction",
    kind: ParameterKind::Count { minimum: 1, maximum: 100_000 },
    unit: "cells along the longer side",
    fallback: Fallback::Unset,
    documentation: "The side of the grid on whose cells noise is constant, at most that of the image; unset there is none.",
};

/// The margin, unless another loss is named.
pub(crate) const MARGIN: Parameter = Parameter { fallback: Fallback::Value("margin"), ..LOSS };

/// What these attacks have in common.
pub(crate) const TRAITS: Traits = Traits::Attack(AttackTraits {
    access: Access::Scores,
    surrogates: Surrogates::Unused,
    norms: &Norm::DENSE,
    goals: &Goal::ALL,
    minimises_distance: false,
    cost: &|values| Population::from(values).cost(),
});

/// The grid on whose cells noise is constant.
pub(crate) fn grid(values: &Values, shape: [usize; 3]) -> Grid {
    if values.is_set("dimension-reduction") {
        Grid::with_side(shape, usize::try_from(values.count("dimension-reduction")).unwrap_or(usize::MAX))
    } else {
        Grid::fine(shape)
    }
}

/// How the queries of a sample are spent: on draws of an even number of points, each followed by the point to which it leads.
pub(crate) struct Population {
    queries: u64,
    samples: u64,
}

impl Population {
    pub(crate) const fn new(queries: u64, samples: u64) -> Self {
        Self { queries, samples }
    }

    pub(crate) fn from(values: &Values) -> Self {
        Self::new(values.count("queries"), values.count("samples-per-draw") / 2 * 2)
    }

    /// The cost of all draws.
    pub(crate) fn cost(&self) -> Result<Cost, String> {
        if self.queries < 3 {
            let queries = self.queries;
            return Err(format!("queries = {queries} pays for no draw: two points and where they lead cost 3"));
        }
        Ok(Cost::forward(self.queries))
    }

    /// How many draws there are.
    pub(crate) fn steps(&self) -> u32 {
        let draw = self.samples + 1;
        let rest = u64::from(self.queries % draw >= 3);
        u32::try_from(self.queries / draw + rest).unwrap_or(u32::MAX)
    }

    /// The cost of the largest draw.
    pub(crate) fn step_cost(&self) -> Cost {
        Cost::forward((self.samples + 1).min(self.queries))
    }

    /// The cost of a draw.
    pub(crate) fn cost_of(&self, step: u32) -> Cost {
        Cost::forward(self.samples(step) as u64 + 1)
    }

    /// How many points a draw is made of: in the last one, as many as are still paid for.
    pub(crate) fn samples(&self, step: u32) -> usize {
        let left = self.queries - u64::from(step) * (self.samples + 1);
        usize::try_from(self.samples.min((left - 1) / 2 * 2)).unwrap_or(usize::MAX)
    }
}

/// Asks for the losses of so many points per row, and tells `take` what was drawn for a row and the losses of its points.
pub(crate) fn measure<V: Scores + ?Sized, T>(
    victim: &mut V,
    batch: &Batch,
    loss: &dyn Loss,
    points_per_row: usize,
    mut draw: impl FnMut(usize, &mut Vec<f32>) -> T,
    mut take: impl FnMut(usize, T, &[f32]),
) -> Result<(), Stop> {
    let size: usize = batch.shape().iter().product();
    let rows_at_once = (IMAGES_AT_ONCE / points_per_row).max(1);
    for first in (0..batch.len()).step_by(rows_at_once) {
        let rows = first..batch.len().min(first + rows_at_once);
        let mut points = Vec::with_capacity(rows.len() * points_per_row * size);
        let drawn: Vec<T> = rows.clone().map(|row| draw(row, &mut points)).collect();
        let owners: Vec<usize> = rows.clone().flat_map(|row| (0..points_per_row).map(move |_| row)).collect();
        let mut losses = Vec::with_capacity(owners.len());
        for (owners, points) in owners.chunks(IMAGES_AT_ONCE).zip(points.chunks(IMAGES_AT_ONCE * size)) {
            losses.extend(ask(victim, batch, loss, owners.to_vec(), points.to_vec(), Role::Probe)?.0);
        }
        for ((row, drawn), losses) in rows.zip(drawn).zip(losses.chunks_exact(points_per_row)) {
            take(row, drawn, losses);
        }
    }
    Ok(())
}

/// What pairs of opposite points say of a row.
pub(crate) struct Estimate {
    /// The gradient of the loss.
    pub(crate) gradient: Vec<f32>,
    /// The mean loss of the points.
    pub(crate) mean: f32,
}

/// Estimates gradients from pairs of points, `sigma` times a direction that `fill` writes to either side of each image.
pub(crate) fn antithetic<V: Scores + ?Sized>(
    victim: &mut V,
    batch: &Batch,
    loss: &dyn Loss,
    images: &[Vec<f32>],
    sigma: f32,
    samples: usize,
    mut fill: impl FnMut(usize, &mut [f32]),
) -> Result<Vec<Estimate>, Stop> {
    let size: usize = batch.shape().iter().product();
    let mut estimates = Vec::with_capacity(batch.len());
    let draw = |row: usize, points: &mut Vec<f32>| {
        let mut directions = vec![0.0; samples / 2 * size];
        let image = &images[row];
        for direction in directions.chunks_exact_mut(size) {
            fill(row, direction);
            for sigma in [sigma, -sigma] {
                points.extend(image.iter().zip(&*direction).map(|(pixel, by)| pixel + sigma * by));
            }
        }
        directions
    };
    measure(victim, batch, loss, samples, draw, |_, directions, losses| {
        let mut gradient = vec![0.0; size];
        for (direction, pair) in directions.chunks_exact(size).zip(losses.chunks_exact(2)) {
            let slope = (f64::from(pair[0]) - f64::from(pair[1])) / (f64::from(sigma) * samples as f64);
            if slope.is_finite() {
                add(&mut gradient, slope, direction);
            }
        }
        let mean = losses.iter().sum::<f32>() / samples as f32;
        estimates.push(Estimate { gradient, mean });
    })?;
    Ok(estimates)
}

/// Goes from the images by a change each, back into the ball and the box, and asks whether that is adversarial.
pub(crate) fn go<V: Scores + ?Sized>(
    victim: &mut V,
    batch: &Batch,
    images: &mut Vec<Vec<f32>>,
    change: Tensor<4>,
) -> Result<(), Stop> {
    let moved = batch.upload(images.concat()) + change;
    let moved = project(batch.norm, moved, &batch.images, &per_row(&batch.eps, &batch.images))?;
    victim.scores(batch, &moved, Role::Iterate)?;
    *images = host_rows(read(moved)?, batch.len());
    Ok(())
}
