//! The victim with its books: every propagation is charged to the sample it was made for, hard budgets hold, and each sample's
//! first (or nearest) adversarial is remembered.

mod answers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Tensor;
use realsafe_plan::{Budget, Cost, Ensemble, Norm, Success};

pub use self::answers::{Ascent, OpenTape};
use crate::logits::read;
use crate::projection::{Distances, in_box};
use crate::random::Purpose;
use crate::{Batch, DefendedModel, Draws, Logits, Model, Rows, Select, Stop};

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

    /// Lets a slot spend a cost in answers of the victim during the step that follows, and no more.
    pub(crate) fn allow(&mut self, slot: usize, cost: Cost) {
        let cost = self.in_passes(Network::Victim, cost);
        let account = &mut self.accounts[slot];
        account.allowed = account.spent.plus(cost);
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
