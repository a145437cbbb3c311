//! Libraries that the tests compile.

use std::path::{Path, PathBuf};
use std::process::Command;

use realsafe_host::Digest;
use tempfile::TempDir;

/// A shared library, and the folder that it lies in.
pub(crate) struct Library {
    /// Removed with this.
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Library {
    /// Compiles a C file of `tests/c`.
    pub(crate) fn compile(source: &str, flags: &[&str]) -> Self {
        Self::compile_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/c/{source}.c")), flags)
    }

    /// Compiles any C file.
    pub(crate) fn compile_file(source: &Path, flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let name = source.file_stem().unwrap().to_string_lossy();
        let path = folder.path().join(format!("lib{name}.so"));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&path)
            .args(flags)
            .arg(source)
            .arg(concat!("-I", env!("CARGO_MANIFEST_DIR"), "/../realsafe-abi"))
            .status()
            .unwrap();
        assert!(status.success(), "cc failed");
        Self { _folder: folder, path }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of_file(&self.path).unwrap()
    }
}
