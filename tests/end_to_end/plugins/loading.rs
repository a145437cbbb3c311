//! Plugins that cannot be used: who names one is told which file it is, what is wrong with it, and what to do.

use std::path::Path;

use super::libraries::{broken, example};
use super::workplace::{Called, Workplace};
use crate::program::argument;

/// Two samples under an attack.
const SPEC: &str = r#"
[experiment]
id = "loading"

[data]
use = "digits"
samples = 2

[[model]]
use = "digits-cnn"
weights = "builtin:digits-standard"

[[threat]]
norm = "linf"
eps = "0.1"

[[attack]]
use = "ATTACK"
"#;

/// What `broken` libraries have in them.
const ATTACK: &str = "does-nothing";

/// Writes `spec.toml`, with something before the rest.
fn spec(workplace: &Workplace, attack: &str, head: &str) {
    workplace.write("spec.toml", format!("{head}\n{}", SPEC.replace("ATTACK", attack)));
}

/// Runs the attack of a trusted library.
fn run(library: &Path) -> Called {
    let workplace = Workplace::trusting(&[library]);
    spec(&workplace, ATTACK, "");
    workplace.call(&["run", "spec.toml", "--plugin", argument(library)])
}

#[test]
fn plugins_of_older_and_newer_minor_versions_work() {
    for name in ["whole", "older_minor", "newer_minor"] {
        let called = run(&broken(name));
        assert_eq!(called.code, Some(0), "{name}: {called}");
        assert!(called.stdout.contains(ATTACK), "{name}: {called}");
    }
}

#[test]
fn tables_that_make_no_sense_are_refused() {
    for (name, words) in [
        ("wrong_magic", ["0x12345678", "no plugin's table"]),
        ("newer_minor_needed", ["1.99", "use a newer realsafe-spec or an older version of the plugin"]),
        ("truncated", ["16 bytes", "version 1.0 of the plugin ABI has"]),
        ("no_symbol", ["does not export `realsafe_plugin_v1`", "no realsafe-spec plugin of version 1"]),
        ("null_table", ["says that it cannot work with version 1.", "the one of this program"]),
        ("null_interface", ["component `does-nothing`, interface is a null pointer", "null_interface"]),
        ("not_utf8", ["UTF-8", "not_utf8"]),
        ("twin_components", ["does-nothing", "twin_components"]),
    ] {
        let called = run(&broken(name));
        called.expect(77, &words);
        called.expect(77, &[&format!("{name}.so")]);
    }
}

#[test]
fn files_that_are_no_libraries_of_this_machine_are_refused() {
    let folder = Workplace::new();
    let text = folder.write("notes.so", "Buy milk.\n");
    run(&text).expect(77, &["notes.so", "is not a shared library", "cc -shared -fPIC"]);
    run(&folder.write("empty.so", "")).expect(77, &["empty.so", "is not a shared library"]);

    // The number of the machine lies at byte 18 of an ELF file; these are PowerPC and a number that nobody has.
    let mut library = std::fs::read(broken("whole")).unwrap();
    if library.starts_with(b"\x7fELF") {
        library[18..20].copy_from_slice(&[21, 0]);
        let foreign = folder.write("foreign.so", &library);
        run(&foreign).expect(77, &["foreign.so is built for powerpc64", "build it for "]);
        library[18..20].copy_from_slice(&[0xee, 0xee]);
        run(&folder.write("unknown.so", &library)).expect(77, &["is built for machine 61166"]);
        // The header is right, but the rest is missing: that may be told, or crash the worker process.
        let whole = std::fs::read(broken("whole")).unwrap();
        run(&folder.write("half.so", &whole[..whole.len() / 8])).expect(77, &["half.so"]);
    }
}

#[test]
fn only_what_is_trusted_is_loaded() {
    let (whole, other) = (broken("whole"), broken("older_minor"));
    let workplace = Workplace::new();
    let copy = workplace.write("plugin.so", std::fs::read(&whole).unwrap());
    spec(&workplace, ATTACK, "");
    let run = ["run", "spec.toml", "--plugin", "plugin.so"];
    workplace.call(&run).expect(77, &["plugin.so (from --plugin) is not trusted", "plugin trust plugin.so"]);
    workplace.trust(&[&copy]);
    workplace.succeed(&run);
    std::fs::write(&copy, std::fs::read(other).unwrap()).unwrap();
    let changed = workplace.call(&run);
    changed.expect(77, &["plugin.so (from --plugin) has changed since it was trusted", "plugin trust plugin.so"]);
    workplace.trust(&[&copy]);
    workplace.succeed(&run);
    // Nobody names what lies about: it is passed over, and offered only if its manifest says what is in it.
    let stray = Workplace::new();
    stray.write("plugins/plugin.so", std::fs::read(&whole).unwrap());
    spec(&stray, "fgsm", "");
    stray.succeed(&["run", "spec.toml"]);
    spec(&stray, ATTACK, "");
    stray.call(&["run", "spec.toml"]).expect(65, &["unknown attack `does-nothing`"]);
    stray.trust(&[&stray.path("plugins/plugin.so")]);
    stray.succeed(&["run", "spec.toml"]);
}

