//! Recipes and runs on the embedded digits, on flex.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use fs_err as fs;
use realsafe_core::projection::{Distances, in_box};
use realsafe_core::{
    DatasetEntry, Draws, Locations, Logits, Model, ModelEntry, ProofOptions, RecipeEntry, Registry, Samples, Trainable,
    TrainableEntry, TrainingBatch, inventory, read,
};
use realsafe_plan::{
    Catalogue, Chosen, Component, Document, Environment, Norm, TrainingSpec, Traits, Value, Values, check_component,
    load_spec, parse_component,
};
use safetensors::SafeTensors;
use tempfile::TempDir;
use {realsafe_data as _, realsafe_defenses as _, realsafe_models as _};

use crate::adversary::{Adversary, Aim, Start};
use crate::parameters::optimizer;
use crate::{Progress, TrainingError, TrainingSummary, Watch, train};

mod objectives;
mod references;

fn environment() -> Environment<'static> {
    Environment {
        data: PathBuf::from("."),
        data_origin: "the tests".to_owned(),
        builtin: &|name| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec),
        read_files: true,
    }
}

fn locations() -> Locations {
    Locations { data: PathBuf::from(".") }
}

/// A spec that is shipped, with overrides.
fn spec(name: &str, overrides: &[&str]) -> TrainingSpec {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../specs/training").join(name);
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    match load_spec(&path, &overrides, &Registry::linked().catalogue().unwrap(), &environment()) {
        Ok(Document::Training(spec)) => spec,
        Ok(Document::Experiment(_)) => panic!("{} is an experiment", path.display()),
        Err(diagnostics) => panic!("{diagnostics}"),
    }
}

fn run(spec: &TrainingSpec, output: &Path) -> Result<TrainingSummary, TrainingError> {
    let watch = Watch { cancelled: &AtomicBool::new(false), progress: &|_| {} };
    train(spec, &locations(), &Device::flex(), output, watch)
}

/// Trains into a new folder.
fn trained(spec: &TrainingSpec) -> (TempDir, TrainingSummary) {
    let folder = tempfile::tempdir().unwrap();
    let summary = run(spec, folder.path()).unwrap();
    (folder, summary)
}

fn digits(split: &str) -> Samples {
    let entry = inventory::iter::<DatasetEntry>().find(|entry| entry.component.id == "digits").unwrap();
    let chosen =
        parse_component(&entry.component, &format!("split = \"{split}\""), &Catalogue::default(), &environment())
            .unwrap();
    let dataset = (entry.build)(&chosen.values, &locations()).unwrap();
    let all: Vec<u32> = (0..dataset.len() as u32).collect();
    dataset.read(&all).unwrap()
}

fn digits_entry() -> &'static ModelEntry {
    inventory::iter::<ModelEntry>().find(|entry| entry.component.id == "digits-cnn").unwrap()
}

fn source(weights: &str) -> Arc<Chosen> {
    let table = format!("weights = \"{weights}\"");
    Arc::new(parse_component(&digits_entry().component, &table, &Catalogue::default(), &environment()).unwrap())
}

fn digits_cnn(weights: &str) -> Arc<dyn Model> {
    (digits_entry().build)(&source(weights).values, &locations(), &Device::flex()).unwrap().into()
}

/// A recipe with the keys of a table.
fn recipe(name: &str, table: &str) -> Chosen {
    let entry = inventory::iter::<RecipeEntry>().find(|entry| entry.component.id == name).unwrap();
    parse_component(&entry.component, table, &Catalogue::default(), &environment()).unwrap()
}

fn batch(samples: &Samples) -> TrainingBatch {
    let count = samples.labels.len();
    let data = TensorData::new(samples.pixels.clone(), [count, 1, 8, 8]);
    TrainingBatch {
        images: Tensor::from_data(data, &Device::flex()),
        labels: samples.labels.clone(),
        samples: (0..count as u32).collect(),
        sources: Vec::new(),
        seed: 0,
        epoch: 0,
        time: 0.5,
    }
}

