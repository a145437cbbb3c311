//! Killing the program at any moment loses nothing but the running cells.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::program::{argument, program, succeed};

fn cells(folder: &Path) -> BTreeSet<String> {
    let prefixes = std::fs::read_dir(folder.join("store/cells")).into_iter().flatten().flatten();
    let cells = prefixes.filter_map(|prefix| std::fs::read_dir(prefix.path()).ok()).flatten().flatten();
    cells.map(|cell| cell.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn killed_at_random_moments_it_resumes_to_the_same_bytes() {
    let reference = tempfile::tempdir().unwrap();
    succeed(&["run", "tests/specs/small.toml", "--out", argument(reference.path())]);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut kills = 0;
    for _ in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let mut stored = BTreeSet::new();
        for _ in 0..12 {
            let mut command = program(&["run", "tests/specs/small.toml", "--out", argument(folder.path())]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(random.random_range(5..700)));
            kills += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            let now = cells(folder.path());
            assert!(now.is_superset(&stored), "a stored cell is gone");
            stored = now;
        }
        succeed(&["run", "tests/specs/small.toml", "--out", argument(folder.path())]);
        for file in ["samples.csv", "summary.csv", "curves.csv", "expectations.csv", "report.html"] {
            let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
            assert!(read(&reference) == read(&folder), "{file} differs after being killed");
        }
    }
    assert!(kills >= 12, "only {kills} runs were killed before their end");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_cleanly_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["run", "tests/specs/small.toml", "--set", "attack.square.queries=20000", "--out", argument(folder.path())];
    let mut child = program(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    let mut errors = String::new();
    while !errors.contains("stored already") {
        assert!(reader.read_line(&mut errors).unwrap() > 0, "it ended too early: {errors}");
    }
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    reader.read_to_string(&mut errors).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(75), "{errors}");
    assert!(errors.contains("the same command goes on"), "{errors}");
}
