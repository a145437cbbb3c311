//! The victim with its books: every propagation is charged to the sample it was made for, hard budgets hold, and each sample's
//! first (or nearest) adversarial is remembered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor};
use realsafe_plan::{Budget, Cost, Ensemble, Norm, Success};

use crate::ensemble::{combine, cotangents, mean};
use crate::logits::read;
use crate::pieces::{Piece, PieceTape, at_a_time, pieces, side_by_side};
use crate::projection::{Distances, in_box};
use crate::random::Purpose;
use crate::{Batch, DefendedModel, Draws, Logits, Loss, Model, Rows, Select, Stop};

/// A network that an attack can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The defended model that is attacked.
    Victim,
    /// A model whose propagations are counted apart.
    Surrogate(usize),
}

/// What an image is to the attack that sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A candidate for the result: it counts as success where iterates count.
    Iterate,
    /// A measurement, such as a random direction; it counts only under `success = "any-query"`.
    Probe,
}

/// An adversarial that the oracle saw.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) pixels: Vec<f32>,
    pub(crate) distance: f64,
}

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

/// What is kept per sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) spent: Cost,
    /// What was spent on surrogates.
    pub(crate) surrogates: Cost,
    /// What may have been spent when the running step ends.
    allowed: Cost,
    pub(crate) found: Option<Found>,
    /// How often it passed through the victim.
    passes: u64,
    /// Whether its first gradient was zero or not a number, once there was one.
    pub(crate) zero_gradient: Option<bool>,
    pub(crate) first_success: Option<u64>,
}

/// What counts as success, and how much it may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) norm: Norm,
    pub(crate) success: Success,
    /// Whether a nearer adversarial replaces the one that was found.
    pub(crate) minimises_distance: bool,
    pub(crate) budget: Budget,
    /// Whether the surrogates stand in for the victim, which is judged once, at the end.
    pub(crate) transfers: bool,
    /// How surrogates are combined.
    pub(crate) ensemble: Ensemble,
    /// How many draws of a randomised victim an answer is the mean of.
    pub(crate) eot: u32,
    /// The seed of all random streams.
    pub(crate) seed: u64,
}

/// The victim with its books.
pub struct Oracle {
    pub(crate) model: DefendedModel,
    pub(crate) surrogates: Vec<DefendedModel>,
    /// Set when the user stops the run.
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) rules: Rules,
    pub(crate) accounts: Vec<Account>,
    /// The index in the dataset of every sample of the cell.
    pub(crate) samples: Vec<u32>,
    /// The clean pixels of every sample of the cell.
    pub(crate) clean: Vec<f32>,
}

impl Oracle {
    /// The clean pixels of a slot.
    pub(crate) fn clean(&self, slot: usize) -> &[f32] {
        let size = self.clean.len() / self.accounts.len();
        &self.clean[slot * size..(slot + 1) * size]
    }

    /// What a cost in answers of the victim is in passes through networks.
    fn in_passes(&self, network: Network, cost: Cost) -> Cost {
        let passes = self.network(network).passes();
        Cost { queries: cost.queries, ..cost.times(passes) }
    }

    /// Whether a sample's budget covers a cost in answers of the victim.
    pub(crate) fn covers(&self, slot: usize, cost: Cost) -> bool {
        let after = self.accounts[slot].spent.plus(self.in_passes(Network::Victim, cost));
        let Budget { queries, forwards, backwards } = self.rules.budget;
        let within = |limit: Option<u64>, amount: u64| limit.is_none_or(|limit| amount <= limit);
        within(queries, after.queries) && within(forwards, after.forwards) && within(backwards, after.backwards)
    }

    /// Lets each slot spend a cost in answers of the victim during the step that follows, and no more.
    pub(crate) fn allow(&mut self, slots: &[usize], cost: Cost) {
        let cost = self.in_passes(Network::Victim, cost);
        for &slot in slots {
            let account = &mut self.accounts[slot];
            account.allowed = account.spent.plus(cost);
        }
    }

    /// How many surrogates there are.
    pub fn surrogates(&self) -> usize {
        self.surrogates.len()
    }

    /// Whether the user stopped the run.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// What a row's sample may still spend before the step ends; the largest number where there is no limit.
    pub fn remaining(&self, batch: &Batch, row: usize) -> Cost {
        let slot = batch.slots[row];
        let Account { spent, allowed, .. } = self.accounts[slot];
        let Budget { queries, forwards, backwards } = self.rules.budget;
        // The largest number stands for no limit.
        let left =
            |allowed: u64, limit: Option<u64>, spent: u64| match limit.map_or(allowed, |limit| allowed.min(limit)) {
                u64::MAX => u64::MAX,
                most => most.saturating_sub(spent),
            };
        Cost {
            queries: left(allowed.queries, queries, spent.queries),
            forwards: left(allowed.forwards, forwards, spent.forwards),
            backwards: left(allowed.backwards, backwards, spent.backwards),
        }
    }

