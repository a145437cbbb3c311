//! Every network, as models and trainers see it.

mod assets;
mod bounds;
mod exported;
mod files;
mod heads;
mod inner;
mod networks;
mod small;

use burn::optim::{ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, Model, ModelEntry, Trainable, TrainableEntry, inventory};
use realsafe_plan::{Catalogue, Environment, Values, parse_component};

use crate::builtin_weights;

/// Tables that between them reach every network and variant.
const NETWORKS: [(&str, &str); 25] = [
    ("cifar-resnet", "depth = \"20\"\nmean = [0.5, 0.4, 0.3]\ndeviation = [0.2, 0.3, 0.2]"),
    ("cifar-resnet", "depth = \"20\"\nshortcut = \"pad-behind\""),
    ("cifar-resnet", "depth = \"20\"\nshortcut = \"convolution\"\nclasses = 100"),
    ("cifar-resnet-v2", "depth = \"11\"\nmean = [0.5, 0.4, 0.3]"),
    ("cifar-resnet-v2", "depth = \"11\"\nhead = \"max-mahalanobis\""),
    ("convolution-stack", ""),
    ("digits-cnn", ""),
    ("digits-cnn", "head = \"max-mahalanobis\"\nfeature-dimension = 16"),
    ("inception-v3", "size = 75\nclasses = 10"),
    ("lenet", ""),
    ("madry-resnet", "width = 1\nunits = 2"),
    ("preact-resnet", "size = 8"),
    ("preact-resnet", "size = 8\nshortcut = \"input\"\nfinal-batch-norm = false"),
    ("preact-resnet", "size = 8\nshortcut = \"input-3x3\"\nactivation = \"swish\"\npadding = \"same\""),
    ("resnet", "depth = \"18\"\nsize = 32\nclasses = 10"),
    ("resnet", "depth = \"18\"\nstem = \"cifar\"\nsize = 8\nclasses = 10"),
    ("resnet", "depth = \"50\"\nsize = 32\nclasses = 10"),
    ("small-cnn", ""),
    ("small-resnet", "architecture = \"resnet2b\""),
    ("small-resnet", "architecture = \"resnet4b\""),
    ("squeezenet", "size = 64"),
    ("vgg", "depth = \"11\"\nsize = 64\nfeatures = 16\nclasses = 10"),
    ("vgg", "depth = \"11\"\nbatch-norm = true\nhead = \"linear\"\nsize = 32\nclasses = 10"),
    ("wide-resnet", "depth = \"10\"\nwidth = 2\nsize = 16"),
    ("wide-resnet", "depth = \"10\"\nwidth = 1\nsize = 16\nactivation = \"swish\"\npadding = \"same\""),
];

fn entry(id: &str) -> &'static ModelEntry {
    inventory::iter::<ModelEntry>().find(|entry| entry.component.id == id).expect("it is registered")
}

/// The values of a table, to which weights are added where it names none.
fn values(id: &str, table: &str) -> Values {
    let environment = Environment {
        data: ".".into(),
        data_origin: "the test".to_owned(),
        builtin: &|name| builtin_weights(name).map(<[u8]>::to_vec),
        read_files: false,
    };
    let weights = if table.contains("weights =") { "" } else { "\nweights = \"none\"" };
    match parse_component(&entry(id).component, &format!("{table}{weights}"), &Catalogue::default(), &environment) {
        Ok(chosen) => chosen.values,
        Err(problems) => panic!("{}", problems.render(false)),
    }
}

fn optimizer() -> ModuleOptimizer {
    SgdConfig::new().init()
}

fn untrained(id: &str, table: &str) -> Box<dyn Trainable> {
    untrained_on(&Device::flex(), id, table)
}

fn untrained_on(device: &Device, id: &str, table: &str) -> Box<dyn Trainable> {
    let entry = TrainableEntry::find(id).expect("it can be trained");
    (entry.build)(&values(id, table), optimizer(), 1, device).unwrap()
}

/// Deterministic noise in `[0, 1]` of the shape that a network takes.
fn noise(id: &str, table: &str, rows: usize) -> Tensor<4> {
    let [channels, height, width] = (entry(id).component.model().unwrap().input)(&values(id, table)).unwrap();
    let pixels = (0..rows * channels * height * width).map(|index| (index * 7919 % 1009) as f32 / 1008.0);
    let data = TensorData::new(pixels.collect(), [rows, channels, height, width]);
    Tensor::from_data(data, &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("it holds floats")
}

/// The logits of images, row after row.
fn logits(model: &dyn Model, images: Tensor<4>) -> Vec<f32> {
    let none = Draws::none(images.dims()[0]);
    floats(model.logits(images, &none).unwrap())
}

/// Logits, and the gradient of their weighted sum with respect to the images.
fn gradient(model: &dyn Model, images: Tensor<4>) -> (Vec<f32>, Vec<f32>) {
    let none = Draws::none(images.dims()[0]);
    let leaf = images.autodiff().require_grad();
    let logits = model.logits(leaf.clone(), &none).unwrap();
    let [_, classes] = logits.dims();
    let weights: Vec<f32> = (0..classes).map(|class| 1.0 / (class + 1) as f32).collect();
    let weights = Tensor::<1>::from_data(TensorData::from(weights.as_slice()), &leaf.device());
    let mut gradients = (logits.clone() * weights.unsqueeze()).sum().backward();
    (floats(logits.inner()), floats(leaf.grad_remove(&mut gradients).expect("the images are tracked")))
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let worst = found.iter().zip(expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst <= tolerance * scale, "differs by {worst} at a scale of {scale}");
}
