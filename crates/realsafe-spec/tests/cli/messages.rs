//! What people read, and what exit codes say.

use insta::assert_snapshot;

use crate::command::{Folder, SMALL};

#[test]
fn help_lists_commands_and_exit_codes() {
    assert_snapshot!(Folder::with(&[]).call("--help"));
}

#[test]
fn a_wrong_command_is_told_with_the_nearest_one() {
    assert_snapshot!(Folder::with(&[]).call("chekc small.toml"));
}

#[test]
fn paths_that_match_nothing_are_told_at_once() {
    assert_snapshot!(Folder::with(&[("small.toml", SMALL)]).call("run small.toml missing.toml none-*.toml"));
}

#[test]
fn a_folder_without_experiments_is_told() {
    assert_snapshot!(Folder::with(&[("specs/base.toml", "data = { use = \"digits\" }")]).call("run specs"));
}

#[test]
fn the_mistakes_of_all_files_are_told_before_anything_runs() {
    let wrong = SMALL.replace("fgsm", "fgms").replace("\"small\"", "\"wrong\"");
    let worse = SMALL.replace("chunk", "chunks").replace("linf", "l3").replace("\"small\"", "\"worse\"");
    let folder = Folder::with(&[("small.toml", SMALL), ("wrong.toml", &wrong), ("worse.toml", &worse)]);
    assert_snapshot!(folder.call("run small.toml wrong.toml worse.toml"));
    assert!(!folder.path("results").exists());
}

#[test]
fn two_experiments_of_one_name_are_told() {
    assert_snapshot!(Folder::with(&[("a.toml", SMALL), ("b.toml", SMALL)]).call("plan a.toml b.toml"));
}

#[test]
fn a_plan_says_what_its_bound_leaves_out() {
    let attacks = "surrogates = \"standard\"\n\n[[attack]]\nuse = \"pgd\"\n\n[[attack]]\nuse = \"certificate\"\n";
    let spec = SMALL.replace("\n[run]", &format!("{attacks}\n[run]"));
    assert_snapshot!(Folder::with(&[("small.toml", &spec)]).call("plan small.toml"));
}

#[test]
fn training_runs_and_experiments_are_told_apart() {
    let training = "training = { id = \"t\", use = \"standard\" }\ndata = { use = \"digits\", split = \"train\" }\nmodel = [{ use = \"digits-cnn\" }]\n";
    let folder = Folder::with(&[("small.toml", SMALL), ("training.toml", training)]);
    assert_snapshot!("training_as_experiment", folder.call("run training.toml"));
    assert_snapshot!("experiment_as_training", folder.call("train small.toml"));
}

#[test]
fn a_backend_that_is_not_compiled_in_is_told_with_its_feature() {
    let folder = Folder::with(&[("small.toml", SMALL)]);
    let missing: &[(bool, &str)] =
        &[(cfg!(feature = "tch"), "tch"), (cfg!(feature = "wgpu"), "wgpu"), (cfg!(feature = "cuda"), "cuda")];
    for (_, device) in missing.iter().filter(|(available, _)| !available) {
        for called in [
            folder.call(&format!("run small.toml --device {device}")),
            folder.call(&format!("run small.toml --set run.device={device}")),
        ] {
            assert_eq!(called.code, Some(69), "{called}");
            let expected =
                format!("error: the device `{device}` is not compiled in; build with `--features {device}`\n");
            assert!(called.stderr.starts_with(&expected) && called.stderr.contains("hint: "), "{called}");
        }
    }
    let unknown = folder.call("run small.toml --device gpu");
    assert_eq!(unknown.code, Some(69), "{unknown}");
    assert!(unknown.stderr.contains("`gpu` is not a device"), "{unknown}");
}

#[test]
fn devices_are_asked_one_by_one() {
    let called = Folder::with(&[]).call("devices");
    assert_eq!(called.code, Some(0), "{called}");
    let flex = called.stdout.lines().find(|line| line.starts_with("flex")).unwrap();
    assert!(flex.ends_with("answers"), "{called}");
    assert!(called.stdout.lines().any(|line| line.starts_with("cuda")), "{called}");
}

#[test]
fn lists_are_sorted() {
    let folder = Folder::with(&[]);
    for what in ["attacks", "defenses", "models", "datasets", "recipes"] {
        let called = folder.call(&format!("list {what}"));
        let names: Vec<&str> =
            called.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert!(!names.is_empty() && names.is_sorted(), "{called}");
    }
    assert_snapshot!(folder.call("list attacks"));
}

#[test]
fn pgd_is_explained() {
    assert_snapshot!(Folder::with(&[]).call("explain pgd"));
}

#[test]
fn an_unknown_name_is_told_with_the_nearest_one() {
    assert_snapshot!(Folder::with(&[]).call("explain sqare"));
}

#[test]
fn everything_is_explained_in_both_formats() {
    let folder = Folder::with(&[]);
    let list = folder.call("list");
    let names: Vec<&str> = list.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert!(names.len() > 15, "{list}");
    for name in names {
        let text = folder.call(&format!("explain {name}"));
        assert!(text.code == Some(0) && text.stdout.contains("## Example"), "{text}");
        let json = folder.call(&format!("explain {name} --format json"));
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json[0]["name"], name);
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let called = Folder::with(&[]).call(&format!("completions {shell}"));
        assert!(called.code == Some(0) && called.stdout.contains("verify-adversarials"), "{called}");
    }
}

#[test]
fn a_folder_that_holds_no_results_is_told() {
    assert_snapshot!("report_without_results", Folder::with(&[("small.toml", SMALL)]).call("report small.toml"));
    assert_snapshot!("merge_without_results", Folder::with(&[("a/x", "")]).call("merge a"));
}

#[test]
fn damaged_weights_are_told_before_anything_runs() {
    let spec = SMALL.replace("builtin:digits-standard", "digits.safetensors");
    let folder = Folder::with(&[("small.toml", &spec), ("digits.safetensors", "these are no weights")]);
    assert_snapshot!(folder.call("run small.toml --data ."));
}

#[test]
fn a_truncated_dataset_is_told_with_its_origin() {
    let spec = SMALL.replace("\"digits\"", "\"cifar10\"").replace("digits-cnn", "small-resnet");
    let spec = spec
        .replace("weights = ", "architecture = \"resnet2b\"\nweights = ")
        .replace("builtin:digits-standard", "weights.pt");
    let files =
        [("small.toml", spec.as_str()), ("weights.pt", ""), ("cifar-10-batches-bin/test_batch.bin", "too short")];
    assert_snapshot!(Folder::with(&files).call("run small.toml --data ."));
}
