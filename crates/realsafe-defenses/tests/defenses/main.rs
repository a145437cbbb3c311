//! Every defense: registered, explained, row by row, and seen by attackers as its spec says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use realsafe_core::random::Purpose;
use realsafe_core::{
    DatasetEntry, DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Registry, Stop, fill_gaussian,
    inventory,
};
use realsafe_plan::{DefenseTraits, Environment, GradientMode, Values, check_component, parse_component};
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

#[test]
fn every_file_is_a_defense_and_every_defense_is_sound() {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.is_file());
    let names = files.map(|path| path.file_stem().unwrap().to_string_lossy().replace('_', "-"));
    let files: BTreeSet<String> = names.filter(|name| name != "lib").collect();
    let entries = inventory::iter::<DefenseEntry>();
    assert_eq!(files, entries.map(|entry| entry.component.id.to_owned()).collect());
    for entry in inventory::iter::<DefenseEntry>() {
        check_component(&entry.component).unwrap();
        for heading in ["## What it does", "## What an attacker sees", "## References"] {
            assert!(entry.component.manual().contains(heading), "{} has no {heading}", entry.component.id);
        }
    }
}

/// The defenses that change images, and do not judge answers: what those do is tested where they are.
fn on_images() -> impl Iterator<Item = &'static DefenseEntry> {
    inventory::iter::<DefenseEntry>().filter(|entry| !traits(entry).rejects)
}

/// What standardises, and colours with noise.
const OUTSIDE: [&str; 6] = [
    "gaussian-smoothing",
    "global-contrast-normalisation",
    "per-image-standardisation",
    "rand-disc",
    "rand-mix",
    "zca-whitening",
];

#[test]
fn rows_do_not_matter_to_each_other_and_images_stay_in_the_box() {
    for entry in on_images() {
        let (id, images) = (entry.component.id, pattern(3, shape(entry)));
        let defense = example(entry);
        let together = values(defense.forward(images.clone(), &draws(10..13, 0)).unwrap());
        let alone = values(defense.forward(images.clone().narrow(0, 1, 1), &draws([11], 0)).unwrap());
        assert_eq!(together[alone.len()..2 * alone.len()], alone, "{id}");
        let inside = together.iter().all(|pixel| (0.0..=1.0).contains(pixel));
        assert_ne!(inside, OUTSIDE.contains(&id), "{id}");
        assert!(together.iter().all(|pixel| pixel.is_finite()), "{id}");
        assert!(together != values(images), "{id} does nothing");
    }
}

#[test]
fn outputs_have_the_shape_that_is_promised() {
    for entry in on_images() {
        let (values, defense) = built(entry, entry.component.example).unwrap();
        let promised = (traits(entry).output)(&values, shape(entry)).unwrap();
        let [rows, given @ ..] = defense.forward(pattern(2, shape(entry)), &draws(0..2, 0)).unwrap().dims();
        assert_eq!((rows, given), (2, promised), "{}", entry.component.id);
    }
    let (values, defense) = built(named("random-resize-pad"), "size = 20\nsmallest = \"16/20\"").unwrap();
    assert_eq!((traits(named("random-resize-pad")).output)(&values, [3, 16, 16]), Ok([3, 20, 20]));
    assert_eq!(defense.forward(images(2), &draws(0..2, 0)).unwrap().dims(), [2, 3, 20, 20]);
}

#[test]
fn random_ones_draw_anew_for_every_pass_and_the_same_for_the_same() {
    for entry in on_images() {
        let (id, defense) = (entry.component.id, example(entry));
        let seen = |pass| values(defense.forward(pattern(4, shape(entry)), &draws(0..4, pass)).unwrap());
        assert_eq!(seen(0), seen(0), "{id}");
        assert_eq!(seen(0) != seen(1), traits(entry).randomised, "{id}");
    }
}

#[test]
fn what_does_not_fit_is_told_before_anything_runs() {
    let complaint = |id: &str, keys: &str, shape| {
        let (values, _) = built(named(id), keys).unwrap();
        (traits(named(id)).output)(&values, shape).unwrap_err()
    };
    assert!(complaint("jpeg", "", [2, 8, 8]).contains("one or three channels"));
    let digits = "images = { use = \"digits\", split = \"train\" }\npatches = 10";
    assert!(complaint("quilting", digits, [3, 8, 8]).contains("have 1 channels"));
    assert!(complaint("quilting", digits, [1, 4, 8]).contains("do not fit into 4"));
    assert!(complaint("quilting", &format!("{digits}\npatch = 2"), [1, 8, 8]).contains("smaller than `patch`"));
    assert!(complaint("random-resize-pad", "", [1, 1, 1]).contains("cannot shrink"));
}

