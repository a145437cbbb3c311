//! Short ways to call the program and to read what it wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the repository").to_owned()
}

/// The program, to be run in the root of the repository.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_realsafe-tests"));
    command.current_dir(root()).args(arguments);
    command
}

/// Runs the program to its end, which must be a good one.
pub(crate) fn succeed(arguments: &[&str]) -> Output {
    let output = program(arguments).output().expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} ended with {}:\n{errors}", output.status);
    output
}

/// Where real images and weights are, if anywhere.
pub(crate) fn data() -> Option<PathBuf> {
    let data = std::env::var_os("REALSAFE_DATA").map(PathBuf::from);
    if data.is_none() {
        println!("skipped: REALSAFE_DATA is not set");
    }
    data
}

/// The rows of a CSV file, each by column.
pub(crate) fn rows(file: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    reader.deserialize().map(|row| row.expect("a row of the file")).collect()
}

/// A path as an argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
