//! What attacks that estimate gradients from differences of scores have in common.

use std::sync::Arc;

use realsafe_core::{Batch, Loss, Role, Rows, Scores, Select, Stop, read, state};
use realsafe_plan::{Cost, Fallback, Parameter, ParameterKind, Values};

use super::ascent::StepSize;

/// How many images are sent in one call, which bounds the memory that they take.
pub(crate) const IMAGES_AT_ONCE: usize = 256;

/// How many queries a sample may spend.
pub(crate) const fn queries(fallback: &'static str) -> Parameter {
    Parameter {
        name: "queries",
        kind: ParameterKind::Count { minimum: 1, maximum: 10_000_000 },
        unit: "queries",
        fallback: Fallback::Value(fallback),
        documentation: "How many images are sent per sample, all measurements included.",
    }
}

/// The length of a step as a share of the radius.
pub(crate) const fn step_share(fallback: &'static str) -> Parameter {
    Parameter {
        name: "step-size-share",
        kind: ParameterKind::Number { minimum: 0.0, maximum: 1e6 },
        unit: "eps",
        fallback: Fallback::Value(fallback),
        documentation: "The length of a step as a multiple of eps, which fits every eps of a list.",
    }
}

/// The number of random directions of an estimate.
pub(crate) const DIRECTIONS: Parameter = Parameter {
    name: "directions",
    kind: ParameterKind::Count { minimum: 1, maximum: 10_000 },
    unit: "queries",
    fallback: Fallback::Value("50"),
    documentation: "How many random directions an estimate of the gradient is made of (q).",
};

/// How far apart the two points of a difference are.
pub(crate) const SIGMA: Parameter = Parameter {
    name: "sigma",
    kind: ParameterKind::Number { minimum: 1e-9, maximum: 1.0 },
    unit: "√(number of values of an image), pixel range 0 to 1",
    fallback: Fallback::Value("1e-4"),
    documentation: "The Euclidean distance of the two points of a finite difference.",
};

/// Whether directions are drawn from the coarse grid.
pub(crate) const DATA_PRIOR: Parameter = Parameter {
    name: "data-prior",
    kind: ParameterKind::Flag,
    unit: "",
    fallback: Fallback::Value("false"),
    documentation: "Whether random directions are constant on the cells of a coarse grid, 50 cells per 299 pixels.",
};

state! {
    /// Where the samples are.
    pub(crate) struct Climb {
        images: Vec<Vec<f32>>,
        /// The losses of the images.
        losses: Vec<f32>,
        /// How many queries are left.
        left: Vec<u64>,
        /// The distance of finite differences.
        sigma: Vec<f32>,
    }
}

impl Climb {
    /// The image of each row.
    pub(crate) fn images(&self) -> &[Vec<f32>] {
        &self.images
    }

    /// The most that a row can spend on a step of a cost.
    pub(crate) fn cost(&self, row: usize, cost: Cost) -> Cost {
        Cost::forward(cost.forwards.min(self.left[row]))
    }

    /// Whether a row can no more pay for a measurement and for the query of where it leads.
    pub(crate) fn has_ended(&self, row: usize) -> bool {
        self.left[row] < 2
    }

    /// How many of the measurements that are wanted a row can pay for, and still query where they lead.
    pub(crate) fn affordable(&self, row: usize, wanted: u64) -> u64 {
        wanted.min(self.left[row].saturating_sub(1))
    }
}

/// Climbs along estimated gradients.
pub(crate) struct Climber {
    pub(crate) loss: Arc<dyn Loss>,
    pub(crate) queries: u64,
    sigma: f32,
    step_size: StepSize,
}

impl Climber {
    #[expect(clippy::cast_possible_truncation, reason = "pixels and steps are single precision on every device")]
    pub(crate) fn new(values: &Values, pixels: usize, loss: Arc<dyn Loss>) -> Self {
        Self {
            loss,
            queries: values.count("queries"),
            sigma: (values.number("sigma") * (pixels as f64).sqrt()) as f32,
            step_size: step_size(values),
        }
    }

    /// Starts at the clean images, each of which is queried.
    pub(crate) fn start<V: Scores + ?Sized>(&self, victim: &mut V, batch: &Batch) -> Result<Climb, Stop> {
        let (_, losses) = victim.losses(batch, &batch.images, &*self.loss, Role::Iterate)?;
        let images = host_rows(read(batch.images.clone())?, batch.len());
        Ok(Climb { images, losses, left: vec![self.queries - 1; batch.len()], sigma: vec![self.sigma; batch.len()] })
    }

    /// Measures slopes: asks so many times per row for the loss at `sigma` in a direction that `draw` writes, and tells `take`
    /// the row, the slope and the direction, row by row. Slopes of exactly zero, and those that are no numbers, are not
    /// told; a row that has no others measures at twice the distance from then on.
    pub(crate) fn probe<V: Scores + ?Sized>(
        &self,
        victim: &mut V,
        batch: &Batch,
        climb: &mut Climb,
        wanted: &[u64],
        mut draw: impl FnMut(usize, &mut [f32]),
        mut take: impl FnMut(usize, f64, &[f32]),
    ) -> Result<(), Stop> {
        let size: usize = batch.shape().iter().product();
        let mut changed = vec![false; batch.len()];
        for owners in calls(wanted) {
            let mut directions = vec![0.0; owners.len() * size];
            let mut points = Vec::with_capacity(directions.len());
            for (&row, direction) in owners.iter().zip(directions.chunks_exact_mut(size)) {
                draw(row, direction);
                let sigma = climb.sigma[row];
                points.extend(climb.images[row].iter().zip(&*direction).map(|(pixel, by)| pixel + sigma * by));
            }
            let (losses, _) = ask(victim, batch, &*self.loss, owners.clone(), points, Role::Probe)?;
            for ((&row, loss), direction) in owners.iter().zip(losses).zip(directions.chunks_exact(size)) {
                climb.left[row] -= 1;
                let slope = (f64::from(loss) - f64::from(climb.losses[row])) / f64::from(climb.sigma[row]);
                if slope != 0.0 && slope.is_finite() {
                    changed[row] = true;
                    take(row, slope, direction);
                }
            }
        }
        let diagonal = (size as f32).sqrt();
        for (row, _) in wanted.iter().enumerate().filter(|(row, wanted)| **wanted > 0 && !changed[*row]) {
            climb.sigma[row] = (2.0 * climb.sigma[row]).min(diagonal.max(self.sigma));
        }
        Ok(())
    }

