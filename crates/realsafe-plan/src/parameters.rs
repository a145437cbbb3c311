//! From a component's table in a spec to its [`Values`], checked against its parameters, defaults included.
//!
//! Numbers take floats, integers and strings such as `"8/255"`. A file is relative to the data directory, or
//! `builtin:NAME`; beside a file parameter `x` stands the optional key `x-blake3`, the digest that the file must have.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, did_you_mean, list, nearest};
use crate::fields::{self, Fields};
use crate::tree::{Content, Node, Table, parse};
use crate::{
    Catalogue, Chosen, Component, Environment, Fallback, Kind, Number, Parameter, ParameterKind, ResolvedFile, Value,
    Values,
};

/// Reads a component from a table of nothing but its parameters, as [`Component::example`] is one.
///
/// # Errors
/// All mistakes of the table.
pub fn parse_component(
    component: &'static Component,
    table: &str,
    catalogue: &Catalogue,
    environment: &Environment<'_>,
) -> Result<Chosen, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let name = format!("the table of the {} {}", component.kind().name(), component.id);
    let source = Arc::new(Source { name, text: table.to_owned() });
    let table = parse(&source, &mut diagnostics);
    let place = Place { source, span: 0..0 };
    let mut fields = Fields::new(&table, place);
    let reader = Reader { catalogue, environment, untrained: false, peers: &Peers::default() };
    let chosen = reader.component(component, component.id, &mut fields, &mut diagnostics);
    fields.finish(&mut diagnostics);
    chosen.filter(|_| diagnostics.is_empty()).ok_or(diagnostics)
}

/// What the tables of components are read with.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) environment: &'a Environment<'a>,
    /// Whether a model may lack its files.
    pub(crate) untrained: bool,
    /// The models that others may have as members.
    pub(crate) peers: &'a Peers,
}

/// The models of a spec, as far as they are read.
#[derive(Default)]
pub(crate) struct Peers {
    /// The ids of all.
    pub(crate) ids: Vec<String>,
    /// Those that are read; none where they have mistakes of their own.
    pub(crate) read: BTreeMap<String, Option<Arc<Chosen>>>,
}

