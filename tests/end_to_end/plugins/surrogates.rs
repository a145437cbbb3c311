//! Attacks that transfer from surrogates.

use std::path::PathBuf;

use super::libraries::of_tests;
use super::workplace::{Called, Row, Workplace};
use crate::program::argument;

const SPEC: &str = r#"
[experiment]
id = "surrogates"

[data]
use = "digits"
samples = 60

[[model]]
id = "standard"
use = "digits-cnn"
weights = "builtin:digits-standard"

[[model]]
id = "robust"
use = "digits-cnn"
weights = "builtin:digits-pgd-at"

[[threat]]
norm = "linf"
eps = "0.15"

[[threat]]
norm = "l2"
eps = "0.8"

[[attack]]
use = "bim"
steps = 6
success = "last"

[[attack]]
id = "onto-itself"
use = "transfer"
steps = 6
surrogates = ["standard"]

[[attack]]
id = "from-both"
use = "transfer"
steps = 6
surrogates = ["standard", "robust"]

[[attack]]
id = "prior"
use = "scores-with-prior"
steps = 8
surrogates = "robust"

[run]
chunk = 25
"#;

fn workplace() -> (Workplace, PathBuf) {
    let library = of_tests("surrogates");
    (Workplace::trusting(&[&library]), library)
}

fn rows<'a>(rows: &'a [Row], model: &str, attack: &str) -> Vec<&'a Row> {
    rows.iter().filter(|row| row["model"] == model && row["attack"] == attack).collect()
}

fn column(rows: &[&Row], column: &str) -> Vec<u64> {
    rows.iter().map(|row| row[column].parse().unwrap()).collect()
}

#[test]
fn attacks_transfer_from_surrogates_and_are_charged_for_them() {
    let (workplace, library) = workplace();
    workplace.write("spec.toml", SPEC);
    workplace.succeed(&["run", "spec.toml", "--plugin", argument(&library), "--jobs", "2"]);
    let samples = workplace.rows("results/samples.csv");
    assert!(samples.iter().all(|row| ["robust", "broken"].contains(&row["status"].as_str())));

    // Transfer from a model onto itself is white-box.
    let key =
        |row: &&Row| ["sample", "norm", "adv_pred", "dist_l2", "dist_linf", "status"].map(|name| row[name].clone());
    let white_box: Vec<_> = rows(&samples, "standard", "bim").iter().map(key).collect();
    let itself: Vec<_> = rows(&samples, "standard", "onto-itself").iter().map(key).collect();
    assert_eq!(white_box.len(), 120);
    assert_eq!(itself, white_box);

    for (attack, surrogates) in [("onto-itself", 1), ("from-both", 2)] {
        let own = rows(&samples, "robust", attack);
        for (name, each) in [
            ("queries", 0),
            ("forwards", 0),
            ("backwards", 0),
            ("surrogate_forwards", 6 * surrogates),
            ("surrogate_backwards", 6 * surrogates),
        ] {
            assert_eq!(column(&own, name), vec![each; 120], "{attack}: {name}");
        }
    }
    let prior = rows(&samples, "standard", "prior");
    assert!(prior.iter().any(|row| row["status"] == "broken" && row["clean_pred"] == row["label"]));
    assert!(column(&prior, "queries").iter().all(|queries| *queries <= 9));
    assert!(column(&prior, "backwards").iter().all(|backwards| *backwards == 0));
    assert!(column(&prior, "surrogate_backwards").iter().any(|backwards| *backwards > 0));

    let summary = workplace.rows("results/summary.csv");
    let rate = |model: &str, attack: &str, column: &str| {
        let found = summary.iter().find(|row| {
            row["model"] == model && row["attack"] == attack && row["norm"] == "linf" && !row[column].is_empty()
        });
        found.unwrap_or_else(|| panic!("no {model} {attack}"))[column].parse::<f64>().unwrap()
    };
    for (model, attack) in [("standard", "onto-itself"), ("standard", "from-both"), ("robust", "from-both")] {
        let (attacked, clean) = (rate(model, attack, "robust_accuracy"), rate(model, attack, "clean_accuracy"));
        assert!(attacked < clean, "{attack} on {model}: {attacked} of {clean}");
    }
}

#[test]
fn what_surrogates_cannot_do_is_told() {
    let (workplace, library) = workplace();
    let check = |from: &str, to: &str| -> Called {
        assert!(SPEC.contains(from), "{from}");
        workplace.write("spec.toml", SPEC.replacen(from, to, 1));
        workplace.call(&["check", "spec.toml", "--plugin", argument(&library)])
    };
    let good = check("steps", "steps");
    assert_eq!(good.code, Some(0), "{good}");
    let mine = "surrogates = [\"standard\"]";
    check(mine, &format!("{mine}\nsuccess = \"any-iterate\"")).expect(65, &["spec.toml:", "`any-iterate`", "`last`"]);
    check(mine, &format!("{mine}\nrestarts = 2")).expect(65, &["spec.toml:", "restarts"]);
    check(mine, "").expect(65, &["`onto-itself` needs surrogates", "surrogates = ["]);
    check(mine, "surrogates = []").expect(65, &["at least one model"]);
    check(mine, "surrogates = [\"standart\"]").expect(65, &["unknown model `standart`", "`standard`"]);
    let other = format!("use = \"square\"\n{mine}");
    check("use = \"bim\"", &other).expect(65, &["`square` uses no surrogates", "remove the key"]);
}
