//! The example plugins, through the spec that shows them.

use std::path::PathBuf;

use super::libraries::{example, uniform_noise};
use super::workplace::{Called, Row, Workplace};
use crate::program::{argument, data, root};

/// The libraries of all examples.
fn examples() -> Vec<PathBuf> {
    let names = ["median-smoothing", "nearest-centroid", "pgd-plugin", "probability-margin", "simba"];
    names.map(example).into_iter().chain([uniform_noise()]).collect()
}

/// A folder in which all examples are trusted.
fn workplace() -> Workplace {
    Workplace::trusting(&examples().iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

/// Calls a command with the spec, and what it needs beside it.
fn call(workplace: &Workplace, command: &str, more: &[&str]) -> Called {
    let (spec, data) = (root().join("plugins/specs/examples.toml"), root().join("plugins"));
    let mut arguments = vec![command, argument(&spec), "--data", argument(&data)];
    arguments.extend(more);
    workplace.call(&arguments)
}

/// The robust accuracies of an attack, by rising eps.
fn robust(summary: &[Row], model: &str, defense: &str, attack: &str) -> Vec<f64> {
    let wanted = [("model", model), ("defense", defense), ("attack", attack)];
    let rows = summary.iter().filter(|row| wanted.iter().all(|(column, value)| row[*column] == *value));
    let rates: Vec<f64> = rows.map(|row| row["robust_accuracy"].parse().unwrap()).collect();
    assert_eq!(rates.len(), 3, "{wanted:?}");
    rates
}

#[test]
fn the_examples_run_and_do_what_they_are_for() {
    let workplace = workplace();
    let run = call(&workplace, "run", &[]);
    assert_eq!(run.code, Some(0), "{run}");
    let samples = workplace.rows("results/samples.csv");
    assert!(samples.iter().all(|row| ["robust", "broken"].contains(&row["status"].as_str())));
    let summary = workplace.rows("results/summary.csv");
    assert!(summary.iter().all(|row| row["warnings"].is_empty()), "{run}");
    for row in summary.iter().filter(|row| row["defense"] == "none") {
        assert!(row["clean_accuracy"].parse::<f64>().unwrap() > 0.8, "{row:?}");
    }

    for model in ["network", "centroids"] {
        let simba = robust(&summary, model, "none", "simba");
        assert!(simba[0] > simba[1] && simba[1] > simba[2], "{model}: {simba:?}");
        let gradients = robust(&summary, model, "none", "through");
        let noise = robust(&summary, model, "none", "uniform-noise");
        assert!(gradients[2] < 0.2 && gradients[2] < noise[2] - 0.3, "{model}: {gradients:?}, noise {noise:?}");
    }
    // The slope of a median says little about larger changes, but it has to say something.
    let clean = summary.iter().find(|row| row["defense"] == "median").unwrap()["clean_accuracy"].parse::<f64>();
    for attack in ["through", "straight-through"] {
        let broken = robust(&summary, "network", "median", attack);
        assert!(broken[2] < clean.clone().unwrap() - 0.3, "{attack}: {broken:?} of {clean:?}");
    }
    let differ = |column: &str| {
        let of = |attack: &str| -> Vec<String> {
            let own = samples.iter().filter(|row| row["attack"] == attack && row["defense"] == "median");
            own.map(|row| row[column].clone()).collect()
        };
        of("through") != of("straight-through")
    };
    assert!(differ("dist_l2"), "the derivative of the filter changes nothing");

    // What it says it did gives the same again, wherever the plugins are then.
    let resolved = workplace.read("results/plugin-examples.resolved.toml");
    for component in ["simba", "probability-margin", "median-smoothing", "nearest-centroid"] {
        let origin = format!("# {component} is of the plugin {component} 0.1.0, BLAKE3 ");
        assert!(resolved.contains(&origin), "no {origin:?} in {resolved}");
    }
    workplace.write("resolved.toml", resolved);
    let data = root().join("plugins");
    let mut again = workplace.program(&["run", "resolved.toml", "--data", argument(&data), "--out", "again"]);
    again.env("REALSAFE_PLUGIN_PATH", std::env::join_paths(examples()).unwrap());
    let again = Called::of(again);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(workplace.read("results/samples.csv") == workplace.read("again/samples.csv"));
}

#[test]
fn specs_with_plugins_on_data_pass_check() {
    if data().is_some() {
        for spec in ["simba-mnist", "noise-mnist"] {
            let spec = root().join(format!("plugins/specs/{spec}.toml"));
            workplace().succeed(&["check", argument(&spec)]);
        }
    }
}

#[test]
fn components_of_plugins_are_shown_like_others() {
    let workplace = workplace();
    let simba = example("simba");
    let check = call(&workplace, "check", &[]);
    assert_eq!(check.code, Some(0), "{check}");
    for (arguments, words) in [
        (["list", "attacks"].as_slice(), ["simba", "pgd"].as_slice()),
        (&["explain", "simba"], &["step-size", "0.2", "arXiv:1905.07121", "steps = 500"]),
        (&["schema"], &["\"simba\"", "\"frequencies\""]),
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--plugin", argument(&simba)]);
        let called = workplace.succeed(&arguments);
        words.iter().for_each(|word| assert!(called.stdout.contains(word), "no {word} in {called}"));
    }
    workplace.call(&["explain", "simba"]).expect(2, &["simba"]);
}

#[test]
fn parameters_of_plugins_are_checked_and_set_like_others() {
    let workplace = workplace();
    let base = root().join("plugins/specs/examples.toml");
    let check = |set: &str| call(&workplace, "check", &["--set", set]);
    let set = check("attack.simba.steps=7");
    assert_eq!(set.code, Some(0), "{set}");
    check("attack.simba.step=7").expect(65, &["attack.simba.step", "`steps`"]);
    check("attack.simba.steps=0").expect(65, &["attack.simba.steps", "1"]);
    check("attack.simba.basis=wavelet").expect(65, &["attack.simba.basis", "pixel", "dct"]);
    check("model.centroids.centroids=missing.csv").expect(65, &["missing.csv", "does not exist"]);
    check("attack.through.loss=probability-margins").expect(65, &["probability-margin"]);

    // A spec of one's own inherits the plugins, too.
    let own = |attack: &str| {
        let text =
            format!("extends = {base:?}\nexpect = []\n\n[experiment]\nid = \"own\"\n\n[matrix]\nskip = []\n\n{attack}");
        workplace.write("own.toml", text);
        let data = root().join("plugins");
        workplace.call(&["check", "own.toml", "--data", argument(&data)])
    };
    let good = own("[[attack]]\nid = \"simba\"\nuse = \"simba\"\nbasis = \"dct\"\n");
    assert_eq!(good.code, Some(0), "{good}");
    own("[[attack]]\nid = \"simba\"\nuse = \"simba\"\nfrequences = 0.5\n")
        .expect(65, &["own.toml:13", "unknown key `frequences`", "`frequencies`"]);
}
