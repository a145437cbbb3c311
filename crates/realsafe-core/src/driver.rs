//! The loop around every attack: restarts, steps, early exit, compaction, budgets, searches, recording and verification.

mod search;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_plan::{Cost, Search, Success};

use crate::doors::Door;
use crate::logits::read;
use crate::oracle::{Account, Found, Rules};
use crate::projection::{Distances, in_box};
use crate::search::Bracket;
use crate::task::{Contribution, Control, Judged, Judgement, Member, Recorded, Task, Verdict};
use crate::{Attack, Batch, Oracle, Rows, Select, Stop};

/// Runs the attacks of one task.
pub struct Driver<'a> {
    task: Task,
    device: Device,
    control: Control<'a>,
    oracle: Oracle,
    /// The attack that runs.
    member: Member<'a>,
    /// Its place among those of the task.
    place: usize,
    /// How often candidates of a randomised victim were compared; none where there is but one, whose verdict is final.
    comparisons: Option<u32>,
    /// How many steps the attacks before it can make.
    steps_before: u32,
    /// The radius of each sample.
    radii: Vec<f64>,
    /// What a search knows of each sample.
    brackets: Option<Vec<Bracket>>,
    /// The last iterate of each sample that the oracle found no adversarial for.
    last: Vec<Option<Vec<f32>>>,
    judgements: Vec<Option<Judgement>>,
    recorded: Vec<Recorded>,
}

impl<'a> Driver<'a> {
    /// Runs attacks one after the other, each on what the ones before did not break, and judges every sample.
    ///
    /// # Errors
    /// See [`Stop`]; nothing is kept then.
    ///
    /// # Panics
    /// Where there is no attack.
    pub fn run(task: Task, members: &[Member<'a>], device: &Device, control: Control<'a>) -> Result<Judged, Stop> {
        let mut driver = Self::new(task, members[0], device, control);
        driver.comparisons =
            (driver.task.draws.is_some() && (members.len() > 1 || members[0].restarts > 1)).then_some(0);
        driver.credit_clean_errors();
        let mut contributions = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            contributions.push(driver.contribute(index, *member)?);
        }
        driver.judge_randomised(&mut contributions)?;
        let zero = |account: &&Account| account.zero_gradient == Some(true);
        let zero_gradients = driver.oracle.accounts.iter().filter(zero).count() as u64;
        let mut recorded = std::mem::take(&mut driver.recorded);
        recorded.sort_by_key(|point| (point.slot, point.step));
        Ok(Judged { judgements: driver.judged(), recorded, contributions, zero_gradients })
    }

    /// Judges on this task's victim the images of a transfer, which were made for another one.
    ///
    /// # Errors
    /// See [`Stop`]; nothing is kept then.
    pub fn judge(
        task: Task,
        member: Member<'a>,
        made: &[Judgement],
        device: &Device,
        control: Control<'a>,
    ) -> Result<Vec<Judgement>, Stop> {
        let mut driver = Self::new(task, member, device, control);
        driver.last = made.iter().map(|made| Some(made.pixels.clone())).collect();
        driver.oracle.accounts.iter_mut().zip(made).for_each(|(account, made)| account.surrogates = made.surrogates);
        driver.settle(&(0..made.len()).collect::<Vec<_>>())?;
        Ok(driver.judged())
    }

    fn judged(self) -> Vec<Judgement> {
        self.judgements.into_iter().map(|judgement| judgement.expect("every sample is judged")).collect()
    }

    fn new(task: Task, member: Member<'a>, device: &Device, control: Control<'a>) -> Self {
        let count = task.indices.len();
        let rules = Rules {
            norm: task.norm,
            success: task.success,
            minimises_distance: task.eps.is_none(),
            budget: task.budget,
            transfers: task.transfers,
            ensemble: task.ensemble,
            eot: 1,
            seed: task.seed,
        };
        let oracle = Oracle {
            model: task.model.clone(),
            surrogates: task.surrogates.clone(),
            cancelled: Arc::clone(control.cancelled),
            rules,
            accounts: vec![Account::default(); count],
            samples: task.indices.clone(),
            clean: task.samples.pixels.clone(),
        };
        Self {
            radii: vec![task.eps.unwrap_or(f64::INFINITY); count],
            task,
            device: device.clone(),
            control,
            oracle,
            member,
            place: 0,
            comparisons: None,
            steps_before: 0,
            brackets: None,
            last: vec![None; count],
            judgements: vec![None; count],
            recorded: Vec::new(),
        }
    }

