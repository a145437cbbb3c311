//! Square attack: what it can and cannot break on linear models, and every query against its definition.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use realsafe_core::Verdict;
use realsafe_core::random::Purpose;
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Setting, run, scatter};
use crate::problems::{Problem, binary, linear_problem};
use crate::reference::{Image, NORMS, Network, clipped, greyish, margin, plus, random, scaled, size, unit, within};
use crate::sample::{Sample, assert_same};

const HEIGHT: usize = 11;
const WIDTH: usize = 12;
const CHANNELS: usize = 2;
const PLANE: usize = HEIGHT * WIDTH;
const SIZE: usize = CHANNELS * PLANE;

#[test]
fn it_finds_the_corner_of_the_ball_that_breaks_a_linear_model() {
    binary().breaks_exactly_above(("square", "queries = 3000"), Norm::Linf, Success::AnyIterate, 1.05);
}

#[test]
fn what_the_norm_forbids_is_not_broken_and_a_little_more_is() {
    let weights: Vec<f32> = (0..SIZE).map(|at| scatter(at) * if at % 5 == 0 { 1.0 } else { 0.3 }).collect();
    let pixels: Vec<f32> = (0..SIZE).map(|at| 0.5 + 0.3 * scatter(700 + at)).collect();
    let value: f32 = weights.iter().zip(&pixels).map(|(weight, pixel)| weight * pixel).sum();
    for (norm, eps) in [(Norm::L2, 1.0), (Norm::L1, 4.0)] {
        // The most that a change of this size can do, far from the box; the search gets a share of it.
        let most = match norm {
            Norm::L2 => eps * weights.iter().map(|weight| weight * weight).sum::<f32>().sqrt(),
            _ => eps * weights.iter().fold(0.0, |largest, weight| weight.abs().max(largest)),
        };
        for (share, expected) in [(1.01, Verdict::Robust), (0.25, Verdict::Broken)] {
            // The difference of the logits at the image is what must be overcome.
            let bias = [share * most - value, 0.0];
            let model = [weights.clone(), vec![0.0; SIZE]];
            let problem = Problem::new(&model, &bias, [CHANNELS, HEIGHT, WIDTH], std::slice::from_ref(&pixels));
            let setting = Setting::untargeted(norm, f64::from(eps), Success::AnyIterate);
            let judged = &run(("square", "queries = 3000"), &problem.model, &problem.samples, &setting)[0];
            assert_eq!(judged.verdict, expected, "{norm:?} {share}");
        }
    }
}