impl Reader<'_> {
    /// Reads the parameters of a component; none if there was any mistake.
    pub(crate) fn component(
        self,
        component: &'static Component,
        id: &str,
        fields: &mut Fields<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Chosen> {
        let environment = self.environment;
        let mut chosen = Chosen { id: id.to_owned(), component, values: Values::default(), files: BTreeMap::new() };
        let mut complete = true;
        for parameter in component.parameters {
            let is_file = parameter.kind == ParameterKind::File;
            let node = fields.node(parameter.name);
            let digest = if is_file { fields.node(&digest_key(parameter.name)) } else { None };
            if let (ParameterKind::Models, Some(node)) = (parameter.kind, node) {
                let models = self.models(parameter, node, diagnostics);
                complete &= models.is_some();
                models.into_iter().for_each(|models| chosen.values.insert(parameter.name, Value::Components(models)));
                continue;
            }
            let nested = match (parameter.kind.component(), node, parameter.fallback) {
                (Some(kind), Some(node), _) => Some(self.nested(kind, node, diagnostics)),
                (Some(kind), None, Fallback::Value(name)) => {
                    Some(self.default_of(kind, name, &fields.place, diagnostics))
                }
                _ => None,
            };
            if let Some(nested) = nested {
                // Its mistakes are told already.
                complete &= nested.is_some();
                let value = nested.map(|nested| Value::Component(Box::new(nested)));
                value.into_iter().for_each(|value| chosen.values.insert(parameter.name, value));
                continue;
            }
            let value = match (node, parameter.fallback) {
                (Some(node), _) => value(parameter, node).map(Some),
                (None, Fallback::Value(text)) => fallback(parameter, text).map(Some).map_err(|message| {
                    let title =
                        format!("the table of the {} `{}` is wrong: {message}", component.kind().name(), component.id);
                    Diagnostic::at(&fields.place, title).help("this is a mistake of the component, not of the spec")
                }),
                (None, Fallback::Unset) => Ok(None),
                (None, Fallback::Required) if self.untrained && is_file => Ok(None),
                (None, Fallback::Required) => Err(fields.missing(parameter.name).help(parameter.documentation)),
            };
            let file = match &value {
                Ok(Some(Value::Text(name))) if is_file => {
                    let place = node.map_or(&fields.place, |node| &node.place);
                    environment.parameter_file(name, place).and_then(|file| check_digest(file, digest)).map(Some)
                }
                _ => Ok(None),
            };
            match (value, file) {
                (Ok(value), Ok(file)) => {
                    value.into_iter().for_each(|value| chosen.values.insert(parameter.name, value));
                    if let Some(path) = file.as_ref().and_then(|file| file.path.clone()) {
                        chosen.values.locate(parameter.name, path);
                    }
                    chosen.files.extend(file.map(|file| (parameter.name.to_owned(), file)));
                }
                (value, file) => {
                    complete = false;
                    value.err().into_iter().chain(file.err()).for_each(|diagnostic| diagnostics.push(diagnostic));
                }
            }
        }
        if let Some(traits) = component.dataset().filter(|_| complete) {
            for file in (traits.files)(&chosen.values) {
                match environment.dataset_file(&file, &fields.place) {
                    Ok((name, file)) => drop(chosen.files.insert(name, file)),
                    Err(diagnostic) => diagnostics.push(diagnostic),
                }
            }
        }
        complete.then_some(chosen)
    }

    /// Reads a component that is a parameter of another: its name, or a table with `use` and its parameters.
    fn nested(self, kind: Kind, node: &Node, diagnostics: &mut Diagnostics) -> Option<Chosen> {
        let none = Table::default();
        let (named, table) = match &node.content {
            Content::Text(_) => (node, &none),
            Content::Table(table) => match table.0.get("use") {
                Some(entry) => (&entry.node, table),
                None => {
                    let missing = Diagnostic::at(&node.place, "the key `use` is missing");
                    let example = match kind {
                        Kind::Loss => "loss = \"cross-entropy\"",
                        Kind::Model => "{ use = \"lenet\", weights = \"lenet.safetensors\" }",
                        _ => "{ use = \"cifar10\", split = \"train\" }",
                    };
                    diagnostics.push(missing.help(format!("name the {}, as in {example}", kind.name())));
                    return None;
                }
            },
            _ => {
                let expected = format!("the name of {}, or a table with `use`", with_article(kind));
                diagnostics.push(node.expected(&expected));
                return None;
            }
        };
        let name = fields::read(named, fields::text, diagnostics)?;
        let found = find(self.catalogue, kind, name, &named.place);
        let component = found.map_err(|problem| diagnostics.push(problem)).ok()?;
        let mut fields = Fields::new(table, node.place.clone());
        fields.node("use");
        let chosen = self.component(component, component.id, &mut fields, diagnostics);
        fields.finish(diagnostics);
        chosen
    }

    /// Reads the models that are members of another: ids of the spec, or tables with `use`; none if there was any mistake.
    fn models(self, parameter: &Parameter, node: &Node, diagnostics: &mut Diagnostics) -> Option<Vec<Chosen>> {
        let nodes = fields::read(node, fields::list, diagnostics)?;
        if nodes.len() < 2 {
            let message = format!("`{}` are at least two models", parameter.name);
            diagnostics.push(Diagnostic::at(&node.place, message).help(parameter.documentation));
            return None;
        }
        let models: Vec<Option<Chosen>> = nodes.iter().map(|node| self.member(node, diagnostics)).collect();
        models.into_iter().collect()
    }

    fn member(self, node: &Node, diagnostics: &mut Diagnostics) -> Option<Chosen> {
        if matches!(node.content, Content::Table(_)) {
            return self.nested(Kind::Model, node, diagnostics);
        }
        let id = node.text().ok_or_else(|| node.expected("the id of a model of this spec, or a table with `use`"));
        let id = id.map_err(|problem| diagnostics.push(problem)).ok()?;
        if let Some(peer) = self.peers.read.get(id) {
            return peer.as_deref().cloned();
        }
        let known: Vec<&str> = self.peers.ids.iter().map(String::as_str).collect();
        let help = did_you_mean(id, known.iter().copied()).or_else(|| match known.as_slice() {
            [] => None,
            known => Some(format!("there is {}", list(known))),
        });
        diagnostics.push(Diagnostic::at(&node.place, format!("this spec has no model `{id}`")).maybe_help(help));
        None
    }

    /// A component as the default of a parameter names it.
    fn default_of(self, kind: Kind, name: &str, place: &Place, diagnostics: &mut Diagnostics) -> Option<Chosen> {
        let found = find(self.catalogue, kind, name, place);
        let component = found.map_err(|problem| diagnostics.push(problem)).ok()?;
        let table = Table::default();
        self.component(component, component.id, &mut Fields::new(&table, place.clone()), diagnostics)
    }
}

