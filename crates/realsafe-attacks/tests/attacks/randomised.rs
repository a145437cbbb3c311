//! Attacks on a randomised victim: each pass draws anew, reproducibly, and `eot` answers with means that are paid for.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use realsafe_core::{Defense, Draws, Judgement, Shares, Stop, Verdict};
use realsafe_plan::{Cost, GradientMode, Norm, Success};

use crate::bench::{Setting, part, run_on};
use crate::problems::linear_problem;

/// Hides a random half of the pixels from the model.
pub(crate) struct Blink;

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

/// Attacks some samples of the linear problem behind a defense.
fn attack(
    attack: (&str, &str),
    defense: (Arc<dyn Defense>, GradientMode),
    rows: &[usize],
    setting: Setting,
) -> Vec<Judgement> {
    let problem = linear_problem();
    let indices: Vec<u32> = rows.iter().map(|row| u32::try_from(*row).unwrap()).collect();
    let setting = Setting { stack: vec![defense], ..setting };
    run_on(attack, &problem.model, &part(&problem.samples, rows), &indices, &setting).unwrap().judgements
}

fn blinking(id: (&str, &str), eot: u32, rows: &[usize]) -> Vec<Judgement> {
    let setting = Setting { eot, ..Setting::untargeted(Norm::Linf, 0.02, Success::Last) };
    attack(id, (Arc::new(Blink), GradientMode::Exact), rows, setting)
}

fn pixels(judged: &[Judgement]) -> Vec<&[f32]> {
    judged.iter().map(|judged| judged.pixels.as_slice()).collect()
}

/// All rows of the problem.
fn all() -> Vec<usize> {
    (0..20).collect()
}

#[test]
fn the_mean_gradient_sees_what_single_draws_hide() {
    let moved = |judged: &Judgement| judged.distances.l0;
    for (eot, least, most) in [(1, 1.0, 11.0), (40, 12.0, 12.0)] {
        for judged in blinking(("fgsm", ""), eot, &all()) {
            assert_eq!(judged.spent, Cost::gradient(eot.into()));
            assert!((least..=most).contains(&moved(&judged)), "{eot}: {}", moved(&judged));
        }
    }
}

#[test]
fn a_sample_draws_its_own_numbers_anew_at_every_pass() {
    for id in [
        ("bim", "steps = 5"),
        ("nes", "queries = 35\nsamples-per-draw = 6\nsigma = 0.1"),
        ("spsa", "queries = 35\nsamples-per-draw = 6\nsigma = 0.1"),
        ("rgf", "queries = 31\ndirections = 5\nsigma = 0.1"),
        ("square", "queries = 30"),
        ("bandits", "queries = 30"),
        ("nattack", "queries = 35\nsamples-per-draw = 6"),
    ] {
        let first = blinking(id, 3, &all());
        assert_eq!(pixels(&first), pixels(&blinking(id, 3, &all())), "{id:?}: two runs");
        let some = blinking(id, 3, &[7, 3, 12]);
        assert_eq!(pixels(&some), [7, 3, 12].map(|row| first[row].pixels.as_slice()), "{id:?}: other neighbours");
        assert_eq!([7, 3, 12].map(|row| first[row].spent), [0, 1, 2].map(|row| some[row].spent), "{id:?}");
        assert_ne!(pixels(&first), pixels(&blinking(id, 1, &all())), "{id:?}: the mean is of other draws");
    }
    // Two steps of half the size reach more pixels than one, as the second draws other numbers.
    let reached =
        |steps: &str| blinking(("bim", steps), 1, &all()).iter().map(|judged| judged.distances.l0).sum::<f64>();
    assert!(reached("steps = 2") > reached("steps = 1") * 1.3);
}

#[test]
fn every_draw_of_a_mean_is_charged() {
    for (id, queries) in [
        (("nes", "queries = 35\nsamples-per-draw = 6"), 35),
        (("spsa", "queries = 35\nsamples-per-draw = 6"), 35),
        (("rgf", "queries = 31\ndirections = 5\nsigma = 0.1"), 31),
        (("square", "queries = 30"), 30),
    ] {
        for judged in blinking(id, 3, &all()) {
            assert_eq!(judged.spent, Cost::forward(3 * queries), "{id:?}");
        }
    }
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
    let judge = |rows: &[usize], restarts: u32| {
        // Far too small a ball to change any answer: what is left is chance.
        let ball = Setting::untargeted(Norm::Linf, 1e-6, Success::Last);
        let setting = Setting { restarts, draws: Some(DRAWS), ..ball };
        attack(("pgd", "steps = 1"), (Arc::new(Negation), GradientMode::Identity), rows, setting)
    };
    for restarts in [1, 8] {
        let judged = judge(&all(), restarts);
        let mut shares = Vec::new();
        for (judged, label) in judged.iter().zip(&linear_problem().samples.labels) {
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
