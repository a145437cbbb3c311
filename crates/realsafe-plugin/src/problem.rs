//! What attacks are given: the problem, the samples, and what is kept per sample.

use std::ops::{Deref, DerefMut};

use realsafe_abi::{
    REALSAFE_L0, REALSAFE_L1, REALSAFE_L2, REALSAFE_LINF, REALSAFE_NO_CLASS, REALSAFE_TARGETED,
    REALSAFE_TARGETED_MISCLASSIFY, REALSAFE_UNLIMITED, REALSAFE_UNTARGETED, RealsafeCost,
};

/// The class of a prediction where the victim gives NaN.
pub const NO_CLASS: u32 = REALSAFE_NO_CLASS;

/// How changes are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Norm {
    /// The largest change of a pixel.
    Linf = REALSAFE_LINF,
    /// The Euclidean length of the change.
    L2 = REALSAFE_L2,
    /// The sum of all changes.
    L1 = REALSAFE_L1,
    /// The number of changed values.
    L0 = REALSAFE_L0,
}

impl Norm {
    /// Every norm.
    pub const ALL: &[Self] = &[Self::Linf, Self::L2, Self::L1, Self::L0];

    /// The norms whose steepest direction changes every pixel at once.
    pub const DENSE: &[Self] = &[Self::Linf, Self::L2];
}

/// What counts as a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Goal {
    /// Any label but the true one.
    Untargeted = REALSAFE_UNTARGETED,
    /// The target label.
    Targeted = REALSAFE_TARGETED,
    /// Optimises towards the target; any label but the true one counts.
    TargetedMisclassify = REALSAFE_TARGETED_MISCLASSIFY,
}

impl Goal {
    /// Every goal.
    pub const ALL: &[Self] = &[Self::Untargeted, Self::Targeted, Self::TargetedMisclassify];
}

/// Channels, height and width of images in pixels, and the number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels.
    pub channels: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// The number of classes; 0 where it does not matter, as for defenses.
    pub classes: u32,
}

impl Shape {
    /// The number of values of an image.
    pub const fn values(&self) -> usize {
        self.channels as usize * self.height as usize * self.width as usize
    }
}

/// What is fixed when an attack is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How changes are measured.
    pub norm: Norm,
    /// What counts as a success.
    pub goal: Goal,
    /// How many surrogates there are.
    pub surrogates: u32,
    /// The shape of all images, and the number of classes.
    pub shape: Shape,
}

/// An amount of work on one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Images sent to the victim.
    pub queries: u64,
    /// Forward passes of the victim.
    pub forwards: u64,
    /// Backward passes of the victim.
    pub backwards: u64,
}

impl Cost {
    /// No limit, where the host says what a sample may still spend.
    pub const UNLIMITED: u64 = REALSAFE_UNLIMITED;
    /// Nothing.
    pub const NOTHING: Self = Self { queries: 0, forwards: 0, backwards: 0 };

    /// So many questions for labels or scores.
    pub const fn queries(count: u64) -> Self {
        Self { queries: count, forwards: count, backwards: 0 }
    }

    /// So many gradients.
    pub const fn gradients(count: u64) -> Self {
        Self { queries: count, forwards: count, backwards: count }
    }
}

impl From<Cost> for RealsafeCost {
    fn from(Cost { queries, forwards, backwards }: Cost) -> Self {
        Self { queries, forwards, backwards }
    }
}

impl From<RealsafeCost> for Cost {
    fn from(RealsafeCost { queries, forwards, backwards }: RealsafeCost) -> Self {
        Self { queries, forwards, backwards }
    }
}

/// What an attack is going to do at most, as far as its parameters tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many steps it makes.
    pub steps: u32,
    /// What its start asks of the victim per row.
    pub start: Cost,
    /// What a step asks of the victim per row.
    pub step: Cost,
}

/// The samples that an attack works on. Rows come and go between steps: what depends on a row's place is wrong.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// What is fixed.
    pub problem: Problem,
    /// The clean images, row by row, each channel by channel, in `[0, 1]`.
    pub images: &'a [f32],
    /// The true class of each row.
    pub labels: &'a [u32],
    /// The radius of each row; infinite where the attack minimises the distance.
    pub eps: &'a [f32],
    /// The index of each row in the dataset.
    pub samples: &'a [u32],
    /// The restart, from 0.
    pub restart: u32,
    /// The step, from 0.
    pub step: u32,
    pub(crate) targets: &'a [u32],
    pub(crate) rows: Vec<u32>,
}

impl Batch<'_> {
    /// The number of rows.
    pub const fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no rows.
    pub const fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The number of every row, from 0: who asks about one image of each row names these.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The clean image of a row.
    pub fn image(&self, row: usize) -> &[f32] {
        let values = self.problem.shape.values();
        &self.images[row * values..][..values]
    }

    /// The target of a row, if it has one.
    pub fn target(&self, row: usize) -> Option<u32> {
        Some(self.targets[row]).filter(|target| *target != NO_CLASS)
    }

    /// The class that an attacker cares about, and the sign with which the loss of that class is raised: away from the
    /// label, or towards the target.
    pub fn aim(&self, row: usize) -> (u32, f32) {
        self.target(row).map_or((self.labels[row], 1.0), |target| (target, -1.0))
    }

    /// Whether a prediction fulfils the goal of a row. [`NO_CLASS`] never does.
    pub fn reached(&self, row: usize, prediction: u32) -> bool {
        prediction != NO_CLASS
            && match self.problem.goal {
                Goal::Targeted => prediction == self.targets[row],
                Goal::Untargeted | Goal::TargetedMisclassify => prediction != self.labels[row],
            }
    }
}

/// Equally long rows of numbers, one per sample: iterates, or what an attack keeps.
#[derive(Debug)]
pub struct Rows<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) length: usize,
}

impl Rows<'_> {
    /// The numbers of a row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.length..][..self.length]
    }

    /// The numbers of a row, to be changed.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        &mut self.values[row * self.length..][..self.length]
    }
}

impl Deref for Rows<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.values
    }
}

impl DerefMut for Rows<'_> {
    fn deref_mut(&mut self) -> &mut [f32] {
        self.values
    }
}
