//! What an attack asks of its host.

use std::marker::PhantomData;

use realsafe_abi::{
    REALSAFE_BALL, REALSAFE_GAUSSIAN, REALSAFE_ITERATE, REALSAFE_LOG_WARNING, REALSAFE_OK, REALSAFE_PROBE,
    REALSAFE_STREAM_START, REALSAFE_STREAM_STEP, REALSAFE_UNIFORM, REALSAFE_VICTIM, RealsafeCost, RealsafeHost,
    RealsafeStatus,
};

use crate::access::{SeesGradients, SeesLabels, SeesScores, SeesSurrogates};
use crate::boundary::text;
use crate::{Cost, Error, LossChoice, Problem};

/// What an image is, that the victim is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Role {
    /// A candidate for the result.
    Iterate = REALSAFE_ITERATE,
    /// It only measures; it counts as success under `success = "any-query"` alone.
    Probe = REALSAFE_PROBE,
}

/// A stream of random numbers of a row's sample, at this restart and step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u32);

impl Stream {
    /// Draws where attacks start.
    pub const START: Self = Self(REALSAFE_STREAM_START);
    /// Draws what attacks need at a step.
    pub const STEP: Self = Self(REALSAFE_STREAM_STEP);

    /// A stream of the plugin's own.
    pub const fn own(number: u16) -> Self {
        Self(256 + number as u32)
    }
}

/// The attacked model, behind its defenses, and the rest of the host: what an attack with the access `A` may ask.
///
/// Where a method takes `rows` and `images`, image i belongs to row `rows[i]` of the batch; a row may occur several times
/// or not at all. Every image is charged to the sample of its row, and more than was planned is refused.
#[derive(Debug)]
pub struct Victim<'a, A> {
    host: &'a RealsafeHost,
    problem: Problem,
    batch: usize,
    access: PhantomData<A>,
}

/// Logits, and what their derivative needs. Dropped without [`pull`](Tape::pull), it is given up.
#[derive(Debug)]
pub struct Tape<'a> {
    logits: Vec<f32>,
    values: usize,
    number: u64,
    live: bool,
    host: &'a RealsafeHost,
}

/// The function of a host, and its context.
macro_rules! function {
    ($host:expr, $name:ident) => {
        match $host.$name {
            Some(function) => Ok((function, $host.context)),
            None => Err(Error::unsupported(concat!("the host does not offer `", stringify!($name), "`"))),
        }
    };
}

fn passed(status: RealsafeStatus) -> Result<(), Error> {
    if status == REALSAFE_OK { Ok(()) } else { Err(Error::of_host(status)) }
}

impl<'a, A> Victim<'a, A> {
    pub(crate) fn new(host: &'a RealsafeHost, problem: Problem, batch: usize) -> Self {
        Self { host, problem, batch, access: PhantomData }
    }

    /// The number of images, which fit their rows.
    fn count(&self, rows: &[u32], images: &[f32]) -> Result<u32, Error> {
        let values = self.problem.shape.values();
        if images.len() != rows.len() * values {
            let (got, wanted) = (images.len(), rows.len());
            return Err(Error::failed(format!("{got} values are not {wanted} images of {values} values")));
        }
        if let Some(row) = rows.iter().find(|row| **row as usize >= self.batch) {
            return Err(Error::failed(format!("there is no row {row} in a batch of {}", self.batch)));
        }
        u32::try_from(rows.len()).map_err(|_| Error::failed("too many images at once"))
    }

    fn logits_buffer(&self, rows: &[u32]) -> Vec<f32> {
        vec![0.0; rows.len() * self.problem.shape.classes as usize]
    }

    fn scores_of(&mut self, network: u32, rows: &[u32], images: &[f32], role: Role) -> Result<Vec<f32>, Error> {
        let (scores, context) = function!(self.host, scores)?;
        let count = self.count(rows, images)?;
        let mut logits = self.logits_buffer(rows);
        // SAFETY: the lengths are those that the ABI asks for.
        let status = unsafe {
            scores(context, network, count, rows.as_ptr(), images.as_ptr(), role as u32, logits.as_mut_ptr())
        };
        passed(status).map(|()| logits)
    }

