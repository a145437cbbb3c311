//! Mistakes in specs: what is wrong, where, and what to do about it.
//!
//! Nothing stops at the first mistake: whoever finds one adds a [`Diagnostic`] and goes on with what is left.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::render;

/// A text that places point into.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in messages: the path as the user wrote it, or the option for text from the command line.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The directory that relative paths in the text start from.
    pub(crate) fn directory(&self) -> &Path {
        Path::new(&self.name).parent().unwrap_or(Path::new(""))
    }
}

/// Bytes of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The source.
    pub source: Arc<Source>,
    /// The bytes.
    pub span: Range<usize>,
}

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// Where; unset when it is in no file, or a file cannot be read.
    pub place: Option<Place>,
    /// A few words beside the caret; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake that is in no file.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, label: String::new(), help: None }
    }

    /// A mistake at a place.
    pub fn at(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::new(message) }
    }

    /// With words beside the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a way out, if there is one.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// All mistakes that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds those of another file.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, once each, sorted by file and place; those without a place come first.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.0.iter().collect();
        let order = |diagnostic: &Diagnostic| {
            let place = diagnostic.place.as_ref();
            let place = place.map(|place| (place.source.name.clone(), place.span.start, place.span.end));
            (place, diagnostic.message.clone())
        };
        sorted.sort_by_cached_key(|diagnostic| order(diagnostic));
        sorted.dedup();
        sorted
    }

    /// The text for people: every mistake with file, line, column, caret and way out, and their number.
    pub fn render(&self, colour: bool) -> String {
        let sorted = self.sorted();
        let mut text: String = sorted.iter().map(|diagnostic| render::render(diagnostic, colour) + "\n\n").collect();
        match sorted.len() {
            0 => {}
            1 => text.push_str("1 mistake\n"),
            count => text.push_str(&format!("{count} mistakes\n")),
        }
        text
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

/// The candidate that `name` is most likely a misspelling of, if one is near enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let distance = |candidate: &'a str| (strsim::damerau_levenshtein(name, candidate), candidate);
    candidates
        .into_iter()
        .map(distance)
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean ...?`, if there is something near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// A way out of an unknown name: the nearest one, or else all of them.
pub(crate) fn did_you_mean_or_list(name: &str, candidates: &[&str]) -> Option<String> {
    let all = (!candidates.is_empty()).then(|| format!("there is {}", list(candidates)));
    did_you_mean(name, candidates.iter().copied()).or(all)
}

/// Names in backticks, separated by commas.
pub(crate) fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A path without needless `.` and `..`, for messages.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_suggested() {
        assert_eq!(nearest("step", ["steps", "restarts"]), Some("steps"));
        assert_eq!(nearest("setps", ["steps"]), Some("steps"));
        assert_eq!(nearest("pgd", ["bim", "mim"]), None);
        assert_eq!(nearest("sqare", ["square", "squeeze"]), Some("square"));
    }

    #[test]
    fn paths_are_tidied() {
        assert_eq!(tidy(Path::new("specs/../base/./x.toml")), Path::new("base/x.toml"));
        assert_eq!(tidy(Path::new("../x.toml")), Path::new("../x.toml"));
    }

    #[test]
    fn mistakes_are_sorted_and_counted_once() {
        let source = Arc::new(Source { name: "a.toml".to_owned(), text: "one two".to_owned() });
        let mut all = Diagnostics::default();
        for (start, message) in [(4, "second"), (0, "first"), (4, "second")] {
            all.push(Diagnostic::at(&Place { source: source.clone(), span: start..start + 3 }, message));
        }
        all.merge(Diagnostic::new("nowhere").into());
        let messages: Vec<&str> = all.sorted().iter().map(|diagnostic| diagnostic.message.as_str()).collect();
        assert_eq!(messages, ["nowhere", "first", "second"]);
        assert!(all.render(false).ends_with("3 mistakes\n"));
    }
}