    /// Runs one of the attacks.
    fn contribute(&mut self, index: usize, member: Member<'a>) -> Result<Contribution, Stop> {
        let open = self.open();
        let spent = |driver: &Self, of: fn(&Account) -> Cost| {
            driver.oracle.accounts.iter().map(of).fold(Cost::default(), Cost::plus)
        };
        let before = (spent(self, |account| account.spent), spent(self, |account| account.surrogates));
        (self.member, self.place) = (member, index);
        self.oracle.rules.eot = member.eot;
        member.attack.run(self)?;
        let mut contribution = Contribution {
            attacked: open.iter().filter(|&&slot| !self.is_clean_error(slot)).count() as u64,
            broken: 0,
            spent: spent(self, |account| account.spent).minus(before.0),
            surrogates: spent(self, |account| account.surrogates).minus(before.1),
        };
        if self.task.draws.is_some() {
            // What it breaks is known in the end only.
            return Ok(contribution);
        }
        for slot in open {
            let clean_error = self.is_clean_error(slot);
            let judgement = self.judgements[slot].as_mut().expect("every sample is judged");
            if judgement.verdict == Verdict::Broken && judgement.broken_by.is_none() && !clean_error {
                judgement.broken_by = Some(index);
                contribution.broken += 1;
            }
        }
        Ok(contribution)
    }

    /// Makes all restarts of an attack, each on what the ones before have not broken.
    pub(crate) fn drive<A: Attack>(&mut self, attack: &A) -> Result<(), Stop> {
        if let Some(search) = self.task.search.clone() {
            self.search(attack, &search)?;
            let all: Vec<usize> = (0..self.judgements.len()).collect();
            return self.settle(&all);
        }
        for restart in 0..self.member.restarts {
            let open: Vec<usize> = self.open();
            if open.is_empty() {
                break;
            }
            let going: Vec<usize> = open.iter().copied().filter(|&slot| !self.is_finished(slot)).collect();
            let varies = self.restart(attack, going, restart, None)?;
            self.settle(&open)?;
            if !varies && self.task.draws.is_none() {
                break;
            }
        }
        self.steps_before += self.member.restarts * attack.steps();
        Ok(())
    }

    /// The samples for which there is something left to find: a first adversarial, or a nearer one.
    fn open(&self) -> Vec<usize> {
        let nearer = self.oracle.rules.minimises_distance;
        let open = |(slot, judgement): (usize, &Option<Judgement>)| match judgement {
            Some(judgement) if judgement.verdict == Verdict::Broken => nearer && !self.is_finished(slot),
            Some(judgement) => judgement.verdict == Verdict::Robust,
            None => true,
        };
        self.judgements.iter().enumerate().filter(|each| open(*each)).map(|(slot, _)| slot).collect()
    }

    /// Runs an attack once on some samples, and says whether another run may come to something else.
    fn restart<A: Attack>(
        &mut self,
        attack: &A,
        slots: Vec<usize>,
        restart: u32,
        search: Option<&Search>,
    ) -> Result<bool, Stop> {
        let eot = u64::from(self.member.eot);
        let start_cost = attack.start_cost().times(eot);
        let first = if attack.steps() > 0 { attack.step_cost().times(eot) } else { Cost::default() };
        let payable = slots.into_iter().filter(|&slot| self.covers(slot, start_cost.plus(first)));
        let payable: Vec<usize> = payable.collect();
        if payable.is_empty() {
            return Ok(false);
        }
        let shrinking = search.filter(|search| matches!(search, Search::List(_)) && attack.is_stationary());
        let mut batch = self.batch(payable, restart);
        batch.slots.iter().for_each(|&slot| self.oracle.allow(slot, start_cost));
        let mut state = attack.start(A::Door::open(&mut self.oracle), &batch)?;
        // How many steps each row has made in its ball.
        let mut made = vec![0; batch.len()];
        for step in 0.. {
            if self.control.cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let cost = |made: &[u32], state: &A::State, row: usize| attack.next_cost(made[row], state, row).times(eot);
            let stays = |&row: &usize| {
                let slot = batch.slots[row];
                made[row] < attack.steps()
                    && !self.is_finished(slot)
                    && !attack.has_ended(&state, row)
                    && self.covers(slot, cost(&made, &state, row))
            };
            let (stay, leave): (Vec<usize>, Vec<usize>) = (0..batch.len()).partition(stays);
            if !leave.is_empty() {
                self.keep_iterates(&batch, leave, || attack.iterates(&batch, &state))?;
                if stay.is_empty() {
                    break;
                }
                let rows = Rows::new(stay, &self.device);
                batch = batch.choose(&rows);
                state = state.choose(&rows);
                made = made.choose(&rows);
            }
            batch.step = step;
            for (row, &slot) in batch.slots.iter().enumerate() {
                self.oracle.allow(slot, cost(&made, &state, row));
            }
            attack.step(A::Door::open(&mut self.oracle), &batch, &mut state)?;
            made.iter_mut().for_each(|made| *made += 1);
            let counted = self.steps_before + restart * attack.steps() + step + 1;
            if self.task.record.contains(&counted) {
                self.record(&batch, &attack.iterates(&batch, &state), counted)?;
            }
            if let Some(search) = shrinking {
                self.shrink(search, &mut batch, &mut made);
            }
            (self.control.stepped)(batch.len());
        }
        Ok(batch.varies.load(Ordering::Relaxed))
    }

    /// Whether the budget of a sample covers what the attack says that it asks for.
    fn covers(&self, slot: usize, cost: Cost) -> bool {
        self.task.transfers || self.oracle.covers(slot, cost)
    }