#[test]
fn identity_gives_the_gradient_at_what_the_model_sees() {
    for entry in on_images() {
        if traits(entry).gradients.contains(&GradientMode::Identity) {
            let (defense, images) = (example(entry), pattern(2, shape(entry)));
            let model_draws = draws(0..2, 0);
            let found = values(gradient(vec![(defense.clone(), GradientMode::Identity)], images.clone(), &model_draws));
            // Draws of a stack are those of its layers, so what is seen is asked of the stack, too.
            let seen = Seen::default();
            DefendedModel::new(Arc::new(seen.clone()), vec![(defense, GradientMode::Blocked)])
                .logits(images, &model_draws)
                .unwrap();
            let doubled: Vec<f32> = seen.images().iter().map(|pixel| 2.0 * pixel).collect();
            assert_eq!(found, doubled, "{}", entry.component.id);
        }
    }
}

/// A model that remembers what it saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<f32>>>);

impl Seen {
    fn images(&self) -> Vec<f32> {
        self.0.lock().unwrap().clone()
    }
}

impl Model for Seen {
    fn logits(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<2>, Stop> {
        *self.0.lock().unwrap() = values(images.clone());
        Sums.logits(images, draws)
    }
}

/// Those whose output does not change when the image changes a little.
const STEPS: [&str; 4] = ["bit-depth", "jpeg", "quilting", "thermometer"];

#[test]
fn step_functions_and_blocked_gradients_give_nothing() {
    for entry in on_images() {
        for mode in [GradientMode::Exact, GradientMode::Blocked] {
            let steps = STEPS.contains(&entry.component.id);
            if traits(entry).gradients.contains(&mode) && (steps || mode == GradientMode::Blocked) {
                let images = pattern(2, shape(entry));
                let gradient = gradient(vec![(example(entry), mode)], images.clone(), &draws(0..2, 0));
                assert_eq!(gradient.dims(), images.dims());
                assert!(values(gradient).iter().all(|value| *value == 0.0), "{} {mode:?}", entry.component.id);
            }
        }
    }
}

/// How fast the product of a function with fixed cotangents grows along a direction: by its vector-Jacobian product, and
/// by finite differences.
fn slopes(
    images: &Tensor<4>,
    step: f64,
    function: &dyn Fn(Tensor<4>) -> Tensor<4>,
    pull: &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> [f64; 2] {
    let seen = function(images.clone());
    let wave = |count: usize, step: f64| (0..count).map(move |at| ((at as f64 * step).sin()) as f32);
    let like = |tensor: &Tensor<4>, step| {
        let dims = tensor.dims();
        let values = wave(dims.iter().product(), step).collect::<Vec<_>>();
        Tensor::<4>::from_data(TensorData::new(values, dims), &Device::flex())
    };
    let (direction, cotangents) = (like(images, 0.7), like(&seen, 1.3));
    let product = |a: Vec<f32>, b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let weights = values(cotangents.clone());
    let [ahead, behind] =
        [step, -step].map(|step| product(values(function(images.clone() + direction.clone() * step)), &weights));
    let gradient = values(pull(images.clone(), cotangents));
    [product(gradient, &values(direction)), (ahead - behind) / (2.0 * step)]
}

#[test]
fn exact_and_smooth_gradients_are_those_of_finite_differences() {
    let mut smooth = Vec::new();
    for entry in on_images() {
        let (id, gradients) = (entry.component.id, traits(entry).gradients);
        let (defense, draws) = (example(entry), draws(0..2, 3));
        // Away from the places where the functions have kinks.
        let images = pattern(2, shape(entry)) * 0.9 + 0.0473;
        if gradients.contains(&GradientMode::Exact) && !STEPS.contains(&id) {
            // A small step where weights change fast, and another colour may become the nearest.
            let [pulled, measured] = slopes(
                &images,
                if id.starts_with("rand-") { 2e-4 } else { 2e-3 },
                &|images| defense.forward(images, &draws).unwrap(),
                &|images, cotangents| defense.backward(images, cotangents, &draws).unwrap(),
            );
            assert!((pulled - measured).abs() < 5e-3 * (1.0 + measured.abs()), "{id}: {pulled} {measured}");
        }
        if gradients.contains(&GradientMode::Smooth) {
            smooth.push(id);
            let by_autodiff = |images: Tensor<4>, cotangents: Tensor<4>| {
                let leaf = images.autodiff().require_grad();
                let mut gradients = (defense.smooth(leaf.clone(), &draws).unwrap() * cotangents).sum().backward();
                leaf.grad_remove(&mut gradients).unwrap()
            };
            let [pulled, measured] =
                slopes(&images, 2e-4, &|images| defense.smooth(images, &draws).unwrap(), &by_autodiff);
            assert!((pulled - measured).abs() < 5e-3 * (1.0 + measured.abs()), "{id}: {pulled} {measured}");
        }
    }
    assert_eq!(smooth.len(), 3, "{smooth:?}");
}

#[test]
fn smooth_is_the_derivative_of_switches_that_open_gradually() {
    let entry = named("thermometer");
    let images = images(1) * 0.9 + 0.0473;
    let found = values(gradient(vec![(example(entry), GradientMode::Smooth)], images.clone(), &draws([0], 0)));
    // With the encoding in front, the derivative of the squares with respect to a switch is twice its state, and the switch
    // that is just opening is off: only where the pixel is on the lower end of its part it is on.
    for (found, pixel) in found.iter().zip(values(images)) {
        let opening = (16.0 * pixel).floor() as usize + 1;
        let on = (0.99999 * 16.0 * pixel).floor() as usize >= opening;
        assert_eq!(*found, if on { 32.0 } else { 0.0 }, "{pixel}");
    }
    let sums = DefendedModel::new(Arc::new(Sums), vec![(example(entry), GradientMode::Smooth)]);
    let tape = sums.forward(self::images(1) * 0.9 + 0.0473, &draws([0], 0)).unwrap();
    let first =
        values(tape.pull(Tensor::from_data(TensorData::new(vec![1.0_f32, 0.0], [1, 2]), &Device::flex())).unwrap());
    // Every pixel opens one switch, sixteen times as fast as it grows, up to the last part.
    for (found, pixel) in first.iter().zip(values(self::images(1) * 0.9 + 0.0473)) {
        assert_eq!(*found, if 16.0 * pixel < 15.0 { 16.0 } else { 0.0 }, "{pixel}");
    }
}

#[test]
fn standardised_images_are_what_the_formulas_say() {
    let images = pattern(2, [3, 4, 5]);
    let rows: Vec<Vec<f64>> =
        values(images.clone()).chunks_exact(60).map(|row| row.iter().copied().map(f64::from).collect()).collect();
    let check = |id: &str, keys: &str, formula: &dyn Fn(&[f64]) -> Vec<f64>| {
        let (_, defense) = built(named(id), keys).unwrap();
        let found = values(defense.forward(images.clone(), &draws(0..2, 0)).unwrap());
        let expected: Vec<f64> = rows.iter().flat_map(|row| formula(row)).collect();
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-4 * (1.0 + expected.abs()), "{id}: {found} {expected}");
        }
    };
    let scaled = |row: &[f64], white: f64| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let centred: Vec<f64> = row.iter().map(|value| white * (value - mean)).collect();
        let energy: f64 = centred.iter().map(|value| value * value).sum();
        (centred, energy)
    };
    check("per-image-standardisation", "white = 255", &|row| {
        let (centred, energy) = scaled(row, 255.0);
        let deviation = (energy / 60.0).sqrt().max(60.0_f64.sqrt().recip());
        centred.iter().map(|value| value / deviation).collect()
    });
    for (keys, floor, count) in [
        ("white = 255\nscale = 53.0992\nfloor = 40", 40.0, 59.0),
        ("white = 255\nscale = 53.0992\nfloor = 100", 100.0, 59.0),
        ("white = 255\nscale = 53.0992\ncontrast = \"length\"", 1e-4, 1.0),
    ] {
        check("global-contrast-normalisation", keys, &|row| {
            let (centred, energy) = scaled(row, 255.0);
            let contrast = (energy / count).sqrt().max(floor);
            centred.iter().map(|value| 53.0992 * value / contrast).collect()
        });
    }
    // Images without contrast have a gradient, too.
    for id in ["per-image-standardisation", "global-contrast-normalisation"] {
        let flat = images.zeros_like() + 0.5;
        let gradient = gradient(vec![(example(named(id)), GradientMode::Exact)], flat, &draws(0..2, 0));
        assert!(values(gradient).iter().all(|value| value.is_finite()), "{id}");
    }
}

