//! The results of a plan, put together from its cells: one group per attack, defended model, threat model and seed.

use std::collections::BTreeMap;

use realsafe_plan::{Access, Cell, Goal, Member, Norm, Number, Search, Success, Unit};

use super::judged::Judged;
use super::row::About;
use crate::grouping::grouped;
use crate::{MemberRecord, Outcome, Result, Shares, Spent, Status, Store, TracePoint};

/// The attack of worst-case rows: a sample is broken when any attack breaks it.
pub const WORST_CASE: &str = "worst-case";

/// What a group is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) experiment: String,
    pub(crate) model: String,
    pub(crate) defense: String,
    pub(crate) attack: String,
    pub(crate) threat: String,
    pub(crate) norm: Norm,
    /// What radii and distances are told in.
    pub(crate) unit: Unit,
    pub(crate) goal: Goal,
}

/// All chunks of one attack on one defended model, at one eps (or at none, where the distance is minimised).
pub(crate) struct Group {
    pub(crate) subject: Subject,
    pub(crate) eps: Option<Number>,
    pub(crate) seed: u64,
    /// Whether it is a certificate: then distances are radii within which nothing is misclassified.
    pub(crate) is_certificate: bool,
    /// What the attack may ask of the victim.
    pub(crate) access: Access,
    /// The gradients of the victim that it may take per sample, with all restarts; means over draws are one.
    pub(crate) gradients: u64,
    pub(crate) restarts: u32,
    /// Which images decide.
    pub(crate) success: Success,
    /// How many of its steps are recorded.
    pub(crate) recorded_steps: usize,
    /// Whether the victim may reject images.
    pub(crate) rejects: bool,
    /// How it searches for the smallest radius, where it does.
    pub(crate) search: Option<Search>,
    /// Of the cells that are there, in plan order.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) trace: Vec<TracePoint>,
    /// The attacks of a chain, in order; empty for a single attack.
    pub(crate) members: Vec<GroupMember>,
    /// Samples whose first gradient was zero or not a number.
    pub(crate) zero_gradients: u64,
    /// Clean images that the victim answered otherwise when it was asked again.
    pub(crate) random_answers: u64,
    pub(crate) samples_expected: u64,
    pub(crate) cells: u64,
    pub(crate) cells_expected: u64,
    pub(crate) warnings: Vec<String>,
}

/// What an attack of a chain did in all cells of a group.
pub(crate) struct GroupMember {
    pub(crate) id: String,
    /// What it may ask of the victim.
    pub(crate) access: Access,
    /// Samples that the members before it left.
    pub(crate) attacked: u64,
    /// Those of them that it broke.
    pub(crate) broken: u64,
    pub(crate) spent: Spent,
}

impl GroupMember {
    fn of(member: &Member) -> Self {
        let traits = member.chosen.component.attack();
        Self {
            id: member.chosen.id.clone(),
            access: traits.map_or(Access::Nothing, |traits| traits.access),
            attacked: 0,
            broken: 0,
            spent: Spent::default(),
        }
    }

    fn add(&mut self, record: &MemberRecord) {
        self.attacked += record.attacked;
        self.broken += record.broken;
        self.spent = self.spent.plus(record.spent);
    }
}

impl Group {
    /// Loads the cells of a plan, in groups in plan order.
    pub(crate) fn load(cells: &[&Cell], store: &Store) -> Result<Vec<Self>> {
        let of_cell = |cell: &&Cell| (Subject::of(cell).about(cell.threat.eps.as_ref()), cell.seed);
        let groups = grouped(cells.iter().copied(), of_cell).into_iter().map(|(_, cells)| {
            let mut group = Self::of(cells[0]);
            cells.into_iter().try_for_each(|cell| group.add(cell, store.get_numbers(&cell.key)?))?;
            Ok(group)
        });
        groups.collect()
    }

    fn of(cell: &Cell) -> Self {
        let backwards = cell.cost.backwards.checked_div(cell.samples.len() as u64).unwrap_or(0);
        Self {
            subject: Subject::of(cell),
            eps: cell.threat.eps.clone(),
            seed: cell.seed,
            is_certificate: cell.attack.chosen.component.is_certificate(),
            access: cell.attack.access(),
            gradients: backwards / u64::from(cell.attack.eot.max(1)),
            restarts: cell.attack.restarts,
            success: cell.attack.success,
            recorded_steps: cell.attack.record.len(),
            rejects: cell.rejects(),
            search: cell.attack.search.clone(),
            outcomes: Vec::new(),
            trace: Vec::new(),
            members: cell.attack.members.iter().map(GroupMember::of).collect(),
            zero_gradients: 0,
            random_answers: 0,
            samples_expected: 0,
            cells: 0,
            cells_expected: 0,
            warnings: Vec::new(),
        }
    }

    /// The largest radius at which adversarials were looked for.
    pub(crate) fn largest_radius(&self) -> f64 {
        match &self.eps {
            Some(eps) => eps.value(),
            None => self.search.as_ref().map_or(f64::INFINITY, Search::largest),
        }
    }

    /// Whether adversarials were looked for at a radius, so that what is not broken there is robust.
    pub(crate) fn reaches(&self, radius: f64) -> bool {
        radius <= self.subject.norm.tolerance(self.largest_radius())
    }

