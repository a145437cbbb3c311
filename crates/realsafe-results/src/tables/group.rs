//! The results of a plan, put together from its cells: one group per attack, defended model, threat model and seed.

use std::collections::BTreeMap;

use realsafe_plan::{Access, Cell, Goal, Member, Norm, Number, REJECTED, Search};

use crate::{MemberRecord, Outcome, Result, Shares, Spent, Status, Store, TracePoint};

/// What a group is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subject {
    pub(crate) experiment: String,
    pub(crate) model: String,
    pub(crate) defense: String,
    pub(crate) attack: String,
    pub(crate) threat: String,
    pub(crate) norm: Norm,
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
    /// The gradients of the victim that it may take per sample, with all restarts.
    pub(crate) gradients: u64,
    pub(crate) restarts: u32,
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
    pub(crate) queries: u64,
    pub(crate) forwards: u64,
    pub(crate) backwards: u64,
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

    fn share(&self, answer: Option<bool>, of: fn(Shares) -> f64) -> Option<f64> {
        answer.map(|answer| self.shares.map_or_else(|| f64::from(u8::from(answer)), of))
    }
}

impl Group {
    /// Loads the cells of a plan, in groups in plan order.
    pub(crate) fn load(cells: &[&Cell], store: &Store) -> Result<Vec<Self>> {
        let mut groups: Vec<Self> = Vec::new();
        let mut places = BTreeMap::new();
        for cell in cells {
            let new = Self::of(cell);
            let name = (new.subject.key(), new.eps.as_ref().map(|eps| eps.text().to_owned()), new.seed);
            let place = *places.entry(name).or_insert(groups.len());
            if place == groups.len() {
                groups.push(new);
            }
            groups[place].add(store.get_numbers(&cell.key)?);
        }
        Ok(groups)
    }

    fn of(cell: &Cell) -> Self {
        let subject = Subject {
            experiment: cell.experiment.clone(),
            model: cell.model.id.clone(),
            defense: cell.stack_name(),
            attack: cell.attack.chosen.id.clone(),
            threat: cell.threat.id.clone(),
            norm: cell.threat.norm,
            goal: cell.threat.goal,
        };
        Self {
            subject,
            eps: cell.threat.eps.clone(),
            seed: cell.seed,
            is_certificate: cell.attack.chosen.component.is_certificate(),
            access: cell.attack.access(),
            gradients: cell.cost.backwards.checked_div(cell.samples.len() as u64).unwrap_or(0),
            restarts: cell.attack.restarts,
            rejects: cell.rejects(),
            search: cell.attack.search.clone(),
            outcomes: Vec::new(),
            trace: Vec::new(),
            members: cell.attack.members.iter().map(GroupMember::of).collect(),
            zero_gradients: 0,
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

    fn add(&mut self, record: Option<crate::CellRecord>) {
        self.cells_expected += 1;
        let Some(record) = record else {
            return;
        };
        self.cells += 1;
        self.outcomes.extend(record.outcomes);
        self.trace.extend(record.trace);
        self.zero_gradients += record.zero_gradients;
        // A cell that failed has none.
        self.members.iter_mut().zip(&record.members).for_each(|(member, record)| member.add(record));
        for warning in record.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// How every sample counts: as its status says, or, where the distance is minimised, at a radius. A certificate counts
    /// as broken what is not proven.
    pub(crate) fn judge(&self, radius: f64) -> Vec<Judged> {
        self.outcomes.iter().map(|outcome| self.judge_sample(outcome, radius)).collect()
    }

    fn judge_sample(&self, outcome: &Outcome, radius: f64) -> Judged {
        let best = self.distance(outcome);
        let (broken, pred) = match (outcome.status, &self.eps) {
            (status, _) if status.is_error() => (None, None),
            (status, Some(_)) => (Some(status == Status::Broken), outcome.adv_pred),
            // As inside a ball of that radius: rounding may put an image a little beyond it.
            (_, None) if best > self.subject.norm.tolerance(radius) => (Some(false), outcome.clean_pred),
            (_, None) => (Some(true), outcome.adv_pred),
        };
        let proven = |shares: Shares| match broken {
            // What is proven does not hang by the draws.
            Some(broken) if self.is_certificate => Shares { robust: f64::from(u8::from(!broken)), ..shares },
            _ => shares,
        };
        let spent = &outcome.spent;
        Judged {
            sample: outcome.sample,
            label: outcome.label,
            target: outcome.target,
            clean_pred: outcome.clean_pred,
            pred: pred.filter(|_| !self.is_certificate),
            broken,
            shares: outcome.shares.map(proven),
            distance: best,
            queries: spent.queries,
            forwards: spent.forwards,
            backwards: spent.backwards,
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

impl Subject {
    /// Whether both are about the same defended model in the same threat model, whatever the attack.
    pub(crate) fn same_victim(&self, other: &Self) -> bool {
        let Self { experiment, model, defense, attack: _, threat, norm, goal } = self;
        (experiment, model, defense, threat, norm, goal)
            == (&other.experiment, &other.model, &other.defense, &other.threat, &other.norm, &other.goal)
    }

    /// Tells subjects apart.
    pub(crate) fn key(&self) -> [String; 7] {
        let Self { experiment, model, defense, attack, threat, norm, goal } = self;
        [experiment, model, defense, attack, threat, norm.name(), goal.name()].map(|part: &str| part.to_owned())
    }
}

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

    /// The 95 % interval, widened by the errors. Shares of draws vary less between samples than a yes or no of the same mean, so
    /// that for randomised victims it is rather too wide.
    pub(crate) fn interval(self) -> Option<(f64, f64)> {
        let (low, _) = crate::statistics::wilson(self.yes, self.total);
        let (_, high) = crate::statistics::wilson(self.yes + self.errors as f64, self.total);
        (self.total > 0).then_some((low, high))
    }
}
