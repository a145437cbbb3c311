//! `members.csv`: what each attack of a chain contributed, in the order in which they ran; absent without chains.
//!
//! A row per member, by attack, defended model, threat model, radius and seed. A member attacks what the members before
//! it left, and `broken` is what it broke of that (of randomised victims, by the majority of each sample's draws): its marginal contribution in this order. `robust_accuracy` is what is
//! left after it, of all samples, with errors as in the summary; after the last member it is that of the chain. Costs
//! are sums over all samples.

use serde::Serialize;

use super::group::{Group, GroupMember};
use super::rate::Rate;
use super::row::{About, Row};
use crate::grouping::grouped;
use crate::statistics::mean;
use crate::{Outcome, Spent, Status};

/// A row of `members.csv`.
pub type MemberRow = Row<MemberShare>;

/// What a row of `members.csv` says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemberShare {
    /// The seed.
    pub seed: u64,
    /// The place of the member in the chain, from 1 on.
    pub place: u64,
    /// The member.
    pub member: String,
    /// Samples that the members before it left.
    pub attacked: u64,
    /// Those of them that it broke.
    pub broken: u64,
    /// Their share of all samples.
    pub broken_rate: Option<f64>,
    /// Share of all samples that are robust after it.
    pub robust_accuracy: Option<f64>,
    /// Lower end of its 95 % interval, with all errors broken.
    pub robust_accuracy_low: Option<f64>,
    /// Upper end of its 95 % interval, with all errors robust.
    pub robust_accuracy_high: Option<f64>,
    /// Robust accuracy with all errors broken.
    pub robust_accuracy_low_errors: Option<f64>,
    /// Robust accuracy with all errors robust.
    pub robust_accuracy_high_errors: Option<f64>,
    /// Images that it sent to the defended system.
    pub queries: u64,
    /// Forward passes of the network.
    pub forwards: u64,
    /// Backward passes of the network.
    pub backwards: u64,
    /// Forward passes of surrogates.
    pub surrogate_forwards: u64,
    /// Backward passes of surrogates.
    pub surrogate_backwards: u64,
}

/// The rows of all groups of an experiment that are chains, as far as their cells are there.
pub(crate) fn member_rows(groups: &[Group]) -> Vec<MemberRow> {
    let there = groups.iter().filter(|group| !group.outcomes.is_empty());
    there.flat_map(|group| (0..group.members.len()).map(|place| row(group, place))).collect()
}

fn row(group: &Group, place: usize) -> MemberRow {
    let GroupMember { id, attacked, broken, spent, .. } = &group.members[place];
    let Spent { queries, forwards, backwards, surrogate_forwards, surrogate_backwards } = *spent;
    let left = Rate::of(group.outcomes.iter().map(|outcome| is_left(group, outcome, place)));
    let (interval, bounds) = (left.interval(), left.bounds());
    let values = MemberShare {
        seed: group.seed,
        place: place as u64 + 1,
        member: id.clone(),
        attacked: *attacked,
        broken: *broken,
        broken_rate: (left.total > 0).then(|| *broken as f64 / left.total as f64),
        robust_accuracy: left.value(),
        robust_accuracy_low: interval.map(|(low, _)| low),
        robust_accuracy_high: interval.map(|(_, high)| high),
        robust_accuracy_low_errors: bounds.map(|(low, _)| low),
        robust_accuracy_high_errors: bounds.map(|(_, high)| high),
        queries,
        forwards,
        backwards,
        surrogate_forwards,
        surrogate_backwards,
    };
    Row { about: group.subject.about(group.eps.as_ref()), values }
}

/// Whether a sample is robust after the member at a place; none after an error.
fn is_left(group: &Group, outcome: &Outcome, place: usize) -> Option<bool> {
    match outcome.status {
        Status::Robust => Some(true),
        Status::Broken => {
            let broken_by = outcome.broken_by.as_ref();
            let breaker = broken_by.and_then(|id| group.members.iter().position(|member| member.id == *id));
            // Nobody breaks a clean image that is adversarial already.
            Some(breaker.is_some_and(|breaker| breaker > place))
        }
        _ => None,
    }
}

/// A chain on one defended model at one radius: its members in order, each with a row per seed.
pub(crate) struct Chain<'a> {
    pub(crate) about: About,
    pub(crate) stages: Vec<Stage<'a>>,
}

/// The rows of one member, one per seed.
pub(crate) struct Stage<'a>(Vec<&'a MemberShare>);

