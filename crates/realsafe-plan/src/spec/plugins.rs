//! `[plugins]`: shared libraries that a spec takes components from.

use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, tidy};
use crate::fields::{self, Fields};
use crate::tree::{Content, Node};

/// A plugin that a spec names.
#[derive(Clone, Debug)]
pub struct PluginFile {
    /// The name that the plugin must have.
    pub name: String,
    /// Where it lies: relative to the file that names it.
    pub path: PathBuf,
    /// BLAKE3 that the file must have, if the spec says it.
    pub blake3: Option<String>,
    /// Where it is named.
    pub place: Place,
}

/// Reads `[plugins]`: by name, a path or a table of `path` and `blake3`.
pub(crate) fn read(top: &mut Fields<'_>, diagnostics: &mut Diagnostics) -> Vec<PluginFile> {
    let Some(node) = top.node("plugins") else { return Vec::new() };
    let Content::Table(table) = &node.content else {
        let help = "write [plugins], and below it name = \"path of the library\"";
        diagnostics.push(node.expected("a table").help(help));
        return Vec::new();
    };
    let entries = table.0.iter();
    entries.filter_map(|(name, entry)| file(name, &entry.key, &entry.node, diagnostics)).collect()
}

fn file(name: &str, key: &Place, node: &Node, diagnostics: &mut Diagnostics) -> Option<PluginFile> {
    let (path, blake3) = match &node.content {
        Content::Table(_) => {
            let mut fields = Fields::of(node, diagnostics)?;
            let path = fields.required("path", diagnostics);
            let blake3 = fields.read("blake3", digest, diagnostics);
            fields.finish(diagnostics);
            (path?, blake3)
        }
        _ => (node, None),
    };
    let text = fields::read(path, fields::text, diagnostics)?;
    let directory = path.place.source.directory();
    Some(PluginFile { name: name.to_owned(), path: tidy(&directory.join(text)), blake3, place: key.clone() })
}

fn digest(node: &Node) -> Result<String, Diagnostic> {
    let text = fields::text(node)?;
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    let problem = Diagnostic::at(&node.place, format!("`{text}` is not a BLAKE3"));
    Err(problem.help("write its 64 hexadecimal digits; `realsafe-spec plugin trust` tells them"))
}
