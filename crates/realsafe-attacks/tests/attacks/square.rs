//! Square attack in l2 and l1: what it can and cannot break on linear models, and every query in double precision.

use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::random::{Purpose, StreamKey, stream};
use realsafe_core::{Model, Samples, Verdict};
use realsafe_plan::{Norm, Success};

use crate::bench::{Linear, Setting, run, scatter};

const HEIGHT: usize = 11;
const WIDTH: usize = 12;
const CHANNELS: usize = 2;
const PLANE: usize = HEIGHT * WIDTH;
const SIZE: usize = CHANNELS * PLANE;

/// Two classes and one image; the difference of the logits at the image is what must be overcome.
fn problem(bias: f32) -> (Vec<f32>, Arc<dyn Model>, Samples) {
    let weights: Vec<f32> = (0..SIZE).map(|at| scatter(at) * if at % 5 == 0 { 1.0 } else { 0.3 }).collect();
    let pixels: Vec<f32> = (0..SIZE).map(|at| 0.5 + 0.3 * scatter(700 + at)).collect();
    let value: f32 = weights.iter().zip(&pixels).map(|(weight, pixel)| weight * pixel).sum();
    let model = Linear::new(&[weights.clone(), vec![0.0; SIZE]], &[bias - value, 0.0]);
    let samples = Samples { shape: [CHANNELS, HEIGHT, WIDTH], pixels, labels: vec![0], targets: None };
    (weights, Arc::new(model), samples)
}

#[test]
fn what_the_norm_forbids_is_not_broken_and_a_little_more_is() {
    for (norm, eps) in [(Norm::L2, 1.0), (Norm::L1, 4.0)] {
        let (weights, ..) = problem(1.0);
        // The most that a change of this size can do, far from the box; the search gets a share of it.
        let most = match norm {
            Norm::L2 => eps * weights.iter().map(|weight| weight * weight).sum::<f32>().sqrt(),
            _ => eps * weights.iter().fold(0.0, |largest, weight| weight.abs().max(largest)),
        };
        for (share, expected) in [(1.01, Verdict::Robust), (0.25, Verdict::Broken)] {
            let (_, model, samples) = problem(share * most);
            let setting = Setting::untargeted(norm, f64::from(eps), Success::AnyIterate);
            let judged = &run(("square", "queries = 3000"), &model, &samples, &setting)[0];
            assert_eq!(judged.verdict, expected, "{norm:?} {share}");
        }
    }
}

fn sign(random: &mut ChaCha8Rng) -> f64 {
    if random.random() { 1.0 } else { -1.0 }
}

/// The size of a change, and its power that adds up over disjoint parts.
fn mass(norm: Norm, change: &[f64]) -> f64 {
    change.iter().map(|by| if norm == Norm::L2 { by * by } else { by.abs() }).sum()
}

fn root(norm: Norm, mass: f64) -> f64 {
    if norm == Norm::L2 { mass.sqrt() } else { mass }
}

fn normalised(norm: Norm, change: Vec<f64>) -> Vec<f64> {
    let size = root(norm, mass(norm, &change));
    change.into_iter().map(|by| by / size).collect()
}

/// One rectangle after the other is added, each a pixel larger on every side.
fn half(norm: Norm, height: usize, width: usize) -> Vec<f64> {
    let mut levels = vec![0.0; height * width];
    for layer in 0..(height / 2 + 1).max(width / 2 + 1) {
        for (at, level) in levels.iter_mut().enumerate() {
            let inside = |place: usize, middle: usize| place + layer >= middle && place <= middle + layer;
            if inside(at / width, height / 2) && inside(at % width, width / 2) {
                *level += 1.0 / ((layer + 1) as f64).powi(if norm == Norm::L2 { 2 } else { 4 });
            }
        }
    }
    normalised(norm, levels)
}

fn bump(norm: Norm, side: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut bump = half(norm, side / 2, side);
    bump.extend(half(norm, side - side / 2, side).into_iter().map(|level| -level));
    let bump = normalised(norm, bump);
    if random.random() { (0..side * side).map(|at| bump[at % side * side + at / side]).collect() } else { bump }
}

/// The change that a candidate makes of what was drawn: stretched and clipped, or the nearest point of ball and box, which
/// is found by bisection.
fn confined(norm: Norm, clean: &[f64], change: &[f64], eps: f64) -> Vec<f64> {
    let moved = |by: &dyn Fn(f64) -> f64| -> Vec<f64> {
        clean.iter().zip(change).map(|(clean, change)| (clean + by(*change)).clamp(0.0, 1.0) - clean).collect()
    };
    if norm == Norm::L2 {
        let size = root(norm, mass(norm, change));
        return moved(&|change| change / size * eps);
    }
    let shrunk = |by: f64| moved(&|change| change.signum() * (change.abs() - by).max(0.0));
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if mass(norm, &shrunk(middle)) > eps { low = middle } else { high = middle }
    }
    shrunk(if mass(norm, &shrunk(0.0)) <= eps { 0.0 } else { high })
}

