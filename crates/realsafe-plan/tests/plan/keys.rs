//! Keys change with everything that can change a number, and with nothing else.

use proptest::prelude::*;
use realsafe_plan::{Document, Key, Origin, expand, load_spec};

use crate::fixture::{catalogue_with_jpeg_of, environment, experiment};

/// What may change a number.
#[derive(Clone, Debug, PartialEq)]
struct Meaning {
    samples: u32,
    weights: &'static str,
    folded: bool,
    mean: u32,
    quality: Option<u32>,
    jpeg_gradient: &'static str,
    attack_gradient: Option<&'static str>,
    attack: &'static str,
    steps: u32,
    step_size: Option<u32>,
    success: &'static str,
    restarts: u32,
    queries: Option<u32>,
    record: Vec<u32>,
    norm: &'static str,
    eps: u32,
    target: Option<&'static str>,
    seed: u64,
    device: &'static str,
}

/// What may not.
#[derive(Clone, Debug)]
struct Labels {
    experiment: String,
    model: String,
    defense: String,
    attack: String,
    threat: String,
    title: String,
}

fn key(meaning: &Meaning, labels: &Labels) -> Key {
    let optional =
        |key: &str, value: Option<String>| value.map_or_else(String::new, |value| format!("{key} = {value}\n"));
    let Labels { experiment: id, model, defense, attack, threat, title } = labels;
    let jpeg = meaning.quality.map_or_else(String::new, |quality| {
        let gradient = meaning.jpeg_gradient;
        format!("[[defense]]\nid = \"{defense}\"\nuse = \"jpeg\"\nquality = {quality}\ngradient = \"{gradient}\"\n")
    });
    let seen = meaning.attack_gradient.filter(|_| meaning.quality.is_some());
    let text = [
        format!("[experiment]\nid = \"{id}\"\ntitle = \"{title}\"\nseed = {}\n", meaning.seed),
        format!("[data]\nuse = \"pictures\"\nsamples = {}\n", meaning.samples),
        format!("[[model]]\nid = \"{model}\"\nuse = \"cnn\"\nweights = \"{}\"\n", meaning.weights),
        format!("folded = {}\nmean = [\"{}/7\"]\n", meaning.folded, meaning.mean),
        jpeg,
        format!("[threat]\nid = \"{threat}\"\nnorm = \"{}\"\neps = \"{}/255\"\n", meaning.norm, meaning.eps),
        optional("target", meaning.target.map(|target| format!("\"{target}\"\ngoal = \"targeted\""))),
        format!("[[attack]]\nid = \"{attack}\"\nuse = \"{}\"\nsteps = {}\n", meaning.attack, meaning.steps),
        optional("step-size", meaning.step_size.map(|size| format!("\"{size}/255\""))),
        format!("success = \"{}\"\nrestarts = {}\nrecord = {:?}\n", meaning.success, meaning.restarts, meaning.record),
        optional("budget", meaning.queries.map(|queries| format!("{{ queries = {queries} }}"))),
        optional("gradient", seen.map(|gradient| format!("{{ {defense} = \"{gradient}\" }}"))),
    ];
    let cells = expand(&experiment(&text.concat(), &[]), meaning.device);
    cells.into_iter().next().unwrap().key
}

fn label() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9]{0,8}-[a-z0-9]{1,4}"
}

fn labels() -> impl Strategy<Value = Labels> {
    (label(), label(), label(), label(), label(), "[a-z ]{0,20}").prop_map(
        |(experiment, model, defense, attack, threat, title)| Labels {
            experiment,
            model,
            defense,
            attack,
            threat,
            title,
        },
    )
}

