//! `use = "..."`: finding a component in the catalogue and reading its table.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::fields::{self, Fields};
use crate::parameters::{Peers, Reader, find};
use crate::tree::{Content, Node};
use crate::{Chosen, Component, Kind, ParameterKind, StackLayer};

/// Something that has an id; the item is missing where it has mistakes of its own, so that these are told only once.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) item: Option<T>,
}

/// The ids of things.
pub(super) fn ids<T>(things: &[Named<T>]) -> Vec<&str> {
    things.iter().map(|thing| thing.id.as_str()).collect()
}

/// A component whose `use` and `id` are read; its other keys are not.
pub(super) struct Opened<'a> {
    pub(super) fields: Fields<'a>,
    pub(super) id: String,
    pub(super) place: Place,
    pub(super) component: Option<&'static Component>,
}

/// A model that is not read yet.
struct Waiting<'a> {
    opened: Opened<'a>,
    /// The ids of its members, and of members of members that are written in place.
    members: Vec<String>,
}

impl<'a> Waiting<'a> {
    fn new(mut opened: Opened<'a>) -> Self {
        let mut members = Vec::new();
        let parameters = opened.component.map_or(&[][..], |component| component.parameters);
        for parameter in parameters.iter().filter(|parameter| parameter.kind == ParameterKind::Models) {
            opened.fields.node(parameter.name).into_iter().for_each(|node| names(node, parameter.name, &mut members));
        }
        Self { opened, members }
    }
}

/// The ids in a list of members.
fn names(list: &Node, key: &str, found: &mut Vec<String>) {
    let Content::List(nodes) = &list.content else { return };
    for node in nodes {
        match &node.content {
            Content::Text(id) => found.push(id.clone()),
            Content::Table(table) => {
                table.0.get(key).into_iter().for_each(|entry| names(&entry.node, key, found));
            }
            _ => {}
        }
    }
}

