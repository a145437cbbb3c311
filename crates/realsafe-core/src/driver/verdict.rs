//! The independent pass: what the victim says of final images, outside the books.

use burn::tensor::Tensor;
use realsafe_plan::REJECTED;

use super::Driver;
use crate::logits::most_frequent;
use crate::oracle::Account;
use crate::projection::{Distances, in_box};
use crate::random::Purpose;
use crate::task::{Contribution, Judgement, Shares, Verdict};
use crate::{Draws, Stop};

/// How the victim answers a final image.
struct Answer {
    prediction: Option<u32>,
    /// Whether that reaches the goal.
    reached: bool,
    shares: Option<Shares>,
}

impl Driver<'_> {
    /// What the victim predicts on a draw, outside the books.
    pub(super) fn predict(&self, slots: &[usize], images: &Tensor<4>, draw: u64) -> Result<Vec<Option<u32>>, Stop> {
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
    pub(super) fn judge_randomised(&mut self, contributions: &mut [Contribution]) -> Result<(), Stop> {
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
    pub(super) fn reaches(&self, slot: usize, prediction: Option<u32>) -> bool {
        let (label, target) = (self.task.samples.labels[slot], self.task.targets[slot]);
        prediction.is_some_and(|prediction| {
            let as_clean = prediction == REJECTED && self.task.clean[slot] == REJECTED && self.is_clean_error(slot);
            as_clean || self.task.goal.reached(prediction, label, target)
        })
    }

    /// The independent pass: judges the final image of each slot anew, from its stored pixels alone. Where nothing new came
    /// out, what is known of a slot stays but for its costs.
    pub(super) fn settle(&mut self, slots: &[usize]) -> Result<(), Stop> {
        let is_new = |slot: &&usize| {
            self.judgements[**slot].is_none()
                || self.last[**slot].is_some()
                || self.oracle.accounts[**slot].found.is_some()
        };
        let (slots, same): (Vec<usize>, Vec<usize>) = slots.iter().partition(is_new);
        same.into_iter().for_each(|slot| self.keep_judgement(slot));
        if slots.is_empty() {
            return Ok(());
        }
        let finals: Vec<Vec<f32>> = slots.iter().map(|&slot| self.final_pixels(slot)).collect();
        let images = self.upload(finals.iter().map(Vec::as_slice), finals.len());
        let draws = u64::from(self.task.draws.unwrap_or(1));
        let first_draw = self.comparisons.as_mut().map_or(0, |made| {
            *made += 1;
            u64::from(*made) * draws
        });
        let answers = self.answers(&slots, &images, first_draw)?;
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
                    (true, _) => Verdict::Broken,
                    (false, true) => Verdict::Disputed,
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
            let is_better = |known: &Judgement| match (known.shares, shares) {
                (Some(known), Some(shares)) => verdict != Verdict::Invalid && known.robust <= shares.robust,
                _ => {
                    self.task.eps.is_none() && known.verdict == Verdict::Broken && {
                        let distance = |distances: &Distances| distances.in_norm(self.task.norm);
                        verdict != Verdict::Broken || distance(&known.distances) < distance(&distances)
                    }
                }
            };
            if self.judgements[slot].as_ref().is_some_and(is_better) {
                self.keep_judgement(slot);
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

    /// Lets the judgement of a slot stand, and brings its costs up to date.
    fn keep_judgement(&mut self, slot: usize) {
        let Account { spent, surrogates, .. } = self.oracle.accounts[slot];
        let judgement = self.judgements[slot].as_mut().expect("it is judged");
        (judgement.spent, judgement.surrogates) = (spent, surrogates);
    }

    /// The adversarial that was found, else the last iterate, else the clean image.
    fn final_pixels(&mut self, slot: usize) -> Vec<f32> {
        let found = self.oracle.accounts[slot].found.as_ref().map(|found| found.pixels.clone());
        found.or_else(|| self.last[slot].take()).unwrap_or_else(|| self.oracle.clean(slot).to_vec())
    }
}
