//! Automatic projected gradient descent (APGD): the machine of `apgd` and `apgd-t`.

mod search;

use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_core::projection::{per_row, project};
use realsafe_core::random::Purpose;
use realsafe_core::{
    Ascent, Attack, Batch, Gradients, HostRows, Loss, Role, Stop, fill_gaussian, fill_uniform, length,
};
use realsafe_plan::{Cost, Fallback, Norm, Parameter, ParameterKind, Values};

use self::search::Search;

/// The norms in which they work.
pub(crate) const NORMS: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

/// How many of a window's steps must raise the loss for the step size to stay.
pub(crate) const RHO: Parameter = Parameter {
    name: "rho",
    kind: ParameterKind::Number { minimum: 0.0, maximum: 1.0 },
    unit: "share of the steps between two checkpoints",
    fallback: Fallback::Value("0.75"),
    documentation: "The step size is halved where no larger share of the steps raised the loss (linf and l2).",
};

/// The schedule of radii.
pub(crate) const LARGE_RADII: Parameter = Parameter {
    name: "large-radii",
    kind: ParameterKind::Flag,
    unit: "",
    fallback: Fallback::Value("false"),
    documentation: "Makes 30 % of the steps at 3 eps, 30 % at 2 eps and 40 % at eps, each from the best point before.",
};

/// Where the first run starts.
pub(crate) const START: Parameter = Parameter {
    name: "start",
    kind: ParameterKind::Choice(&["surface", "none"]),
    unit: "",
    fallback: Fallback::Value("surface"),
    documentation: "A random point of the surface of the ball, or the clean image.",
};

/// Steps with one radius and one loss; its step size starts anew.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Phase {
    /// The rank of the class that is the target, among all classes but the label.
    target: usize,
    /// The radius, as a multiple of eps.
    radius: f32,
    steps: u32,
    /// Whether it starts from the best point of the phase before.
    warm: bool,
}

/// What both attacks do.
pub(crate) struct Apgd {
    phases: Vec<Phase>,
    /// How many classes are targets in turn; none where the goal says what is raised.
    targets: usize,
    random_start: bool,
    rho: f32,
    loss: Arc<dyn Loss>,
}

impl Apgd {
    /// From the values of the parameters, which `apgd` and `apgd-t` share but for the number of targets.
    pub(crate) fn new(values: &Values, targets: usize, loss: Arc<dyn Loss>) -> Self {
        Self {
            phases: phases(values, targets),
            targets,
            random_start: values.text("start") == "surface",
            rho: values.number("rho") as f32,
            loss,
        }
    }

    /// The phase of a step, and how many steps were made in it.
    fn place(&self, mut step: u32) -> (usize, u32) {
        for (index, phase) in self.phases.iter().enumerate() {
            if step <= phase.steps {
                return (index, step);
            }
            step -= phase.steps + 1;
        }
        unreachable!("the driver makes as many steps as all phases have")
    }

    fn random_images(&self, batch: &Batch, eps: &[f32]) -> Result<Tensor<4>, Stop> {
        if !self.random_start {
            return Ok(batch.images.clone());
        }
        let noise = batch.draw(Purpose::Start, |row, random, pixels| {
            let size = match batch.norm {
                Norm::Linf => {
                    fill_uniform(random, pixels);
                    pixels.iter().fold(0.0_f32, |most, pixel| most.max(pixel.abs()))
                }
                Norm::L2 => {
                    fill_gaussian(random, pixels);
                    length(pixels)
                }
                // The projection brings it to the surface.
                Norm::L1 | Norm::L0 => {
                    fill_gaussian(random, pixels);
                    return;
                }
            };
            let scale = eps[row] / size.max(f32::MIN_POSITIVE);
            pixels.iter_mut().for_each(|pixel| *pixel *= scale);
        });
        project(batch.norm, batch.images.clone() + noise, &batch.images, &per_row(eps, &batch.images))
    }

    /// Begins a phase at its starting point.
    fn begin(&self, batch: &Batch, state: &mut Search, phase: usize, eps: &[f32]) -> Result<(), Stop> {
        let Phase { warm, radius, .. } = self.phases[phase];
        let images = if warm {
            project(batch.norm, state.best_of_phase(), &batch.images, &per_row(eps, &batch.images))?
        } else {
            if phase > 0 {
                state.keep_best();
            }
            self.random_images(batch, eps)?
        };
        // The start of a plain run says nothing of how sparse a good point is.
        let telling = warm || (radius > 1.0 && self.random_start);
        state.begin(images, batch, eps, telling)
    }

    /// The batch with the targets of a phase.
    fn aimed(&self, batch: &Batch, state: &Search, phase: usize) -> Batch {
        let mut aimed = batch.clone();
        if self.targets > 0 {
            let rank = self.phases[phase].target;
            aimed.targets = state.ranking().chunks_exact(self.targets).map(|ranking| Some(ranking[rank])).collect();
        }
        aimed
    }
}

