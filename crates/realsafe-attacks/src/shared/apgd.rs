//! Automatic projected gradient descent (APGD): the machine of `apgd` and `apgd-t`.

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, TensorData};
use realsafe_core::projection::{per_row, project, project_l1, steepest};
use realsafe_core::random::Purpose;
use realsafe_core::{
    Attack, Batch, Gradients, HostRows, Logits, Loss, Role, Stop, fill_gaussian, fill_uniform, length, read, state,
};
use realsafe_plan::{Cost, Fallback, Norm, Parameter, ParameterKind, Values};

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

/// The share of momentum in a step of linf and l2.
const MOMENTUM: f32 = 0.25;
/// The share of pixels that the first sparse steps change.
const FIRST_DENSITY: f32 = 0.2;
/// How much thinner a sparse step is than the best change so far, and by how much its length shrinks.
const SPARSITY: f32 = 1.5;

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
        state.images = if warm {
            project(batch.norm, state.best.clone(), &batch.images, &per_row(eps, &batch.images))?
        } else {
            if phase > 0 {
                state.keep_best();
            }
            self.random_images(batch, eps)?
        };
        state.previous = state.images.clone();
        state.best = state.images.clone();
        state.best_gradient = batch.images.zeros_like();
        let rows = batch.len();
        state.best_loss = vec![f32::NEG_INFINITY; rows];
        state.checked_loss = vec![f32::INFINITY; rows];
        state.step_size = eps.iter().map(|eps| first_step_size(batch.norm, *eps)).collect();
        state.rises = vec![0; rows];
        state.halved = vec![true; rows];
        if batch.norm == Norm::L1 {
            let pixels: usize = batch.shape().iter().product();
            // The start of a plain run says nothing of how sparse a good point is.
            let telling = warm || (radius > 1.0 && self.random_start);
            state.support = if telling { changed(&state.images, batch)? } else { vec![pixels as f32; rows] };
            let density = |support: &f32| if telling { support / pixels as f32 / SPARSITY } else { FIRST_DENSITY };
            state.density = state.support.iter().map(density).collect();
        }
        Ok(())
    }

    /// The batch with the targets of a phase.
    fn aimed(&self, batch: &Batch, state: &Search, phase: usize) -> Batch {
        let mut aimed = batch.clone();
        if self.targets > 0 {
            let rank = self.phases[phase].target;
            aimed.targets =
                state.ranking.values.chunks_exact(self.targets).map(|ranking| Some(ranking[rank])).collect();
        }
        aimed
    }

    /// The loss of each row.
    fn values(&self, batch: &Batch, logits: &Logits) -> Result<Vec<f32>, Stop> {
        let mut derivatives = vec![0.0; logits.values().len()];
        self.loss.evaluate(logits, &batch.labels, &batch.targets, &mut derivatives)
    }

    /// Halves the step size of rows that get on badly, and takes them back to their best point.
    fn check_progress(&self, state: &mut Search, window: u32) {
        let stalls = |row: usize| {
            let oscillates = state.rises[row] as f32 <= self.rho * window as f32;
            let stands = !state.halved[row] && state.best_loss[row] <= state.checked_loss[row];
            oscillates || stands
        };
        let halved: Vec<bool> = (0..state.rises.len()).map(stalls).collect();
        for (step_size, halved) in state.step_size.iter_mut().zip(&halved) {
            if *halved {
                *step_size /= 2.0;
            }
        }
        state.checked_loss.clone_from(&state.best_loss);
        state.rises.fill(0);
        state.return_to_best(&halved);
        state.halved = halved;
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

const fn first_step_size(norm: Norm, eps: f32) -> f32 {
    match norm {
        Norm::Linf | Norm::L2 => 2.0 * eps,
        Norm::L1 | Norm::L0 => eps,
    }
}

state! {
    pub(crate) struct Search {
        images: Tensor<4>,
        previous: Tensor<4>,
        /// The gradient along which the next step goes.
        gradient: Tensor<4>,
        /// The loss of the last point that was evaluated.
        loss: Vec<f32>,
        best: Tensor<4>,
        best_gradient: Tensor<4>,
        best_loss: Vec<f32>,
        /// The best point of the targets before, and its loss.
        kept: Tensor<4>,
        kept_loss: Vec<f32>,
        step_size: Vec<f32>,
        /// How many steps raised the loss since the last checkpoint.
        rises: Vec<u32>,
        /// The best loss at the last checkpoint, and whether the step size was halved there.
        checked_loss: Vec<f32>,
        halved: Vec<bool>,
        /// The share of pixels that a sparse step changes, and how many the best point had changed at the last checkpoint.
        density: Vec<f32>,
        support: Vec<f32>,
        /// The classes that are targets, the likeliest on the clean image first.
        ranking: HostRows<u32>,
    }
}

impl Search {
    fn keep_best(&mut self) {
        let better = above(&self.best_loss, &self.kept_loss);
        self.kept = chosen(&better, &self.best, &self.kept);
        self.kept_loss = self.best_loss.iter().zip(&self.kept_loss).map(|(best, kept)| best.max(*kept)).collect();
    }

    fn return_to_best(&mut self, rows: &[bool]) {
        self.images = chosen(rows, &self.best, &self.images);
        self.gradient = chosen(rows, &self.best_gradient, &self.gradient);
    }

    /// Notes the loss of the images, and their gradient where it will be needed.
    fn note(&mut self, loss: Vec<f32>, gradient: Option<Tensor<4>>) {
        let better = above(&loss, &self.best_loss);
        self.best = chosen(&better, &self.images, &self.best);
        if let Some(gradient) = gradient {
            self.best_gradient = chosen(&better, &gradient, &self.best_gradient);
            self.gradient = gradient;
        }
        for ((best, loss), better) in self.best_loss.iter_mut().zip(&loss).zip(better) {
            if better {
                *best = *loss;
            }
        }
        self.loss = loss;
    }

    /// A step along the sign or the unit vector of the gradient, with momentum but for the first.
    fn advance(&mut self, batch: &Batch, eps: &[f32], first: bool) -> Result<(), Stop> {
        let eps = per_row(eps, &batch.images);
        let direction = steepest(batch.norm, self.gradient.clone()) * per_row(&self.step_size, &batch.images);
        let mut moved = project(batch.norm, self.images.clone() + direction, &batch.images, &eps)?;
        if !first {
            let ahead = (moved - self.images.clone()) * (1.0 - MOMENTUM);
            let behind = (self.images.clone() - self.previous.clone()) * MOMENTUM;
            moved = project(batch.norm, self.images.clone() + ahead + behind, &batch.images, &eps)?;
        }
        self.previous = std::mem::replace(&mut self.images, moved);
        Ok(())
    }

    /// A step along the signs of the largest entries of the gradient.
    fn advance_sparsely(&mut self, batch: &Batch, eps: &[f32]) -> Result<(), Stop> {
        let (mut images, gradient, clean) =
            (read(self.images.clone())?, read(self.gradient.clone())?, read(batch.images.clone())?);
        let size = images.len() / batch.len();
        let rows = images.chunks_exact_mut(size).zip(gradient.chunks_exact(size)).zip(clean.chunks_exact(size));
        for (row, ((image, gradient), clean)) in rows.enumerate() {
            // What is a hair below a whole number is meant to be it.
            let steepest = ((self.density[row] * size as f32 + 1e-3) as usize).clamp(1, size);
            let mut sizes: Vec<f32> = gradient.iter().map(|slope| slope.abs()).collect();
            let least = *sizes.select_nth_unstable_by(size - steepest, f32::total_cmp).1;
            let kept = |slope: f32| slope != 0.0 && slope.abs() >= least;
            let length = self.step_size[row] / gradient.iter().filter(|slope| kept(**slope)).count().max(1) as f32;
            for (pixel, slope) in image.iter_mut().zip(gradient).filter(|(_, slope)| kept(**slope)) {
                *pixel += length.copysign(*slope);
            }
            project_l1(image, clean, eps[row]);
        }
        self.images = batch.upload(images);
        Ok(())
    }

    /// Adapts how sparse steps are to the best point, where that got sparser, and shortens them where it did not.
    fn check_sparsity(&mut self, batch: &Batch, eps: &[f32]) -> Result<(), Stop> {
        let pixels: usize = batch.shape().iter().product();
        let support = changed(&self.best, batch)?;
        let sparser: Vec<bool> = support.iter().zip(&self.support).map(|(now, before)| *now < 0.95 * before).collect();
        for (row, sparser) in sparser.iter().enumerate() {
            let longest = first_step_size(batch.norm, eps[row]);
            let shorter = (self.step_size[row] / SPARSITY).max(longest / 10.0);
            self.step_size[row] = if *sparser { longest } else { shorter };
            self.density[row] = support[row] / pixels as f32 / SPARSITY;
        }
        self.support = support;
        self.return_to_best(&sparser);
        Ok(())
    }
}

/// How many pixels of each image differ from the clean one.
fn changed(images: &Tensor<4>, batch: &Batch) -> Result<Vec<f32>, Stop> {
    let (images, clean) = (read(images.clone())?, read(batch.images.clone())?);
    let size = images.len() / batch.len();
    let rows = images.chunks_exact(size).zip(clean.chunks_exact(size));
    Ok(rows
        .map(|(image, clean)| image.iter().zip(clean).filter(|(pixel, clean)| pixel != clean).count() as f32)
        .collect())
}

/// The classes with the largest logits but the label, the largest first.
fn likeliest(logits: &[f32], label: u32, count: usize) -> Vec<u32> {
    let mut classes: Vec<u32> = (0..logits.len() as u32).filter(|class| *class != label).collect();
    classes.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    classes.truncate(count);
    classes
}

fn above(values: &[f32], bars: &[f32]) -> Vec<bool> {
    values.iter().zip(bars).map(|(value, bar)| value > bar).collect()
}

/// Rows of one tensor where the choice says so, else of another.
fn chosen(choice: &[bool], one: &Tensor<4>, other: &Tensor<4>) -> Tensor<4> {
    if !choice.contains(&true) {
        return other.clone();
    }
    if !choice.contains(&false) {
        return one.clone();
    }
    let data = TensorData::new(choice.to_vec(), [choice.len(), 1, 1, 1]);
    let mask = Tensor::<4, Bool>::from_data(data, &other.device()).expand(other.dims());
    other.clone().mask_where(mask, one.clone())
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

    fn start(&self, victim: &mut Self::Door, batch: &Batch) -> Result<Search, Stop> {
        let rows = batch.len();
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
        let clean = || batch.images.clone();
        Ok(Search {
            images: clean(),
            previous: clean(),
            gradient: clean(),
            loss: vec![0.0; rows],
            best: clean(),
            best_gradient: clean(),
            best_loss: vec![f32::NEG_INFINITY; rows],
            kept: clean(),
            kept_loss: vec![f32::NEG_INFINITY; rows],
            step_size: vec![0.0; rows],
            rises: vec![0; rows],
            checked_loss: vec![f32::INFINITY; rows],
            halved: vec![true; rows],
            density: vec![FIRST_DENSITY; rows],
            support: vec![0.0; rows],
            ranking: HostRows { width: self.targets, values },
        })
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
        let (logits, gradient) = if step == phase.steps {
            (victim.scores(&aimed, &state.images, Role::Iterate)?, None)
        } else {
            let (logits, gradient) = victim.gradient(&aimed, &state.images, &*self.loss, Role::Iterate)?;
            (logits, Some(gradient))
        };
        let loss = self.values(&aimed, &logits)?;
        if step > 0 {
            let rose = above(&loss, &state.loss);
            state.rises.iter_mut().zip(rose).for_each(|(rises, rose)| *rises += u32::from(rose));
        }
        state.note(loss, gradient);
        if step == 0 {
            state.checked_loss.clone_from(&state.best_loss);
        }
        let checkpoints = checkpoints(batch.norm, phase.steps);
        if let Ok(place) = checkpoints.binary_search(&step) {
            match batch.norm {
                Norm::L1 => state.check_sparsity(batch, &eps)?,
                _ => self.check_progress(state, step - if place > 0 { checkpoints[place - 1] } else { 0 }),
            }
        }
        Ok(())
    }

    fn iterates(&self, batch: &Batch, state: &Search) -> Tensor<4> {
        let (phase, _) = self.place(batch.step);
        if self.phases[phase].radius > 1.0 {
            return state.kept.clone();
        }
        chosen(&above(&state.best_loss, &state.kept_loss), &state.best, &state.kept)
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
