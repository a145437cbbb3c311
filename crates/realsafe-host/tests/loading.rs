//! What is loaded, what is refused, and in which words.

mod support {
    mod library;

    pub(crate) use library::Library;
}

use std::process::Command;

use realsafe_host::{Description, Digest, Fallback, Interface, LoadError, ParameterKind, Plugin};
use support::Library;

fn load(library: &Library) -> Result<Description, LoadError> {
    Plugin::in_process(&library.path, library.digest()).map(|plugin| (**plugin.description()).clone())
}

/// The error that `broken.c` gives with these macros.
fn refusal(flags: &[&str]) -> (LoadError, String) {
    let library = Library::compile("broken", flags);
    let error = load(&library).unwrap_err();
    let text = error.to_string().replace(&library.path.display().to_string(), "FILE");
    (error, text)
}

#[test]
fn tables_are_described() {
    let description = load(&Library::compile("components", &[])).unwrap();
    assert_eq!((&*description.name, &*description.version, description.minor), ("test-components", "0.3", 1));
    assert_eq!(description.warnings.len(), 1);
    assert!(description.warnings[0].contains("`from-the-future` is of kind 99"), "{}", description.warnings[0]);
    let kinds: Vec<_> = description.components.iter().map(|component| component.interface.kind()).collect();
    assert_eq!(kinds, ["attack", "defense", "model", "loss"]);
    let attack = &description.components[0];
    assert_eq!((&*attack.id, attack.revision, &*attack.example), ("probing", 2, "gain = 0.1"));
    assert_eq!(attack.summary(), "Probes the host.");
    let Interface::Attack(facts) = attack.interface else { panic!() };
    assert_eq!((facts.access, facts.surrogates, facts.norms, facts.goals), (3, true, 1, 3));
    let parameter = &attack.parameters[0];
    assert_eq!((&*parameter.name, parameter.kind), ("behaviour", ParameterKind::Count));
    assert_eq!(parameter.fallback, Fallback::Default("0".to_owned()));
    assert_eq!((parameter.minimum, parameter.maximum), (0.0, 100.0));
    assert_eq!(description.components[2].parameters[3].choices, ["full", "half"]);
}

#[test]
fn older_and_newer_minor_versions_fit() {
    let older = load(&Library::compile("broken", &["-DMINOR=0", "-DSIZE=offsetof(RealsafePlugin, homepage)"])).unwrap();
    assert_eq!((older.minor, &*older.homepage), (0, ""));
    let same = load(&Library::compile("broken", &[])).unwrap();
    assert_eq!((same.minor, &*same.homepage), (1, "home"));
    let newer = load(&Library::compile("broken", &["-DMINOR=9", "-DSIZE=sizeof(RealsafePlugin)+32"])).unwrap();
    assert_eq!((newer.minor, &*newer.homepage), (9, "home"));
}

#[test]
fn versions_that_do_not_fit_are_refused() {
    let (error, text) = refusal(&["-DNEEDS=2"]);
    assert!(matches!(error, LoadError::TooNew { .. }));
    assert!(text.contains("needs version 1.2 of the plugin ABI, but this program has 1.1"), "{text}");
    assert!(matches!(refusal(&["-DMAJOR=2"]).0, LoadError::TooNew { .. }));
    assert!(matches!(refusal(&["-DMAJOR=0"]).0, LoadError::TooOld { major: 0, .. }));
    assert!(matches!(refusal(&["-DTABLE=host_minor==77?&PLUGIN.plugin:NULL"]).0, LoadError::Refused { .. }));
}

