//! The libraries that the tests use, built once per test process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::program::root;

/// The library of an example in Rust.
pub(super) fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build("plugins"));
    library("plugins", name)
}

/// The library of the example in C.
pub(super) fn uniform_noise() -> PathBuf {
    compile(&root().join("plugins/uniform-noise/uniform_noise.c"), &folder("plugins").join("uniform_noise.so"))
}

/// The library of a plugin of the tests.
pub(super) fn of_tests(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| build("tests/plugins"));
    library("tests/plugins", name)
}

/// The library of a file in `tests/plugins/broken`, without `.c`.
pub(super) fn broken(name: &str) -> PathBuf {
    let source = root().join(format!("tests/plugins/broken/{name}.c"));
    compile(&source, &folder("tests/plugins").join(format!("{name}.so")))
}

fn library(workspace: &str, name: &str) -> PathBuf {
    let name = name.replace('-', "_");
    folder(workspace).join(format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

/// Where the libraries of a workspace are: each has a folder, so that nobody meets what misbehaves among the examples.
fn folder(workspace: &str) -> PathBuf {
    root().join(workspace).join("target/release")
}

/// Builds a workspace of plugins as their authors do, with what is on this machine already.
fn build(workspace: &str) {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--offline", "--quiet", "--manifest-path"]);
    command.arg(root().join(workspace).join("Cargo.toml"));
    succeed(command.arg("--target-dir").arg(root().join(workspace).join("target")));
}

/// Compiles a plugin in C. It is replaced in one go, for others may have loaded it.
fn compile(source: &Path, library: &Path) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    std::fs::create_dir_all(library.parent().unwrap()).unwrap();
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let new = library.with_extension(format!("{}.new", std::process::id()));
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-I"]);
    command.arg(root().join("crates/realsafe-abi"));
    succeed(command.arg(source).arg("-o").arg(&new));
    std::fs::rename(&new, library).unwrap();
    library.to_owned()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
