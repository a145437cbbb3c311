//! Results do not depend on how samples are batched, sharded or run side by side.

use std::path::Path;

use crate::program::{argument, succeed};

/// The rows of `samples.csv` without the column that names cells, which change with their size.
fn samples(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("samples.csv")).unwrap();
    let without_cell = |line: &str| {
        let mut fields: Vec<&str> = line.split(',').collect();
        fields.remove(1);
        fields.join(",")
    };
    text.lines().map(without_cell).collect()
}

#[test]
fn chunks_and_jobs_change_no_number_on_flex() {
    chunks_and_jobs_change_no_number("tests/specs/small.toml", "flex");
}

/// Runs a spec in several ways.
pub(crate) fn chunks_and_jobs_change_no_number(spec: &str, device: &str) {
    let reference = tempfile::tempdir().unwrap();
    succeed(&["run", spec, "--device", device, "--out", argument(reference.path())]);
    let mut expected = samples(reference.path());
    expected.sort_unstable();
    for (chunk, jobs) in [("5", "1"), ("80", "2"), ("27", "3")] {
        let folder = tempfile::tempdir().unwrap();
        let chunk = format!("run.chunk={chunk}");
        let out = argument(folder.path());
        succeed(&["run", spec, "--device", device, "--set", &chunk, "--jobs", jobs, "--out", out]);
        let mut found = samples(folder.path());
        found.sort_unstable();
        assert!(found == expected, "{chunk} with {jobs} jobs gives other numbers");
    }
}

#[test]
fn shares_merge_into_the_whole() {
    let whole = tempfile::tempdir().unwrap();
    succeed(&["run", "tests/specs/small.toml", "--out", argument(whole.path())]);
    for partition in ["slice", "hash"] {
        let shares: Vec<_> = (1..=3).map(|_| tempfile::tempdir().unwrap()).collect();
        for (number, share) in (1..).zip(&shares) {
            let partition = format!("{partition}:{number}/3");
            succeed(&["run", "tests/specs/small.toml", "--partition", &partition, "--out", argument(share.path())]);
        }
        let merged = tempfile::tempdir().unwrap();
        let mut merge = vec!["merge", "--out", argument(merged.path())];
        merge.extend(shares.iter().map(|share| argument(share.path())));
        succeed(&merge);
        succeed(&["report", "tests/specs/small.toml", "--out", argument(merged.path())]);
        for file in ["samples.csv", "summary.csv", "curves.csv", "expectations.csv"] {
            let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
            assert!(read(&whole) == read(&merged), "{partition}: {file} differs");
        }
    }
}
