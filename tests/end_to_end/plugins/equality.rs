//! One attack gives one result, whether it is built in, linked statically or loaded at run time.

use std::process::Command;

use super::libraries::example;
use super::workplace::{Called, Row, Workplace};

/// All norms and goals, restarts, recorded steps, every rule of success, and enough cells for four jobs.
const SPEC: &str = r#"
[experiment]
id = "equality"

[data]
use = "digits"
samples = 80

[[model]]
use = "digits-cnn"
weights = "builtin:digits-standard"

[[threat]]
norm = "linf"
eps = ["0.05", "0.1"]

[[threat]]
norm = "l2"
eps = "0.5"

[[threat]]
id = "linf-targeted"
norm = "linf"
goal = "targeted"
target = "least-likely"
eps = "0.2"

[[threat]]
id = "l2-targeted"
norm = "l2"
goal = "targeted-misclassify"
eps = "1"

[[attack]]
use = "ATTACK"
steps = 8
restarts = 2
record = [1, 5, 12]

[[attack]]
id = "ATTACK-last"
use = "ATTACK"
steps = 6
success = "last"
loss = "margin"
start-radius = 0.5

[[attack]]
id = "ATTACK-query"
use = "ATTACK"
steps = 4
success = "any-query"
step-size = "0.03"
start = "none"
budget = { queries = 3 }

[run]
chunk = 40
"#;

/// The built-in attack, and the same in plugins.
const BUILT_IN: &str = "pgd";
const PLUGIN: &str = "plugin-pgd";

/// A table without the columns in which the two differ.
fn table(workplace: &Workplace, file: &str) -> Vec<Row> {
    let mut rows = workplace.rows(file);
    rows.iter_mut().for_each(|row| row.retain(|column, _| column != "cell" && column != "attack"));
    rows
}

/// What a program makes of the spec for an attack.
fn tables(workplace: &Workplace, mut command: Command, attack: &str, options: &[&str]) -> [Vec<Row>; 2] {
    workplace.write("spec.toml", SPEC.replace("ATTACK", attack));
    let called = Called::of(workplace.place({
        command.args(["run", "spec.toml"]).args(options);
        command
    }));
    assert_eq!(called.code, Some(0), "{options:?}: {called}");
    ["results/samples.csv", "results/curves.csv"].map(|file| table(workplace, file))
}

fn ordinary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_realsafe-tests"))
}

fn linked() -> Command {
    Command::new(env!("CARGO_BIN_EXE_with-plugin"))
}

#[test]
fn built_in_static_and_dynamic_attacks_give_the_same_samples() {
    let expected = tables(&Workplace::new(), ordinary(), BUILT_IN, &[]);
    let statuses = |status: &str| expected[0].iter().filter(|row| row["status"] == status).count();
    assert_eq!(expected[0].len(), 80 * 5 * 3);
    assert!(statuses("robust") > 100 && statuses("broken") > 100, "it would not show if the attacks did nothing");

    assert!(tables(&Workplace::new(), linked(), PLUGIN, &[]) == expected, "linked statically");
    let library = example("pgd-plugin");
    let file = library.to_str().unwrap();
    for options in [
        ["--plugin", file, "--jobs", "1"].as_slice(),
        // Each job has its own worker process.
        &["--plugin", file, "--jobs", "4"],
        &["--plugin", file, "--plugins-in-process"],
    ] {
        assert!(tables(&Workplace::trusting(&[&library]), ordinary(), PLUGIN, options) == expected, "{options:?}");
    }
}

#[test]
fn a_linked_plugin_is_a_component_like_others() {
    let workplace = Workplace::new();
    let mut list = linked();
    list.args(["list", "attacks"]);
    let listed = Called::of(workplace.place(list));
    assert!(listed.code == Some(0) && listed.stdout.contains(PLUGIN), "{listed}");
    let mut explain = linked();
    explain.args(["explain", PLUGIN]);
    let explained = Called::of(workplace.place(explain));
    assert!(explained.code == Some(0) && explained.stdout.contains("arXiv:1706.06083"), "{explained}");
    // The same plugin twice is one too many.
    let library = example("pgd-plugin");
    workplace.trust(&[&library]);
    workplace.write("spec.toml", SPEC.replace("ATTACK", PLUGIN));
    let mut check = linked();
    check.args(["check", "spec.toml", "--plugin"]).arg(&library);
    Called::of(workplace.place(check)).expect(77, &["two plugins are named", "the program itself", "libpgd_plugin"]);
}
