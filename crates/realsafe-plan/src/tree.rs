//! TOML as a tree in which every key and value remembers its place, across files that extend each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source};

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Flag(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) BTreeMap<String, Entry>);

/// A value and the place of its key.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) node: Node,
}

/// Keys of which a table takes only one: an overlay that gives one drops the others of its base.
const ALTERNATIVES: [(&str, &[&str]); 2] =
    [("data", &["samples", "range", "indices"]), ("experiment", &["seed", "seeds"])];

impl Node {
    /// What it is, for messages.
    pub(crate) const fn describe(&self) -> &'static str {
        match &self.content {
            Content::Flag(_) => "a boolean",
            Content::Integer(_) => "a whole number",
            Content::Float(_) => "a decimal number",
            Content::Text(_) => "a string",
            Content::Date => "a date",
            Content::List(nodes) if nodes.is_empty() => "an empty list",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// A complaint that it is not what was expected.
    pub(crate) fn expected(&self, what: &str) -> Diagnostic {
        Diagnostic::at(&self.place, format!("expected {what}, found {}", self.describe()))
    }

    /// Its text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    fn from_toml(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Self {
        let place = reader.place(value.span());
        let content = match value.get_ref() {
            DeValue::String(text) => Content::Text(text.to_string()),
            DeValue::Boolean(flag) => Content::Flag(*flag),
            DeValue::Datetime(_) => Content::Date,
            DeValue::Integer(integer) => match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(integer) => Content::Integer(integer),
                Err(_) => reader.refuse(&place, "this whole number is too large"),
            },
            DeValue::Float(float) => match float.as_str().parse() {
                Ok(float) => Content::Float(float),
                Err(_) => reader.refuse(&place, "this is not a number"),
            },
            DeValue::Array(array) => Content::List(array.iter().map(|node| Self::from_toml(node, reader)).collect()),
            DeValue::Table(table) => Content::Table(Table::from_toml(table, reader)),
        };
        Self { place, content }
    }
}

impl Table {
    fn from_toml(table: &DeTable<'_>, reader: &mut Reader<'_>) -> Self {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let entry = Entry { key: reader.place(key.span()), node: Node::from_toml(value, reader) };
            (key.get_ref().to_string(), entry)
        };
        Self(table.iter().map(entry).collect())
    }

    /// Lays another table over this one: tables merge, everything else is replaced.
    pub(crate) fn overlay(&mut self, over: Self) {
        for (name, entry) in over.0 {
            self.overlay_entry(&name, entry);
        }
    }

    fn overlay_entry(&mut self, name: &str, over: Entry) {
        let Some(Entry { node: Node { content: Content::Table(below), .. }, .. }) = self.0.get_mut(name) else {
            self.0.insert(name.to_owned(), over);
            return;
        };
        let Content::Table(above) = over.node.content else {
            self.0.insert(name.to_owned(), over);
            return;
        };
        for (table, keys) in ALTERNATIVES {
            if table == name && keys.iter().any(|key| above.0.contains_key(*key)) {
                below.0.retain(|key, _| !keys.contains(&key.as_str()));
            }
        }
        below.overlay(above);
    }
}

/// Reads a whole document; syntax errors are added to `diagnostics`, and what could be read is returned.
pub(crate) fn parse(source: &Arc<Source>, diagnostics: &mut Diagnostics) -> Table {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader { source, offset: 0, diagnostics };
    for error in errors {
        let place = reader.place(error.span().unwrap_or(0..0));
        reader.diagnostics.push(Diagnostic::at(&place, error.message()));
    }
    Table::from_toml(table.get_ref(), &mut reader)
}

/// Reads a single value that starts at `offset` of a source; none if it is not TOML.
pub(crate) fn parse_value(
    source: &Arc<Source>,
    offset: usize,
    text: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    Some(Node::from_toml(&value, &mut Reader { source, offset, diagnostics }))
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    offset: usize,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn place(&self, span: std::ops::Range<usize>) -> Place {
        Place { source: self.source.clone(), span: self.offset + span.start..self.offset + span.end }
    }

    fn refuse(&mut self, place: &Place, message: &str) -> Content {
        self.diagnostics.push(Diagnostic::at(place, message));
        Content::Integer(0)
    }
}
