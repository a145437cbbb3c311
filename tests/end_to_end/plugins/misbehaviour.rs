//! What a plugin does to itself costs exactly its own cells.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::libraries::of_tests;
use super::workplace::{Row, Workplace};
use crate::program::argument;

/// Each attack makes two cells.
const SPEC: &str = r#"
[experiment]
id = "misbehaviour"

[data]
use = "digits"
samples = 16

[[model]]
use = "digits-cnn"
weights = "builtin:digits-standard"

[[threat]]
norm = "linf"
eps = "0.1"

[[attack]]
use = "fgsm"

[run]
chunk = 8
"#;

/// Each attack, and how its samples end.
const ATTACKS: [(&str, &str); 9] = [
    ("aborts", "crashed"),
    ("hangs", "timed-out"),
    ("leaves-ball", "invalid"),
    ("leaks-tape", "robust"),
    ("over-queries", "over-budget"),
    ("panics", "failed"),
    ("prints", "robust"),
    ("segfaults", "crashed"),
    ("writes-nan", "invalid"),
];

/// The status of a sample that gives no image at all.
const FAILURES: [&str; 5] = ["failed", "crashed", "timed-out", "out-of-memory", "over-budget"];

/// A folder with the spec, and more of it; and the plugin.
fn workplace(more: &str) -> (Workplace, PathBuf) {
    let library = of_tests("misbehaving");
    let workplace = Workplace::trusting(&[&library]);
    workplace.write("spec.toml", format!("{SPEC}\n{more}"));
    (workplace, library)
}

/// Runs the spec, which must end with the code for failed cells.
fn fail(workplace: &Workplace, options: &[&str]) -> String {
    let called = workplace.call(&[&["run", "spec.toml"], options].concat());
    called.expect(1, &["attacks ended in errors on some samples"]);
    called.stderr
}

/// The rows that agree with some columns.
fn select<'a>(rows: &'a [Row], wanted: &[(&str, &str)]) -> Vec<&'a Row> {
    rows.iter().filter(|row| wanted.iter().all(|(column, value)| row[*column] == *value)).collect()
}

/// The statuses of rows whose clean images are predicted well; the others are adversarial before any attack.
fn statuses<'a>(rows: &[&'a Row]) -> BTreeSet<&'a str> {
    let attacked = rows.iter().filter(|row| row["clean_pred"] == row["label"] || row["clean_pred"].is_empty());
    attacked.map(|row| row["status"].as_str()).collect()
}

#[test]
fn every_misbehaving_attack_costs_its_own_cells() {
    let more: String = ATTACKS.iter().map(|(id, _)| format!("[[attack]]\nuse = \"{id}\"\n")).collect();
    let (workplace, library) = workplace(&more);
    let options = ["--plugin-deadline", "2", "--plugin", argument(&library)];
    let errors = fail(&workplace, &options);
    let rows = workplace.rows("results/samples.csv");
    for (attack, status) in ATTACKS {
        let own = select(&rows, &[("attack", attack)]);
        assert_eq!(own.len(), 16, "{attack}");
        assert_eq!(statuses(&own), BTreeSet::from([status]), "{attack}:\n{errors}");
        if FAILURES.contains(&status) {
            assert!(own.iter().all(|row| row["adv_pred"].is_empty() && row["status"] == status), "{attack}");
        }
    }

    // The rest of the run is what it is without them.
    let alone = Workplace::new();
    alone.write("spec.toml", SPEC);
    alone.succeed(&["run", "spec.toml"]);
    let of_fgsm =
        |text: String| text.lines().filter(|line| line.contains(",fgsm,")).map(str::to_owned).collect::<Vec<_>>();
    let expected = of_fgsm(alone.read("results/samples.csv"));
    assert_eq!(expected.len(), 16);
    assert_eq!(of_fgsm(workplace.read("results/samples.csv")), expected);

    // What it was is told.
    let summary = workplace.rows("results/summary.csv");
    for (attack, word) in [
        ("prints", "a plugin prints to stdout"),
        ("leaks-tape", "tape"),
        ("panics", "a panic at step 1"),
        ("segfaults", "segmentation fault"),
        ("aborts", "abort"),
        ("hangs", "no answer within 2 s"),
    ] {
        let warnings = &select(&summary, &[("attack", attack)])[0]["warnings"];
        assert!(warnings.contains(word), "{attack}: {warnings}");
        assert!(errors.contains(word), "{attack}: {errors}");
    }
    // Nobody's prints get between the results.
    assert!(!workplace.read("results/samples.csv").contains("prints to stdout"));

    // Failures are tried again, results are kept, and nothing comes out differently.
    let before = workplace.read("results/samples.csv");
    let again = fail(&workplace, &options);
    let failed = ATTACKS.iter().filter(|(_, status)| FAILURES.contains(status)).count();
    let cells = 2 * (ATTACKS.len() + 1);
    assert!(again.contains(&format!("{cells} cells, {} of them stored already", cells - 2 * failed)), "{again}");
    assert!(workplace.read("results/samples.csv") == before, "a second run gives other samples: {again}");
}

