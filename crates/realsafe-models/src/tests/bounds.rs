//! Interval bounds against what networks give.

use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor, TensorData};
use realsafe_core::{Draws, ProofOptions};
use realsafe_plan::Norm;

use super::{NETWORKS, assert_close, floats, logits, noise, untrained};
use crate::bounds::{Layer, interval_margins};
use crate::dual::dual_margins;

const BOUNDED: [&str; 4] = ["convolution-stack", "digits-cnn", "lenet", "small-cnn"];
const LABELS: [u32; 8] = [0, 1, 2, 3, 4, 9, 6, 7];

/// The differences between the label's logit and every logit, row after row.
fn margins(logits: &[f32]) -> Vec<f32> {
    let rows = logits.chunks_exact(10).zip(LABELS);
    rows.flat_map(|(row, label)| row.iter().map(move |logit| row[label as usize] - logit)).collect()
}

#[test]
fn bounds_are_exact_at_a_point_and_hold_in_the_cube_around_it() {
    for id in BOUNDED {
        let network = untrained(id, "");
        let model = network.snapshot();
        let images = noise(id, "", 8);
        let bounds = |eps| floats(network.interval_margins(images.clone().autodiff(), &LABELS, eps).unwrap().inner());
        assert_close(&bounds(0.0), &margins(&logits(&*model, images.clone())), 1e-5);
        let least = bounds(0.03);
        let dims = images.dims();
        for draw in 0..20_usize {
            // Corners of the cube, where linear functions are smallest.
            let signs = (0..dims.iter().product()).map(|pixel: usize| {
                if (pixel * 2_654_435_761 + draw * 40_503 * pixel) >> 7 & 1 == 0 { 0.03 } else { -0.03_f32 }
            });
            let shift = Tensor::<4>::from_data(TensorData::new(signs.collect::<Vec<f32>>(), dims), &Device::flex());
            let found = margins(&logits(&*model, (images.clone() + shift).clamp(0.0, 1.0)));
            for (found, least) in found.into_iter().zip(&least) {
                assert!(found >= least - 1e-5, "{id}: {found} is below {least}");
            }
        }
    }
}

#[test]
fn only_sequences_of_known_layers_are_certified() {
    for (id, table) in NETWORKS {
        let model = untrained(id, table).snapshot();
        let bounded = BOUNDED.contains(&id) && table.is_empty();
        assert_eq!(model.certifier(Norm::Linf).is_some(), bounded, "{id} {table}");
        assert!(model.certifier(Norm::L2).is_none(), "{id}");
    }
}

#[test]
fn certified_radii_are_the_largest_with_margins_above_zero() {
    let network = untrained("digits-cnn", "");
    let model = network.snapshot();
    let images = noise("digits-cnn", "", 8);
    let predicted: Vec<u32> = logits(&*model, images.clone())
        .chunks_exact(10)
        .map(|row| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32)
        .collect();
    let options = ProofOptions { selection: 0, samples: 0, alpha: 0.0, duality: false, go_on: &|| Ok(()) };
    let certifier = model.certifier(Norm::Linf).unwrap();
    let radii = |labels: &[u32]| {
        let certificates = certifier.certify(images.clone(), labels, &options, &Draws::none(8)).unwrap();
        assert_eq!(certificates.passes, 50);
        certificates.radii
    };
    // Margins at the radius are above zero, and a little beyond it no longer.
    for (row, radius) in radii(&predicted).into_iter().enumerate() {
        assert!(0.0 < radius && radius < 0.5, "{radius}");
        for (eps, expected) in [(0.999 * radius, true), (1.001 * radius + 1e-6, false)] {
            let image = images.clone().narrow(0, row, 1).autodiff();
            let margins = floats(network.interval_margins(image, &predicted[row..=row], eps).unwrap().inner());
            let proven = (0..).zip(margins).all(|(class, margin)| class == predicted[row] || margin > 0.0);
            assert_eq!(proven, expected, "{eps}");
        }
    }
    let others: Vec<u32> = predicted.iter().map(|label| (label + 1) % 10).collect();
    assert_eq!(radii(&others), [0.0; 8]);
}

