//! Rates, medians and comparisons, with the uncertainty that comes from having seen only some samples.

/// The 97.5 % quantile of the normal distribution, for two-sided intervals and tests at 95 %.
pub(crate) const QUANTILE: f64 = 1.959_963_984_540_054;

/// The 95 % Wilson score interval of a rate (Wilson 1927); everything is possible when nothing was seen.
pub(crate) fn wilson(successes: f64, total: u64) -> (f64, f64) {
    if total == 0 {
        return (0.0, 1.0);
    }
    let count = total as f64;
    let rate = successes / count;
    let square = QUANTILE * QUANTILE;
    let middle = (rate + square / (2.0 * count)) / (1.0 + square / count);
    let half =
        QUANTILE / (1.0 + square / count) * (rate * (1.0 - rate) / count + square / (4.0 * count * count)).sqrt();
    // The ends are exact at 0 and 1; rounding would miss them by a hair.
    let low = if successes == 0.0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if successes == count { 1.0 } else { (middle + half).min(1.0) };
    (low, high)
}

/// The standard error of the difference of two rates if they are of one and the same probability: that of the score test,
/// which is right for rates of 0 and 1 as well. The second rate is the probability itself where it is of no samples that are known.
pub(crate) fn score_error(first: (f64, u64), second: (f64, Option<u64>)) -> f64 {
    let (count, other) = (first.1 as f64, second.1.map(|total| total as f64));
    let pooled = other.map_or(second.0, |other| (first.0 * count + second.0 * other) / (count + other));
    (pooled * (1.0 - pooled) * (1.0 / count + other.map_or(0.0, f64::recip))).sqrt()
}

/// The mean; none of nothing.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a sample (divided by n - 1); none of fewer than two values.
pub(crate) fn deviation(values: &[f64]) -> Option<f64> {
    let middle = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - middle).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The standard error of the mean; none of fewer than two values.
pub(crate) fn mean_error(values: &[f64]) -> Option<f64> {
    deviation(values).map(|deviation| deviation / (values.len() as f64).sqrt())
}

/// The median, where infinite values are larger than all others; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(sorted[middle - 1], upper)) }
}

/// A 95 % interval of the median from order statistics, in the normal approximation (Conover 1999, section 3.2); none of
/// nothing.
pub(crate) fn median_interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (middle, half) = (sorted.len() as f64 / 2.0, QUANTILE * (sorted.len() as f64).sqrt() / 2.0);
    let last = sorted.len().checked_sub(1)?;
    // Ranks count from 1.
    let low = ((middle - half).floor() - 1.0).max(0.0) as usize;
    let high = (middle + half).ceil() as usize;
    Some((sorted[low.min(last)], sorted[high.min(last)]))
}

/// The exact two-sided McNemar test: the probability of pairs that disagree at least this unevenly, if both sides
/// were equally likely to win. `first` and `second` count the pairs that only one side won.
pub(crate) fn mcnemar(first: u64, second: u64) -> f64 {
    let (pairs, smaller) = (first + second, first.min(second));
    // Logarithms, because the powers of two leave the range of floats at a thousand pairs.
    let mut logarithm = -(pairs as f64) * std::f64::consts::LN_2;
    let mut tail = logarithm.exp();
    for wins in 1..=smaller {
        logarithm += ((pairs - wins + 1) as f64).ln() - (wins as f64).ln();
        tail += logarithm.exp();
    }
    (2.0 * tail).min(1.0)
}

/// Two rates on the same samples; those of randomised victims count as often as draws of both say so, if they are independent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Paired {
    /// Pairs that both won.
    pub(crate) both: f64,
    /// Pairs that only the first won.
    pub(crate) first: f64,
    /// Pairs that only the second won.
    pub(crate) second: f64,
    /// Pairs that neither won.
    pub(crate) neither: f64,
}

impl Paired {
    /// Counts a pair: how often each of both wins.
    pub(crate) fn add(&mut self, first: f64, second: f64) {
        self.both += first * second;
        self.first += first * (1.0 - second);
        self.second += (1.0 - first) * second;
        self.neither += (1.0 - first) * (1.0 - second);
    }

    /// How many pairs were counted.
    pub(crate) fn total(&self) -> f64 {
        self.both + self.first + self.second + self.neither
    }

    /// The first rate minus the second; none without pairs.
    pub(crate) fn difference(&self) -> Option<f64> {
        (self.total() > 0.0).then(|| (self.first - self.second) / self.total())
    }

    /// The standard error of the difference; none without pairs.
    pub(crate) fn error(&self) -> Option<f64> {
        let (disagreeing, count) = (self.first + self.second, self.total());
        self.difference().map(|difference| ((disagreeing / count - difference * difference).max(0.0) / count).sqrt())
    }

