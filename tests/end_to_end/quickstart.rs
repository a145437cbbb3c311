//! The first command of the README, on fewer images.

use crate::program::{argument, rows, succeed};

#[test]
fn the_quickstart_attacks_through_every_door_and_writes_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let output = succeed(&[
        "run",
        "specs/quickstart.toml",
        "--limit",
        "24",
        "--out",
        argument(folder.path()),
        "--save-adversarials",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    for word in ["standard", "pgd-at", "fgsm", "bim", "mim", "pgd", "square", "boundary", "worst-case", "pass"] {
        assert!(table.contains(word), "no {word} in\n{table}");
    }
    let samples = rows(&folder.path().join("samples.csv"));
    assert!(samples.iter().all(|row| ["robust", "broken"].contains(&row["status"].as_str())));
    let most = |attack: &str, column: &str| {
        let values =
            samples.iter().filter(|row| row["attack"] == attack).map(|row| row[column].parse::<u64>().unwrap());
        values.max().unwrap()
    };
    // Who goes through which door shows in what was spent.
    assert_eq!((most("fgsm", "backwards"), most("square", "backwards"), most("boundary", "backwards")), (1, 0, 0));
    assert!(most("pgd", "backwards") <= 40 && most("square", "queries") <= 500 && most("boundary", "queries") <= 3000);
    for file in [
        "summary.csv",
        "curves.csv",
        "expectations.csv",
        "timings.csv",
        "manifest.json",
        "quickstart.resolved.toml",
        "report.html",
    ] {
        assert!(folder.path().join(file).is_file(), "{file} is missing");
    }
    let sets: Vec<_> =
        std::fs::read_dir(folder.path().join("adversarials")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let set = sets
        .iter()
        .find(|path| path.to_string_lossy().contains("pgd") && path.extension().is_some_and(|e| e == "safetensors"));
    succeed(&["verify-adversarials", argument(set.unwrap()), "specs/quickstart.toml"]);
}

#[test]
fn the_resolved_spec_gives_the_same_results() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    succeed(&["run", "tests/specs/small.toml", "--out", argument(first.path())]);
    let resolved = first.path().join("small.resolved.toml");
    succeed(&["run", argument(&resolved), "--out", argument(second.path())]);
    let read = |folder: &tempfile::TempDir| std::fs::read(folder.path().join("samples.csv")).unwrap();
    assert_eq!(read(&first), read(&second));
}