    /// Whether a sample needs no more steps.
    fn is_finished(&self, slot: usize) -> bool {
        let account = &self.oracle.accounts[slot];
        match &account.found {
            Some(_) if self.brackets.is_some() => self.success(slot).is_some(),
            Some(found) => !self.oracle.rules.minimises_distance || found.distance == 0.0,
            None => false,
        }
    }

    /// Where any image decides, a clean image that fulfils the goal is an adversarial at distance 0.
    fn credit_clean_errors(&mut self) {
        if self.task.success == Success::Last && self.task.eps.is_some() {
            return;
        }
        for slot in 0..self.task.indices.len() {
            if self.is_clean_error(slot) {
                let pixels = self.oracle.clean(slot).to_vec();
                let account = &mut self.oracle.accounts[slot];
                account.found = Some(Found { pixels, distance: 0.0 });
                account.first_success = Some(0);
            }
        }
    }

    /// Whether the clean image does the attacker's work already.
    fn is_clean_error(&self, slot: usize) -> bool {
        let (label, target) = (self.task.samples.labels[slot], self.task.targets[slot]);
        self.task.goal.reached_by_clean(self.task.clean[slot], label, target)
    }

    fn batch(&self, slots: Vec<usize>, restart: u32) -> Batch {
        let of_slots = |values: &[u32]| slots.iter().map(|&slot| values[slot]).collect::<Vec<u32>>();
        let images = self.upload(slots.iter().map(|&slot| self.oracle.clean(slot)), slots.len());
        Batch {
            images,
            labels: of_slots(&self.task.samples.labels),
            targets: slots.iter().map(|&slot| self.task.targets[slot]).collect(),
            eps: slots.iter().map(|&slot| self.radii[slot] as f32).collect(),
            samples: of_slots(&self.task.indices),
            norm: self.task.norm,
            goal: self.task.goal,
            restart,
            step: 0,
            seed: self.task.seed,
            varies: Arc::default(),
            slots,
        }
    }

    fn upload<'i>(&self, images: impl Iterator<Item = &'i [f32]>, count: usize) -> Tensor<4> {
        let [channels, height, width] = self.task.samples.shape;
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        images.for_each(|image| pixels.extend_from_slice(image));
        Tensor::from_data(TensorData::new(pixels, [count, channels, height, width]), &self.device)
    }

    /// Keeps the iterates of rows that leave, where no adversarial was found: those of attacks that minimise the distance, where
    /// they lie in the ball.
    fn keep_iterates(
        &mut self,
        batch: &Batch,
        rows: Vec<usize>,
        iterates: impl FnOnce() -> Tensor<4>,
    ) -> Result<(), Stop> {
        let needed = |slot: usize| match self.brackets {
            // What a smaller ball ends with is judged, whatever a larger one gave.
            Some(_) => self.success(slot).is_none(),
            None => self.oracle.accounts[slot].found.is_none(),
        };
        let open = rows.into_iter().filter(|&row| needed(batch.slots[row]));
        let rows: Vec<usize> = open.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let pixels = read(iterates().choose(&Rows::new(rows.clone(), &self.device)))?;
        for (row, image) in rows.iter().zip(pixels.chunks_exact(pixels.len() / rows.len())) {
            let slot = batch.slots[*row];
            // An attack that found nothing ends with the clean image.
            let found = || self.is_inside(slot, image) && image != self.oracle.clean(slot);
            if !self.ends_outside() || found() {
                self.last[slot] = Some(image.to_vec());
            }
        }
        Ok(())
    }

    fn record(&mut self, batch: &Batch, iterates: &Tensor<4>, step: u32) -> Result<(), Stop> {
        let predictions = self.predict(&batch.slots, iterates, 0)?;
        let pixels = read(iterates.clone())?;
        for (row, image) in pixels.chunks_exact(pixels.len() / batch.len()).enumerate() {
            let slot = batch.slots[row];
            let account = &self.oracle.accounts[slot];
            let reached = batch.reached(row, predictions[row]);
            let own = Distances::between(self.oracle.clean(slot), image).in_norm(self.task.norm);
            let found = account.found.as_ref().map(|found| found.distance);
            let nearest = || found.unwrap_or(f64::INFINITY).min(if reached { own } else { f64::INFINITY });
            self.recorded.push(Recorded {
                slot,
                step,
                queries: account.spent.queries,
                prediction: predictions[row],
                distance: if self.oracle.rules.minimises_distance { nearest() } else { own },
                broken: found.is_some() || reached,
            });
        }
        Ok(())
    }

    /// Whether an image lies in the box and in the ball of a sample.
    fn is_inside(&self, slot: usize, image: &[f32]) -> bool {
        let distance = Distances::between(self.oracle.clean(slot), image).in_norm(self.task.norm);
        in_box(image) && distance <= self.task.norm.tolerance(self.radii[slot])
    }

    /// Whether an attack that minimises the distance runs in a ball, which what it ends with need not lie in.
    const fn ends_outside(&self) -> bool {
        self.member.minimises_distance && self.task.eps.is_some()
    }
}
