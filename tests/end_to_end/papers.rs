//! The papers on small data: what they claim holds.

use crate::program::{argument, succeed};

/// The three that take seconds; the others take minutes, and every one is checked with all specs.
#[test]
fn quick_papers_are_reproduced() {
    for paper in ["fgsm", "mim", "obfuscated-gradients"] {
        let spec = format!("specs/papers/{paper}/small.toml");
        let folder = tempfile::tempdir().unwrap();
        let output = succeed(&["run", &spec, "--out", argument(folder.path())]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("pass"), "{spec}:\n{table}");
    }
}