/// The change that a query makes: a bump is added to what one window holds, and gets the mass of both windows and the rest.
fn candidate(norm: Norm, clean: &[f64], best: &[f64], eps: f64, side: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut place = || (random.random_range(0..=HEIGHT - side), random.random_range(0..=WIDTH - side));
    let (to, from) = (place(), place());
    let bump = bump(norm, side, random);
    let rest = (mass(norm, &[eps]) - mass(norm, best)).max(0.0);
    let inside = |at: usize, window: (usize, usize)| {
        let (line, column) = (at % PLANE / WIDTH, at % WIDTH);
        (window.0..window.0 + side).contains(&line) && (window.1..window.1 + side).contains(&column)
    };
    let mut change = best.to_vec();
    for channel in 0..CHANNELS {
        let places: Vec<usize> = (channel * PLANE..(channel + 1) * PLANE).collect();
        let values = |wanted: &dyn Fn(usize) -> bool| -> Vec<f64> {
            places.iter().filter(|at| wanted(**at)).map(|at| best[*at]).collect()
        };
        let both = mass(norm, &values(&|at| inside(at, to) || inside(at, from)));
        let old = values(&|at| inside(at, to));
        let old_size = root(norm, mass(norm, &old)) + 1e-12;
        let sign = sign(random);
        let new: Vec<f64> = bump.iter().zip(&old).map(|(bump, old)| sign * bump + old / old_size).collect();
        let share = both + rest / CHANNELS as f64;
        let wanted = if norm == Norm::L2 { share.sqrt() } else { share * CHANNELS as f64 };
        let scale = wanted / (root(norm, mass(norm, &new)) + 1e-12);
        let mut new = new.into_iter();
        for at in places {
            if inside(at, to) {
                change[at] = scale * new.next().unwrap();
            } else if inside(at, from) {
                change[at] = 0.0;
            }
        }
    }
    confined(norm, clean, &change, eps)
}

/// The first candidate: bumps of two by two pixels, which fill the image but for one line.
fn first(norm: Norm, clean: &[f64], eps: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut change = vec![0.0; SIZE];
    for top in (0..10).step_by(2) {
        for left in (0..12).step_by(2) {
            let bump = bump(norm, 2, random);
            for channel in 0..CHANNELS {
                let sign = sign(random);
                for (at, level) in bump.iter().enumerate() {
                    change[channel * PLANE + (top + at / 2) * WIDTH + left + at % 2] = sign * level;
                }
            }
        }
    }
    confined(norm, clean, &change, eps)
}

#[test]
fn every_query_follows_the_definition() {
    const QUERIES: u32 = 260;
    for (norm, eps) in [(Norm::L2, 2.0), (Norm::L1, 15.0)] {
        let (weights, model, samples) = problem(20.0);
        let clean: Vec<f64> = samples.pixels.iter().map(|pixel| f64::from(*pixel)).collect();
        let random = |purpose, step| stream(StreamKey { seed: 0, purpose, sample: 0, restart: 0, step });
        let loss =
            |change: &[f64]| change.iter().zip(&weights).map(|(by, weight)| by * f64::from(*weight)).sum::<f64>();
        let mut best = first(norm, &clean, eps, &mut random(Purpose::Start, 0));
        let mut kept = 0;
        for query in 1..=QUERIES {
            if [1, 2, 12, 60, QUERIES].contains(&query) {
                let setting = Setting::untargeted(norm, eps, Success::Last);
                let found = &run(("square", &format!("queries = {query}")), &model, &samples, &setting)[0].pixels;
                for ((found, clean), change) in found.iter().zip(&clean).zip(&best) {
                    assert!((f64::from(*found) - clean - change).abs() < 1e-5, "{norm:?} query {query}");
                }
            }
            // 0.8 of 132 pixels, halved after 10, 50 and 200 queries; made odd.
            let side = match query {
                0..=10 => 11,
                11..=50 => 7,
                _ => 5,
            };
            let next = candidate(norm, &clean, &best, eps, side, &mut random(Purpose::Step, u64::from(query) - 1));
            if loss(&next) < loss(&best) {
                best = next;
                kept += 1;
            }
        }
        assert!(kept > 10, "{norm:?} kept {kept}");
    }
}
