//! `[[expect]]`: published values and orderings, checked against what the experiment runs.

use super::Scope;
use super::components::ids;
use super::matrix::Axes;
use crate::diagnostic::{Diagnostic, list};
use crate::experiment::Combination;
use crate::fields::{self, Fields};
use crate::tree::Node;
use crate::{Aim, AttackSpec, Claim, Expectation, Metric, Number, Relation, Selector, ThreatSpec};

/// What expectations can be about.
pub(super) struct Subjects<'a> {
    pub(super) axes: Axes<'a>,
    pub(super) combinations: &'a [Combination],
    pub(super) seeds: &'a [u64],
    /// Whether all of this is free of mistakes, so that what is missing is missing indeed.
    pub(super) sound: bool,
}

impl Subjects<'_> {
    /// The attack that is meant, where it is a single one.
    fn attack(&self, aim: &Aim) -> Option<&AttackSpec> {
        let Aim::Attack(id) = aim else { return None };
        self.axes.attacks.iter().find(|attack| attack.id == *id)?.item.as_ref()
    }
}

/// The keys of a selector, as far as they are written.
#[derive(Clone, Default)]
struct Written<'a> {
    model: Option<&'a Node>,
    stack: Option<&'a Node>,
    attack: Option<&'a Node>,
    threat: Option<&'a Node>,
    eps: Option<&'a Node>,
    seed: Option<&'a Node>,
}

impl<'a> Written<'a> {
    fn read(fields: &mut Fields<'a>) -> Self {
        let mut node = |key| fields.node(key);
        Self {
            model: node("model"),
            stack: node("stack"),
            attack: node("attack"),
            threat: node("threat"),
            eps: node("eps"),
            seed: node("seed"),
        }
    }

    /// What is not written is as in another selector.
    fn or(self, other: Self) -> Self {
        Self {
            model: self.model.or(other.model),
            stack: self.stack.or(other.stack),
            attack: self.attack.or(other.attack),
            threat: self.threat.or(other.threat),
            eps: self.eps.or(other.eps),
            seed: self.seed.or(other.seed),
        }
    }
}

