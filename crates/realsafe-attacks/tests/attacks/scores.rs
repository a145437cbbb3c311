//! Score attacks that draw many points and then move, NES, SPSA, NATTACK and ZOO: on linear models, and every iterate against
//! their definitions.

use rand::RngExt;
use rand::seq::index;
use realsafe_core::Verdict;
use realsafe_core::random::Purpose;
use realsafe_plan::{Goal, Norm, Success};

use crate::bench::{Setting, Spy, matrix, run, scatter};
use crate::prior_guided_traces::{EPS, GOALS, rise, sample};
use crate::problems::{Problem, binary, linear_problem};
use crate::reference::{Image, clipped, coarse, gaussian, margin, plus, random, scaled, size};
use crate::sample::{Sample, assert_same};

#[test]
fn a_linear_model_breaks_just_above_its_margin_and_not_below() {
    let problem = binary().first(6);
    // Adam makes about the same step in every pixel, which is not the shortest way in l2.
    for (attack, norm, enough) in [
        (("nes", "queries = 8000\nsamples-per-draw = 100\nsigma = 0.01"), Norm::Linf, 1.05),
        (("nes", "queries = 8000\nsamples-per-draw = 100\nsigma = 0.01"), Norm::L2, 1.05),
        (("spsa", "queries = 4000\nsamples-per-draw = 20"), Norm::Linf, 1.05),
        (("spsa", "queries = 4000\nsamples-per-draw = 20"), Norm::L2, 1.3),
        (("nattack", "queries = 12000\nlearning-rate = 0.05"), Norm::Linf, 1.05),
        (("nattack", "queries = 12000\nlearning-rate = 0.05"), Norm::L2, 1.05),
    ] {
        problem.breaks_exactly_above(attack, norm, Success::AnyIterate, enough);
    }
}

#[test]
fn zoo_finds_the_smallest_distance_of_a_linear_model() {
    let problem = binary().first(6);
    // A step in all 16 coordinates is 2e-3 long in pixels, half of that with tanh: some of them are overshot.
    for space in ["tanh", "pixels"] {
        let parameters = format!(
            "queries = 40000\ncoordinates = 8\nlearning-rate = 5e-4\nfinite-difference = 0.001\nconstant = 0.05\nspace = \"{space}\""
        );
        let setting = Setting::untargeted(Norm::L2, None, Success::AnyIterate);
        for (row, judged) in problem.run(("zoo", &parameters), &setting).into_iter().enumerate() {
            let (found, exact) = (judged.distances.l2, problem.distance(row, Norm::L2));
            assert!(judged.verdict == Verdict::Broken && found > 0.9999 * exact, "{space}: {found}, {exact}");
            assert!(found < exact + 4e-3, "{space}: {found}, {exact}");
        }
    }
}

#[test]
fn every_goal_is_reached() {
    for goal in Goal::ALL {
        for id in ["nes", "spsa", "nattack", "zoo"] {
            let (norm, eps) = if id == "zoo" { (Norm::L2, None) } else { (Norm::Linf, Some(0.5)) };
            let setting = Setting { goal, ..Setting::untargeted(norm, eps, Success::AnyIterate) };
            for judged in linear_problem().run((id, "queries = 4000"), &setting) {
                assert_eq!(judged.verdict, Verdict::Broken, "{id} {goal:?}");
            }
        }
    }
}

#[test]
fn every_query_that_pays_for_a_pair_is_spent_and_none_beyond() {
    let problem = linear_problem();
    for queries in [3, 4, 22, 23, 24, 40, 113, 1000] {
        for (id, more) in [
            ("nes", "samples-per-draw = 20"),
            ("spsa", "samples-per-draw = 21"),
            ("nattack", "samples-per-draw = 20"),
            ("zoo", "coordinates = 10"),
        ] {
            let (norm, eps) = if id == "zoo" { (Norm::L2, None) } else { (Norm::Linf, Some(1e-6)) };
            let setting = Setting::untargeted(norm, eps, Success::AnyIterate);
            let rest = queries % 21;
            let expected = queries - if rest < 3 { rest } else { (rest - 1) % 2 };
            for judged in problem.run((id, &format!("queries = {queries}\n{more}")), &setting) {
                assert_eq!(judged.spent.queries, expected, "{id} {queries}");
            }
        }
    }
}

