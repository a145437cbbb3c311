//! Small networks of every family with the logits and gradients that PyTorch finds: see `tests/models/export.py`. Their tensors follow from
//! their names by a formula.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, ModelEntry, inventory};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::exported::{build, distance};
use super::{entry, floats, values};

/// Values from `low` to `high` that follow from a name and their places.
fn formula(name: &str, low: f64, high: f64, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(2_166_136_261_u32, |seed, byte| (seed ^ u32::from(byte)).wrapping_mul(16_777_619));
    let value = |place: u32| {
        let bits = place.wrapping_mul(0x9e37_79b9).wrapping_add(seed);
        let bits = (bits ^ bits >> 16).wrapping_mul(0x85eb_ca6b);
        let bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
        let bits = bits ^ bits >> 16;
        (low + (high - low) * (f64::from(bits >> 8) / f64::from(1 << 24))) as f32
    };
    (0..count as u32).map(value).collect()
}

/// Writes the weights that lines of names, ranges and shapes describe.
fn write(lines: &str, file: &Path) {
    let tensors = lines.lines().map(|line| {
        let (name, rest) = line.split_once(": ").unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        let shape: Vec<usize> = words[2..].iter().map(|length| length.parse().unwrap()).collect();
        let [low, high] = [0, 1].map(|word| words[word].parse().unwrap());
        let values = formula(name, low, high, shape.iter().product());
        (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
    });
    let tensors: Vec<_> = tensors.collect();
    let view = |(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape, bytes).unwrap());
    let views = tensors.iter().map(|(name, shape, bytes)| view((*name, shape.clone(), bytes.as_slice())));
    safetensors::serialize_to_file(views, None, file).unwrap();
}

#[test]
fn small_networks_are_those_of_pytorch() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/small");
    let folder = tempfile::tempdir().unwrap();
    let mut families = BTreeSet::new();
    for file in std::fs::read_dir(small).unwrap().map(|file| file.unwrap().path()) {
        let (name, bytes) = (file.file_stem().unwrap().display(), std::fs::read(&file).unwrap());
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let about = metadata.metadata().clone().unwrap();
        let (id, table, seed) = (about["component"].as_str(), about["parameters"].as_str(), &about["seed"]);
        write(&about["tensors"], &folder.path().join("weights.safetensors"));
        let model =
            build(id, table, folder.path(), "weights.safetensors").unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let expected = |tensor: &str| -> Vec<f32> {
            let bytes = expected.tensor(tensor).unwrap().data().to_vec();
            bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let [channels, height, width] = (entry(id).component.model().unwrap().input)(&values(id, table)).unwrap();
        let images = formula(&format!("images {seed}"), 0.0, 1.0, channels * height * width);
        let images = Tensor::from_data(TensorData::new(images, [1, channels, height, width]), &Device::flex());
        let tape = model.forward(images, &Draws::none(1)).unwrap();
        let classes = tape.logits.dims()[1];
        let cotangents = formula(&format!("cotangents {seed}"), -1.0, 1.0, classes);
        let logits = distance(&floats(tape.logits.clone()), &expected("logits"));
        let cotangents = Tensor::from_data(TensorData::new(cotangents, [1, classes]), &Device::flex());
        let gradient = distance(&floats(tape.pull(cotangents).unwrap()), &expected("gradient"));
        println!("{name}: logits differ by {logits:.1e}, gradients by {gradient:.1e}");
        assert!(logits < 1e-4 && gradient < 1e-4, "{name}: logits differ by {logits:.1e}, gradients by {gradient:.1e}");
        families.insert(id.to_owned());
    }
    assert_eq!(families, inventory::iter::<ModelEntry>().map(|entry| entry.component.id.to_owned()).collect());
}
