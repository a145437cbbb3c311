//! Attacks that use surrogates: one never asks the victim, one asks it for scores.

use realsafe_plugin::access::{Nothing, Scores, SeesSurrogates, WithSurrogates};
use realsafe_plugin::{
    About, Attack, Batch, Cost, Error, LossChoice, Parameter, Plan, Problem, Role, Rows, Values, Victim,
};

realsafe_plugin::plugin!(static PLUGIN: [attack Transfer, attack ScoresWithPrior]);
realsafe_plugin::export!(PLUGIN);

const STEPS: Parameter = Parameter::count("steps", 1, 1000).fallback("10").documentation("How many steps are made.");
/// That of the built-in `bim`.
const STEP_SIZE: f32 = 1.5;

/// The number of steps, and the length of a step as a share of eps.
fn steps(values: &Values<'_>) -> Result<(u32, f32), Error> {
    let steps = values.count("steps")? as u32;
    Ok((steps, STEP_SIZE / steps as f32))
}

/// The direction of steepest ascent of the mean over all surrogates.
fn direction<A: SeesSurrogates>(
    victim: &mut Victim<'_, A>,
    batch: &Batch<'_>,
    images: &[f32],
) -> Result<Vec<f32>, Error> {
    let mut mean = vec![0.0; images.len()];
    for surrogate in 0..batch.problem.surrogates {
        let (_, gradients) = victim.surrogate_gradient(surrogate, batch.rows(), images, LossChoice::CROSS_ENTROPY)?;
        let share = 1.0 / batch.problem.surrogates as f32;
        mean.iter_mut().zip(gradients).for_each(|(mean, gradient)| *mean += share * gradient);
    }
    victim.steepest(batch.rows(), &mut mean)?;
    Ok(mean)
}

/// Moves each row along its direction, and projects it.
fn advance<A>(
    victim: &mut Victim<'_, A>,
    batch: &Batch<'_>,
    images: &mut [f32],
    directions: &[f32],
    share: impl Fn(usize) -> f32,
) -> Result<(), Error> {
    let values = batch.problem.shape.values();
    let rows = images.chunks_exact_mut(values).zip(directions.chunks_exact(values));
    for (row, (image, direction)) in rows.enumerate() {
        let length = share(row) * batch.eps[row];
        image.iter_mut().zip(direction).for_each(|(pixel, change)| *pixel += change * length);
    }
    victim.project(batch.rows(), images)
}

struct Transfer {
    step_size: f32,
}

impl Attack for Transfer {
    const ABOUT: About = About {
        id: "transfer",
        revision: 1,
        documentation: "The basic iterative method on surrogates.",
        example: "",
        parameters: &[STEPS],
    };
    type Access = WithSurrogates<Nothing>;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan { steps: steps(values)?.0, start: Cost::NOTHING, step: Cost::NOTHING })
    }

    fn create(_: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        Ok(Self { step_size: steps(values)?.1 })
    }

    fn start(
        &self,
        _: &mut Victim<'_, Self::Access>,
        _: &Batch<'_>,
        _: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        _: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let directions = direction(victim, batch, iterates)?;
        advance(victim, batch, iterates, &directions, |_| self.step_size)
    }
}

struct ScoresWithPrior {
    classes: usize,
    step_size: f32,
}

/// What is kept per row: the best objective so far, and the share of eps that the next step moves.
const OBJECTIVE: usize = 0;
const SHARE: usize = 1;

impl ScoresWithPrior {
    /// How far the class of each row is from being the most likely one, or the target from not being it.
    fn objectives(
        &self,
        victim: &mut Victim<'_, <Self as Attack>::Access>,
        batch: &Batch<'_>,
        images: &[f32],
    ) -> Result<Vec<f32>, Error> {
        let logits = victim.scores(batch.rows(), images, Role::Iterate)?;
        let rows = logits.chunks_exact(self.classes).enumerate();
        let objective = |(row, logits): (usize, &[f32])| {
            let (class, sign) = batch.aim(row);
            let others = logits.iter().enumerate().filter(|(other, _)| *other != class as usize);
            let rival = others.map(|(_, logit)| *logit).fold(f32::NEG_INFINITY, f32::max);
            sign * (rival - logits[class as usize])
        };
        Ok(rows.map(objective).collect())
    }
}

impl Attack for ScoresWithPrior {
    const ABOUT: About = About {
        id: "scores-with-prior",
        revision: 1,
        documentation: "Steps along the gradient of surrogates, which are kept if the victim's score falls, else halved.",
        example: "",
        parameters: &[STEPS],
    };
    type Access = WithSurrogates<Scores>;

    fn plan(values: &Values<'_>) -> Result<Plan, Error> {
        Ok(Plan { steps: steps(values)?.0, start: Cost::queries(1), step: Cost::queries(1) })
    }

    fn create(problem: &Problem, values: &Values<'_>) -> Result<Self, Error> {
        Ok(Self { classes: problem.shape.classes as usize, step_size: steps(values)?.1 })
    }

    fn state_len(&self) -> usize {
        2
    }

    fn start(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error> {
        for (row, objective) in self.objectives(victim, batch, iterates)?.into_iter().enumerate() {
            state.row_mut(row)[OBJECTIVE] = objective;
            state.row_mut(row)[SHARE] = self.step_size;
        }
        Ok(())
    }

    fn step(
        &self,
        victim: &mut Victim<'_, Self::Access>,
        batch: &Batch<'_>,
        iterates: &mut Rows<'_>,
        state: &mut Rows<'_>,
    ) -> Result<(), Error> {
        let directions = direction(victim, batch, iterates)?;
        let mut tried = iterates.to_vec();
        advance(victim, batch, &mut tried, &directions, |row| state.row(row)[SHARE])?;
        let objectives = self.objectives(victim, batch, &tried)?;
        for (row, (image, objective)) in tried.chunks_exact(batch.problem.shape.values()).zip(objectives).enumerate() {
            let kept = state.row_mut(row);
            if objective > kept[OBJECTIVE] {
                kept[OBJECTIVE] = objective;
                iterates.row_mut(row).copy_from_slice(image);
            } else {
                kept[SHARE] /= 2.0;
            }
        }
        Ok(())
    }
}
