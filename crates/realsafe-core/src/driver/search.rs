//! Searches: one attack with one radius after the other, until every sample's smallest is known.

use realsafe_plan::Search;

use super::Driver;
use crate::oracle::Found;
use crate::projection::Distances;
use crate::search::Bracket;
use crate::{Attack, Batch, Stop};

impl Driver<'_> {
    /// Tries an attack with one radius after the other, sample by sample.
    pub(super) fn search<A: Attack>(&mut self, attack: &A, search: &Search) -> Result<(), Stop> {
        let known = self.oracle.accounts.iter().map(|account| account.found.as_ref().map(|found| found.distance));
        self.brackets = Some(known.map(|distance| Bracket::new(distance.unwrap_or(f64::INFINITY))).collect());
        for round in 0.. {
            let mut open = Vec::new();
            for slot in 0..self.radii.len() {
                let payable = self.covers(slot, attack.start_cost().plus(attack.step_cost()));
                if let Some(radius) = self.next_radius(slot, search).filter(|_| payable) {
                    self.radii[slot] = radius;
                    open.push(slot);
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            let varies = self.restart(attack, open.clone(), round, Some(search))?;
            self.credit_last_iterates(&open)?;
            for slot in open {
                let distance = self.success(slot);
                let attempts = if varies { self.member.restarts } else { 1 };
                let radius = self.radii[slot];
                let bracket = &mut self.brackets.as_mut().expect("a search has brackets")[slot];
                match distance {
                    // A ball that shrank on the way has noted its successes already.
                    Some(distance) => bracket.succeed(distance),
                    None => bracket.fail(radius, attempts),
                }
            }
        }
        Ok(())
    }

    fn next_radius(&self, slot: usize, search: &Search) -> Option<f64> {
        self.brackets.as_ref().and_then(|brackets| brackets[slot].next(search, self.task.norm))
    }

    /// The distance of the adversarial that was found within the radius of a sample.
    pub(super) fn success(&self, slot: usize) -> Option<f64> {
        let found = self.oracle.accounts[slot].found.as_ref().map(|found| found.distance);
        found.filter(|distance| *distance <= self.task.norm.tolerance(self.radii[slot]))
    }

    /// Judges what a run ended with, as at the end of an attack of fixed radius.
    fn credit_last_iterates(&mut self, slots: &[usize]) -> Result<(), Stop> {
        let ended: Vec<usize> = slots.iter().copied().filter(|&slot| self.last[slot].is_some()).collect();
        if ended.is_empty() {
            return Ok(());
        }
        let pixels: Vec<Vec<f32>> = ended.iter().filter_map(|&slot| self.last[slot].take()).collect();
        let images = self.upload(pixels.iter().map(Vec::as_slice), ended.len());
        let predictions = self.predict(&ended, &images, 0)?;
        for ((slot, pixels), prediction) in ended.into_iter().zip(pixels).zip(predictions) {
            if self.is_inside(slot, &pixels) && self.reaches(slot, prediction) {
                let distance = Distances::between(self.oracle.clean(slot), &pixels).in_norm(self.task.norm);
                let account = &mut self.oracle.accounts[slot];
                account.first_success.get_or_insert(account.spent.queries);
                account.found = Some(Found { pixels, distance });
            }
        }
        Ok(())
    }

    /// Goes on in the next smaller ball where an adversarial was found, with as many steps as ever.
    pub(super) fn shrink(&mut self, search: &Search, batch: &mut Batch, made: &mut [u32]) {
        for (row, made) in made.iter_mut().enumerate() {
            let slot = batch.slots[row];
            let Some(distance) = self.success(slot) else { continue };
            self.brackets.as_mut().expect("a search has brackets")[slot].succeed(distance);
            if let Some(radius) = self.next_radius(slot, search) {
                self.radii[slot] = radius;
                batch.eps[row] = radius as f32;
                *made = 0;
            }
        }
    }
}
