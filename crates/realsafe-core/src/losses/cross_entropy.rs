//! Softmax cross-entropy: minus the logarithm of the probability of the class.
//!
//! ## What it does
//! Raises `log Σ exp(logits) − logit` of the label, or lowers that of the target. It is computed in double precision from the
//! weights of the other classes: a model that is certain still has a loss, and a gradient, where `log p` and `p − 1` would round
//! to zero. Derivatives that would be lost in single precision, smaller than 1e-20, are given that size: it is their direction that
//! attacks follow.
//!
//! With `precision = "single"` it is what frameworks compute, and what published evaluations attacked with: the derivative is the
//! probabilities, rounded, minus 1 for the class, so that next to nothing is left of it where a model is certain. That an
//! attack fails for it says nothing of the model's robustness.

use realsafe_plan::{Component, Fallback, LossTraits, Origin, Parameter, ParameterKind, Traits};

use super::{RowLoss, for_or_against};
use crate::LossEntry;

/// What single precision still resolves after a pass through a network.
const LEAST: f64 = 1e-20;

/// Softmax cross-entropy of the class.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy;

impl RowLoss for CrossEntropy {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        for_or_against(label, target, derivative, |class, derivative| row(logits, class, derivative))
    }
}

fn row(logits: &[f32], class: usize, derivative: &mut [f32]) -> f32 {
    let rivals = || logits.iter().enumerate().filter(|(other, _)| *other != class).map(|(_, logit)| f64::from(*logit));
    let rival = rivals().fold(f64::NEG_INFINITY, f64::max);
    let others: f64 = rivals().map(|logit| (logit - rival).exp()).sum();
    // By how much the logarithm of all other weights exceeds the logit of the class.
    let excess = rival + others.ln() - f64::from(logits[class]);
    // Their share of all weights, as a logarithm.
    let share = -(-excess).exp().ln_1p();
    let visible = share.exp().max(LEAST);
    for (derivative, logit) in derivative.iter_mut().zip(logits) {
        *derivative = (visible * (f64::from(*logit) - rival).exp() / others) as f32;
    }
    derivative[class] = -visible as f32;
    (excess.max(0.0) + (-excess.abs()).exp().ln_1p()) as f32
}

/// As frameworks compute it.
struct InSinglePrecision;

impl RowLoss for InSinglePrecision {
    fn row(&self, logits: &[f32], label: usize, target: Option<usize>, derivative: &mut [f32]) -> f32 {
        for_or_against(label, target, derivative, |class, derivative| rounded_row(logits, class, derivative))
    }
}

fn rounded_row(logits: &[f32], class: usize, derivative: &mut [f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let logarithm = logits.iter().map(|logit| (logit - largest).exp()).sum::<f32>().ln();
    for (derivative, logit) in derivative.iter_mut().zip(logits) {
        *derivative = (logit - largest - logarithm).exp();
    }
    derivative[class] -= 1.0;
    logarithm - (logits[class] - largest)
}

inventory::submit! {
    LossEntry {
        component: Component {
            id: "cross-entropy",
            revision: 2,
            origin: Origin::Crate(env!("CARGO_PKG_NAME")),
            source: include_str!("cross_entropy.rs"),
            parameters: &[Parameter {
                name: "precision",
                kind: ParameterKind::Choice(&["double", "single"]),
                unit: "",
                fallback: Fallback::Value("double"),
                documentation: "Whether certain models keep a gradient, or lose it as in published evaluations.",
            }],
            example: "precision = \"single\"",
            traits: Traits::Loss(LossTraits::TWO_CLASSES),
        },
        build: &|values, _| Ok(match values.text("precision") {
            "single" => Box::new(InSinglePrecision),
            _ => Box::new(CrossEntropy),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_keeps_a_loss_and_a_gradient() {
        let is = |value: f32, expected: f32| assert!((value / expected - 1.0).abs() < 1e-5, "{value}, not {expected}");
        let mut derivative = [0.0; 3];
        let loss = row(&[50.0, 0.0, -16.0], 0, &mut derivative);
        is(loss, (-50.0_f32).exp());
        is(derivative[0], -1e-20);
        is(derivative[1], 1e-20);
        is(derivative[2] / derivative[1], (-16.0_f32).exp());
        row(&[1000.0, 0.0, 0.0], 0, &mut derivative);
        derivative.into_iter().zip([-1e-20, 5e-21, 5e-21]).for_each(|(value, expected)| is(value, expected));
        assert_eq!(row(&[0.0, 1000.0, 0.0], 0, &mut derivative), 1000.0);
    }
    #[test]
    fn single_precision_is_that_of_frameworks() {
        let (mut rounded, mut exact) = ([0.0; 3], [0.0; 3]);
        for class in 0..3 {
            let losses =
                (rounded_row(&[2.0, -1.0, 0.5], class, &mut rounded), row(&[2.0, -1.0, 0.5], class, &mut exact));
            assert!((losses.0 - losses.1).abs() < 1e-6);
            assert!(rounded.iter().zip(&exact).all(|(rounded, exact)| (rounded - exact).abs() < 1e-6));
        }
        assert_eq!(rounded_row(&[110.0, 0.0, 0.0], 0, &mut rounded), 0.0);
        assert_eq!(rounded, [0.0; 3]);
    }
}
