//! Weights on their way into and out of files.

use std::path::Path;

use burn::tensor::Device;
use realsafe_core::{Locations, Model, inventory};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tempfile::TempDir;

use super::{NETWORKS, entry, logits, noise, untrained, values};

/// Builds the model with weights of a file in a folder.
fn load(id: &str, table: &str, folder: &TempDir, file: &str) -> Result<Box<dyn Model>, String> {
    let values = values(id, &format!("{table}\nweights = \"{file}\""));
    (entry(id).build)(&values, &Locations { data: folder.path().to_owned() }, &Device::flex())
}

#[test]
fn saved_weights_give_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    for (id, table) in NETWORKS {
        let mut network = untrained(id, table);
        let images = noise(id, table, 2);
        // Statistics of its own, where the network has a batch norm.
        network.forward(images.clone().autodiff());
        let file = folder.path().join("saved.safetensors");
        network.save(&file).unwrap();
        let expected = logits(&*network.snapshot(), images.clone());
        let model = load(id, table, &folder, "saved.safetensors").unwrap();
        assert_eq!(logits(&*model, images.clone()), expected, "{id}");
        network.load(&file).unwrap();
        assert_eq!(logits(&*network.snapshot(), images), expected, "{id}: loaded into a trainer");
    }
}

/// Saves an untrained digits network after `change` of its keys, shapes and bytes.
fn changed(change: impl Fn(&str, &mut Vec<usize>) -> Option<String>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    untrained("digits-cnn", "").save(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views: Vec<(String, TensorView<'_>)> = tensors
        .iter()
        .filter_map(|(name, view)| {
            let mut shape = view.shape().to_vec();
            let name = change(name, &mut shape)?;
            Some((name, TensorView::new(Dtype::F32, shape, view.data()).unwrap()))
        })
        .collect();
    safetensors::serialize_to_file(views, None, &file).unwrap();
    folder
}

fn problem(folder: &TempDir) -> String {
    let error = load("digits-cnn", "", folder, "weights.safetensors").err().expect("it must not load");
    error.replace(&folder.path().display().to_string(), "DATA")
}

#[test]
fn unchanged_weights_load() {
    let folder = changed(|name, _| Some(name.to_owned()));
    assert!(load("digits-cnn", "", &folder, "weights.safetensors").is_ok());
}

#[test]
fn missing_and_unused_keys_are_named() {
    let folder = changed(|name, _| (name != "linear2.bias").then(|| name.to_owned()));
    assert_eq!(
        problem(&folder),
        "the weights file `DATA/weights.safetensors` does not fit the network:\n  key `linear2.bias` is missing"
    );
    let folder = changed(|name, _| Some(name.replace("conv2.weight", "conv_2.weight")));
    assert_eq!(
        problem(&folder),
        "the weights file `DATA/weights.safetensors` does not fit the network:\n  \
         key `conv2.weight` is missing; the nearest unused key is `conv_2.weight`\n  \
         key `conv_2.weight` is not used by the network"
    );
}

#[test]
fn wrong_shapes_are_named_as_they_are_in_the_file() {
    let folder = changed(|name, shape| {
        if name == "linear2.weight" {
            *shape = vec![20, 32];
        }
        if name == "conv2.weight" {
            *shape = vec![16, 32, 3, 3];
        }
        Some(name.to_owned())
    });
    assert_eq!(
        problem(&folder),
        "the weights file `DATA/weights.safetensors` does not fit the network:\n  \
         key `conv2.weight` has shape [16, 32, 3, 3], but the network needs [32, 16, 3, 3]\n  \
         key `linear2.weight` has shape [20, 32], but the network needs [10, 64]"
    );
}

#[test]
fn missing_keys_of_a_batch_norm_have_their_names_in_pytorch() {
    let folder = changed(|name, _| Some(name.to_owned()));
    let error = load("cifar-resnet", "depth = \"20\"", &folder, "weights.safetensors").err().unwrap();
    assert!(error.contains("key `layer3.2.bn2.weight` is missing"), "{error}");
    assert!(error.contains("key `layer3.2.bn2.running_var` is missing"), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_wherever_it_is_cut() {
    let folder = changed(|name, _| Some(name.to_owned()));
    let file = folder.path().join("weights.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    for length in [0, 4, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let problem = problem(&folder);
        assert!(problem.contains("DATA/weights.safetensors"), "{length}: {problem}");
    }
    for name in ["weights.pt", "weights.pth"] {
        std::fs::write(folder.path().join(name), &bytes[..1000]).unwrap();
        let problem = load("digits-cnn", "", &folder, name).err().expect("it must not load");
        assert!(problem.starts_with("cannot read the weights file `") && problem.contains(name), "{problem}");
    }
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let problem = problem(&folder);
    assert_eq!(
        problem,
        "there is no weights file `DATA/weights.safetensors`; paths are relative to the data directory `DATA`"
    );
}

#[test]
fn pytorch_checkpoints_of_both_formats_load_or_fail_wherever_they_are_cut() {
    let Some(assets) = super::assets::folder() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (id, table, name) in [
        ("lenet", "", "mnist-lenet5-standard.pt"),
        ("convolution-stack", "", "mnist-cnn-a-adv.pt"),
        ("cifar-resnet", "depth = \"20\"", "cifar10-resnet20-standard.th"),
    ] {
        let bytes = std::fs::read(assets.join("weights").join(name)).unwrap();
        std::fs::write(folder.path().join(name), &bytes).unwrap();
        assert!(load(id, table, &folder, name).is_ok(), "{name}");
        for part in [1, 7, 50, 90, 99] {
            std::fs::write(folder.path().join(name), &bytes[..bytes.len() * part / 100]).unwrap();
            let problem = load(id, table, &folder, name).err().expect("it must not load");
            assert!(problem.contains(name), "{name}, {part} %: {problem}");
        }
    }
}

#[test]
fn every_example_whose_weights_are_here_builds() {
    let assets = super::assets::folder();
    for entry in inventory::iter::<realsafe_core::ModelEntry>() {
        let id = entry.component.id;
        let weights = entry.component.example.split("weights = \"").nth(1).unwrap().trim_end_matches('"');
        let here = match weights.strip_prefix("builtin:") {
            Some(name) => crate::builtin_weights(name).is_some(),
            None => assets.as_ref().is_some_and(|assets| assets.join(weights).is_file()),
        };
        if !here {
            eprintln!("skipped: {weights} of {id} is not here");
            continue;
        }
        let data = assets.clone().unwrap_or_else(|| Path::new(".").to_owned());
        let model = (entry.build)(&values(id, entry.component.example), &Locations { data }, &Device::flex()).unwrap();
        let images = noise(id, entry.component.example, 1);
        assert!(logits(&*model, images).iter().all(|logit| logit.is_finite()), "{id}");
    }
}

#[test]
fn graphs_that_are_built_in_are_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let told = load("digits-cnn", "", &folder, "builtin:digits-generator").err().unwrap();
    assert!(told.contains("`builtin:digits-generator` is an ONNX graph"), "{told}");
    assert!(told.contains("`builtin:digits-standard`") && !told.contains("digits-standard-onnx"), "{told}");
}