const PAIRS: usize = 5;
const SHAPE: [usize; 3] = [2, 4, 6];
/// The lines and columns of the grid where `dimension-reduction = 3`.
const GRID: [usize; 2] = [2, 3];

/// Every goal in every norm, with noise per pixel and per cell.
fn noisy(mut each: impl FnMut(&Sample, Norm, bool)) {
    for (norm, goal) in Norm::DENSE.into_iter().flat_map(|norm| GOALS.map(|goal| (norm, goal))) {
        let sample = sample(SHAPE, goal);
        each(&sample, norm, false);
        each(&sample, norm, true);
    }
}

fn reduction(reduced: bool) -> &'static str {
    if reduced { "dimension-reduction = 3" } else { "" }
}

/// What a value per pixel or per cell makes of an image.
fn spread(reduced: bool, draw: impl FnOnce(usize) -> Image) -> Image {
    if reduced { coarse(SHAPE, GRID, &draw(12)) } else { draw(48) }
}

/// The gradient that pairs of points give, and the mean of what is raised at the points.
fn estimate(sample: &Sample, image: &Image, sigma: f64, mut draw: impl FnMut() -> Image) -> (Image, f64) {
    let (mut gradient, mut mean) = (vec![0.0; image.len()], 0.0);
    for _ in 0..PAIRS {
        let noise = draw();
        let rises = [sigma, -sigma].map(|sigma| rise(sample, &plus(image, sigma, &noise)));
        gradient = plus(&gradient, (rises[0] - rises[1]) / (2.0 * PAIRS as f64 * sigma), &noise);
        mean += (rises[0] + rises[1]) / (2.0 * PAIRS as f64);
    }
    (gradient, mean)
}

/// The queries until the end of a draw.
fn spent(step: u64) -> u64 {
    (step + 1) * (2 * PAIRS as u64 + 1)
}

#[test]
fn nes_follows_its_definition_step_by_step() {
    noisy(|sample, norm, reduced| {
        let (mut image, mut rate, mut means) = (sample.clean.clone(), 0.4, Vec::new());
        let (mut kept, mut fallen) = (vec![0.0; 48], 0);
        let iterate = |step: u64| {
            let mut random = random(Purpose::Step, step);
            let draw = || spread(reduced, |count| gaussian(&mut random, count));
            let (gradient, mean) = estimate(sample, &image, 0.1, draw);
            means.push(mean);
            if means.len() >= 3 && mean < means[means.len() - 3] {
                rate = f64::max(rate / 2.0, 0.15);
                fallen += 1;
                means.clear();
            }
            kept = plus(&scaled(&kept, 0.7), 0.3, &gradient);
            image = sample.advanced(norm, &image, &kept, rate * EPS, EPS);
            (image.clone(), spent(step))
        };
        let expected: Vec<_> = (0..25).map(iterate).collect();
        assert!(fallen >= 2, "the learning rate falls to its minimum");
        let parameters = format!(
            "samples-per-draw = 10\nsigma = 0.1\nmomentum = 0.7\nlearning-rate-relative = 0.4\nplateau-length = 3\n\
             minimum-learning-rate = 0.375\nloss = \"cross-entropy\"\n{}",
            reduction(reduced)
        );
        sample.spends(("nes", &parameters), &sample.setting(norm, EPS, Success::Last), &expected);
    });
}

