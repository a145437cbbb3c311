//! What networks answer: logits, losses and gradients, over the pieces of a batch and the draws of a randomised victim.

use std::ops::Range;

use burn::tensor::{Device, Tensor};
use realsafe_plan::{Cost, Ensemble};

use super::{Network, Oracle, Role};
use crate::ensemble::{combine, cotangents, mean};
use crate::pieces::{Piece, PieceTape, at_a_time, pieces, side_by_side};
use crate::{Batch, Draws, Logits, Loss, Stop};

/// Gives a function of the logits of consecutive rows, and writes its derivatives.
type DeriveRows<'a> = &'a mut dyn FnMut(Range<usize>, &Logits, &mut [f32]) -> Result<Vec<f32>, Stop>;

/// What networks answer, and which way an objective rises there.
pub struct Ascent {
    /// The logits of each image; of a randomised victim, their means over the draws.
    pub logits: Logits,
    /// The objective of each image; of a randomised victim, its mean over the draws.
    pub losses: Vec<f32>,
    /// The gradient of the objective, `[n, channels, height, width]`.
    pub gradient: Tensor<4>,
}

impl Oracle {
    /// The networks that answer for the victim.
    pub(crate) fn stand_ins(&self) -> Vec<Network> {
        if self.rules.transfers { self.all_surrogates() } else { vec![Network::Victim] }
    }

    pub(crate) fn all_surrogates(&self) -> Vec<Network> {
        (0..self.surrogates.len()).map(Network::Surrogate).collect()
    }

