//! The schema for editors agrees with the reader.

use std::path::Path;

use realsafe_plan::{check_component, parse_component, schema};
use serde_json::Value;

use crate::attacks::good_specs;
use crate::fixture::{FULL, catalogue, environment};

fn validator() -> jsonschema::Validator {
    let schema = schema(&catalogue());
    jsonschema::draft7::meta::validate(&schema).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

fn json(text: &str) -> Value {
    let table: toml::Table = text.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn good_specs_are_valid() {
    let validator = validator();
    let resolved = crate::fixture::experiment(FULL, &[]).resolved();
    let training = "[training]\nid = \"x\"\nuse = \"standard\"\n[data]\nuse = \"pictures\"\n[[model]]\nuse = \"cnn\"\n";
    let overlay = "extends = \"base.toml\"\n[data]\nsamples = 10\n";
    let whole = [FULL, resolved.as_str(), training, overlay].map(str::to_owned);
    for text in whole.into_iter().chain(good_specs()) {
        let errors: Vec<String> = validator.iter_errors(&json(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{text}");
    }
}

#[test]
fn bad_specs_are_not() {
    let validator = validator();
    for name in [
        "unknown-key",
        "unknown-attack",
        "wrong-type",
        "defense-as-attack",
        "ten-mistakes",
        "wrong-figures",
        "wrong-matrix",
        "wrong-training",
        "wrong-searches",
        "wrong-transfers",
    ] {
        let path = Path::new("tests/plan/wrong").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(!validator.is_valid(&json(&text)), "{name}");
    }
    for (good, bad) in [
        ("steps = 10", "steps = 0"),
        ("eps = \"0.3\"", "eps = \"a third\""),
        ("goal = \"targeted\"", "goal = \"aimed\""),
        ("success = \"last\"", "success = \"first\""),
        ("metric = \"clean-accuracy\"", "metric = \"accuracy\""),
        ("scale = \"log\"", "scale = \"square\""),
        ("gradient = \"exact\"", "gradient = \"blocked\""),
    ] {
        assert!(FULL.contains(good));
        assert!(!validator.is_valid(&json(&FULL.replace(good, bad))), "{bad}");
    }
}

#[test]
fn components_of_the_tests_are_sound() {
    for component in catalogue().iter() {
        check_component(component).unwrap();
    }
}

#[test]
fn tables_of_parameters_are_read_alone() {
    let pgd = catalogue().get(realsafe_plan::Kind::Attack, "pgd").unwrap();
    let chosen = parse_component(pgd, "step-size = \"2/255\"", &catalogue(), &environment()).unwrap();
    assert_eq!((chosen.values.count("steps"), chosen.values.number("step-size")), (40, 2.0 / 255.0));
    let message = parse_component(pgd, "stepsize = 1", &catalogue(), &environment()).unwrap_err().render(false);
    assert!(message.contains("did you mean `step-size`?"), "{message}");
}