    /// One `parts`-th of all counts, as when every sample was counted so many times.
    pub(crate) fn divided(self, parts: u64) -> Self {
        let part = |count: f64| (count / parts as f64).floor();
        let Self { both, first, second, neither } = self;
        Self { both: part(both), first: part(first), second: part(second), neither: part(neither) }
    }

    /// Whether the difference lies below `margin` by more than chance explains, at 95 %: by McNemar's test for no
    /// margin, else by the standard error of the paired difference.
    pub(crate) fn significantly_below(&self, margin: f64) -> bool {
        let Some(difference) = self.difference().filter(|difference| *difference < margin) else {
            return false;
        };
        if margin == 0.0 {
            return mcnemar(self.first.round() as u64, self.second.round() as u64) < 0.05;
        }
        self.error().is_some_and(|error| margin - difference > QUANTILE * error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
    }

    #[test]
    fn wilson_gives_published_values() {
        // Newcombe 1998 (Statistics in Medicine 17), table I, method 3.
        for (successes, total, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (found_low, found_high) = wilson(f64::from(successes), total);
            assert!((found_low - low).abs() < 6e-5, "{successes}/{total}: {found_low}");
            assert!((found_high - high).abs() < 6e-5, "{successes}/{total}: {found_high}");
        }
        assert_eq!(wilson(0.0, 0), (0.0, 1.0));
        assert_eq!(wilson(7.0, 7).1, 1.0);
    }

    #[test]
    fn mcnemar_gives_exact_binomial_tails() {
        close(mcnemar(0, 0), 1.0);
        close(mcnemar(5, 5), 1.0);
        close(mcnemar(0, 5), 2.0 / 32.0);
        close(mcnemar(1, 9), 2.0 * 11.0 / 1024.0);
        close(mcnemar(9, 1), 2.0 * 11.0 / 1024.0);
        // Far beyond the range where 2^-n is a float: about 14 standard deviations.
        let tiny = mcnemar(1900, 2900);
        assert!(tiny > 0.0 && tiny < 1e-40, "{tiny}");
    }

    #[test]
    fn medians_put_infinity_last() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[f64::INFINITY, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[f64::INFINITY, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[f64::INFINITY, 1.0]), Some(f64::INFINITY));
        assert_eq!(median(&[f64::INFINITY, f64::INFINITY]), Some(f64::INFINITY));
    }

    #[test]
    fn intervals_of_medians_come_from_ranks() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        // The exact interval, by the binomial distribution: the ranks 40 and 61.
        assert_eq!(median_interval(&values), Some((39.0, 60.0)));
        assert_eq!(median_interval(&[2.0, f64::INFINITY]), Some((2.0, f64::INFINITY)));
        assert_eq!(median_interval(&[]), None);
    }

    #[test]
    fn means_deviations_and_errors() {
        close(mean(&[1.0, 2.0, 6.0]).unwrap(), 3.0);
        close(deviation(&[1.0, 2.0, 6.0]).unwrap(), 7.0_f64.sqrt());
        assert_eq!((mean(&[]), deviation(&[1.0])), (None, None));
    }

    #[test]
    fn scores_agree_with_wilson_and_hold_at_the_ends() {
        // A probability is as far away as the test allows exactly at the ends of Wilson's interval.
        for (successes, total) in [(0_u32, 100_u64), (1, 29), (81, 263), (29, 29)] {
            let rate = f64::from(successes) / total as f64;
            let (low, high) = wilson(f64::from(successes), total);
            for end in [low, high].into_iter().filter(|end| (*end - rate).abs() > 1e-12) {
                close((end - rate).abs(), QUANTILE * score_error((rate, total), (end, None)));
            }
        }
        // Pooled, as in the test of two proportions: 15 of 100 against 5 of 100.
        close(0.1 / score_error((0.15, 100), (0.05, Some(100))), 2.357_022_6);
        close(score_error((0.15, 100), (0.05, Some(1 << 40))), score_error((0.15, 100), (0.05, None)));
    }

    #[test]
    fn paired_differences_need_evidence() {
        let paired =
            |first, second| Paired { both: 50.0, first: f64::from(first), second: f64::from(second), neither: 20.0 };
        close(paired(2, 12).difference().unwrap(), -10.0 / 84.0);
        close(paired(2, 12).error().unwrap(), ((14.0 / 84.0 - (10.0_f64 / 84.0).powi(2)) / 84.0).sqrt());
        assert!(paired(2, 12).significantly_below(0.0));
        assert!(!paired(2, 4).significantly_below(0.0));
        assert!(!paired(12, 2).significantly_below(0.0));
        assert!(!paired(12, 2).significantly_below(0.15));
        assert!(paired(12, 2).significantly_below(0.3));
        assert!(!Paired::default().significantly_below(0.5));
    }
}
