//! A folder in which the program is used: with a lock, specs and results of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::program::{argument, program, rows};

/// A row of a table, by column.
pub(super) type Row = BTreeMap<String, String>;

/// A folder in which the program is used.
pub(super) struct Workplace(TempDir);

/// What a call of the program gave.
pub(super) struct Called {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Workplace {
    /// An empty folder.
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder in which some libraries are trusted.
    pub(super) fn trusting(libraries: &[&Path]) -> Self {
        let workplace = Self::new();
        workplace.trust(libraries);
        workplace
    }

    pub(super) fn trust(&self, libraries: &[&Path]) {
        let mut arguments = vec!["plugin", "trust"];
        arguments.extend(libraries.iter().map(|library| argument(library)));
        let trusted = self.call(&arguments);
        assert_eq!(trusted.code, Some(0), "{trusted}");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The rows of a table of results.
    pub(super) fn rows(&self, name: &str) -> Vec<Row> {
        rows(&self.path(name))
    }

    /// The program, to be run here.
    pub(super) fn program(&self, arguments: &[&str]) -> Command {
        self.place(program(arguments))
    }

    /// A command, to be run here.
    pub(super) fn place(&self, mut command: Command) -> Command {
        command.current_dir(self.0.path()).env_remove("REALSAFE_PLUGIN_PATH");
        command
    }

    /// Runs the program to its end.
    pub(super) fn call(&self, arguments: &[&str]) -> Called {
        Called::of(self.program(arguments))
    }

    /// Runs the program to its end, which must be a good one.
    pub(super) fn succeed(&self, arguments: &[&str]) -> Called {
        let called = self.call(arguments);
        assert_eq!(called.code, Some(0), "{arguments:?}: {called}");
        called
    }
}

impl Called {
    /// Runs a command to its end.
    pub(super) fn of(mut command: Command) -> Self {
        let output = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks how it ended, and that it says all of this to whoever made the mistake.
    pub(super) fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self}");
        words.iter().for_each(|word| assert!(self.stderr.contains(word), "no {word:?} in {self}"));
    }
}

impl fmt::Display for Called {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "exit code {:?}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}
