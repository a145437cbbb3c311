//! The radii between which the smallest one lies that an attack needs on a sample.

use realsafe_plan::{Norm, Search};

/// What is known of one sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bracket {
    /// The largest radius at which the attack failed below every success; 0 if it never did.
    pub(crate) low: f64,
    /// The distance of the nearest adversarial; infinite if none was found.
    high: f64,
    /// How many radii were tried before the first success.
    climbed: u32,
    /// How often the gap was halved.
    halved: u32,
    /// How often the attack failed at the radius that is tried.
    failures: u32,
}

impl Bracket {
    /// Nothing is known but perhaps an adversarial at some distance.
    pub(crate) const fn new(high: f64) -> Self {
        Self { low: 0.0, high, climbed: 0, halved: 0, failures: 0 }
    }

    /// The radius to try next, if any.
    pub(crate) fn next(&self, search: &Search, norm: Norm) -> Option<f64> {
        if self.high == 0.0 {
            return None;
        }
        let halve = |bisections: u32| (self.halved < bisections).then(|| f64::midpoint(self.low, self.high));
        match search {
            Search::List(radii) => {
                let smaller = radii.iter().rev().map(realsafe_plan::Number::value);
                smaller
                    .into_iter()
                    .find(|radius| norm.tolerance(*radius) < self.high)
                    .filter(|radius| *radius > self.low)
            }
            Search::Exponential { bisections, .. } | Search::Linear { bisections, .. } if self.high.is_finite() => {
                halve(*bisections)
            }
            Search::Exponential { start, doublings, .. } => {
                (self.climbed <= *doublings).then(|| start.value() * 2.0_f64.powi(self.climbed.cast_signed()))
            }
            Search::Linear { largest, points, .. } => {
                (self.climbed < *points).then(|| largest.value() * f64::from(self.climbed + 1) / f64::from(*points))
            }
        }
    }

    /// Notes an adversarial that was found within the radius tried, at a distance.
    pub(crate) fn succeed(&mut self, distance: f64) {
        self.count();
        self.high = distance;
        // At the radius of a failure luck may have helped now.
        self.low = self.low.min(distance);
    }

    /// Notes that the attack failed at a radius, once more; it is believed after so many attempts.
    pub(crate) fn fail(&mut self, radius: f64, attempts: u32) {
        self.failures += 1;
        if self.failures >= attempts {
            self.count();
            self.low = radius;
        }
    }

    fn count(&mut self) {
        self.failures = 0;
        if self.high.is_finite() {
            self.halved += 1;
        } else {
            self.climbed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use realsafe_plan::Number;

    use super::*;

    /// Searches for a threshold with an attack that finds exactly the radius it is given.
    fn search(search: &Search, threshold: f64) -> (Bracket, u32) {
        let (mut bracket, mut runs) = (Bracket::new(f64::INFINITY), 0);
        while let Some(radius) = bracket.next(search, Norm::Linf) {
            runs += 1;
            if radius >= threshold { bracket.succeed(radius) } else { bracket.fail(radius, 1) }
        }
        (bracket, runs)
    }

    #[test]
    fn searches_end_at_the_threshold_within_their_runs() {
        let number = Number::from;
        let list = Search::List((1..=16).map(|at| number(f64::from(at) / 16.0)).collect());
        let exponential = Search::Exponential { start: number(0.05), doublings: 5, bisections: 12 };
        let linear = Search::Linear { largest: number(1.0), points: 20, bisections: 10 };
        for threshold in [0.01, 0.07, 0.5, 0.93, 1.0] {
            let (bracket, _) = search(&list, threshold);
            assert!(bracket.low < threshold && threshold <= bracket.high && bracket.high - bracket.low < 0.0626);
            for other in [&exponential, &linear] {
                let (bracket, runs) = search(other, threshold);
                assert!(bracket.low < threshold && threshold <= bracket.high, "{other:?} {bracket:?}");
                assert!(bracket.high - bracket.low < 1e-3 && u64::from(runs) <= other.runs(), "{other:?} {bracket:?}");
            }
        }
        let (bracket, runs) = search(&exponential, 2.0);
        assert_eq!((bracket.high, bracket.low, runs), (f64::INFINITY, 1.6, 6));
    }
}
