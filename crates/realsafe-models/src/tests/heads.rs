//! Max-Mahalanobis heads: where their centres lie, what their logits are, and that weights files fit them.

use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, TrainableEntry};

use super::{assert_close, entry, floats, logits, noise, optimizer, untrained, values};
use crate::head::{self, Head, centres};

const TABLE: &str = "head = \"max-mahalanobis\"\nfeature-dimension = 12\ncentre-norm = 4";

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The smallest and the largest inner product of different centres.
fn range(centres: &[Vec<f64>]) -> (f64, f64) {
    let pairs = || centres.iter().enumerate().flat_map(|(i, a)| centres[..i].iter().map(move |b| product(a, b)));
    (pairs().fold(f64::INFINITY, f64::min), pairs().fold(f64::NEG_INFINITY, f64::max))
}

#[test]
fn few_centres_are_the_corners_of_a_regular_simplex() {
    for (classes, dimension) in [(2, 2), (3, 2), (10, 9), (10, 10), (10, 256), (100, 256)] {
        let centres = centres(classes, dimension);
        assert_eq!(centres.len(), classes);
        for centre in &centres {
            assert_eq!(centre.len(), dimension);
            assert!((product(centre, centre) - 1.0).abs() < 1e-12);
        }
        let cosine = -1.0 / (classes - 1) as f64;
        let (least, most) = range(&centres);
        assert!(
            (least - cosine).abs() < 1e-12 && (most - cosine).abs() < 1e-12,
            "{classes} {dimension}: {least} {most}"
        );
    }
}

/// Against the arrangements that are known to be best: polygons, cross-polytopes, the icosahedron.
#[test]
fn many_centres_are_spread_as_well_as_is_known() {
    let angle = |parts: f64| (std::f64::consts::TAU / parts).cos();
    for (classes, dimension, best) in [
        (4, 2, 0.0),
        (10, 2, angle(10.0)),
        (6, 3, 0.0),
        (12, 3, 0.2_f64.sqrt()),
        (8, 4, 0.0),
        (10, 5, 0.0),
        (10, 8, 0.0),
    ] {
        let centres = centres(classes, dimension);
        assert!(centres.iter().all(|centre| (product(centre, centre) - 1.0).abs() < 1e-12));
        let (_, most) = range(&centres);
        assert!(most < best + 2e-3 && most > best - 1e-9, "{classes} {dimension}: {most} instead of {best}");
    }
}

#[test]
fn logits_are_minus_the_squared_distances_to_the_centres() {
    let head = Head::of(&values("digits-cnn", TABLE), 10);
    assert_eq!(head.width(10), 12);
    let features: Vec<f64> = (0..36).map(|index| f64::from(index * 7 % 11) - 5.0).collect();
    let expected: Vec<f32> = features
        .chunks_exact(12)
        .flat_map(|row| {
            centres(10, 12).into_iter().map(move |centre| {
                let distances = row.iter().zip(centre).map(|(value, centre)| (value - 4.0 * centre).powi(2));
                -distances.sum::<f64>() as f32
            })
        })
        .collect();
    let data = Tensor::<2>::from_data(TensorData::new(features, [3, 12]), &Device::flex());
    assert_close(&floats(head.logits(data)), &expected, 1e-6);
}

/// That the last logit depends on the features that the network tells is checked by going the rest of the way.
#[test]
fn features_are_those_of_the_last_linear_layer() {
    for (id, table, width) in [
        ("digits-cnn", "", 64),
        ("digits-cnn", TABLE, 64),
        ("lenet", TABLE, 200),
        ("cifar-resnet", "depth = \"20\"\nhead = \"max-mahalanobis\"", 64),
        ("cifar-resnet-v2", "depth = \"11\"", 256),
        ("cifar-resnet-v2", "depth = \"11\"\nhead = \"max-mahalanobis\"", 256),
    ] {
        let network = untrained(id, table);
        assert!(network.tells_features(), "{id}");
        let images = noise(id, table, 8);
        let [features, logits] = network.features_and_logits(images.clone().autodiff()).expect("it tells them");
        assert_eq!(features.dims(), [8, width], "{id}");
        let expected = network.forward(images.autodiff());
        assert_eq!(floats(logits.inner()), floats(expected.inner()), "{id}");
        assert_eq!(network.has_centres(), table.contains("max-mahalanobis"), "{id}");
    }
    assert!(untrained("squeezenet", "size = 64").features_and_logits(noise("squeezenet", "size = 64", 1)).is_none());
}

#[test]
fn weights_of_a_head_are_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let network = untrained("digits-cnn", TABLE);
    network.save(&file).unwrap();
    let images = noise("digits-cnn", TABLE, 8);
    let table = format!("{TABLE}\nweights = \"{}\"", file.display());
    let locations = realsafe_core::Locations { data: ".".into() };
    let loaded = (entry("digits-cnn").build)(&values("digits-cnn", &table), &locations, &Device::flex()).unwrap();
    let found = loaded.logits(images.clone(), &Draws::none(8)).unwrap();
    assert_eq!(floats(found), logits(&*network.snapshot(), images));
    // A network with another head has another last layer.
    let build = TrainableEntry::find("digits-cnn").unwrap().build;
    let error = build(&values("digits-cnn", ""), optimizer(), 0, &Device::flex()).unwrap().load(&file).unwrap_err();
    assert!(error.contains("key `linear2.weight` has shape [12, 64], but the network needs [10, 64]"), "{error}");
}

#[test]
fn parameters_of_a_head_that_is_not_there_are_refused() {
    for table in ["feature-dimension = 12", "head = \"linear\"\ncentre-norm = 4"] {
        let values = values("digits-cnn", table);
        let error = head::check(&values, 10).unwrap_err();
        assert!(error.contains("belongs to `head = \"max-mahalanobis\"`"), "{error}");
        assert!((entry("digits-cnn").component.model().unwrap().input)(&values).is_err());
    }
}

#[test]
fn centres_that_would_take_long_to_spread_are_refused_with_a_way_out() {
    let check = |dimension: &str, classes: usize| {
        let table = format!("depth = \"20\"\nclasses = {classes}\nhead = \"max-mahalanobis\"\n{dimension}");
        (entry("cifar-resnet").component.model().unwrap().input)(&values("cifar-resnet", &table))
    };
    let error = check("", 1000).unwrap_err();
    assert!(
        error.contains("1000 centres in 256 dimensions") && error.contains("`feature-dimension` to 999"),
        "{error}"
    );
    assert_eq!(check("feature-dimension = 999", 1000), Ok([3, 32, 32]));
    assert_eq!(check("", 100), Ok([3, 32, 32]));
    assert_eq!(check("feature-dimension = 50", 1000), Ok([3, 32, 32]));
}
