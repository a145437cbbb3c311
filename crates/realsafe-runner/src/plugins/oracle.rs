//! The questions of a plugin's attack, answered by the oracle.

use std::borrow::Cow;
use std::sync::Arc;

use burn::tensor::Tensor;
use realsafe_abi::{
    REALSAFE_BALL, REALSAFE_CROSS_ENTROPY, REALSAFE_GAUSSIAN, REALSAFE_ITERATE, REALSAFE_MARGIN, REALSAFE_NO_CLASS,
    REALSAFE_STREAM_START, REALSAFE_STREAM_STEP, REALSAFE_UNIFORM, REALSAFE_VICTIM,
};
use realsafe_core::projection::{per_row, project, steepest};
use realsafe_core::random::{Purpose, seed};
use realsafe_core::{
    Batch, CrossEntropy, Labels, Loss, Margin, Network, OpenTape, Oracle, Role, Rows, Select, Stop, fill_ball,
    fill_gaussian, fill_uniform, read,
};
use realsafe_host::{Callbacks, Failure, FailureKind, Work};

/// The number of the first loss that a parameter names.
pub(super) const FIRST_LOSS: u64 = 16;

/// Answers what an attack asks during one call.
pub(super) struct Questions<'a> {
    oracle: &'a mut Oracle,
    batch: &'a Batch,
    losses: &'a [Arc<dyn Loss>],
    tape: Option<(u64, OpenTape)>,
    tapes: u64,
    stop: Option<Stop>,
}

impl<'a> Questions<'a> {
    pub(super) const fn new(oracle: &'a mut Oracle, batch: &'a Batch, losses: &'a [Arc<dyn Loss>]) -> Self {
        Self { oracle, batch, losses, tape: None, tapes: 0, stop: None }
    }

    /// What stopped the first answer that was not given.
    pub(super) fn into_stop(self) -> Option<Stop> {
        self.stop
    }

    /// A stop, as the plugin is told of it.
    fn refuse(&mut self, stop: Stop) -> Failure {
        let kind = match stop {
            Stop::Cancelled => FailureKind::Cancelled,
            Stop::Budget { .. } => FailureKind::Budget,
            Stop::Device(_) => FailureKind::Device,
            Stop::Component { .. } => FailureKind::Failed,
        };
        let failure = Failure::new(kind, stop.to_string());
        self.stop.get_or_insert(stop);
        failure
    }

    /// The rows of the batch that images belong to.
    fn rows(&self, rows: &[u32]) -> Cow<'a, Batch> {
        let indices: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
        if indices.iter().copied().eq(0..self.batch.len()) {
            return Cow::Borrowed(self.batch);
        }
        Cow::Owned(self.batch.choose(&Rows::new(indices, &self.batch.device())))
    }

    fn network(&self, number: u32) -> Result<Network, Failure> {
        if number == REALSAFE_VICTIM {
            return Ok(Network::Victim);
        }
        let index = number as usize - 1;
        if index < self.oracle.surrogates() {
            return Ok(Network::Surrogate(index));
        }
        Err(Failure::new(FailureKind::Unsupported, format!("there is no surrogate number {index}")))
    }

    fn purpose(stream: u32) -> Result<Purpose, Failure> {
        match stream {
            REALSAFE_STREAM_START => Ok(Purpose::Start),
            REALSAFE_STREAM_STEP => Ok(Purpose::Step),
            _ => match stream.checked_sub(Purpose::FIRST_OWN) {
                Some(own) => Ok(Purpose::Own(own)),
                None => Err(Failure::new(
                    FailureKind::Unsupported,
                    format!("the random stream {stream} is not for plugins"),
                )),
            },
        }
    }
}

const fn role(number: u32) -> Role {
    if number == REALSAFE_ITERATE { Role::Iterate } else { Role::Probe }
}

/// Images `[n, channels, height, width]` for rows of a batch.
fn upload(batch: &Batch, images: &[f32]) -> Tensor<4> {
    batch.upload(images.to_vec())
}