#[test]
fn malformed_tables_are_refused_with_their_place() {
    assert!(matches!(refusal(&["-DMAGIC=7"]).0, LoadError::Magic { found: 7, .. }));
    let (error, text) = refusal(&["-DSIZE=24"]);
    assert!(matches!(error, LoadError::Truncated { found: 24, .. }), "{text}");
    let (error, text) = refusal(&["-DCOMPONENT_SIZE=8"]);
    assert!(matches!(error, LoadError::Truncated { found: 8, .. }), "{text}");
    assert!(text.starts_with("plugin `broken` (FILE): component 0 has 8 bytes"), "{text}");
    let cases = [
        ("-DFORWARD=NULL", "component `upside-down`, interface, forward is null, but is needed"),
        ("-DGRADIENT=9", "component `upside-down`, interface, gradient is 9"),
        ("-DGRADIENT=1", "component `upside-down`, interface, pull is null, but the gradient is exact by default"),
        ("-DCOUNT=2", "component `upside-down` occurs twice among the defense components"),
        ("-DCOUNT=UINT64_MAX", "components has 18446744073709551615 entries, more than 1024"),
        ("-DPARAMETER_KIND=44", "component `upside-down`, parameter `depth`, kind is 44"),
        ("-DPARAMETER_KIND=REALSAFE_LOSS", "parameter `depth` is a loss, which only attacks can have"),
        ("-DPARAMETER_KIND=REALSAFE_CHOICE", "parameter `depth`, choices has no words"),
        ("-DMAXIMUM=0", "parameter `depth` has the range 1 to 0, which is empty"),
        ("-DMAXIMUM=__builtin_nan(\"\")", "parameter `depth` has the range 1 to NaN"),
        ("-DID=\"Upside_Down\"", "id is \"Upside_Down\", but has to be in kebab case"),
        ("-DID=\"\\xff\"", "id is not UTF-8"),
        ("-DNAME=\"\"", "the name of the plugin is \"\", but has to be in kebab case"),
    ];
    for (flag, expected) in cases {
        let (error, text) = refusal(&[flag]);
        assert!(matches!(error, LoadError::Malformed { .. }), "{flag}: {text}");
        assert!(text.contains(expected), "{flag}: {text}");
    }
}

#[test]
fn files_that_are_no_plugins_are_refused() {
    let (error, text) = refusal(&["-DENTRY=another_name"]);
    assert!(matches!(error, LoadError::NoEntry { .. }));
    assert!(text.contains("does not export `realsafe_plugin_v1`"), "{text}");
    let (error, text) = refusal(&["-DUNDEFINED"]);
    assert!(matches!(error, LoadError::Open { .. }));
    assert!(text.contains("not_there"), "the loader's own words: {text}");

    let library = Library::compile("broken", &[]);
    let content = std::fs::read(&library.path).unwrap();
    std::fs::write(&library.path, "#!/bin/sh\n").unwrap();
    assert!(matches!(load(&library), Err(LoadError::NotALibrary { .. })));
    std::fs::write(&library.path, "").unwrap();
    assert!(matches!(load(&library), Err(LoadError::NotALibrary { .. })));
    if cfg!(target_os = "linux") {
        let mut other = content;
        other[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
        std::fs::write(&library.path, other).unwrap();
        let error = load(&library).unwrap_err();
        assert!(matches!(error, LoadError::Architecture { .. }), "{error}");
        assert!(error.to_string().contains("is built for"), "{error}");
    }
    std::fs::remove_file(&library.path).unwrap();
    let absent: Digest = "00".repeat(32).parse().unwrap();
    assert!(matches!(Plugin::in_process(&library.path, absent), Err(LoadError::Read { .. })));
}

#[test]
fn files_that_changed_are_refused() {
    let library = Library::compile("broken", &[]);
    let trusted = library.digest();
    let stripped = Command::new("cc").args(["-shared", "-x", "c", "/dev/null", "-o"]).arg(&library.path).status();
    assert!(stripped.unwrap().success());
    let error = Plugin::in_process(&library.path, trusted).unwrap_err();
    let LoadError::Changed { expected, found, .. } = error else { panic!("{error}") };
    assert_eq!((expected, found), (trusted, library.digest()));
}