#[test]
fn whitening_is_a_product_with_the_matrix_of_the_file() {
    let found = values(example(named("zca-whitening")).forward(pattern(1, [1, 8, 8]), &draws([0], 0)).unwrap());
    let pixels = values(pattern(1, [1, 8, 8]));
    for (row, found) in found.iter().enumerate() {
        let products = (0..64).map(|at| f64::from(matrix(row, at)) * f64::from(pixels[at] - mean(at)));
        assert!((f64::from(*found) - products.sum::<f64>()).abs() < 1e-4);
    }
    let wrong = example(named("zca-whitening")).forward(images(1), &draws([0], 0)).unwrap_err();
    assert!(wrong.to_string().contains("for images of 64 values, not for 3x16x16"), "{wrong}");
}

/// With the covariance C of the images, `W C W + ε W²` is the identity; the covariance of what comes out is `W C W`.
#[test]
fn whitening_takes_out_what_the_images_of_a_dataset_have_in_common() {
    let normalised = "white = 255\nscale = 5\nfloor = 40";
    for (keys, front) in [("", None), (normalised, Some("global-contrast-normalisation"))] {
        let (chosen, whitening) =
            built(named("zca-whitening"), &format!("images = {{ use = \"digits\", split = \"train\" }}\n{keys}"))
                .unwrap();
        let dataset = DatasetEntry::open(chosen.component("images"), &Locations { data: data().into() }).unwrap();
        let count = dataset.len();
        let pixels = dataset.read(&(0..).take(count).collect::<Vec<u32>>()).unwrap().pixels;
        let mut images = Tensor::<4>::from_data(TensorData::new(pixels, [count, 1, 8, 8]), &Device::flex());
        if let Some(front) = front {
            images = built(named(front), keys).unwrap().1.forward(images, &Draws::none(count)).unwrap();
        }
        let white = values(whitening.forward(images, &Draws::none(count)).unwrap());
        // What an image of zeros gives, and images of a single pixel.
        let basis: Vec<f32> = (0..65 * 64).map(|at| f64::from(u8::from(at % 64 + 1 == at / 64)) as f32).collect();
        let basis = Tensor::<4>::from_data(TensorData::new(basis, [65, 1, 8, 8]), &Device::flex());
        let columns = values(whitening.forward(basis, &Draws::none(65)).unwrap());
        let matrix = |row: usize, column: usize| f64::from(columns[64 * (column + 1) + row] - columns[row]);
        for a in 0..64 {
            let mean: f64 = white.chunks_exact(64).map(|row| f64::from(row[a])).sum::<f64>() / count as f64;
            assert!(mean.abs() < 1e-3, "{mean}");
            for b in 0..64 {
                let products = white.chunks_exact(64).map(|row| f64::from(row[a]) * f64::from(row[b]));
                let squares: f64 = (0..64).map(|at| matrix(a, at) * matrix(at, b)).sum();
                let found = products.sum::<f64>() / count as f64 + 0.1 * squares;
                assert!((found - f64::from(u8::from(a == b))).abs() < 1e-3, "{keys}: {a} {b} {found}");
            }
        }
    }
    let complaint = |keys: &str, shape| {
        let (values, _) = built(named("zca-whitening"), keys).unwrap();
        (traits(named("zca-whitening")).output)(&values, shape).unwrap_err()
    };
    let digits = "images = { use = \"digits\" }";
    assert!(complaint(digits, [3, 8, 8]).contains("are of 1x8x8"));
    assert!(complaint(&format!("{digits}\nfile = \"zca.safetensors\""), [1, 8, 8]).contains("set one of them"));
}

