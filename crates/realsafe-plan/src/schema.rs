//! The JSON Schema of specs, for editors; generated from the parameter tables of a catalogue.
//!
//! It is draft 7, which the TOML language servers know. It accepts every spec that [`load_spec`](crate::load_spec)
//! does, and bases that others extend; what depends on more than one table is left to `check`.

use serde_json::{Map, Value, json};

use crate::parameters::digest_key;
use crate::spec::NORMS;
use crate::{
    Catalogue, Component, CurveAxis, Ensemble, Facet, Fallback, Goal, GradientMode, Kind, Metric, Parameter,
    ParameterKind, Success, TargetRule,
};

/// The schema of the specs that this catalogue understands.
pub fn schema(catalogue: &Catalogue) -> Value {
    let any_of = |kind| {
        let variants: Vec<Value> = catalogue.of_kind(kind).map(|component| table(component, catalogue)).collect();
        // No component of a kind: no table of that kind is right.
        if variants.is_empty() { json!(false) } else { json!({ "anyOf": variants }) }
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An experiment or training run of realsafe-spec",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "extends": one_or_more("Specs that this one is laid over, relative to this file.", &text()),
            "experiment": experiment(),
            "training": described("A training run: the recipe and its parameters.", any_of(Kind::Recipe)),
            "data": described("The images.", any_of(Kind::Dataset)),
            "model": list("The networks.", &any_of(Kind::Model)),
            "source": list("The static networks that a training recipe needs, if it needs any.", &any_of(Kind::Model)),
            "defense": list("The defenses that stacks are made of.", &any_of(Kind::Defense)),
            "threat": one_or_more("What counts as close, and what the attacker wants.", &threat()),
            "attack": list("The attacks.", &any_of(Kind::Attack)),
            "matrix": matrix(),
            "plugins": plugins(),
            "run": object("How the experiment is run.", &[], json!({
                "device": described("The device, as in flex or tch:cuda:0.", text()),
                "chunk": described("How many samples a cell has at most; 256 by default.", count_up_to(1_000_000)),
            })),
            "expect": list("What is expected of the results.", &expectation()),
            "figure": list("Which curves are drawn; those that fit the attacks by default.", &figure()),
        },
    })
}

fn described(description: &str, mut schema: Value) -> Value {
    if let Some(object) = schema.as_object_mut() {
        object.insert("description".to_owned(), json!(description));
    }
    schema
}

fn object(description: &str, required: &[&str], properties: Value) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn one_or_more(description: &str, item: &Value) -> Value {
    json!({ "description": description, "anyOf": [item, { "type": "array", "items": item }] })
}

fn id(description: &str) -> Value {
    json!({ "description": description, "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" })
}

fn words<'a>(description: &str, words: impl IntoIterator<Item = &'a str>) -> Value {
    json!({ "description": description, "enum": words.into_iter().collect::<Vec<_>>() })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn at_least(minimum: u64) -> Value {
    json!({ "type": "integer", "minimum": minimum })
}

fn count_up_to(maximum: u64) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": maximum })
}

fn list(description: &str, item: &Value) -> Value {
    json!({ "description": description, "type": "array", "items": item })
}

fn count(description: &str, minimum: u64) -> Value {
    described(description, at_least(minimum))
}

/// A number, or a string such as `"8/255"`; the range holds for both, but is checked for numbers only.
fn number(minimum: f64, maximum: f64) -> Value {
    let mut plain = Map::from_iter([("type".to_owned(), json!("number"))]);
    for (key, bound) in [("minimum", minimum), ("maximum", maximum)] {
        if bound.is_finite() {
            plain.insert(key.to_owned(), json!(bound));
        }
    }
    let decimal = r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*";
    json!({ "anyOf": [plain, { "type": "string", "pattern": format!("^{decimal}(/{decimal})?$") }] })
}

