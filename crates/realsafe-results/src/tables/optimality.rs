//! Local optimality: how close an attack that minimises the distance comes to the best of all attacks, sample by sample.
//!
//! The measure of AttackBench (Cinà et al. 2024, arXiv:2404.19460), per defended model, threat model and seed. Let d(i)
//! be the distance of the attack's adversarial of sample i, 0 where the clean image is one and infinite where there is
//! none; e(i) the smallest distance that any attack of the experiment reached on sample i, those with a fixed radius
//! included; and m the largest finite e(i), the smallest radius at which that envelope reaches its last value. With the
//! areas under the curves of robust accuracy against eps from 0 to m,
//!
//! - A of the attack, the mean of min(d(i), m),
//! - A* of the envelope, the mean of min(e(i), m),
//! - A0 of no attack, m times the share of samples with e(i) > 0,
//!
//! it is 1 - (A - A*) / (A0 - A*): 1 for the best attack on every sample, 0 for one that finds nothing. The means are
//! the exact integrals of step functions. AttackBench's own program connects the steps by straight lines, which gives
//! an attack without any success half of the area, and so a good mark.
//!
//! Empty for the only attack, where A0 = A*, and unless all cells of all of them are there and free of errors.

use super::group::{Group, nearest};
use crate::statistics::mean;

/// The local optimality of each group that minimises the distance.
pub(crate) fn local_optimality(groups: &[Group]) -> Vec<Option<f64>> {
    groups.iter().map(|group| of_group(group, groups)).collect()
}

fn of_group(group: &Group, groups: &[Group]) -> Option<f64> {
    if group.eps.is_some() || group.is_certificate {
        return None;
    }
    let attacks = || groups.iter().filter(|other| !other.is_certificate && group.seed == other.seed);
    let rivals = || attacks().filter(|other| group.subject.same_victim(&other.subject));
    let is_alone = rivals().all(|other| other.subject.attack == group.subject.attack);
    if is_alone || !rivals().all(Group::is_certain) {
        return None;
    }
    let nearest = nearest(rivals());
    let pairs: Vec<(f64, f64)> =
        group.outcomes.iter().map(|outcome| (group.distance(outcome), nearest[&outcome.sample])).collect();
    let last = pairs.iter().map(|(_, best)| *best).filter(|best| best.is_finite()).fold(0.0, f64::max);
    let area = |of: fn(&(f64, f64), f64) -> f64| mean(&pairs.iter().map(|pair| of(pair, last)).collect::<Vec<_>>());
    let own = area(|(own, _), last| own.min(last))?;
    let best = area(|(_, best), last| best.min(last))?;
    let none = area(|(_, best), last| if *best > 0.0 { last } else { 0.0 })?;
    (none > best).then(|| 1.0 - (own - best) / (none - best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{cell, outcome, record};
    use crate::{Status, Store};

    /// Attacks on the same samples: at a radius, or minimising the distance; infinite distances are failures.
    fn measure(attacks: &[(&str, Option<&str>, &[f64])]) -> Vec<Option<f64>> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let cells: Vec<_> = attacks
            .iter()
            .map(|(name, eps, distances)| {
                let cell = cell("net", name, *eps, 0..distances.len() as u32, 0);
                let end = |distance: f64| if distance.is_finite() { Status::Broken } else { Status::Robust };
                let outcomes =
                    (0..).zip(*distances).map(|(sample, distance)| outcome(sample, end(*distance), *distance));
                store.put(&cell, &record(outcomes.collect())).unwrap();
                cell
            })
            .collect();
        local_optimality(&Group::load(&cells.iter().collect::<Vec<_>>(), &store).unwrap())
    }

    #[test]
    fn areas_are_those_of_step_functions() {
        const NEVER: f64 = f64::INFINITY;
        // The envelope is 0, 0.1, 0.2, 0.4: A* = 0.7 / 4 and A0 = 3 / 4 x 0.4.
        let found = measure(&[
            ("walk", None, &[0.0, 0.1, 0.3, 0.5]),
            ("run", None, &[0.0, 0.3, 0.2, 0.4]),
            ("sleep", None, &[0.0, NEVER, NEVER, NEVER]),
            ("step", Some("1/2"), &[0.0, NEVER, 0.5, NEVER]),
        ]);
        let close = |value: Option<f64>, expected: f64| assert!((value.unwrap() - expected).abs() < 1e-12, "{found:?}");
        close(found[0], 1.0 - 0.1 / 0.5);
        close(found[1], 1.0 - 0.2 / 0.5);
        close(found[2], 0.0);
        assert_eq!(found[3], None);
    }

    #[test]
    fn attacks_at_a_radius_are_rivals() {
        let found = measure(&[("walk", None, &[0.2, 0.4]), ("step", Some("1/10"), &[0.1, f64::INFINITY])]);
        // The envelope is 0.1, 0.4: A* = 0.25, A0 = 0.4, A = 0.3.
        assert!((found[0].unwrap() - (1.0 - 0.05 / 0.15)).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn nothing_is_said_while_rivals_lack_results_or_have_errors() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let cells = ["walk", "run"].map(|name| cell("net", name, None, 0..2, 0));
        let near =
            record([0.2, 0.4].into_iter().zip(0..).map(|(at, sample)| outcome(sample, Status::Broken, at)).collect());
        let measure = || local_optimality(&Group::load(&cells.each_ref(), &store).unwrap());
        store.put(&cells[0], &near).unwrap();
        assert_eq!(measure(), [None, None]);
        store.put(&cells[1], &crate::fixture::failure_of(0, Status::Crashed)).unwrap();
        assert_eq!(measure(), [None, None]);
        store.put(&cells[1], &near).unwrap();
        assert_eq!(measure(), [Some(1.0), Some(1.0)]);
    }

    #[test]
    fn nothing_is_said_without_rivals_or_room() {
        assert_eq!(measure(&[("walk", None, &[0.1, 0.2])]), [None]);
        assert_eq!(measure(&[("walk", None, &[0.0]), ("run", None, &[0.0])]), [None, None]);
        assert_eq!(measure(&[("walk", None, &[0.3]), ("run", None, &[0.5])]), [None, None]);
    }
}
