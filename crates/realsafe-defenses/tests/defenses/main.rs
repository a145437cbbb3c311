//! Every defense: registered, explained, row by row, and seen by attackers as its spec says.

mod every;
mod formulas;
mod gradients;
mod places;
mod stacks;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::random::Purpose;
use realsafe_core::{DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Registry, Stop, inventory};
use realsafe_plan::{DefenseTraits, Environment, GradientMode, Values, parse_component};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

extern crate realsafe_data as _;
extern crate realsafe_defenses as _;

/// Two logits: the sum of all pixels, and the sum of their squares.
struct Sums;

impl Model for Sums {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let [n, c, h, w] = images.dims();
        let flat: Tensor<2> = images.reshape([n, c * h * w]);
        Ok(Tensor::cat(vec![flat.clone().sum_dim(1), (flat.clone() * flat).sum_dim(1)], 1))
    }
}

/// Four logits that are weighted sums of pixels, as large whatever the size of the images, and one that is not linear.
struct Waves;

impl Model for Waves {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let flat: Tensor<2> = images.flatten(1, 3);
        let count = flat.dims()[1];
        let wave = |at: usize| ((at / 4) as f32 * 1.7 + (at % 4) as f32 * 2.3).sin() * 4.0 / (count as f32).sqrt();
        let weights: Vec<f32> = (0..4 * count).map(wave).collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [count, 4]), &flat.device());
        let weights = if flat.is_tracked() { weights.autodiff() } else { weights };
        // One row at a time: in larger products the last bit of a row depends on how many there are.
        let rows = (0..flat.dims()[0]).map(|row| flat.clone().narrow(0, row, 1).matmul(weights.clone())).collect();
        let squares = flat.square();
        Ok(Tensor::cat(vec![Tensor::cat(rows, 0), (squares.clone() / (squares + 1.0)).mean_dim(1) * 4.0], 1))
    }
}

/// The shape of the images on which a defense is tried: `quilting` has patches of digits, `zca-whitening` a file for such.
fn shape(entry: &DefenseEntry) -> [usize; 3] {
    if ["quilting", "zca-whitening"].contains(&entry.component.id) { [1, 8, 8] } else { [3, 16, 16] }
}

fn pattern(rows: usize, [channels, height, width]: [usize; 3]) -> Tensor<4> {
    let pixels: Vec<f32> = (0..rows * channels * height * width).map(|at| ((at * 37 % 101) as f32) / 100.0).collect();
    Tensor::from_data(TensorData::new(pixels, [rows, channels, height, width]), &Device::flex())
}

fn images(rows: usize) -> Tensor<4> {
    pattern(rows, [3, 16, 16])
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// The draws of samples with these numbers at a pass.
fn draws(samples: impl IntoIterator<Item = u32>, pass: u64) -> Draws {
    Draws::new(7, Purpose::Defense, samples.into_iter().map(|sample| (sample, pass)))
}

/// A folder with the files that examples name.
fn data() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("zca.safetensors"), whitening()).unwrap();
        folder
    });
    folder.path()
}

/// An entry of the matrix for whitening, and of the mean.
fn matrix(row: usize, column: usize) -> f32 {
    if row == column { 2.0 } else { ((row * 31 + column * 17) % 13) as f32 / 130.0 }
}

fn mean(at: usize) -> f32 {
    (at % 5) as f32 / 10.0
}

/// The file that `zca-whitening` reads.
fn whitening() -> Vec<u8> {
    let bytes = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let mean = bytes((0..64).map(mean).collect());
    let matrix = bytes((0..64 * 64).map(|at| matrix(at / 64, at % 64)).collect());
    let view = |shape: &[usize], bytes| TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
    safetensors::serialize([("mean", view(&[64], &mean)), ("matrix", view(&[64, 64], &matrix))], None).unwrap()
}

/// The values of an example, and the defense.
fn built(entry: &'static DefenseEntry, keys: &str) -> Result<(Values, Arc<dyn Defense>), String> {
    let environment =
        Environment { data: data().into(), data_origin: String::new(), builtin: &|_| None, read_files: true };
    let catalogue = Registry::linked().catalogue().unwrap();
    let chosen = parse_component(&entry.component, keys, &catalogue, &environment).expect("a valid example");
    let defense = (entry.build)(&chosen.values, &Locations { data: data().into() })?;
    Ok((chosen.values, Arc::from(defense)))
}

/// A defense as its example has it.
fn example(entry: &'static DefenseEntry) -> Arc<dyn Defense> {
    built(entry, entry.component.example).unwrap().1
}

fn named(id: &str) -> &'static DefenseEntry {
    inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == id).unwrap()
}

fn traits(entry: &DefenseEntry) -> &DefenseTraits {
    entry.component.defense().unwrap()
}

/// The gradient of the second logit, through a stack.
fn gradient(stack: Vec<(Arc<dyn Defense>, GradientMode)>, images: Tensor<4>, draws: &Draws) -> Tensor<4> {
    let model = DefendedModel::new(Arc::new(Sums), stack);
    let tape = model.forward(images, draws).unwrap();
    let rows = tape.logits.dims()[0];
    let cotangents = TensorData::new([0.0_f32, 1.0].repeat(rows), [rows, 2]);
    tape.pull(Tensor::from_data(cotangents, &Device::flex())).unwrap()
}

/// A network behind a defense as its example has it, alone and in front of `bit-depth`, whose gradient is passed over.
fn victims(entry: &'static DefenseEntry, mode: GradientMode) -> [DefendedModel; 2] {
    let rounding = built(named("bit-depth"), "levels = 4").unwrap().1;
    let stack = vec![(example(entry), mode)];
    let longer = stack.iter().cloned().chain([(rounding, GradientMode::Identity)]).collect();
    [stack, longer].map(|stack| DefendedModel::new(Arc::new(Waves), stack))
}

/// The gradient of a product of the logits and fixed cotangents, row after row.
fn pulled(model: &DefendedModel, images: Tensor<4>, draws: &Draws) -> Vec<f32> {
    let tape = model.forward(images, draws).unwrap();
    let cotangents = cotangents(tape.logits.dims());
    values(tape.pull(cotangents).unwrap())
}

/// The same cotangents for each row.
fn cotangents([rows, classes]: [usize; 2]) -> Tensor<2> {
    let row: Vec<f32> = (0..classes).map(|class| 1.0 - 0.6 * class as f32).collect();
    Tensor::from_data(TensorData::new(row.repeat(rows), [rows, classes]), &Device::flex())
}

/// Whether it stands around what is behind it, instead of changing images.
fn is_around(entry: &'static DefenseEntry) -> bool {
    let network: Arc<dyn Model> = Arc::new(Waves);
    example(entry).around(&network, traits(entry).gradients[0]).is_some()
}

/// The defenses that change images.
fn on_images() -> impl Iterator<Item = &'static DefenseEntry> {
    inventory::iter::<DefenseEntry>().filter(|entry| !is_around(entry))
}
