//! Shares of samples, some of which may have ended in errors.

use crate::statistics::wilson;

/// A share of samples, some of which may have ended in errors.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// Samples that certainly count; of randomised victims, each as often as the share of its draws.
    pub(crate) yes: f64,
    /// Samples that may or may not.
    pub(crate) errors: u64,
    /// All samples.
    pub(crate) total: u64,
}

impl Rate {
    /// Counts answers, none being an error.
    pub(crate) fn of(answers: impl IntoIterator<Item = Option<bool>>) -> Self {
        Self::of_shares(answers.into_iter().map(|answer| answer.map(|answer| f64::from(u8::from(answer)))))
    }

    /// Adds up how often each sample counts, none being an error.
    pub(crate) fn of_shares(shares: impl IntoIterator<Item = Option<f64>>) -> Self {
        let mut rate = Self::default();
        for share in shares {
            rate.total += 1;
            rate.yes += share.unwrap_or(0.0);
            rate.errors += u64::from(share.is_none());
        }
        rate
    }

    /// The rate, if there are samples and no errors.
    pub(crate) fn value(self) -> Option<f64> {
        self.bounds().filter(|_| self.errors == 0).map(|(low, _)| low)
    }

    /// The rate when no error counts, and when all do.
    pub(crate) fn bounds(self) -> Option<(f64, f64)> {
        let share = |count: f64| count / self.total as f64;
        (self.total > 0).then(|| (share(self.yes), share(self.yes + self.errors as f64)))
    }

    /// The 95 % intervals when no error counts, and when all do. Shares of draws vary less between samples than a yes or no of
    /// the same mean, so that for randomised victims they are rather too wide.
    pub(crate) fn intervals(self) -> Option<[(f64, f64); 2]> {
        let ends = [self.yes, self.yes + self.errors as f64];
        (self.total > 0).then(|| ends.map(|count| wilson(count, self.total)))
    }

    /// The 95 % interval, widened by the errors.
    pub(crate) fn interval(self) -> Option<(f64, f64)> {
        self.intervals().map(|[(low, _), (_, high)]| (low, high))
    }
}
