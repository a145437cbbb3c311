//! The specs of the repository.

use crate::command::{Folder, specs};

#[test]
fn the_schema_is_fresh() {
    let schema = Folder::with(&[]).call("schema").stdout;
    let file = specs().join("realsafe.schema.json");
    let stored = fs_err::read_to_string(&file).unwrap_or_default();
    assert!(stored == schema, "run: cargo run --release -- schema --write specs/realsafe.schema.json");
}

/// Without `REALSAFE_DATA`, specs on files outside the repository only lack those; with it, only what everybody has to fetch or
/// convert or train for themselves: checkpoints in `public/` and `trained/`, all training images of CIFAR-10, and ImageNet.
#[test]
fn every_spec_is_right() {
    let folder = Folder::with(&[]);
    let data = std::env::var("REALSAFE_DATA").unwrap_or_default();
    let data = if data.is_empty() { folder.path("data").display().to_string() } else { data };
    let called = folder.call_with(&format!("check --format json {}", specs().display()), &data);
    let files: serde_json::Value = serde_json::from_str(&called.stdout).unwrap();
    let files = files.as_array().unwrap();
    assert!(files.iter().any(|file| file["kind"] == "experiment quickstart"), "{called}");
    let there = data_is_there();
    let missing = |mistake: &serde_json::Value| {
        let message = mistake["message"].as_str().unwrap();
        let own = ["`public/", "`trained/", "`cifar-10-batches-bin/data_batch", "`imagenet/"]
            .iter()
            .any(|folder| message.contains(folder));
        message.ends_with("does not exist") && (own || !there)
    };
    for file in files {
        let mistakes = file["mistakes"].as_array().unwrap();
        assert!(mistakes.iter().all(missing), "{called}");
    }
}

fn data_is_there() -> bool {
    let there = std::env::var_os("REALSAFE_DATA").is_some_and(|data| !data.is_empty());
    if !there {
        eprintln!("REALSAFE_DATA is not set: missing files of specs are not looked at");
    }
    there
}