fn accuracy(model: &dyn Model, images: Tensor<4>, labels: &[u32]) -> f64 {
    let predictions = Logits::read(model.logits(images, &Draws::none(labels.len())).unwrap()).unwrap().predictions();
    let correct = predictions.iter().zip(labels).filter(|(prediction, label)| **prediction == Some(**label));
    correct.count() as f64 / labels.len() as f64
}

#[test]
fn training_lowers_the_loss_and_learns() {
    let (folder, summary) = trained(&spec("digits-standard.toml", &["data.samples=300", "training.epochs=8"]));
    let (first, last) = (&summary.epochs[0], &summary.epochs[7]);
    assert!(last.train_loss < 0.5 * first.train_loss, "{summary:?}");
    assert!(last.test_accuracy > Some(0.7), "{summary:?}");
    let metrics = fs::read_to_string(folder.path().join("metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 9);
    assert!(metrics.starts_with("epoch,rate,train_loss,train_accuracy,test_accuracy\n1,"), "{metrics}");
    let weights = digits_cnn(&summary.weights[0].file.display().to_string());
    let test = digits("test");
    let measured = accuracy(&*weights, batch(&test).images, &test.labels);
    assert_eq!(Some(measured), last.test_accuracy);
}

#[test]
fn the_seed_decides_every_byte() {
    for name in ["digits-standard.toml", "digits-pgd-at.toml", "digits-ensemble-at.toml"] {
        let noise = "training.gaussian-noise=0.1";
        let short = ["data.samples=96", "training.epochs=2", "training.augmentation=crop-flip", noise];
        let (first, again) = (trained(&spec(name, &short)), trained(&spec(name, &short)));
        let bytes = |(folder, _): &(TempDir, TrainingSummary), file: &str| fs::read(folder.path().join(file)).unwrap();
        for file in ["weights.safetensors", "metrics.csv", "training.toml"] {
            assert_eq!(bytes(&first, file), bytes(&again, file), "{name}: {file}");
        }
        let other = trained(&spec(name, &[&short[..], &["training.seed=1"]].concat()));
        assert_ne!(bytes(&first, "weights.safetensors"), bytes(&other, "weights.safetensors"), "{name}");
    }
}

#[test]
fn an_interrupted_run_ends_as_if_it_had_not_been() {
    let everything = ["training.average-decay=0.9", "training.augmentation=crop-flip", "training.padding=1"];
    for (name, changes) in [
        ("digits-pgd-at.toml", &["training.optimizer=adam"][..]),
        ("digits-pgd-at.toml", &["training.optimizer=sgd", "training.learning-rate=0.05"]),
        ("digits-free-at.toml", &everything),
    ] {
        let short = ["data.samples=96", "training.epochs=3", "training.batch-size=20"];
        let spec = spec(name, &[&short[..], changes].concat());
        let (whole, expected) = trained(&spec);
        let folder = tempfile::tempdir().unwrap();
        // In the middle of the first, the second and the third epoch.
        for stop in 1..=3 {
            let cancelled = AtomicBool::new(false);
            let progress = |progress: Progress<'_>| {
                if let Progress::Batch { epoch, batch: 2, .. } = progress {
                    cancelled.store(epoch == stop, Ordering::Relaxed);
                }
            };
            let watch = Watch { cancelled: &cancelled, progress: &progress };
            let error = train(&spec, &locations(), &Device::flex(), folder.path(), watch).unwrap_err();
            assert!(matches!(error, TrainingError::Interrupted { done, epochs: 3 } if done == stop - 1), "{error}");
            assert!(!folder.path().join("weights.safetensors").exists());
        }
        let summary = run(&spec, folder.path()).unwrap();
        assert_eq!((&summary.weights[0].blake3, &summary.epochs), (&expected.weights[0].blake3, &expected.epochs));
        let bytes = |folder: &TempDir, file: &str| fs::read(folder.path().join(file)).unwrap();
        assert_eq!(bytes(&folder, "metrics.csv"), bytes(&whole, "metrics.csv"));
        // A finished run is not made again.
        let batches = Cell::new(0);
        let progress = |progress: Progress<'_>| {
            if let Progress::Batch { .. } = progress {
                batches.set(batches.get() + 1);
            }
        };
        let watch = Watch { cancelled: &AtomicBool::new(false), progress: &progress };
        assert_eq!(
            train(&spec, &locations(), &Device::flex(), folder.path(), watch).unwrap().weights[0].blake3,
            expected.weights[0].blake3
        );
        assert_eq!(batches.get(), 0);
    }
}

