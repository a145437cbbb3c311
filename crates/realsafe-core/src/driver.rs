//! The loop around every attack: restarts, steps, early exit, compaction, budgets, searches, recording and verification.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_plan::{Cost, REJECTED, Search, Success};

use crate::doors::Door;
use crate::logits::{most_frequent, read};
use crate::oracle::{Account, Found, Rules};
use crate::projection::{Distances, in_box};
use crate::random::Purpose;
use crate::search::Bracket;
use crate::task::{Contribution, Control, Judged, Judgement, Member, Recorded, Shares, Task, Verdict};
use crate::{Attack, Batch, Draws, Oracle, Rows, Select, Stop};

/// How the victim answers a final image.
struct Answer {
    prediction: Option<u32>,
    /// Whether that reaches the goal.
    reached: bool,
    shares: Option<Shares>,
}

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
        let open = self.unbroken();
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
            if judgement.verdict == Verdict::Broken && !clean_error {
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
            let slots = self.unbroken();
            if slots.is_empty() {
                break;
            }
            let open = slots.iter().copied().filter(|&slot| !self.is_finished(slot)).collect();
            self.restart(attack, open, restart, None)?;
            self.settle(&slots)?;
        }
        self.steps_before += self.member.restarts * attack.steps();
        Ok(())
    }

    /// The samples that are not broken yet.
    fn unbroken(&self) -> Vec<usize> {
        let unbroken = |judgement: &Option<Judgement>| {
            judgement.as_ref().is_none_or(|judgement| judgement.verdict == Verdict::Robust)
        };
        (0..self.judgements.len()).filter(|&slot| unbroken(&self.judgements[slot])).collect()
    }

    /// Tries an attack with one radius after the other, sample by sample.
    fn search<A: Attack>(&mut self, attack: &A, search: &Search) -> Result<(), Stop> {
        let known = self.oracle.accounts.iter().map(|account| account.found.as_ref().map(|found| found.distance));
        self.brackets = Some(known.map(|distance| Bracket::new(distance.unwrap_or(f64::INFINITY))).collect());
        for round in 0.. {
            let mut open = Vec::new();
            for slot in 0..self.radii.len() {
                let payable = self.covers(slot, attack.start_cost()) && self.covers(slot, attack.step_cost());
                if let Some(radius) = self.next_radius(slot, search).filter(|_| payable) {
                    self.radii[slot] = radius;
                    open.push(slot);
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            self.restart(attack, open.clone(), round, Some(search))?;
            self.credit_last_iterates(&open)?;
            for slot in open {
                let (distance, attempts) = (self.success(slot), self.member.restarts);
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
    fn success(&self, slot: usize) -> Option<f64> {
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
            let distance = Distances::between(self.oracle.clean(slot), &pixels).in_norm(self.task.norm);
            let inside = in_box(&pixels) && distance <= self.task.norm.tolerance(self.radii[slot]);
            if inside && self.reaches(slot, prediction) {
                let account = &mut self.oracle.accounts[slot];
                account.first_success.get_or_insert(account.spent.queries);
                account.found = Some(Found { pixels, distance });
            }
        }
        Ok(())
    }

    /// What the victim predicts on a draw, outside the books.
    fn predict(&self, slots: &[usize], images: &Tensor<4>, draw: u64) -> Result<Vec<Option<u32>>, Stop> {
        let draws = slots.iter().map(|&slot| (self.task.indices[slot], draw));
        let draws = Draws::new(self.task.seed, Purpose::Verification, draws);
        Ok(self.oracle.model.padded_logits(images, &draws)?.predictions())
    }

    /// What the victim predicts and whether that reaches the goal: once, or of a randomised victim the most frequent
    /// prediction and the majority of some draws.
    fn answers(&self, slots: &[usize], images: &Tensor<4>, first_draw: u64) -> Result<Vec<Answer>, Stop> {
        let Some(draws) = self.task.draws else {
            let answer =
                |(prediction, &slot)| Answer { prediction, reached: self.reaches(slot, prediction), shares: None };
            return Ok(self.predict(slots, images, 0)?.into_iter().zip(slots).map(answer).collect());
        };
        let predictions = (first_draw..first_draw + u64::from(draws)).map(|draw| self.predict(slots, images, draw));
        let predictions = predictions.collect::<Result<Vec<_>, Stop>>()?;
        let answer = |(row, &slot): (usize, &usize)| {
            let of_row: Vec<Option<u32>> = predictions.iter().map(|predictions| predictions[row]).collect();
            let share = |of: &dyn Fn(Option<u32>) -> bool| {
                of_row.iter().filter(|prediction| of(**prediction)).count() as f64 / f64::from(draws)
            };
            let label = self.task.samples.labels[slot];
            let shares = Shares {
                correct: share(&|prediction| prediction == Some(label)),
                robust: share(&|prediction| !self.reaches(slot, prediction)),
            };
            Answer { prediction: most_frequent(&of_row), reached: shares.robust < 0.5, shares: Some(shares) }
        };
        Ok(slots.iter().enumerate().map(answer).collect())
    }

    /// Judges the candidates that were kept on draws of their own, so that they do not profit from the draws on which they
    /// were the best of several; and says which attack broke what.
    fn judge_randomised(&mut self, contributions: &mut [Contribution]) -> Result<(), Stop> {
        if self.task.draws.is_none() {
            return Ok(());
        }
        let slots: Vec<usize> = (0..self.judgements.len()).collect();
        if self.comparisons.take().is_some() {
            let kept = self.judgements.iter().flatten();
            let images = self.upload(kept.map(|judgement| judgement.pixels.as_slice()), slots.len());
            for (slot, answer) in self.answers(&slots, &images, 0)?.into_iter().enumerate() {
                let judgement = self.judgements[slot].as_mut().expect("every sample is judged");
                if judgement.verdict != Verdict::Invalid {
                    judgement.verdict = if answer.reached { Verdict::Broken } else { Verdict::Robust };
                    (judgement.prediction, judgement.shares) = (answer.prediction, answer.shares);
                }
            }
        }
        for slot in slots {
            let clean_error = self.is_clean_error(slot);
            let judgement = self.judgements[slot].as_mut().expect("every sample is judged");
            let broken = judgement.verdict == Verdict::Broken;
            judgement.broken_by = judgement.broken_by.filter(|_| broken && !clean_error);
            judgement.first_success = broken.then_some(judgement.spent.queries);
            if let Some(place) = judgement.broken_by {
                contributions[place].broken += 1;
            }
        }
        Ok(())
    }

    /// Whether a prediction reaches the goal. Where the clean image is rejected, rejection is the error that it is there.
    fn reaches(&self, slot: usize, prediction: Option<u32>) -> bool {
        let (label, target) = (self.task.samples.labels[slot], self.task.targets[slot]);
        prediction.is_some_and(|prediction| {
            let as_clean = prediction == REJECTED && self.task.clean[slot] == REJECTED && self.is_clean_error(slot);
            as_clean || self.task.goal.reached(prediction, label, target)
        })
    }

    fn restart<A: Attack>(
        &mut self,
        attack: &A,
        slots: Vec<usize>,
        restart: u32,
        search: Option<&Search>,
    ) -> Result<(), Stop> {
        let eot = u64::from(self.member.eot);
        let (start_cost, step_cost) = (attack.start_cost().times(eot), attack.step_cost().times(eot));
        let payable: Vec<usize> = slots.into_iter().filter(|&slot| self.covers(slot, start_cost)).collect();
        if payable.is_empty() {
            return Ok(());
        }
        let shrinking = search.filter(|search| matches!(search, Search::List(_)) && attack.is_stationary());
        let mut batch = self.batch(payable, restart);
        self.oracle.allow(&batch.slots, start_cost);
        let mut state = attack.start(A::Door::open(&mut self.oracle), &batch)?;
        // How many steps each row has made in its ball.
        let mut made = vec![0; batch.len()];
        for step in 0.. {
            if self.control.cancelled.load(Ordering::Relaxed) {
                return Err(Stop::Cancelled);
            }
            let goes_on = |slot: usize| !self.is_finished(slot) && self.covers(slot, step_cost);
            let stays = |row: &usize| made[*row] < attack.steps() && goes_on(batch.slots[*row]);
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
            self.oracle.allow(&batch.slots, step_cost);
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
        Ok(())
    }

    /// Goes on in the next smaller ball where an adversarial was found, with as many steps as ever.
    fn shrink(&mut self, search: &Search, batch: &mut Batch, made: &mut [u32]) {
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
            slots,
        }
    }

    fn upload<'i>(&self, images: impl Iterator<Item = &'i [f32]>, count: usize) -> Tensor<4> {
        let [channels, height, width] = self.task.samples.shape;
        let mut pixels = Vec::with_capacity(count * channels * height * width);
        images.for_each(|image| pixels.extend_from_slice(image));
        Tensor::from_data(TensorData::new(pixels, [count, channels, height, width]), &self.device)
    }

    /// Keeps the iterates of rows that leave, where no adversarial was found.
    fn keep_iterates(
        &mut self,
        batch: &Batch,
        rows: Vec<usize>,
        iterates: impl FnOnce() -> Tensor<4>,
    ) -> Result<(), Stop> {
        let needed = |slot: usize| match self.brackets {
            // What a smaller ball ends with is judged, whatever a larger one gave.
            Some(_) => self.success(slot).is_none(),
            None => self.oracle.accounts[slot].found.is_none() && !self.ends_outside(),
        };
        let open = rows.into_iter().filter(|&row| needed(batch.slots[row]));
        let rows: Vec<usize> = open.collect();
        if rows.is_empty() {
            return Ok(());
        }
        let pixels = read(iterates().choose(&Rows::new(rows.clone(), &self.device)))?;
        for (row, image) in rows.iter().zip(pixels.chunks_exact(pixels.len() / rows.len())) {
            self.last[batch.slots[*row]] = Some(image.to_vec());
        }
        Ok(())
    }

    fn record(&mut self, batch: &Batch, iterates: &Tensor<4>, step: u32) -> Result<(), Stop> {
        let predictions = self.predict(&batch.slots, iterates, 0)?;
        let pixels = read(iterates.clone())?;
        for (row, image) in pixels.chunks_exact(pixels.len() / batch.len()).enumerate() {
            let slot = batch.slots[row];
            let account = &self.oracle.accounts[slot];
            self.recorded.push(Recorded {
                slot,
                step,
                queries: account.spent.queries,
                prediction: predictions[row],
                distance: Distances::between(self.oracle.clean(slot), image).in_norm(self.task.norm),
                broken: account.found.is_some() || batch.reached(row, predictions[row]),
            });
        }
        Ok(())
    }

    /// The independent pass: judges the final image of each slot anew, from its stored pixels alone.
    fn settle(&mut self, slots: &[usize]) -> Result<(), Stop> {
        let finals: Vec<Vec<f32>> = slots.iter().map(|&slot| self.final_pixels(slot)).collect();
        let images = self.upload(finals.iter().map(Vec::as_slice), finals.len());
        let draws = u64::from(self.task.draws.unwrap_or(1));
        let first_draw = self.comparisons.as_mut().map_or(0, |made| {
            *made += 1;
            u64::from(*made) * draws
        });
        let answers = self.answers(slots, &images, first_draw)?;
        for ((&slot, pixels), answer) in slots.iter().zip(finals).zip(answers) {
            let Answer { prediction, reached, shares } = answer;
            let account = &self.oracle.accounts[slot];
            let mut distances = Distances::between(self.oracle.clean(slot), &pixels);
            let inside =
                self.task.eps.is_none_or(|eps| distances.in_norm(self.task.norm) <= self.task.norm.tolerance(eps));
            let verdict = if !in_box(&pixels) || !inside || prediction.is_none() {
                Verdict::Invalid
            } else {
                match (reached, account.found.is_some()) {
                    (true, true) => Verdict::Broken,
                    (false, true) => Verdict::Disputed,
                    (true, false) => Verdict::Broken,
                    (false, false) => Verdict::Robust,
                }
            };
            if self.task.eps.is_none() && verdict == Verdict::Robust {
                distances = Distances::INFINITE;
            }
            let (spent, surrogates) = (account.spent, account.surrogates);
            let first_success = account.first_success.or((verdict == Verdict::Broken).then_some(spent.queries));
            let failed_at = self.brackets.as_ref().map(|brackets| brackets[slot].low);
            let candidate_of = self.task.draws.map(|_| self.place);
            let robust = |judgement: &Judgement| judgement.shares.map_or(0.0, |shares| shares.robust);
            let better = |known: &&mut Judgement| {
                verdict != Verdict::Invalid && shares.is_some_and(|shares| robust(known) <= shares.robust)
            };
            if let Some(known) = self.judgements[slot].as_mut().filter(better) {
                (known.spent, known.surrogates) = (spent, surrogates);
                continue;
            }
            self.judgements[slot] = Some(Judgement {
                verdict,
                pixels,
                prediction,
                shares,
                distances,
                spent,
                surrogates,
                first_success,
                broken_by: candidate_of,
                failed_at,
            });
        }
        Ok(())
    }

    /// Whether an attack that minimises the distance runs in a ball, which what it ends with need not lie in.
    const fn ends_outside(&self) -> bool {
        self.member.minimises_distance && self.task.eps.is_some()
    }

    /// The adversarial that was found, else the last iterate, else the clean image.
    fn final_pixels(&mut self, slot: usize) -> Vec<f32> {
        let found = self.oracle.accounts[slot].found.as_ref().map(|found| found.pixels.clone());
        found.or_else(|| self.last[slot].take()).unwrap_or_else(|| self.oracle.clean(slot).to_vec())
    }
}
