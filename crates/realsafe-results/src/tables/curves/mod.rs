//! `curves.csv`: robust accuracy against eps, queries and iterations.
//!
//! - `eps`: a point at 0, from the clean predictions, and one per eps of the list; for attacks that minimise the distance an exact step function instead, with
//!   a point at 0, at every distance and at every eps of the list. Of attacks that search for the smallest radius (`search`
//!   in the spec) it is the lower envelope over all radii that were tried: a sample counts as broken from the smallest
//!   success on, although the attack might fail at a larger radius. `envelope` marks the rows of such curves. Where several
//!   attacks run, `worst-case` has their worst case: at 0 and at every eps of the list, as in the summary; or, where one of them minimises the distance,
//!   an exact step function, in which a sample counts as broken from its nearest adversarial on, whichever attack found it. Certificates have exact
//!   step functions as well, which are lower bounds of the accuracy; `certified` marks their rows.
//! - `queries`: a step function with a point at 0, at every number of queries that first broke a sample, and at the most
//!   that any sample took. Where the distance is minimised, a sample counts as broken at an eps as soon as it is known to have an
//!   adversarial so near: at recorded steps and at the end, so that there is no such curve without records. Where only final images count (`success = "last"`), the clean accuracy at 0
//!   and what is left in the end are known, and nothing between. Left out for attacks that ask the victim nothing, and for randomised victims.
//! - `iterations`: the clean accuracy at 0, and a point per recorded step, of randomised victims judged on one draw. A sample without a record at a step left the attack before it, and counts
//!   as it ended.
//!
//! `x` is in the unit of the threat model where it is eps. `steps` marks curves whose rate stays what it is up to the next row; others are known at their points only.
//! Errors leave the rate empty and widen the interval, as in the summary.

mod against_cost;
mod against_eps;

use realsafe_plan::{CurveAxis, Experiment, Number};
use serde::Serialize;

use self::against_cost::{iterations_curve, queries_curve};
use self::against_eps::eps_curves;
pub(crate) use self::against_eps::worst_case_rows;
use super::group::{Group, Subject};
use super::judged::Judged;
use super::rate::Rate;
use super::row::Row;

/// A row of `curves.csv`: the radius is that of the whole curve, and empty where it is the axis.
pub(crate) type CurveRow = Row<CurvePoint>;

/// What a row of `curves.csv` says.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CurvePoint {
    pub(crate) seed: u64,
    pub(crate) x_axis: &'static str,
    pub(crate) x: f64,
    pub(crate) rate: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Whether the rate is a lower envelope over the radii of a search.
    pub(crate) envelope: bool,
    /// Whether the rate is certified: a lower bound of robust accuracy.
    pub(crate) certified: bool,
    /// Whether the rate stays what it is up to the next point.
    pub(crate) steps: bool,
}

/// Whether curves of an attack are those of a certificate.
pub(crate) fn is_certificate(experiment: &Experiment, attack: &str) -> bool {
    experiment.attacks.iter().any(|spec| spec.choice.chosen.id == attack && spec.is_certificate())
}

/// Whether curves of an attack against eps are lower envelopes over the radii of a search.
pub(crate) fn is_envelope(experiment: &Experiment, attack: &str) -> bool {
    experiment.attacks.iter().any(|spec| spec.choice.chosen.id == attack && spec.search.is_some())
}

/// The curves of one experiment's groups. `radii` gives the eps list of a group that minimises the distance.
pub(crate) fn curve_rows<'a>(groups: &[Group], radii: impl Fn(&Subject) -> &'a [Number]) -> Vec<CurveRow> {
    let mut rows = eps_curves(groups, &radii);
    for group in groups.iter().filter(|group| !group.outcomes.is_empty()) {
        let radii = group.eps.as_ref().map_or_else(|| radii(&group.subject), std::slice::from_ref);
        rows.extend(radii.iter().flat_map(|eps| queries_curve(group, eps)));
        rows.extend(radii.iter().flat_map(|eps| iterations_curve(group, eps)));
    }
    rows
}

/// A curve before its points are known: what its rows have in common.
struct Blank<'a> {
    subject: &'a Subject,
    seed: u64,
    /// The radius; none where it is the axis.
    eps: Option<&'a Number>,
    axis: CurveAxis,
    steps: bool,
}

impl Blank<'_> {
    fn point(&self, x: f64, rate: Rate) -> CurveRow {
        let interval = rate.interval();
        let values = CurvePoint {
            seed: self.seed,
            x_axis: self.axis.name(),
            x,
            rate: rate.value(),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            envelope: false,
            certified: false,
            steps: self.steps,
        };
        Row { about: self.subject.about(self.eps), values }
    }
}

/// The share of samples whose clean image is not what the attacker wants.
fn unattacked(group: &Group, judged: &[Judged]) -> Rate {
    Rate::of_shares(judged.iter().map(|judged| judged.unattacked_share(group.subject.goal)))
}

#[cfg(test)]
mod tests;
