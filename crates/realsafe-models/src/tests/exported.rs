//! Networks whose every tensor PyTorch drew, with the logits and gradients that PyTorch finds: see `tests/models/export.py`.

use std::path::{Path, PathBuf};

use burn::store::{ModuleStore, PytorchStore};
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, Locations, Model};
use safetensors::tensor::{Dtype, TensorView};

use super::{entry, floats, values};

/// Keys and shapes that public checkpoints have: see `tests/models/export.py`.
const KEYS: &str = include_str!("../../../../tests/models/keys.txt");

/// Where the exported networks lie.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("REALSAFE_MODELS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: REALSAFE_MODELS is not set; tests/models/export.py makes the folder that it names");
    }
    folder
}

pub(super) fn build(id: &str, table: &str, folder: &Path, file: &str) -> Result<Box<dyn Model>, String> {
    let values = values(id, &format!("{table}\nweights = \"{file}\""));
    (entry(id).build)(&values, &Locations { data: folder.to_owned() }, &Device::flex())
}

/// A tensor of a file that PyTorch wrote.
fn read<const D: usize>(store: &mut PytorchStore, name: &str) -> Tensor<D> {
    let stored = store.get_all_tensors().unwrap().get(name).unwrap_or_else(|| panic!("no `{name}`")).clone();
    let (_, _, shape, _, bytes) = stored.into_parts().unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// The largest difference, relative to the largest value.
pub(super) fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs())) / scale
}

#[test]
fn logits_and_gradients_are_those_of_pytorch() {
    let Some(folder) = folder() else { return };
    let mut reader = csv::Reader::from_path(folder.join("networks.csv")).unwrap();
    let mut wrong = Vec::new();
    for record in reader.records() {
        let record = record.unwrap();
        let (name, id, table) = (&record[0], &record[1], &record[2]);
        let model = build(id, table, &folder, &format!("{name}.pt")).unwrap();
        let mut expected = PytorchStore::from_file(folder.join(format!("{name}-expected.pt")));
        let images: Tensor<4> = read(&mut expected, "images");
        let cotangents: Tensor<2> = read(&mut expected, "cotangents");
        let tape = model.forward(images.clone(), &Draws::none(images.dims()[0])).unwrap();
        let logits = distance(&floats(tape.logits.clone()), &floats::<2>(read(&mut expected, "logits")));
        let gradient = distance(&floats(tape.pull(cotangents).unwrap()), &floats::<4>(read(&mut expected, "gradient")));
        println!("{name:<28} logits differ by {logits:.1e}, gradients by {gradient:.1e}");
        if logits.max(gradient) > 1e-4 || !logits.is_finite() || !gradient.is_finite() {
            wrong.push(name.to_owned());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn checkpoints_with_public_keys_and_shapes_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let lists = KEYS.split("# ").skip(1);
    for list in lists.clone() {
        let (title, lines) = list.split_once('\n').unwrap();
        let (id, table) = title.split_once(' ').unwrap_or((title, ""));
        let tensors: Vec<(&str, Vec<usize>)> = lines
            .lines()
            .map(|line| line.split_once(':').unwrap())
            .map(|(key, shape)| (key, shape.split_whitespace().map(|length| length.parse().unwrap()).collect()))
            .collect();
        let zeros = vec![0; 4 * tensors.iter().map(|(_, shape)| shape.iter().product()).max().unwrap_or(0)];
        let views = tensors.iter().map(|(key, shape)| {
            let bytes = &zeros[..4 * shape.iter().product::<usize>()];
            (*key, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, &file).unwrap();
        let table = table.replace("; ", "\n");
        if let Err(problem) = build(id, &table, folder.path(), "weights.safetensors") {
            panic!("{title}: {problem}");
        }
    }
    assert!(lists.count() >= 12);
}
