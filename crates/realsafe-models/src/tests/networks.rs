//! What holds for every network, whatever its weights.

use std::path::Path;

use burn::module::Param;
use burn::nn::{BatchNormConfig, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use realsafe_core::{DatasetEntry, Locations, ModelEntry, Samples, TrainableEntry, device, inventory};
use realsafe_data as _;
use realsafe_plan::{Value, Values, check_component};

use super::{
    NETWORKS, assert_close, entry, floats, gradient, logits, noise, optimizer, untrained, untrained_on, values,
};
use crate::layers::{convolution, fold, linear_by_rows};

#[test]
fn every_file_is_a_registered_component() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/networks");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('_', "-"))
        .filter(|name| name != "mod")
        .collect();
    let mut registered: Vec<&str> = inventory::iter::<ModelEntry>().map(|entry| entry.component.id).collect();
    files.sort();
    registered.sort_unstable();
    assert_eq!(files, registered);
    for entry in inventory::iter::<ModelEntry>() {
        check_component(&entry.component).unwrap();
        assert!(TrainableEntry::find(entry.component.id).is_some(), "{}", entry.component.id);
        assert!(NETWORKS.iter().any(|(id, _)| *id == entry.component.id), "{}", entry.component.id);
    }
}

#[test]
fn logits_have_the_shape_that_the_table_says() {
    for (id, table) in NETWORKS {
        let model = untrained(id, table).snapshot();
        let classes = (entry(id).component.model().unwrap().classes)(&values(id, table)).unwrap();
        assert_eq!(logits(&*model, noise(id, table, 2)).len(), 2 * classes, "{id}");
    }
}

/// Bits, because the promise is about bytes.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// On every device that is compiled in and computes on processors, with the numbers of rows that networks are called with there.
#[test]
fn a_row_does_not_depend_on_the_others_nor_on_its_place() {
    device::compute_on_calling_threads();
    let windows: [(&str, &[(usize, usize)]); 2] =
        [("flex", &[(0, 32), (4, 32), (5, 8), (11, 16)]), ("tch", &[(0, 16), (16, 16), (5, 16), (12, 16)])];
    for ((name, windows), (id, table)) in
        windows.into_iter().flat_map(|device| NETWORKS.map(|network| (device, network)))
    {
        let Ok(device) = device::open(name) else { continue };
        let model = untrained_on(&device, id, table).snapshot();
        let images = noise(id, table, 36).to_device(&device);
        let mut known = vec![None; 36];
        for (start, rows) in windows {
            let some = images.clone().narrow(0, *start, *rows);
            let (these, slopes) = gradient(model.as_ref(), some.clone());
            let place = format!("{id} on {name}, rows {start} to {}", start + rows);
            assert_eq!(bits(&logits(&*model, some)), bits(&these), "{place}: plain and differentiated logits");
            let (classes, pixels) = (these.len() / rows, slopes.len() / rows);
            for (row, answer) in these.chunks_exact(classes).zip(slopes.chunks_exact(pixels)).enumerate() {
                let answer = (bits(answer.0), bits(answer.1));
                assert!(*known[start + row].get_or_insert_with(|| answer.clone()) == answer, "{place}: row {row}");
            }
        }
    }
}

/// A product of as many factors `1 + decay · branch` as there are branches is a polynomial of that degree in the decay, whose
/// values at one, a half and zero say what it is at a quarter where there are two.
#[test]
fn residual_decay_multiplies_the_gradient_of_every_branch_and_no_value() {
    let (id, table) = NETWORKS.into_iter().find(|(_, table)| table.contains("resnet2b")).expect("two branches");
    let model = untrained(id, table).snapshot();
    let images = noise(id, table, 8);
    let (logits, bare) = gradient(model.as_ref(), images.clone());
    let damped = |decay: f64| {
        let (same, slopes) = gradient(model.with_residual_decay(decay).unwrap().as_ref(), images.clone());
        assert_eq!(bits(&same), bits(&logits), "{decay}");
        slopes
    };
    let [whole, half, none] = [1.0, 0.5, 0.0].map(damped);
    assert_close(&whole, &bare, 1e-6);
    let expected: Vec<f32> = whole
        .iter()
        .zip(&half)
        .zip(&none)
        .map(|((whole, half), none)| 0.375 * none + 0.75 * half - 0.125 * whole)
        .collect();
    assert_close(&damped(0.25), &expected, 1e-6);
    let size = |slopes: &[f32]| slopes.iter().map(|slope| slope.abs()).sum::<f32>();
    let without: Vec<f32> = whole.iter().zip(&none).map(|(whole, none)| whole - none).collect();
    assert!(size(&without) > 0.1 * size(&whole));
    for (id, table) in NETWORKS {
        let residual = id.contains("resnet");
        assert_eq!(untrained(id, table).snapshot().with_residual_decay(0.5).is_some(), residual, "{id}");
    }
}