    /// Charges every image to the sample of its row, which may occur several times, and gives what the pass may draw.
    fn charge(&mut self, network: Network, slots: &[usize], cost: Cost) -> Result<Draws, Stop> {
        if self.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let passes = self.in_passes(network, cost);
        for (at, &slot) in slots.iter().enumerate() {
            if network == Network::Victim && !(self.covers(slot, cost) && self.is_allowed(slot, passes)) {
                // Nothing is sent, so nothing is owed.
                slots[..at]
                    .iter()
                    .for_each(|&slot| self.accounts[slot].spent = self.accounts[slot].spent.minus(passes));
                return Err(Stop::Budget { sample: self.samples[slot] });
            }
            let account = &mut self.accounts[slot];
            let spent = if network == Network::Victim { &mut account.spent } else { &mut account.surrogates };
            *spent = spent.plus(passes);
        }
        let mut pass = |&slot: &usize| {
            let account = &mut self.accounts[slot];
            account.passes += cost.forwards;
            (self.samples[slot], account.passes)
        };
        let passes: Vec<(u32, u64)> = slots.iter().map(&mut pass).collect();
        Ok(Draws::new(self.rules.seed, Purpose::Defense, passes))
    }

    fn is_allowed(&self, slot: usize, cost: Cost) -> bool {
        let Account { spent, allowed, .. } = self.accounts[slot];
        let after = spent.plus(cost);
        after.queries <= allowed.queries && after.forwards <= allowed.forwards && after.backwards <= allowed.backwards
    }

    fn network(&self, network: Network) -> &DefendedModel {
        match network {
            Network::Victim => &self.model,
            Network::Surrogate(index) => &self.surrogates[index],
        }
    }

    /// Remembers what a network's answer says about images that were sent to it.
    fn note(
        &mut self,
        network: Network,
        batch: &Batch,
        images: &Tensor<4>,
        logits: &Logits,
        role: Role,
    ) -> Result<(), Stop> {
        if network == Network::Victim { self.remember(batch, images, logits, role) } else { Ok(()) }
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
        let sum = gradients.into_iter().reduce(|sum, gradient| sum + gradient).expect("at least one draw");
        let gradient = if draws == 1 { sum } else { sum / f64::from(draws) };
        Ok(Ascent { logits: combine(Ensemble::Logits, &answers), losses: mean(losses), gradient })
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

    /// Notes the samples whose first gradient is of no use.
    fn look_at_first(&mut self, batch: &Batch, gradient: &Tensor<4>) -> Result<(), Stop> {
        if batch.slots.iter().all(|&slot| self.accounts[slot].zero_gradient.is_some()) {
            return Ok(());
        }
        let [n, channels, height, width] = gradient.dims();
        let largest: Tensor<2> = gradient.clone().abs().reshape([n, channels * height * width]).max_dim(1);
        for (&slot, largest) in batch.slots.iter().zip(read(largest)?) {
            self.accounts[slot].zero_gradient.get_or_insert(largest == 0.0 || !largest.is_finite());
        }
        Ok(())
    }

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
        let count = tape.draws.len();
        self.charge(tape.network, &tape.slots, Cost { backwards: count as u64, ..Cost::default() })?;
        let classes = cotangents.len() / tape.slots.len();
        let pulled = tape.draws.into_iter().map(|tapes| {
            let pulled = side_by_side(tapes, &tape.device, |(piece, tape): (Piece, PieceTape)| {
                let rows = piece.start * classes..(piece.start + piece.rows) * classes;
                piece.pull(tape, &cotangents[rows])
            });
            Ok(Tensor::cat(pulled?, 0))
        });
        let sum: Tensor<4> = pulled.reduce(|sum, gradient| Ok(sum? + gradient?)).expect("at least one draw")?;
        Ok(if count == 1 { sum } else { sum / count as f64 })
    }

    /// Remembers the adversarials among images that were sent.
    fn remember(&mut self, batch: &Batch, images: &Tensor<4>, logits: &Logits, role: Role) -> Result<(), Stop> {
        match (self.rules.success, role) {
            (Success::Last, _) | (Success::AnyIterate, Role::Probe) => return Ok(()),
            (Success::AnyIterate, Role::Iterate) | (Success::AnyQuery, _) => {}
        }
        let predictions = logits.predictions();
        let nearest = self.rules.minimises_distance;
        let open = |account: &Account| nearest || account.found.is_none();
        let reached = |row: &usize| batch.reached(*row, predictions[*row]);
        let rows = (0..batch.len()).filter(|row| open(&self.accounts[batch.slots[*row]]) && reached(row));
        let rows: Vec<usize> = rows.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let pixels = read(images.choose(&Rows::new(rows.clone(), &batch.device())))?;
        for (row, image) in rows.iter().zip(pixels.chunks_exact(pixels.len() / rows.len())) {
            let slot = batch.slots[*row];
            let distance = Distances::between(self.clean(slot), image).in_norm(self.rules.norm);
            let account = &mut self.accounts[slot];
            let better = account.found.as_ref().is_none_or(|found| nearest && distance < found.distance);
            if in_box(image) && distance <= self.rules.norm.tolerance(batch.eps[*row].into()) && better {
                // What came later in the same call is paid for already.
                let later = batch.slots[*row + 1..].iter().filter(|later| **later == slot).count();
                account.first_success.get_or_insert(account.spent.queries - later as u64);
                account.found = Some(Found { pixels: image.to_vec(), distance });
            }
        }
        Ok(())
    }
}

/// Forward passes that can be gone back once, with [`Oracle::pull`].
pub struct OpenTape {
    network: Network,
    slots: Vec<usize>,
    device: Device,
    /// The pieces of each draw.
    draws: Vec<Vec<(Piece, PieceTape)>>,
}