/// The table of a component. Those that merge over a base may be incomplete, and so may the weights of a new model.
fn table(component: &Component, catalogue: &Catalogue) -> Value {
    let kind = component.kind();
    let merges = matches!(kind, Kind::Dataset | Kind::Recipe);
    let mut required = if merges { Vec::new() } else { vec!["use"] };
    let mut properties = common(component);
    properties.insert("use".to_owned(), json!({ "description": component.summary(), "const": component.id }));
    for declared in component.parameters {
        let is_file = declared.kind == ParameterKind::File;
        if declared.fallback == Fallback::Required && !merges && !(is_file && kind == Kind::Model) {
            required.push(declared.name);
        }
        properties.insert(declared.name.to_owned(), parameter(declared, catalogue));
        if is_file {
            let digest = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
            let digest = described("BLAKE3 that the file must have.", digest);
            properties.insert(digest_key(declared.name), digest);
        }
    }
    let mut table = object(&component.summary(), &required, Value::Object(properties));
    table["title"] = json!(component.id);
    table
}

fn parameter(parameter: &Parameter, catalogue: &Catalogue) -> Value {
    let mut schema = match parameter.kind {
        ParameterKind::Flag => json!({ "type": "boolean" }),
        ParameterKind::Count { minimum, maximum } => {
            json!({ "type": "integer", "minimum": minimum, "maximum": maximum.min(i64::MAX as u64) })
        }
        ParameterKind::Number { minimum, maximum } => number(minimum, maximum),
        ParameterKind::Numbers { minimum, maximum } => json!({ "type": "array", "items": number(minimum, maximum) }),
        ParameterKind::Choice(words) => json!({ "enum": words }),
        ParameterKind::Text | ParameterKind::File => json!({ "type": "string" }),
        ParameterKind::Loss | ParameterKind::Dataset => {
            let kind = parameter.kind.component().unwrap_or(Kind::Loss);
            let names: Vec<&str> = catalogue.of_kind(kind).map(|component| component.id).collect();
            let named = json!({ "enum": names });
            let tables = catalogue.of_kind(kind).map(|component| table(component, catalogue));
            let variants: Vec<Value> = [named].into_iter().chain(tables).collect();
            json!({ "anyOf": variants })
        }
        // Not their tables in full: models may have models as members again.
        ParameterKind::Models => {
            let named = json!({ "type": "object", "required": ["use"], "properties": { "use": text() } });
            json!({ "type": "array", "minItems": 2, "items": { "anyOf": [text(), named] } })
        }
    };
    let unit = if parameter.unit.is_empty() { String::new() } else { format!(" Unit: {}.", parameter.unit) };
    schema["description"] = json!(format!("{}{unit}", parameter.documentation));
    if let Fallback::Value(text) = parameter.fallback {
        schema["default"] = match parameter.kind {
            ParameterKind::Flag | ParameterKind::Count { .. } => {
                serde_json::from_str(text).unwrap_or_else(|_| json!(text))
            }
            ParameterKind::Numbers { .. } => json!(text.split(',').map(str::trim).collect::<Vec<_>>()),
            _ => json!(text),
        };
    }
    schema
}