    /// The logits of each image, and what [`Oracle::pull`] needs to go back.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn forward_of(
        &mut self,
        network: Network,
        batch: &Batch,
        images: &Tensor<4>,
        role: Role,
    ) -> Result<(Logits, OpenTape), Stop> {
        let mut open = OpenTape { network, slots: batch.slots.clone(), device: batch.device(), draws: Vec::new() };
        let mut answers = Vec::new();
        for _ in 0..self.draws_of(network) {
            let draws = self.charge(network, &batch.slots, Cost::forward(1))?;
            let (model, device) = (self.network(network), batch.device());
            let forward = |piece: Piece| {
                let (part, tape) = piece.forward(model, images, &batch.labels, &draws)?;
                Ok((part, (piece, tape)))
            };
            let forwarded = side_by_side(pieces(batch.len(), &device), &device, forward)?;
            let (parts, tapes): (Vec<Logits>, Vec<_>) = forwarded.into_iter().unzip();
            let logits = Logits::concatenated(parts);
            self.note(network, batch, images, &logits, role)?;
            answers.push(logits);
            open.draws.push(tapes);
        }
        Ok((combine(Ensemble::Logits, &answers), open))
    }

    /// The gradients of the products of logits and cotangents, one row of classes per image.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn pull(&mut self, tape: OpenTape, cotangents: &[f32]) -> Result<Tensor<4>, Stop> {
        self.charge(tape.network, &tape.slots, Cost { backwards: tape.draws.len() as u64, ..Cost::default() })?;
        let classes = cotangents.len() / tape.slots.len();
        let pulled = tape.draws.into_iter().map(|tapes| {
            let pulled = side_by_side(tapes, &tape.device, |(piece, tape): (Piece, PieceTape)| {
                let rows = piece.start * classes..(piece.start + piece.rows) * classes;
                piece.pull(tape, &cotangents[rows])
            });
            Ok(Tensor::cat(pulled?, 0))
        });
        Ok(mean_gradient(pulled.collect::<Result<_, Stop>>()?))
    }

    /// The logits of each image.
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn scores_of(
        &mut self,
        network: Network,
        batch: &Batch,
        images: &Tensor<4>,
        role: Role,
    ) -> Result<Logits, Stop> {
        Ok(combine(Ensemble::Logits, &self.answers_of(network, batch, images, role)?))
    }

    /// The logits of each image, on each of the draws that an answer is the mean of.
    pub(crate) fn answers_of(
        &mut self,
        network: Network,
        batch: &Batch,
        images: &Tensor<4>,
        role: Role,
    ) -> Result<Vec<Logits>, Stop> {
        let mut answers = Vec::new();
        for _ in 0..self.draws_of(network) {
            let draws = self.charge(network, &batch.slots, Cost::forward(1))?;
            let (logits, _) = self.network(network).padded_logits(images, &draws)?.attacked(&batch.labels);
            self.note(network, batch, images, &logits, role)?;
            answers.push(logits);
        }
        Ok(answers)
    }

    /// See [`Gradients::gradient`](crate::Gradients::gradient).
    ///
    /// # Errors
    /// See [`Stop`].
    pub fn gradient_of(
        &mut self,
        network: Network,
        batch: &Batch,
        images: &Tensor<4>,
        loss: &dyn Loss,
        role: Role,
    ) -> Result<Ascent, Stop> {
        self.raise(&[network], batch, images, loss, role)
    }

    /// What networks answer together, and the way in which a loss rises.
    pub(crate) fn raise(
        &mut self,
        networks: &[Network],
        batch: &Batch,
        images: &Tensor<4>,
        loss: &dyn Loss,
        role: Role,
    ) -> Result<Ascent, Stop> {
        self.ascend(networks, self.rules.ensemble, batch, images, role, &mut |rows, logits, derivatives| {
            loss.evaluate(logits, &batch.labels[rows.clone()], &batch.targets[rows], derivatives)
        })
    }

    /// How many passes through a network an answer is the mean of.
    fn draws_of(&self, network: Network) -> u32 {
        if network == Network::Victim { self.rules.eot } else { 1 }
    }

    /// What networks answer together, and the way in which a function of their logits rises: of a randomised victim, the means
    /// over its draws.
    pub(crate) fn ascend(
        &mut self,
        networks: &[Network],
        ensemble: Ensemble,
        batch: &Batch,
        images: &Tensor<4>,
        role: Role,
        derive: DeriveRows<'_>,
    ) -> Result<Ascent, Stop> {
        let draws = networks.first().map_or(1, |network| self.draws_of(*network));
        let (mut answers, mut losses, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..draws {
            let ascent = self.ascend_once(networks, ensemble, batch, images, role, derive)?;
            answers.push(ascent.logits);
            losses.push(ascent.losses);
            gradients.push(ascent.gradient);
        }
        Ok(Ascent {
            logits: combine(Ensemble::Logits, &answers),
            losses: mean(&losses),
            gradient: mean_gradient(gradients),
        })
    }

    fn ascend_once(
        &mut self,
        networks: &[Network],
        ensemble: Ensemble,
        batch: &Batch,
        images: &Tensor<4>,
        role: Role,
        derive: DeriveRows<'_>,
    ) -> Result<Ascent, Stop> {
        let charge = |network: &Network| self.charge(*network, &batch.slots, Cost::gradient(1));
        let draws = networks.iter().map(charge).collect::<Result<Vec<_>, Stop>>()?;
        let device = batch.device();
        let (mut logits, mut losses, mut gradients) = (Vec::new(), Vec::new(), Vec::new());
        // No more pieces than are computed at a time, since tapes are large.
        for pieces in pieces(batch.len(), &device).chunks(at_a_time(&device)) {
            let forward = |piece: Piece| {
                let of_network = |(network, draws): (&Network, &Draws)| {
                    piece.forward(self.network(*network), images, &batch.labels, draws)
                };
                let answers = networks.iter().zip(&draws).map(of_network).collect::<Result<Vec<_>, Stop>>()?;
                Ok(answers.into_iter().unzip::<_, _, Vec<Logits>, Vec<PieceTape>>())
            };
            let mut open = Vec::with_capacity(pieces.len());
            for (piece, (parts, tapes)) in pieces.iter().zip(side_by_side(pieces.to_vec(), &device, forward)?) {
                let rows = piece.start..piece.start + piece.rows;
                let mut derive = |logits: &Logits, derivatives: &mut [f32]| derive(rows.clone(), logits, derivatives);
                let (of_rows, cotangents) = cotangents(ensemble, &parts, &mut derive)?;
                losses.extend(of_rows);
                logits.push(combine(ensemble, &parts));
                open.push((*piece, tapes, cotangents));
            }
            gradients.extend(side_by_side(open, &device, |(piece, tapes, cotangents)| {
                let pulled = tapes.into_iter().zip(cotangents).map(|(tape, cotangents)| piece.pull(tape, &cotangents));
                pulled.reduce(|sum, gradient| Ok(sum? + gradient?)).expect("at least one network")
            })?);
        }
        let logits = Logits::concatenated(logits);
        for network in networks {
            self.note(*network, batch, images, &logits, role)?;
        }
        let gradient = Tensor::cat(gradients, 0);
        self.look_at_first(batch, &gradient)?;
        Ok(Ascent { logits, losses, gradient })
    }
}

/// The mean of the gradients of several draws.
fn mean_gradient(gradients: Vec<Tensor<4>>) -> Tensor<4> {
    let draws = gradients.len();
    let sum = gradients.into_iter().reduce(|sum, gradient| sum + gradient).expect("at least one draw");
    if draws == 1 { sum } else { sum / draws as f64 }
}

/// Forward passes that can be gone back once, with [`Oracle::pull`].
pub struct OpenTape {
    network: Network,
    slots: Vec<usize>,
    device: Device,
    /// The pieces of each draw.
    draws: Vec<Vec<(Piece, PieceTape)>>,
}
