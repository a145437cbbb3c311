//! `members` and `search`: attacks made of several runs of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Scope;
use super::components::{Named, Opened};
use super::threats::radius;
use crate::diagnostic::{Diagnostic, Place, Source};
use crate::fields::{self, Fields};
use crate::tree::{Content, Node, parse};
use crate::{Access, ChainTraits, Chosen, Component, Kind, Member, Norm, Search, SearchSpec, Surrogates};

impl Scope<'_> {
    /// The members of a chain, norm by norm.
    pub(super) fn members(
        &mut self,
        node: Option<&Node>,
        attack: &Named<Chosen>,
        traits: &ChainTraits,
    ) -> BTreeMap<Norm, Vec<Member>> {
        let Some(chosen) = &attack.item else { return BTreeMap::new() };
        let mut members = BTreeMap::new();
        match (traits.members, node) {
            (Some(of), None) => {
                for &norm in traits.norms {
                    members.extend(of(&chosen.values, norm).map(|text| (norm, self.listed(chosen, norm, text))));
                }
            }
            (Some(_), Some(node)) => {
                let message = format!("the members of `{}` are fixed", chosen.component.id);
                let help = "write use = \"chain\" for members of your own";
                self.diagnostics.push(Diagnostic::at(&node.place, message).help(help));
            }
            (None, Some(Node { content: Content::Table(table), .. })) => {
                for (name, entry) in &table.0 {
                    let Some(norm) = Norm::ALL.into_iter().find(|norm| norm.name() == name) else {
                        self.diagnostics.push(Diagnostic::at(&entry.key, format!("unknown norm `{name}`")));
                        continue;
                    };
                    members.insert(norm, self.chain(&entry.node));
                }
            }
            (None, Some(node)) => {
                let chain = self.chain(node);
                members.extend(Norm::ALL.into_iter().map(|norm| (norm, chain.clone())));
            }
            (None, None) => {
                let message = format!("`{}` needs members", attack.id);
                let help = "list them, as in members = [{ use = \"apgd\" }, { use = \"square\" }]";
                self.diagnostics.push(Diagnostic::at(&attack.place, message).help(help));
            }
        }
        members
    }

    /// Members that a component brings along, as `[[member]]` tables.
    fn listed(&mut self, chosen: &Chosen, norm: Norm, text: &str) -> Vec<Member> {
        let name = format!("the {} members of {}", norm.name(), chosen.component.id);
        let source = Arc::new(Source { name, text: text.to_owned() });
        let table = parse(&source, &mut self.diagnostics);
        let mut fields = Fields::new(&table, Place { source, span: 0..0 });
        let chain = fields.required("member", &mut self.diagnostics).map(|node| self.chain(node));
        fields.finish(&mut self.diagnostics);
        chain.unwrap_or_default()
    }

    fn chain(&mut self, node: &Node) -> Vec<Member> {
        let nodes = fields::read(node, fields::list, &mut self.diagnostics).unwrap_or_default();
        if nodes.is_empty() {
            self.diagnostics.push(node.expected("at least one member"));
        }
        let members: Vec<Named<Member>> = nodes.iter().filter_map(|node| self.member(node)).collect();
        self.check_unique("member", &members, "give one of them an `id` of its own");
        members.into_iter().filter_map(|member| member.item).collect()
    }

    fn member(&mut self, node: &Node) -> Option<Named<Member>> {
        let mut opened = self.open(Kind::Attack, node)?;
        let restarts = self.restarts(&mut opened, false);
        let eot = self.eot(&mut opened, false);
        let component = opened.component;
        let closed = self.close(opened, false);
        self.check_cost(&closed);
        let Named { id, place, item } = closed;
        let item = item.map(|chosen| Member { chosen: Arc::new(chosen), restarts, eot });
        if let Some(component) = component.filter(|component| component.chain().is_some()) {
            let message = format!("`{}` is a chain itself and cannot be a member of one", component.id);
            self.diagnostics.push(Diagnostic::at(&place, message).help("list its members instead"));
        }
        if component.is_some_and(Component::is_certificate) {
            let message = format!("`{id}` attacks nothing and cannot be a member of a chain");
            self.diagnostics.push(Diagnostic::at(&place, message).help("list it as an [[attack]] of its own"));
        }
        let traits = component.and_then(Component::attack);
        if traits.is_some_and(|traits| traits.surrogates == Surrogates::Needed) {
            let message = format!("`{id}` needs surrogates, which members of a chain do not have");
            self.diagnostics.push(Diagnostic::at(&place, message).help("list it as an [[attack]] of its own"));
        }
        Some(Named { id, place, item })
    }

    /// How often an attack starts anew.
    pub(super) fn restarts(&mut self, opened: &mut Opened<'_>, transfers: bool) -> u32 {
        let node = opened.fields.node("restarts");
        let restarts = |node| fields::count(node, 1, 1_000_000);
        let restarts = node.and_then(|node| fields::read(node, restarts, &mut self.diagnostics)).unwrap_or(1);
        if let Some(node) = node.filter(|_| is_chain(opened)) {
            self.members_have(node, "restarts");
        } else if let Some(node) = node.filter(|_| transfers && restarts > 1) {
            let message = "a transfer attack starts once, as it is judged at the end";
            self.diagnostics.push(Diagnostic::at(&node.place, message).help("remove the key"));
        }
        restarts as u32
    }

    /// How many draws of a randomised victim an answer is the mean of.
    pub(super) fn eot(&mut self, opened: &mut Opened<'_>, transfers: bool) -> u32 {
        let node = opened.fields.node("eot");
        let eot =
            node.and_then(|node| fields::read(node, |node| fields::count(node, 1, 10_000), &mut self.diagnostics));
        let access = opened.component.and_then(Component::attack).map(|traits| traits.access);
        let averages = !transfers && matches!(access, Some(Access::Gradients | Access::Scores) | None);
        if let Some(node) = node.filter(|_| is_chain(opened)) {
            self.members_have(node, "eot");
        } else if let Some(node) = node.filter(|_| !averages) {
            let message = format!("`{}` sees nothing that could be averaged", opened.id);
            self.diagnostics.push(Diagnostic::at(&node.place, message).help("remove the key"));
        }
        eot.unwrap_or(1) as u32
    }

    fn members_have(&mut self, node: &Node, key: &str) {
        let message = format!("a chain has no `{key}` of its own");
        self.diagnostics.push(Diagnostic::at(&node.place, message).help("give it to the members that should have it"));
    }

    /// The search for the smallest radius; `norms` are those of the threat models in which it is made.
    pub(super) fn search(
        &mut self,
        node: &Node,
        attack: &Opened<'_>,
        norms: &[Norm],
        transfers: bool,
    ) -> Option<SearchSpec> {
        let searches = |component: &Component| component.attack().is_some_and(|traits| !traits.minimises_distance);
        let fits = attack.component.is_none_or(searches);
        if !fits || transfers {
            let (message, help) = if transfers {
                ("a search asks the victim, which a transfer attack may not", "list the eps instead")
            } else {
                ("a search needs an attack of fixed eps", "remove the key")
            };
            self.diagnostics.push(Diagnostic::at(&node.place, message).help(help));
            return None;
        }
        if node.text() == Some("list") {
            return Some(SearchSpec::Listed);
        }
        let form = "write search = \"list\", { start = \"1/255\" } or { largest = \"32/255\" }";
        let Content::Table(_) = &node.content else {
            self.diagnostics.push(node.expected("`list` or a table").help(form));
            return None;
        };
        let diagnostics = &mut self.diagnostics;
        let mut fields = Fields::of(node, diagnostics)?;
        let given = (fields.node("start").is_some(), fields.node("largest").is_some());
        let start = fields.read("start", |node| radius(node, norms), diagnostics);
        let largest = fields.read("largest", |node| radius(node, norms), diagnostics);
        let mut count = |key, fallback: u64, least, most| {
            fields.read(key, |node| fields::count(node, least, most), diagnostics).unwrap_or(fallback) as u32
        };
        let bisections = count("bisections", 10, 0, 40);
        let search = match given {
            (true, false) => {
                let doublings = count("doublings", 5, 0, 60);
                start.map(|start| Search::Exponential { start, doublings, bisections })
            }
            (false, true) => {
                let points = count("points", 32, 1, 100_000);
                largest.map(|largest| Search::Linear { largest, points, bisections })
            }
            _ => {
                diagnostics.push(Diagnostic::at(&node.place, "expected either `start` or `largest`").help(form));
                return None;
            }
        };
        fields.finish(diagnostics);
        search.map(SearchSpec::Fixed)
    }
}

fn is_chain(attack: &Opened<'_>) -> bool {
    attack.component.is_some_and(|component| component.chain().is_some())
}