/// The smallest value of a linear function over a cube is at a corner.
#[test]
fn bounds_of_a_linear_function_are_exact() {
    let device = Device::flex();
    let layer = LinearConfig::new(12, 10).init(&device);
    let images = noise("digits-cnn", "", 8).narrow(2, 0, 4).narrow(3, 0, 3) * 0.5 + 0.25;
    let bounds = interval_margins(&[Layer::Linear(&layer)], images.clone(), &LABELS, 0.2).unwrap();
    let weight = floats(layer.weight.val());
    let logits = floats(layer.forward::<2>(images.flatten(1, 3)));
    let mut expected = margins(&logits);
    for (place, expected) in expected.iter_mut().enumerate() {
        let (label, class) = (LABELS[place / 10] as usize, place % 10);
        *expected -= 0.2 * weight.chunks_exact(10).map(|row| (row[label] - row[class]).abs()).sum::<f32>();
    }
    assert_close(&floats(bounds), &expected, 1e-5);
    assert!(
        interval_margins(&[Layer::Linear(&layer), Layer::Relu], noise("digits-cnn", "", 8), &LABELS, 0.1).is_none()
    );
}

/// Duality keeps what intervals forget: that the same pixels go into all features. It is exact at a point, and holds at corners.
#[test]
fn dual_bounds_hold_and_are_tighter_than_intervals() {
    let network = untrained("digits-cnn", "");
    let model = network.snapshot();
    let images = noise("digits-cnn", "", 8);
    let tracked = || images.clone().autodiff();
    let dual = |eps| floats(network.dual_margins(tracked(), &LABELS, eps).unwrap().inner());
    assert_close(&dual(0.0), &margins(&logits(&*model, images.clone())), 1e-5);
    let (least, intervals) = (dual(0.05), floats(network.interval_margins(tracked(), &LABELS, 0.05).unwrap().inner()));
    assert!(intervals.iter().zip(&least).all(|(interval, dual)| *dual >= interval - 1e-5));
    assert!(least.iter().sum::<f32>() > 0.7 * intervals.iter().sum::<f32>(), "{least:?} {intervals:?}");
    // The corners to which the gradients of the margins point, one class after the other.
    for class in 0..10 {
        let leaf = tracked().require_grad();
        let logits = model.logits(leaf.clone(), &Draws::none(8)).unwrap();
        let own: Vec<f32> =
            LABELS.iter().flat_map(|&label| (0..10).map(move |at| f32::from(u8::from(at == label)))).collect();
        let own = Tensor::<2>::from_data(TensorData::new(own, [8, 10]), &Device::flex());
        let margin = (logits.clone() * own).sum() - logits.narrow(1, class, 1).sum();
        let gradient = leaf.grad_remove(&mut margin.backward()).unwrap();
        let corner = (images.clone() - gradient.sign() * 0.05).clamp(0.0, 1.0);
        let found = margins(&self::logits(&*model, corner));
        for (found, least) in found.iter().zip(&least) {
            assert!(found >= &(least - 1e-5), "{found} is below {least}");
        }
    }
}

#[test]
fn dual_bounds_of_a_linear_function_are_exact() {
    let layer = LinearConfig::new(64, 10).init(&Device::flex());
    let images = noise("digits-cnn", "", 8);
    let layers = [Layer::Linear(&layer)];
    let exact = interval_margins(&layers, images.clone(), &LABELS, 0.2).unwrap();
    assert_close(&floats(dual_margins(&layers, images, &LABELS, 0.2).unwrap()), &floats(exact), 1e-5);
}

#[test]
fn duality_enlarges_certified_radii() {
    let model = untrained("digits-cnn", "").snapshot();
    let images = noise("digits-cnn", "", 4);
    let answers = logits(&*model, images.clone());
    let largest = |row: &[f32]| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32;
    let predicted: Vec<u32> = answers.chunks_exact(10).map(largest).collect();
    let certified = |labels: &[u32], duality| {
        let options = ProofOptions { selection: 0, samples: 0, alpha: 0.0, duality, go_on: &|| Ok(()) };
        model.certifier(Norm::Linf).unwrap().certify(images.clone(), labels, &options, &Draws::none(4)).unwrap()
    };
    let (intervals, duality) = (certified(&predicted, false), certified(&predicted, true));
    assert!(intervals.radii.iter().zip(&duality.radii).all(|(less, more)| less <= more), "{intervals:?} {duality:?}");
    assert!(duality.radii.iter().sum::<f64>() > 1.5 * intervals.radii.iter().sum::<f64>(), "{intervals:?} {duality:?}");
    // Both ends of the second convolution's 32 channels of 64 positions and of the first linear layer's numbers, and ten classes.
    assert_eq!(duality.passes - intervals.passes, 11 * (2 * 2048 + 2 * 64 + 10));
    let others: Vec<u32> = predicted.iter().map(|label| (label + 1) % 10).collect();
    assert_eq!(certified(&others, true).radii, [0.0; 4]);
}