impl Callbacks for Questions<'_> {
    fn labels(&mut self, rows: &[u32], images: &[f32], number: u32) -> Result<Vec<u32>, Failure> {
        let batch = self.rows(rows);
        let labels = self.oracle.labels(&batch, &upload(&batch, images), role(number));
        let labels = labels.map_err(|stop| self.refuse(stop))?;
        Ok(labels.into_iter().map(|label| label.unwrap_or(REALSAFE_NO_CLASS)).collect())
    }

    fn scores(&mut self, network: u32, rows: &[u32], images: &[f32], number: u32) -> Result<Vec<f32>, Failure> {
        let (batch, network) = (self.rows(rows), self.network(network)?);
        let logits = self.oracle.scores_of(network, &batch, &upload(&batch, images), role(number));
        Ok(logits.map_err(|stop| self.refuse(stop))?.values().to_vec())
    }

    fn gradient(
        &mut self,
        network: u32,
        rows: &[u32],
        images: &[f32],
        loss: u64,
        number: u32,
    ) -> Result<(Vec<f32>, Vec<f32>), Failure> {
        let (batch, network) = (self.rows(rows), self.network(network)?);
        let named = loss.checked_sub(FIRST_LOSS).and_then(|index| self.losses.get(usize::try_from(index).ok()?));
        let loss: &dyn Loss = match (loss, named) {
            (REALSAFE_CROSS_ENTROPY, _) => &CrossEntropy,
            (REALSAFE_MARGIN, _) => &Margin,
            (_, Some(loss)) => &**loss,
            (number, None) => {
                return Err(Failure::new(FailureKind::Unsupported, format!("there is no loss number {number}")));
            }
        };
        let answer = self.oracle.gradient_of(network, &batch, &upload(&batch, images), loss, role(number));
        let answer = answer.and_then(|ascent| Ok((ascent.logits.values().to_vec(), read(ascent.gradient)?)));
        answer.map_err(|stop| self.refuse(stop))
    }

    fn forward(&mut self, network: u32, rows: &[u32], images: &[f32], number: u32) -> Result<(Vec<f32>, u64), Failure> {
        let (batch, network) = (self.rows(rows), self.network(network)?);
        let answer = self.oracle.forward_of(network, &batch, &upload(&batch, images), role(number));
        let (logits, tape) = answer.map_err(|stop| self.refuse(stop))?;
        self.tapes += 1;
        self.tape = Some((self.tapes, tape));
        Ok((logits.values().to_vec(), self.tapes))
    }

    fn pull(&mut self, tape: u64, cotangents: &[f32]) -> Result<Vec<f32>, Failure> {
        let Some((_, tape)) = self.tape.take_if(|(number, _)| *number == tape) else {
            return Err(Failure::new(FailureKind::Unsupported, format!("there is no tape number {tape}")));
        };
        self.oracle.pull(tape, cotangents).and_then(read).map_err(|stop| self.refuse(stop))
    }

    fn discard(&mut self, tape: u64) -> Result<(), Failure> {
        match self.tape.take_if(|(number, _)| *number == tape) {
            Some(_) => Ok(()),
            None => Err(Failure::new(FailureKind::Unsupported, format!("there is no tape number {tape}"))),
        }
    }

    fn random(
        &mut self,
        row: u32,
        stream: u32,
        distribution: u32,
        radius: f32,
        values: &mut [f32],
    ) -> Result<(), Failure> {
        let mut random = self.batch.stream(row as usize, Self::purpose(stream)?);
        match distribution {
            REALSAFE_UNIFORM => fill_uniform(&mut random, values),
            REALSAFE_GAUSSIAN => fill_gaussian(&mut random, values),
            REALSAFE_BALL => fill_ball(self.batch.norm, radius, &mut random, values),
            _ => {
                let message = format!("there is no distribution number {distribution}");
                return Err(Failure::new(FailureKind::Unsupported, message));
            }
        }
        Ok(())
    }

    fn stream_seed(&mut self, row: u32, stream: u32) -> Result<[u8; 32], Failure> {
        Ok(seed(self.batch.stream_key(row as usize, Self::purpose(stream)?)))
    }

    fn steepest(&mut self, rows: &[u32], gradients: &mut [f32]) -> Result<(), Failure> {
        let batch = self.rows(rows);
        let directions = read(steepest(batch.norm, upload(&batch, gradients))).map_err(|stop| self.refuse(stop))?;
        gradients.copy_from_slice(&directions);
        Ok(())
    }

    fn project(&mut self, rows: &[u32], images: &mut [f32]) -> Result<(), Failure> {
        let batch = self.rows(rows);
        let eps = per_row(&batch.eps, &batch.images);
        let projected = project(batch.norm, upload(&batch, images), &batch.images, &eps).and_then(read);
        images.copy_from_slice(&projected.map_err(|stop| self.refuse(stop))?);
        Ok(())
    }

    fn remaining(&mut self, row: u32) -> Result<Work, Failure> {
        let left = self.oracle.remaining(self.batch, row as usize);
        Ok(Work { queries: left.queries, forwards: left.forwards, backwards: left.backwards })
    }

    fn cancelled(&mut self) -> bool {
        self.oracle.is_cancelled()
    }

    // The instance keeps warnings; nobody asked for more.
    fn log(&mut self, _: u32, _: &str) {}
}
