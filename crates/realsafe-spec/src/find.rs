//! From the paths of a command line to spec files.
//!
//! A file that is named is always meant. In folders, which are searched in depth, and among the matches of a pattern, a
//! `.toml` file counts by what it holds: with `[training]` it is a training run, with `[experiment]` an experiment, and
//! without both a base that others extend. Hidden files and the `.resolved.toml` files of reports are passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::exit::Exit;
use crate::failure::Failure;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The path, starting as the user wrote it.
    pub(crate) path: PathBuf,
    /// What it is.
    pub(crate) role: Role,
}

/// What a file is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The user named it.
    Named,
    /// An experiment in a folder.
    Experiment,
    /// A training run in a folder.
    Training,
    /// A base of others in a folder.
    Base,
}

/// All files that the arguments stand for, once each, in their order and sorted within a folder or pattern.
///
/// # Errors
/// Names every argument that stands for nothing.
pub(crate) fn find(arguments: &[String]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if path.is_dir() {
            search(path, &mut found)?;
        } else if path.exists() {
            found.push(Found { path: path.to_owned(), role: Role::Named });
        } else {
            let before = found.len();
            expand(argument, &mut found)?;
            if found.len() == before {
                missing.push(format!("`{argument}`"));
            }
        }
    }
    if !missing.is_empty() {
        let message = format!("no file, folder or pattern matches {}", missing.join(", "));
        return Err(Failure::new(Exit::Usage, message).hint("paths are relative to the current folder"));
    }
    let mut seen = BTreeSet::new();
    found.retain(|found| seen.insert(fs_err::canonicalize(&found.path).unwrap_or_else(|_| found.path.clone())));
    Ok(found)
}

/// The matches of a pattern.
fn expand(pattern: &str, found: &mut Vec<Found>) -> Result<(), Failure> {
    let paths = glob::glob(pattern)
        .map_err(|error| Failure::new(Exit::Usage, format!("`{pattern}` is neither a path nor a pattern: {error}")))?;
    for path in paths {
        let path = path.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        if path.is_dir() {
            search(&path, found)?;
        } else if is_spec(&path) {
            found.push(classify(path));
        }
    }
    Ok(())
}

/// The files of a folder and of those in it.
fn search(folder: &Path, found: &mut Vec<Found>) -> Result<(), Failure> {
    let entries = fs_err::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        } else if path.is_dir() {
            search(&path, found)?;
        } else if is_spec(&path) {
            found.push(classify(path));
        }
    }
    Ok(())
}

fn is_spec(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".toml") && !name.ends_with(".resolved.toml")
}

/// A file that cannot be read or parsed is taken for an experiment, so that somebody hears of it.
fn classify(path: PathBuf) -> Found {
    let table = fs_err::read_to_string(&path).ok().and_then(|text| text.parse::<toml::Table>().ok());
    let role = match table {
        Some(table) if table.contains_key("training") => Role::Training,
        Some(table) if !table.contains_key("experiment") => Role::Base,
        _ => Role::Experiment,
    };
    Found { path, role }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_patterns_are_sorted_classified_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        for (name, text) in [
            ("b.toml", "[experiment]\nid = \"b\""),
            ("a.toml", "not toml"),
            ("base/c.toml", "[data]\nuse = \"digits\""),
            ("train.toml", "[training]\nid = \"t\""),
            ("b.resolved.toml", "[experiment]"),
            (".hidden/d.toml", "[experiment]"),
            ("notes.txt", ""),
        ] {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let found = |arguments: &[String]| -> Vec<(String, Role)> {
            let found = find(arguments).unwrap().into_iter();
            found
                .map(|found| (found.path.strip_prefix(folder.path()).unwrap().display().to_string(), found.role))
                .collect()
        };
        let named = |name: &str, role| (name.to_owned(), role);
        let all = [
            named("a.toml", Role::Experiment),
            named("b.toml", Role::Experiment),
            named("base/c.toml", Role::Base),
            named("train.toml", Role::Training),
        ];
        assert_eq!(found(&[at("")]), all);
        assert_eq!(
            found(&[at("base/c.toml"), at("*.toml")]),
            [named("base/c.toml", Role::Named), all[0].clone(), all[1].clone(), all[3].clone()]
        );
        let failure = find(&[at("none.toml"), at("b.toml"), at("*.tml")]).unwrap_err();
        assert!(
            matches!(failure, Failure::Error { message, .. } if message.contains("none.toml") && message.contains("*.tml"))
        );
    }
}