    /// Steps along a direction per row and queries where that leads; rows whose direction is zero stay.
    pub(crate) fn advance<V: Scores + ?Sized>(
        &self,
        victim: &mut V,
        batch: &Batch,
        climb: &mut Climb,
        directions: &[Vec<f32>],
    ) -> Result<(), Stop> {
        let moving = (0..batch.len()).filter(|&row| directions[row].iter().any(|value| *value != 0.0));
        let moving: Vec<usize> = moving.collect();
        if moving.is_empty() {
            return Ok(());
        }
        let moved = step(batch, &self.step_size, &moving, &climb.images, directions)?;
        let (losses, _) = ask(victim, batch, &*self.loss, moving.clone(), moved.concat(), Role::Iterate)?;
        for ((row, image), loss) in moving.into_iter().zip(moved).zip(losses) {
            climb.images[row] = image;
            climb.losses[row] = loss;
            climb.left[row] -= 1;
        }
        Ok(())
    }
}

/// The rows of the images of each call, of which every row wants its own number. How those of a row are divided has nothing to do
/// with other rows, because draws of randomised victims are counted by call.
fn calls(wanted: &[u64]) -> Vec<Vec<usize>> {
    let mut calls: Vec<Vec<usize>> = Vec::new();
    for (row, wanted) in wanted.iter().enumerate() {
        let owners = vec![row; usize::try_from(*wanted).unwrap_or(usize::MAX)];
        for part in owners.chunks(IMAGES_AT_ONCE) {
            match calls.last_mut() {
                Some(call) if call.len() + part.len() <= IMAGES_AT_ONCE => call.extend(part),
                _ => calls.push(part.to_vec()),
            }
        }
    }
    calls
}

/// The length of a step, absolute or as a share of each row's radius.
#[expect(clippy::cast_possible_truncation, reason = "step sizes are single precision on every device")]
pub(crate) fn step_size(values: &Values) -> StepSize {
    if values.is_set("step-size") {
        StepSize::Absolute(values.number("step-size") as f32)
    } else {
        StepSize::ShareOfEps(values.number("step-size-share") as f32)
    }
}

/// The images to which steps along directions lead, for the chosen rows.
pub(crate) fn step(
    batch: &Batch,
    step_size: &StepSize,
    rows: &[usize],
    images: &[Vec<f32>],
    directions: &[Vec<f32>],
) -> Result<Vec<Vec<f32>>, Stop> {
    let part = batch.choose(&Rows::new(rows.to_vec(), &batch.device()));
    let upload = |all: &[Vec<f32>]| part.upload(rows.iter().flat_map(|&row| &all[row]).copied().collect());
    let moved = step_size.advance(&part, upload(images), upload(directions))?;
    Ok(host_rows(read(moved)?, rows.len()))
}

/// Asks for the losses that are raised, and whether the goal is reached, at points each of which belongs to a row.
pub(crate) fn ask<V: Scores + ?Sized>(
    victim: &mut V,
    batch: &Batch,
    loss: &dyn Loss,
    owners: Vec<usize>,
    points: Vec<f32>,
    role: Role,
) -> Result<(Vec<f32>, Vec<bool>), Stop> {
    let part = batch.choose(&Rows::new(owners, &batch.device()));
    let (logits, losses) = victim.losses(&part, &part.upload(points), loss, role)?;
    let reached = logits.predictions().into_iter().enumerate().map(|(row, class)| part.reached(row, class));
    Ok((losses, reached.collect()))
}

/// The values of each of so many rows.
pub(crate) fn host_rows(values: Vec<f32>, rows: usize) -> Vec<Vec<f32>> {
    values.chunks_exact(values.len() / rows).map(<[f32]>::to_vec).collect()
}

/// Adds a multiple of a direction to a sum.
pub(crate) fn add(sum: &mut [f32], factor: f64, direction: &[f32]) {
    #[expect(clippy::cast_possible_truncation, reason = "pixels are single precision")]
    let factor = factor as f32;
    sum.iter_mut().zip(direction).for_each(|(sum, value)| *sum += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_row_is_divided_does_not_depend_on_the_others() {
        let of_row = |calls: &[Vec<usize>], row| -> Vec<usize> {
            let counts = calls.iter().map(|call| call.iter().filter(|owner| **owner == row).count());
            counts.filter(|count| *count > 0).collect()
        };
        let together = calls(&[100, 0, 300, 200, 56]);
        assert!(together.iter().all(|call| call.len() <= IMAGES_AT_ONCE));
        for (row, wanted) in [(0, 100), (2, 300), (3, 200), (4, 56)] {
            assert_eq!(of_row(&together, row), of_row(&calls(&[wanted]), 0), "{row}");
        }
    }
}