#[test]
fn spsa_follows_its_definition_step_by_step() {
    noisy(|sample, norm, reduced| {
        let rate = if norm == Norm::L2 { 0.2 * EPS / 48_f64.sqrt() } else { 0.2 * EPS };
        let (mut image, mut first, mut second) = (sample.clean.clone(), [0.0; 48], [0.0; 48]);
        let iterate = |step: u64| {
            let mut random = random(Purpose::Step, step);
            let mut sign = || if random.random() { 1.0 } else { -1.0 };
            let draw = || spread(reduced, |count| (0..count).map(|_| sign()).collect());
            let (gradient, _) = estimate(sample, &image, 0.1, draw);
            let share = |kept: f64| 1.0 - kept.powf(step as f64 + 1.0);
            for (at, gradient) in gradient.into_iter().enumerate() {
                first[at] += 0.1 * (gradient - first[at]);
                second[at] += 0.001 * (gradient * gradient - second[at]);
                image[at] += rate * first[at] / share(0.9) / ((second[at] / share(0.999)).sqrt() + 1e-8);
            }
            image = sample.within(norm, &image, EPS);
            (image.clone(), spent(step))
        };
        let expected: Vec<_> = (0..15).map(iterate).collect();
        let parameters = format!(
            "samples-per-draw = 10\nsigma = 0.1\nlearning-rate-relative = 0.2\nloss = \"cross-entropy\"\n{}",
            reduction(reduced)
        );
        sample.spends(("spsa", &parameters), &sample.setting(norm, EPS, Success::Last), &expected);
    });
}

#[test]
fn nattack_follows_its_definition_step_by_step() {
    noisy(|sample, norm, reduced| {
        let image = |change: &Image| {
            let place = |(clean, change): (&f64, &f64)| ((2.0 * clean - 1.0) * (1.0 - 1e-6)).atanh() + change;
            let places = sample.clean.iter().zip(change).map(place);
            sample.within(norm, &places.map(|place| (place.tanh() + 1.0) / 2.0).collect::<Vec<_>>(), EPS)
        };
        let mut start = random(Purpose::Start, 0);
        let mut mean = spread(reduced, |count| scaled(&gaussian(&mut start, count), 0.2));
        let iterate = |step: u64| {
            let mut random = random(Purpose::Step, step);
            let draw = |_| spread(reduced, |count| gaussian(&mut random, count));
            let noise: Vec<Image> = (0..2 * PAIRS).map(draw).collect();
            let rises: Vec<f64> = noise.iter().map(|noise| rise(sample, &image(&plus(&mean, 0.3, noise)))).collect();
            let count = rises.len() as f64;
            let expected = rises.iter().sum::<f64>() / count;
            let variance = rises.iter().map(|rise| rise * rise).sum::<f64>() / count - expected * expected;
            for (rise, noise) in rises.iter().zip(&noise) {
                let weight = (rise - expected) / (variance.sqrt() + 1e-7);
                mean = plus(&mean, 0.15 * weight / (count * 0.3), noise);
            }
            (image(&mean), spent(step))
        };
        let expected: Vec<_> = (0..12).map(iterate).collect();
        let parameters = format!(
            "samples-per-draw = 10\nsigma = 0.3\nlearning-rate = 0.15\ninitial-distortion = 0.2\n\
             loss = \"cross-entropy\"\n{}",
            reduction(reduced)
        );
        sample.spends(("nattack", &parameters), &sample.setting(norm, EPS, Success::Last), &expected);
    });
}

/// Two images for each of so many coordinates, and the one to which they lead.
const COORDINATES: usize = 3;
/// The lines and columns of the grid where `dimension-reduction = 2`: four cells in two channels.
const CELLS: [usize; 2] = [1, 2];