#[test]
fn a_checkpoint_of_another_run_or_a_damaged_one_is_refused() {
    let short = ["data.samples=32", "training.epochs=1"];
    let (folder, _) = trained(&spec("digits-standard.toml", &short));
    let other = spec("digits-standard.toml", &[&short[..], &["training.learning-rate=0.01"]].concat());
    let error = run(&other, folder.path()).unwrap_err().to_string();
    assert!(error.contains("is the checkpoint of another run"), "{error}");
    let file = folder.path().join("checkpoint.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = run(&spec("digits-standard.toml", &short), folder.path()).unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("delete it to start over"), "{error}");
}

#[test]
fn training_goes_on_from_weights_and_stops_when_it_diverges() {
    let short = ["data.samples=64", "training.epochs=1", "training.learning-rate=0"];
    let (_folder, first) = trained(&spec("digits-standard.toml", &short));
    let mut again = spec(
        "digits-standard.toml",
        &["data.samples=64", "training.epochs=3", "training.optimizer=sgd", "training.learning-rate=1000"],
    );
    let diverged = run(&again, tempfile::tempdir().unwrap().path()).unwrap_err();
    assert!(matches!(diverged, TrainingError::Diverged { .. }), "{diverged}");
    // The last update ruins the weights, and no loss is left to tell.
    let mut ruined = spec("digits-standard.toml", &["data.samples=64", "training.epochs=1", "training.batch-size=64"]);
    let folder = tempfile::tempdir().unwrap();
    ruined.recipe.values.insert("learning-rate", Value::Number("1e39".parse().unwrap()));
    let diverged = run(&ruined, folder.path()).unwrap_err();
    assert!(matches!(diverged, TrainingError::Diverged { epoch: 1 }), "{diverged}");
    assert!(diverged.to_string().contains("the weights are not finite"), "{diverged}");
    assert!(!folder.path().join("weights.safetensors").exists());
    // With a rate of zero, the weights that training starts from are those that it ends with.
    again = spec("digits-standard.toml", &[&short[..], &["training.seed=7"]].concat());
    again.model = source(&first.weights[0].file.display().to_string());
    assert_eq!(trained(&again).1.weights[0].blake3, first.weights[0].blake3);
}

#[test]
fn every_recipe_has_a_sound_table_and_an_example_that_runs() {
    let recipes: Vec<&RecipeEntry> = inventory::iter::<RecipeEntry>().collect();
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/recipes")).unwrap();
    assert_eq!(recipes.len(), files.count() - 1, "a file of src/recipes is not registered");
    for entry in recipes {
        let component: &'static Component = &entry.component;
        check_component(component).unwrap();
        let mut spec = spec("digits-standard.toml", &["data.samples=40"]);
        spec.recipe = parse_component(component, component.example, &Catalogue::default(), &environment()).unwrap();
        if component.id.starts_with("mmc") {
            spec.model = self::spec("digits-mmc.toml", &[]).model;
        } else if component.id == "adp" {
            spec.model = self::spec("digits-adp.toml", &[]).model;
        }
        if matches!(component.traits, Traits::RecipeWithSources) {
            spec.sources = vec![source("builtin:digits-standard")];
        }
        let (_folder, summary) = trained(&spec);
        assert!(summary.epochs.len() as u64 == spec.recipe.values.count("epochs"), "{}", component.id);
    }
}

#[test]
fn adversarial_images_stay_in_ball_and_box_and_raise_the_loss() {
    let test = digits("test");
    let batch = batch(&test);
    let model = digits_cnn("builtin:digits-standard");
    let clean = accuracy(&*model, batch.images.clone(), &batch.labels);
    for (norm, eps) in [(Norm::Linf, 0.2), (Norm::L2, 1.0)] {
        for (steps, start, aim) in [
            (1, Start::Ball, Aim::Label),
            (7, Start::Ball, Aim::Label),
            (7, Start::Clean, Aim::Label),
            (7, Start::NearClean, Aim::CleanOutput),
        ] {
            let adversary = Adversary { norm, eps, steps, step_size: 0.4 * eps, start, warm_up: 0.0 };
            let images = adversary.adversarials(model.clone(), &batch, aim).unwrap();
            let attacked = accuracy(&*model, images.clone(), &batch.labels);
            assert!(attacked < clean - 0.1, "{norm:?} {steps} {start:?}: {attacked}");
            for (before, after) in test.pixels.chunks_exact(64).zip(read(images).unwrap().chunks_exact(64)) {
                let distance = Distances::between(before, after).in_norm(norm);
                assert!(in_box(after) && distance <= norm.tolerance(f64::from(eps)), "{norm:?}: {distance}");
            }
        }
    }
}

#[test]
fn a_restored_network_with_batch_norm_goes_on_alike() {
    let device = Device::flex();
    let entry = TrainableEntry::find("cifar-resnet").unwrap();
    let mut values = Values::default();
    values.insert("depth", Value::Text("20".to_owned()));
    values.insert("shortcut", Value::Text("pad-even".to_owned()));
    values.insert("classes", Value::Count(10));
    let recipe = spec("digits-standard.toml", &[]).recipe;
    let build = |seed| (entry.build)(&values, optimizer(&recipe.values), seed, &device).unwrap();
    let images = Tensor::<4>::random([4, 3, 32, 32], Distribution::Uniform(0.0, 1.0), &device);
    let (mut network, mut other) = (build(0), build(1));
    let step = |network: &mut Box<dyn Trainable>| {
        let loss = network.forward(images.clone().autodiff()).powi_scalar(2).mean();
        network.update(0.01, &mut loss.backward());
        read(network.snapshot().logits(images.clone(), &Draws::none(4)).unwrap()).unwrap()
    };
    step(&mut network);
    other.restore(network.state().unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(step(&mut network), step(&mut other));
    }
}

#[test]
fn recipes_meet_in_their_limits() {
    let weights = |name: &str, table: &str| {
        let mut spec = spec("digits-standard.toml", &["data.samples=96"]);
        spec.recipe = recipe(name, &format!("epochs = 2\nbatch-size = 20\n{table}"));
        trained(&spec).1.weights[0].blake3.clone()
    };
    let standard = weights("standard", "");
    assert_eq!(weights("label-smoothing", "label-smoothing = 0"), standard);
    assert_ne!(weights("label-smoothing", ""), standard);
    assert_eq!(weights("fgsm-at", "eps = 0.2\nclean-weight = 1"), standard);
    assert_ne!(weights("fgsm-at", "eps = 0.2"), standard);
    assert_eq!(weights("trades", "eps = 0.2\nsteps = 2\nstep-size = 0.1\nbeta = 0"), standard);
    assert_ne!(weights("trades", "eps = 0.2\nsteps = 2\nstep-size = 0.1"), standard);
    assert_eq!(weights("free-at", "eps = 0\nreplays = 1"), standard);
    assert_ne!(weights("free-at", "eps = 0.2\nreplays = 1"), standard);
    let one_step = weights("pgd-at", "eps = 0.2\nsteps = 1\nstep-size = 0.25");
    assert_eq!(weights("fast-at", "eps = 0.2"), one_step);
    assert_ne!(one_step, standard);
}

#[test]
fn an_average_is_that_of_weights_and_running_statistics() {
    let device = Device::flex();
    let entry = TrainableEntry::find("cifar-resnet").unwrap();
    let mut values = Values::default();
    values.insert("depth", Value::Text("20".to_owned()));
    values.insert("shortcut", Value::Text("pad-even".to_owned()));
    values.insert("classes", Value::Count(10));
    let optimizer = || optimizer(&recipe("standard", "").values);
    let mut networks = [0, 0].map(|seed| (entry.build)(&values, optimizer(), seed, &device).unwrap());
    let images = Tensor::<4>::random([4, 3, 32, 32], Distribution::Uniform(0.0, 1.0), &device);
    let folder = tempfile::tempdir().unwrap();
    let saved = |network: &dyn Trainable| {
        let file = folder.path().join("weights.safetensors");
        network.save(&file).unwrap();
        let bytes = fs::read(&file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = tensors.names();
        names.sort_unstable();
        assert!(names.iter().any(|name| name.contains("running_mean")), "{names:?}");
        let all = names.into_iter().flat_map(|name| tensors.tensor(name).unwrap().data().to_vec());
        let all: Vec<u8> = all.collect();
        all.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect::<Vec<f32>>()
    };
    let mut expected: Option<Vec<f32>> = None;
    for _ in 0..3 {
        for network in &mut networks {
            let loss = network.forward(images.clone().autodiff()).powi_scalar(2).mean();
            network.update(0.01, &mut loss.backward());
        }
        networks[1].average(0.75);
        let now = saved(&*networks[0]);
        let blend = |before: Vec<f32>| before.iter().zip(&now).map(|(a, b)| 0.75 * a + 0.25 * b).collect();
        expected = Some(expected.take().map_or_else(|| now.clone(), blend));
        let (average, expected) = (saved(&*networks[1]), expected.as_ref().unwrap());
        assert!(average.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1.0)));
        let outcome = read(networks[1].outcome().logits(images.clone(), &Draws::none(4)).unwrap()).unwrap();
        let current = read(networks[0].outcome().logits(images.clone(), &Draws::none(4)).unwrap()).unwrap();
        assert_eq!(current, read(networks[1].snapshot().logits(images.clone(), &Draws::none(4)).unwrap()).unwrap());
        // The average starts as what the weights are.
        assert_eq!(outcome == current, *expected == now);
    }
}

