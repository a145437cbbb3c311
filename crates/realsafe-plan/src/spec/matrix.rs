//! `[matrix]`: which models, stacks, attacks and threat models meet, and whether they can.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use super::Scope;
use super::attacks::is_differentiable;
use super::components::{Named, ids};
use crate::cell::is_randomised;
use crate::diagnostic::{Diagnostic, list};
use crate::experiment::{Combination, Filter};
use crate::fields::{self, Fields};
use crate::tree::Node;
use crate::{Access, AttackSpec, Chosen, Number, Search, SearchSpec, Stack, StackLayer, Success, ThreatSpec};

/// All that combinations are made of.
pub(super) struct Axes<'a> {
    pub(super) models: &'a [Named<Arc<Chosen>>],
    pub(super) stacks: &'a [Named<Stack>],
    pub(super) attacks: &'a [Named<AttackSpec>],
    pub(super) threats: &'a [Named<ThreatSpec>],
}

/// The filters of a matrix.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) only: Vec<Filter>,
    pub(super) skip: Vec<Filter>,
}

impl Scope<'_> {
    /// Reads `stacks`, or makes the one stack of all defenses.
    pub(super) fn stacks(
        &mut self,
        matrix: Option<&mut Fields<'_>>,
        defenses: &[Named<StackLayer>],
    ) -> Vec<Named<Stack>> {
        let place =
            |matrix: Option<&Fields<'_>>| matrix.map_or_else(|| self.start.clone(), |fields| fields.place.clone());
        let everything = place(matrix.as_deref());
        let Some(node) = matrix.and_then(|fields| fields.node("stacks")) else {
            let all: Vec<&Named<StackLayer>> = defenses.iter().collect();
            let stacks = vec![stack(&all, everything)];
            self.check_rejection(&stacks);
            return stacks;
        };
        let mut stacks = Vec::new();
        let lists = |node| fields::list(node).map_err(|error| error.help("write a list of lists: [[], [\"jpeg-75\"]]"));
        for node in fields::read(node, lists, &mut self.diagnostics).unwrap_or_default() {
            if fields::read(node, lists, &mut self.diagnostics).is_none() {
                continue;
            }
            let known = ids(defenses);
            let names = self.names(node, "defense", &known);
            if names.len() == fields::one_or_more(node).len() {
                let layers = names.iter().filter_map(|name| defenses.iter().find(|defense| defense.id == *name));
                stacks.push(stack(&layers.collect::<Vec<_>>(), node.place.clone()));
            }
        }
        self.check_unique("stack", &stacks, "remove one of them");
        self.check_rejection(&stacks);
        stacks
    }

    /// Complains about defenses that reject images and have others in front, which would take rejection for an answer.
    fn check_rejection(&mut self, stacks: &[Named<Stack>]) {
        let rejects = |layer: &&StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.rejects);
        for stack in stacks {
            let behind = stack.item.iter().flat_map(|stack| stack.layers.iter().skip(1)).find(rejects);
            if let Some(layer) = behind {
                let id = &layer.defense.id;
                let message =
                    format!("`{id}` may reject images, so nothing can stand before it in the stack `{}`", stack.id);
                let help = format!("let `{id}` come first in its stack");
                self.diagnostics.push(Diagnostic::at(&stack.place, message).help(help));
            }
        }
    }

    /// Reads `only` and `skip`.
    pub(super) fn filters(&mut self, matrix: &mut Fields<'_>, axes: &Axes<'_>) -> Filters {
        let mut read = |key| {
            let nodes = matrix.read(key, fields::list, &mut self.diagnostics).unwrap_or_default();
            nodes.iter().filter_map(|node| self.filter(node, axes)).collect()
        };
        Filters { only: read("only"), skip: read("skip") }
    }

    fn filter(&mut self, node: &Node, axes: &Axes<'_>) -> Option<Filter> {
        let mut fields = Fields::of(node, &mut self.diagnostics)?;
        let filter = self.axes_filter(&mut fields, axes);
        fields.finish(&mut self.diagnostics);
        Some(filter)
    }

    /// The keys that choose combinations by name.
    pub(super) fn axes_filter(&mut self, fields: &mut Fields<'_>, axes: &Axes<'_>) -> Filter {
        let mut names = |key, known: &[&str]| {
            let node = fields.node(key);
            node.map(|node| self.names(node, key, known)).unwrap_or_default()
        };
        Filter {
            model: names("model", &ids(axes.models)),
            stack: names("stack", &ids(axes.stacks)),
            attack: names("attack", &ids(axes.attacks)),
            threat: names("threat", &ids(axes.threats)),
        }
    }

    /// The combinations that are left, in the order of the lists; complains about those that cannot be run.
    pub(super) fn combine(&mut self, axes: &Axes<'_>, filters: &Filters) -> Vec<Combination> {
        let mut combinations = Vec::new();
        for (model, named_model) in axes.models.iter().enumerate() {
            for (stack, named_stack) in axes.stacks.iter().enumerate() {
                for (attack, named_attack) in axes.attacks.iter().enumerate() {
                    for (threat, named_threat) in axes.threats.iter().enumerate() {
                        let covers = |filter: &Filter| {
                            filter.covers(&named_model.id, &named_stack.id, &named_attack.id, &named_threat.id)
                        };
                        let asked =
                            named_attack.item.as_ref().is_none_or(|spec| spec.threats.contains(&named_threat.id));
                        let kept = filters.only.is_empty() || filters.only.iter().any(covers);
                        if asked && kept && !filters.skip.iter().any(covers) {
                            combinations.push(Combination { model, stack, attack, threat });
                        }
                    }
                }
            }
        }
        let pairs = combinations.iter().map(|combination| (combination.attack, combination.threat));
        for (attack, threat) in pairs.collect::<BTreeSet<_>>() {
            self.check_threat(&axes.attacks[attack], &axes.threats[threat], axes.threats);
        }
        let needs_gradients = |combination: &&Combination| {
            let (attack, threat) = (&axes.attacks[combination.attack].item, &axes.threats[combination.threat].item);
            let access = attack.as_ref().zip(threat.as_ref()).map(|(attack, threat)| attack.choice_in(threat).access());
            access == Some(Access::Gradients)
        };
        let pair = |combination: &Combination| (combination.attack, combination.model);
        for (attack, model) in combinations.iter().filter(needs_gradients).map(pair).collect::<BTreeSet<_>>() {
            self.check_gradients(&axes.attacks[attack], &axes.models[model]);
        }
        for (attack, model) in combinations.iter().map(pair).collect::<BTreeSet<_>>() {
            self.check_losses(&axes.attacks[attack], &axes.models[model]);
        }
        let triple = |combination: &Combination| (combination.attack, combination.model, combination.stack);
        let mut told = BTreeSet::new();
        for (attack, model, stack) in combinations.iter().map(triple).collect::<BTreeSet<_>>() {
            let (model, stack) = (&axes.models[model], &axes.stacks[stack]);
            let victim = model.item.as_ref().zip(stack.item.as_ref());
            if victim.is_some_and(|(chosen, stack)| is_randomised(chosen, &stack.layers)) && told.insert(attack) {
                self.check_randomised(&axes.attacks[attack], &model.id, &stack.id);
            }
        }
        let attacked = |combination: &Combination| (combination.attack, combination.stack);
        for (attack, stack) in combinations.iter().map(attacked).collect::<BTreeSet<_>>() {
            self.check_codes(&axes.attacks[attack], &axes.stacks[stack]);
        }
        let whole =
            !(axes.models.is_empty() || axes.stacks.is_empty() || axes.attacks.is_empty() || axes.threats.is_empty());
        if combinations.is_empty() && whole && self.diagnostics.is_empty() {
            self.diagnostics.push(
                Diagnostic::at(&self.start, "nothing is left to run")
                    .help("[matrix] and `threats` leave no combination of model, stack, attack and threat"),
            );
        }
        combinations
    }

    fn check_gradients(&mut self, attack: &Named<AttackSpec>, model: &Named<Arc<Chosen>>) {
        if model.item.as_ref().is_some_and(|chosen| !is_differentiable(chosen)) {
            let message = format!("`{}` needs gradients, but the model `{}` has none", attack.id, model.id);
            let help = format!("leave it out with skip = [{{ attack = \"{}\", model = \"{}\" }}]", attack.id, model.id);
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
        }
    }

    /// Complains about what means nothing where one image gets different answers.
    fn check_randomised(&mut self, attack: &Named<AttackSpec>, model: &str, stack: &str) {
        let Some(spec) = &attack.item else { return };
        let victim = if stack == "none" { format!("`{model}`") } else { format!("`{model}` behind `{stack}`") };
        let leave_out = format!("skip = [{{ attack = \"{}\", model = \"{model}\", stack = \"{stack}\" }}]", attack.id);
        let success = spec.choice.success;
        if let Some(place) = spec.asked_success.as_ref().filter(|_| success != Success::Last) {
            let message = format!(
                "{victim} is randomised, and `{}` would count what its own chance breaks; the image that `{}` ends with is \
                 judged on many draws instead",
                success.name(),
                attack.id
            );
            let help = format!("remove the key, write success = \"last\", or leave the victim out with {leave_out}");
            self.diagnostics.push(Diagnostic::at(place, message).help(help));
        }
        if spec.minimises_distance() && !spec.is_certificate() {
            let message = format!(
                "`{}` looks for the smallest distance, but {victim} is randomised and has none: it answers an image now this way, now that",
                attack.id
            );
            let help = format!("attack it at fixed eps, without `search`; leave it out here with {leave_out}");
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
        }
    }

    /// Complains about attacks on the codes of a defense that has none.
    fn check_codes(&mut self, attack: &Named<AttackSpec>, stack: &Named<Stack>) {
        let (Some(spec), Some(layers)) = (&attack.item, stack.item.as_ref().map(|stack| &stack.layers)) else { return };
        let members = spec.members.values().flatten().map(|member| &member.chosen);
        let Some(user) = iter::once(&spec.choice.chosen).chain(members).find(|user| user.varies_codes()) else {
            return;
        };
        let projects = |layer: &StackLayer| layer.defense.component.defense().is_some_and(|traits| traits.projects);
        let id = &user.id;
        if !layers.first().is_some_and(projects) {
            let message = format!(
                "`{id}` varies the codes of the outermost defense, but the stack `{}` does not begin with one that projects",
                stack.id
            );
            let skip = format!("skip = [{{ attack = \"{}\", stack = \"{}\" }}]", attack.id, stack.id);
            let help = format!("vary pixels, or leave it out with {skip}");
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
        } else if !spec.choice.surrogates.is_empty() {
            let message = format!("`{id}` varies the codes of the victim's defense, which surrogates do not have");
            let diagnostic = Diagnostic::at(&attack.place, message).help("vary pixels, or remove `surrogates`");
            self.diagnostics.push(diagnostic);
        }
    }

    fn check_losses(&mut self, attack: &Named<AttackSpec>, model: &Named<Arc<Chosen>>) {
        let (Some(spec), Some(chosen)) = (&attack.item, &model.item) else { return };
        let classes = chosen.component.model().and_then(|traits| (traits.classes)(&chosen.values).ok());
        let members = spec.members.values().flatten().map(|member| &member.chosen);
        let mut told = BTreeSet::new();
        for (user, loss) in [&spec.choice.chosen]
            .into_iter()
            .chain(members)
            .flat_map(|user| user.values.components().map(move |loss| (user.id.as_str(), loss.component)))
        {
            let needed = loss.loss().map_or(0, |traits| traits.fewest_classes);
            if let Some(classes) = classes.filter(|classes| *classes < needed && told.insert((user, loss.id))) {
                let message = format!(
                    "the loss `{}` of `{user}` needs {needed} classes, but the model `{}` knows {classes}",
                    loss.id, model.id
                );
                let help = "take another loss, such as loss = \"margin\"";
                self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
            }
        }
    }

    fn check_threat(&mut self, attack: &Named<AttackSpec>, threat: &Named<ThreatSpec>, all: &[Named<ThreatSpec>]) {
        let (Some(spec), Some(model)) = (&attack.item, &threat.item) else { return };
        let Some((norms, goals)) = spec.choice.chosen.component.threats() else { return };
        let chain = spec.choice.chosen.component.chain();
        let members = |norm| spec.members.get(&norm).map(Vec::as_slice).unwrap_or_default();
        let fits = |threat: &ThreatSpec| {
            let members = members(threat.norm);
            supports(&spec.choice.chosen, threat)
                && members.iter().all(|member| supports(&member.chosen, threat))
                && (chain.is_none() || !members.is_empty())
        };
        let way_out = || {
            let fitting = all.iter().filter(|other| other.item.as_ref().is_some_and(&fits));
            let fitting: Vec<String> = fitting.map(|other| format!("\"{}\"", other.id)).collect();
            if fitting.is_empty() {
                "remove the attack, or add such a threat".to_owned()
            } else {
                format!("restrict it with threats = [{}]", fitting.join(", "))
            }
        };
        let problem = if !norms.contains(&model.norm) {
            let norms: Vec<&str> = norms.iter().map(|norm| norm.name()).collect();
            Some((format!("does not support the norm `{}`", model.norm.name()), norms))
        } else if !goals.contains(&model.goal) {
            let goals: Vec<&str> = goals.iter().map(|goal| goal.name()).collect();
            Some((format!("does not support the goal `{}`", model.goal.name()), goals))
        } else {
            None
        };
        if let Some((problem, supported)) = problem {
            let message = format!("`{}` {problem} of the threat `{}`", attack.id, threat.id);
            let help = format!("it supports {}; {}", list(&supported), way_out());
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
        } else if let Some(member) = members(model.norm).iter().find(|member| !supports(&member.chosen, model)) {
            let message = format!(
                "the member `{}` of `{}` does not support the norm or the goal of the threat `{}`",
                member.chosen.id, attack.id, threat.id
            );
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(way_out()));
        } else if chain.is_some() && members(model.norm).is_empty() {
            let message = format!("`{}` has no members for the norm `{}`", attack.id, model.norm.name());
            self.diagnostics.push(Diagnostic::at(&attack.place, message).help(way_out()));
        } else if model.eps.is_empty() && needs_radius(spec) {
            let message = format!("the threat `{}` has no `eps`, but `{}` needs one", threat.id, attack.id);
            self.diagnostics.push(Diagnostic::at(&threat.place, message).help("write eps = \"8/255\", or a list"));
        } else if let Some(SearchSpec::Fixed(search)) = &spec.search {
            self.check_reach(attack, search, model);
        }
    }

    /// Complains about radii of a threat model that a search does not come to.
    fn check_reach(&mut self, attack: &Named<AttackSpec>, search: &Search, threat: &ThreatSpec) {
        let beyond = |eps: &&Number| eps.value() > threat.norm.tolerance(search.largest());
        let Some(eps) = threat.eps.iter().filter(beyond).max_by(|a, b| a.value().total_cmp(&b.value())) else { return };
        let (largest, norm) = (search.largest(), threat.norm.name());
        let message = format!(
            "the search of `{}` ends at {largest} in {norm} and tries nothing at the eps {eps} of the threat `{}`",
            attack.id, threat.id
        );
        let way_out = match search {
            Search::Exponential { start, .. } => {
                format!("doublings = {}", (eps.value() / start.value()).log2().ceil())
            }
            Search::Linear { .. } | Search::List(_) => format!("largest = \"{}\"", in_norm(eps)),
        };
        let help = format!("write {way_out}, or give the attack a threat with smaller eps");
        self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
    }
}

/// A radius as a search takes it: in the norm itself, spelled as in the spec where that is the same.
fn in_norm(eps: &Number) -> String {
    if eps.written() == eps.value() { eps.to_string() } else { eps.value().to_string() }
}

/// Whether an attack works in the norm and for the goal of a threat model.
fn supports(chosen: &Chosen, threat: &ThreatSpec) -> bool {
    let threats = chosen.component.threats();
    threats.is_some_and(|(norms, goals)| norms.contains(&threat.norm) && goals.contains(&threat.goal))
}

/// Whether an attack is told the radius.
fn needs_radius(spec: &AttackSpec) -> bool {
    !spec.minimises_distance() || spec.search == Some(SearchSpec::Listed)
}

fn stack(layers: &[&Named<StackLayer>], place: crate::Place) -> Named<Stack> {
    let names: Vec<&str> = layers.iter().map(|layer| layer.id.as_str()).collect();
    let id = if names.is_empty() { "none".to_owned() } else { names.join("+") };
    let layers: Option<Vec<StackLayer>> = layers.iter().map(|layer| layer.item.clone()).collect();
    Named { id, place, item: layers.map(|layers| Stack { layers }) }
}