impl Stage<'_> {
    /// The name of the member.
    pub(crate) fn member(&self) -> &str {
        &self.0[0].member
    }

    /// The mean over the seeds, where all of them have a value.
    pub(crate) fn mean(&self, of: impl Fn(&MemberShare) -> Option<f64>) -> Option<f64> {
        mean(&self.0.iter().map(|row| of(row)).collect::<Option<Vec<f64>>>()?)
    }
}

/// The rows of all seeds together, chain by chain.
pub(crate) fn chains<'a>(rows: &'a [MemberRow]) -> Vec<Chain<'a>> {
    let chain = |(about, rows): (About, Vec<&'a MemberRow>)| {
        let stages = grouped(rows.into_iter().map(|row| &row.values), |values| values.place);
        Chain { about, stages: stages.into_iter().map(|(_, rows)| Stage(rows)).collect() }
    };
    grouped(rows, |row| row.about.clone()).into_iter().map(chain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;
    use crate::fixture::{failure_of, plan, record_of_chain};

    const SPEC: &str = r#"
        experiment = { id = "trial", seeds = [1, 2] }
        data = { use = "dots", samples = 8 }
        run = { chunk = 4 }
        model = [{ use = "net" }]
        threat = { norm = "linf", eps = "1/4" }
        attack = [{ use = "chain", members = [{ use = "climb" }, { use = "step" }] }, { use = "climb" }]
    "#;

    /// The rows of the chain, given the letters of its cells: two of each seed.
    fn rows(letters: [&str; 4]) -> Vec<MemberRow> {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let plan = plan(&[SPEC]);
        let cells: Vec<_> = plan.cells.iter().collect();
        let chained = cells.iter().filter(|cell| cell.attack.chosen.id == "chain");
        for (cell, letters) in chained.zip(letters).filter(|(_, letters)| !letters.is_empty()) {
            store.put(cell, &record_of_chain(cell.samples[0], letters)).unwrap();
        }
        member_rows(&Group::load(&cells, &store).unwrap())
    }

    #[test]
    fn members_are_put_together_over_the_cells() {
        let rows = rows(["cbsr", "bbrs", "bbbb", "brrr"]);
        let found: Vec<_> = rows
            .iter()
            .map(|Row { values: row, .. }| {
                (row.seed, row.place, row.member.as_str(), row.attacked, row.broken, row.robust_accuracy)
            })
            .collect();
        assert_eq!(
            found,
            [
                (1, 1, "climb", 7, 3, Some(0.5)),
                (1, 2, "step", 4, 2, Some(0.25)),
                (2, 1, "climb", 8, 5, Some(0.375)),
                (2, 2, "step", 3, 0, Some(0.375)),
            ]
        );
        let Row { about, values: step } = &rows[1];
        assert_eq!((step.queries, step.forwards, step.backwards, step.broken_rate), (8, 12, 4, Some(0.25)));
        assert_eq!((about.attack.as_str(), about.eps.as_str(), about.norm.as_str()), ("chain", "1/4", "linf"));
        assert!(step.robust_accuracy_low.unwrap() < 0.25 && step.robust_accuracy_high.unwrap() > 0.25);

        let chains = chains(&rows);
        let means: Vec<_> =
            chains[0].stages.iter().map(|stage| (stage.member(), stage.mean(|row| row.robust_accuracy))).collect();
        assert_eq!((chains.len(), means), (1, vec![("climb", Some(0.4375)), ("step", Some(0.3125))]));
    }

    #[test]
    fn errors_leave_open_what_is_left() {
        let rows = rows(["bsrf", "brrr", "", ""]);
        let found: Vec<_> = rows
            .iter()
            .map(|Row { values: row, .. }| {
                (row.robust_accuracy, row.robust_accuracy_low_errors, row.robust_accuracy_high_errors)
            })
            .collect();
        assert_eq!(found, [(None, Some(0.625), Some(0.75)), (None, Some(0.5), Some(0.625))]);
        assert_eq!((rows[0].values.attacked, rows[1].values.attacked), (8, 6));
    }

    #[test]
    fn a_cell_that_failed_has_no_members() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let plan = plan(&[&SPEC.replace("samples = 8", "samples = 2")]);
        store.put(&plan.cells[0], &failure_of(0, Status::TimedOut)).unwrap();
        let rows = member_rows(&Group::load(&plan.cells.iter().collect::<Vec<_>>(), &store).unwrap());
        let found: Vec<_> =
            rows.iter().map(|row| (row.values.attacked, row.values.robust_accuracy_high_errors)).collect();
        assert_eq!(found, [(0, Some(1.0)), (0, Some(1.0))]);
    }
}