/// Against the formula in double precision, with the numbers in the order in which they are drawn.
#[test]
fn pixels_become_mixtures_of_colours_or_the_nearest_one() {
    let (channels, pixels, centres, sharpness) = (3, 256, 5, 40.0);
    let noise = 16.0_f32 / 255.0;
    let image = values(images(1));
    let mut random = draws([5], 2).stream(0);
    let mut noisy = || {
        let mut noise_of: Vec<f32> = vec![0.0; channels * pixels];
        fill_gaussian(&mut random, &mut noise_of);
        image.iter().zip(noise_of).map(|(pixel, value)| f64::from(pixel + noise * value)).collect::<Vec<f64>>()
    };
    let (first, second) = (noisy(), noisy());
    let colours: Vec<usize> = (0..centres).map(|_| random.random_range(0..pixels)).collect();
    let distance = |pixel: usize, colour: usize| {
        let squares = (0..channels).map(|c| (second[c * pixels + pixel] - first[c * pixels + colour]).powi(2));
        squares.sum::<f64>()
    };
    let mixed = values(example(named("rand-mix")).forward(images(1), &draws([5], 2)).unwrap());
    let nearest = values(example(named("rand-disc")).forward(images(1), &draws([5], 2)).unwrap());
    for at in 0..channels * pixels {
        let (channel, pixel) = (at / pixels, at % pixels);
        let weights: Vec<f64> = colours.iter().map(|colour| (-sharpness * distance(pixel, *colour)).exp()).collect();
        let colour = |colour: usize| first[channel * pixels + colour];
        let total: f64 = weights.iter().sum();
        let mixture = colours.iter().zip(&weights).map(|(at, weight)| colour(*at) * weight).sum::<f64>() / total;
        assert!((f64::from(mixed[at]) - mixture).abs() < 1e-4, "{} {mixture}", mixed[at]);
        let closest = colours.iter().min_by(|a, b| distance(pixel, **a).total_cmp(&distance(pixel, **b))).unwrap();
        assert!((f64::from(nearest[at]) - colour(*closest)).abs() < 1e-5);
    }
}

