//! What attackers see of every defense.

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{DefendedModel, DefenseEntry, Draws, Model, Stop, inventory};
use realsafe_plan::GradientMode;

use super::{
    Sums, Waves, built, cotangents, draws, example, gradient, images, is_around, named, on_images, pattern, pulled,
    shape, traits, values, victims,
};

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
fn step_functions_and_blocked_gradients_give_nothing_and_all_others_something() {
    for entry in inventory::iter::<DefenseEntry>() {
        for mode in traits(entry).gradients {
            let nothing = match mode {
                GradientMode::Blocked => true,
                GradientMode::Exact => STEPS.contains(&entry.component.id),
                GradientMode::Smooth | GradientMode::Identity => false,
            };
            for (place, victim) in victims(entry, *mode).into_iter().enumerate() {
                let images = pattern(2, shape(entry));
                let count = values(images.clone()).len();
                let gradient = pulled(&victim, images, &draws(0..2, 0));
                assert_eq!(gradient.len(), count);
                let zero = gradient.iter().all(|value| *value == 0.0);
                assert_eq!(zero, nothing, "{} {mode:?} {place}", entry.component.id);
            }
        }
    }
}

/// The network, and a defense that stands around it, see rounded images whose gradient is passed over: where rounding is fine, that
/// changes little.
#[test]
fn gradients_of_what_stands_around_come_through_the_defenses_behind() {
    for entry in inventory::iter::<DefenseEntry>().filter(|entry| is_around(entry)) {
        for mode in traits(entry).gradients {
            let rounding = built(named("bit-depth"), "levels = 256").unwrap().1;
            // Little noise: rounding would cut off what leaves the box.
            let keys =
                if entry.component.id == "gaussian-smoothing" { "sigma = 0.05" } else { entry.component.example };
            let alone = vec![(built(entry, keys).unwrap().1, *mode)];
            let longer = alone.iter().cloned().chain([(rounding, GradientMode::Identity)]).collect();
            let images = pattern(2, shape(entry)) * 0.1 + 0.45;
            let [bare, rounded] = [alone, longer]
                .map(|stack| pulled(&DefendedModel::new(Arc::new(Waves), stack), images.clone(), &draws(0..2, 1)));
            let largest = bare.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
            let apart = bare.iter().zip(&rounded).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(apart <= 0.1 * largest, "{} {mode:?}: {apart} of {largest}", entry.component.id);
        }
    }
}

/// A sine wave of the shape of a tensor.
fn wave(like: &Tensor<4>, step: f64) -> Tensor<4> {
    let dims = like.dims();
    let values = (0..dims.iter().product()).map(|at: usize| ((at as f64 * step).sin()) as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

/// How fast the product of a function with fixed cotangents grows along a direction: by its vector-Jacobian product, and
/// by finite differences.
fn slopes(
    images: &Tensor<4>,
    step: f64,
    function: &dyn Fn(Tensor<4>) -> Tensor<4>,
    pull: &dyn Fn(Tensor<4>, Tensor<4>) -> Tensor<4>,
) -> [f64; 2] {
    let (direction, cotangents) = (wave(images, 0.7), wave(&function(images.clone()), 1.3));
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
    smooth.sort_unstable();
    assert_eq!(smooth, ["rand-disc", "thermometer"]);
}

#[test]
fn exact_gradients_of_the_whole_are_those_of_finite_differences() {
    for entry in inventory::iter::<DefenseEntry>() {
        let id = entry.component.id;
        // Of what rejects, the exact gradient is that of rounding and selecting.
        let smooth = !STEPS.contains(&id) && !traits(entry).rejects;
        if traits(entry).gradients.contains(&GradientMode::Exact) && smooth {
            let [victim, _] = victims(entry, GradientMode::Exact);
            let images = pattern(2, shape(entry)) * 0.9 + 0.0473;
            let direction = wave(&images, 0.7);
            let step = if id.starts_with("rand-") { 2e-4 } else { 2e-3 };
            let agrees = |pass| {
                let draws = draws(0..2, pass);
                let product = |images: Tensor<4>| {
                    let logits = victim.logits(images, &draws).unwrap();
                    let cotangents = cotangents(logits.dims());
                    f64::from((logits * cotangents).sum().into_scalar::<f32>())
                };
                let [ahead, behind] = [step, -step].map(|step| product(images.clone() + direction.clone() * step));
                let measured = (ahead - behind) / (2.0 * step);
                let gradient = pulled(&victim, images.clone(), &draws);
                let products = || gradient.iter().zip(values(direction.clone())).map(|(a, b)| f64::from(a * b));
                let scale = products().map(f64::abs).sum::<f64>();
                (products().sum::<f64>() - measured).abs() < 1e-3 * scale
            };
            // In some passes another colour becomes the nearest one within the step.
            let agreeing = (0..8).filter(|pass| agrees(*pass)).count();
            assert!(agreeing >= if id == "rand-disc" { 2 } else { 8 }, "{id}: {agreeing} of 8 passes agree");
        }
    }
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