impl Scope<'_> {
    /// Reads `use` and `id`; none if there is nothing to call the component by.
    pub(super) fn open<'a>(&mut self, kind: Kind, node: &'a Node) -> Option<Opened<'a>> {
        let mut fields = Fields::of(node, &mut self.diagnostics)?;
        let id = fields.read("id", fields::id, &mut self.diagnostics);
        let used = fields.required("use", &mut self.diagnostics);
        let name = used.and_then(|node| fields::read(node, fields::text, &mut self.diagnostics));
        let component = used.zip(name).and_then(|(node, name)| self.find(kind, name, &node.place));
        // An unreadable id was complained about; `use` stands in for it.
        let id = id.or(name)?.to_owned();
        let place = fields.name_place();
        Some(Opened { fields, id, place, component })
    }

    fn find(&mut self, kind: Kind, name: &str, place: &Place) -> Option<&'static Component> {
        find(self.catalogue, kind, name, place).map_err(|problem| self.diagnostics.push(problem)).ok()
    }

    /// Reads the parameters of an opened component, and complains about the keys that are left.
    pub(super) fn close(&mut self, opened: Opened<'_>, untrained: bool) -> Named<Chosen> {
        self.close_among(&Peers::default(), opened, untrained)
    }

    /// The same for a component that may have models of the spec as members.
    fn close_among(&mut self, peers: &Peers, mut opened: Opened<'_>, untrained: bool) -> Named<Chosen> {
        let component = opened.component;
        let read = |component| {
            let Opened { fields, id, .. } = &mut opened;
            let reader = Reader { catalogue: self.catalogue, environment: self.environment, untrained, peers };
            reader.component(component, id, fields, &mut self.diagnostics)
        };
        let item = component.and_then(read);
        if component.is_some() {
            opened.fields.finish(&mut self.diagnostics);
        }
        Named { id: opened.id, place: opened.place, item }
    }

    /// The elements of an array of tables.
    pub(super) fn elements<'a>(&mut self, top: &mut Fields<'a>, key: &str) -> &'a [Node] {
        let list = |node: &'a Node| fields::list(node).map_err(|error| error.help(format!("write [[{key}]]")));
        top.read(key, list, &mut self.diagnostics).unwrap_or_default()
    }

    /// Complains about ids that occur twice.
    pub(super) fn check_unique<T>(&mut self, what: &str, things: &[Named<T>], help: &str) {
        for (index, thing) in things.iter().enumerate() {
            if things[..index].iter().any(|other| other.id == thing.id) {
                let message = format!("two {what}s are named `{}`", thing.id);
                self.diagnostics.push(Diagnostic::at(&thing.place, message).help(help));
            }
        }
    }

    /// Reads the models of `[[key]]`, and compares their classes with the dataset's.
    pub(super) fn models(
        &mut self,
        top: &mut Fields<'_>,
        key: &str,
        classes: Option<usize>,
        untrained: bool,
    ) -> Vec<Named<Arc<Chosen>>> {
        let nodes = self.elements(top, key);
        let mut waiting: Vec<(usize, Waiting<'_>)> = Vec::new();
        for node in nodes {
            let opened = self.open(Kind::Model, node);
            waiting.extend(opened.map(Waiting::new).map(|model| (waiting.len(), model)));
        }
        let ids = waiting.iter().map(|(_, model)| model.opened.id.clone()).collect();
        let mut peers = Peers { ids, ..Peers::default() };
        let mut models = Vec::new();
        // Members first.
        while !waiting.is_empty() {
            let open: Vec<String> = waiting.iter().map(|(_, model)| model.opened.id.clone()).collect();
            let (blocked, ready): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, model)| model.members.iter().any(|member| open.contains(member)));
            if ready.is_empty() {
                models.extend(self.circular(blocked));
                break;
            }
            for (index, Waiting { opened, .. }) in ready {
                let Named { id, place, item } = self.close_among(&peers, opened, untrained);
                if let Some(chosen) = &item {
                    self.check_model(chosen, &place, classes);
                }
                let item = item.map(Arc::new);
                peers.read.insert(id.clone(), item.clone());
                models.push((index, Named { id, place, item }));
            }
            waiting = blocked;
        }
        models.sort_by_key(|(index, _)| *index);
        let models: Vec<_> = models.into_iter().map(|(_, model)| model).collect();
        self.check_unique(key, &models, "give one of them another `id`");
        models
    }

    /// Complains about models that are members of themselves; the others of the list have such members.
    fn circular(&mut self, blocked: Vec<(usize, Waiting<'_>)>) -> Vec<(usize, Named<Arc<Chosen>>)> {
        for (_, model) in &blocked {
            let mut reached: BTreeSet<&str> = model.members.iter().map(String::as_str).collect();
            let further = |reached: &BTreeSet<&str>| {
                let within = blocked.iter().filter(|(_, other)| reached.contains(other.opened.id.as_str()));
                within.flat_map(|(_, other)| other.members.iter().map(String::as_str)).collect::<Vec<_>>()
            };
            for _ in &blocked {
                let more = further(&reached);
                reached.extend(more);
            }
            if reached.contains(model.opened.id.as_str()) {
                let message = format!("the model `{}` is a member of itself", model.opened.id);
                let help = "members are other models, which do not have it as a member in turn";
                self.diagnostics.push(Diagnostic::at(&model.opened.place, message).help(help));
            }
        }
        let named = |Waiting { opened, .. }| Named { id: opened.id, place: opened.place, item: None };
        blocked.into_iter().map(|(index, model)| (index, named(model))).collect()
    }

    fn check_model(&mut self, model: &Chosen, place: &Place, classes: Option<usize>) {
        let Some(traits) = model.component.model() else { return };
        match (traits.input)(&model.values).and_then(|_| (traits.classes)(&model.values)) {
            Err(reason) => {
                let message = format!("the parameters of `{}` do not fit: {reason}", model.id);
                self.diagnostics.push(Diagnostic::at(place, message));
            }
            Ok(outputs) => {
                if let Some(classes) = classes.filter(|classes| *classes != outputs) {
                    let message = format!("`{}` knows {outputs} classes, but the dataset has {classes}", model.id);
                    self.diagnostics.push(Diagnostic::at(place, message));
                }
            }
        }
    }

    /// Reads the defenses.
    pub(super) fn defenses(&mut self, top: &mut Fields<'_>) -> Vec<Named<StackLayer>> {
        let mut defenses = Vec::new();
        for node in self.elements(top, "defense") {
            let Some(mut opened) = self.open(Kind::Defense, node) else { continue };
            if opened.id == "none" {
                self.diagnostics.push(
                    Diagnostic::at(&opened.place, "the id `none` means the empty stack").help("choose another `id`"),
                );
            }
            let asked = opened.fields.node("gradient");
            let gradient = opened.component.and_then(|component| self.gradient(component, asked));
            let Named { id, place, item } = self.close(opened, false);
            let layer = item.zip(gradient).map(|(chosen, gradient)| StackLayer { defense: Arc::new(chosen), gradient });
            defenses.push(Named { id, place, item: layer });
        }
        self.check_unique("defense", &defenses, "give one of them another `id`");
        defenses
    }

    /// The gradient of a defense that a spec asks for, or its default.
    pub(super) fn gradient(&mut self, component: &Component, asked: Option<&Node>) -> Option<crate::GradientMode> {
        let modes = component.defense()?.gradients;
        match asked {
            None => modes.first().copied(),
            Some(node) => {
                fields::read(node, |node| fields::named(node, modes, |mode| mode.name()), &mut self.diagnostics)
            }
        }
    }
}
