//! Iterates, step by step, against the definitions written out in double precision on a network of two layers.

use std::sync::Arc;

use realsafe_core::Model;
use realsafe_plan::{Norm, Success};

use crate::bench::{Linear, Setting, TwoLayers, run, samples, scatter};

const PIXELS: usize = 6;
const HIDDEN: usize = 5;
const CLASSES: usize = 3;
const LABEL: usize = 1;

fn first(row: usize, column: usize) -> f32 {
    1.5 * scatter(row * PIXELS + column)
}

fn second(row: usize, column: usize) -> f32 {
    1.5 * scatter(100 + row * HIDDEN + column)
}

fn clean() -> [f64; PIXELS] {
    std::array::from_fn(|at| f64::from(0.5 + 0.45 * scatter(300 + at)))
}

/// The gradient of the cross-entropy of the label with respect to the pixels.
fn gradient(image: &[f64; PIXELS]) -> [f64; PIXELS] {
    let hidden: [f64; HIDDEN] = std::array::from_fn(|row| {
        (0..PIXELS).map(|column| f64::from(first(row, column)) * image[column]).sum::<f64>().tanh()
    });
    let logits: [f64; CLASSES] =
        std::array::from_fn(|row| (0..HIDDEN).map(|column| f64::from(second(row, column)) * hidden[column]).sum());
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    let error: [f64; CLASSES] =
        std::array::from_fn(|class| logits[class].exp() / total - f64::from(u8::from(class == LABEL)));
    let back: [f64; HIDDEN] = std::array::from_fn(|at| {
        let sum: f64 = (0..CLASSES).map(|class| f64::from(second(class, at)) * error[class]).sum();
        sum * (1.0 - hidden[at] * hidden[at])
    });
    std::array::from_fn(|at| (0..HIDDEN).map(|row| f64::from(first(row, at)) * back[row]).sum())
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn direction(norm: Norm, gradient: &[f64; PIXELS]) -> [f64; PIXELS] {
    match norm {
        Norm::Linf => gradient.map(|value| if value == 0.0 { 0.0 } else { value.signum() }),
        _ => gradient.map(|value| value / length(gradient)),
    }
}

fn projected(norm: Norm, image: [f64; PIXELS], eps: f64) -> [f64; PIXELS] {
    let clean = clean();
    let change: [f64; PIXELS] = std::array::from_fn(|at| image[at] - clean[at]);
    let inside: [f64; PIXELS] = match norm {
        Norm::Linf => change.map(|value| value.clamp(-eps, eps)),
        _ => change.map(|value| value * (eps / length(&change)).min(1.0)),
    };
    std::array::from_fn(|at| (clean[at] + inside[at]).clamp(0.0, 1.0))
}

/// The iterates of momentum steps; no momentum is BIM.
fn trace(norm: Norm, eps: f64, step_size: f64, decay: f64, steps: usize) -> Vec<[f64; PIXELS]> {
    let mut image = clean();
    let mut momentum = [0.0; PIXELS];
    let mut iterates = Vec::new();
    for _ in 0..steps {
        let gradient = gradient(&image);
        let sum: f64 = gradient.iter().map(|value| value.abs()).sum();
        momentum = std::array::from_fn(|at| decay * momentum[at] + gradient[at] / sum);
        let step = direction(norm, &momentum);
        image = projected(norm, std::array::from_fn(|at| image[at] + step_size * step[at]), eps);
        iterates.push(image);
    }
    iterates
}

#[test]
fn bim_and_mim_follow_their_definitions_step_by_step() {
    let layer = |rows: usize, columns: usize, weight: fn(usize, usize) -> f32| -> Vec<Vec<f32>> {
        (0..rows).map(|row| (0..columns).map(|column| weight(row, column)).collect()).collect()
    };
    let model: Arc<dyn Model> = Arc::new(TwoLayers {
        first: Linear::new(&layer(HIDDEN, PIXELS, first), &[0.0; HIDDEN]),
        second: Linear::new(&layer(CLASSES, HIDDEN, second), &[0.0; CLASSES]),
    });
    #[expect(clippy::cast_possible_truncation, reason = "single precision is what is tested")]
    let samples = samples(&[clean().map(|pixel| pixel as f32).to_vec()], &[u32::try_from(LABEL).unwrap()]);
    for norm in Norm::DENSE {
        for (id, decay) in [("bim", 0.0), ("mim", 0.9)] {
            let expected = trace(norm, 0.2, 0.03, decay, 12);
            for (steps, expected) in (1..).zip(&expected) {
                let decay = if id == "mim" { "decay = 0.9" } else { "" };
                let parameters = format!("steps = {steps}\nstep-size = 0.03\n{decay}");
                let setting = Setting::untargeted(norm, 0.2, Success::Last);
                let found = &run((id, &parameters), &model, &samples, &setting)[0].pixels;
                for (found, expected) in found.iter().zip(expected) {
                    assert!((f64::from(*found) - expected).abs() < 1e-5, "{id} {norm:?} step {steps}");
                }
            }
        }
    }
}
