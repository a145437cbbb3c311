//! Images that a run saved, or that anybody made, judged again.

use serde_json::Value;

use crate::command::{Called, Folder, SMALL};

/// A run that keeps its images, and what they are judged as in the file of an attack.
struct Judged {
    folder: Folder,
    spec: String,
}

impl Judged {
    fn run(spec: &str) -> Self {
        let spec = spec.replace("use = \"fgsm\"", "use = \"fgsm\"\nsuccess = \"last\"");
        let folder = Folder::with(&[("small.toml", &spec)]);
        let run = folder.call("run small.toml --save-adversarials");
        assert_eq!(run.code, Some(0), "{run}");
        Self { folder, spec }
    }

    /// What the run says of a radius, column by column.
    fn summary(&self, eps: &str, column: &str) -> f64 {
        let summary = self.folder.read("results/summary.csv");
        let mut lines = summary.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let at = |name| header.iter().position(|other| *other == name).unwrap();
        let row = lines.find(|row| row[at("attack")] == "fgsm" && row[at("eps")] == eps).unwrap();
        row[at(column)].parse().unwrap()
    }

    fn call(&self, file: &str, more: &str) -> Called {
        self.folder.call(&format!("verify-adversarials {file} small.toml --format json {more}"))
    }

    fn verify(&self, file: &str) -> Value {
        let judged = self.call(file, "");
        assert_eq!(judged.code, Some(0), "{}: {judged}", self.spec);
        let json: Value = serde_json::from_str(&judged.stdout).unwrap();
        json[0].clone()
    }
}

#[test]
fn saved_images_are_judged_as_they_were_in_the_run() {
    let judged = Judged::run(SMALL);
    for extension in ["safetensors", "npy"] {
        let verified =
            judged.verify(&format!("results/adversarials/small.standard.none.fgsm.linf.0.2.seed-0.{extension}"));
        assert_eq!(verified["accuracy"], judged.summary("0.2", "accuracy"), "{verified}");
        assert_eq!(verified["balls"][1]["inside"], 1.0, "{verified}");
        assert!(verified["balls"][0]["inside"].as_f64().unwrap() < 1.0, "{verified}");
    }
}

#[test]
fn the_goal_of_the_threat_decides_what_is_broken() {
    let targeted = "[threat]\ngoal = \"targeted\"\ntarget = \"random\"";
    let judged = Judged::run(&SMALL.replace("[threat]", targeted).replace("samples = 20", "samples = 60"));
    let robust = judged.summary("0.2", "robust_accuracy");
    assert!(robust > judged.summary("0.2", "accuracy"), "most errors are not the targets");
    for extension in ["safetensors", "npy"] {
        let file = format!("results/adversarials/small.standard.none.fgsm.linf.0.2.seed-0.{extension}");
        let verified = judged.verify(&file);
        assert_eq!(verified["balls"][1]["robust_accuracy"], robust, "{verified}");
    }
}

#[test]
fn randomised_victims_are_judged_on_as_many_draws_as_in_the_run() {
    let judged = Judged::run(&format!("{SMALL}\n[[defense]]\nuse = \"rand-disc\"\n"));
    let verified = judged.verify("results/adversarials/small.standard.rand-disc.fgsm.linf.0.1.seed-0.safetensors");
    let robust = judged.summary("0.1", "robust_accuracy");
    assert!((20.0 * robust).fract() > 0.01, "a mean of shares: {robust}");
    assert!((verified["accuracy"].as_f64().unwrap() - judged.summary("0.1", "accuracy")).abs() < 1e-12, "{verified}");
    assert!((verified["clean_accuracy"].as_f64().unwrap() - judged.summary("0.1", "clean_accuracy")).abs() < 1e-12);
    // An image that is rather recognised than the clean one is no help to the attacker.
    assert!(verified["balls"][0]["robust_accuracy"].as_f64().unwrap() <= robust + 1e-12, "{verified}");
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let judged = Judged::run(SMALL);
    let file = "results/adversarials/small.standard.none.fgsm.linf.0.2.seed-0.safetensors";
    let other = judged.call(file, "--set data.split=train");
    assert_eq!(other.code, Some(65), "{other}");
    let expected = "error: the set says that sample 0 is of class";
    assert!(
        other.stderr.contains(expected) && other.stderr.contains("of other images than those of the spec"),
        "{other}"
    );
    let missing = judged.call("nowhere.npy", "");
    assert!(missing.code == Some(2) && missing.stderr.contains("nowhere.npy"), "{missing}");
    fs_err::write(judged.folder.path("x.png"), "").unwrap();
    let wrong = judged.call("x.png", "");
    assert!(wrong.code == Some(65) && wrong.stderr.contains("ends in `.safetensors` or `.npy`"), "{wrong}");
}
