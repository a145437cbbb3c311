//! Graphs against PyTorch, in double precision: `tests/onnx/export.py` and `tests/onnx/formats.py` make the files.

extern crate realsafe_onnx as _;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, Locations, Model, ModelEntry, inventory};
use realsafe_plan::{Catalogue, Environment, Values, parse_component};
use safetensors::SafeTensors;

fn entry() -> &'static ModelEntry {
    inventory::iter::<ModelEntry>().find(|entry| entry.component.id == "onnx").expect("it is registered")
}

fn values(table: &str, folder: &Path) -> Values {
    let environment = Environment {
        data: folder.to_owned(),
        data_origin: "the test".to_owned(),
        builtin: &|name| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec),
        read_files: true,
    };
    match parse_component(&entry().component, table, &Catalogue::default(), &environment) {
        Ok(chosen) => chosen.values,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

fn build(table: &str, folder: &Path) -> Result<Box<dyn Model>, String> {
    (entry().build)(&values(table, folder), &Locations { data: folder.to_owned() }, &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("it holds floats")
}

/// The tensors beside a file, with their shapes.
fn reference(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
        (name.to_owned(), (view.shape().to_vec(), values.collect()))
    };
    file.iter().map(read).collect()
}

/// How far values are from others, relative to the largest one.
fn deviation(values: &[f32], others: &[f32]) -> f32 {
    assert_eq!(values.len(), others.len());
    let largest = others.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    // Not a number is far from everything.
    values.iter().zip(others).fold(0.0, |far: f32, (a, b)| {
        let distance = (a - b).abs() / largest;
        if distance.is_nan() { f32::INFINITY } else { far.max(distance) }
    })
}

/// How far logits and gradients of a file are from PyTorch's; constants may lie beside it.
fn agreement(path: &Path) -> Result<(f32, f32), String> {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let (network, _) = name.rsplit_once('-').unwrap();
    let expected = reference(&path.with_file_name(format!("{network}.safetensors")));
    let tensor = |name: &str| {
        let (shape, values) = &expected[name];
        TensorData::new(values.clone(), shape.clone())
    };
    let classes = expected["logits"].0[1];
    let beside = path.with_extension("data");
    let weights = if beside.is_file() { format!("weights = \"{name}.data\"") } else { String::new() };
    let model = build(&format!("file = \"{name}.onnx\"\nclasses = {classes}\n{weights}"), path.parent().unwrap())?;
    let images = Tensor::<4>::from_data(tensor("images"), &Device::flex());
    let draws = Draws::none(images.dims()[0]);
    let plain = floats(model.logits(images.clone(), &draws).map_err(|stop| stop.to_string())?);
    let tape = model.forward(images, &draws).map_err(|stop| stop.to_string())?;
    let taped = floats(tape.logits.clone());
    assert!(deviation(&taped, &plain) < 1e-5, "{name}: logits depend on whether a tape is kept");
    let cotangents = Tensor::<2>::from_data(tensor("cotangents"), &Device::flex());
    let gradients = floats(tape.pull(cotangents).map_err(|stop| stop.to_string())?);
    Ok((deviation(&plain, &expected["logits"].1), deviation(&gradients, &expected["gradients"].1)))
}

fn graphs(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_compared = |path: &PathBuf| {
        let named = path.file_stem().is_some_and(|name| name.to_string_lossy().contains('-'));
        named && path.extension().is_some_and(|end| end == "onnx")
    };
    let mut graphs: Vec<PathBuf> = files.filter(is_compared).collect();
    graphs.sort();
    graphs
}

/// Compares all files of a folder with PyTorch.
fn compare(folder: &Path) -> usize {
    let graphs = graphs(folder);
    let mut wrong = Vec::new();
    for path in &graphs {
        let name = path.file_stem().unwrap().display();
        match agreement(path) {
            Ok((logits, gradients)) => {
                println!("{name}: logits differ by {logits:.1e}, gradients by {gradients:.1e}");
                if logits > 1e-4 || gradients > 1e-4 {
                    wrong.push(format!("{name}: logits differ by {logits:.1e}, gradients by {gradients:.1e}"));
                }
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), graphs.len(), wrong.join("\n"));
    graphs.len()
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn operators() -> PathBuf {
    folder("operators")
}

#[test]
fn operators_agree_with_pytorch() {
    assert!(compare(&operators()) > 20);
}

/// Versions of the operators from 11 to 20, one image at a time, constants in another file, 16 bits.
#[test]
fn files_agree_with_pytorch_however_they_were_written() {
    assert_eq!(compare(&folder("formats")), 15);
}

/// What torchvision and timm export: convolutions, also by channel, squeeze and excitation, normalisations, attention in windows and
/// without, in networks of few and narrow layers.
#[test]
fn small_classifiers_agree_with_pytorch() {
    assert_eq!(compare(&folder("classifiers")), 22);
}

#[test]
fn classifiers_agree_with_pytorch() {
    let Some(folder) = std::env::var_os("REALSAFE_ONNX") else {
        eprintln!("skipped: REALSAFE_ONNX names no folder that tests/onnx/export.py has filled");
        return;
    };
    assert!(compare(Path::new(&folder)) >= 24);
}

#[test]
fn rows_do_not_depend_on_their_batch() {
    for name in
        ["attention-traced", "attention-dynamo", "products-traced", "convolutions-traced", "normalisations-dynamo"]
    {
        let model = build(&format!("file = \"{name}.onnx\""), &operators()).unwrap();
        let (network, _) = name.rsplit_once('-').unwrap();
        let (shape, pixels) = &reference(&operators().join(format!("{network}.safetensors")))["images"];
        let image = |at: usize| {
            Tensor::<4>::from_data(TensorData::new(pixels.clone(), shape.clone()), &Device::flex()).narrow(
                0,
                at % shape[0],
                1,
            )
        };
        let batch = |rows: &[usize]| Tensor::cat(rows.iter().map(|row| image(*row)).collect(), 0);
        let answers = |rows: &[usize]| {
            let logits = model.logits(batch(rows), &Draws::none(rows.len())).unwrap();
            let [_, classes] = logits.dims();
            let tape = model.forward(batch(rows), &Draws::none(rows.len())).unwrap();
            let ones = tape.logits.clone().ones_like();
            let gradients = floats(tape.pull(ones).unwrap());
            let each = gradients.len() / rows.len();
            (floats(logits.narrow(0, 1, 1)), gradients[each..2 * each].to_vec(), classes)
        };
        let alone = answers(&[0, 1, 0, 0, 0, 0, 0, 0]);
        let many: Vec<usize> = (0..64).map(|row| if row == 1 { 1 } else { row * 2 }).collect();
        assert_eq!(alone, answers(&many), "{name}");
    }
}

#[test]
fn the_digits_network_is_the_native_one() {
    let native = inventory::iter::<ModelEntry>().find(|entry| entry.component.id == "digits-cnn").unwrap();
    let environment = Environment {
        data: ".".into(),
        data_origin: String::new(),
        builtin: &|name| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec),
        read_files: false,
    };
    let table = "weights = \"builtin:digits-standard\"";
    let chosen = parse_component(&native.component, table, &Catalogue::default(), &environment).ok().unwrap();
    let native = (native.build)(&chosen.values, &Locations { data: ".".into() }, &Device::flex()).unwrap();
    let onnx = build(entry().component.example, Path::new(".")).unwrap();
    let pixels = (0..16 * 64).map(|index| (index * 7919 % 1009) as f32 / 1008.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [16, 1, 8, 8]), &Device::flex());
    let logits = |model: &dyn Model| floats(model.logits(images.clone(), &Draws::none(16)).unwrap());
    assert!(deviation(&logits(&*onnx), &logits(&*native)) < 1e-6);
}

fn refusal(table: &str, folder: &Path) -> String {
    build(table, folder).err().expect("it is refused")
}

#[test]
fn what_is_wrong_is_told() {
    let file = "file = \"products-traced.onnx\"";
    let told = |table: &str, text: &str| {
        let told = refusal(&format!("{file}\n{table}"), &operators());
        assert!(told.contains(text), "`{told}` does not say `{text}`");
    };
    told("classes = 7", "`classes` is 7, but 5 in the file");
    told("height = 8", "`height` is 8, but 3 in the file");
    told("mean = [0.5]", "a number for each of the 2 channels");
    told("output = \"nowhere\"\nclasses = 5", "no node writes the output `nowhere`");
    let input = entry().component.model().unwrap().input;
    assert_eq!(input(&values(file, &operators())), Ok([2, 3, 4]));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.onnx"), "no graph").unwrap();
    let told = refusal("file = \"text.onnx\"", folder.path());
    assert!(told.contains("no ONNX file"), "{told}");
    let shape = input(&values("file = \"text.onnx\"", folder.path()));
    assert!(shape.is_err_and(|told| told.contains("no ONNX file")));
}

#[test]
fn what_a_file_lacks_is_told_with_its_place() {
    let formats = folder("formats");
    let missing = refusal("file = \"missing.onnx\"", &formats);
    for part in ["com.example.Sharpen", "`sharpen_1`", "NonMaxSuppression", "`suppress`"] {
        assert!(missing.contains(part), "{missing}");
    }
    let told = refusal("file = \"training.onnx\"", &formats);
    assert!(told.contains("`leave_out` (Dropout): it is in training state"), "{told}");
    let told = refusal("file = \"inputs.onnx\"", &formats);
    assert!(told.contains("the file has more inputs: `images`, `offset`"), "{told}");
    let told = refusal("file = \"formats-external.onnx\"", &formats);
    assert!(told.contains("lies in another file, `formats-external.data`: name that with `weights`"), "{told}");
    let told = refusal("file = \"scattered.onnx\"\nweights = \"formats-external.data\"", &formats);
    assert!(told.contains("its constants lie in several files, `a.data`, `b.data`"), "{told}");
    let halves = tempfile::tempdir().unwrap();
    let half = |name: &str| {
        let bytes = std::fs::read(formats.join(name)).unwrap();
        std::fs::write(halves.path().join(name), &bytes[..bytes.len() / 2]).unwrap();
    };
    half("formats-external.data");
    half("formats-opset17.onnx");
    std::fs::copy(formats.join("formats-external.onnx"), halves.path().join("formats-external.onnx")).unwrap();
    let short = refusal("file = \"formats-external.onnx\"\nweights = \"formats-external.data\"", halves.path());
    assert!(short.contains("`weights` is too short to be `formats-external.data`"), "{short}");
    let damaged = refusal("file = \"formats-opset17.onnx\"", halves.path());
    assert!(damaged.contains("perhaps the file was cut short"), "{damaged}");
}
