//! `--set a.b=c`: values from the command line, laid over those of the files.
//!
//! The path names tables by key and elements of arrays of tables by their id (or `use`, or `norm`): `data.samples=10`,
//! `attack.pgd.steps=5`. The value is TOML; what is not TOML is taken as a string, so `data.split=train` works.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, did_you_mean_or_list};
use crate::tree::{Content, Entry, Node, Table, parse_value};

/// Lays all overrides over a document, in their order.
pub(crate) fn apply(document: &mut Table, overrides: &[String], diagnostics: &mut Diagnostics) {
    let source = Arc::new(Source { name: "--set".to_owned(), text: overrides.join("\n") });
    let mut start = 0;
    for text in overrides {
        if let Err(diagnostic) = apply_one(document, text, start, &source, diagnostics) {
            diagnostics.push(diagnostic);
        }
        start += text.len() + 1;
    }
}

fn apply_one(
    document: &mut Table,
    text: &str,
    start: usize,
    source: &Arc<Source>,
    diagnostics: &mut Diagnostics,
) -> Result<(), Diagnostic> {
    let place = |span: Range<usize>| Place { source: source.clone(), span: start + span.start..start + span.end };
    let Some((path, value)) = text.split_once('=') else {
        let message = "an override needs a path and a value";
        return Err(Diagnostic::at(&place(0..text.len()), message).help("write it as in --set data.samples=10"));
    };
    let offset = path.len() + 1;
    let trimmed = value.trim();
    let node = parse_value(source, start + offset, value, diagnostics)
        .unwrap_or_else(|| Node { place: place(offset..text.len()), content: Content::Text(trimmed.to_owned()) });
    let mut keys = Vec::new();
    let mut position = 0;
    for key in path.split('.') {
        keys.push((key.trim(), place(position..position + key.len())));
        position += key.len() + 1;
    }
    if let Some((_, place)) = keys.iter().find(|(key, _)| key.is_empty()) {
        return Err(Diagnostic::at(place, "an override needs a name between its dots"));
    }
    set(document, &keys, node)
}

fn set(table: &mut Table, keys: &[(&str, Place)], node: Node) -> Result<(), Diagnostic> {
    let [(key, place), rest @ ..] = keys else { return Ok(()) };
    match table.0.get_mut(*key).map(|entry| &mut entry.node) {
        Some(Node { content: Content::List(elements), .. }) if !rest.is_empty() => {
            set_in_list(elements, key, rest, node)
        }
        Some(scalar) if !rest.is_empty() && !matches!(scalar.content, Content::Table(_)) => {
            Err(Diagnostic::at(place, format!("`{key}` is {}, not a table", scalar.describe())))
        }
        _ => {
            table.overlay(nested(keys, node));
            Ok(())
        }
    }
}

/// A table of tables that holds nothing but `node`, under these keys.
fn nested(keys: &[(&str, Place)], mut node: Node) -> Table {
    for (key, place) in keys.iter().rev() {
        let entry = Entry { key: place.clone(), node };
        let content = Content::Table(Table(BTreeMap::from([((*key).to_owned(), entry)])));
        node = Node { place: place.clone(), content };
    }
    match node.content {
        Content::Table(table) => table,
        _ => Table::default(),
    }
}

fn set_in_list(elements: &mut [Node], name: &str, keys: &[(&str, Place)], node: Node) -> Result<(), Diagnostic> {
    let [(id, place), rest @ ..] = keys else { return Ok(()) };
    if rest.is_empty() {
        let message = format!("`{name}` is a list; say which key of `{id}` to set");
        return Err(Diagnostic::at(place, message).help(format!("write it as in --set {name}.{id}.KEY=VALUE")));
    }
    let ids: Vec<String> = elements.iter().filter_map(id_of).collect();
    let Some(element) = elements.iter_mut().find(|element| id_of(element).as_deref() == Some(id)) else {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        return Err(
            Diagnostic::at(place, format!("no `{name}` is named `{id}`")).maybe_help(did_you_mean_or_list(id, &ids))
        );
    };
    match &mut element.content {
        Content::Table(inner) => set(inner, rest, node),
        _ => Err(Diagnostic::at(place, format!("`{id}` of `{name}` is not a table"))),
    }
}

fn id_of(node: &Node) -> Option<String> {
    let Content::Table(table) = &node.content else { return None };
    let entry = ["id", "use", "norm"].iter().find_map(|key| table.0.get(*key))?;
    entry.node.text().map(str::to_owned)
}