/// The most that all phases cost a sample.
pub(crate) fn cost(values: &Values, targets: usize) -> Cost {
    let gradients: u64 = phases(values, targets).iter().map(|phase| u64::from(phase.steps)).sum();
    let points = phases(values, targets).len() as u64;
    Cost::gradient(gradients).plus(Cost::forward(points + u64::from(targets > 0)))
}

/// The phases for a number of targets, or for the aim of the goal if there are none.
fn phases(values: &Values, targets: usize) -> Vec<Phase> {
    let steps = u32::try_from(values.count("steps")).unwrap_or(u32::MAX);
    let of_target = |target: usize| {
        let phase = |radius, steps, warm| Phase { target, radius, steps, warm };
        if !values.flag("large-radii") {
            return vec![phase(1.0, steps, false)];
        }
        let first = (3 * steps).div_ceil(10);
        let second = first.min(steps - first);
        vec![phase(3.0, first, false), phase(2.0, second, true), phase(1.0, steps - first - second, true)]
    };
    (0..targets.max(1)).flat_map(of_target).collect()
}

/// After how many steps of `steps` the progress is checked.
fn checkpoints(norm: Norm, steps: u32) -> Vec<u32> {
    let share = |percent: u32| (steps * percent / 100).max(1);
    let (mut window, shorter, least) =
        if norm == Norm::L1 { (share(4), 0, 0) } else { (share(22), share(3), share(6)) };
    let mut checkpoints = Vec::new();
    let mut at = window;
    while at <= steps {
        checkpoints.push(at);
        window = window.saturating_sub(shorter).max(least);
        at += window;
    }
    checkpoints
}

/// The classes with the largest logits but the label, the largest first.
fn likeliest(logits: &[f32], label: u32, count: usize) -> Vec<u32> {
    let mut classes: Vec<u32> = (0..logits.len() as u32).filter(|class| *class != label).collect();
    classes.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    classes.truncate(count);
    classes
}

impl Attack for Apgd {
    type Door = dyn Gradients;
    type State = Search;

    fn steps(&self) -> u32 {
        self.phases.iter().map(|phase| phase.steps + 1).sum()
    }

    fn start_cost(&self) -> Cost {
        Cost::forward(u64::from(self.targets > 0))
    }

    fn step_cost(&self) -> Cost {
        Cost::gradient(1)
    }

    fn next_cost(&self, step: u32, _: &Search, _: usize) -> Cost {
        let (phase, made) = self.place(step);
        if made == self.phases[phase].steps { Cost::forward(1) } else { Cost::gradient(1) }
    }

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let values = if self.targets > 0 {
            let logits = victim.scores(batch, &batch.images, Role::Probe)?;
            logits
                .rows()
                .zip(&batch.labels)
                .flat_map(|(logits, label)| likeliest(logits, *label, self.targets))
                .collect()
        } else {
            Vec::new()
        };
        Ok(Search::new(batch, HostRows { width: self.targets, values }))
    }

    fn step(&self, victim: &mut Self::Door, batch: &Batch, state: &mut Search) -> Result<(), Stop> {
        let (index, step) = self.place(batch.step);
        let phase = &self.phases[index];
        let eps: Vec<f32> = batch.eps.iter().map(|eps| phase.radius * eps).collect();
        match (step, batch.norm) {
            (0, _) => self.begin(batch, state, index, &eps)?,
            (_, Norm::L1) => state.advance_sparsely(batch, &eps)?,
            _ => state.advance(batch, &eps, step == 1)?,
        }
        let aimed = self.aimed(batch, state, index);
        // Nothing follows the last point of a phase along its gradient.
        let (losses, gradient) = if step == phase.steps {
            (victim.losses(&aimed, state.images(), &*self.loss, Role::Iterate)?.1, None)
        } else {
            let Ascent { losses, gradient, .. } =
                victim.gradient(&aimed, state.images(), &*self.loss, Role::Iterate)?;
            (losses, Some(gradient))
        };
        state.note(losses, gradient, step == 0);
        let checkpoints = checkpoints(batch.norm, phase.steps);
        if let Ok(place) = checkpoints.binary_search(&step) {
            match batch.norm {
                Norm::L1 => state.check_sparsity(batch, &eps)?,
                _ => state.check_progress(self.rho, step - if place > 0 { checkpoints[place - 1] } else { 0 }),
            }
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Search) -> Tensor<4> {
        let (phase, _) = self.place(batch.step);
        if self.phases[phase].radius > 1.0 {
            return state.kept();
        }
        state.best()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_those_of_the_paper() {
        assert_eq!(checkpoints(Norm::Linf, 100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(Norm::L1, 30).len(), 30);
        assert_eq!(checkpoints(Norm::L1, 100)[..3], [4, 8, 12]);
    }
}