/// The component of that kind and name, or a complaint that says what was meant instead.
pub(crate) fn find(
    catalogue: &Catalogue,
    kind: Kind,
    name: &str,
    place: &Place,
) -> Result<&'static Component, Diagnostic> {
    if let Some(found) = catalogue.get(kind, name) {
        return Ok(found);
    }
    let known: Vec<&str> = catalogue.of_kind(kind).map(|component| component.id).collect();
    let others = || Kind::ALL.into_iter().filter(|other| *other != kind);
    if let Some(other) = others().find(|other| catalogue.get(*other, name).is_some()) {
        let message = format!("`{name}` is {}, not {}", with_article(other), with_article(kind));
        return Err(Diagnostic::at(place, message).help(format!("move it to {}", section(other))));
    }
    let elsewhere = || {
        others().find_map(|other| {
            let near = nearest(name, catalogue.of_kind(other).map(|component| component.id))?;
            Some(format!("did you mean the {} `{near}`? it belongs into {}", other.name(), section(other)))
        })
    };
    let all = || (!known.is_empty()).then(|| format!("there is {}", list(&known)));
    let offered = catalogue.offered(kind, name);
    let help = offered.or_else(|| did_you_mean(name, known.iter().copied())).or_else(elsewhere).or_else(all);
    Err(Diagnostic::at(place, format!("unknown {} `{name}`", kind.name())).maybe_help(help))
}

const fn with_article(kind: Kind) -> &'static str {
    match kind {
        Kind::Attack => "an attack",
        Kind::Defense => "a defense",
        Kind::Model => "a model",
        Kind::Dataset => "a dataset",
        Kind::Recipe => "a recipe",
        Kind::Loss => "a loss",
    }
}

/// Where specs name components of a kind.
const fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Attack => "[[attack]]",
        Kind::Defense => "[[defense]]",
        Kind::Model => "[[model]]",
        Kind::Dataset => "[data]",
        Kind::Recipe => "[training]",
        Kind::Loss => "the `loss` of an attack",
    }
}

/// The key beside a file parameter that holds the digest which the file must have.
pub(crate) fn digest_key(parameter: &str) -> String {
    format!("{parameter}-blake3")
}

fn check_digest(file: ResolvedFile, expected: Option<&Node>) -> Result<ResolvedFile, Diagnostic> {
    let Some(node) = expected else { return Ok(file) };
    let expected = fields::text(node)?;
    if file.blake3.is_empty() || file.blake3.eq_ignore_ascii_case(expected) {
        return Ok(file);
    }
    let label = format!("the file has {}", file.blake3);
    Err(Diagnostic::at(&node.place, "the file is not the one that the spec means")
        .label(label)
        .help("get the right file, or correct the digest if the new file is meant"))
}

