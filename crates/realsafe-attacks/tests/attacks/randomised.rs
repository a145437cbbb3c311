//! Attacks on a randomised victim: each pass draws anew, reproducibly, and `eot` answers with means that are paid for.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use realsafe_core::{Defense, Draws, Judgement, Samples, Shares, Stop, Verdict};
use realsafe_plan::{Cost, GradientMode, Norm, Success};

use crate::bench::{Setting, linear_problem, run_on};

/// Hides a random half of the pixels from the model.
struct Blink;

impl Defense for Blink {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let dims = images.dims();
        let mut seen = Vec::with_capacity(dims.iter().product());
        for row in 0..dims[0] {
            let mut random = draws.stream(row);
            seen.extend((0..dims[1..].iter().product()).map(|_| if random.random() { 1.0_f32 } else { 0.0 }));
        }
        let device = images.device();
        let mask = Tensor::<4>::from_data(TensorData::new(seen, dims), &device.without_autodiff());
        Ok(if images.is_tracked() { images * Tensor::from_inner(mask) } else { images * mask })
    }
}

fn attack(attack: (&str, &str), eot: u32, indices: &[u32]) -> Vec<Judgement> {
    let (_, model, samples) = linear_problem();
    let size: usize = samples.shape.iter().product();
    let of = |index: &u32| samples.pixels[*index as usize * size..][..size].to_vec();
    let part = Samples {
        pixels: indices.iter().flat_map(of).collect(),
        labels: indices.iter().map(|index| samples.labels[*index as usize]).collect(),
        ..samples.clone()
    };
    let stack: Vec<(Arc<dyn Defense>, GradientMode)> = vec![(Arc::new(Blink), GradientMode::Exact)];
    let setting = Setting { stack, eot, ..Setting::untargeted(Norm::Linf, 0.02, Success::Last) };
    run_on(attack, &model, &part, indices, &setting).unwrap().0
}

#[test]
fn the_mean_gradient_sees_what_single_draws_hide() {
    let all: Vec<u32> = (0..20).collect();
    let moved = |judged: &Judgement| judged.distances.l0;
    for (eot, least, most) in [(1, 1.0, 11.0), (40, 12.0, 12.0)] {
        for judged in attack(("fgsm", ""), eot, &all) {
            assert_eq!(judged.spent, Cost::gradient(eot.into()));
            assert!((least..=most).contains(&moved(&judged)), "{eot}: {}", moved(&judged));
        }
    }
}

#[test]
fn a_sample_draws_its_own_numbers_anew_at_every_pass() {
    let all: Vec<u32> = (0..20).collect();
    let pixels = |judged: &[Judgement]| judged.iter().map(|judged| judged.pixels.clone()).collect::<Vec<_>>();
    let first = attack(("bim", "steps = 5"), 2, &all);
    assert_eq!(pixels(&first), pixels(&attack(("bim", "steps = 5"), 2, &all)));
    let some = attack(("bim", "steps = 5"), 2, &[7, 3]);
    assert_eq!(pixels(&some), [first[7].pixels.clone(), first[3].pixels.clone()]);
    // Two steps of half the size reach more pixels than one, as the second draws other numbers.
    let reached = |steps: &str| attack(("bim", steps), 1, &all).iter().map(|judged| judged.distances.l0).sum::<f64>();
    assert!(reached("steps = 2") > reached("steps = 1") * 1.3);
}

/// Turns the sign of the whole image, and so of all logits of a linear model, in three of ten passes.
struct Negation;

impl Defense for Negation {
    fn forward(&self, images: Tensor<4>, draws: &Draws) -> Result<Tensor<4>, Stop> {
        let seen = |row| if draws.stream(row).random::<f32>() < 0.3 { -1.0_f32 } else { 1.0 };
        let rows = images.dims()[0];
        let mask: Vec<f32> = (0..rows).map(seen).collect();
        Ok(images.clone() * Tensor::from_data(TensorData::new(mask, [rows, 1, 1, 1]), &images.device()))
    }
}

#[test]
fn verdicts_are_shares_of_draws_that_do_not_profit_from_the_choice_of_a_candidate() {
    const DRAWS: u32 = 200;
    let (_, model, samples) = linear_problem();
    let judge = |indices: &[u32], restarts: u32| {
        let size: usize = samples.shape.iter().product();
        let of = |index: &u32| samples.pixels[*index as usize * size..][..size].to_vec();
        let part = Samples {
            pixels: indices.iter().flat_map(of).collect(),
            labels: indices.iter().map(|index| samples.labels[*index as usize]).collect(),
            ..samples.clone()
        };
        let stack: Vec<(Arc<dyn Defense>, GradientMode)> = vec![(Arc::new(Negation), GradientMode::Identity)];
        // Far too small a ball to change any answer: what is left is chance.
        let ball = Setting::untargeted(Norm::Linf, 1e-6, Success::Last);
        let setting = Setting { stack, restarts, draws: Some(DRAWS), ..ball };
        run_on(("pgd", "steps = 1"), &model, &part, indices, &setting).unwrap().0
    };
    let all: Vec<u32> = (0..20).collect();
    for restarts in [1, 8] {
        let judged = judge(&all, restarts);
        let mut shares = Vec::new();
        for (judged, label) in judged.iter().zip(&samples.labels) {
            let Shares { correct, robust } = judged.shares.unwrap();
            assert_eq!(correct, robust, "the goal is any other class");
            assert_eq!((judged.prediction, judged.verdict), (Some(*label), Verdict::Robust));
            shares.push(robust);
        }
        // Five standard errors of the mean; the smallest of eight shares lies 1.4 of one share lower.
        let (mean, draws) = (shares.iter().sum::<f64>() / shares.len() as f64, shares.len() as f64 * f64::from(DRAWS));
        assert!((mean - 0.7).abs() < 5.0 * (0.21 / draws).sqrt(), "{restarts} restarts: {mean}");
        let some = judge(&[7, 3], restarts);
        assert_eq!([some[0].shares, some[1].shares], [judged[7].shares, judged[3].shares], "rows are independent");
    }
}