    fn gradient_of(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        loss: LossChoice,
        role: Role,
    ) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let (gradient, context) = function!(self.host, gradient)?;
        let count = self.count(rows, images)?;
        let (mut logits, mut gradients) = (self.logits_buffer(rows), vec![0.0; images.len()]);
        let (to_logits, to_gradients) = (logits.as_mut_ptr(), gradients.as_mut_ptr());
        let (rows, images, role) = (rows.as_ptr(), images.as_ptr(), role as u32);
        // SAFETY: the lengths are those that the ABI asks for.
        let status = unsafe { gradient(context, network, count, rows, images, loss.0, role, to_logits, to_gradients) };
        passed(status).map(|()| (logits, gradients))
    }

    fn forward_of(&mut self, network: u32, rows: &[u32], images: &[f32], role: Role) -> Result<Tape<'_>, Error> {
        let (forward, context) = function!(self.host, forward)?;
        let count = self.count(rows, images)?;
        let (mut logits, mut number) = (self.logits_buffer(rows), 0);
        let to_logits = logits.as_mut_ptr();
        // SAFETY: the lengths are those that the ABI asks for.
        let status = unsafe {
            forward(context, network, count, rows.as_ptr(), images.as_ptr(), role as u32, to_logits, &raw mut number)
        };
        passed(status).map(|()| Tape { logits, values: images.len(), number, live: true, host: self.host })
    }

    fn draw(
        &mut self,
        row: u32,
        stream: Stream,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Error> {
        let (random, context) = function!(self.host, random)?;
        let (count, to_values) = (values.len() as u64, values.as_mut_ptr());
        // SAFETY: so many values can be written.
        passed(unsafe { random(context, row, stream.0, distribution, radius, count, to_values) })
    }

    /// Fills with uniform numbers in `[-1, 1)`, from the beginning of the stream.
    ///
    /// # Errors
    /// What failed.
    pub fn uniform(&mut self, row: u32, stream: Stream, values: &mut [f32]) -> Result<(), Error> {
        self.draw(row, stream, REALSAFE_UNIFORM, 0.0, values)
    }

    /// Fills with standard normal numbers, from the beginning of the stream.
    ///
    /// # Errors
    /// What failed.
    pub fn gaussian(&mut self, row: u32, stream: Stream, values: &mut [f32]) -> Result<(), Error> {
        self.draw(row, stream, REALSAFE_GAUSSIAN, 0.0, values)
    }

    /// Fills with a point of the ball of a radius around the origin, in the norm of the problem: uniform in the cube for
    /// linf, a Gaussian direction times a uniform radius for l2. From the beginning of the stream.
    ///
    /// # Errors
    /// What failed.
    pub fn ball(&mut self, row: u32, stream: Stream, radius: f32, values: &mut [f32]) -> Result<(), Error> {
        self.draw(row, stream, REALSAFE_BALL, radius, values)
    }

    /// The seed of a random generator of the plugin's own.
    ///
    /// # Errors
    /// What failed.
    pub fn stream_seed(&mut self, row: u32, stream: Stream) -> Result<[u8; 32], Error> {
        let (stream_seed, context) = function!(self.host, stream_seed)?;
        let mut seed = [0; 32];
        // SAFETY: 32 bytes can be written.
        passed(unsafe { stream_seed(context, row, stream.0, seed.as_mut_ptr()) }).map(|()| seed)
    }

    /// Replaces gradients by the direction of steepest ascent in the norm: the sign for linf, the unit vector for l2.
    ///
    /// # Errors
    /// What failed.
    pub fn steepest(&mut self, rows: &[u32], gradients: &mut [f32]) -> Result<(), Error> {
        let (steepest, context) = function!(self.host, steepest)?;
        let count = self.count(rows, gradients)?;
        // SAFETY: the lengths are those that the ABI asks for.
        passed(unsafe { steepest(context, count, rows.as_ptr(), gradients.as_mut_ptr()) })
    }

    /// Projects images onto the ball of their rows, then onto the box `[0, 1]`.
    ///
    /// # Errors
    /// What failed.
    pub fn project(&mut self, rows: &[u32], images: &mut [f32]) -> Result<(), Error> {
        let (project, context) = function!(self.host, project)?;
        let count = self.count(rows, images)?;
        // SAFETY: the lengths are those that the ABI asks for.
        passed(unsafe { project(context, count, rows.as_ptr(), images.as_mut_ptr()) })
    }

    /// What a row's sample may still spend during this call, under its budget and the declared cost;
    /// [`Cost::UNLIMITED`] where neither is a limit.
    ///
    /// # Errors
    /// What failed.
    pub fn remaining(&mut self, row: u32) -> Result<Cost, Error> {
        let (remaining, context) = function!(self.host, remaining)?;
        let mut cost = RealsafeCost::default();
        // SAFETY: the cost can be written.
        passed(unsafe { remaining(context, row, &raw mut cost) }).map(|()| cost.into())
    }

    /// Whether the user stopped the run. Questions about images fail by themselves then; this is for long computations.
    pub fn cancelled(&self) -> bool {
        // SAFETY: the context belongs to the function.
        self.host.cancelled.is_some_and(|cancelled| unsafe { cancelled(self.host.context) } != 0)
    }

    /// Tells the user something, which is recorded with the cell.
    pub fn warn(&self, message: &str) {
        if let Some(log) = self.host.log {
            // SAFETY: the context belongs to the function, and the message lives during the call.
            unsafe { log(self.host.context, REALSAFE_LOG_WARNING, text(message)) };
        }
    }
}