#[test]
fn targets_are_reached_in_every_norm() {
    let problem = linear_problem();
    for (norm, eps) in NORMS.into_iter().zip([0.5, 1.7, 6.0]) {
        for goal in [Goal::Targeted, Goal::TargetedMisclassify] {
            let setting = Setting { goal, ..Setting::untargeted(norm, eps, Success::AnyIterate) };
            for (row, judged) in problem.run(("square", "queries = 2000"), &setting).into_iter().enumerate() {
                assert_eq!(judged.verdict, Verdict::Broken, "{norm:?} {goal:?} row {row}");
            }
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
    scaled(&change, 1.0 / size(norm, &change))
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

/// The change that is made of what was drawn: for l2 stretched and clipped, else brought into ball and box.
fn confined(norm: Norm, clean: &[f64], change: &[f64], eps: f64) -> Image {
    let image = match norm {
        Norm::L2 => clipped(&plus(clean, eps, &unit(change))),
        _ => within(norm, &plus(clean, 1.0, change), clean, eps),
    };
    plus(&image, -1.0, clean)
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
fn tiled(norm: Norm, clean: &[f64], eps: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
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

/// Stripes of ±eps.
fn striped(clean: &[f64], eps: f64, random: &mut ChaCha8Rng) -> Image {
    let signs: Vec<f64> = (0..CHANNELS * WIDTH).map(|_| sign(random)).collect();
    let by: Image = (0..SIZE).map(|at| eps * signs[at / PLANE * WIDTH + at % WIDTH]).collect();
    confined(Norm::Linf, clean, &by, eps)
}

/// A window that moves by 2 eps one way in each channel, and somewhere at all where that is possible.
fn recoloured(clean: &[f64], best: &[f64], eps: f64, side: usize, random: &mut ChaCha8Rng) -> Image {
    let (top, left) = (random.random_range(0..=HEIGHT - side), random.random_range(0..=WIDTH - side));
    let inside =
        |at: usize| (top..top + side).contains(&(at % PLANE / WIDTH)) && (left..left + side).contains(&(at % WIDTH));
    for _ in 0..32 {
        let signs: Vec<f64> = (0..CHANNELS).map(|_| sign(random)).collect();
        let by = |at: usize| if inside(at) { best[at] + 2.0 * eps * signs[at / PLANE] } else { best[at] };
        let change = confined(Norm::Linf, clean, &(0..SIZE).map(by).collect::<Vec<_>>(), eps);
        if change.iter().zip(best).any(|(new, old)| (new - old).abs() > 1e-9) {
            return change;
        }
    }
    best.to_vec()
}

/// The sides of windows at a query of so many: a window covers 0.8 of the image at first, and half of that after each of
/// some numbers of queries; bumps are moved in windows of an odd side.
fn side(norm: Norm, query: u64) -> usize {
    let halved = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000].into_iter().filter(|after| query > *after).count();
    let side = (0.8 / f64::from(1 << halved) * PLANE as f64).sqrt().round() as usize;
    let side = side.max(1);
    if norm == Norm::Linf { side } else { (side.max(3) | 1).min(HEIGHT) }
}

/// Compares every image that is asked about, and the result.
fn follows(norm: Norm, eps: f64, goal: Goal, queries: u64, rescaled: bool) {
    let shape = [CHANNELS, HEIGHT, WIDTH];
    let sample = Sample::new(Network::scattered([SIZE, 6, 4], 0), shape, greyish(SIZE, 0.3, 700), goal);
    let image = |change: &Image| plus(&sample.clean, 1.0, change);
    let mut start = random(Purpose::Start, 0);
    let mut best = match norm {
        Norm::Linf => striped(&sample.clean, eps, &mut start),
        _ => tiled(norm, &sample.clean, eps, &mut start),
    };
    let mut asked = vec![image(&best)];
    let mut rise = sample.rise(margin, &asked[0]).0;
    let mut kept = 0;
    for query in 1..queries {
        let side = side(norm, if rescaled { query * 10_000 / queries } else { query });
        let mut random = random(Purpose::Step, query - 1);
        let next = match norm {
            Norm::Linf => recoloured(&sample.clean, &best, eps, side, &mut random),
            _ => candidate(norm, &sample.clean, &best, eps, side, &mut random),
        };
        let there = image(&next);
        let new = sample.rise(margin, &there).0;
        if new > rise || sample.reached(&there) {
            (best, rise) = (next, new);
            kept += 1;
        }
        asked.push(there);
    }
    assert!(kept > 10, "{norm:?} {goal:?} {rescaled} kept {kept}");
    let parameters = format!("queries = {queries}\nrescale-schedule = {rescaled}");
    let judged = sample.asks(("square", &parameters), &sample.setting(norm, eps, Success::Last), &asked);
    assert_same(&judged.judgements[0].pixels, &image(&best), &format!("{norm:?} {goal:?} {rescaled}, result"));
}

#[test]
fn every_query_follows_the_definition() {
    for goal in Goal::ALL {
        // A bump on next to nothing makes much of rounding, so that differences grow with the number of queries.
        for (norm, eps, queries) in [(Norm::Linf, 0.1, 260), (Norm::L2, 2.0, 60), (Norm::L1, 15.0, 60)] {
            follows(norm, eps, goal, queries, false);
            follows(norm, eps, goal, 60, true);
        }
    }
}