fn meaning() -> impl Strategy<Value = Meaning> {
    let model = (1_u32..200, prop_oneof![Just("cnn.weights"), Just("builtin:tiny")], any::<bool>(), 1_u32..7);
    let gradient = || prop_oneof![Just("identity"), Just("blocked")];
    let defense = (prop::option::of(1_u32..100), gradient(), prop::option::of(gradient()));
    let attack =
        (20_u32..70, prop::option::of(1_u32..99), prop_oneof![Just("last"), Just("any-iterate"), Just("any-query")]);
    let around = (1_u32..4, prop::option::of(1_u32..9), prop::collection::btree_set(1_u32..9, 0..3));
    let threat = (
        prop_oneof![Just("linf"), Just("l2")],
        1_u32..255,
        prop::option::of(prop_oneof![Just("next"), Just("random")]),
    );
    let rest = (0_u64..9, prop_oneof![Just("flex avx2"), Just("flex avx512")]);
    (model, defense, attack, around, threat, rest).prop_map(|(model, defense, attack, around, threat, rest)| Meaning {
        samples: model.0,
        weights: model.1,
        folded: model.2,
        mean: model.3,
        quality: defense.0,
        jpeg_gradient: defense.1,
        attack_gradient: defense.2,
        attack: "pgd",
        steps: attack.0,
        step_size: attack.1,
        success: attack.2,
        restarts: around.0,
        queries: around.1,
        record: around.2.into_iter().collect(),
        norm: threat.0,
        eps: threat.1,
        target: threat.2,
        seed: rest.0,
        device: rest.1,
    })
}

/// The meaning with one thing changed.
fn change(meaning: &Meaning, which: usize) -> Meaning {
    let mut changed = meaning.clone();
    let toggle = |value: Option<u32>| if value.is_some() { None } else { Some(3) };
    match which {
        0 => changed.samples += 1,
        1 => changed.weights = if meaning.weights == "cnn.weights" { "builtin:tiny" } else { "cnn.weights" },
        2 => changed.folded = !meaning.folded,
        3 => changed.mean = meaning.mean % 6 + 1,
        4 => changed.quality = toggle(meaning.quality),
        5 => {
            changed.quality = Some(meaning.quality.map_or(10, |quality| quality % 99 + 1));
        }
        6 => changed.steps += 1,
        7 => changed.step_size = toggle(meaning.step_size),
        8 => changed.success = if meaning.success == "last" { "any-query" } else { "last" },
        9 => changed.restarts += 1,
        10 => changed.queries = toggle(meaning.queries),
        11 => changed.record.push(20),
        12 => changed.norm = if meaning.norm == "l2" { "linf" } else { "l2" },
        13 => changed.eps = meaning.eps % 254 + 1,
        14 => changed.target = if meaning.target.is_some() { None } else { Some("least-likely") },
        15 => changed.seed += 1,
        _ => changed.device = "tch",
    }
    changed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn labels_do_not_matter(meaning in meaning(), one in labels(), other in labels()) {
        prop_assert_eq!(key(&meaning, &one), key(&meaning, &other));
    }

    #[test]
    fn every_change_of_meaning_matters(meaning in meaning(), labels in labels(), which in 0_usize..17) {
        let changed = change(&meaning, which);
        prop_assert_ne!(&meaning, &changed);
        prop_assert_ne!(key(&meaning, &labels), key(&changed, &labels));
    }

    #[test]
    fn the_gradient_that_an_attacker_sees_matters(meaning in meaning(), labels in labels()) {
        let seen = |default, own| {
            let meaning = Meaning { quality: Some(75), jpeg_gradient: default, attack_gradient: own, ..meaning.clone() };
            key(&meaning, &labels)
        };
        prop_assert_ne!(seen("identity", None), seen("blocked", None));
        prop_assert_eq!(seen("identity", Some("blocked")), seen("blocked", None));
    }
}

#[test]
fn the_library_of_a_plugin_matters_and_its_name_does_not() {
    let key = |origin| {
        let text = "[experiment]\nid = \"x\"\n[data]\nuse = \"pictures\"\nsamples = 3\n[[model]]\nuse = \"cnn\"\nweights = \"builtin:tiny\"\n[[defense]]\nuse = \"jpeg\"\n[threat]\nnorm = \"linf\"\neps = 0.1\n[[attack]]\nuse = \"pgd\"\n";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spec.toml");
        std::fs::write(&path, text).unwrap();
        let document = load_spec(&path, &[], &catalogue_with_jpeg_of(origin), &environment());
        let Ok(Document::Experiment(experiment)) = document else { panic!("a spec that is fine") };
        expand(&experiment, "flex")[0].key.clone()
    };
    let plugin = |name, blake3| key(Origin::Plugin { name, version: "1", blake3 });
    assert_eq!(key(Origin::Crate("one")), key(Origin::Crate("other")));
    assert_eq!(plugin("one", Some("aa")), plugin("other", Some("aa")));
    assert_ne!(plugin("one", Some("aa")), plugin("one", Some("bb")));
    assert_ne!(plugin("one", Some("aa")), plugin("one", None));
    assert_ne!(plugin("one", None), key(Origin::Crate("one")));
}
