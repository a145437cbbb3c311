//! Libraries that the tests compile.

use std::path::PathBuf;
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
        let crate_folder = env!("CARGO_MANIFEST_DIR");
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(format!("lib{source}.so"));
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&path)
            .args(flags)
            .arg(format!("{crate_folder}/tests/c/{source}.c"))
            .arg(format!("-I{crate_folder}/../realsafe-abi"))
            .status()
            .unwrap();
        assert!(status.success(), "cc failed");
        Self { _folder: folder, path }
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of_file(&self.path).unwrap()
    }
}
