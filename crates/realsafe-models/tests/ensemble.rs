//! Ensembles answer with the means of their members, and their gradients are exact.

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::random::Purpose;
use realsafe_core::{Draws, Locations, Model, Registry};
use realsafe_models::builtin_weights;
use realsafe_plan::{Environment, parse_component};

fn environment() -> Environment<'static> {
    Environment {
        data: ".".into(),
        data_origin: "the test".to_owned(),
        builtin: &|name| builtin_weights(name).map(<[u8]>::to_vec),
        read_files: false,
    }
}

fn model(id: &str, table: &str) -> Result<Box<dyn Model>, String> {
    let registry = Registry::linked();
    let catalogue = registry.catalogue()?;
    let component = catalogue.get(realsafe_plan::Kind::Model, id).ok_or("it is not linked")?;
    let chosen = parse_component(component, table, &catalogue, &environment()).map_err(|told| told.render(false))?;
    let traits = component.model().ok_or("it is no model")?;
    (traits.input)(&chosen.values)?;
    (traits.classes)(&chosen.values)?;
    registry.model(&chosen, &Locations { data: ".".into() }, &Device::default())
}

const STANDARD: &str = "weights = \"builtin:digits-standard\"";
const SURROGATE: &str = "weights = \"builtin:digits-surrogate\"";

fn ensemble(combine: &str) -> Box<dyn Model> {
    let member = |weights: &str| format!("{{ use = \"digits-cnn\", {weights} }}");
    let (one, other) = (member(STANDARD), member(SURROGATE));
    model("ensemble", &format!("members = [{one}, {other}]\ncombine = \"{combine}\"")).unwrap()
}

/// A member that draws numbers, and one that does not.
fn half_random() -> String {
    let random = "{ use = \"digits-cnn\", weights = \"builtin:digits-random-self-ensemble\", image-noise = 0.2 }";
    format!("members = [{random}, {{ use = \"digits-cnn\", {STANDARD} }}]")
}

fn images() -> Tensor<4> {
    let pixels: Vec<f32> = (0..128_u16).map(|place| f32::from(place * 37 % 101) / 101.0).collect();
    Tensor::from_data(TensorData::new(pixels, [2, 1, 8, 8]), &Device::default())
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[test]
fn members_are_averaged() {
    let draws = Draws::none(2);
    let ask = |model: &dyn Model| numbers(model.logits(images(), &draws).unwrap());
    let parts = [STANDARD, SURROGATE].map(|table| ask(&*model("digits-cnn", table).unwrap()));
    let softmax = |logits: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| {
            let total: f64 = row.iter().map(|logit| logit.exp()).sum();
            row.iter().map(|logit| logit.exp() / total).collect::<Vec<_>>()
        };
        logits.chunks(10).flat_map(row).collect()
    };
    let mean = |parts: [Vec<f64>; 2]| -> Vec<f64> {
        parts[0].iter().zip(&parts[1]).map(|(one, other)| f64::midpoint(*one, *other)).collect()
    };
    let close = |found: Vec<f64>, expected: Vec<f64>| {
        for (found, expected) in found.into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    };
    close(ask(&*ensemble("logits")), mean(parts.clone()));
    let probabilities = mean(parts.map(|part| softmax(&part)));
    close(ask(&*ensemble("probabilities")), probabilities.into_iter().map(f64::ln).collect());
}

#[test]
fn gradients_through_members_are_those_of_autodiff() {
    let draws = Draws::none(2);
    let cotangents: Vec<f32> = (0..20_u8).map(|place| f32::from(place % 7) - 2.5).collect();
    let cotangents = Tensor::<2>::from_data(TensorData::new(cotangents, [2, 10]), &Device::default());
    for combine in ["logits", "probabilities"] {
        let ensemble = ensemble(combine);
        let found = numbers(ensemble.forward(images(), &draws).unwrap().pull(cotangents.clone()).unwrap());
        let leaf = images().autodiff().require_grad();
        let logits = ensemble.logits(leaf.clone(), &draws).unwrap();
        let gradients = (logits * cotangents.clone().autodiff()).sum().backward();
        let expected = numbers(leaf.grad(&gradients).unwrap());
        let scale = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        assert!(scale > 1e-3);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-4 * scale, "{combine}: {found} {expected}");
        }
    }
}

#[test]
fn a_random_member_draws_its_own_numbers_in_every_pass() {
    let ensemble = model("ensemble", &half_random()).unwrap();
    let random = "weights = \"builtin:digits-random-self-ensemble\"\nimage-noise = 0.2";
    let members = [random, STANDARD].map(|table| model("digits-cnn", table).unwrap());
    let draws = |pass| Draws::new(3, Purpose::Defense, [(7, pass), (8, pass)]);
    let ask = |model: &dyn Model, draws: &Draws| numbers(model.logits(images(), draws).unwrap());
    let answers = ask(&*ensemble, &draws(0));
    assert_eq!(answers, ask(&*ensemble, &draws(0)));
    assert_ne!(answers, ask(&*ensemble, &draws(1)));
    let ones = || Tensor::<2>::ones([2, 10], &Device::default());
    let mean = |of: &dyn Fn(&dyn Model, &Draws) -> Vec<f64>| -> Vec<f64> {
        let [one, other] = [0, 1].map(|place| of(&*members[place], &draws(0).of_part(place as u64)));
        one.iter().zip(other).map(|(one, other)| f64::midpoint(*one, other)).collect()
    };
    let pulled =
        |model: &dyn Model, draws: &Draws| numbers(model.forward(images(), draws).unwrap().pull(ones()).unwrap());
    for (found, expected) in [(answers, mean(&ask)), (pulled(&*ensemble, &draws(0)), mean(&pulled))] {
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
    }
}

#[test]
fn an_ensemble_is_random_where_a_member_is() {
    let catalogue = Registry::linked().catalogue().unwrap();
    let component = catalogue.get(realsafe_plan::Kind::Model, "ensemble").unwrap();
    let plain = format!("members = [{{ use = \"digits-cnn\", {STANDARD} }}, {{ use = \"digits-cnn\", {SURROGATE} }}]");
    for (table, random) in [(half_random(), true), (plain, false)] {
        let chosen = parse_component(component, &table, &catalogue, &environment()).unwrap();
        assert_eq!((component.model().unwrap().randomised)(&chosen.values), random, "{table}");
    }
}

#[test]
fn members_that_do_not_fit_are_told() {
    let table =
        format!("members = [{{ use = \"digits-cnn\", {STANDARD} }}, {{ use = \"lenet\", weights = \"none\" }}]");
    let told = model("ensemble", &table).err().unwrap();
    assert!(told.contains("differ in the shape of images"), "{told}");
}
