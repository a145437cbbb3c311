//! The projection onto what a generator makes, with the built-in generator of digits.

extern crate realsafe_data as _;
extern crate realsafe_defenses as _;
extern crate realsafe_onnx as _;

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{
    DatasetEntry, DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Registry, Stop, inventory,
};
use realsafe_plan::{Environment, GradientMode, parse_component};

const PARAMETERS: &str = "generator = \"builtin:digits-generator\"\nsteps = 100\nrestarts = 4";

fn environment() -> Environment<'static> {
    Environment {
        data: ".".into(),
        data_origin: "the test".to_owned(),
        builtin: &|name| realsafe_models::builtin_weights(name).map(<[u8]>::to_vec),
        read_files: true,
    }
}

fn build(parameters: &str) -> Result<Box<dyn Defense>, String> {
    let entry = inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == "defense-gan").unwrap();
    let catalogue = Registry::linked().catalogue().unwrap();
    let chosen = parse_component(&entry.component, parameters, &catalogue, &environment());
    let chosen = chosen.map_err(|problems| problems.render(false))?;
    (entry.build)(&chosen.values, &Locations { data: ".".into() })
}

/// The first digits of the test split.
fn digits(count: u32) -> Tensor<4> {
    let entry = inventory::iter::<DatasetEntry>().find(|entry| entry.component.id == "digits").unwrap();
    let chosen = parse_component(&entry.component, "", &Registry::linked().catalogue().unwrap(), &environment());
    let dataset = (entry.build)(&chosen.unwrap().values, &Locations { data: ".".into() }).unwrap();
    let samples = dataset.read(&(0..count).collect::<Vec<_>>()).unwrap();
    Tensor::from_data(TensorData::new(samples.pixels, [count as usize, 1, 8, 8]), &Device::flex())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn mean_squares(difference: Tensor<4>) -> Vec<f32> {
    floats(difference.square().flatten::<2>(1, 3).mean_dim(1))
}

#[test]
fn it_finds_images_of_the_generator_that_no_code_beside_improves() {
    let (defense, images) = (build(PARAMETERS).unwrap(), digits(6));
    let generator = defense.parametrisation().unwrap();
    let codes = generator.codes(images.clone()).unwrap();
    let projected = defense.forward(images.clone(), &Draws::none(6)).unwrap();
    assert_eq!(floats(generator.images(codes.clone()).unwrap()), floats(projected.clone()));
    assert!(floats(projected.clone()).iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    let reached = mean_squares(projected - images.clone());
    // Grey images are about 0.1 away.
    assert!(reached.iter().all(|difference| *difference < 0.03), "{reached:?}");
    for direction in 0..16 {
        for size in [-0.1, 0.1] {
            let aside = Tensor::<1>::from_floats([size], &Device::flex()).reshape([1, 1, 1, 1]).expand([6, 1, 1, 1]);
            let moved = codes
                .clone()
                .slice_assign([0..6, direction..direction + 1], codes.clone().narrow(1, direction, 1) + aside);
            let beside = mean_squares(generator.images(moved).unwrap() - images.clone());
            let better = reached.iter().zip(&beside).any(|(reached, beside)| *beside < 0.97 * reached);
            assert!(!better, "{direction} {size}: {reached:?} {beside:?}");
        }
    }
}

/// What reparameterisation rests on.
#[test]
fn it_nearly_leaves_what_the_generator_makes_as_it_is() {
    let defense = build(PARAMETERS).unwrap();
    let generator = defense.parametrisation().unwrap();
    let made = generator.images(generator.codes(digits(6)).unwrap()).unwrap();
    let again = mean_squares(defense.forward(made.clone(), &Draws::none(6)).unwrap() - made.clone());
    let moved = mean_squares(made - digits(6));
    assert!(again.iter().zip(&moved).all(|(again, moved)| *again < 0.1 * moved), "{again:?} {moved:?}");
}

#[test]
fn an_image_is_projected_alike_whatever_is_beside_it() {
    let (defense, images) = (build(PARAMETERS).unwrap(), digits(3));
    let together = floats(defense.forward(images.clone(), &Draws::none(3)).unwrap());
    for row in 0..3 {
        let alone = floats(defense.forward(images.clone().narrow(0, row, 1), &Draws::none(1)).unwrap());
        assert_eq!(together[row * 64..(row + 1) * 64], alone, "{row}");
    }
}

#[test]
fn the_way_from_images_to_codes_is_the_derivative() {
    let defense = build(PARAMETERS).unwrap();
    let generator = defense.parametrisation().unwrap();
    let codes = generator.codes(digits(1)).unwrap();
    let cotangent = digits(2).narrow(0, 1, 1);
    let gradient = floats(generator.pull(codes.clone(), cotangent.clone()).unwrap());
    let value = |codes: Tensor<4>| -> f64 {
        let pixels = floats(generator.images(codes).unwrap());
        pixels.iter().zip(floats(cotangent.clone())).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
    };
    let largest = gradient.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
    for (place, slope) in gradient.iter().enumerate() {
        let moved = |by: f32| {
            let mut moved = floats(codes.clone());
            moved[place] += by;
            value(Tensor::from_data(TensorData::new(moved, [1, 16, 1, 1]), &Device::flex()))
        };
        let difference = (moved(2e-4) - moved(-2e-4)) / 4e-4;
        assert!((difference - f64::from(*slope)).abs() < 0.02 * f64::from(largest), "{place}: {difference} {slope}");
    }
}

/// What a network sees, and the gradient that it gives: of logits that are the pixels themselves, in two classes.
struct Halves;

impl Model for Halves {
    fn logits(&self, images: Tensor<4>, _: &Draws) -> Result<Tensor<2>, Stop> {
        let flat: Tensor<2> = images.flatten(1, 3);
        Ok(Tensor::cat(vec![flat.clone().narrow(1, 0, 32).square().sum_dim(1), flat.narrow(1, 32, 32).sum_dim(1)], 1))
    }
}

#[test]
fn attackers_get_the_gradient_at_the_projection_and_through_what_follows() {
    let projection: Arc<dyn Defense> = Arc::from(build(PARAMETERS).unwrap());
    let entry = inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == "bit-depth").unwrap();
    let chosen =
        parse_component(&entry.component, "levels = 4", &Registry::linked().catalogue().unwrap(), &environment());
    let rounding = (entry.build)(&chosen.unwrap().values, &Locations { data: ".".into() }).unwrap();
    let rounding: Arc<dyn Defense> = Arc::from(rounding);
    let none = Draws::none(3);
    let projected = projection.forward(digits(3), &none).unwrap();
    let rounded = rounding.forward(projected.clone(), &none).unwrap();
    let first = (projection, GradientMode::Identity);
    let stacks = [vec![first.clone()], vec![first, (rounding, GradientMode::Identity)]];
    for (stack, seen) in stacks.into_iter().zip([projected, rounded]) {
        let tape = DefendedModel::new(Arc::new(Halves), stack.clone()).forward(digits(3), &none).unwrap();
        assert_eq!(floats(tape.logits.clone()), floats(Halves.logits(seen.clone(), &none).unwrap()));
        let found = floats(tape.pull(Tensor::ones([3, 2], &Device::flex())).unwrap());
        let expected = floats(seen);
        let slopes = expected.iter().enumerate().map(|(at, pixel)| if at % 64 < 32 { 2.0 * pixel } else { 1.0 });
        assert_eq!(found, slopes.collect::<Vec<f32>>());
        let hidden = stack.into_iter().map(|(defense, _)| (defense, GradientMode::Blocked)).collect();
        let tape = DefendedModel::new(Arc::new(Halves), hidden).forward(digits(3), &none).unwrap();
        let nothing = tape.pull(Tensor::ones([3, 2], &Device::flex())).unwrap();
        assert_eq!(floats(nothing), vec![0.0; 192]);
    }
}

#[test]
fn generators_that_do_not_fit_are_refused() {
    let entry = inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == "defense-gan").unwrap();
    let traits = entry.component.defense().unwrap();
    let catalogue = Registry::linked().catalogue().unwrap();
    let values = |name: &str| {
        let table = format!("generator = \"builtin:{name}\"");
        parse_component(&entry.component, &table, &catalogue, &environment()).unwrap().values
    };
    let output = |name: &str, shape: [usize; 3]| (traits.output)(&values(name), shape);
    assert_eq!(output("digits-generator", [1, 8, 8]), Ok([1, 8, 8]));
    let wrong_size = output("digits-generator", [3, 32, 32]).unwrap_err();
    assert!(wrong_size.contains("images of [1, 8, 8]"), "{wrong_size}");
    let classifier = output("digits-standard-onnx", [1, 8, 8]).unwrap_err();
    assert!(classifier.contains("is not `[n, length]`"), "{classifier}");
    let weights = output("digits-standard", [1, 8, 8]).unwrap_err();
    assert!(weights.contains("ONNX"), "{weights}");
}