impl Scope<'_> {
    /// Reads the expectations.
    pub(super) fn expectations(&mut self, top: &mut Fields<'_>, subjects: &Subjects<'_>) -> Vec<Expectation> {
        let nodes = self.elements(top, "expect");
        nodes.iter().filter_map(|node| self.expectation(node, subjects)).collect()
    }

    fn expectation(&mut self, node: &Node, subjects: &Subjects<'_>) -> Option<Expectation> {
        let mut fields = Fields::of(node, &mut self.diagnostics)?;
        let written = Written::read(&mut fields);
        let metric = fields.required("metric", &mut self.diagnostics);
        let metric = metric.and_then(|node| {
            fields::read(node, |node| fields::named(node, &Metric::ALL, |metric| metric.name()), &mut self.diagnostics)
        });
        let source = fields.text("source", &mut self.diagnostics).map(str::to_owned);
        let value = fields.node("value");
        let orders = [(Relation::Above, fields.node("above")), (Relation::Below, fields.node("below"))];
        let orders: Vec<_> = orders.into_iter().filter_map(|(relation, node)| Some((relation, node?))).collect();
        let (selector, claim) = match (metric, value, orders.as_slice()) {
            (Some(metric), Some(value), []) => {
                let claim = self.value_claim(value, metric, &mut fields);
                (self.selector(written, metric, true, &fields.place, subjects), claim)
            }
            (Some(metric), None, [(relation, other)]) => {
                let claim = self.order_claim(*relation, other, &written, metric, &mut fields, subjects);
                (self.selector(written, metric, false, &fields.place, subjects), claim)
            }
            (None, ..) => return None,
            _ => {
                let message = "an expectation has either `value` and `tolerance`, or `above`, or `below`";
                self.diagnostics.push(Diagnostic::at(&fields.place, message));
                return None;
            }
        };
        if let Some((selector, metric)) = selector.as_ref().zip(metric) {
            self.check_metric(subjects, metric, &selector.attack, &fields.place);
        }
        fields.finish(&mut self.diagnostics);
        Some(Expectation { selector: selector?, metric: metric?, claim: claim?, source })
    }

    fn value_claim(&mut self, value: &Node, metric: Metric, fields: &mut Fields<'_>) -> Option<Claim> {
        let most = if metric.is_rate() { 1.0 } else { f64::INFINITY };
        let within = |node| fields::number_within(node, 0.0, most).map(|number| number.value());
        let value = fields::read(value, within, &mut self.diagnostics);
        let tolerance = fields.required("tolerance", &mut self.diagnostics);
        let tolerance = tolerance.and_then(|node| fields::read(node, within, &mut self.diagnostics));
        let samples = fields.read("samples", |node| fields::count(node, 1, i64::MAX as u64), &mut self.diagnostics);
        Some(Claim::Value { value: value?, tolerance: tolerance?, samples })
    }

    fn order_claim(
        &mut self,
        relation: Relation,
        other: &Node,
        written: &Written<'_>,
        metric: Metric,
        fields: &mut Fields<'_>,
        subjects: &Subjects<'_>,
    ) -> Option<Claim> {
        let margin = |node| fields::number_within(node, 0.0, f64::INFINITY).map(|number| number.value());
        let margin = fields.read("margin", margin, &mut self.diagnostics).unwrap_or(0.0);
        let factor = self.factor(metric, fields);
        let from = fields.node("from-eps");
        let mut inner = Fields::of(other, &mut self.diagnostics)?;
        let combined = Written::read(&mut inner).or(written.clone());
        let other = self.selector(combined, metric, false, &inner.place, subjects)?;
        inner.finish(&mut self.diagnostics);
        let threat = subjects.axes.threats.iter().find(|threat| Some(&threat.id) == other.threat.as_ref());
        let size = threat.and_then(|threat| threat.item.as_ref()).map_or(1.0, |threat| threat.unit.size);
        let from_eps = from.and_then(|node| fields::read(node, fields::number, &mut self.diagnostics));
        Some(Claim::Order { relation, other, from_eps: from_eps.map(|eps| eps.scaled(size)), factor: factor?, margin })
    }

    /// What the other quantity is multiplied by.
    fn factor(&mut self, metric: Metric, fields: &mut Fields<'_>) -> Option<f64> {
        let Some(node) = fields.node("factor") else { return Some(1.0) };
        if metric.is_rate() {
            let message = format!("`{}` is compared without a factor", metric.name());
            self.diagnostics
                .push(Diagnostic::at(&node.place, message).help("say by how much it must be above or below: `margin`"));
            return None;
        }
        let within = |node| fields::number_within(node, 0.0, f64::INFINITY).map(|number| number.value());
        fields::read(node, within, &mut self.diagnostics)
    }

    /// Completes a selector; `exact` ones mean a single number, so that a list of eps leaves a choice to make.
    fn selector(
        &mut self,
        written: Written<'_>,
        metric: Metric,
        exact: bool,
        place: &crate::Place,
        subjects: &Subjects<'_>,
    ) -> Option<Selector> {
        let Axes { models, stacks, attacks, threats } = &subjects.axes;
        let (models, stacks, attacks, threats) = (ids(models), ids(stacks), ids(attacks), ids(threats));
        let model = self.pick(written.model, "model", &models, place);
        let stack_default = if stacks.len() == 1 { stacks[0] } else { "none" };
        let stack = match written.stack {
            None if stacks.contains(&stack_default) => Some(stack_default.to_owned()),
            node => self.pick(node, "stack", &stacks, place),
        };
        let is_clean = metric == Metric::CleanAccuracy;
        let clean_by_default = is_clean && written.attack.is_none();
        let aim = if clean_by_default { Some(Aim::Clean) } else { self.aim(written.attack, &attacks, place) };
        let seed = written
            .seed
            .and_then(|node| fields::read(node, |node| fields::count(node, 0, i64::MAX as u64), &mut self.diagnostics));
        if let Some((seed, node)) =
            seed.zip(written.seed).filter(|(seed, _)| subjects.sound && !subjects.seeds.contains(seed))
        {
            self.diagnostics
                .push(Diagnostic::at(&node.place, format!("the experiment is not run with the seed {seed}")));
        }
        let (model, stack, aim) = (model?, stack?, aim?);
        if aim == Aim::Clean {
            self.check_runs(subjects, &model, &stack, &aim, None, place);
            return Some(Selector { model, stack, attack: aim, threat: None, eps: None, seed });
        }
        let threat = self.pick(written.threat, "threat", &threats, place)?;
        self.check_runs(subjects, &model, &stack, &aim, Some(&threat), place);
        let spec = subjects.axes.threats.iter().find(|other| other.id == threat)?.item.as_ref()?;
        let reach = subjects.attack(&aim).and_then(|attack| attack.reach(spec));
        let eps = self.eps(written.eps, spec, exact && metric != Metric::MedianDistance, reach, place)?;
        Some(Selector { model, stack, attack: aim, threat: Some(threat), eps, seed })
    }

    fn aim(&mut self, node: Option<&Node>, attacks: &[&str], place: &crate::Place) -> Option<Aim> {
        match node.and_then(Node::text) {
            Some("clean") => Some(Aim::Clean),
            Some("worst-case") => Some(Aim::WorstCase),
            _ => self.pick(node, "attack", attacks, place).map(Aim::Attack),
        }
    }

    /// Complains where attacks are taken for proofs, or proofs for attacks.
    fn check_metric(&mut self, subjects: &Subjects<'_>, metric: Metric, aim: &Aim, place: &crate::Place) {
        let proves = subjects.attack(aim).is_some_and(AttackSpec::is_certificate);
        let complaint = match metric {
            Metric::CertifiedAccuracy if !proves => Some((Metric::RobustAccuracy, "proves nothing")),
            Metric::RobustAccuracy | Metric::SuccessRate if proves => {
                Some((Metric::CertifiedAccuracy, "asks for proofs and attacks nothing"))
            }
            _ => None,
        };
        if let Some((other, reason)) = complaint {
            let message = format!("`{}` {reason}", aim.name());
            self.diagnostics.push(Diagnostic::at(place, message).help(format!("write metric = \"{}\"", other.name())));
        }
    }

    /// A name that is written, or the only one there is.
    fn pick(&mut self, node: Option<&Node>, what: &str, known: &[&str], place: &crate::Place) -> Option<String> {
        match (node, known) {
            (Some(node), _) => self.name(node, what, known).map(str::to_owned),
            (None, [only]) => Some((*only).to_owned()),
            (None, []) => None,
            (None, _) => {
                let message = format!("the expectation does not say which {what} it means");
                self.diagnostics.push(Diagnostic::at(place, message).help(format!("there is {}", list(known))));
                None
            }
        }
    }

    /// The radius, one of the threat model or, where smallest distances are known, any up to `reach`; the outer option is
    /// empty after a mistake.
    #[expect(clippy::option_option, reason = "a mistake is not the same as no radius")]
    fn eps(
        &mut self,
        node: Option<&Node>,
        threat: &ThreatSpec,
        exact: bool,
        reach: Option<f64>,
        place: &crate::Place,
    ) -> Option<Option<Number>> {
        let known: Vec<&str> = threat.eps.iter().map(Number::text).collect();
        let Some(node) = node else {
            return match threat.eps.as_slice() {
                [only] => Some(Some(only.clone())),
                _ if !exact => Some(None),
                _ => {
                    let message = "the expectation does not say which eps it means";
                    self.diagnostics.push(Diagnostic::at(place, message).help(format!("there is {}", list(&known))));
                    None
                }
            };
        };
        let eps = fields::read(node, fields::number, &mut self.diagnostics)?.scaled(threat.unit.size);
        let listed = threat.eps.iter().find(|other| other.value() == eps.value());
        if listed.is_none() && reach.is_none_or(|reach| eps.value() > threat.norm.tolerance(reach)) {
            let (message, help) = match reach {
                None => (format!("the threat `{}` has no eps {eps}", threat.id), format!("there is {}", list(&known))),
                Some(reach) => (
                    format!("the search ends at {} in {}, and tries nothing at eps {eps}", reach, threat.norm.name()),
                    "let it go on to larger radii, or expect something at a smaller eps".to_owned(),
                ),
            };
            self.diagnostics.push(Diagnostic::at(&node.place, message).help(help));
            return None;
        }
        Some(Some(listed.cloned().unwrap_or(eps)))
    }

    fn check_runs(
        &mut self,
        subjects: &Subjects<'_>,
        model: &str,
        stack: &str,
        aim: &Aim,
        threat: Option<&str>,
        place: &crate::Place,
    ) {
        let Axes { models, stacks, attacks, threats } = &subjects.axes;
        let runs = !subjects.sound
            || subjects.combinations.iter().any(|combination| {
                models[combination.model].id == model
                    && stacks[combination.stack].id == stack
                    && threat.is_none_or(|threat| threats[combination.threat].id == threat)
                    && !matches!(aim, Aim::Attack(id) if attacks[combination.attack].id != *id)
            });
        if !runs {
            let message = format!("the expectation is about cells that are not run: {}", aim.name());
            let threat = threat.map(|threat| format!(", threat `{threat}`")).unwrap_or_default();
            let label = format!("model `{model}`, stack `{stack}`{threat}");
            self.diagnostics
                .push(Diagnostic::at(place, message).label(label).help("[matrix] or `threats` leaves them out"));
        }
    }
}
