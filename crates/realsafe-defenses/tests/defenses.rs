//! Every defense: registered, explained, row by row, and seen by attackers as its spec says.

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{DefendedModel, Defense, DefenseEntry, Draws, Locations, Model, Stop, inventory};
use realsafe_plan::{Catalogue, Environment, GradientMode, check_component, parse_component};

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

fn images(rows: usize) -> Tensor<4> {
    let pixels: Vec<f32> = (0..rows * 3 * 16 * 16).map(|at| ((at * 37 % 101) as f32) / 100.0).collect();
    Tensor::from_data(TensorData::new(pixels, [rows, 3, 16, 16]), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

/// A defense as its example has it.
fn example(entry: &'static DefenseEntry) -> Arc<dyn Defense> {
    let environment =
        Environment { data: ".".into(), data_origin: String::new(), builtin: &|_| None, read_files: false };
    let chosen = parse_component(&entry.component, entry.component.example, &Catalogue::default(), &environment)
        .expect("a valid example");
    Arc::from((entry.build)(&chosen.values, &Locations { data: ".".into() }).expect("a defense"))
}

/// The gradient of the second logit, through a stack.
fn gradient(stack: Vec<(Arc<dyn Defense>, GradientMode)>, images: Tensor<4>) -> Vec<f32> {
    let model = DefendedModel::new(Arc::new(Sums), stack);
    let none = Draws::none(images.dims()[0]);
    let tape = model.forward(images, &none).unwrap();
    let rows = tape.logits.dims()[0];
    let cotangents = TensorData::new([0.0_f32, 1.0].repeat(rows), [rows, 2]);
    values(tape.pull(Tensor::from_data(cotangents, &Device::flex())).unwrap())
}

#[test]
fn every_file_is_a_defense_and_every_defense_is_sound() {
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().map(|entry| entry.unwrap().path());
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

#[test]
fn rows_do_not_matter_to_each_other_and_images_stay_in_the_box() {
    for entry in inventory::iter::<DefenseEntry>() {
        let defense = example(entry);
        let together = values(defense.forward(images(3), &Draws::none(3)).unwrap());
        let alone = values(defense.forward(images(3).narrow(0, 1, 1), &Draws::none(1)).unwrap());
        assert_eq!(together[alone.len()..2 * alone.len()], alone, "{}", entry.component.id);
        assert!(together.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        assert!(together != values(images(3)), "{} does nothing", entry.component.id);
    }
}

#[test]
fn identity_gives_the_gradient_at_what_the_model_sees() {
    for entry in inventory::iter::<DefenseEntry>() {
        let defense = example(entry);
        let seen = values(defense.forward(images(2), &Draws::none(2)).unwrap());
        let doubled: Vec<f32> = seen.iter().map(|pixel| 2.0 * pixel).collect();
        assert_eq!(gradient(vec![(defense, GradientMode::Identity)], images(2)), doubled, "{}", entry.component.id);
    }
}

#[test]
fn step_functions_and_blocked_gradients_give_nothing() {
    for entry in inventory::iter::<DefenseEntry>() {
        for mode in [GradientMode::Exact, GradientMode::Blocked] {
            let gradient = gradient(vec![(example(entry), mode)], images(2));
            assert!(gradient.iter().all(|value| *value == 0.0), "{} {mode:?}", entry.component.id);
        }
    }
}

#[test]
fn a_stack_is_applied_outermost_first() {
    let [first, second] = ["bit-depth", "jpeg"]
        .map(|id| example(inventory::iter::<DefenseEntry>().find(|entry| entry.component.id == id).unwrap()));
    let none = Draws::none(1);
    let by_hand = Sums.logits(second.forward(first.forward(images(1), &none).unwrap(), &none).unwrap(), &none).unwrap();
    let stack = [first, second].map(|defense| (defense, GradientMode::Identity)).to_vec();
    assert_eq!(values(DefendedModel::new(Arc::new(Sums), stack).logits(images(1), &none).unwrap()), values(by_hand));
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
    for (found, pixel) in gradient(stack(GradientMode::Exact), images(1)).iter().zip(values(images(1))) {
        assert!((found - 8.0 * pixel.powi(7)).abs() < 1e-4, "{found} at {pixel}");
    }
    // With the inner square passed over, its output still is where the model's gradient is taken.
    for (found, pixel) in gradient(stack(GradientMode::Identity), images(1)).iter().zip(values(images(1))) {
        assert!((found - 4.0 * pixel.powi(5)).abs() < 1e-4, "{found} at {pixel}");
    }
}