impl<A: SeesLabels> Victim<'_, A> {
    /// Predicts the class of each image, [`NO_CLASS`](crate::NO_CLASS) where the victim gives NaN. Costs a query each.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    pub fn labels(&mut self, rows: &[u32], images: &[f32], role: Role) -> Result<Vec<u32>, Error> {
        let (labels, context) = function!(self.host, labels)?;
        let count = self.count(rows, images)?;
        let mut predictions = vec![0; rows.len()];
        let to_predictions = predictions.as_mut_ptr();
        // SAFETY: the lengths are those that the ABI asks for.
        passed(unsafe { labels(context, count, rows.as_ptr(), images.as_ptr(), role as u32, to_predictions) })
            .map(|()| predictions)
    }
}

impl<A: SeesScores> Victim<'_, A> {
    /// The logits of each image. Costs a query each.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    pub fn scores(&mut self, rows: &[u32], images: &[f32], role: Role) -> Result<Vec<f32>, Error> {
        self.scores_of(REALSAFE_VICTIM, rows, images, role)
    }
}

impl<A: SeesGradients> Victim<'_, A> {
    /// The logits of each image, and the gradient along which the attacker's objective rises: the loss for the label, or
    /// minus the loss for the target. Costs a query, a forward and a backward pass each.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    pub fn gradient(
        &mut self,
        rows: &[u32],
        images: &[f32],
        loss: LossChoice,
        role: Role,
    ) -> Result<(Vec<f32>, Vec<f32>), Error> {
        self.gradient_of(REALSAFE_VICTIM, rows, images, loss, role)
    }

    /// The logits of each image, and what [`Tape::pull`] needs. Costs a query and a forward pass each.
    ///
    /// # Errors
    /// Budget, cancellation, or what failed.
    pub fn forward(&mut self, rows: &[u32], images: &[f32], role: Role) -> Result<Tape<'_>, Error> {
        self.forward_of(REALSAFE_VICTIM, rows, images, role)
    }
}

impl<A: SeesSurrogates> Victim<'_, A> {
    /// The logits of each image from a surrogate, counted from 0. Costs nothing of the victim.
    ///
    /// # Errors
    /// There is no such surrogate, cancellation, or what failed.
    pub fn surrogate_scores(&mut self, surrogate: u32, rows: &[u32], images: &[f32]) -> Result<Vec<f32>, Error> {
        let network = self.surrogate(surrogate)?;
        self.scores_of(network, rows, images, Role::Probe)
    }

    /// Logits and gradients from a surrogate, as `gradient` gives those of the victim.
    ///
    /// # Errors
    /// There is no such surrogate, cancellation, or what failed.
    pub fn surrogate_gradient(
        &mut self,
        surrogate: u32,
        rows: &[u32],
        images: &[f32],
        loss: LossChoice,
    ) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let network = self.surrogate(surrogate)?;
        self.gradient_of(network, rows, images, loss, Role::Probe)
    }

    /// The logits of each image from a surrogate, and what [`Tape::pull`] needs.
    ///
    /// # Errors
    /// There is no such surrogate, cancellation, or what failed.
    pub fn surrogate_forward(&mut self, surrogate: u32, rows: &[u32], images: &[f32]) -> Result<Tape<'_>, Error> {
        let network = self.surrogate(surrogate)?;
        self.forward_of(network, rows, images, Role::Probe)
    }

    fn surrogate(&self, surrogate: u32) -> Result<u32, Error> {
        let count = self.problem.surrogates;
        if surrogate >= count {
            return Err(Error::failed(format!("there is no surrogate {surrogate}; there are {count}, from 0")));
        }
        Ok(REALSAFE_VICTIM + 1 + surrogate)
    }
}

impl Tape<'_> {
    /// The logits of each image.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Multiplies the derivative of the logits with cotangents, one per logit. Costs a backward pass per image.
    ///
    /// # Errors
    /// The number of cotangents is wrong, budget, cancellation, or what failed.
    pub fn pull(mut self, cotangents: &[f32]) -> Result<Vec<f32>, Error> {
        let (pull, context) = function!(self.host, pull)?;
        if cotangents.len() != self.logits.len() {
            let (got, wanted) = (cotangents.len(), self.logits.len());
            return Err(Error::failed(format!("{got} cotangents for {wanted} logits")));
        }
        let mut gradients = vec![0.0; self.values];
        // SAFETY: the lengths are those that the ABI asks for.
        let status = unsafe { pull(context, self.number, cotangents.as_ptr(), gradients.as_mut_ptr()) };
        // The host gave it up, even after a failure.
        self.live = false;
        passed(status).map(|()| gradients)
    }
}

impl Drop for Tape<'_> {
    fn drop(&mut self) {
        if let Some(discard) = self.host.discard.filter(|_| self.live) {
            // SAFETY: the context belongs to the function. A failure is the host's to note.
            let _ = unsafe { discard(self.host.context, self.number) };
        }
    }
}