/// What the committed weights are worth, under PGD-40 from a random point, judged on the last image.
#[test]
fn the_built_in_networks_are_accurate_and_pgd_training_helps() {
    let test = digits("test");
    let batch = batch(&test);
    let measure = |name: &str, eps: f32| {
        let model = digits_cnn(name);
        let attack = Adversary {
            norm: Norm::Linf,
            eps,
            steps: 40,
            step_size: 2.5 * eps / 40.0,
            start: Start::Ball,
            warm_up: 0.0,
        };
        let images = attack.adversarials(model.clone(), &batch, Aim::Label).unwrap();
        (accuracy(&*model, batch.images.clone(), &batch.labels), accuracy(&*model, images, &batch.labels))
    };
    let (standard, trained) = (measure("builtin:digits-standard", 0.2), measure("builtin:digits-pgd-at", 0.2));
    assert!(standard.0 >= 0.97 && trained.0 >= 0.93, "{standard:?} {trained:?}");
    assert!(standard.1 <= 0.2 && trained.1 >= standard.1 + 0.3, "{standard:?} {trained:?}");
}

#[test]
fn networks_are_trained_behind_defenses() {
    let short = ["data.samples=300", "training.epochs=6"];
    let (_, plain) = trained(&spec("digits-thermometer.toml", &short));
    assert!(plain.epochs[5].test_accuracy > Some(0.7), "{plain:?}");
    // An adversarial recipe sees the gradient of the mode: without any, only its random start moves.
    let adversarial = |gradient: &str| {
        let mut overrides = short.map(str::to_owned).to_vec();
        let keys = ["use=pgd-at", "eps=0.2", "step-size=0.05"].map(|key| format!("training.{key}"));
        overrides.extend(keys.into_iter().chain([format!("defense.thermometer.gradient={gradient}")]));
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).collect();
        trained(&spec("digits-thermometer.toml", &overrides)).1.epochs[5].train_loss
    };
    let (followed, hidden) = (adversarial("smooth"), adversarial("blocked"));
    assert!(followed > 1.2 * hidden, "{followed} {hidden}");
}