    /// Whether all cells are there and no sample ended in an error.
    pub(crate) fn is_certain(&self) -> bool {
        self.cells == self.cells_expected && !self.outcomes.iter().any(|outcome| outcome.status.is_error())
    }

    fn add(&mut self, cell: &Cell, record: Option<crate::CellRecord>) -> Result<()> {
        self.cells_expected += 1;
        self.samples_expected += cell.samples.len() as u64;
        let Some(record) = record else {
            return Ok(());
        };
        self.cells += 1;
        self.outcomes.extend(record.outcomes);
        self.trace.extend(record.trace);
        self.zero_gradients += record.zero_gradients;
        self.random_answers += record.random_answers;
        // A cell that failed has none.
        self.members.iter_mut().zip(&record.members).for_each(|(member, record)| member.add(record));
        for warning in record.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        Ok(())
    }

    /// How every sample counts: as its status says, or, where the distance is minimised, at a radius, which may be infinite.
    /// A certificate counts as broken what is not proven.
    pub(crate) fn judge(&self, radius: f64) -> Vec<Judged> {
        self.outcomes.iter().map(|outcome| self.judge_sample(outcome, radius)).collect()
    }

    fn judge_sample(&self, outcome: &Outcome, radius: f64) -> Judged {
        let best = self.distance(outcome);
        // As inside a ball: rounding may put an image a little beyond it.
        let is_within = best.is_finite() && best <= self.subject.norm.tolerance(radius);
        let (broken, pred) = match (outcome.status, &self.eps) {
            (status, _) if status.is_error() => (None, None),
            (status, Some(_)) => (Some(status == Status::Broken), outcome.adv_pred),
            (_, None) if is_within => (Some(true), outcome.adv_pred),
            (_, None) => (Some(false), outcome.clean_pred),
        };
        let proven = |shares: Shares| match broken {
            // What is proven does not hang by the draws.
            Some(broken) if self.is_certificate => Shares { robust: f64::from(u8::from(!broken)), ..shares },
            _ => shares,
        };
        Judged {
            sample: outcome.sample,
            label: outcome.label,
            target: outcome.target,
            clean_pred: outcome.clean_pred,
            pred: pred.filter(|_| !self.is_certificate),
            broken,
            shares: outcome.shares.map(proven),
            distance: self.subject.unit.told(best),
            spent: (!outcome.status.is_failure()).then_some(outcome.spent),
        }
    }

    /// The distance of the adversarial in the norm of the threat model; infinite without one. Of a certificate, the radius.
    pub(crate) fn distance(&self, outcome: &Outcome) -> f64 {
        match (outcome.status, self.subject.norm) {
            (Status::Uncertified, _) => 0.0,
            (Status::Broken | Status::Certified, Norm::Linf) => outcome.dist_linf,
            (Status::Broken | Status::Certified, Norm::L2) => outcome.dist_l2,
            (Status::Broken | Status::Certified, Norm::L1) => outcome.dist_l1,
            (Status::Broken | Status::Certified, Norm::L0) => outcome.dist_l0,
            _ => f64::INFINITY,
        }
    }
}

/// The smallest distance at which any of some attacks has an adversarial, sample by sample, in the norm; infinite where none has.
pub(crate) fn nearest<'a>(attacks: impl IntoIterator<Item = &'a Group>) -> BTreeMap<u32, f64> {
    let mut nearest: BTreeMap<u32, f64> = BTreeMap::new();
    for attack in attacks {
        for outcome in &attack.outcomes {
            let distance = nearest.entry(outcome.sample).or_insert(f64::INFINITY);
            *distance = distance.min(attack.distance(outcome));
        }
    }
    nearest
}

impl Subject {
    fn of(cell: &Cell) -> Self {
        Self {
            experiment: cell.experiment.clone(),
            model: cell.model.id.clone(),
            defense: cell.stack_name(),
            attack: cell.attack.chosen.id.clone(),
            threat: cell.threat.id.clone(),
            norm: cell.threat.norm,
            unit: cell.threat.unit,
            goal: cell.threat.goal,
        }
    }

    /// What rows about it at a radius begin with.
    pub(crate) fn about(&self, eps: Option<&Number>) -> About {
        About {
            experiment: self.experiment.clone(),
            model: self.model.clone(),
            defense: self.defense.clone(),
            attack: self.attack.clone(),
            threat: self.threat.clone(),
            norm: self.unit.name.to_owned(),
            goal: self.goal.name().to_owned(),
            eps: eps.map(|eps| eps.text().to_owned()).unwrap_or_default(),
        }
    }

    /// The worst case over the attacks on the same defended model in the same threat model.
    pub(crate) fn worst_case(&self) -> Self {
        Self { attack: WORST_CASE.to_owned(), ..self.clone() }
    }

    /// Whether both are about the same defended model in the same threat model, whatever the attack.
    pub(crate) fn same_victim(&self, other: &Self) -> bool {
        let Self { experiment, model, defense, attack: _, threat, norm: _, unit: _, goal: _ } = self;
        (experiment, model, defense, threat) == (&other.experiment, &other.model, &other.defense, &other.threat)
    }
}
