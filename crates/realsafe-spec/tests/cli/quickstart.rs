//! Whole runs on the embedded digits: run, plan, report, partitions and merge, images and their judgement.

use std::process::{Command, Stdio};

use crate::command::{Folder, SMALL};

const TABLES: [&str; 5] = ["samples.csv", "summary.csv", "curves.csv", "small.resolved.toml", "report.html"];

#[test]
fn a_run_is_planned_stored_and_reported_again() {
    let folder = Folder::with(&[("small.toml", SMALL)]);
    let plan = |expected: [u64; 2]| {
        let called = folder.call("plan small.toml --format json");
        let json: serde_json::Value = serde_json::from_str(&called.stdout).unwrap();
        assert_eq!([json["all"]["cells"].as_u64(), json["all"]["stored"].as_u64()], expected.map(Some), "{called}");
    };
    plan([4, 0]);
    assert!(!folder.path("results").exists());

    let run = folder.call("run small.toml");
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.stdout.contains("linf 0.1") || run.stdout.contains("linf 1/10"), "{run}");
    assert!(run.stderr.contains("4 cells, 0 of them stored already"), "{run}");
    assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run}");
    plan([4, 4]);

    let tables = TABLES.map(|name| folder.read(&format!("results/{name}")));
    TABLES.iter().for_each(|name| fs_err::remove_file(folder.path(&format!("results/{name}"))).unwrap());
    let report = folder.call("report small.toml");
    assert_eq!((report.code, &report.stdout), (Some(0), &run.stdout), "{report}");
    assert_eq!(TABLES.map(|name| folder.read(&format!("results/{name}"))), tables);

    let again = folder.call("run small.toml --format json");
    assert!(again.stderr.contains("4 cells, 4 of them stored already"), "{again}");
    let json: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(json["cells"], 4);
}

#[test]
fn shares_are_merged_into_the_same_report() {
    let folder = Folder::with(&[("small.toml", SMALL)]);
    assert_eq!(folder.call("run small.toml --out whole").code, Some(0));
    for (out, share) in [("a", "slice:1/2"), ("b", "slice:2/2")] {
        let called = folder.call(&format!("run small.toml --out {out} --partition {share}"));
        assert_eq!(called.code, Some(0), "{called}");
        assert!(called.stdout.contains("incomplete: 2 of 4 cells are there"), "{called}");
    }
    let merged = folder.call("merge a b --out united");
    assert!(merged.code == Some(0) && merged.stdout.starts_with("4 cells added"), "{merged}");
    assert_eq!(folder.call("report small.toml --out united").code, Some(0));
    for name in TABLES {
        assert_eq!(folder.read(&format!("united/{name}")), folder.read(&format!("whole/{name}")), "{name}");
    }
    let wrong = folder.call("run small.toml --partition slice:3/2");
    assert!(wrong.code == Some(2) && wrong.stderr.contains("numbered from 1 to 2"), "{wrong}");
}

#[test]
fn a_limit_keeps_the_first_samples_and_what_they_gave() {
    let folder = Folder::with(&[("small.toml", SMALL)]);
    let limited = folder.call("run small.toml --limit 10");
    assert!(limited.stderr.contains("2 cells, 0 of them stored already"), "{limited}");
    let whole = folder.call("run small.toml --limit 1000");
    assert!(whole.stderr.contains("4 cells, 2 of them stored already"), "{whole}");
    assert_eq!(folder.read("results/samples.csv").lines().count(), 1 + 2 * 20);
}

#[test]
fn a_failed_expectation_is_exit_code_1() {
    let expect = "\n[[expect]]\neps = \"0.2\"\nmetric = \"robust-accuracy\"\nvalue = 1.0\ntolerance = 0.001\n";
    let folder = Folder::with(&[("small.toml", &(SMALL.to_owned() + expect))]);
    let called = folder.call("run small.toml --set data.samples=200");
    assert_eq!(called.code, Some(1), "{called}");
    assert!(called.stderr.contains("error: 1 expectation failed"), "{called}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_realsafe-spec"));
    let mut child = command.args(["explain", "pgd"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
}

#[test]
fn an_interrupted_run_says_how_it_goes_on() {
    let long = SMALL.replace("use = \"fgsm\"", "use = \"pgd\"\nsteps = 100000\nsuccess = \"last\"");
    let folder = Folder::with(&[("small.toml", &long)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_realsafe-spec"));
    command.current_dir(folder.path("")).args(["run", "small.toml"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(
        told.contains("error: interrupted: 0 of 4 cells are stored\nhint: the same command goes on from there"),
        "{told}"
    );
    assert!(told.contains("what there is so far is reported in results"), "{told}");
    assert!(folder.read("results/report.html").contains("incomplete: 0 of 4 cells"));
}