/// On its own, for new memory may be slow to get, and the deadline is not to come first.
#[test]
fn an_attack_that_takes_too_much_memory_costs_its_own_cells() {
    let (workplace, library) = workplace("[[attack]]\nuse = \"eats-memory\"\n");
    let errors = fail(&workplace, &["--plugin-memory", "300", "--plugin", argument(&library)]);
    let rows = workplace.rows("results/samples.csv");
    let own = select(&rows, &[("attack", "eats-memory"), ("status", "out-of-memory")]);
    assert_eq!((own.len(), rows.len()), (16, 32), "{errors}");
    assert!(statuses(&select(&rows, &[("attack", "fgsm")])).is_subset(&BTreeSet::from(["robust", "broken"])));
    assert!(errors.contains("but may take 300 MiB"), "{errors}");
}

#[test]
fn a_misbehaving_defense_model_or_loss_costs_the_cells_that_use_it() {
    let more = r#"
[[defense]]
use = "defense-crashes"

[[model]]
use = "model-crashes"

[[model]]
use = "model-nan"

[[attack]]
use = "square"
queries = 20

[[attack]]
id = "with-loss"
use = "pgd"
steps = 2
loss = "loss-panics"

[matrix]
stacks = [[], ["defense-crashes"]]
skip = [{ model = "model-crashes", attack = ["fgsm", "with-loss"] }]
"#;
    let (workplace, library) = workplace(more);
    let errors = fail(&workplace, &["--plugin", argument(&library)]);
    let rows = workplace.rows("results/samples.csv");
    // Two models with three attacks and one with one, each with and without the defense.
    assert_eq!(rows.len(), 16 * 2 * (3 + 1 + 3));
    let of = |model: &str, defense: &str, attack: &str| {
        let own = select(&rows, &[("model", model), ("defense", defense), ("attack", attack)]);
        assert_eq!(own.len(), 16, "{model} {defense} {attack}");
        statuses(&own)
    };
    let good = BTreeSet::from(["robust", "broken"]);
    for attack in ["fgsm", "square", "with-loss"] {
        assert_eq!(of("digits-cnn", "defense-crashes", attack), BTreeSet::from(["crashed"]), "{attack}: {errors}");
        assert_eq!(of("model-nan", "none", attack), BTreeSet::from(["failed"]), "{attack}: {errors}");
    }
    assert!(of("digits-cnn", "none", "fgsm").is_subset(&good) && of("digits-cnn", "none", "square").is_subset(&good));
    assert_eq!(of("digits-cnn", "none", "with-loss"), BTreeSet::from(["failed"]), "{errors}");
    assert_eq!(of("model-crashes", "none", "square"), BTreeSet::from(["crashed"]), "{errors}");
    for word in ["a panic about class", "NaN", "abort"] {
        assert!(errors.contains(word), "no {word} in {errors}");
    }
}
