//! From a path to one document: reads a spec, what it extends, and what the command line overrides.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source, tidy};
use crate::fields::Fields;
use crate::overrides;
use crate::spec::{self, Document, PluginFile};
use crate::tree::{Content, Node, Table, parse};
use crate::{Catalogue, Environment};

/// Reads and checks a spec.
///
/// `overrides` are the arguments of `--set`, such as `data.samples=10` or `attack.pgd.steps=5`; the latter addresses an
/// element of an array of tables by its id.
///
/// # Errors
/// All mistakes of the spec, of the files that it extends, and of the overrides, with a way out of each.
pub fn load_spec(
    path: &Path,
    overrides: &[String],
    catalogue: &Catalogue,
    environment: &Environment<'_>,
) -> Result<Document, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let Some((source, mut document)) = read(path, None, &mut Vec::new(), &mut diagnostics) else {
        return Err(diagnostics);
    };
    // What could not be parsed is missing, and would be complained about a second time.
    if !diagnostics.is_empty() {
        return Err(diagnostics);
    }
    overrides::apply(&mut document, overrides, &mut diagnostics);
    spec::resolve(&document, &source, catalogue, environment, diagnostics)
}

/// The plugins that a spec and what it extends name, as far as they can be read.
///
/// They are asked for before the catalogue is complete; [`load_spec`] then tells all mistakes, those of `[plugins]` too.
pub fn plugins_of_spec(path: &Path) -> Vec<PluginFile> {
    let mut ignored = Diagnostics::default();
    let Some((source, document)) = read(path, None, &mut Vec::new(), &mut ignored) else { return Vec::new() };
    spec::read_plugins(&mut Fields::new(&document, Place { source, span: 0..0 }), &mut ignored)
}

/// Reads a file and what it extends; `chain` holds the files that are being read, `asked` the place that named it.
fn read(
    path: &Path,
    asked: Option<&Place>,
    chain: &mut Vec<(PathBuf, PathBuf)>,
    diagnostics: &mut Diagnostics,
) -> Option<(Arc<Source>, Table)> {
    let refuse = |message: String| match asked {
        Some(place) => Diagnostic::at(place, message),
        None => Diagnostic::new(message),
    };
    let identity = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(first) = chain.iter().position(|(other, _)| *other == identity) {
        let names = chain[first..].iter().map(|(_, name)| name.as_path()).chain([path]);
        let names: Vec<String> = names.map(|name| name.display().to_string()).collect();
        let help = format!("the chain is {}", names.join(" -> "));
        diagnostics.push(refuse("the specs extend each other in a circle".to_owned()).help(help));
        return None;
    }
    let text = match fs_err::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            diagnostics.push(refuse(format!("`{}` is not a text in UTF-8", path.display())));
            return None;
        }
        Err(error) => {
            diagnostics.push(refuse(format!("cannot read the spec: {error}")));
            return None;
        }
    };
    let source = Arc::new(Source { name: path.display().to_string(), text });
    let mut own = parse(&source, diagnostics);
    let Some(extends) = own.0.remove("extends") else { return Some((source, own)) };
    chain.push((identity, path.to_owned()));
    let mut document = Table::default();
    for node in bases(&extends.node, diagnostics) {
        let base = tidy(&source.directory().join(node.text().unwrap_or_default()));
        if let Some((_, table)) = read(&base, Some(&node.place), chain, diagnostics) {
            document.overlay(table);
        }
    }
    chain.pop();
    document.overlay(own);
    Some((source, document))
}

fn bases<'a>(node: &'a Node, diagnostics: &mut Diagnostics) -> Vec<&'a Node> {
    let nodes = match &node.content {
        Content::List(nodes) => nodes.iter().collect(),
        _ => vec![node],
    };
    let is_text = |node: &&Node| {
        let fine = node.text().is_some();
        if !fine {
            diagnostics.push(node.expected("the path of a spec, or a list of them"));
        }
        fine
    };
    nodes.into_iter().filter(is_text).collect()
}