#[test]
fn plugins_are_found_through_the_variable() {
    let whole = broken("whole");
    let workplace = Workplace::trusting(&[&whole]);
    spec(&workplace, ATTACK, "");
    for path in [&whole, &workplace.path("folder")] {
        std::fs::create_dir_all(workplace.path("folder")).unwrap();
        std::fs::copy(&whole, workplace.path("folder/copy.so")).unwrap();
        let mut command = workplace.program(&["run", "spec.toml"]);
        let called = Called::of({
            command.env("REALSAFE_PLUGIN_PATH", path);
            command
        });
        assert_eq!(called.code, Some(0), "{}: {called}", path.display());
    }
}

#[test]
fn names_that_clash_are_told_with_both_sources() {
    let workplace = Workplace::new();
    // Other bytes, the same name.
    let (one, two) = (broken("whole"), broken("newer_minor"));
    workplace.trust(&[&one, &two]);
    spec(&workplace, ATTACK, "");
    let called = workplace.call(&["check", "spec.toml", "--plugin", argument(&one), "--plugin", argument(&two)]);
    called.expect(77, &["two plugins are named `broken`", "whole.so", "newer_minor.so", "use one of them only"]);

    let twin = broken("clashes");
    workplace.trust(&[&twin]);
    let called = workplace.call(&["check", "spec.toml", "--plugin", argument(&twin)]);
    called.expect(77, &["`pgd`", "plugin `clashing`", "crate `realsafe-attacks`", "rename the component"]);
}

#[test]
fn what_a_spec_says_of_its_plugins_is_checked() {
    let whole = broken("whole");
    let workplace = Workplace::trusting(&[&whole]);
    let path = argument(&whole);
    let check = |head: &str| {
        spec(&workplace, ATTACK, head);
        workplace.call(&["check", "spec.toml"])
    };
    let digest = workplace.read("realsafe.lock");
    let digest = digest.lines().find_map(|line| line.strip_prefix("blake3 = ")).unwrap().trim_matches('"');
    let good = check(&format!("[plugins]\nbroken = {{ path = {path:?}, blake3 = \"{digest}\" }}"));
    assert_eq!(good.code, Some(0), "{good}");
    let other = digest.chars().rev().collect::<String>();
    let wrong = check(&format!("[plugins]\nbroken = {{ path = {path:?}, blake3 = \"{other}\" }}"));
    wrong.expect(65, &["spec.toml:2", "whole.so", "is not the plugin that the spec means", digest]);
    let short = check(&format!("[plugins]\nbroken = {{ path = {path:?}, blake3 = \"{}\" }}", &digest[..10]));
    short.expect(65, &["spec.toml:2", "64 hexadecimal digits"]);
    let misnamed = check(&format!("[plugins]\nunbroken = {path:?}"));
    misnamed.expect(65, &["spec.toml:2", "this plugin is named `broken`", "write broken ="]);
    let missing = check("[plugins]\nbroken = \"missing.so\"");
    missing.expect(65, &["spec.toml:2", "missing.so", "does not exist", "relative to the spec"]);
    let unpinned = Workplace::new();
    spec(&unpinned, ATTACK, &format!("[plugins]\nbroken = {path:?}"));
    unpinned.call(&["check", "spec.toml"]).expect(77, &["whole.so", "spec.toml", "is not trusted", "plugin trust"]);
}

#[test]
fn a_library_that_moved_is_still_trusted() {
    let library = example("simba");
    let workplace = Workplace::trusting(&[&library]);
    std::fs::copy(&library, workplace.path("moved.so")).unwrap();
    spec(&workplace, "simba", "[plugins]\nsimba = \"moved.so\"");
    workplace.succeed(&["check", "spec.toml"]);
}
