//! Networks that are read from files when the program runs are attacked as the same networks in Rust are.

use std::collections::BTreeMap;
use std::path::Path;

use crate::program::{argument, program, rows, succeed};

/// What an attack found on a sample, without the name of the model.
fn outcomes(samples: &[BTreeMap<String, String>], model: &str) -> Vec<(String, String, String)> {
    let of = samples.iter().filter(|row| row["model"] == model);
    let mut outcomes: Vec<_> =
        of.map(|row| (row["attack"].clone(), row["sample"].clone(), row["status"].clone())).collect();
    outcomes.sort();
    outcomes
}

/// Runs a spec and compares what the model `native` and another one did on at least so many samples.
fn compare(arguments: &[&str], foreign: &str, least: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = vec!["run"];
    whole.extend(arguments);
    whole.extend(["--out", argument(folder.path())]);
    succeed(&whole);
    let samples = rows(&folder.path().join("samples.csv"));
    let (native, foreign) = (outcomes(&samples, "native"), outcomes(&samples, foreign));
    assert!(native.len() >= least, "{} outcomes", native.len());
    assert!(
        native.iter().any(|(.., status)| status == "robust") && native.iter().any(|(.., status)| status == "broken")
    );
    assert_eq!(native, foreign);
}

#[test]
fn a_graph_is_attacked_as_its_native_network_is() {
    compare(&["tests/specs/onnx.toml"], "graph", 128);
}

#[test]
fn a_graph_that_does_not_fit_the_data_is_refused_when_specs_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let graph =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/realsafe-onnx/tests/operators/products-traced.onnx");
    std::fs::copy(graph, folder.path().join("other.onnx")).unwrap();
    let mut command = program(&["check", "tests/specs/onnx.toml", "--set", "model.graph.file=other.onnx"]);
    let output = command.args(["--data", argument(folder.path())]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("takes images of 2x3x4, but the dataset has images of 1x8x8"), "{errors}");
    assert!(errors.contains("knows 5 classes, but the dataset has 10"), "{errors}");
}

#[test]
fn operators_that_are_missing_are_named_before_anything_is_computed() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/realsafe-onnx/tests/formats/missing.onnx");
    std::fs::copy(graph, data.path().join("missing.onnx")).unwrap();
    let spec = data.path().join("missing.toml");
    let text = r#"
        experiment.id = "missing"
        data = { use = "digits", samples = 8 }
        threat = [{ norm = "linf", eps = 0.1 }]
        attack = [{ use = "fgsm" }]
        [[model]]
        id = "graph"
        use = "onnx"
        file = "missing.onnx"
    "#;
    std::fs::write(&spec, text).unwrap();
    let mut command = program(&["run", argument(&spec), "--out", argument(out.path())]);
    let output = command.args(["--data", argument(data.path())]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !out.path().join("samples.csv").exists());
    assert!(errors.contains("com.example.Sharpen") && errors.contains("`sharpen_1`"), "{errors}");
}

#[test]
fn a_torchscript_module_is_refused_where_libtorch_does_not_compute() {
    let output =
        program(&["run", "tests/specs/torchscript.toml", "--data", "tests/specs", "--device", "flex"]).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("LibTorch computes TorchScript files"), "{errors}");
    assert!(errors.contains("--device tch"), "{errors}");
}

#[cfg(feature = "tch")]
#[test]
fn a_torchscript_module_is_attacked_as_its_native_network_is() {
    compare(&["tests/specs/torchscript.toml", "--data", "tests/specs", "--device", "tch"], "module", 128);
}
