//! The example plugins of this repository, every component once: with a small host, so that memory checkers can watch.

use std::path::{Path, PathBuf};
use std::process::Command;

use realsafe_host::{
    Argument, Component, Digest, Fallback, Interface, Parameter, ParameterKind, Plugin, Problem, Shape,
};

use crate::driver::{ROWS, drive, workers};
use crate::library::Library;
use crate::oracle::{Oracle, PROBLEM, SHAPE};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The libraries of the folder `plugins`, built.
fn libraries() -> Vec<PathBuf> {
    let (manifest, target) = (root().join("plugins/Cargo.toml"), root().join("plugins/target"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--offline", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(&target);
    assert!(cargo.status().unwrap().success(), "the plugins cannot be built");
    let files = std::fs::read_dir(target.join("release")).unwrap().map(|file| file.unwrap().path());
    let mut libraries: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|it| it == "so")).collect();
    libraries.sort();
    libraries
}

/// The arguments of a component's own example.
fn example(component: &Component) -> Vec<Argument> {
    let table: toml::Table = component.example.parse().unwrap();
    component.parameters.iter().map(|parameter| argument(parameter, table.get(&parameter.name))).collect()
}

fn argument(parameter: &Parameter, given: Option<&toml::Value>) -> Argument {
    let text = match (given, &parameter.fallback) {
        (Some(toml::Value::String(text)), _) | (None, Fallback::Default(text)) => text.clone(),
        (Some(value), _) => value.to_string(),
        (None, Fallback::Unset) => return Argument::Unset,
        (None, Fallback::Required) => panic!("the example lacks `{}`", parameter.name),
    };
    let number = |text: &str| match text.split_once('/') {
        Some((above, below)) => above.trim().parse::<f64>().unwrap() / below.trim().parse::<f64>().unwrap(),
        None => text.trim().parse().unwrap(),
    };
    match parameter.kind {
        ParameterKind::Flag => Argument::Flag(text.parse().unwrap()),
        ParameterKind::Count => Argument::Count(text.parse().unwrap()),
        ParameterKind::Number => Argument::Number(number(&text)),
        ParameterKind::Numbers => Argument::Numbers(text.split(',').map(number).collect()),
        ParameterKind::Choice => Argument::Choice(text),
        ParameterKind::Text => Argument::Text(text),
        ParameterKind::File => {
            let bytes = std::fs::read(root().join("plugins/nearest-centroid").join(&text)).unwrap();
            Argument::File(text, bytes)
        }
        ParameterKind::Loss => Argument::Loss(0),
    }
}

fn exercise(plugin: &Plugin) -> Vec<f32> {
    let mut results = Vec::new();
    for (index, component) in plugin.description().components.iter().enumerate() {
        let arguments = example(component);
        let images: Vec<f32> = (0..ROWS * SHAPE.values()).map(|i| (i * 53 % 97) as f32 / 97.0).collect();
        match component.interface {
            Interface::Attack(facts) => {
                for norm in [1, 2].into_iter().filter(|norm| facts.norms & norm != 0) {
                    let mut attack = plugin.attack(index, &Problem { norm, ..PROBLEM }, &arguments).unwrap();
                    results.extend(drive(&mut attack, &mut Oracle::default(), 4).unwrap().0);
                    assert!(attack.warnings().is_empty(), "{}: {:?}", component.id, attack.warnings());
                }
            }
            Interface::Defense(facts) => {
                let defense = plugin.defense(index, &arguments).unwrap();
                let shape = Shape { classes: 0, ..SHAPE };
                results.extend(defense.forward(shape, &images).unwrap());
                if facts.pull {
                    results.extend(defense.pull(shape, &images, &images).unwrap());
                }
            }
            Interface::Model(facts) => {
                let model = plugin.model(index, &arguments).unwrap();
                let images = vec![0.25; 3 * model.shape().values()];
                let logits = model.logits(&images).unwrap();
                if facts.pull {
                    results.extend(model.pull(&images, &logits).unwrap());
                }
                results.extend(logits);
            }
            Interface::Loss => {
                let loss = plugin.loss(index, &arguments).unwrap();
                let (values, derivatives) = loss.evaluate(3, &images[..6], &[0, 1], &[u32::MAX, 2]).unwrap();
                results.extend(values.into_iter().chain(derivatives));
            }
        }
    }
    results
}

#[test]
fn example_plugins_work_here_and_in_workers() {
    let noise = Library::compile_file(&root().join("plugins/uniform-noise/uniform_noise.c"), &[]);
    let libraries = libraries();
    assert!(libraries.len() >= 5, "{libraries:?}");
    for path in libraries.iter().chain([&noise.path]) {
        let digest = Digest::of_file(path).unwrap();
        let here = exercise(&Plugin::in_process(path, digest).unwrap());
        assert!(!here.is_empty() && here.iter().all(|value| value.is_finite()), "{}", path.display());
        assert_eq!(exercise(&Plugin::isolated(path, digest, workers()).unwrap()), here, "{}", path.display());
    }
}
