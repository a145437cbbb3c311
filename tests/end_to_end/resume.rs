//! Killing the program at any moment loses nothing but the running cells.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

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

#[test]
fn training_killed_at_random_moments_ends_with_the_same_weights() {
    let train = |folder: &Path| {
        let mut arguments = vec!["train", "specs/training/digits-free-at.toml", "--out", argument(folder)];
        for change in [
            "data.samples=96",
            "training.epochs=12",
            "training.average-decay=0.9",
            "training.augmentation=crop-flip",
            "training.padding=1",
            "training.warm-up=0.2",
        ] {
            arguments.extend(["--set", change]);
        }
        program(&arguments)
    };
    let finish = |folder: &Path| {
        let output = train(folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let reference = tempfile::tempdir().unwrap();
    let start = Instant::now();
    finish(reference.path());
    let whole = start.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut halfway = 0;
    for _ in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let mut child = train(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(whole.mul_f64(random.random_range(0.1..0.4)));
            child.kill().unwrap();
            child.wait().unwrap();
            let there = |file: &str| folder.path().join(file).exists();
            halfway += usize::from(there("checkpoint.safetensors") && !there("weights.safetensors"));
        }
        finish(folder.path());
        for file in ["weights.safetensors", "metrics.csv", "training.toml"] {
            let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
            assert!(read(&reference) == read(&folder), "{file} differs after being killed");
        }
    }
    assert!(halfway >= 2, "only {halfway} runs were killed between two epochs");
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
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("incomplete: "), "what there is was reported");
}