/// Half of an image is black and half of it white: of two centres drawn with k-means++, one is of each.
#[test]
fn distant_centres_are_drawn_by_their_distance() {
    let halves: Vec<f32> = (0..64).map(|at| if at < 32 { 0.0 } else { 1.0 }).collect();
    let halves = Tensor::<4>::from_data(TensorData::new(halves, [1, 1, 8, 8]), &Device::flex());
    let colours = |seeding: &str| {
        let keys = format!("noise = 0\ncentres = 2\nseeding = \"{seeding}\"");
        let (_, defense) = built(named("rand-disc"), &keys).unwrap();
        let seen = (0..40).map(|pass| values(defense.forward(halves.clone(), &draws([0], pass)).unwrap()));
        seen.filter(|pixels| *pixels == values(halves.clone())).count()
    };
    assert_eq!(colours("k-means++"), 40);
    let uniform = colours("uniform");
    assert!((8..33).contains(&uniform), "{uniform}");
}

#[test]
fn a_stack_is_applied_outermost_first() {
    let [first, second] = ["bit-depth", "jpeg"].map(|id| example(named(id)));
    let none = Draws::none(1);
    let by_hand = Sums.logits(second.forward(first.forward(images(1), &none).unwrap(), &none).unwrap(), &none).unwrap();
    let stack = [first, second].map(|defense| (defense, GradientMode::Identity)).to_vec();
    assert_eq!(values(DefendedModel::new(Arc::new(Sums), stack).logits(images(1), &none).unwrap()), values(by_hand));
}

#[test]
fn gradients_go_back_through_changes_of_shape() {
    let stack = || {
        let of = |id, mode| (example(named(id)), mode);
        vec![
            of("random-resize-pad", GradientMode::Exact),
            of("total-variation", GradientMode::Identity),
            of("thermometer", GradientMode::Smooth),
            of("per-image-standardisation", GradientMode::Exact),
        ]
    };
    let once = values(gradient(stack(), images(3), &draws(4..7, 0)));
    assert_eq!(once.len(), 3 * 3 * 16 * 16);
    assert!(once.iter().any(|value| *value != 0.0));
    let alone = values(gradient(stack(), images(3).narrow(0, 2, 1), &draws([6], 0)));
    assert_eq!(once[2 * alone.len()..], alone);
}

/// A smooth defense that leaves its gradient to autodiff.
struct Squares;

impl Defense for Squares {
    fn forward(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<4>, Stop> {
        Ok(images.clone() * images)
    }
}

#[test]
fn gradients_are_chained_segment_by_segment() {
    // The second logit behind two squares is the sum of x^8.
    let stack = |mode| -> Vec<(Arc<dyn Defense>, GradientMode)> {
        vec![(Arc::new(Squares), GradientMode::Exact), (Arc::new(Squares), mode)]
    };
    let found = |mode| values(gradient(stack(mode), images(1), &Draws::none(1)));
    for (found, pixel) in found(GradientMode::Exact).iter().zip(values(images(1))) {
        assert!((found - 8.0 * pixel.powi(7)).abs() < 1e-4, "{found} at {pixel}");
    }
    // With the inner square passed over, its output still is where the model's gradient is taken.
    for (found, pixel) in found(GradientMode::Identity).iter().zip(values(images(1))) {
        assert!((found - 4.0 * pixel.powi(5)).abs() < 1e-4, "{found} at {pixel}");
    }
}
