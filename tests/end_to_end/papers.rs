//! The papers on small data: what they claim holds.

use std::collections::BTreeMap;

use crate::program::{argument, rows, succeed};

/// Those that take seconds.
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

/// On few images, of those that take minutes, the claims that they are there for: adversarial training keeps 40 points more under
/// AutoAttack than standard training, and centres lose under the adaptive loss what they seem to give under cross-entropy.
#[test]
fn headline_claims_hold_on_few_images() {
    let attacks = r#"matrix.only=[{ attack = ["pgd-cross-entropy", "pgd-cross-entropy-unrounded", "pgd-adaptive", "autoattack"] }]"#;
    for (paper, limit, only, headline) in [
        ("pgd-at", "24", None, ["pgd-at", "autoattack", "above", "standard none autoattack"]),
        ("mmc", "12", Some(attacks), ["mmc", "pgd-adaptive", "below", "mmc none pgd-cross-entropy"]),
    ] {
        let spec = format!("specs/papers/{paper}/small.toml");
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = vec!["run", &spec, "--limit", limit, "--out", argument(folder.path())];
        arguments.extend(only.into_iter().flat_map(|only| ["--set", only]));
        succeed(&arguments);
        let expectations = rows(&folder.path().join("expectations.csv"));
        let [model, attack, claim, other] = headline;
        let is_headline = |row: &&BTreeMap<String, String>| {
            let same = row["model"] == model && row["attack"] == attack && row["claim"] == claim;
            same && row["other"].starts_with(other) && row["eps"] == "0.2"
        };
        let verdicts: Vec<&String> = expectations.iter().filter(is_headline).map(|row| &row["verdict"]).collect();
        assert_eq!(verdicts, ["pass"], "{paper}: {expectations:?}");
    }
}
