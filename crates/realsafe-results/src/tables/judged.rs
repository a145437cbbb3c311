//! How one sample counts at one radius.

use realsafe_plan::{Goal, REJECTED};

use crate::{Shares, Spent};

/// How one sample counts at one eps.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) sample: u32,
    pub(crate) label: u32,
    pub(crate) target: Option<u32>,
    /// None when the model itself failed on the clean image.
    pub(crate) clean_pred: Option<u32>,
    /// The prediction on the image that the attacker would submit.
    pub(crate) pred: Option<u32>,
    /// Whether the attacker wins; none after an error.
    pub(crate) broken: Option<bool>,
    /// How a randomised victim answers.
    pub(crate) shares: Option<Shares>,
    /// To the adversarial in the norm of the threat model; infinite where there is none.
    pub(crate) distance: f64,
    /// None where the cell failed, and nobody knows.
    pub(crate) spent: Option<Spent>,
}

impl Judged {
    /// Whether the clean prediction equals the label; none when the model itself failed.
    pub(crate) fn clean_answer(&self) -> Option<bool> {
        self.clean_pred.map(|pred| pred == self.label)
    }

    /// Whether the clean prediction is not the target; none when the model itself failed.
    pub(crate) fn not_target_answer(&self) -> Option<bool> {
        match self.target {
            Some(target) => self.clean_pred.map(|pred| pred != target),
            None => Some(true),
        }
    }

    /// Whether the clean image is rejected; none when the model itself failed.
    pub(crate) fn clean_rejected(&self) -> Option<bool> {
        self.clean_pred.map(|pred| pred == REJECTED)
    }

    /// Whether the image that the attacker would submit is rejected; none after an error.
    pub(crate) fn rejected(&self) -> Option<bool> {
        self.pred.map(|pred| pred == REJECTED)
    }

    /// How often the clean prediction equals the label: always or never, but for randomised victims; none when the model
    /// itself failed.
    pub(crate) fn clean_share(&self) -> Option<f64> {
        self.share(self.clean_answer(), |shares| shares.clean)
    }

    /// How often the prediction on the attacked image equals the label; none after an error.
    pub(crate) fn correct_share(&self) -> Option<f64> {
        self.share(self.pred.map(|pred| pred == self.label), |shares| shares.correct)
    }

    /// How often the attacker loses; none after an error.
    pub(crate) fn robust_share(&self) -> Option<f64> {
        self.share(self.broken.map(|broken| !broken), |shares| shares.robust)
    }

    /// How often the attacker wins; none after an error.
    pub(crate) fn success_share(&self) -> Option<f64> {
        self.robust_share().map(|share| 1.0 - share)
    }

    /// How often the clean image is not what the attacker wants; where that is a class, the most frequent prediction decides.
    /// None when the model itself failed.
    pub(crate) fn unattacked_share(&self, goal: Goal) -> Option<f64> {
        let robust = !goal.reached_by_clean(self.clean_pred?, self.label, self.target);
        match self.shares {
            Some(shares) if goal != Goal::Targeted => Some(shares.clean),
            _ => Some(f64::from(u8::from(robust))),
        }
    }

    /// The distance to the adversarial; after an error, what is to be taken for it.
    pub(crate) fn distance_or(&self, of_errors: f64) -> f64 {
        if self.broken.is_some() { self.distance } else { of_errors }
    }

    fn share(&self, answer: Option<bool>, of: fn(Shares) -> f64) -> Option<f64> {
        answer.map(|answer| self.shares.map_or_else(|| f64::from(u8::from(answer)), of))
    }
}
