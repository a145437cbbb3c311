//! Reading a table key by key: each reader checks the type, and what nobody asked for is an unknown key.

use crate::Number;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, did_you_mean, did_you_mean_or_list, list as quoted};
use crate::tree::{Content, Entry, Node, Table};

/// A table that is being read.
pub(crate) struct Fields<'a> {
    table: &'a Table,
    /// Where the table is, for what it lacks.
    pub(crate) place: Place,
    asked: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Starts to read a table at a place.
    pub(crate) const fn new(table: &'a Table, place: Place) -> Self {
        Self { table, place, asked: Vec::new() }
    }

    /// Starts to read a node, which must be a table.
    pub(crate) fn of(node: &'a Node, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Content::Table(table) = &node.content else {
            diagnostics.push(node.expected("a table"));
            return None;
        };
        Some(Self::new(table, node.place.clone()))
    }

    /// The entry of that key.
    pub(crate) fn entry(&mut self, key: &str) -> Option<&'a Entry> {
        self.asked.push(key.to_owned());
        self.table.0.get(key)
    }

    /// The value of that key.
    pub(crate) fn node(&mut self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A table of the document, which must not be missing; `header` is how it is written.
    pub(crate) fn section(&mut self, key: &str, header: &str, diagnostics: &mut Diagnostics) -> Option<&'a Node> {
        let node = self.node(key);
        if node.is_none() {
            diagnostics.push(Diagnostic::at(&self.place, format!("the table {header} is missing")));
        }
        node
    }

    /// The value of that key, which must not be missing.
    pub(crate) fn required(&mut self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'a Node> {
        let node = self.node(key);
        if node.is_none() {
            diagnostics.push(self.missing(key));
        }
        node
    }

    /// Where the table is named: at its `id`, else at its `use`, else as a whole.
    pub(crate) fn name_place(&self) -> Place {
        let entry = ["id", "use"].iter().find_map(|key| self.table.0.get(*key));
        entry.map_or_else(|| self.place.clone(), |entry| entry.node.place.clone())
    }

    /// A complaint that a key is missing.
    pub(crate) fn missing(&self, key: &str) -> Diagnostic {
        Diagnostic::at(&self.place, format!("the key `{key}` is missing"))
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'a str> {
        read(self.node(key)?, text, diagnostics)
    }

    /// Reads a value, if it is there, and notes what is wrong with it.
    pub(crate) fn read<T>(
        &mut self,
        key: &str,
        reader: impl FnOnce(&'a Node) -> Result<T, Diagnostic>,
        diagnostics: &mut Diagnostics,
    ) -> Option<T> {
        read(self.node(key)?, reader, diagnostics)
    }

    /// Complains about every key that nobody asked for.
    pub(crate) fn finish(self, diagnostics: &mut Diagnostics) {
        for (key, entry) in &self.table.0 {
            if !self.asked.contains(key) {
                let help = did_you_mean(key, self.asked.iter().map(String::as_str));
                diagnostics.push(Diagnostic::at(&entry.key, format!("unknown key `{key}`")).maybe_help(help));
            }
        }
    }
}

/// Reads a value and notes what is wrong with it.
pub(crate) fn read<'a, T>(
    node: &'a Node,
    reader: impl FnOnce(&'a Node) -> Result<T, Diagnostic>,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    reader(node).map_err(|diagnostic| diagnostics.push(diagnostic)).ok()
}

/// A string.
pub(crate) fn text(node: &Node) -> Result<&str, Diagnostic> {
    node.text().ok_or_else(|| node.expected("a string"))
}

/// `true` or `false`.
pub(crate) fn flag(node: &Node) -> Result<bool, Diagnostic> {
    match node.content {
        Content::Flag(flag) => Ok(flag),
        _ => Err(node.expected("`true` or `false`")),
    }
}

/// A whole number in a closed range.
pub(crate) fn count(node: &Node, minimum: u64, maximum: u64) -> Result<u64, Diagnostic> {
    let Content::Integer(integer) = node.content else { return Err(node.expected("a whole number")) };
    match u64::try_from(integer) {
        Ok(count) if (minimum..=maximum).contains(&count) => Ok(count),
        _ => {
            let range = if maximum >= i64::MAX as u64 {
                format!("at least {minimum}")
            } else {
                format!("from {minimum} to {maximum}")
            };
            Err(out_of_range(node, &integer.to_string(), &range))
        }
    }
}

/// A number, as a float, an integer or a string such as `"8/255"`.
pub(crate) fn number(node: &Node) -> Result<Number, Diagnostic> {
    match &node.content {
        Content::Integer(integer) => Ok(Number::from(*integer as f64)),
        Content::Float(float) if float.is_finite() => Ok(Number::from(*float)),
        Content::Float(_) => Err(Diagnostic::at(&node.place, "expected a finite number")),
        Content::Text(text) => text.parse().map_err(|message: String| Diagnostic::at(&node.place, message)),
        _ => Err(node.expected("a number")),
    }
}

/// A number in a closed range.
pub(crate) fn number_within(node: &Node, minimum: f64, maximum: f64) -> Result<Number, Diagnostic> {
    let number = number(node)?;
    if (minimum..=maximum).contains(&number.value()) {
        return Ok(number);
    }
    let range = match (minimum.is_finite(), maximum.is_finite()) {
        (true, true) => format!("from {minimum} to {maximum}"),
        (true, false) => format!("at least {minimum}"),
        _ => format!("at most {maximum}"),
    };
    Err(out_of_range(node, number.text(), &range))
}

/// A complaint that a value is out of its range.
pub(crate) fn out_of_range(node: &Node, value: &str, range: &str) -> Diagnostic {
    Diagnostic::at(&node.place, format!("{value} is out of range")).label(format!("must be {range}"))
}

/// One of these words.
pub(crate) fn word<'a>(node: &Node, words: &[&'a str]) -> Result<&'a str, Diagnostic> {
    let found = text(node).map_err(|error| error.help(format!("there is {}", quoted(words))))?;
    words.iter().find(|word| **word == found).copied().ok_or_else(|| {
        Diagnostic::at(&node.place, format!("unknown value `{found}`")).maybe_help(did_you_mean_or_list(found, words))
    })
}

/// One of these things, by its name.
pub(crate) fn named<T: Clone>(node: &Node, all: &[T], name: impl Fn(&T) -> &'static str) -> Result<T, Diagnostic> {
    let words: Vec<&str> = all.iter().map(&name).collect();
    let word = word(node, &words)?;
    all.iter().find(|thing| name(thing) == word).cloned().ok_or_else(|| node.expected("one of the words"))
}

/// The elements of a list, or a scalar as the only one.
pub(crate) fn one_or_more(node: &Node) -> &[Node] {
    match &node.content {
        Content::List(nodes) => nodes,
        _ => std::slice::from_ref(node),
    }
}

/// The elements of a list.
pub(crate) fn list(node: &Node) -> Result<&[Node], Diagnostic> {
    match &node.content {
        Content::List(nodes) => Ok(nodes),
        _ => Err(node.expected("a list")),
    }
}

/// An id: lowercase letters, digits and hyphens, so that it can stand in paths, overrides and stack names.
pub(crate) fn id(node: &Node) -> Result<&str, Diagnostic> {
    let id = text(node)?;
    let fine =
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fine && !id.starts_with('-') && !id.ends_with('-') {
        return Ok(id);
    }
    Err(Diagnostic::at(&node.place, format!("`{id}` is not an id"))
        .help("write lowercase letters, digits and hyphens, as in `pgd-at-table`"))
}
