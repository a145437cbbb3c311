//! Where the search of every row of APGD stands, and the steps that it makes.

use burn::tensor::{Bool, Tensor, TensorData};
use realsafe_core::projection::{per_row, project, project_l1, steepest};
use realsafe_core::{Batch, HostRows, Stop, read, state};
use realsafe_plan::Norm;

/// The share of momentum in a step of linf and l2.
const MOMENTUM: f32 = 0.25;
/// The share of pixels that the first sparse steps change.
const FIRST_DENSITY: f32 = 0.2;
/// How much thinner a sparse step is than the best change so far, and by how much its length shrinks.
const SPARSITY: f32 = 1.5;

/// How long the first steps of a phase are.
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
    /// At the clean images; a phase is to begin.
    pub(super) fn new(batch: &Batch, ranking: HostRows<u32>) -> Self {
        let (rows, clean) = (batch.len(), || batch.images.clone());
        Self {
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
            ranking,
        }
    }

    /// Begins a phase at images, which tell how sparse a good point is or do not.
    pub(super) fn begin(&mut self, images: Tensor<4>, batch: &Batch, eps: &[f32], telling: bool) -> Result<(), Stop> {
        let rows = batch.len();
        self.previous = images.clone();
        self.best = images.clone();
        self.images = images;
        self.best_gradient = batch.images.zeros_like();
        self.best_loss = vec![f32::NEG_INFINITY; rows];
        self.step_size = eps.iter().map(|eps| first_step_size(batch.norm, *eps)).collect();
        self.rises = vec![0; rows];
        self.halved = vec![true; rows];
        if batch.norm == Norm::L1 {
            let pixels: usize = batch.shape().iter().product();
            self.support = if telling { changed(&self.images, batch)? } else { vec![pixels as f32; rows] };
            let density = |support: &f32| if telling { support / pixels as f32 / SPARSITY } else { FIRST_DENSITY };
            self.density = self.support.iter().map(density).collect();
        }
        Ok(())
    }

    /// The classes that are targets of each row, the likeliest on the clean image first.
    pub(super) fn ranking(&self) -> &[u32] {
        &self.ranking.values
    }

    /// The images whose loss is to be noted.
    pub(super) const fn images(&self) -> &Tensor<4> {
        &self.images
    }

    /// The best points of the phase.
    pub(super) fn best_of_phase(&self) -> Tensor<4> {
        self.best.clone()
    }

    /// The best points of the targets before.
    pub(super) fn kept(&self) -> Tensor<4> {
        self.kept.clone()
    }

    /// The best points of all targets so far.
    pub(super) fn best(&self) -> Tensor<4> {
        chosen(&above(&self.best_loss, &self.kept_loss), &self.best, &self.kept)
    }

    /// Keeps the best points of a target, before the next begins.
    pub(super) fn keep_best(&mut self) {
        self.kept = self.best();
        self.kept_loss = self.best_loss.iter().zip(&self.kept_loss).map(|(best, kept)| best.max(*kept)).collect();
    }

    fn return_to_best(&mut self, rows: &[bool]) {
        self.images = chosen(rows, &self.best, &self.images);
        self.gradient = chosen(rows, &self.best_gradient, &self.gradient);
    }

    /// Notes the loss of the images, and their gradient where it will be needed.
    pub(super) fn note(&mut self, loss: Vec<f32>, gradient: Option<Tensor<4>>, begins: bool) {
        if !begins {
            let rose = above(&loss, &self.loss);
            self.rises.iter_mut().zip(rose).for_each(|(rises, rose)| *rises += u32::from(rose));
        }
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
        if begins {
            self.checked_loss.clone_from(&self.best_loss);
        }
    }

    /// A step along the sign or the unit vector of the gradient, with momentum but for the first.
    pub(super) fn advance(&mut self, batch: &Batch, eps: &[f32], first: bool) -> Result<(), Stop> {
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
    pub(super) fn advance_sparsely(&mut self, batch: &Batch, eps: &[f32]) -> Result<(), Stop> {
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
    pub(super) fn check_sparsity(&mut self, batch: &Batch, eps: &[f32]) -> Result<(), Stop> {
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

    /// Halves the step size of rows that get on badly, and takes them back to their best point.
    pub(super) fn check_progress(&mut self, rho: f32, window: u32) {
        let stalls = |row: usize| {
            let oscillates = self.rises[row] as f32 <= rho * window as f32;
            let stands = !self.halved[row] && self.best_loss[row] <= self.checked_loss[row];
            oscillates || stands
        };
        let halved: Vec<bool> = (0..self.rises.len()).map(stalls).collect();
        for (step_size, halved) in self.step_size.iter_mut().zip(&halved) {
            if *halved {
                *step_size /= 2.0;
            }
        }
        self.checked_loss.clone_from(&self.best_loss);
        self.rises.fill(0);
        self.return_to_best(&halved);
        self.halved = halved;
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

/// Which values are above their bars.
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