/// The keys that every component of a kind takes beside its parameters.
fn common(component: &Component) -> Map<String, Value> {
    let own_id = id("The name by which the rest of the spec refers to it; the component's name by default.");
    let common = match component.kind() {
        Kind::Attack => json!({
            "id": own_id,
            "success": words("Which images decide; any-iterate by default, of randomised victims always last.", Success::ALL.map(Success::name)),
            "restarts": described("How often it starts anew on what it has not broken.", count_up_to(1_000_000)),
            "budget": object("Hard limits per sample.", &[], json!({
                "queries": count("Images sent to the defended system.", 1),
                "forwards": count("Forward passes of the network.", 1),
                "backwards": count("Backward passes of the network.", 1),
            })),
            "threats": one_or_more("The threat models in which it runs; all by default.", &text()),
            "gradient": {
                "description": "The gradient that it sees of a defense, by the defense's id.",
                "type": "object",
                "additionalProperties": words("The gradient.", GradientMode::ALL.map(GradientMode::name)),
            },
            "record": list("Steps after which every iterate is judged and recorded.", &at_least(1)),
            "surrogates": one_or_more("Ids of models whose gradients it uses, where it uses surrogates; those of a gradient attack stand in for the victim.", &text()),
            "eot": described("How many draws of a randomised victim an answer is the mean of.", count_up_to(10_000)),
            "search": {
                "description": "Looks for the smallest eps: over the threat's list, by doubling from start, or evenly up to largest.",
                "oneOf": [
                    { "const": "list" },
                    object("By doubling, then bisection.", &["start"], json!({
                        "start": number(0.0, f64::INFINITY),
                        "doublings": at_least(0),
                        "bisections": at_least(0),
                    })),
                    object("Evenly spaced, then bisection.", &["largest"], json!({
                        "largest": number(0.0, f64::INFINITY),
                        "points": at_least(1),
                        "bisections": at_least(0),
                    })),
                ],
            },
            "members": {
                "description": "The attacks of a chain, in order; each gets what the ones before did not break.",
                "type": ["array", "object"],
            },
            "ensemble": words("What several surrogates are combined in; logits by default.", Ensemble::ALL.map(Ensemble::name)),
        }),
        Kind::Defense => {
            let modes = component.defense().map(|traits| traits.gradients).unwrap_or_default();
            let modes = modes.iter().map(|mode| mode.name());
            json!({
                "id": own_id,
                "gradient": words("The gradient that attackers see; the first by default.", modes),
            })
        }
        Kind::Model => json!({ "id": own_id }),
        Kind::Loss => json!({}),
        Kind::Dataset => json!({
            "samples": count("The first so many images.", 1),
            "range": {
                "description": "Images from the first index up to, but without, the second.",
                "type": "array",
                "items": at_least(0),
                "minItems": 2,
                "maxItems": 2,
            },
            "indices": {
                "description": "These images: a list, or a text file with one index per line.",
                "anyOf": [text(), { "type": "array", "items": at_least(0) }],
            },
        }),
        Kind::Recipe => json!({
            "id": id("The name of the training run."),
            "title": described("What it is about.", text()),
            "seed": count("The seed of every random stream.", 0),
        }),
    };
    match common {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn experiment() -> Value {
    object(
        "What the experiment is.",
        &[],
        json!({
            "id": id("Its name, unique among the specs that are run together."),
            "title": described("What it is about.", text()),
            "paper": described("The paper that it belongs to.", text()),
            "seed": count("The seed of every random stream; 0 by default.", 0),
            "seeds": {
                "description": "Several seeds; everything is run with each.",
                "type": "array",
                "items": at_least(0),
                "minItems": 1,
                "uniqueItems": true,
            },
            "draws": count("How many draws of a randomised victim verdicts are the mean of; 20 by default, and at least.", 20),
        }),
    )
}

fn threat() -> Value {
    let mut eps =
        one_or_more("The radius, or several: a number or a fraction such as \"8/255\".", &number(0.0, f64::INFINITY));
    eps["examples"] = json!(["8/255"]);
    object(
        "A threat model.",
        &[],
        json!({
            "id": id("Its name; the norm by default."),
            "norm": words(
                "What distances are measured in; l2-rms is l2 divided by the square root of the dimension.",
                NORMS.map(|(word, ..)| word),
            ),
            "eps": eps,
            "goal": words("What the attacker wants; untargeted by default.", Goal::ALL.map(Goal::name)),
            "target": words("How targets are chosen; random by default.", TargetRule::ALL.iter().map(TargetRule::name)),
        }),
    )
}

fn plugins() -> Value {
    let file = object(
        "A shared library.",
        &["path"],
        json!({
            "path": described("Where it lies, relative to this file.", text()),
            "blake3": json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$", "description": "BLAKE3 that it must have." }),
        }),
    );
    json!({
        "description": "Shared libraries with more components, by name.",
        "type": "object",
        "additionalProperties": { "anyOf": [text(), file] },
    })
}

/// The keys that choose combinations by name.
fn filter() -> Map<String, Value> {
    let ids = [
        ("model", "Ids of models."),
        ("stack", "Stacks: none, or ids of defenses joined by +."),
        ("attack", "Ids of attacks."),
        ("threat", "Ids of threat models."),
    ];
    ids.into_iter().map(|(key, description)| (key.to_owned(), one_or_more(description, &text()))).collect()
}

fn matrix() -> Value {
    let name = text();
    let filter = object("Combinations by name; what is left out means all.", &[], Value::Object(filter()));
    object(
        "Which combinations are run; all by default.",
        &[],
        json!({
            "stacks": list(
                "Defense stacks, outermost first; one of all defenses by default.",
                &json!({ "type": "array", "items": name }),
            ),
            "only": list("Only combinations that one of these covers are run.", &filter),
            "skip": list("Combinations that one of these covers are not run.", &filter),
        }),
    )
}

fn selector() -> Map<String, Value> {
    let properties = [
        ("model", described("The id of the model.", text())),
        ("stack", described("The stack: none, or ids of defenses joined by +.", text())),
        ("attack", described("The id of the attack, or worst-case, or clean.", text())),
        ("threat", described("The id of the threat model.", text())),
        ("eps", described("The radius.", number(0.0, f64::INFINITY))),
        ("seed", count("The seed; the mean over all by default.", 0)),
    ];
    properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect()
}

fn expectation() -> Value {
    let mut properties = selector();
    let other = |description| object(description, &[], Value::Object(selector()));
    properties.extend(
        [
            ("metric", words("The quantity.", Metric::ALL.map(Metric::name))),
            ("value", described("The published value.", number(0.0, f64::INFINITY))),
            ("tolerance", described("The largest difference that still agrees.", number(0.0, f64::INFINITY))),
            ("samples", count("How many samples the published value was measured on.", 1)),
            ("above", other("The quantity is above that of these cells.")),
            ("below", other("The quantity is below that of these cells.")),
            ("from-eps", described("The radius from which on the ordering holds.", number(0.0, f64::INFINITY))),
            ("factor", described("What the other quantity is multiplied by first.", number(0.0, f64::INFINITY))),
            ("margin", described("By how much it must be above or below.", number(0.0, f64::INFINITY))),
            ("source", described("Where it is published.", text())),
        ]
        .map(|(key, schema)| (key.to_owned(), schema)),
    );
    object("An expectation: a value with a tolerance, or an ordering.", &["metric"], Value::Object(properties))
}

fn figure() -> Value {
    let facets = |description| one_or_more(description, &words("What tells them apart.", Facet::ALL.map(Facet::name)));
    let mut properties = filter();
    properties.extend(
        [
            ("id", id("Its name; the axis by default.")),
            ("title", described("What it shows.", text())),
            ("x-axis", words("What robust accuracy is drawn against.", CurveAxis::ALL.map(CurveAxis::name))),
            ("scale", words("The scale of that axis; linear by default.", ["linear", "log"])),
            ("panels", facets("What has a panel each; model and stack by default.")),
            ("series", facets("What has a line each; the attack by default.")),
            (
                "eps",
                one_or_more(
                    "The radii of curves against queries and iterations; all by default.",
                    &number(0.0, f64::INFINITY),
                ),
            ),
        ]
        .map(|(key, schema)| (key.to_owned(), schema)),
    );
    object("Curves that are drawn together.", &["x-axis"], Value::Object(properties))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::common_keys;
    use crate::{
        Access, AttackTraits, Cost, DatasetTraits, DefenseTraits, LossTraits, ModelTraits, Origin, Surrogates, Traits,
    };

    #[test]
    fn the_common_keys_are_those_that_are_reserved() {
        let traits = [
            Traits::Attack(AttackTraits {
                access: Access::Labels,
                surrogates: Surrogates::Unused,
                norms: &[],
                goals: &[],
                minimises_distance: false,
                cost: &|_| Ok(Cost::default()),
            }),
            Traits::Defense(DefenseTraits { gradients: &GradientMode::ALL, ..DefenseTraits::PLAIN }),
            Traits::Model(ModelTraits {
                input: &|_| Ok([1, 1, 1]),
                classes: &|_| Ok(2),
                differentiable: true,
                randomised: &|_| false,
            }),
            Traits::Dataset(DatasetTraits {
                shape: |_| [1, 1, 1],
                classes: |_| 2,
                samples: |_| None,
                files: |_| Vec::new(),
            }),
            Traits::Recipe,
            Traits::Loss(LossTraits::TWO_CLASSES),
        ];
        for traits in traits {
            let component = Component {
                id: "thing",
                revision: 1,
                origin: Origin::Crate("tests"),
                source: "//! A thing.",
                parameters: &[],
                example: "",
                traits,
            };
            let mut reserved = common_keys(component.kind()).to_vec();
            reserved.sort_unstable();
            let schema = table(&component, &Catalogue::default());
            let described: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
            assert_eq!(described, reserved, "{:?}", component.kind());
        }
    }
}