/// Reads the value of a parameter from a spec.
fn value(parameter: &Parameter, node: &Node) -> Result<Value, Diagnostic> {
    let value = match parameter.kind {
        ParameterKind::Flag => Value::Flag(fields::flag(node)?),
        ParameterKind::Count { minimum, maximum } => Value::Count(fields::count(node, minimum, maximum)?),
        ParameterKind::Number { minimum, maximum } => Value::Number(fields::number_within(node, minimum, maximum)?),
        ParameterKind::Numbers { minimum, maximum } => {
            let numbers = fields::list(node)?.iter().map(|node| fields::number_within(node, minimum, maximum));
            Value::Numbers(numbers.collect::<Result<_, _>>()?)
        }
        ParameterKind::Choice(words) => Value::Text(fields::word(node, words)?.to_owned()),
        // Losses, datasets and models are read with the catalogue.
        ParameterKind::Text
        | ParameterKind::File
        | ParameterKind::Loss
        | ParameterKind::Dataset
        | ParameterKind::Models => Value::Text(fields::text(node)?.to_owned()),
    };
    Ok(value)
}

/// Reads the default of a parameter.
fn fallback(parameter: &Parameter, text: &str) -> Result<Value, String> {
    let wrong = || format!("the default `{text}` of `{}` does not fit its kind", parameter.name);
    let number = |text: &str, minimum: f64, maximum: f64| {
        let number: Number = text.trim().parse()?;
        if (minimum..=maximum).contains(&number.value()) { Ok(number) } else { Err(wrong()) }
    };
    let value = match parameter.kind {
        ParameterKind::Flag => Value::Flag(text.parse().map_err(|_| wrong())?),
        ParameterKind::Count { minimum, maximum } => {
            let count = text.parse().ok().filter(|count| (minimum..=maximum).contains(count));
            Value::Count(count.ok_or_else(wrong)?)
        }
        ParameterKind::Number { minimum, maximum } => Value::Number(number(text, minimum, maximum)?),
        ParameterKind::Numbers { minimum, maximum } => {
            let numbers = text.split(',').map(|part| number(part, minimum, maximum));
            Value::Numbers(numbers.collect::<Result<_, _>>()?)
        }
        ParameterKind::Choice(words) => {
            let word = words.iter().find(|word| **word == text);
            Value::Text((*word.ok_or_else(wrong)?).to_owned())
        }
        ParameterKind::Text
        | ParameterKind::File
        | ParameterKind::Loss
        | ParameterKind::Dataset
        | ParameterKind::Models => Value::Text(text.to_owned()),
    };
    Ok(value)
}

/// Keys that a spec takes in the tables of a kind, beside the parameters of the component.
pub(crate) const fn common_keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Attack => &[
            "id",
            "use",
            "success",
            "restarts",
            "budget",
            "threats",
            "gradient",
            "record",
            "surrogates",
            "ensemble",
            "eot",
            "search",
            "members",
        ],
        Kind::Defense => &["id", "use", "gradient"],
        Kind::Model => &["id", "use"],
        Kind::Dataset => &["use", "samples", "range", "indices"],
        Kind::Recipe => &["id", "use", "title", "seed"],
        Kind::Loss => &["use"],
    }
}

/// Checks a component's own table: names, ranges, defaults, and no clash with the keys that specs give every component.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_component(component: &Component) -> Result<(), String> {
    let mut names: Vec<&str> = common_keys(component.kind()).to_vec();
    for parameter in component.parameters {
        if names.contains(&parameter.name) {
            return Err(format!("`{}`: the key `{}` is taken", component.id, parameter.name));
        }
        names.push(parameter.name);
        if parameter.documentation.is_empty() {
            return Err(format!("`{}`: the parameter `{}` is not documented", component.id, parameter.name));
        }
        if let Fallback::Value(text) = parameter.fallback {
            fallback(parameter, text).map_err(|message| format!("`{}`: {message}", component.id))?;
        }
    }
    if component.manual().is_empty() {
        return Err(format!("`{}`: it has no manual", component.id));
    }
    Ok(())
}