/// Minus half the label's logit is the loss, its gradient comes from no other logit, and networks without centres are refused.
#[test]
fn max_mahalanobis_training_draws_features_to_centres() {
    let (_folder, summary) = trained(&spec("digits-mmc.toml", &["data.samples=400", "training.epochs=12"]));
    let (first, last) = (&summary.epochs[0], &summary.epochs[11]);
    assert!(last.train_loss < 0.6 * first.train_loss && last.test_accuracy > Some(0.75), "{summary:?}");
    // Initial features are close to zero, and centres have norm 10: half their squared length is 50.
    assert!((20.0..60.0).contains(&first.train_loss), "{first:?}");
    for (name, table) in [("mmc", ""), ("mmc-at", "eps = 0.1\nstep-size = 0.05")] {
        let mut refused = spec("digits-standard.toml", &[]);
        refused.recipe = recipe(name, table);
        let error = run(&refused, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}` cannot train the model")), "{error}");
        assert!(error.contains("add `head = \"max-mahalanobis\"`"), "{error}");
    }
}

/// What is proven must hold: no certified image is misclassified, as it is or under PGD.
#[test]
fn interval_training_certifies_what_no_attack_breaks() {
    let (_folder, summary) = trained(&spec("digits-interval-bound-propagation.toml", &["training.epochs=20"]));
    let (test, eps) = (digits("test"), 0.1);
    let batch = batch(&test);
    let share = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as f64 / flags.len() as f64;
    let proven = |model: &dyn Model| {
        let options = ProofOptions { selection: 0, samples: 0, alpha: 0.0, duality: false, go_on: &|| Ok(()) };
        let certifier = model.certifier(Norm::Linf).expect("it has proofs");
        let draws = Draws::none(batch.labels.len());
        let certificates = certifier.certify(batch.images.clone(), &batch.labels, &options, &draws).unwrap();
        certificates.radii.into_iter().map(|radius| radius > eps).collect::<Vec<bool>>()
    };
    let model = digits_cnn(&summary.weights[0].file.display().to_string());
    let adversary =
        Adversary { norm: Norm::Linf, eps: eps as f32, steps: 20, step_size: 0.02, start: Start::Ball, warm_up: 0.0 };
    let attacked = adversary.adversarials(model.clone(), &batch, Aim::Label).unwrap();
    let logits = Logits::read(model.logits(attacked, &Draws::none(batch.labels.len())).unwrap()).unwrap();
    let robust: Vec<bool> =
        logits.predictions().iter().zip(&batch.labels).map(|(found, label)| *found == Some(*label)).collect();
    let certified = proven(&*model);
    assert!(certified.iter().zip(&robust).all(|(certified, robust)| *robust || !certified));
    assert!(share(&certified) > 0.15, "{} of the images are certified, {} robust", share(&certified), share(&robust));
    // A network that was not trained for it has no proofs.
    assert!(share(&proven(&*digits_cnn("builtin:digits-standard"))) < 0.05);
}