#[test]
fn linear_layers_by_rows_are_linear_layers() {
    let device = Device::flex();
    let layer = LinearConfig::new(100, 7).init(&device);
    for rows in [1, 8, 13] {
        let input = Tensor::<2>::random([rows, 100], Distribution::Uniform(-1.0, 1.0), &device);
        let found = floats(linear_by_rows(&layer, input.clone()));
        assert_close(&found, &floats(layer.forward(input)), 1e-6);
    }
}

#[test]
fn a_folded_batch_norm_is_the_same_function() {
    let device = Device::flex();
    let uniform = |low, high| Tensor::<1>::random([5], Distribution::Uniform(low, high), &device);
    let images = Tensor::<4>::random([8, 3, 9, 9], Distribution::Uniform(0.0, 1.0), &device);
    for bias in [false, true] {
        let mut conv = convolution([3, 5], 3, 2, 1).with_bias(bias).init(&device);
        let mut norm = BatchNormConfig::new(5).init(&device);
        norm.gamma = Param::from_tensor(uniform(-2.0, 2.0));
        norm.beta = Param::from_tensor(uniform(-1.0, 1.0));
        norm.running_mean.update(uniform(-1.0, 1.0));
        norm.running_var.update(uniform(0.1, 3.0));
        let expected = floats(norm.forward(conv.forward(images.clone())));
        let mut norm = Some(norm);
        fold(&mut conv, &mut norm);
        assert!(norm.is_none());
        assert_close(&floats(conv.forward(images.clone())), &expected, 1e-5);
    }
}

#[test]
fn the_same_seed_gives_the_same_network() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = |seed| {
        let entry = TrainableEntry::find("digits-cnn").unwrap();
        let file = folder.path().join("network.safetensors");
        (entry.build)(&values("digits-cnn", ""), optimizer(), seed, &Device::flex()).unwrap().save(&file).unwrap();
        std::fs::read(file).unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn batch_norm_learns_in_training_and_rests_in_a_snapshot() {
    let (id, table) = NETWORKS[0];
    let network = untrained(id, table);
    let images = noise(id, table, 8);
    let before = network.snapshot();
    let initial = logits(&*before, images.clone());
    gradient(before.as_ref(), images.clone());
    assert_eq!(logits(&*network.snapshot(), images.clone()), initial, "an attack must not change statistics");
    network.forward(images.clone().autodiff());
    assert_ne!(logits(&*network.snapshot(), images.clone()), initial, "training must change statistics");
    assert_eq!(logits(&*before, images), initial, "an earlier snapshot must not change");
}

fn digits() -> Samples {
    let entry = inventory::iter::<DatasetEntry>().find(|entry| entry.component.id == "digits").unwrap();
    let mut values = Values::default();
    values.insert("split", Value::Text("train".to_owned()));
    let dataset = (entry.build)(&values, &Locations { data: ".".into() }).unwrap();
    dataset.read(&(0..256).collect::<Vec<u32>>()).unwrap()
}

#[test]
fn updates_teach_and_leave_earlier_snapshots_alone() {
    let Samples { pixels, labels, .. } = digits();
    let device = Device::flex();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [256, 1, 8, 8]), &device);
    let labels: Vec<i32> = labels.into_iter().map(|label| label as i32).collect();
    let targets = Tensor::<2, Int>::from_data(TensorData::new(labels.clone(), [256, 1]), &device);
    let mut network = untrained("digits-cnn", "");
    let before = network.snapshot();
    let untaught = logits(&*before, images.clone());
    for _ in 0..60 {
        let logits = network.forward(images.clone().autodiff());
        let mut gradients = log_softmax(logits, 1).gather(1, targets.clone().autodiff()).mean().neg().backward();
        network.update(0.5, &mut gradients);
    }
    assert_eq!(logits(&*before, images.clone()), untaught);
    let taught = logits(&*network.snapshot(), images);
    let right = taught
        .chunks_exact(10)
        .zip(&labels)
        .filter(|(row, label)| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 == **label as usize);
    let right = right.count();
    assert!(right > 220, "{right} of 256 digits are right");
}