/// The nearest adversarial after each step, or the clean image.
fn zoo(sample: &Sample, in_pixels: bool) -> Vec<Image> {
    let image = |places: &Image| -> Image {
        places.iter().map(|place| if in_pixels { *place } else { (place.tanh() + 1.0) / 2.0 }).collect()
    };
    let square = |image: &Image| size(Norm::L2, &sample.change(image)).powi(2);
    let hinge = |places: &Image| 3.0 * (0.1 - sample.rise(margin, &image(places)).0).max(0.0);
    let mut places = sample.clean.clone();
    if !in_pixels {
        places.iter_mut().for_each(|pixel| *pixel = ((2.0 * *pixel - 1.0) * (1.0 - 1e-6)).atanh());
    }
    let begun = places.clone();
    let cell = |index: usize| {
        let mut cells = [0.0; 4];
        cells[index] = 1.0;
        coarse(SHAPE, CELLS, &cells)
    };
    let (mut first, mut second, mut counts) = ([0.0; 4], [0.0; 4], [0; 4]);
    let (mut nearest, mut results) = (None::<Image>, Vec::new());
    for step in 0..30 {
        let chosen = index::sample(&mut random(Purpose::Step, step), 4, COORDINATES);
        let slope = |index: usize| {
            let at = |by: f64| hinge(&plus(&places, by, &cell(index)));
            let speed = |place: f64| if in_pixels { 1.0 } else { (1.0 - place.tanh().powi(2)) / 2.0 };
            let change = sample.change(&image(&places));
            // Pixels that have not moved pull nowhere, though the way to the space and back is not exact.
            let moved = |at: usize| places[at] != begun[at];
            let pull = |at: usize| if moved(at) { 2.0 * change[at] * speed(places[at]) } else { 0.0 };
            let of_distance: f64 = cell(index).iter().enumerate().map(|(at, inside)| inside * pull(at)).sum();
            of_distance + (at(0.0625) - at(-0.0625)) / 0.125
        };
        let slopes: Vec<(usize, f64)> = chosen.into_iter().map(|index| (index, slope(index))).collect();
        for (index, slope) in slopes {
            counts[index] += 1;
            first[index] += 0.1 * (slope - first[index]);
            second[index] += 0.001 * (slope * slope - second[index]);
            let share = |kept: f64| 1.0 - kept.powi(counts[index]);
            let by = 0.1 * first[index] / share(0.9) / ((second[index] / share(0.999)).sqrt() + 1e-8);
            places = plus(&places, -by, &cell(index));
            if in_pixels {
                places = clipped(&places);
            }
        }
        let found = image(&places);
        if sample.reached(&found) && nearest.as_ref().is_none_or(|nearest| square(&found) < square(nearest)) {
            nearest = Some(found);
        }
        results.push(nearest.clone().unwrap_or_else(|| sample.clean.clone()));
    }
    results
}

#[test]
fn zoo_follows_its_definition_step_by_step() {
    for (space, goal) in ["tanh", "pixels"].into_iter().flat_map(|space| GOALS.map(|goal| (space, goal))) {
        // Pixels and differences that single precision adds exactly, or rounding would look like a slope to Adam.
        let Sample { network, clean, .. } = sample(SHAPE, goal);
        let clean = clean.iter().map(|pixel| (pixel * 256.0).round() / 256.0).collect();
        let sample = Sample::new(network, SHAPE, clean, goal);
        let expected = zoo(&sample, space == "pixels");
        let mut different = expected.clone();
        different.dedup();
        assert!(different.len() > 3, "{space} {goal:?}: some adversarials are nearer than others");
        for (step, expected) in (0..).zip(&expected) {
            let parameters = format!(
                "queries = {}\ncoordinates = {COORDINATES}\nfinite-difference = 0.0625\nlearning-rate = 0.1\n\
                 constant = 3\nconfidence = 0.1\nspace = \"{space}\"\ndimension-reduction = 2",
                (step + 1) * (2 * COORDINATES + 1)
            );
            let setting = sample.setting(Norm::L2, None, Success::AnyIterate);
            let judged = &sample.run(("zoo", &parameters), &setting).judgements[0];
            assert_same(&judged.pixels, expected, &format!("{space} {goal:?}, step {step}"));
        }
    }
}

#[test]
fn zoo_leaves_pixels_as_they_are_that_change_nothing() {
    let mut weights = matrix(2, 12, 1.0, 0);
    weights.iter_mut().for_each(|row| row[6..].fill(0.0));
    let image: Vec<f32> = (0..12).map(|at| 0.5 + 0.05 * scatter(1000 + at)).collect();
    let problem = Problem::new(&weights, &[0.0; 2], [1, 1, 12], &[image]);
    let (model, seen) = Spy::around(problem.model.clone());
    let parameters = "queries = 2000\ncoordinates = 4\nspace = \"pixels\"\nfinite-difference = 0.05";
    let setting = Setting::untargeted(Norm::L2, None, Success::AnyIterate);
    run(("zoo", parameters), &model, &problem.samples, &setting);
    for image in seen.lock().unwrap().iter() {
        for (at, (found, clean)) in image.iter().zip(&problem.samples.pixels).enumerate().skip(6) {
            let moved = (found - clean).abs();
            assert!(moved < 1e-5 || (moved - 0.05).abs() < 1e-5, "pixel {at} moved from {clean} to {found}");
        }
    }
}