#[test]
fn interval_training_refuses_what_intervals_do_not_go_through() {
    let mut refused = spec("digits-interval-bound-propagation.toml", &[]);
    refused.model = spec("digits-mmc.toml", &[]).model;
    let error = run(&refused, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("cannot train the model: bounds do not go through it"), "{error}");
    let backwards = spec("digits-interval-bound-propagation.toml", &["training.ramp-start=0.9"]);
    let error = run(&backwards, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("`ramp-start` is after `ramp-end`"), "{error}");
}

/// The centres are part of the checkpoint: a run that is taken up ends as one that was never left.
#[test]
fn center_loss_carries_its_centres_on() {
    let short = ["data.samples=96", "training.epochs=3", "training.batch-size=20"];
    let mut spec = spec("digits-standard.toml", &short);
    spec.recipe = recipe("center-loss", "lambda = 0.5\nepochs = 3\nbatch-size = 20");
    let (_whole, expected) = trained(&spec);
    let folder = tempfile::tempdir().unwrap();
    let cancelled = AtomicBool::new(false);
    let progress = |progress: Progress<'_>| {
        if let Progress::Batch { epoch: 2, batch: 3, .. } = progress {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let watch = Watch { cancelled: &cancelled, progress: &progress };
    train(&spec, &locations(), &Device::flex(), folder.path(), watch).unwrap_err();
    assert_eq!(run(&spec, folder.path()).unwrap().weights[0].blake3, expected.weights[0].blake3);
    let mut without = spec.clone();
    without.recipe = recipe("center-loss", "lambda = 0\nepochs = 3\nbatch-size = 20");
    assert_ne!(trained(&without).1.weights[0].blake3, expected.weights[0].blake3);
}

/// An ensemble is trained, interrupted, saved and asked like a network, and a file for each member is what comes out.
#[test]
fn the_members_of_an_ensemble_are_trained_together() {
    let short = ["data.samples=200", "training.epochs=3", "training.average-decay=0.9"];
    let whole = spec("digits-adp.toml", &short);
    let (_folder, expected) = trained(&whole);
    let files: Vec<&str> =
        expected.weights.iter().map(|weights| weights.file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["weights-0.safetensors", "weights-1.safetensors", "weights-2.safetensors"]);
    assert_ne!(expected.weights[0].blake3, expected.weights[1].blake3);
    let test = digits("test");
    let members = expected.weights.iter().map(|weights| {
        let member = digits_cnn(&weights.file.display().to_string());
        let logits = member.logits(batch(&test).images, &Draws::none(test.labels.len())).unwrap();
        softmax(logits, 1)
    });
    let mean = Logits::read(members.reduce(|sum, member| sum + member).unwrap()).unwrap();
    let correct = mean.predictions().iter().zip(&test.labels).filter(|(found, label)| **found == Some(**label)).count();
    assert_eq!(expected.epochs[2].test_accuracy, Some(correct as f64 / test.labels.len() as f64));
    let folder = tempfile::tempdir().unwrap();
    let cancelled = AtomicBool::new(false);
    let progress = |progress: Progress<'_>| {
        if let Progress::Batch { epoch: 2, batch: 2, .. } = progress {
            cancelled.store(true, Ordering::Relaxed);
        }
    };
    let watch = Watch { cancelled: &cancelled, progress: &progress };
    train(&whole, &locations(), &Device::flex(), folder.path(), watch).unwrap_err();
    let resumed = run(&whole, folder.path()).unwrap();
    let digests =
        |summary: &TrainingSummary| summary.weights.iter().map(|weights| weights.blake3.clone()).collect::<Vec<_>>();
    assert_eq!(digests(&resumed), digests(&expected));
    let mut refused = whole.clone();
    refused.model = spec("digits-standard.toml", &[]).model;
    let error = run(&refused, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("`adp` cannot train the model: it is one network"), "{error}");
}

#[test]
fn dual_training_lowers_the_worst_loss_and_refuses_what_has_no_bounds() {
    let short = ["data.samples=48", "training.epochs=3", "training.batch-size=8", "training.eps=0.02"];
    let (_folder, summary) = trained(&spec("digits-wong-kolter.toml", &short));
    assert!(summary.epochs[2].train_loss < summary.epochs[0].train_loss, "{summary:?}");
    let mut refused = spec("digits-wong-kolter.toml", &[]);
    refused.model = spec("digits-mmc.toml", &[]).model;
    let error = run(&refused, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("cannot train the model: bounds do not go through it"), "{error}");
}
