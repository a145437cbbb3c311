//! What was measured of a quantity, and how certain it is.

use realsafe_plan::Metric;

use super::{Entry, Verdict};
use crate::statistics::{QUANTILE, deviation, mean, mean_error, median, median_interval, score_error};
use crate::tables::judged::Judged;
use crate::tables::rate::Rate;

/// A quantity, if errors count one way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    pub(super) value: f64,
    /// The ends of its 95 % interval.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A quantity over all seeds.
pub(super) struct Measured {
    /// With all errors counting against, and for.
    pub(super) ends: [Estimate; 2],
    /// Of how many samples a rate is; none of other quantities.
    pub(super) samples: Option<u64>,
    /// The standard error that comes from the seeds.
    pub(super) spread: f64,
}

impl Measured {
    /// The mean over entries, one per seed. The verdict says why there is none.
    pub(super) fn of(entries: &[&Entry], metric: Metric) -> Result<Self, Verdict> {
        if entries.is_empty() || !entries.iter().all(|entry| entry.is_complete()) {
            return Err(Verdict::Missing);
        }
        let seeds = entries.iter().map(|entry| estimate(entry, metric)).collect::<Option<Vec<_>>>();
        let seeds = seeds.ok_or(Verdict::Undefined)?;
        let average = |end: usize, of: fn(&Estimate) -> f64| {
            mean(&seeds.iter().map(|ends| of(&ends[end])).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        };
        let end = |end: usize| Estimate {
            value: average(end, |estimate| estimate.value),
            low: average(end, |estimate| estimate.low),
            high: average(end, |estimate| estimate.high),
        };
        let values: Vec<f64> = seeds.iter().map(|ends| ends[0].value).collect();
        // The images are the same for all seeds, so that their share of the error does not shrink.
        let spread = deviation(&values).map_or(0.0, |deviation| deviation / (values.len() as f64).sqrt());
        let samples = metric.is_rate().then(|| rate(entries[0], metric).total);
        Ok(Self { ends: [end(0), end(1)], samples, spread })
    }

    /// The same, multiplied by a factor that is 1 for rates.
    pub(super) fn scaled(self, factor: f64) -> Self {
        let scale =
            |Estimate { value, low, high }| Estimate { value: factor * value, low: factor * low, high: factor * high };
        Self { ends: self.ends.map(scale), ..self }
    }

    /// The value, unless errors leave it open.
    pub(super) fn value(&self) -> Option<f64> {
        let [against, towards] = self.ends;
        (against.value == towards.value).then_some(against.value)
    }

    /// The lower end of the 95 % interval, however errors count.
    pub(super) const fn low(&self) -> f64 {
        self.ends[0].low
    }

    /// The upper end of the 95 % interval, however errors count.
    pub(super) const fn high(&self) -> f64 {
        self.ends[1].high
    }

    /// Judges the measurement against a published value: the worse of both ways to count errors.
    pub(super) fn verdict(&self, published: f64, tolerance: f64, samples: Option<u64>) -> Verdict {
        let judge = |end: Estimate| {
            let distance = (end.value - published).abs();
            let explained = match self.samples {
                Some(ours) => {
                    let error = score_error((end.value, ours), (published, samples));
                    distance <= QUANTILE * error.hypot(self.spread)
                }
                None => (end.low..=end.high).contains(&published),
            };
            // Decimal fractions are not exact in binary: 0.893 - 0.873 exceeds 0.02 by a rounding error.
            match distance <= tolerance + 1e-12 {
                true => Verdict::Pass,
                false if explained => Verdict::WithinError,
                false => Verdict::Fail,
            }
        };
        let [against, towards] = self.ends.map(judge);
        against.max(towards)
    }
}

/// A quantity for one seed, with errors counting against and for; none where there is nothing that it could be of.
fn estimate(entry: &Entry, metric: Metric) -> Option<[Estimate; 2]> {
    match metric {
        Metric::MedianDistance => {
            let of = |distances: Vec<f64>| {
                let ((low, high), value) = (median_interval(&distances)?, median(&distances)?);
                Some(Estimate { value, low, high })
            };
            Some([of(entry.distances(0.0))?, of(entry.distances(f64::INFINITY))?])
        }
        Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => {
            let queries: Vec<f64> = entry.judged.iter().filter_map(|judged| queries(judged, metric)).collect();
            let (value, half) = (mean(&queries)?, QUANTILE * mean_error(&queries).unwrap_or(f64::INFINITY));
            Some([Estimate { value, low: value - half, high: value + half }; 2])
        }
        Metric::RobustAccuracy | Metric::CleanAccuracy | Metric::SuccessRate | Metric::CertifiedAccuracy => {
            let rate = rate(entry, metric);
            let ((against, towards), intervals) = (rate.bounds()?, rate.intervals()?);
            let end = |value: f64, (low, high)| Estimate { value, low, high };
            Some([end(against, intervals[0]), end(towards, intervals[1])])
        }
    }
}

fn rate(entry: &Entry, metric: Metric) -> Rate {
    Rate::of_shares(entry.judged.iter().filter_map(|judged| answer(judged, metric)))
}

/// How often a sample counts for a rate; none after an error. The outer option leaves out samples that the rate is not
/// about.
#[expect(clippy::option_option, reason = "an error is not the same as a sample that the rate is not about")]
pub(super) fn answer(judged: &Judged, metric: Metric) -> Option<Option<f64>> {
    match metric {
        Metric::CleanAccuracy => Some(judged.clean_share()),
        Metric::RobustAccuracy | Metric::CertifiedAccuracy => Some(judged.robust_share()),
        Metric::SuccessRate => (judged.clean_answer() != Some(false)).then(|| judged.success_share()),
        Metric::MedianDistance | Metric::MeanQueries | Metric::MeanQueriesOfSuccesses => None,
    }
}

/// The queries of a sample; none where they do not count, or where nobody knows them.
pub(super) fn queries(judged: &Judged, metric: Metric) -> Option<f64> {
    let success = judged.broken == Some(true) && judged.clean_answer() == Some(true);
    let counts = success || metric == Metric::MeanQueries;
    judged.spent.filter(|_| counts).map(|spent| spent.queries as f64)
}
