//! `[[attack]]`: the keys that every attack has beside its own parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scope;
use super::components::{Named, Opened, ids};
use crate::diagnostic::{Diagnostic, did_you_mean_or_list};
use crate::fields::{self, Fields};
use crate::tree::{Content, Node};
use crate::{
    Access, AttackChoice, AttackSpec, Budget, Chosen, Component, Ensemble, GradientMode, Kind, Member, Norm,
    StackLayer, Success, Surrogates, ThreatSpec,
};

/// Words that stand for something else where an attack is named.
const RESERVED: [&str; 2] = ["clean", "worst-case"];

impl Scope<'_> {
    /// Reads the attacks.
    pub(super) fn attacks(
        &mut self,
        top: &mut Fields<'_>,
        threats: &[Named<ThreatSpec>],
        defenses: &[Named<StackLayer>],
        models: &[Named<Arc<Chosen>>],
    ) -> Vec<Named<AttackSpec>> {
        top.section("attack", "[[attack]]", &mut self.diagnostics);
        let mut attacks = Vec::new();
        for node in self.elements(top, "attack") {
            attacks.extend(self.attack(node, threats, defenses, models));
        }
        self.check_unique("attack", &attacks, "give one of them another `id`");
        attacks
    }

    fn attack(
        &mut self,
        node: &Node,
        threats: &[Named<ThreatSpec>],
        defenses: &[Named<StackLayer>],
        models: &[Named<Arc<Chosen>>],
    ) -> Option<Named<AttackSpec>> {
        let mut opened = self.open(Kind::Attack, node)?;
        if RESERVED.contains(&opened.id.as_str()) {
            let message = format!("the id `{}` has a meaning of its own", opened.id);
            self.diagnostics.push(Diagnostic::at(&opened.place, message).help("choose another `id`"));
        }
        let traits = opened.component.and_then(Component::attack);
        if opened.component.is_some_and(Component::is_certificate) {
            self.check_certificate(&mut opened);
        }
        let surrogates = opened.fields.node("surrogates");
        let transfers = traits.is_some_and(|traits| {
            let stands_in = traits.surrogates == Surrogates::Transfer && surrogates.is_some();
            stands_in || traits.access == Access::Nothing
        });
        // What never asks the victim cannot know what to keep.
        let rules: &[Success] = if transfers { &[Success::Last] } else { &Success::ALL };
        let fields = &mut opened.fields;
        let success = |node| fields::named(node, rules, |success| success.name());
        let asked_success = fields.node("success").map(|node| node.place.clone());
        let success = fields.read("success", success, &mut self.diagnostics).unwrap_or(rules[0]);
        let chain = opened.component.and_then(Component::chain);
        let asked = opened.fields.node("threats");
        let chosen_threats = match asked {
            Some(node) => self.some_names(node, "threat", &ids(threats)),
            None => threats.iter().map(|threat| threat.id.clone()).collect(),
        };
        let in_these = threats.iter().filter(|threat| chosen_threats.contains(&threat.id));
        let norms: Vec<Norm> = in_these.filter_map(|threat| Some(threat.item.as_ref()?.norm)).collect();
        let search = opened.fields.node("search").and_then(|node| self.search(node, &opened, &norms, transfers));
        let restarts = self.restarts(&mut opened, transfers);
        let eot = self.eot(&mut opened, transfers);
        let fields = &mut opened.fields;
        let members = chain.and_then(|_| fields.node("members"));
        let record_node = fields.node("record");
        let record = fields.read("record", steps, &mut self.diagnostics).unwrap_or_default();
        if let Some(node) = record_node.filter(|_| search.is_some() && !record.is_empty()) {
            let message = "a search makes many runs, of which no steps can be recorded";
            let help = "remove `record`, or list the attack twice, with an `id` each";
            self.diagnostics.push(Diagnostic::at(&node.place, message).help(help));
        }
        let budget = fields.node("budget").and_then(|node| self.budget(node)).unwrap_or_default();
        let ensemble_node = fields.node("ensemble");
        let gradients = fields.node("gradient").map(|node| self.gradients(node, defenses)).unwrap_or_default();
        let surrogates = self.surrogates(surrogates, &opened, models);
        let ensemble = ensemble_node.map(|node| self.ensemble(node, &surrogates)).unwrap_or_default();
        let closed = self.close(opened, false);
        let before = self.diagnostics.len();
        let members = chain.map(|chain| self.members(members, &closed, chain)).unwrap_or_default();
        let complete = self.diagnostics.len() == before;
        self.check_cost(&closed);
        if let Some(node) = record_node {
            self.check_record(node, &record, &closed, restarts, &members);
        }
        let Named { id, place, item } = closed;
        let item = item.filter(|_| complete).map(|chosen| AttackSpec {
            choice: AttackChoice {
                chosen: Arc::new(chosen),
                success,
                restarts,
                eot,
                search: None,
                members: Vec::new(),
                budget,
                record,
                surrogates,
                ensemble,
            },
            search,
            asked_success,
            members,
            threats: chosen_threats,
            gradients,
        });
        Some(Named { id, place, item })
    }

    /// Complains about keys of attacks that mean nothing where nothing is attacked.
    fn check_certificate(&mut self, opened: &mut Opened<'_>) {
        for key in ["success", "restarts", "eot", "search", "record", "budget", "gradient"] {
            if let Some(node) = opened.fields.node(key) {
                let message = format!("`{}` asks for proofs and has no `{key}`, which is for attacks", opened.id);
                self.diagnostics.push(Diagnostic::at(&node.place, message).help("remove the key"));
            }
        }
    }

    /// Complains about values of an attack that do not fit together.
    pub(super) fn check_cost(&mut self, attack: &Named<Chosen>) {
        let Some(chosen) = &attack.item else { return };
        if let Some(Err(reason)) = chosen.component.attack().map(|traits| (traits.cost)(&chosen.values)) {
            let message = format!("the parameters of `{}` do not fit: {reason}", attack.id);
            self.diagnostics.push(Diagnostic::at(&attack.place, message));
        }
    }

    /// Complains about steps to record that the attack cannot come to, as every step asks at least one query.
    fn check_record(
        &mut self,
        node: &Node,
        record: &[u32],
        attack: &Named<Chosen>,
        restarts: u32,
        members: &BTreeMap<Norm, Vec<Member>>,
    ) {
        let queries = |chosen: &Chosen, restarts: u32| {
            let cost = chosen.component.attack().and_then(|traits| (traits.cost)(&chosen.values).ok());
            cost.map_or(0, |cost| cost.queries.saturating_mul(u64::from(restarts)))
        };
        let of_chain = |chain: &Vec<Member>| chain.iter().map(|member| queries(&member.chosen, member.restarts)).sum();
        let most = match &attack.item {
            Some(chosen) if members.is_empty() => queries(chosen, restarts),
            _ => members.values().map(of_chain).max().unwrap_or(0),
        };
        // What asks the victim nothing does not say how many steps it makes.
        if let Some(step) = record.last().filter(|step| most > 0 && u64::from(**step) > most) {
            let message = format!("`{}` makes at most {most} steps, so there is no step {step} to record", attack.id);
            let help = "remove it from `record`, or let the attack make more steps";
            self.diagnostics.push(Diagnostic::at(&node.place, message).help(help));
        }
    }

    /// The models that an attack takes gradients of, where it does.
    fn surrogates(
        &mut self,
        node: Option<&Node>,
        attack: &Opened<'_>,
        models: &[Named<Arc<Chosen>>],
    ) -> Vec<Arc<Chosen>> {
        let Some(component) = attack.component else { return Vec::new() };
        let uses = component.attack().map_or(Surrogates::Unused, |traits| traits.surrogates);
        let Some(node) = node else {
            if uses == Surrogates::Needed {
                let message = format!("`{}` needs surrogates", attack.id);
                let help = "name models of this spec, as in surrogates = [\"resnet56\"]";
                self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
            }
            return Vec::new();
        };
        if uses == Surrogates::Unused {
            let message = format!("`{}` uses no surrogates", attack.id);
            self.diagnostics.push(Diagnostic::at(&node.place, message).help("remove the key"));
            return Vec::new();
        }
        let names = self.some_names(node, "model", &ids(models));
        let find = |name: &String| models.iter().find(|model| model.id == *name);
        let chosen: Vec<Arc<Chosen>> = names.iter().filter_map(find).filter_map(|model| model.item.clone()).collect();
        for surrogate in chosen.iter().filter(|surrogate| !is_differentiable(surrogate)) {
            let message = format!("`{}` has no gradients and cannot be a surrogate", surrogate.id);
            self.diagnostics.push(Diagnostic::at(&node.place, message));
        }
        chosen
    }

    /// How surrogates are combined.
    fn ensemble(&mut self, node: &Node, surrogates: &[Arc<Chosen>]) -> Ensemble {
        let named = |node| fields::named(node, &Ensemble::ALL, |ensemble| ensemble.name());
        if surrogates.len() < 2 {
            let message = "an ensemble has at least two surrogates";
            self.diagnostics.push(Diagnostic::at(&node.place, message).help("remove the key, or name more surrogates"));
        }
        fields::read(node, named, &mut self.diagnostics).unwrap_or_default()
    }

    fn budget(&mut self, node: &Node) -> Option<Budget> {
        let mut fields = Fields::of(node, &mut self.diagnostics)?;
        let mut limit = |key| fields.read(key, |node| fields::count(node, 1, i64::MAX as u64), &mut self.diagnostics);
        let budget = Budget { queries: limit("queries"), forwards: limit("forwards"), backwards: limit("backwards") };
        fields.finish(&mut self.diagnostics);
        Some(budget)
    }

    fn gradients(&mut self, node: &Node, defenses: &[Named<StackLayer>]) -> BTreeMap<String, GradientMode> {
        let Content::Table(table) = &node.content else {
            let help = "name the defense, as in gradient = { jpeg-75 = \"identity\" }";
            self.diagnostics.push(node.expected("a table").help(help));
            return BTreeMap::new();
        };
        let mut gradients = BTreeMap::new();
        for (id, entry) in &table.0 {
            let Some(defense) = defenses.iter().find(|defense| defense.id == *id) else {
                let unknown = Diagnostic::at(&entry.key, format!("unknown defense `{id}`"));
                self.diagnostics.push(unknown.maybe_help(did_you_mean_or_list(id, &ids(defenses))));
                continue;
            };
            let component = defense.item.as_ref().map(|layer| layer.defense.component);
            let mode = component.and_then(|component| self.gradient(component, Some(&entry.node)));
            gradients.extend(mode.map(|mode| (id.clone(), mode)));
        }
        gradients
    }

    /// Reads at least one name.
    fn some_names(&mut self, node: &Node, what: &str, known: &[&str]) -> Vec<String> {
        if fields::one_or_more(node).is_empty() {
            self.diagnostics.push(node.expected(&format!("at least one {what}")));
        }
        self.names(node, what, known)
    }

    /// Reads one or more names, which must be among those that are known.
    pub(super) fn names(&mut self, node: &Node, what: &str, known: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        for node in fields::one_or_more(node) {
            names.extend(self.name(node, what, known).map(str::to_owned));
        }
        names
    }

    /// Reads a name, which must be among those that are known.
    pub(super) fn name<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<&'n str> {
        let name = fields::read(node, fields::text, &mut self.diagnostics)?;
        if known.contains(&name) {
            return Some(name);
        }
        let unknown = Diagnostic::at(&node.place, format!("unknown {what} `{name}`"));
        self.diagnostics.push(unknown.maybe_help(did_you_mean_or_list(name, known)));
        None
    }
}

/// Whether a model has gradients.
pub(super) fn is_differentiable(model: &Chosen) -> bool {
    model.component.model().is_some_and(|traits| traits.differentiable)
}

/// Steps to record, ascending and once each.
fn steps(node: &Node) -> Result<Vec<u32>, Diagnostic> {
    let step = |node| fields::count(node, 1, u64::from(u32::MAX)).map(|step| step as u32);
    let mut steps: Vec<u32> = fields::list(node)?.iter().map(step).collect::<Result<_, _>>()?;
    steps.sort_unstable();
    steps.dedup();
    Ok(steps)
}
