//! Plugins as people write, trust, list and use them.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::process::Command;

use insta::assert_snapshot;
use realsafe_host::Digest;
use serde_json::Value;

use crate::command::{Called, Folder, SMALL};

/// A manifest as authors ship it.
const MANIFEST: &str = r#"
name = "climb"
version = "1.2.0"
licence = "MIT"
abi = "1.1"

[[component]]
kind = "attack"
id = "climb"
summary = "Climbs."

[[component]]
kind = "loss"
id = "slope"
summary = "Slopes."
"#;

/// A folder with a file that is no library: whatever loads it fails.
fn untouchable() -> Folder {
    Folder::with(&[("plugins/climb.so", "version 1"), ("plugins/climb.plugin.toml", MANIFEST), ("small.toml", SMALL)])
}

fn digest(folder: &Folder, file: &str) -> String {
    Digest::of_file(&folder.path(file)).unwrap().to_string()
}

fn json(called: &Called) -> Value {
    serde_json::from_str(&called.stdout).unwrap_or_else(|error| panic!("{error}: {called}"))
}

/// Runs a build tool in `folder/name`.
fn build(folder: &Folder, name: &str, tool: &str) {
    let mut words = tool.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).current_dir(folder.path(name)).env_remove("CARGO_TARGET_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes a plugin, follows its README, and gives what `plugin show` says of it as JSON.
fn follow(language: &str, kind: &str, options: &str) -> Value {
    let (folder, name) = (Folder::with(&[]), format!("my-{kind}"));
    let written = folder.call(&format!("plugin new {name} --language {language} --kind {kind}"));
    assert_eq!(written.code, Some(0), "{written}");
    let library = if language == "c" {
        build(&folder, &name, "make");
        format!("{name}/{name}.so")
    } else {
        build(&folder, &name, "cargo test --release --offline --quiet");
        build(&folder, &name, "cargo build --release --offline --quiet");
        format!("{name}/target/release/{DLL_PREFIX}my_{kind}{DLL_SUFFIX}")
    };
    assert!(folder.read(&format!("{name}/README.md")).contains(library.strip_prefix(&format!("{name}/")).unwrap()));

    let run = format!("run {name}/example.toml --plugin {library} --out out {options}");
    let refused = folder.call(&run);
    assert!(refused.code == Some(77) && refused.stderr.contains("is not trusted"), "{refused}");
    let trusted = folder.call(&format!("plugin trust {library}"));
    assert_eq!(trusted.code, Some(0), "{trusted}");
    let shown = folder.call(&format!("plugin show {library} --write-manifest --format json"));
    assert_eq!(shown.code, Some(0), "{shown}");
    let listed = folder.call(&format!("plugin list --plugin {library}"));
    assert!(!listed.stdout.contains("not trusted") && listed.stdout.contains(&format!("{kind} {name}")), "{listed}");
    let checked = folder.call(&format!("plugin check {library} {options}"));
    assert_eq!(checked.code, Some(0), "{checked}");
    let ran = folder.call(&run);
    assert_eq!(ran.code, Some(0), "{ran}");
    assert!(ran.stdout.contains(&name), "{ran}");
    assert!(!folder.read("out/summary.csv").is_empty());
    json(&shown)
}

#[test]
fn a_new_attack_in_rust_runs() {
    let shown = follow("rust", "attack", "");
    assert_eq!(shown["name"], "my-attack");
    assert_eq!(shown["abi"], "1.1");
    let component = &shown["components"][0];
    assert_eq!(component["sees"], serde_json::json!(["gradients"]));
    assert_eq!(component["norms"], serde_json::json!(["linf", "l2"]));
    assert_eq!(component["goals"], serde_json::json!(["untargeted", "targeted", "targeted-misclassify"]));
}

#[test]
fn a_new_attack_in_c_runs() {
    let shown = follow("c", "attack", "");
    assert_eq!(shown["components"][0]["sees"], serde_json::json!(["gradients"]));
}

#[test]
fn a_new_defense_runs() {
    let shown = follow("rust", "defense", "");
    assert_eq!(shown["components"][0]["gradients"], serde_json::json!(["exact", "identity", "blocked"]));
}

#[test]
fn a_new_model_runs() {
    let shown = follow("rust", "model", "--data my-model");
    assert_eq!(shown["components"][0]["gradients"], serde_json::json!(["exact"]));
}

#[test]
fn a_new_loss_runs() {
    assert_eq!(follow("rust", "loss", "")["components"][0]["kind"], "loss");
}

/// The two languages say the same attack.
#[test]
fn new_attacks_in_both_languages_give_the_same_numbers() {
    let folder = Folder::with(&[]);
    let mut samples = Vec::new();
    for (language, tool, library) in [
        ("c", "make", "climb.so".to_owned()),
        ("rust", "cargo build --release --offline --quiet", format!("target/release/{DLL_PREFIX}climb{DLL_SUFFIX}")),
    ] {
        let written = folder.call(&format!("plugin new climb --language {language} --dir {language}"));
        assert_eq!(written.code, Some(0), "{written}");
        build(&folder, language, tool);
        let library = format!("{language}/{library}");
        assert_eq!(folder.call(&format!("plugin trust {library}")).code, Some(0));
        let ran = folder.call(&format!("run {language}/example.toml --plugin {library} --out {language}/out"));
        assert_eq!(ran.code, Some(0), "{ran}");
        // All columns but that of the cell's key, in which the library's digest is.
        let table = folder.read(&format!("{language}/out/samples.csv"));
        let row = |line: &str| -> Vec<String> {
            line.split(',').enumerate().filter(|(column, _)| *column != 1).map(|(_, cell)| cell.to_owned()).collect()
        };
        samples.push(table.lines().map(row).collect::<Vec<_>>());
    }
    assert!(samples[0].iter().filter(|row| row[3] == "climb").count() == 500 && samples[0] == samples[1]);
}

#[test]
fn what_cannot_be_written_is_told() {
    let folder = Folder::with(&[("climb/notes.txt", "mine")]);
    assert_snapshot!("new_folder_exists", folder.call("plugin new climb"));
    assert_snapshot!("new_not_kebab_case", folder.call("plugin new MyAttack"));
    assert_snapshot!("new_built_in", folder.call("plugin new pgd"));
    assert_snapshot!("new_defense_in_c", folder.call("plugin new fog --language c --kind defense"));
    for name in ["2fast", "a--b", "a-", "ä", "a_b", "realsafe-abi"] {
        let called = folder.call(&format!("plugin new {name}"));
        assert!(called.code == Some(2) && called.stderr.contains("hint: "), "{called}");
    }
    assert_eq!(fs_err::read_dir(folder.path(".")).unwrap().count(), 1);
    assert_eq!(fs_err::read_dir(folder.path("climb")).unwrap().count(), 1);
}

#[test]
fn files_are_trusted_without_being_loaded() {
    let folder = untouchable();
    let before = digest(&folder, "plugins/climb.so");
    let trusted = folder.call("plugin trust plugins/climb.so");
    assert_snapshot!("trust", trusted.to_string().replace(&before, "[DIGEST]"));
    assert_snapshot!("trust_lock", folder.read("realsafe.lock").replace(&before, "[DIGEST]"));
    fs_err::write(folder.path("plugins/climb.so"), "version 2").unwrap();
    let after = digest(&folder, "plugins/climb.so");
    let again = folder.call("plugin trust plugins/climb.so");
    assert_snapshot!("trust_again", again.to_string().replace(&before, "[BEFORE]").replace(&after, "[DIGEST]"));
    assert!(!folder.read("realsafe.lock").contains(&before));
}

#[test]
fn a_list_of_files_is_trusted_as_a_whole_or_not_at_all() {
    let folder = untouchable();
    assert_snapshot!(folder.call("plugin trust plugins/climb.so plugins/missing.so"));
    assert!(!folder.path("realsafe.lock").exists());
}

#[test]
fn a_plugin_that_changed_after_it_was_trusted_is_refused() {
    let folder = untouchable();
    assert_eq!(folder.call("plugin trust plugins/climb.so").code, Some(0));
    fs_err::write(folder.path("plugins/climb.so"), "version 2").unwrap();
    assert_snapshot!("changed_run", folder.call("run small.toml"));
    assert_snapshot!("changed_show", folder.call("plugin show plugins/climb.so"));
    assert!(!folder.path("results").exists());
}

#[test]
fn a_plugin_that_is_not_trusted_is_refused_where_it_is_named() {
    let folder = untouchable();
    assert_snapshot!("unpinned_run", folder.call("run small.toml --plugin plugins/climb.so"));
    assert_snapshot!("unpinned_show", folder.call("plugin show plugins/climb.so"));
    // Its manifest says what could be had.
    let spec = SMALL.replace("fgsm", "climb");
    fs_err::write(folder.path("small.toml"), spec).unwrap();
    assert_snapshot!("unpinned_offer", folder.call("check small.toml"));
}

#[test]
fn a_trusted_file_that_is_no_library_is_refused() {
    let folder = untouchable();
    assert_eq!(folder.call("plugin trust plugins/climb.so").code, Some(0));
    assert_snapshot!(folder.call("plugin show plugins/climb.so"));
}

#[test]
fn a_malformed_lock_is_told_with_its_line() {
    let folder = untouchable();
    fs_err::write(folder.path("realsafe.lock"), "[[plugin]]\npath = \"a.so\"\nblake3 = \"12\"\n").unwrap();
    assert_snapshot!("malformed_lock", folder.call("run small.toml"));
    for command in ["trust plugins/climb.so", "list", "show plugins/climb.so"] {
        let called = folder.call(&format!("plugin {command}"));
        assert!(called.code == Some(77) && called.stderr.contains("realsafe.lock:3"), "{called}");
    }
}

#[test]
fn lists_say_what_manifests_say_and_what_is_trusted() {
    let folder = untouchable();
    assert_snapshot!("list_nothing", Folder::with(&[]).call("plugin list"));
    fs_err::write(folder.path("plugins/bare.so"), "bare").unwrap();
    fs_err::write(folder.path("plugins/changed.so"), "before").unwrap();
    fs_err::write(folder.path("plugins/broken.so"), "broken").unwrap();
    fs_err::write(folder.path("plugins/broken.plugin.toml"), "name = \"broken\"\nversion = 1\n").unwrap();
    // Terminals would obey this.
    fs_err::write(folder.path("plugins/loud.so"), "loud").unwrap();
    let loud = MANIFEST.replace("\"climb\"", "\"\\u001b[2Jloud\"");
    fs_err::write(folder.path("plugins/loud.plugin.toml"), loud).unwrap();
    assert_eq!(folder.call("plugin trust plugins/climb.so plugins/changed.so").code, Some(0));
    fs_err::write(folder.path("plugins/changed.so"), "after").unwrap();
    let list = folder.call("plugin list");
    assert!(!list.stdout.contains('\u{1b}'), "{list}");
    assert_snapshot!("list", list);

    let list = json(&folder.call("plugin list --format json"));
    let find = |file: &str| {
        let entries = list.as_array().unwrap().iter();
        entries.clone().find(|entry| entry["path"].as_str().unwrap().ends_with(file)).unwrap()
    };
    assert_eq!(find("climb.so")["status"], "trusted");
    assert_eq!(find("climb.so")["blake3"], digest(&folder, "plugins/climb.so"));
    assert_eq!(find("climb.so")["manifest"]["components"][1]["name"], "slope");
    assert_eq!(find("climb.so")["from"], "the folder plugins");
    assert_eq!(find("changed.so")["status"], "changed");
    assert_eq!((&find("bare.so")["status"], &find("bare.so")["manifest"]), (&"not trusted".into(), &Value::Null));
}

#[test]
fn a_trusted_plugin_is_shown() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.call("plugin new climb --language c").code, Some(0));
    build(&folder, "climb", "make");
    assert_eq!(folder.call("plugin trust climb/climb.so").code, Some(0));
    let shown = folder.call("plugin show climb/climb.so --write-manifest");
    assert_snapshot!("show", shown.to_string().replace(&digest(&folder, "climb/climb.so"), "[DIGEST]"));
    assert_snapshot!("show_manifest", folder.read("climb/climb.plugin.toml"));
}
