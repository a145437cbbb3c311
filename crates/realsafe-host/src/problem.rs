//! What plugins are given, as the rest of the host sees it.

use serde::{Deserialize, Serialize};

/// The value of a parameter, in the order of the component's parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Argument {
    /// It is not set.
    Unset,
    /// Of a flag.
    Flag(bool),
    /// Of a count.
    Count(u64),
    /// Of a number.
    Number(f64),
    /// Of a list of numbers.
    Numbers(Vec<f64>),
    /// Of a choice.
    Choice(String),
    /// Of a text.
    Text(String),
    /// Of a file: its name in the spec, and its content.
    File(String, Vec<u8>),
    /// Of a loss: the number that [`Callbacks::gradient`](crate::Callbacks::gradient) takes.
    Loss(u64),
}

/// The shape of images, and the number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels.
    pub channels: u32,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// The number of classes; 0 where it does not matter.
    pub classes: u32,
}

impl Shape {
    /// The number of values of an image.
    pub const fn values(&self) -> usize {
        self.channels as usize * self.height as usize * self.width as usize
    }
}

/// What is fixed when an attack is created; norm and goal are numbers of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The norm.
    pub norm: u32,
    /// The goal.
    pub goal: u32,
    /// How many surrogates there are.
    pub surrogates: u32,
    /// The shape of all images, and the number of classes.
    pub shape: Shape,
}

/// An amount of work on one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Images sent to the victim.
    pub queries: u64,
    /// Forward passes.
    pub forwards: u64,
    /// Backward passes.
    pub backwards: u64,
}

/// What an attack is going to do at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// How many steps it makes.
    pub steps: u32,
    /// What its start asks of the victim per row.
    pub start: Work,
    /// What a step asks of the victim per row.
    pub step: Work,
}

/// The samples that an attack works on; every list but the images has one entry per row.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    /// The clean images.
    pub images: &'a [f32],
    /// The true classes.
    pub labels: &'a [u32],
    /// The targets, or `REALSAFE_NO_CLASS`.
    pub targets: &'a [u32],
    /// The radii; infinite where the attack minimises the distance.
    pub eps: &'a [f32],
    /// The indices in the dataset.
    pub samples: &'a [u32],
    /// The restart, from 0.
    pub restart: u32,
    /// The step, from 0.
    pub step: u32,
}
